"""What is drawn anew in its place: no higher and no wider than the terminal."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.text import Text


def console(width: int | None = None, *, stderr: bool = False) -> Console:
    """Return what is drawn on, without colour where that is not wanted."""
    from rich.console import Console

    context = click.get_current_context(silent=True)
    plain = context is not None and context.color is False
    return Console(stderr=stderr, width=width, no_color=plain, highlight=False)


def is_drawable() -> bool:
    """Whether the terminal can move its cursor (terminfo, "dumb": no capabilities)."""
    return os.environ.get("TERM") != "dumb"


def ended(drawing: RenderableType) -> Group:
    """Return a drawing with an empty line below it, on which a terminal shows `^C`.

    At the end of a full line that would begin another, which is not known of here, and the drawing
    would be taken away from one line too low.
    """
    from rich.console import Group

    return Group(drawing, "")


def room(lines: int | None = None) -> int:
    """Return how many lines can be drawn and taken away again, of the terminal's or so many.

    What has scrolled out cannot: below the drawing is an empty line, and at its end another begins.
    """
    return max((lines or shutil.get_terminal_size().lines) - 2, 1)


def fitted(screen: str, on: Console) -> Text:
    """Return what of a screen of styled text there is room for, and how much there is not."""
    from rich.text import Text

    lines, most = [*Text.from_ansi(screen).wrap(on, on.width)], room(on.height)
    if len(lines) > most:
        hidden = len(lines) - most + 1
        lines[most - 1 :] = [Text(f"… {hidden} more lines: a higher terminal shows them")]
    return Text("\n").join(lines)
