"""The help of a command that takes every setting, in sections."""

import click

from payment_infra.config import SECTIONS

OWN = "Options"
# Title to what commands share besides the settings.
SHARED = {
    "Every command": ("--help", "--debug", "--no-color"),
    "AWS": ("--profile", "--region", "--endpoint-url"),
    "Where settings come from": ("--preset", "--config"),
}
COLUMN = 30


class Sectioned(click.Command):
    """A command whose help has its own options first, then those of others, then the settings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their sections, all in the same two columns."""
        sections = {**SHARED, **SECTIONS}
        titles = {name: title for title, names in sections.items() for name in names}
        found: dict[str, list[tuple[str, str]]] = {title: [] for title in (OWN, *sections)}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record and isinstance(option, click.Option):
                spelled, text = record
                title = titles.get(option.name or "") or titles.get(option.opts[-1], OWN)
                found[title].append((spelled.ljust(COLUMN), text))
        for title, rows in found.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=COLUMN)
