"""`payment-infra metrics`."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import environment_options, output_option
from payment_infra.cli.views.output import print_json

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment


@click.command("metrics")
@click.option(
    "--since",
    default="3h",
    show_default=True,
    metavar="TIME",
    help="From when on: 10m, 3h or 2d ago, or 2026-11-24T10:00:00Z.",
)
@output_option
@environment_options
@everywhere
def command(environment: Environment, since: str, output: str) -> None:
    """Draw the dashboard's widgets in the terminal.

    They are read from the deployed dashboard's own definition, so that they show what it shows. A
    gap is a period without data.

    \b
    Example:
      payment-infra metrics --suffix dev-001 --since 1h
    """
    from payment_infra.cli.views.metrics import columns, document, draw
    from payment_infra.cloud.operating.dashboard import read_dashboard
    from payment_infra.moments import parse_since

    end = datetime.now(UTC)
    start = parse_since(since, end)
    room = columns(shutil.get_terminal_size().columns)
    widgets = read_dashboard(environment, start, end, room)
    if output == "json":
        print_json([document(widget) for widget in widgets])
    else:
        click.echo("\n".join(draw(widgets, start, end)))
