"""Files that are written whole or not at all."""

import contextlib
import errno
import io
import os
import stat
import tempfile
from pathlib import Path
from typing import IO

from payment_infra.errors import PaymentInfraError, UsageError

# What a write fails with where there is no room, or no right to write at all.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# Of the names of files that take the place of others once they are whole.
PREFIX = ".payment-infra-"
CHUNK_BYTES = 1024 * 1024


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
