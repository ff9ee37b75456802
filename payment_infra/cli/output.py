"""What a person reads: notes on stderr, tables on stdout."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def note(message: str) -> None:
    """Say on stderr what is going on."""
    click.echo(message, err=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(document, indent=2))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout, never cut: a long value can be copied whole."""
    table = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for number, row in enumerate(table):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        line = "  ".join(cells).rstrip()
        click.echo(click.style(line, bold=True) if number == 0 else line)


def print_outputs(outputs: Mapping[str, str], form: str) -> None:
    """Print a stack's outputs as a table or as one JSON object."""
    if form == "json":
        print_json(dict(outputs))
    else:
        print_table(("output", "value"), outputs.items())


def confirm(question: str, yes: bool) -> None:
    """Ask on stderr; return if the answer is yes.

    Raises:
        UsageError: nobody can answer, and --yes was not given.
        Declined: the answer is no.
    """
    from payment_infra.errors import Declined, UsageError

    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on; add --yes to go ahead")
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        note("")  # the question's line has not ended
        raise
    if not agreed:
        raise Declined("declined; nothing was changed")
