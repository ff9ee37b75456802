from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.files import read_json_object, write_file

REPOSITORY = Path(__file__).parents[2]


def refusal(path: Path, content: bytes = b"new") -> str:
    with pytest.raises(PaymentInfraError) as refused:
        write_file(path, content)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_a_file_is_made_or_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "out.yaml"
    for content in (b"old", b"", b"new\r\n\xff"):
        write_file(path, content)
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_gets_the_mode_that_the_umask_leaves_it(
    umask: int, mode: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        write_file(tmp_path / "out.yaml", b"new")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.yaml").stat().st_mode) == mode


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("old")
    assert refusal(tmp_path) == f"{tmp_path}: is a directory; name a file in it"
    assert (tmp_path / "keep").read_text() == "old"


def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "out.yaml"
    assert refusal(path) == f"{path}: there is no directory {path.parent}; make it first"
    assert not path.parent.exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    path = tmp_path / "file" / "out.yaml"
    assert refusal(path) == f"{path}: there is no directory {path.parent}; make it first"
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("length", [255, 300])
def test_a_folder_that_takes_no_such_file_is_named(length: int, tmp_path: Path) -> None:
    # Even root, who may write wherever a mode forbids it, cannot make it: the shorter name fits,
    # but that of the new file, which is made first, does not.
    path = tmp_path / ("n" * length)
    assert refusal(path) == f"{path}: cannot be written (File name too long)"
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_written_to_and_stays_a_device() -> None:
    write_file(Path("/dev/null"), b"new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


WRITES = """
import sys
from pathlib import Path
from payment_infra.errors import PaymentInfraError
from payment_infra.files import write_file
try:
    write_file(Path(sys.argv[1]), b"new")
except PaymentInfraError as error:
    print(error)
"""


def test_a_device_that_takes_nothing_is_named() -> None:
    # A session of its own has no terminal.
    done = subprocess.run(
        [sys.executable, "-c", WRITES, "/dev/tty"],
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
    )
    [line] = done.stdout.splitlines()
    assert line.startswith("/dev/tty: cannot be written (")


FILLS_THE_DISK = """
import resource, signal, sys
from pathlib import Path
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.files import read_json_object, write_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    write_file(Path(sys.argv[1]), b"n" * 1000)
except PaymentInfraError as error:
    print(error)
"""


@pytest.mark.parametrize("exists", [True, False])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    exists: bool, tmp_path: Path
) -> None:
    path = tmp_path / "out.yaml"
    if exists:
        path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", FILLS_THE_DISK, path],
        env={"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{path}: cannot be written (File too large)\n"
    assert list(tmp_path.iterdir()) == ([path] if exists else [])
    assert not exists or path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "not valid JSON"), ("[]", "must hold a JSON object"), (None, "cannot be read")],
)
def test_what_is_no_json_object_is_refused_by_its_name(
    tmp_path: Path, content: str | None, told: str
) -> None:
    path = tmp_path / "policy.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=told) as refused:
        read_json_object(path)
    assert str(path) in str(refused.value)


def test_a_json_object_is_taken_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text('{"Statement":  []}')
    assert read_json_object(path) == '{"Statement":  []}'
