from __future__ import annotations

import codecs
import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.files import move_private, require_place, write_file
from payment_infra.scratch import scratch_folder
from payment_infra.texts import read_json_object, read_text

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


def test_a_name_may_be_as_long_as_the_folder_takes_it(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_the_folder_does_not_take_is_told(tmp_path: Path) -> None:
    # Even root, who may write wherever a mode forbids it, cannot make it.
    path = tmp_path / ("n" * 300)
    assert refusal(path) == f"{path}: cannot be written (File name too long)"
    assert list(tmp_path.iterdir()) == []


def test_what_its_mode_forbids_to_write_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.yaml"
    path.write_bytes(b"old")

    def refuse(*_: object, **__: object) -> None:  # no mode forbids root anything
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)
    told = f"{path}: cannot be written (Permission denied)"
    assert refusal(path) == told
    with pytest.raises(UsageError) as refused:
        require_place(path)
    assert str(refused.value) == told
    monkeypatch.undo()
    assert path.read_bytes() == b"old"


def test_a_hard_link_stays_one(tmp_path: Path) -> None:
    path, other = tmp_path / "out.yaml", tmp_path / "other.yaml"
    path.write_bytes(b"old")
    other.hardlink_to(path)
    for content in (b"new and longer", b"new"):
        write_file(path, content)
        assert other.read_bytes() == content
        assert path.samefile(other)


