"""Files that are written whole or not at all, and texts that are read as people save them."""

import codecs
import contextlib
import errno
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from payment_infra.errors import PaymentInfraError, UsageError

# What a write fails with where there is no room, or no right to write at all.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# Of the names of files that take the place of others once they are whole.
PREFIX = ".payment-infra-"
# What texts in other encodings begin with, if not without a mark; the first are longer.
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
CHUNK_BYTES = 1024 * 1024
# As much as shows that a file can be written.
PROBE_BYTES = 65_536


def write_file(path: Path, content: bytes) -> None:
    """Replace the file's content in one step: a full disk or a kill leaves the old file.

    A symbolic link stays, and so do the file's mode and owner. Where no new file can take its place
    (a bind mount, a folder that must not be written, somebody else's file), or a hard link would be
    left with the old content, it is written over: a full disk still leaves the old content, only a
    kill at that moment does not.

    Raises:
        PaymentInfraError: the folder is missing or not writable, the path is a folder, the file
            must not be written, the disk is full.
    """
    try:
        if misnamed := _misnamed(path):
            raise PaymentInfraError(misnamed)
        if _is_special(path):  # which cannot be replaced
            path.write_bytes(content)
        else:
            _put(io.BytesIO(content), _target(path), private=False)
    except OSError as error:
        raise PaymentInfraError(f"{path}: cannot be written ({error.strerror})") from error


def require_place(path: Path, *, new: bool = False) -> None:
    """Make sure, before there is something to write, that a regular file can be written there.

    Args:
        path: the file; what a link leads to counts.
        new: whether there must be none yet.

    Raises:
        UsageError: it cannot, or there is one.
    """
    try:
        if misnamed := _misnamed(path):
            raise UsageError(misnamed)
        if new and path.exists():
            raise UsageError(f"{path}: exists already; name a new file")
        if _is_special(path):
            raise UsageError(f"{path}: is no regular file; name one")
        target = _target(path)
        try:
            with tempfile.NamedTemporaryFile(prefix=PREFIX, dir=target.parent):
                pass
        except OSError:
            if not target.exists():  # which is written over then
                raise
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def move_private(part: Path, path: Path) -> None:
    """Move a file that only its owner can read, and that is on the disk, to its place.

    It is there, whole, on the disk and still private, before it is gone here, whatever disk that
    place is on; a link stays. What was there is replaced as by `write_file`.

    Raises:
        OSError: it cannot be moved, and is left where it is.
    """
    target = _target(path)
    if not _has_other_names(target):
        try:
            part.replace(target)
        except OSError:  # another disk, or what makes `_put` write it over
            pass
        else:
            _sync_folder(target.parent)
            return
    with part.open("rb") as source:
        _put(source, target, private=True)
    part.unlink()


def _misnamed(path: Path) -> str:
    """Say what is wrong with a name, whatever may be written; "" if nothing is."""
    if path.is_dir():
        return f"{path}: is a directory; name a file in it"
    if not path.parent.is_dir():
        return f"{path}: there is no directory {path.parent}; make it first"
    return ""


def _is_special(path: Path) -> bool:
    """Whether it is a device, a pipe, or what is there under a number (/dev/stdout)."""
    return (path.exists() and not path.is_file()) or _is_numbered(path)


def _target(path: Path) -> Path:
    """Return what is written: the path, or what its links lead to.

    Raises:
        OSError: they lead nowhere, or its mode forbids to write it. That a new file could take its
            place does not count, as it does not for a shell's `>`.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():  # a loop of links, which realpath leaves as it is
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if target.exists():
        with target.open("r+b"):
            pass
    return target


def _has_other_names(path: Path) -> bool:
    return path.exists() and path.stat().st_nlink > 1


def _put(source: IO[bytes], target: Path, *, private: bool) -> None:
    """Write what the source holds; private: so that at no time anybody but the owner can read."""
    if _has_other_names(target):
        _write_over(source, target, private=private)
        return
    try:
        _replace(source, target, private=private)
    except OSError:
        if not target.exists():
            raise
        _write_over(source, target, private=private)


def _replace(source: IO[bytes], path: Path, *, private: bool) -> None:
    """Put a new file in the file's place, with its mode and owner unless it is private."""
    found = path.stat() if path.exists() else None
    descriptor, name = tempfile.mkstemp(prefix=PREFIX, dir=path.parent)  # with mode 0600
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            _copy(source, file, 0, source.seek(0, os.SEEK_END))
            if not private:
                _take_over(found, descriptor)
            os.fsync(descriptor)
        Path(name).replace(path)
        _sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _take_over(found: os.stat_result | None, descriptor: int) -> None:
    """Give a new file the owner and mode of the old one, or those of any new file."""
    made = os.fstat(descriptor)
    if found and (found.st_uid, found.st_gid) != (made.st_uid, made.st_gid):
        os.fchown(descriptor, found.st_uid, found.st_gid)
    # After chown, which takes the set-id bits away.
    os.fchmod(descriptor, stat.S_IMODE(found.st_mode) if found else 0o666 & ~_umask())


