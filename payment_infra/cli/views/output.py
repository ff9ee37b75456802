"""What a person reads: notes on stderr, tables on stdout."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.streams import as_written, errors_are_unseen
from payment_infra.cli.views.text import columns
from payment_infra.foreign import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# A space at which no line is broken.
NO_BREAK = "\N{NO-BREAK SPACE}"


def note(message: str) -> None:
    """Say on stderr what happens."""
    click.echo(message, err=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    print_data(json.dumps(document, indent=2) + "\n")


def print_data(text: str) -> None:
    """Print on stdout what a program reads: in UTF-8, whatever a terminal's encoding is."""
    click.echo(text.encode(), nl=False)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout, never cut: a long value can be copied whole."""
    table = [headings, *([as_written(escaped(cell)) for cell in row] for row in rows)]
    widths = [max(map(columns, column)) for column in zip(*table, strict=True)]
    for number, row in enumerate(table):
        cells = (
            cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)
        )
        line = "  ".join(cells).rstrip()
        click.echo(click.style(line, bold=True) if number == 0 else line)


def width() -> int | None:
    """Return how many columns a line on stdout may have; None where no terminal ends it."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_section(title: str, content: Mapping[str, Any]) -> None:
    """Print a title, and below it each value with its name."""
    click.secho(title, bold=True)
    for name, value in content.items():
        if isinstance(value, dict):
            click.echo(f"  {escaped(name)}")
            for key, inner in value.items():
                click.echo(f"    {escaped(key):<18}{_shown(inner)}")
        else:
            click.echo(f"  {escaped(name):<20}{_shown(value)}")


def _shown(value: Any) -> str:
    return escaped(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def print_outputs(outputs: Mapping[str, str], form: str) -> None:
    """Print a stack's outputs as a table or as one JSON object."""
    if form == "json":
        print_json(dict(outputs))
    else:
        print_table(("output", "value"), outputs.items())


def check_answers(agreed: bool, flag: str = "--yes") -> None:
    """Make sure that somebody can be asked, unless it has been agreed to.

    Raises:
        UsageError: there is no terminal, and `flag` was not given.
    """
    from payment_infra.errors import UsageError

    if not agreed and (not sys.stdin.isatty() or errors_are_unseen()):
        raise UsageError(f"there is no terminal to ask on; add {flag} to go ahead")


def confirm(question: str, agreed: bool, flag: str = "--yes") -> None:
    """Ask on stderr, unless it has been agreed to; return if the answer is yes.

    Raises:
        UsageError: nobody can answer, and `flag` was not given.
        Declined: the answer is no.
    """
    from payment_infra.errors import Declined

    if agreed:
        return
    check_answers(agreed, flag)
    try:
        answer = click.confirm(_wrapped(question), err=True)
    except click.Abort:
        note("")  # the question's line has not ended
        raise
    if not answer:
        raise Declined("declined; nothing was changed")


def _wrapped(question: str) -> str:
    """Return a question in lines that the terminal holds, the last with room for the answer."""
    width = shutil.get_terminal_size().columns
    room = NO_BREAK * len(" [y/N]: y")
    return textwrap.fill(
        f"{question}{room}", width, break_long_words=False, break_on_hyphens=False
    ).rstrip(NO_BREAK)
