"""A check as lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from payment_infra.foreign import escaped

if TYPE_CHECKING:
    from payment_infra.checks import Check

COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}
LEVEL = 6
NAME = 16
INDENT = " " * (LEVEL + NAME)


def draw(check: Check, width: int) -> str:
    """Return what was found, and below it what to do; names that are to be copied stay whole."""
    return "\n".join(_lines(check, width))


def _lines(check: Check, width: int) -> Iterator[str]:
    label = f"{check.level:<{LEVEL}}{check.name:<{NAME}}"
    first, *rest = _wrap(check.message, width)
    level = click.style(label[:LEVEL], fg=COLORS[check.level])
    yield level + label[LEVEL:] + first
    yield from (INDENT + line for line in rest)
    if check.remedy:
        yield from (INDENT + line for line in _wrap(f"fix: {check.remedy}", width))


def _wrap(text: str, width: int) -> list[str]:
    text, room = escaped(text), max(20, width - len(INDENT))
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
