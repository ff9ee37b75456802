"""`payment-infra config`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import config_options, output_option
from payment_infra.cli.sections import Sectioned
from payment_infra.cli.views.output import print_json, print_table
from payment_infra.config import FIELDS
from payment_infra.names import STACK_NAME_PREFIX
from payment_infra.place import PLACE

if TYPE_CHECKING:
    from payment_infra.sources import Resolved


@click.command("config", cls=Sectioned)
@config_options()
@output_option
@everywhere
def command(resolved: Resolved, output: str) -> None:
    """Show every setting, its value, and where it came from.

    \b
    Example:
      payment-infra config --suffix dev-001
    """
    shown = {name: _place(resolved, name, os.environ) for name in PLACE} | {
        name: (getattr(resolved.config, name), resolved.sources[name]) for name in FIELDS
    }
    if output == "json":
        print_json(
            {name: {"value": value, "source": source} for name, (value, source) in shown.items()}
        )
        return
    print_table(
        ("setting", "value", "source"),
        [(name, _text(value), source) for name, (value, source) in shown.items()],
    )


def _place(resolved: Resolved, name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return a part of the place and its source; what the AWS configuration says is not read."""
    value: str = getattr(resolved.place, name)
    if value:
        return value, resolved.place.sources[name]
    if name == "stack_name":
        suffix = resolved.config.suffix
        return f"{STACK_NAME_PREFIX}-{suffix}" if suffix else "", "default"
    variable = f"AWS_{name.upper()}"
    return (environ[variable], variable) if environ.get(variable) else ("", "AWS configuration")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{key}={text}" for key, text in value.items()) or "-"
    if isinstance(value, tuple):
        return ", ".join(value) or "-"
    return str(value) or "-"
