"""Files that are written whole or not at all, and JSON files that are read."""

import json
import os
import tempfile
from pathlib import Path

from payment_infra.errors import PaymentInfraError, UsageError


def write_file(path: Path, content: bytes) -> None:
    """Replace the file's content in one step: a full disk or a kill leaves the old file.

    Raises:
        PaymentInfraError: the folder is missing or not writable, the path is a folder, the disk
            is full.
    """
    try:
        if path.is_dir():
            raise PaymentInfraError(f"{path}: is a directory; name a file in it")
        if not path.parent.is_dir():
            raise PaymentInfraError(f"{path}: there is no directory {path.parent}; make it first")
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a device or a pipe cannot be replaced
            return
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PaymentInfraError(f"{path}: cannot be written ({error.strerror})") from error


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


def read_json_object(path: Path) -> str:
    """Return the text of a file with a JSON object.

    Raises:
        UsageError: there is no such file, or it holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: must hold a JSON object")
    return text


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
