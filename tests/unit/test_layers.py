"""What each layer may import, read off the source: also inside functions and for type checkers."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
AWS = {"boto3", "botocore"}
# What would make a group depend on more than its arguments.
IMPURE = {
    *("asyncio", "calendar", "datetime", "glob", "http", "io", "locale", "logging", "os"),
    *("pathlib", "platform", "random", "requests", "secrets", "shutil", "socket", "subprocess"),
    *("sys", "tempfile", "time", "urllib", "uuid"),
}
# Folder or file to the top-level packages that nothing in it may import.
FORBIDDEN = {
    "payment_infra/groups": AWS | IMPURE | {"click"},
    "payment_infra/template.py": AWS | IMPURE | {"click"},
    "payment_infra/naming.py": AWS | IMPURE | {"click"},
    "payment_infra/record.py": AWS | IMPURE | {"click"},
    "payment_infra/rendering.py": AWS | {"click"},
    "payment_infra/difference.py": AWS | IMPURE | {"click"},
    "payment_infra/grants.py": AWS | IMPURE | {"click"},
    "payment_infra/artifacts.py": AWS | {"click"},
    "payment_infra/layer.py": AWS | {"click"},
    "payment_infra/gateway_check.py": AWS | {"click"},
    # It runs where there is the standard library alone.
    "payment_infra/gateway_probe.py": AWS | {"click", "payment_infra"},
    "payment_infra/openapi.py": AWS | {"click"},
    "payment_infra/checks.py": AWS | {"click"},
    "payment_infra/doctor/machine.py": AWS | {"click"},
    "payment_infra/cloud": {"click"},
    "payment_infra/doctor": {"click"},
    "payment_infra/local": {"click"},
    "handlers": {"payment_infra", "click", "troposphere", "awacs"},
}
# Folder or file to the parts of this package that nothing in it may import.
FORBIDDEN_PARTS = {
    "payment_infra/groups": {"cli", "cloud", "local", "sources", "artifacts", "files", "layer"},
    "payment_infra/template.py": {
        "cli",
        "cloud",
        "local",
        "sources",
        "artifacts",
        "files",
        "layer",
    },
    "payment_infra/naming.py": {"cli", "cloud", "local", "sources", "artifacts", "files", "layer"},
    "payment_infra/record.py": {"cli", "cloud", "local", "sources", "artifacts", "files", "layer"},
    "payment_infra/rendering.py": {"cli", "cloud", "local", "layer"},
    "payment_infra/difference.py": {"cli", "cloud", "local", "sources", "layer"},
    "payment_infra/grants.py": {"cli", "cloud", "local", "sources", "layer"},
    "payment_infra/artifacts.py": {"cli", "cloud", "local", "layer"},
    "payment_infra/layer.py": {"cli", "cloud", "local"},
    "payment_infra/gateway_check.py": {"cli", "cloud", "local", "sources"},
    "payment_infra/checks.py": {"cli", "cloud", "local", "sources", "layer"},
    "payment_infra/doctor/machine.py": {"cli", "cloud"},
    "payment_infra/cloud": {"cli", "doctor", "local"},
    "payment_infra/doctor": {"cli"},
    "payment_infra/local": {"cli", "doctor"},
}
# The rooms of the cloud layer: each imports from those before it, and `events` is everybody's.
ROOMS = ("sdk", "stacks", "environment", "deploying", "operating", "restoring", "destroying")
CALLS_THAT_READ_OR_WRITE = {"open", "input", "print", "exec", "eval", "__import__"}


def modules(place: str) -> list[Path]:
    path = REPOSITORY / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def imports(source: str) -> Iterator[str]:
    """Yield the dotted name of everything that the source imports, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                # A relative import would hide from these rules where it leads.
                assert level == 0, f"relative import of {module}"
                yield from (f"{module}.{name.name}" for name in names)
            case ast.Call(func=ast.Name(id="import_module" | "__import__"), args=[argument]):
                yield ast.unparse(argument).strip("'\"")


def imports_of(path: Path) -> set[str]:
    return set(imports(path.read_text(encoding="utf-8")))


def top_levels(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(path)}


def parts(path: Path) -> set[str]:
    """Return which parts of payment_infra a module imports: cloud for payment_infra.cloud.x."""
    dotted = [name.split(".") for name in imports_of(path)]
    return {name[1] for name in dotted if name[0] == "payment_infra" and len(name) > 1}


def test_imports_are_found_wherever_they_stand() -> None:
    source = """
import a.b
from c import d
if TYPE_CHECKING:
    from e.f import g
def function():
    import h
    import_module("i")
"""
    assert set(imports(source)) == {"a.b", "c.d", "e.f.g", "h", "i"}


@pytest.mark.parametrize("place", FORBIDDEN)
def test_a_layer_imports_only_what_its_work_needs(place: str) -> None:
    assert modules(place)
    found = {
        str(path.relative_to(REPOSITORY)): bad
        for path in modules(place)
        if (bad := top_levels(path) & FORBIDDEN[place])
    }
    assert not found


@pytest.mark.parametrize("place", FORBIDDEN_PARTS)
def test_a_layer_does_not_know_the_layers_above_it(place: str) -> None:
    assert modules(place)
    found = {
        str(path.relative_to(REPOSITORY)): bad
        for path in modules(place)
        if (bad := parts(path) & FORBIDDEN_PARTS[place])
    }
    assert not found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_the_cloud_imports_only_from_those_below_it(room: str) -> None:
    above = ROOMS[ROOMS.index(room) + 1 :]
    found = {
        str(path.relative_to(REPOSITORY)): bad
        for path in modules(f"payment_infra/cloud/{room}")
        if (bad := {name for name in imports_of(path) if room_of(name) in above})
    }
    assert not found