def test_a_device_is_written_to_and_stays_a_device() -> None:
    write_file(Path("/dev/null"), b"new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "out.yaml", tmp_path / "link"
    link.symlink_to(Path("there") / "out.yaml")
    for content in (b"made", b"replaced"):
        write_file(link, content)
        assert link.is_symlink()
        assert target.read_bytes() == content
    assert sorted(tmp_path.rglob("*")) == [link, target.parent, target]


def test_a_loop_of_links_is_told(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(link)
    assert refusal(link) == f"{link}: cannot be written (Too many levels of symbolic links)"


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_file_keeps_its_mode(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "out.yaml"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_keeps_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = tmp_path / "out.yaml", []
    path.write_bytes(b"old")
    found = path.stat()
    # Only root can give a file to somebody; so what is made seems to be somebody else's.
    others = os.stat_result((*found[:4], found.st_uid + 1, found.st_gid + 1, *found[6:]))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", lambda _: others)
        patched.setattr(os, "fchown", lambda _, *owner: asked.append(owner))
        write_file(path, b"new")
    assert asked == [(found.st_uid, found.st_gid)]
    assert path.read_bytes() == b"new"


# What keeps a new file from taking the place: a bind mount (EBUSY, or EXDEV), a folder that must
# not be written (EACCES, EROFS), somebody else's file (EPERM).
@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("content", [b"", b"new", b"new and longer than the old one" * 9])
@pytest.mark.parametrize("step", ["mkstemp", "fchmod", "replace"])
def test_what_cannot_be_replaced_is_written_over(
    step: str, content: bytes, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.yaml"
    path.write_bytes(b"what was there")
    place = path.stat().st_ino
    refuse_new_files(step, number, monkeypatch)
    write_file(path, content)
    assert path.read_bytes() == content
    assert path.stat().st_ino == place
    assert list(tmp_path.iterdir()) == [path]


def test_where_there_is_no_file_yet_none_is_made_in_a_folder_that_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.yaml"
    refuse_new_files("mkstemp", errno.EACCES, monkeypatch)
    assert refusal(path) == f"{path}: cannot be written (Permission denied)"


def refuse_new_files(step: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    owner = {"mkstemp": tempfile, "fchmod": os, "replace": Path}[step]
    monkeypatch.setattr(owner, step, refuse)


def test_what_is_named_by_its_number_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "out.yaml"
    with path.open("wb") as file:
        place = path.stat().st_ino
        write_file(Path(f"/dev/fd/{file.fileno()}"), b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino == place


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
from payment_infra.texts import read_json_object
from payment_infra.files import write_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
if sys.argv[2] == "in place":
    def refuse(*_, **__):
        raise OSError(16, "Device or resource busy")
    Path.replace = refuse
try:
    write_file(Path(sys.argv[1]), b"n" * 1000)
except PaymentInfraError as error:
    print(error)
"""


@pytest.mark.parametrize("way", ["anew", "in place"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    exists: bool, way: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.yaml"
    if exists:
        path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", FILLS_THE_DISK, path, way],
        env={"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{path}: cannot be written (File too large)\n"
    assert list(tmp_path.iterdir()) == ([path] if exists else [])
    assert not exists or path.read_bytes() == b"old"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """A private file, to be moved to a folder beside its own, where there is an old one."""
    path = tmp_path / "all.part"
    path.touch(0o600)
    path.write_bytes(NEW)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "there" / "all"
    path.parent.mkdir()
    path.write_bytes(b"what was there")
    path.chmod(0o644)
    return path


NEW = b"customers\n" * 100


def refuse_moves(monkeypatch: pytest.MonkeyPatch, *, within: bool = False) -> None:
    """Let no file take the place of another, if it is on another disk or, within, at all."""
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if within or path.parent != target.parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("way", ["this disk", "another disk", "bind mount", "hard link"])
@pytest.mark.parametrize("linked", [True, False])
def test_a_private_file_is_moved_whole_and_is_private_at_every_moment(
    linked: bool, way: str, part: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way in {"another disk", "bind mount"}:
        refuse_moves(monkeypatch, within=way == "bind mount")
    if way == "hard link":
        place.with_name("other").hardlink_to(place)
    path = place
    if linked:
        path = part.with_name("link")
        path.symlink_to(place)
    number, synced, sync = place.stat().st_ino, [], os.fsync

    def look(descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            assert part.read_bytes() == NEW
            assert stat.S_IMODE(found.st_mode) == 0o600
            synced.append(found.st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    move_private(part, path)
    assert place.read_bytes() == NEW
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert path.is_symlink() == linked
    assert not part.exists()
    assert (place.stat().st_ino == number) == (way in {"bind mount", "hard link"})
    assert (place.stat().st_ino in synced) == (way != "this disk")
    assert {found.name for found in place.parent.iterdir()} <= {"all", "other"}


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("exists", [True, False])
def test_a_private_file_stays_where_it_is_if_the_other_disk_is_full(
    exists: bool, within: bool, part: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if not exists:
        place.unlink()
    refuse_moves(monkeypatch, within=within)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        move_private(part, place)
    assert part.read_bytes() == NEW
    assert list(place.parent.iterdir()) == ([place] if exists else [])
    assert not exists or place.read_bytes() == b"what was there"
    assert not exists or stat.S_IMODE(place.stat().st_mode) == 0o644


def place_refused(path: Path, *, new: bool = False) -> str:
    with pytest.raises(UsageError) as refused:
        require_place(path, new=new)
    return str(refused.value)


def test_what_is_no_regular_file_is_no_place_for_one(tmp_path: Path) -> None:
    pipe, link, loop = tmp_path / "pipe", tmp_path / "link", tmp_path / "loop"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    loop.symlink_to(loop)
    for path in (pipe, link, Path("/dev/null"), Path("/dev/stdout"), Path("/dev/fd/99")):
        assert place_refused(path) == f"{path}: is no regular file; name one"
    assert place_refused(loop) == (f"{loop}: cannot be written (Too many levels of symbolic links)")
    assert place_refused(tmp_path) == f"{tmp_path}: is a directory; name a file in it"
    path = tmp_path / "missing" / "file"
    assert place_refused(path) == f"{path}: there is no directory {path.parent}; make it first"
    assert place_refused(tmp_path / ("n" * 300)).endswith("(File name too long)")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_place_may_have_a_file_unless_a_new_one_is_asked_for(part: Path) -> None:
    require_place(part)
    link = part.with_name("link")
    link.symlink_to(part.with_name("new"))
    require_place(link, new=True)
    assert place_refused(part, new=True) == f"{part}: exists already; name a new file"
    assert part.read_bytes() == NEW
    assert set(part.parent.iterdir()) == {part, link}


def test_a_folder_that_takes_no_new_file_is_a_place_for_one_that_is_written_over(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_new_files("mkstemp", errno.EROFS, monkeypatch)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", tempfile.mkstemp)
    require_place(part)
    path = part.with_name("new")
    assert place_refused(path) == f"{path}: cannot be written (Read-only file system)"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON: it is nested too deeply"),
        ("[]", "must hold a JSON object"),
        (None, "cannot be read"),
    ],
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


TEXT = '{"Statement": [\n]}\n'


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_text_is_taken_as_editors_save_it(mark: bytes, end: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(mark + TEXT.replace("\n", end).encode())
    assert read_text(path) == read_json_object(path) == TEXT


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (TEXT.encode("utf-16"), "is a text in UTF-16; save it in UTF-8"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "is a text in UTF-16; save it in UTF-8"),
        (TEXT.encode("utf-32"), "is a text in UTF-32; save it in UTF-8"),
        (codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"), "is a text in UTF-32; save it in UTF-8"),
        *(
            (
                TEXT.encode(encoding),
                "is no text in UTF-8, perhaps in UTF-16; save it in UTF-8",
            )
            for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
        ),
        (b"{}\xff", "is not a text in UTF-8 (byte 2)"),
    ],
)
def test_a_text_in_another_encoding_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        read_text(path)
    assert str(refused.value) == f"{path}: {told}"


def test_a_folder_for_a_while_is_where_tmpdir_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with scratch_folder() as folder:
        assert folder.parent == tmp_path
        (folder / "file").write_bytes(b"")
    assert list(tmp_path.iterdir()) == []


def test_a_tmpdir_that_is_not_there_is_named_and_no_other_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setenv("TMPDIR", str(missing))
    with pytest.raises(PaymentInfraError) as refused, scratch_folder():
        pytest.fail("there is none")
    assert str(refused.value) == (
        f"{missing}: cannot be used for temporary files (No such file or directory); "
        "mend that, or name another folder in TMPDIR"
    )


def test_a_machine_without_any_place_for_temporary_files_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", none)
    told = r"^TMPDIR: .*\(No usable temporary"
    with pytest.raises(PaymentInfraError, match=told), scratch_folder():
        pytest.fail("there is none")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_a_tmpdir_that_is_full_is_named(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    told = f"^{tmp_path}: cannot be used for temporary"
    with pytest.raises(PaymentInfraError, match=told), scratch_folder() as folder:
        raise OSError(number, os.strerror(number), str(folder / "wheel"))
    assert list(tmp_path.iterdir()) == []


def test_a_tmpdir_in_which_no_file_has_room_is_named_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", full)
    told = f"^{tmp_path}: cannot be used for temporary files .No space left on device.;"
    with pytest.raises(PaymentInfraError, match=told), scratch_folder():
        pytest.fail("nothing has room in it")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("total", "free", "fits"), [(9, 6, False), (9, 7, True), (0, 0, True)])
def test_a_tmpdir_with_less_room_than_is_needed_is_named_before_anything_is_done(
    total: int, free: int, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = SimpleNamespace(total=total * 10**6, free=free * 10**6)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: sizes)
    if fits:
        with scratch_folder(7_000_000) as folder:
            assert list(folder.iterdir()) == []
    else:
        with pytest.raises(PaymentInfraError) as refused, scratch_folder(7_000_000):
            pytest.fail("it has too little room")
        assert str(refused.value) == (
            f"{tmp_path}: cannot be used for temporary files (6.0 MB are free, and 7.0 MB are "
            "needed); mend that, or name another folder in TMPDIR"
        )
    assert list(tmp_path.iterdir()) == []


def test_what_fails_elsewhere_is_not_laid_on_tmpdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(OSError, match="stdout"), scratch_folder():
        raise OSError(errno.ENOSPC, "No space left on device", "stdout")
