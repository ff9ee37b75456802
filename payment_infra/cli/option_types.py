"""Options and values of the command line that click has not."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import click


class Renamed(click.Option):
    """An option whose earlier names are taken from scripts still, and shown nowhere."""

    def __init__(self, *args: Any, earlier: tuple[str, ...], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.earlier = earlier

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser know all of its names."""
        shown = self.opts
        self.opts = [*shown, *self.earlier]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


class Span(click.FloatRange):
    """A number in a range; nan, which click takes for one in every range, is in none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class OutputFile(click.Path):
    """A file that is written, which no name with a slash at its end is (`Path` forgets that)."""

    def __init__(self, path_type: type[str | Path] = Path) -> None:
        # What is there is looked at where it is written.
        super().__init__(readable=False, path_type=path_type)
        self.name = "file"

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """Return the path."""
        if os.fspath(value).endswith(os.sep):
            self.fail(f"{value} is a directory; name a file in it", param, ctx)
        return super().convert(value, param, ctx)


class TransactionId(click.ParamType[str]):
    """The id of a payment, as the API takes it (handlers/shared/fields.py)."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id."""
        text = str(value)
        if not (1 <= len(text) <= 128 and all("!" <= character <= "~" for character in text)):
            self.fail("an id is 1 to 128 visible ASCII characters", param, ctx)
        return text
