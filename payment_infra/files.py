"""Files that are written whole or not at all, and texts that are read as people save them."""

import codecs
import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from payment_infra.errors import PaymentInfraError, UsageError

# What a write fails with where there is no room, or no right to write at all.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def write_file(path: Path, content: bytes) -> None:
    """Replace the file's content in one step: a full disk or a kill leaves the old file.

    A symbolic link stays, and so do the file's mode and owner. Where no new file can take its place
    (a bind mount, a folder that must not be written, somebody else's file), it is written over: a
    full disk still leaves the old content, only a kill at that moment does not.

    Raises:
        PaymentInfraError: the folder is missing or not writable, the path is a folder, the disk
            is full.
    """
    try:
        if path.is_dir():
            raise PaymentInfraError(f"{path}: is a directory; name a file in it")
        if not path.parent.is_dir():
            raise PaymentInfraError(f"{path}: there is no directory {path.parent}; make it first")
        # A device or a pipe cannot be replaced, nor what is there under a number (/dev/stdout).
        if (path.exists() and not path.is_file()) or _is_numbered(path):
            path.write_bytes(content)
            return
        target = Path(os.path.realpath(path))
        if target.is_symlink():  # a loop of links, which realpath leaves as it is
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        try:
            _replace(target, content)
        except OSError:
            if not target.exists():
                raise
            _write_over(target, content)
    except OSError as error:
        raise PaymentInfraError(f"{path}: cannot be written ({error.strerror})") from error


def _replace(path: Path, content: bytes) -> None:
    """Put a new file in the file's place, with its mode and owner."""
    found = path.stat() if path.exists() else None
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            made = os.fstat(file.fileno())
            if found and (found.st_uid, found.st_gid) != (made.st_uid, made.st_gid):
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
            # After chown, which takes the set-id bits away.
            os.fchmod(file.fileno(), stat.S_IMODE(found.st_mode) if found else 0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _write_over(path: Path, content: bytes) -> None:
    """Write over a file: first what needs more room, which a full disk refuses."""
    with path.open("r+b", buffering=0) as file:
        old = file.seek(0, os.SEEK_END)
        try:
            _write_at(file, content, min(old, len(content)), len(content))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(old)
            raise
        _write_at(file, content, 0, min(old, len(content)))
        file.truncate(len(content))
        os.fsync(file.fileno())


def _write_at(file: IO[bytes], content: bytes, start: int, end: int) -> None:
    file.seek(start)
    while start < end:
        start += file.write(content[start:end])


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
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{path}: is a text in UTF-16; save it in UTF-8")
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
    except ValueError as error:
        raise UsageError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: must hold a JSON object")
    return text


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for what is needed only meanwhile, in TMPDIR or else the system's place.

    Where TMPDIR names a folder, no other is taken: it may be the only one that is private, or has
    the room.

    Raises:
        PaymentInfraError: there is no such place, or nothing can be written there; it is named.
    """
    place = os.environ.get("TMPDIR", "")
    try:
        place = place or tempfile.gettempdir()
        folder = Path(tempfile.mkdtemp(prefix="payment-infra-", dir=place))
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
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unusable(place: str, error: OSError) -> PaymentInfraError:
    return PaymentInfraError(
        f"{place or 'TMPDIR'}: cannot be used for temporary files ({error.strerror}); "
        "mend that, or name another folder in TMPDIR"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
