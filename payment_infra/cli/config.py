"""`payment-infra config`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import config_options, output_option
from payment_infra.cli.views.output import print_json, print_table
from payment_infra.config import FIELDS

if TYPE_CHECKING:
    from payment_infra.sources import Resolved


@click.command("config")
@config_options()
@output_option
@everywhere
def command(resolved: Resolved, output: str) -> None:
    """Show every setting, its value, and where it came from.

    \b
    Example:
      payment-infra config --suffix dev-001
    """
    values = {name: getattr(resolved.config, name) for name in FIELDS}
    if output == "json":
        print_json(
            {
                name: {"value": value, "source": resolved.sources[name]}
                for name, value in values.items()
            }
        )
        return
    print_table(
        ("setting", "value", "source"),
        [(name, _text(value), resolved.sources[name]) for name, value in values.items()],
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{key}={text}" for key, text in value.items()) or "-"
    if isinstance(value, tuple):
        return ", ".join(value) or "-"
    return str(value) or "-"