def _write_over(source: IO[bytes], path: Path, *, private: bool) -> None:
    """Write over a file: first what needs more room, which a full disk refuses."""
    length = source.seek(0, os.SEEK_END)
    with path.open("r+b", buffering=0) as file:
        found = os.fstat(file.fileno())
        old = found.st_size
        if private:
            os.fchmod(file.fileno(), 0o600)
        try:
            _copy(source, file, min(old, length), length)
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(old)
            if private:
                os.fchmod(file.fileno(), stat.S_IMODE(found.st_mode))
            raise
        _copy(source, file, 0, min(old, length))
        file.truncate(length)
        os.fsync(file.fileno())


def _copy(source: IO[bytes], file: IO[bytes], start: int, end: int) -> None:
    """Copy the bytes from start to end to the same place of an unbuffered file."""
    source.seek(start)
    file.seek(start)
    while start < end:
        chunk = memoryview(source.read(min(CHUNK_BYTES, end - start)))
        start += len(chunk)
        while chunk:
            chunk = chunk[file.write(chunk) :]


def _sync_folder(folder: Path) -> None:
    """Have a new name on the disk, too (Linux man-pages, fsync(2)); where that cannot be had, what
    the file holds is there."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_numbered(path: Path) -> bool:
    """Whether a path stands for an open file, as /dev/stdout and /dev/fd/3 do."""
    place = path.absolute()
    return place.parent == Path("/dev") or any(map(place.is_relative_to, ("/dev/fd", "/proc")))


def create_private(path: Path, content: bytes) -> None:
    """Make a file that only its owner can read, whole and on the disk.

    Raises:
        UsageError: the file exists already, and is left as it is.
        PaymentInfraError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{path}: exists already; name a new file") from error
    except OSError as error:
        raise PaymentInfraError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise PaymentInfraError(f"{path}: cannot be written ({error.strerror})") from error


def read_text(path: Path) -> str:
    r"""Return the text of a file in UTF-8, each line of it ending in `\n`.

    A byte order mark, and lines that end as on Windows, are no part of it.

    Raises:
        OSError: it cannot be read.
        UsageError: it is no text in UTF-8.
    """
    content = path.read_bytes()
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            raise UsageError(f"{path}: is a text in {encoding}; save it in UTF-8")
    if b"\0" in content:  # which no text has, but every one of ASCII in those encodings
        raise UsageError(f"{path}: is no text in UTF-8, perhaps in UTF-16; save it in UTF-8")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not a text in UTF-8 (byte {error.start})") from error


def read_json_object(path: Path) -> str:
    """Return the text of a file with a JSON object.

    Raises:
        UsageError: there is no such file, or it holds something else.
    """
    try:
        text = read_text(path)
        content = json.loads(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid JSON: {fault(error)}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: must hold a JSON object")
    return text


def fault(error: ValueError | RecursionError) -> str:
    """Say in one line why a text cannot be parsed."""
    deep = isinstance(error, RecursionError)
    return "it is nested too deeply" if deep else " ".join(str(error).split())


@contextmanager
def scratch_folder(room_bytes: int = PROBE_BYTES) -> Iterator[Path]:
    """Make a folder for what is needed only meanwhile, in TMPDIR or else the system's place.

    Where TMPDIR names a folder, no other is taken: it may be the only one that is private, or has
    the room.

    Args:
        room_bytes: how much will be written there at least.

    Raises:
        PaymentInfraError: there is no such place, nothing can be written there, or it has not the
            room, at the beginning or later; it is named.
    """
    place = os.environ.get("TMPDIR", "")
    with ExitStack() as stack:
        try:
            place = place or tempfile.gettempdir()
            folder = Path(tempfile.mkdtemp(prefix="payment-infra-", dir=place))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            check_room(folder, room_bytes)
        except OSError as error:
            raise _unusable(place, error) from error
        try:
            yield folder
        except OSError as error:
            if error.errno in NO_ROOM and (
                error.filename is None or folder in Path(error.filename).parents
            ):
                raise _unusable(place, error) from error
            raise


def check_room(folder: Path, room_bytes: int) -> None:
    """Make sure that something can be written in a folder, and so many bytes.

    A folder can be made where no file has room. What the file system says is free is more than a
    quota leaves; it says 0 of 0 where it does not know.

    Raises:
        OSError: that cannot be, with how much is free where that is too little.
    """
    probe = folder / "room"
    try:
        probe.write_bytes(bytes(PROBE_BYTES))
    finally:
        probe.unlink(missing_ok=True)
    disk = shutil.disk_usage(folder)
    if disk.total and disk.free < room_bytes:
        free, needed = (f"{number / 1e6:.1f} MB" for number in (disk.free, room_bytes))
        raise OSError(errno.ENOSPC, f"{free} are free, and {needed} are needed")


def _unusable(place: str, error: OSError) -> PaymentInfraError:
    return PaymentInfraError(
        f"{place or 'TMPDIR'}: cannot be used for temporary files ({error.strerror}); "
        "mend that, or name another folder in TMPDIR"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
