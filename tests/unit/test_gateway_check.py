"""A gateway class is imported in a real Python that has what Lambda has, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path

import pytest

from payment_infra.artifacts import HANDLERS
from payment_infra.config import StackConfig
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.gateway_check import check_gateway
from payment_infra.gateway_names import GATEWAY_NAMES
from payment_infra.own_gateway import RUNTIME_LIBRARIES
from payment_infra.rules import RUNTIMES
from payment_infra.zips import zip_files
from tests.gateways import GATEWAY, gateway
from tests.offline import TINY_LAYER, installed_files, keep_layer

HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the handlers to change."""
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(HANDLERS, tmp_path / "handlers", ignore=ignore))


Check = Callable[..., None]


@pytest.fixture
def check(root: Path, tmp_path: Path) -> Check:
    """Checks the source of the module acme, with a layer of these files."""

    def check(
        source: str,
        files: Mapping[str, bytes] | None = None,
        runtime: str = HERE,
        limit_seconds: float = 30,
    ) -> None:
        keep_layer(tmp_path / "cache", zip_files(files) if files else TINY_LAYER, root)
        (root / "shared" / "acme.py").write_text(source)
        config = StackConfig(gateway=GATEWAY, runtime=runtime)
        check_gateway(config, root, tmp_path / "cache", limit_seconds=limit_seconds)

    return check


@pytest.fixture
def refused(check: Check) -> Callable[..., str]:
    """Checks what must be refused; returns the line without the setting's value."""

    def refused(source: str, **options: object) -> str:
        with pytest.raises(PaymentInfraError) as refusal:
            check(source, **options)
        line = str(refusal.value)
        assert line.startswith(f"gateway {GATEWAY}: ")
        assert "\n" not in line
        return line.removeprefix(f"gateway {GATEWAY}: ")

    return refused


Refused = Callable[..., str]


# What is found.


def test_a_whole_class_passes_with_the_layer_that_is_deployed(check: Check) -> None:
    head = (
        "from handlers.shared.gateway import Charged, Gateway\nfrom handlers.shared.aws import logs"
    )
    check(gateway(head), files=installed_files())
    check(gateway(head, bases="Gateway"), files=installed_files())


@pytest.mark.parametrize("gateway", GATEWAY_NAMES.values())
def test_a_gateway_that_comes_along_costs_nothing(tmp_path: Path, gateway: str) -> None:
    check_gateway(StackConfig(gateway=gateway), tmp_path / "missing", tmp_path / "missing")


def test_what_the_layer_holds_is_found_and_can_read_its_own_files(check: Check) -> None:
    sdk = b"from pathlib import Path\nPath(__file__).with_name('data.json').read_bytes()\n"
    files = {"python/acme_sdk/__init__.py": sdk, "python/acme_sdk/data.json": b"{}"}
    check(gateway("import acme_sdk"), files=files)


@pytest.mark.parametrize("name", ["jmespath", "colorsys"])
def test_the_layer_comes_before_what_the_runtime_has_itself(name: str, check: Check) -> None:
    files = {f"python/{name}.py": b"theirs = 1\n"}
    check(gateway(f"from {name} import theirs"), files=files)


