"""Ctrl-C: the first and the second interrupt, so that what is left is told; the third ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

SCRIPT = """
import signal
from payment_infra import cli

cli.handle_interrupts()
for number in (1, 2):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print(number, flush=True)
signal.raise_signal(signal.SIGINT)
print("it goes on")
"""
FAILING = """
import signal
import sys

import click
from payment_infra import cli

cli.handle_interrupts()

@click.command("it")
def it():
    raise KeyboardInterrupt

def press(*_, **__):
    signal.raise_signal(signal.SIGINT)

cli.Root.get_command = lambda *_: it
click.secho = press
sys.argv = ["payment-infra", "it"]
cli.main()
print("it goes on")
"""


def run(script: str) -> tuple[str, int, bytes]:
    """Run a script at a terminal; return what it wrote, how it ended, and what the terminal got."""
    terminal, stderr = os.openpty()
    try:
        ended = subprocess.run(
            [sys.executable, "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=False,
        )
        os.write(stderr, b"\0")
        told = b""
        while not told.endswith(b"\0"):
            told += os.read(terminal, 10_000)
        return ended.stdout, ended.returncode, told[:-1]
    finally:
        os.close(terminal)
        os.close(stderr)


def test_two_interrupt_and_the_third_ends_the_program_with_its_cursor() -> None:
    assert run(SCRIPT) == ("1\n2\n", -signal.SIGINT, b"\x1b[?25h")


def test_once_the_error_is_told_the_next_one_ends_the_program() -> None:
    out, status, told = run(FAILING)
    assert (out, status) == ("", -signal.SIGINT)
    assert b"Traceback" not in told
