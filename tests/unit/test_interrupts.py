"""Ctrl-C, SIGTERM and SIGHUP: the first and the second interrupt, so that what is left is told; the
third ends the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from payment_infra.cli import interruption

# Whoever runs the tests may ignore them, as nohup does, and a shell for what is in the background.
HEARD = """
import signal

for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(kind, signal.SIG_DFL)
"""
SCRIPT = """
import signal
import sys
from payment_infra.cli import interruption

interruption.handle()
for name in sys.argv[1:]:
    try:
        signal.raise_signal(signal.Signals[name])
    except KeyboardInterrupt:
        print("interrupted", name, interruption.status(), flush=True)
print("it goes on")
"""
FAILING = """
import signal
import sys

import click
from payment_infra import cli

[first, second] = sys.argv[1:]

@click.command("it")
def it():
    signal.raise_signal(signal.Signals[first])

tell = click.secho

def press(*args, **options):
    tell(*args, **options)
    if second:
        signal.raise_signal(signal.Signals[second])

cli.Root.get_command = lambda *_: it
click.secho = press
sys.argv = ["payment-infra", "render"]
cli.main()
print("it goes on")
"""


def run(script: str, *arguments: str) -> tuple[str, int, bytes]:
    """Run a script at a terminal; return what it wrote, how it ended, and what the terminal got."""
    terminal, stderr = os.openpty()
    try:
        ended = subprocess.run(
            [sys.executable, "-c", HEARD + script, *arguments],
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


KINDS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("kind", KINDS)
def test_two_interrupt_and_the_third_ends_the_program_with_its_cursor(kind: signal.Signals) -> None:
    interrupted = f"interrupted {kind.name} {128 + kind}\n"
    assert run(SCRIPT, *[kind.name] * 3) == (interrupted * 2, -kind, b"\x1b[?25h")


def test_the_end_of_a_terminal_comes_more_than_once_and_counts_once() -> None:
    out, status, _ = run(SCRIPT, *["SIGHUP"] * 4)
    assert (out, status) == ("interrupted SIGHUP 129\nit goes on\n", 0)


@pytest.mark.parametrize(
    "names", [("SIGTERM", "SIGHUP"), ("SIGHUP", "SIGTERM"), ("SIGINT", "SIGTERM", "SIGHUP")]
)
def test_a_signal_of_another_kind_does_not_interrupt_the_clean_up(names: tuple[str, ...]) -> None:
    first = signal.Signals[names[0]]
    assert run(SCRIPT, *names)[0] == f"interrupted {first.name} {128 + first}\nit goes on\n"


@pytest.mark.parametrize("kind", interruption.SIGNALS)
def test_what_is_ignored_stays_so_unless_it_is_asked_for(kind: signal.Signals) -> None:
    ignoring = f"import signal\nsignal.signal({kind:d}, signal.SIG_IGN)\n{SCRIPT}"
    assert run(ignoring, kind.name)[0] == "it goes on\n"
    heard = ignoring.replace("handle()", f"handle(ignored=({kind:d},))")
    assert run(heard, kind.name)[0] == f"interrupted {kind.name} {128 + kind}\nit goes on\n"


@pytest.mark.parametrize("kind", interruption.SIGNALS)
def test_the_exit_code_is_that_of_the_signal(kind: signal.Signals) -> None:
    out, status, told = run(FAILING, kind.name, "")
    assert (out, status) == ("", 128 + kind)
    assert told.endswith(b"Error: interrupted\x1b[0m\r\n")


@pytest.mark.parametrize("kind", interruption.SIGNALS)
def test_once_the_error_is_told_the_next_one_ends_the_program(kind: signal.Signals) -> None:
    out, status, told = run(FAILING, signal.SIGINT.name, kind.name)
    assert (out, status) == ("", -kind)
    assert b"Traceback" not in told
