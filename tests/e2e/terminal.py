"""A program at a terminal: what it draws, and the keys that are pressed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

CTRL_C = "\x03"
WAIT_SECONDS = 60.0
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


class Terminal:
    """A program that runs at a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.raw = ""
        self._process = process
        self._descriptor = descriptor

    @property
    def text(self) -> str:
        """What was drawn until now, without what moves and colours."""
        return ESCAPES.sub("", self.raw).replace("\r\n", "\n")

    def until(self, text: str) -> None:
        """Wait until the text was drawn."""
        deadline = time.monotonic() + WAIT_SECONDS
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            assert self._read(1.0) or self._process.poll() is None, self.text

    def press(self, keys: str) -> None:
        """Type something; a key that interrupts, only once the program waits for something.

        Just before it waits at a question, Python would notice the interruption after the answer.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while keys == CTRL_C and not self._waits():
            assert time.monotonic() < deadline, self.text
        os.write(self._descriptor, keys.encode())

    def end(self) -> int:
        """Wait until the program has ended; return its exit status."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self._process.poll() is None:
            assert time.monotonic() < deadline, self.text
            self._read(0.1)
        while self._read(0.1):
            pass
        return int(self._process.returncode)

    def _waits(self) -> bool:
        """Whether the program's main thread sleeps, as far as the system tells."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:  # it has ended, or this is no Linux
            return True
        return stat.rpartition(")")[2].split()[0] != "R"

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self._descriptor, 65_536)
        except OSError:  # the program has let go of the terminal
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)


@contextlib.contextmanager
def at_terminal(
    command: list[str], cwd: Path, variables: Mapping[str, str], columns: int = 80
) -> Iterator[Terminal]:
    """Run a program at a terminal while the block lasts."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={"TERM": "xterm-256color", **variables},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        preexec_fn=own_terminal,  # noqa: PLW1509 (it only calls the kernel)
    )
    os.close(terminal)
    try:
        yield Terminal(process, controller)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(controller)
