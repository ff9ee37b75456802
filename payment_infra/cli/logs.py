"""`payment-infra logs`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.option_types import TransactionId
from payment_infra.cli.options import environment_options, output_option
from payment_infra.cli.views.output import print_data, width
from payment_infra.names import (
    ACCESS_LOG_GROUP,
    CANCELLATION_LOG_GROUP,
    GATEWAY_EVENTS_LOG_GROUP,
    HEALTH_LOG_GROUP,
    LOOKUP_LOG_GROUP,
    PROCESSING_LOG_GROUP,
    RETRY_LOG_GROUP,
    VALIDATION_LOG_GROUP,
)

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.sdk.logs import LogLine

# Name to the logical id of its log group.
GROUPS = {
    "validation": VALIDATION_LOG_GROUP,
    "processing": PROCESSING_LOG_GROUP,
    "lookup": LOOKUP_LOG_GROUP,
    "cancellation": CANCELLATION_LOG_GROUP,
    "health": HEALTH_LOG_GROUP,
    "retry": RETRY_LOG_GROUP,
    "gateway-events": GATEWAY_EVENTS_LOG_GROUP,
    "api": ACCESS_LOG_GROUP,
}
LEVELS = ("debug", "info", "warning", "error", "critical")


@click.command("logs")
@click.argument("name", required=False, type=click.Choice(list(GROUPS)))
@click.option(
    "--since",
    default="10m",
    show_default=True,
    metavar="TIME",
    help="From when on: 10m, 3h or 2d ago, or 2026-11-24T10:00:00Z.",
)
@click.option("-f", "--follow", is_flag=True, help="Show new lines as they come, until Ctrl-C.")
@click.option(
    "--transaction", type=TransactionId(), metavar="ID", help="Only what is about this payment."
)
@click.option(
    "--level", type=click.Choice(LEVELS, case_sensitive=False), help="Only this level and above."
)
@click.option("--all", "everything", is_flag=True, help="Lambda's own lines and metrics, too.")
@output_option
@environment_options
@everywhere
def command(
    environment: Environment,
    name: str | None,
    since: str,
    follow: bool,
    transaction: str | None,
    level: str | None,
    everything: bool,
    output: str,
) -> None:
    """Show the logs of all functions, in the order of time.

    Without a name it is all functions; `api` is the API's access log. Times are UTC. With --output
    json each line is a JSON document.

    \b
    Example:
      payment-infra logs --suffix dev-001 --since 1h --level error
      payment-infra logs processing --suffix dev-001 --follow
    """
    from payment_infra.cloud.operating.log_search import Search
    from payment_infra.moments import parse_since

    start = parse_since(since, datetime.now(UTC))
    chosen = [name] if name else [group for group in GROUPS if group != "api"]
    search = Search(environment, {group: GROUPS[group] for group in chosen}, start, transaction)
    show = _Printer(search.names, transaction, level, everything, output)
    if follow:
        for lines in search.follow(time.sleep):
            show(lines)
    else:
        show(search.history(datetime.now(UTC)))


class _Printer:
    def __init__(
        self,
        names: dict[str, str],
        transaction: str | None,
        level: str | None,
        everything: bool,
        output: str,
    ) -> None:
        self._names = names
        self._transaction = transaction
        self._level = level.upper() if level else None
        self._everything = everything or output == "json"
        self._json = output == "json"
        self._width = width()

    def __call__(self, lines: Iterable[LogLine]) -> None:
        from payment_infra.cli.views.logs import entry

        for line in lines:
            parsed = entry(line, self._names[line.group])
            if parsed.platform and not self._everything:
                continue
            if self._level and not parsed.at_least(self._level):
                continue
            # The service filters, too, but not every endpoint that stands for it.
            if self._transaction and not parsed.about(self._transaction):
                continue
            if self._json:
                print_data(json.dumps(parsed.document()) + "\n")
            else:
                click.echo(parsed.text(self._width))
