"""The secret of a payment gateway, read of a file for a command that needs its text."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

from payment_infra.errors import UsageError
from payment_infra.texts import text_of

STDIN = "-"
# "AWS Secrets Manager quotas": secret value size, in bytes. What is longer is no such secret.
MAX_SECRET_BYTES = 65_536


@dataclass(frozen=True)
class Secret:
    """A secret's text, which nothing shows; warning is about its file, "" for none."""

    text: str = field(repr=False)
    warning: str = ""


def read_secret(name: str) -> Secret:
    """Return the text of a file, a pipe, or for "-" stdin, without the blank space around it.

    Raises:
        UsageError: it cannot be read, or is no secret: empty, too long, no text; nothing of it is
            told. Or stdin is a terminal, which would show it.
    """
    called = "stdin" if name == STDIN else name
    content, warning = _stdin() if name == STDIN else _file(Path(name))
    if len(content) > MAX_SECRET_BYTES:
        raise UsageError(
            f"{called}: is longer than {MAX_SECRET_BYTES // 1024} KiB, and so no secret; "
            "name the file that holds the secret alone"
        )
    text = text_of(content, called).strip()
    if not text:
        raise UsageError(f"{called}: is empty; it has to hold the gateway's secret")
    return Secret(text, warning)


def _stdin() -> tuple[bytes, str]:
    if sys.stdin.isatty():
        raise UsageError(
            "stdin: is a terminal, which would show the secret; name a file, or pipe it in"
        )
    try:
        return sys.stdin.buffer.read(MAX_SECRET_BYTES + 1), ""
    except OSError as error:
        raise UsageError(f"stdin: cannot be read ({error.strerror})") from error


def _file(path: Path) -> tuple[bytes, str]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    # A pipe's mode says nothing of what goes through it.
    shared = stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH
    return content, f"everybody on this machine can read {path}; `chmod 600` it" if shared else ""
