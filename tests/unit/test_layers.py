"""What each layer may import, read off the source: also inside functions and for type checkers."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import pairwise, product
from pathlib import Path

import pytest

from tests.documents import Page
from tests.unit.template import load

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "payment_infra"
STANDARD = {*sys.stdlib_module_names, "annotationlib"}  # the latter from Python 3.14 on
# Each place of payment_infra (a module, a package, or a room of `cloud`): which others it imports,
# and, behind the bar, which packages of others. The command line may import all.
IMPORTS = {
    "names": "",
    "errors": "",
    "checks": "",
    "rules": "",
    "gateway_names": "",
    "config": "gateway_names names rules",
    "combinations": "config gateway_names rules",
    "foreign": "",
    "gateway_probe": "",  # it runs where there is the standard library alone
    "conformance": "| handlers",  # so does it, beside what a function has, and its program
    "gateway_trial": "conformance",
    "wording": "",
    "moments": "errors",
    "files": "errors",
    "scratch": "errors files",
    "texts": "errors",
    "secret_file": "errors texts",
    "gateway_network": "",
    "interpreter": "errors",
    "linting": "errors rendering texts | cfnlint",
    "place": "rules",
    "sources": "combinations config errors place rules texts",
    "zips": "",
    "pins": "errors",
    "wheels": "errors files interpreter scratch zips",
    "own_gateway": "config errors gateway_names pins texts wheels zips",
    "artifacts": "config errors own_gateway wheels zips",
    "layer": "artifacts wheels",
    "stripe_key": "artifacts checks errors | handlers",  # whose types it has; it reads the files
    "function_folder": "errors interpreter layer names own_gateway zips",
    "gateway_check": """
        artifacts config conformance errors function_folder gateway_names gateway_network
        gateway_probe gateway_trial layer own_gateway scratch wheels""",
    "openapi": "artifacts errors",
    "naming": "config names rules | troposphere",
    "record": "__version__ config gateway_names names",
    "groups": "config gateway_names names naming rules | awacs troposphere",
    "template": "config errors gateway_names groups names naming record | troposphere",
    "rendering": "| troposphere yaml",
    "grants": "rendering",
    "difference": "grants names rendering",
    "cloud.events": "grants",
    "cloud.sdk": "cloud.events errors | boto3",
    "cloud.stacks": "cloud.events cloud.sdk errors moments names rendering | boto3",
    "cloud.environment": """
        cloud.events cloud.sdk cloud.stacks
        checks config errors foreign gateway_names moments names record | boto3""",
    "cloud.deploying": """
        cloud.environment cloud.events cloud.sdk cloud.stacks
        artifacts checks combinations config difference errors gateway_check gateway_names grants
        layer names record rendering rules sources stripe_key template wording | boto3""",
    "cloud.operating": """
        cloud.environment cloud.events cloud.sdk
        checks errors files foreign gateway_names moments names record wording | boto3""",
    "cloud.reconciling": """
        cloud.environment cloud.events cloud.operating cloud.sdk
        errors moments wording""",
    "cloud.restoring": """
        cloud.environment cloud.events cloud.operating cloud.reconciling cloud.sdk cloud.stacks
        errors moments names record wording | boto3""",
    "cloud.destroying": """
        cloud.deploying cloud.environment cloud.events cloud.operating cloud.sdk cloud.stacks
        errors files names record sources wording | boto3""",
    "local": """
        cloud.deploying cloud.environment cloud.events cloud.sdk cloud.stacks
        artifacts config errors gateway_check gateway_names interpreter names scratch sources
        stripe_key | boto3""",
    "doctor": """
        cloud.deploying cloud.environment cloud.sdk local
        __version__ artifacts checks config errors gateway_check gateway_names interpreter layer
        names own_gateway rendering sources template | boto3""",
}
ROOMS = [place.removeprefix("cloud.") for place in IMPORTS if place.startswith("cloud.")]
ROOMS.remove("events")
# What is a value of its arguments alone: no clock, files, processes, network or environment.
PURE = (
    "names",
    "rules",
    "gateway_names",
    "config",
    "combinations",
    "place",
    "naming",
    "record",
    "groups",
    "template",
    "grants",
    "difference",
)
IMPURE = {
    *("asyncio", "calendar", "datetime", "glob", "http", "io", "locale", "logging", "os"),
    *("pathlib", "platform", "random", "requests", "secrets", "shutil", "socket", "subprocess"),
    *("sys", "tempfile", "time", "urllib", "uuid"),
}
# What runs in Lambda may import these packages, which the runtime has (urllib3 with boto3), or the
# layer; and of handlers.shared, what computes alone knows no other part: no AWS, and no gateway.
IN_LAMBDA = {"boto3", "urllib3", "aws_lambda_powertools", "handlers"}
DOMAIN = (
    *("callers", "clock", "fields", "flaws", "idempotency", "marks", "money", "requests"),
    *("responses", "standings", "states", "transactions"),
)
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
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name))],
            ):
                yield name


def imports_of(path: Path) -> set[str]:
    return set(imports(path.read_text(encoding="utf-8")))


def outside(path: Path) -> set[str]:
    """Return the packages of others that a module imports; the AWS SDK's are all boto3."""
    packages = {name.partition(".")[0] for name in imports_of(path)}
    sdk = {name for name in packages if name.startswith(("boto", "mypy_boto3_"))}
    return packages - STANDARD - sdk - {"payment_infra"} | ({"boto3"} if sdk else set())