def test_the_sdk_of_the_runtime_is_found_and_makes_clients_without_any_settings(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    check(gateway(f"import {', '.join(RUNTIME_LIBRARIES.values())}\nboto3.client('sqs')"))


def test_the_modules_of_the_runtime_are_the_sdk_and_all_that_it_requires() -> None:
    needed, more = set[str](), {"boto3"}
    while more:
        needed |= more
        lines = [line for name in more for line in metadata.requires(name) or []]
        always = [line for line in lines if "extra ==" not in line]
        more = {re.split(r"[^\w.-]", line)[0] for line in always} - needed
    modules = metadata.packages_distributions()
    assert {name for name, owners in modules.items() if needed & {*owners}} == {
        *RUNTIME_LIBRARIES.values()
    }


# What is not found, or fails.


@pytest.mark.parametrize("name", ["pytest", "click", "payment_infra", "_pytest.pathlib"])
def test_what_only_this_machine_has_is_missing(name: str, root: Path, refused: Refused) -> None:
    top, _, _ = name.partition(".")
    assert refused(gateway(f"import {name}")) == (
        f"{root}/shared/acme.py:2: ModuleNotFoundError: No module named '{top}'; "
        f"pin what it imports in {root}/requirements.txt, with its hash"
    )


def test_what_lies_in_the_working_directory_or_on_pythonpath_is_missing(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nearby.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "No module named 'nearby'" in refused(gateway("import nearby"))


@pytest.mark.parametrize("entry", ["processing", "retry"])
def test_an_entry_module_which_only_one_function_has_is_missing(
    entry: str, refused: Refused
) -> None:
    assert f"No module named '{entry}'" in refused(gateway(f"import {entry}"))


def test_a_library_that_lacks_one_of_its_own_is_told_with_both_places(
    root: Path, refused: Refused
) -> None:
    files = {"python/acme_sdk/__init__.py": b"x = 1\nimport idna\n"}
    assert refused(gateway("import acme_sdk"), files=files) == (
        f"{root}/shared/acme.py:2: ModuleNotFoundError: No module named 'idna' "
        "(in the dependency layer, acme_sdk/__init__.py:2); "
        f"pin what it imports in {root}/requirements.txt, with its hash"
    )


@pytest.mark.parametrize(
    ("head", "line", "error"),
    [
        ("from handlers.shared import nothing", 2, "ImportError: cannot import name 'nothing'"),
        ("import handlers.shared.nothing", 2, "ModuleNotFoundError: No module named 'handlers."),
        ("def f():\n    raise ValueError('a;\\n b; c')\nf()", 3, "ValueError: a, b, c; "),
        ("x = 1\nx.y", 3, "AttributeError: 'int' object has no attribute 'y'; "),
        ("import sys\nsys.exit('bye')", 3, "SystemExit: bye; "),
    ],
)
def test_an_import_that_raises_is_told_with_type_and_place(
    head: str, line: int, error: str, root: Path, refused: Refused
) -> None:
    message = refused(gateway(head))
    assert message.startswith(f"{root}/shared/acme.py:{line}: {error}")
    assert message.endswith("; mend it, since payments could not be charged")
    assert tempfile.gettempdir() not in message.replace(str(root), "")


def test_an_error_in_a_module_that_it_imports_is_told_with_the_place_there(
    root: Path, refused: Refused
) -> None:
    (root / "shared" / "wire.py").write_text("\n\n1 / 0\n")
    message = refused(gateway("from handlers.shared import wire"))
    assert message.startswith(f"{root}/shared/wire.py:3: ZeroDivisionError: ")


def test_a_syntax_error_says_if_the_runtime_has_another_python(refused: Refused) -> None:
    files = {"python/acme_sdk.py": b"x = 1\ndef f(:\n"}
    same = refused(gateway("import acme_sdk"), files=files)
    assert "SyntaxError: invalid syntax (in the dependency layer, acme_sdk.py:2); " in same
    other = next(runtime for runtime in RUNTIMES if runtime != HERE)
    message = refused(gateway("import acme_sdk"), files=files, runtime=other)
    assert f"acme_sdk.py:2) (tried with {HERE}, and the runtime is {other}); " in message
    assert "tried with" not in refused(gateway("import nothing"), runtime=other)


def test_an_import_without_end_is_ended_and_told(root: Path, refused: Refused) -> None:
    head = "import threading\nthreading.Event().wait()"
    assert refused(gateway(head), limit_seconds=0.5) == (
        f"{root}/shared/acme.py: its import took longer than 0.5 s; "
        "move what waits out of the module's import, to the first call"
    )


def test_a_module_that_ends_python_is_told(refused: Refused) -> None:
    message = refused(gateway("import os\nos._exit(0)"))
    assert message.endswith(
        "acme.py: its import ended Python with status 0; "
        "a module that is imported must not end the program"
    )


def test_what_the_import_starts_or_prints_changes_nothing(
    check: Check, capfd: pytest.CaptureFixture[str]
) -> None:
    head = "import threading\nthreading.Thread(target=threading.Event().wait).start()\nprint('x')"
    check(gateway(head))
    assert capfd.readouterr() == ("", "")


def test_the_callers_settings_and_secrets_are_not_there(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtn")
    monkeypatch.setenv("ACME_KEY", "wJalrXUtn")
    check(gateway("import os\nassert 'wJalrXUtn' not in os.environ.values()"))


def test_nothing_is_left_behind(
    check: Check, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = {*HANDLERS.rglob("*.py")}
    check(gateway())
    assert list(scratch.iterdir()) == []
    found = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    assert {path for path in found if path.suffix != ".py"} <= {
        Path("requirements.txt"),
        Path("openapi.json"),
    }
    assert len([path for path in found if path.suffix == ".py"]) == len(before) + 1


def test_a_layer_that_is_not_built_is_downloaded_first(root: Path, tmp_path: Path) -> None:
    (root / "shared" / "acme.py").write_text(gateway("import nothing"))
    config = StackConfig(gateway=GATEWAY)

    def unavailable(requirements: Path, folder: Path) -> Iterable[Path]:
        raise PaymentInfraError("acme-sdk==1 cannot be had for the dependency layer")

    with pytest.raises(PaymentInfraError, match="cannot be had"):
        check_gateway(config, root, tmp_path / "cache", unavailable)
    with pytest.raises(PaymentInfraError, match="No module named 'nothing'"):
        check_gateway(config, root, tmp_path / "cache", lambda requirements, folder: [])


def test_a_layer_that_cannot_be_unpacked_is_told_in_one_line(root: Path, tmp_path: Path) -> None:
    (root / "shared" / "acme.py").write_text(gateway())
    keep_layer(tmp_path, b"half a layer", root)
    with pytest.raises(PaymentInfraError) as refusal:
        check_gateway(StackConfig(gateway=GATEWAY), root, tmp_path)
    assert str(refusal.value).endswith(
        "cannot be unpacked (File is not a zip file); "
        "make room there, or delete the layer from the user's cache folder"
    )


# What a class has to have.


@pytest.mark.parametrize("source", ["Acme = 3\n", "class Acme: pass\nAcme = Acme()\n"])
def test_what_is_no_class_is_a_setting_that_is_not_allowed(
    source: str, check: Check, root: Path
) -> None:
    with pytest.raises(UsageError) as refusal:
        check(source)
    assert str(refusal.value) == (
        f"gateway {GATEWAY}: {root}/shared/acme.py: Acme is no class; name a class of that module"
    )


def test_what_a_class_lacks_is_told_with_its_place_and_where_the_protocol_is(
    root: Path, refused: Refused
) -> None:
    assert refused(gateway(find="", retention="KEY_RETENTION = 86400")) == (
        f"{root}/shared/acme.py:3: Acme has no method find, "
        "has a KEY_RETENTION that is no timedelta above 0; "
        f"the protocol in {root}/shared/gateway.py says how it must be"
    )
