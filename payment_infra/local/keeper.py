"""Runs the embedded AWS (`serving`), and ends it when the process that has started it is no more.

A script, which is run by its path: it knows the standard library alone, since the environment of
the embedded AWS leads to nothing else of ours. Its standard input is a pipe that nobody writes to;
that ends with the process at its other end, however that ended.
"""

import os
import runpy
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

STOP_SECONDS = 5.0

left = threading.Event()


def end_when_left(scratch: Path) -> None:
    """Wait for the end of standard input; then stop what runs here, which saves its state first."""
    while os.read(0, 1):
        pass
    left.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    end_group(scratch)


def end_group(scratch: Path) -> None:
    """Remove the folder, and end the group of processes at once."""
    shutil.rmtree(scratch, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def main(program: str, scratch: Path, *arguments: str) -> None:
    """Run a program, as `python` does.

    Args:
        program: its file, or the folder that has a __main__.py.
        scratch: the folder that was made for this run, and goes if nobody is left to remove it.
        arguments: the program's.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.Thread(target=end_when_left, args=(scratch,), daemon=True).start()
    sys.argv = [program, *arguments]
    try:
        runpy.run_path(program, run_name="__main__")
    finally:
        if left.is_set():
            end_group(scratch)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
