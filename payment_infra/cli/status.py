"""`payment-infra status`."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.option_types import Span
from payment_infra.cli.options import MAX_INTERVAL_SECONDS, environment_options, output_option
from payment_infra.cli.views.drawing import console, ended, fitted, is_drawable
from payment_infra.cli.views.output import print_data
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.moments import iso

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.operating.status import Status


@click.command("status")
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--interval",
    type=Span(min=1, max=MAX_INTERVAL_SECONDS),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="How often --watch looks.",
)
@output_option
@environment_options
@everywhere
def command(environment: Environment, watch: bool, interval: float, output: str) -> None:
    """Show on one screen how an environment is.

    Stack, gateway, functions with errors and p95 of the last hour, table, queues, alarms that are
    not OK, and what else keeps it from its work, with the remedy: payments that are stopped, a
    disabled schedule, a table that is gone, a restore half done. Exits 1 if there is any of that,
    or it cannot be read.

    \b
    Example:
      payment-infra status --suffix dev-001
    """
    from payment_infra.cloud.operating.status import read_status

    if watch:
        if output != "text" or not (sys.stdout.isatty() and is_drawable()):
            raise UsageError(
                "--watch draws on a terminal; leave it out for --output json or a pipe"
            )
        _watch(environment, interval)
        return
    status = read_status(environment, datetime.now(UTC))
    if output == "json":
        print_data(json.dumps(asdict(status), indent=2, default=_text) + "\n")
    else:
        click.echo(_screen(environment, status))
    if status.troubles:
        raise PaymentInfraError("; ".join(status.troubles))


def _watch(environment: Environment, interval: float) -> None:
    """Draw it again and again; at the end, leave the last one whole."""
    from rich.live import Live

    from payment_infra.cloud.operating.status import read_status

    on, screen = console(), ""
    try:
        with Live("…", console=on, auto_refresh=False, transient=True) as live:
            while True:
                status = read_status(environment.again(), datetime.now(UTC))
                screen = _screen(environment, status)
                live.update(ended(fitted(screen, on)), refresh=True)
                time.sleep(interval)
    finally:
        if screen:
            click.echo(screen)


def _screen(environment: Environment, status: Status) -> str:
    from payment_infra.cli.views.status import draw

    width, drift = shutil.get_terminal_size().columns, environment.command("drift")
    return draw(status, width, datetime.now(UTC), drift)


def _text(value: object) -> str:
    """Return a moment as ISO 8601, for JSON."""
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError(type(value).__name__)