def place_of(dotted: str) -> str:
    """Return the place in `IMPORTS` of a dotted name, "" for one that is not in payment_infra."""
    package, _, rest = f"{dotted}.".partition(".")
    first, _, second = rest.partition(".")
    if package != "payment_infra":
        return ""
    return f"{first}.{second.partition('.')[0]}".rstrip(".") if first == "cloud" else first


def imported(place: str) -> tuple[set[str], set[str]]:
    """Return the other places that a place imports, and the packages of others."""
    paths = [path for path in modules("payment_infra") if place_of(dotted(path)) == place]
    own = {place_of(name) for path in paths for name in imports_of(path)} - {"", place}
    return own, {name for path in paths for name in outside(path)}


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


@pytest.mark.parametrize("place", IMPORTS)
def test_a_place_imports_what_the_table_says(place: str) -> None:
    own, _, others = IMPORTS[place].partition("|")
    assert imported(place) == (set(own.split()), set(others.split()))


def test_every_place_is_in_the_table() -> None:
    there = {place_of(dotted(path)) for path in modules("payment_infra")}
    assert there == {*IMPORTS, "", "cloud", "cli", "__main__"}


def test_no_place_imports_itself_by_way_of_others() -> None:
    TopologicalSorter({place: imported(place)[0] for place in IMPORTS}).prepare()


@pytest.mark.parametrize("place", PURE)
def test_what_is_pure_imports_nothing_that_is_not(place: str) -> None:
    paths = [path for path in modules("payment_infra") if place_of(dotted(path)) == place]
    found = {name.partition(".")[0] for path in paths for name in imports_of(path)}
    assert not found & IMPURE


def test_names_import_nothing_at_all() -> None:
    assert imports_of(PACKAGE / "names.py") == set()


def test_what_runs_in_lambda_imports_what_is_there() -> None:
    assert {name for path in modules("handlers") for name in outside(path)} <= IN_LAMBDA


@pytest.mark.parametrize("name", DOMAIN)
def test_what_computes_knows_neither_aws_nor_the_gateway(name: str) -> None:
    domain = tuple(f"handlers.shared.{other}." for other in DOMAIN)
    path = REPOSITORY / f"handlers/shared/{name}.py"
    assert outside(path) <= {"handlers"}
    found = {name for name in imports_of(path) if name.startswith("handlers.")}
    assert all(f"{name}.".startswith(domain) for name in found)


def test_the_picture_of_the_floors_has_every_arrow_and_no_other() -> None:
    arrows = {place: imported(place)[0] for place in [*IMPORTS, "cli"]}
    code = {
        (floor(place), floor(other))
        for place, others in arrows.items()
        for other in others
        if floor(place) != floor(other)
    }
    drawn = {
        (above, below): set(product(floors(above), floors(below))) for above, below in picture()
    }
    assert [arrow for arrow, meant in drawn.items() if not meant & code] == []
    assert code <= reached(set().union(*drawn.values()))


def floor(place: str) -> str:
    """Return what the picture calls a place; what has no box of its own is `shape`."""
    name = place.removeprefix("cloud.")
    return name if name in {*ROOMS, "cli", "doctor", "local", "names"} else "shape"


def floors(box: str) -> list[str]:
    """Return what a box of the picture holds: the one around the rooms, each of these."""
    return ROOMS if box == "cloud" else [box]


def picture() -> Iterator[tuple[str, str]]:
    """Yield the arrows of the picture in docs/architecture.md."""
    [drawn] = [
        block.text
        for block in Page(REPOSITORY / "docs/architecture.md").blocks
        if block.info == "mermaid"
    ]
    for line in drawn.splitlines():
        if "-->" in line:
            boxes = [
                {end.strip() for end in part.split("&")}
                for part in re.sub(r"\[.*?\]", "", line).split("-->")
            ]
            for above, below in pairwise(boxes):
                yield from product(above, below)


def reached(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the arrows, and one for each way along several of them."""
    further = {(a, d) for a, b in arrows for c, d in arrows if b == c} - arrows
    return reached(arrows | further) if further else arrows


def test_what_is_nearest_to_the_sdk_does_not_speak_of_payments() -> None:
    found = {
        path.name
        for path in modules("payment_infra/cloud/sdk")
        if "payment" in path.read_text(encoding="utf-8").replace("payment_infra", "")
    }
    assert not found


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
    """Return the name under which a module is imported."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


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


@pytest.mark.parametrize("command", ["status", "list", "logs", "failed list"])
def test_what_looks_at_an_environment_loads_no_template_and_no_yaml(command: str) -> None:
    suffix = [] if command == "list" else ["--suffix", "dev"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.loading", *command.split(), *suffix],
        cwd=REPOSITORY,
        input=json.dumps(load()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert "payment_infra" in loaded
    assert not loaded & {"troposphere", "awacs", "yaml", "cfnlint"}


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
