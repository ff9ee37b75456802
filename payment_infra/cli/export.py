"""`payment-infra export`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.option_types import Renamed
from payment_infra.cli.options import environment_options, out_option, output_option
from payment_infra.cli.views.output import note, print_data, print_json
from payment_infra.errors import Interrupted, UsageError
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment

# Rows after which a line is written where none can be drawn anew.
LINE_ROWS = 100_000


@click.command("export")
@click.option(
    "--since",
    metavar="TIME",
    help="Only what changed from then on: 10m, 3h or 2d ago, or 2026-11-24T10:00:00Z.",
)
@out_option(
    "out",
    "Where they go; after an interruption, the same command continues. - is stdout.",
    "--output-file",
    default="-",
)
@click.option(
    "--overwrite", cls=Renamed, earlier=("--force",), is_flag=True, help="Replace the file."
)
@output_option
@environment_options
@everywhere
def command(
    environment: Environment, since: str | None, out: str, overwrite: bool, output: str
) -> None:
    """Write transactions as JSON lines, for reconciliation.

    They hold customers' ids; only you can read the file.

    \b
    Example:
      payment-infra export --suffix dev-001 --since 2d -o transactions.jsonl
    """
    from payment_infra.cloud.operating.export import Since, pages, save
    from payment_infra.moments import exact, parse_since

    moment = None
    if since is not None:
        moment = exact(parse_since(since, datetime.now(UTC)))
    client, count = environment.client("dynamodb"), Count()
    if out == "-":
        if output == "json":
            raise UsageError("rows on stdout are JSON lines already; --output json goes with -o")
        for page in pages(client, environment.table, moment):
            print_data(page.lines)
            count(count.rows + page.rows)
        count.end()
        return
    file = Path(out)
    try:
        chosen = Since(since, moment)
        rows = save(client, environment.table, chosen, file, count, replace=overwrite)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            f"{file}.part has {counted(count.rows, 'transaction')}; the same command continues "
            "from there"
        ) from interrupt
    finally:
        count.end()
    if output == "json":
        print_json({"file": str(file), "rows": rows})
    else:
        note(f"{file}: {counted(rows, 'transaction')}")


class Count:
    """Says on stderr how many rows there are: in place on a terminal, else now and then."""

    def __init__(self) -> None:
        self.rows = 0
        self._terminal = sys.stderr.isatty()
        self._drawn = False

    def __call__(self, rows: int) -> None:
        """Take note of how many there are by now."""
        before, self.rows = self.rows, rows
        if self._terminal:
            self._drawn = True
            click.echo(f"\r{counted(rows, 'transaction')}", err=True, nl=False)
        elif rows // LINE_ROWS > before // LINE_ROWS:
            note(counted(rows, "transaction"))

    def end(self) -> None:
        """Leave the line, if there is one."""
        if self._drawn:
            note("")
