"""The standard streams, whatever they are connected to: a command neither dies of them, nor loses
in silence what it has written.

A stream that is closed is as one to /dev/null: its number is taken, so that no socket gets it. A
character that an encoding has not is written by others. A write is whole or an error. Where the
reader has left, a command that only shows something ends quietly; what changes an environment is
`sheltered`, and goes on to its end, its last word included.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from payment_infra.errors import PaymentInfraError

# The exit code of a command whose reader has left, as with `| head`: what a shell gives for a
# program that SIGPIPE (13) has ended (POSIX, "Exit Status for Commands": above 128).
READER_LEFT = 128 + 13
STDIN, STDOUT, STDERR = 0, 1, 2
NAMES = {STDOUT: "stdout", STDERR: "stderr"}
# The name of our error handler among Python's (`codecs.register_error`).
DEGRADED = "payment_infra.degraded"
# What is drawn, and the nearest that every encoding has. It keeps its width, but for the arrow, so
# that lines still fit. The last are those of rich's bars.
NEAREST = {
    "→": "->",
    "…": "~",
    **dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)),
    **dict.fromkeys("━╸╺", "-"),
}


class Output(io.FileIO):
    """The bytes of stdout or stderr: a write is whole, or what keeps it from that is told.

    sheltered says that a failure must not end what is being done; lost is that failure, after
    which nothing more is written; absent that nobody had opened the stream.
    """

    def __init__(self, number: int, *, absent: bool) -> None:
        super().__init__(number, "wb", closefd=False)
        self.absent = absent
        # Nothing depends on what is said on stderr.
        self.sheltered = number == STDERR
        self.lost: OSError | None = None

    def write(self, data: memoryview | bytes) -> int:  # type: ignore[override]
        """Write all of it.

        Raises:
            SystemExit: nobody reads stdout any more; the program ends quietly.
            OSError: stdout cannot be written; its name is in `filename`.
        """
        rest = memoryview(data).cast("B")
        written = len(rest)
        while rest and self.lost is None:
            try:
                rest = rest[os.write(self.fileno(), rest) :]
            except BlockingIOError:
                os.set_blocking(self.fileno(), True)  # whoever shares the stream has it otherwise
            except OSError as error:
                self._lose(error)
        return written

    def _lose(self, error: OSError) -> None:
        self.lost = error
        number = self.fileno()
        if self.sheltered:
            if number == STDOUT:
                reason = "nobody reads it any more" if _left(error) else error.strerror
                print(f"stdout: {reason}; what was begun goes on to its end", file=sys.stderr)
        elif _left(error):
            raise SystemExit(READER_LEFT)
        else:
            raise OSError(error.errno, error.strerror, NAMES[number])


class Text(io.TextIOWrapper):
    """Text in the encoding of a terminal, written at once, with what that lacks by others."""

    def __init__(self, output: Output, encoding: str) -> None:
        super().__init__(output, encoding, DEGRADED, write_through=True)
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding, but UTF-8 for ASCII: click takes that for a mistake, and would write UTF-8
        past this stream (`click._compat._stream_is_misconfigured`)."""
        return "utf-8" if codecs.lookup(self._encoding).name == "ascii" else self._encoding

    def as_written(self, text: str) -> str:
        """Return text with what the encoding lacks by others."""
        return text.encode(self._encoding, DEGRADED).decode(self._encoding)


def prepare() -> None:
    """Make the standard streams such; before anything is opened or written."""
    codecs.register_error(DEGRADED, _degrade)
    absent = [number for number in (STDIN, STDOUT, STDERR) if not _is_open(number)]
    for _ in absent:
        # It gets the lowest number that is free (POSIX, open), and subprocesses inherit it.
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None or STDIN in absent:
        sys.stdin = open(STDIN, encoding="utf-8", closefd=False)  # noqa: SIM115
    elif isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    for number, name in NAMES.items():
        encoding = getattr(getattr(sys, name), "encoding", None) or "utf-8"
        setattr(sys, name, Text(Output(number, absent=number in absent), encoding))


@contextmanager
def sheltered() -> Iterator[None]:
    """Let nothing that happens to stdout end what the block, or a function under this, does.

    Raises:
        PaymentInfraError: at the end: stdout could not be written, and has not got all.
    """
    output = getattr(sys.stdout, "buffer", None)
    if not isinstance(output, Output) or output.sheltered:
        yield
        return
    output.sheltered = True
    try:
        yield
    finally:
        output.sheltered = False
    if output.lost and not _left(output.lost):
        raise PaymentInfraError(
            f"stdout: {output.lost.strerror}; it has not got all, but what was begun is done"
        )


def errors_are_unseen() -> bool:
    """Whether stderr was closed when the program began."""
    output = getattr(sys.stderr, "buffer", None)
    return isinstance(output, Output) and output.absent


def as_written(text: str) -> str:
    """Return text as stdout will have it."""
    if text.isascii() or not isinstance(sys.stdout, Text):
        return text
    return sys.stdout.as_written(text)


def _left(error: OSError) -> bool:
    return isinstance(error, BrokenPipeError)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _degrade(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    nearest = (NEAREST.get(character) or _numbered(character) for character in found)
    return "".join(nearest), error.end


def _numbered(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()