def test_what_is_nearest_to_the_sdk_does_not_speak_of_payments() -> None:
    found = {
        path.name
        for path in modules("payment_infra/cloud/sdk")
        if "payment" in path.read_text(encoding="utf-8").replace("payment_infra", "")
    }
    assert not found


def test_every_module_of_the_cloud_is_in_a_room() -> None:
    places = {
        path.relative_to(REPOSITORY / "payment_infra/cloud").parts[0]
        for path in modules("payment_infra/cloud")
    }
    assert places == {*ROOMS, "__init__.py", "events.py"}


@pytest.mark.parametrize(
    "place", [".", "cli/views", "doctor", *(f"cloud/{room}" for room in ROOMS)]
)
def test_a_package_says_what_each_of_its_modules_is_for(place: str) -> None:
    folder = REPOSITORY / "payment_infra" / place
    told = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    there = {path.stem for path in folder.glob("*.py")}
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert set(re.findall(r"`(\w+)`", told)) == (there | packages) - {"__init__", "__main__"}


def test_no_module_imports_itself_by_way_of_others() -> None:
    every = {dotted(path): path for path in modules("payment_infra")}
    graph = {
        name: {part for found in imports_of(path) for part in (found, found.rpartition(".")[0])}
        & every.keys() - {name}
        for name, path in every.items()
    }
    TopologicalSorter(graph).prepare()  # raises for a circle, and names it


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def room_of(name: str) -> str:
    """Return the room of a dotted name, "" if that is none of the cloud layer."""
    layer, _, rest = name.partition("payment_infra.cloud.")
    return "" if layer else rest.partition(".")[0]


def test_only_the_command_line_knows_click() -> None:
    users = {
        path.relative_to(REPOSITORY / "payment_infra").parts[0]
        for path in modules("payment_infra")
        if "click" in top_levels(path)
    }
    assert users == {"cli"}


def test_only_cloud_doctor_and_local_know_the_aws_sdk() -> None:
    users = {
        path.relative_to(REPOSITORY / "payment_infra").parts[0]
        for path in modules("payment_infra")
        if top_levels(path) & AWS
    }
    assert users == {"cloud", "doctor", "local"}


@pytest.mark.parametrize("place", ["payment_infra/groups", "payment_infra/template.py"])
def test_a_group_neither_reads_nor_writes(place: str) -> None:
    calls = {
        node.func.id
        for path in modules(place)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & CALLS_THAT_READ_OR_WRITE


HEAVY = (
    *("boto3", "botocore", "troposphere", "awacs", "cfnlint", "yaml"),
    "payment_infra.layer",
)


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ([], set()),
        (["--help"], set()),
        (["--version"], set()),
        (["config"], set()),
        (["config", "--suffix", "dev"], set()),
        (["package", "--help"], {"payment_infra.layer"}),
        (["deploy", "--help"], set()),
        (["outputs", "--help"], set()),
        (["local", "--help"], set()),
        (["upload", "--help"], set()),
        (["doctor", "--help"], set()),
        (["completion", "zsh"], set()),
        (["validate", "--help"], set()),
        (["render", "--suffix", "dev"], {"troposphere", "awacs", "yaml"}),
    ],
    ids=" ".join,
)
def test_a_command_loads_only_what_it_uses_and_needs_neither_network_nor_pip(
    arguments: list[str], allowed: set[str], tmp_path: Path
) -> None:
    script = f"""
import os, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        os._exit(7)

sys.addaudithook(refuse)
import payment_infra.cli
try:
    payment_infra.cli.root.main({arguments!r}, prog_name="payment-infra")
except SystemExit:
    pass
print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stderr.splitlines()[-1].split()) <= allowed


@pytest.mark.parametrize("command", ["status", "list", "logs", "failed"])
def test_what_looks_at_an_environment_builds_no_template(command: str) -> None:
    path = REPOSITORY / f"payment_infra/cli/{command}.py"
    # Whatever the command imports, also where it runs; some names are those of a module's content.
    names = sorted(name for name in imports_of(path) if name.startswith("payment_infra."))
    script = f"""
import sys
from contextlib import suppress
from importlib import import_module

for name in {names!r}:
    import_module(name.rpartition(".")[0])
    with suppress(ImportError):
        import_module(name)
print(*[name for name in ("troposphere", "awacs", "yaml", "cfn_flip") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_a_shell_that_completes_a_command_loads_no_command(tmp_path: Path) -> None:
    script = f"""
import sys
import payment_infra.cli
before = set(sys.modules)
try:
    payment_infra.cli.main()
except SystemExit:
    pass
heavy = [name for name in {HEAVY!r} if name in sys.modules]
loaded = [name for name in set(sys.modules) - before if name.startswith("payment_infra.")]
print(heavy, loaded, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(REPOSITORY),
            "_PAYMENT_INFRA_COMPLETE": "bash_complete",
            "COMP_WORDS": "payment-infra dep",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("plain,deploy\n", "[] []\n")


def test_what_tests_share_is_in_no_test_file() -> None:
    found = {
        str(path.relative_to(REPOSITORY)): bad
        for path in modules("tests")
        if (
            bad := {
                name for name in imports_of(path) if name.startswith("tests.") and ".test_" in name
            }
        )
    }
    assert not found
