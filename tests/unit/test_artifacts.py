from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from payment_infra.artifacts import (
    GATEWAY_EVENTS,
    HANDLERS,
    LAYER,
    build_artifacts,
    check_handlers,
    code_keys,
    layer_digest,
)
from payment_infra.config import StackConfig
from payment_infra.errors import PaymentInfraError, UsageError
from tests.unit.template import load, of_type

REPOSITORY = Path(__file__).parents[2]
ENTRIES = ("cancellation", "health_monitor", "lookup", "processing", "retry", "validation")


@pytest.fixture
def handlers(tmp_path: Path) -> Path:
    """A copy of the handlers to change."""
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(HANDLERS, tmp_path / "handlers", ignore=ignore))


def scattered_copy(target: Path, seed: int) -> Path:
    """Copy the handlers in another order, with other times and modes, and with what lies around."""
    sources = [
        path
        for pattern in ("*.py", "requirements.txt")
        for path in HANDLERS.rglob(pattern)
        if "__pycache__" not in path.parts
    ]
    chance = random.Random(seed)
    chance.shuffle(sources)
    for source in sources:
        copy = target / source.relative_to(HANDLERS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        copy.chmod(chance.choice([0o400, 0o644, 0o777]))
        time = chance.randrange(2_000_000_000)
        os.utime(copy, (time, time))
    for folder in (target, target / "shared"):
        cache = folder / "__pycache__"
        cache.mkdir()
        (cache / f"clock.cpython-3{seed}.pyc").write_bytes(bytes([seed]))
        (folder / "clock.pyc").write_bytes(bytes([seed]))
        (folder / ".editor.swp").write_bytes(bytes([seed]))
    return target


SCRIPT = """
import hashlib, json, os, sys
from pathlib import Path
os.umask(int(sys.argv[2], 8))
from payment_infra.artifacts import build_artifacts, code_keys
built = build_artifacts(Path(sys.argv[1]))
bodies = {one.key: hashlib.sha256(one.body).hexdigest() for one in built}
print(json.dumps([bodies, code_keys(Path(sys.argv[1]))]))
"""
MACHINES: list[Mapping[str, str]] = [
    {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0", "umask": "022"},
    {
        "LC_ALL": "C",
        "TZ": "Pacific/Kiritimati",
        "PYTHONHASHSEED": "4711",
        "PYTHONUTF8": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "umask": "077",
    },
]


def test_every_machine_makes_the_same_bytes_whatever_the_files_times_modes_and_order(
    tmp_path: Path,
) -> None:
    made = []
    for seed, machine in enumerate(MACHINES):
        root = scattered_copy(tmp_path / str(seed), seed)
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, root, machine["umask"]],
            env={**machine, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=True,
        )
        made.append(json.loads(done.stdout))
    assert made[0] == made[1]
    bodies, keys = made[0]
    assert keys == code_keys()
    assert set(bodies) == {key for name, key in keys.items() if name in ENTRIES}


def test_there_is_a_zip_for_every_entry_module() -> None:
    assert tuple(one.name for one in build_artifacts()) == ENTRIES


def test_what_takes_notifications_has_a_key_always_and_a_zip_if_the_gateway_notifies() -> None:
    notifying = StackConfig(gateway="handlers.shared.gateway:Acme", gateway_events=True)
    built = {one.name: one for one in build_artifacts(config=notifying)}
    assert set(built) == {*ENTRIES, GATEWAY_EVENTS}
    assert code_keys()[GATEWAY_EVENTS] == built[GATEWAY_EVENTS].key


def opened(name: str) -> zipfile.ZipFile:
    [body] = [one.body for one in build_artifacts() if one.name == name]
    return zipfile.ZipFile(io.BytesIO(body))


@pytest.mark.parametrize("name", ENTRIES)
def test_the_entry_is_at_the_root_and_the_rest_where_it_is_imported_from(name: str) -> None:
    shared = {
        f"handlers/{path.relative_to(HANDLERS).as_posix()}": path.read_bytes()
        for path in (HANDLERS / "shared").rglob("*.py")
    }
    expected = shared | {
        "handlers/__init__.py": (HANDLERS / "__init__.py").read_bytes(),
        f"{name}.py": (HANDLERS / f"{name}.py").read_bytes(),
    }
    with opened(name) as archive:
        assert {path: archive.read(path) for path in archive.namelist()} == expected


@pytest.mark.parametrize("name", ENTRIES)
def test_the_entries_are_sorted_stored_and_alike(name: str) -> None:
    with opened(name) as archive:
        assert archive.namelist() == sorted(set(archive.namelist()))
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr == 0o100644 << 16
            assert entry.create_system == 3
            assert (entry.extra, entry.comment) == (b"", b"")


def test_an_entry_is_sorted_among_the_rest_whatever_its_name(handlers: Path) -> None:
    for name in ("a", "z"):
        (handlers / f"{name}.py").write_text("")
    (handlers / "shared" / "a").mkdir()
    (handlers / "shared" / "a" / "b.py").write_text("")
    (handlers / "shared" / "a-b.py").write_text("")
    for artifact in build_artifacts(handlers):
        with zipfile.ZipFile(io.BytesIO(artifact.body)) as archive:
            assert archive.namelist() == sorted(archive.namelist())


def test_the_key_says_what_the_zip_is_of_and_that_without_zipping() -> None:
    for artifact in build_artifacts():
        assert artifact.key == f"payment-infra/{artifact.name}/{artifact.digest}.zip"
        assert re.fullmatch("[0-9a-f]{32}", artifact.digest)
        assert code_keys()[artifact.name] == artifact.key
    assert code_keys()[LAYER] == f"payment-infra/{LAYER}/{layer_digest()}.zip"
    assert set(code_keys()) == {*ENTRIES, GATEWAY_EVENTS, LAYER}


def test_the_template_names_the_keys_of_the_zips() -> None:
    functions = of_type(load(), "AWS::Lambda::Function").values()
    named = {one["Properties"]["Code"]["S3Key"] for one in functions}
    assert named == {artifact.key for artifact in build_artifacts()}
    [layer] = of_type(load(), "AWS::Lambda::LayerVersion").values()
    assert layer["Properties"]["Content"]["S3Key"] == code_keys()[LAYER]


def changed_keys(root: Path) -> set[str]:
    before, after = code_keys(), code_keys(root)
    changed = {name for name in before if after.get(name) != before[name]} - {GATEWAY_EVENTS}
    # What the digest says is what the bytes say.
    bodies = {one.name: one.body for one in build_artifacts()}
    zips = {one.name for one in build_artifacts(root) if bodies[one.name] != one.body}
    assert changed - {LAYER} == zips
    return changed


@pytest.mark.parametrize("name", ENTRIES)
def test_a_changed_entry_module_changes_its_own_zip_alone(name: str, handlers: Path) -> None:
    with (handlers / f"{name}.py").open("a") as file:
        file.write("\n")
    assert changed_keys(handlers) == {name}


def test_a_changed_shared_module_changes_every_zip(handlers: Path) -> None:
    with (handlers / "shared" / "money.py").open("a") as file:
        file.write("\n")
    assert changed_keys(handlers) == set(ENTRIES)


def test_a_renamed_shared_module_changes_every_zip(handlers: Path) -> None:
    (handlers / "shared" / "money.py").rename(handlers / "shared" / "moneys.py")
    assert changed_keys(handlers) == set(ENTRIES)


def test_a_module_in_a_new_folder_of_the_shared_ones_is_in_every_zip(handlers: Path) -> None:
    (handlers / "shared" / "deep").mkdir()
    (handlers / "shared" / "deep" / "new.py").write_text("")
    assert changed_keys(handlers) == set(ENTRIES)


def test_content_that_moves_from_one_file_to_the_next_is_a_change(handlers: Path) -> None:
    (handlers / "shared" / "a.py").write_text("x = 1\n")
    (handlers / "shared" / "b.py").write_text("y = 1\n")
    before = code_keys(handlers)
    (handlers / "shared" / "a.py").write_text("x = 1\ny = 1\n")
    (handlers / "shared" / "b.py").write_text("")
    after = code_keys(handlers)
    assert {name for name in before if before[name] == after[name]} == {LAYER}


def test_a_changed_requirement_changes_the_layer_alone(handlers: Path) -> None:
    with (handlers / "requirements.txt").open("a") as file:
        file.write("\n")
    assert changed_keys(handlers) == {LAYER}


def test_what_is_no_source_changes_nothing(handlers: Path) -> None:
    (handlers / "notes.txt").write_text("x")
    (handlers / "shared" / "__pycache__").mkdir()
    (handlers / "shared" / "__pycache__" / "money.cpython-313.pyc").write_bytes(b"x")
    assert changed_keys(handlers) == set()


@pytest.mark.parametrize(
    ("file", "source", "line"),
    [
        ("validation.py", b"x = 1\ndef handler(:\n", 2),
        ("shared/money.py", b"\n\n  x = 1\n", 3),
        ("shared/money.py", b"x = 1\x00\n", 1),
        ("processing.py", b"x = '\xff'\n", 1),
        ("__init__.py", b"return\n", 1),
    ],
)
def test_a_source_that_is_no_python_is_refused_with_file_and_line(
    file: str, source: bytes, line: int, handlers: Path
) -> None:
    (handlers / file).write_bytes(source)
    with pytest.raises(PaymentInfraError) as refused:
        check_handlers(root=handlers)
    message = str(refused.value)
    assert message.startswith(f"{handlers / file}:{line}: ")
    assert message.endswith(" was not packaged, mend the file first")
    assert "\n" not in message


def missing_checked(root: Path) -> None:
    check_handlers(root=root)


def test_missing_handlers_are_named_in_one_line(tmp_path: Path) -> None:
    for use in (code_keys, build_artifacts, missing_checked):
        with pytest.raises(PaymentInfraError) as refused:
            use(tmp_path / "missing")
        message = str(refused.value)
        assert message == (
            f"{tmp_path / 'missing' / '__init__.py'}: cannot be read (No such file or directory); "
            "install payment-infra anew"
        )


def test_missing_requirements_are_named_in_one_line(handlers: Path) -> None:
    (handlers / "requirements.txt").unlink()
    for use in (code_keys, layer_digest):
        with pytest.raises(PaymentInfraError) as refused:
            use(handlers)
        message = str(refused.value)
        assert message == (
            f"{handlers / 'requirements.txt'}: cannot be read (No such file or directory); "
            "install payment-infra anew"
        )


@pytest.mark.parametrize(
    ("gateway", "reason"),
    [
        ("handlers.shared.acme:Acme", "acme.py cannot be read (No such file or directory)"),
        ("handlers.shared.gateway:Acme", "gateway.py defines no class Acme"),
    ],
)
def test_a_gateway_that_would_not_be_packaged_is_refused(gateway: str, reason: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_handlers(StackConfig(gateway=gateway))
    assert str(refusal.value).startswith(f"gateway {gateway}: ")
    assert str(refusal.value).endswith(reason)


def test_a_checkout_with_the_lines_of_windows_gives_the_same_zips_and_digests(
    handlers: Path,
) -> None:
    for path in (*handlers.rglob("*.py"), handlers / "requirements.txt"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert code_keys(handlers) == code_keys()
    assert build_artifacts(handlers) == build_artifacts()
