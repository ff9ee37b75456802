"""What a person reads at a terminal, command after command, as text to look at and to keep."""

from __future__ import annotations

import re
import shlex
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from payment_infra.cli.views import progress
from payment_infra.cloud.stacks.stack import Stack
from tests import snapshots
from tests.stacks import START

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.functional.conftest import Cli

# What is to be copied, or read as a sentence, and so may be longer than the terminal is wide.
MAY_BE_LONG = (
    *("Error: ", "Warning: ", "$ ", "  aws ", "nobody is told of alarms; "),
    *("APIEndpoint", "CallerPolicyArn", "AlarmTopicArn"),
)


# A logical id that is another with every change of the API.
DIGEST = re.compile(r"PaymentAPIDeployment[0-9a-f]{12}")
CHANGE_SET = re.compile(r"payment-infra-[0-9a-f]{32}")
PREVIEW = re.compile(r"((?:.*\+ .*\n){3})(?:.*\n)*?(?=Create the stack)")


@dataclass
class Clock:
    """A clock that goes on by so many seconds whenever it is looked at."""

    seconds: int
    now: datetime = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=self.seconds)
        return self.now


@dataclass
class Transcript:
    """Commands at a terminal of so many columns, each followed by what it leaves on the screen.

    `at_terminal` is to have been called, with the same width.
    """

    cli: Cli
    width: int
    color: bool
    text: str = ""

    def __call__(self, *arguments: str, typed: str | None = None, shortened: bool = False) -> int:
        """Give a command, and answer its questions; return its exit code.

        shortened leaves out most of a long preview.
        """
        given = arguments if self.color else (*arguments, "--no-color")
        result = self.cli(*given, typed=typed, color=True)
        line = shlex.join(["payment-infra", *arguments])
        shown = DIGEST.sub("PaymentAPIDeployment0123456789ab", screen(result.output))
        shown = CHANGE_SET.sub(f"payment-infra-{'0' * 32}", shown)
        if shortened:
            shown = PREVIEW.sub(r"\1[...]\n", shown)
        self.text += f"$ {line}\n{shown}".rstrip("\n") + "\n\n"
        return result.exit_code

    def check(self, name: str, *, log: bool = False) -> None:
        """Compare all of it with what was reviewed; only in a log may lines be too wide."""
        text = self.text.rstrip("\n") + "\n"
        snapshots.check(f"{name}-{self.width}", text, color=self.color)
        if not log:
            check_width(self.text, self.width)


def at_terminal(
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    now: Callable[[], datetime],
    *,
    live: bool = True,
    sleep: Callable[[float], None] = lambda _: None,
) -> None:
    """Give commands a terminal of so many columns, a clock, and pauses that take no time.

    live says whether it is one on which a drawing can be drawn anew, or whether lines are wanted.
    """
    view = partial(progress.view, now=now)

    def shown(form: str, stack: str, *, terminal: bool) -> AbstractContextManager[progress.View]:
        return view(form, stack, terminal=live)

    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich asks the stream, which is none
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "view", shown)
    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(Stack.__init__, "__defaults__", (sleep, ""))


def check_width(text: str, width: int) -> None:
    """Make sure that no line is too wide for a terminal, but for what is copied or is an error."""
    lines = click.unstyle(text).splitlines()
    wide = [line for line in lines if len(line) > width and not line.startswith(MAY_BE_LONG)]
    assert wide == []


def screen(raw: str, height: int | None = None) -> str:
    """Return what a terminal shows after this, with what has scrolled out of it.

    It knows only what rich's Live and \\r send. What has scrolled out of `height` lines, no cursor
    comes back to.
    """
    lines, row, begins = [""], 0, False
    for part in re.split(r"(\x1b\[1A|\x1b\[2K|\x1b\[\?25[hl]|\r|\n)", raw):
        match part:
            case "\n":
                row, begins = row + 1, False
                lines += [""] * (row - len(lines) + 1)
            case "\x1b[1A":
                top = 0 if height is None else max(0, len(lines) - height)
                row = max(row - 1, top)
            case "\x1b[2K":
                lines[row] = ""
            case "\r":
                begins = True
            case "" | "\x1b[?25h" | "\x1b[?25l":
                pass
            case _:
                before = lines[row][len(part) :] if begins else ""
                lines[row] = part + before if begins else lines[row] + part
                begins = False
    return "".join(f"{line}\n" for line in lines).rstrip("\n") + "\n"
