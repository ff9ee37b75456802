"""`payment-infra payment`: one payment, and the payments with a status."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import Group, entered, everywhere
from payment_infra.cli.option_types import TransactionId
from payment_infra.cli.options import (
    environment_options,
    output_option,
    take_over_option,
    yes_option,
)
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.output import check_answers, note, print_data, print_json
from payment_infra.cli.views.terminal import at_terminal
from payment_infra.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.operating.settling import Outcome
    from payment_infra.cloud.stacks.operator import Operator

# What the gateway may call a capture, in characters.
MAX_REFERENCE = 255
# In the order in which a payment has them.
STATUSES = ("validated", "processing", "pending", "processed", "declined", "canceled")
TIMES = "10m, 3h or 2d ago, or 2026-11-24T10:00:00Z."


@click.group("payment", cls=Group)
@everywhere
def command() -> None:
    """See, settle and cancel one payment; list those with a status.

    What the gateway says is asked by the stack's own payment-retry, which has its class and secret.

    \b
    Example:
      payment-infra payment list --suffix dev-001 --status processing
      payment-infra payment settle --suffix dev-001 80a5cce8-fa68-4b23-be9e-c5cc0cdb23f2
    """


@command.command("show")
@click.argument("transaction_id", metavar="ID", type=TransactionId())
@output_option
@environment_options
@everywhere
def show(environment: Environment, transaction_id: str, output: str) -> None:
    """Show a payment: its row, what the gateway says, and its story in the logs.

    Nothing is changed. Of the customer's id there are the ends; tokens and addresses are not shown.

    \b
    Example:
      payment-infra payment show --suffix dev-001 80a5cce8-fa68-4b23-be9e-c5cc0cdb23f2
    """
    from payment_infra.cli.logs import GROUPS
    from payment_infra.cli.views.logs import entry
    from payment_infra.cli.views.output import width
    from payment_infra.cli.views.payment import in_order, masked, print_payment
    from payment_infra.cloud.operating.log_search import Search
    from payment_infra.cloud.operating.showing import begun, look

    now = datetime.now(UTC)
    found = look(environment, transaction_id)
    groups = {name: group for name, group in GROUPS.items() if name != "api"}
    search = Search(environment, groups, begun(found.row, now), transaction_id)
    lines = (entry(line, search.names[line.group]) for line in search.history(now))
    # The service filters, too, but not every endpoint that stands for it.
    story = (line for line in lines if line.about(transaction_id) and not line.platform)
    if output == "json":
        print_json(
            {
                "row": in_order(masked(found.row)),
                "gateway": found.gateway,
                "flaw": found.flaw,
                "unasked": found.unasked or None,
                "log": [line.document() for line in story],
            }
        )
        return
    print_payment(found)
    click.secho("log", bold=True)
    for line in story:
        click.echo(line.text(width()))


@command.command("list")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    default=("processing", "pending"),
    show_default=True,
    type=click.Choice(STATUSES),
    help="Of this status; may be repeated.",
)
@click.option("--since", metavar="TIME", help=f"Only what changed from then on: {TIMES}")
@click.option("--until", metavar="TIME", help="Only what changed before that.")
@click.option(
    "--limit", type=click.IntRange(1), metavar="NUMBER", help="The first so many, no more."
)
@output_option
@environment_options
@everywhere
def list_command(
    environment: Environment,
    statuses: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int | None,
    output: str,
) -> None:
    """List the payments with a status.

    Those in processing and pending come out of an index, the longest due first. Others take a scan,
    which reads the whole table and costs what that does. With --output json each line is a JSON
    document.

    \b
    Example:
      payment-infra payment list --suffix dev-001 --status processing --status pending
    """
    from itertools import islice

    from payment_infra.cli.views.payment import print_payments
    from payment_infra.cloud.operating.payment_list import Wanted, find
    from payment_infra.moments import exact, parse_since

    now = datetime.now(UTC)
    first, last = (text and exact(parse_since(text, now)) for text in (since, until))
    if first and last and first >= last:
        raise UsageError("--since has to be before --until")
    wanted = Wanted(tuple(dict.fromkeys(statuses)), first, last)
    if not wanted.in_index:
        note("reading the whole table, since only processing and pending have an index")
    rows = islice(find(environment, wanted), limit)
    if output == "json":
        for row in rows:
            print_data(json.dumps(row, sort_keys=True) + "\n")
    else:
        print_payments(rows)


@command.command("settle")
@click.argument("transaction_id", metavar="ID", type=TransactionId())
@click.option(
    "--charged",
    metavar="REFERENCE",
    help="What the gateway calls the capture, where it cannot tell itself.",
)
@click.option(
    "--not-charged", is_flag=True, help="It was not charged, where the gateway cannot tell itself."
)
@take_over_option
@output_option
@yes_option
@environment_options
@everywhere
@sheltered()
def settle(
    environment: Environment,
    transaction_id: str,
    charged: str | None,
    not_charged: bool,
    take_over: int | None,
    output: str,
    yes: bool,
) -> None:
    """Write what the gateway says of a payment that nobody brings to its end.

    The gateway is asked, then you, then the gateway once more; the row is written only if nothing
    has changed. What was never charged becomes canceled, and nothing goes back to validated. Nobody
    is charged.

    \b
    Example:
      payment-infra payment settle --suffix dev-001 80a5cce8-fa68-4b23-be9e-c5cc0cdb23f2
    """
    from payment_infra.cloud.operating import settling

    if charged is not None and not_charged:
        raise UsageError("give --charged REFERENCE or --not-charged, not both")
    known = settling.Known(charged) if charged is not None or not_charged else None
    if charged is not None and not 1 <= len(charged.strip()) <= MAX_REFERENCE:
        raise UsageError(f"--charged: a reference has 1 to {MAX_REFERENCE} characters")

    def work(operator: Operator) -> Outcome:
        confirm = partial(operator.confirm, agreed=yes)
        return settling.settle(environment, transaction_id, known, confirm, operator.tell)

    _locked(environment, "payment settle", work, take_over, output, yes=yes)


@command.command("cancel")
@click.argument("transaction_id", metavar="ID", type=TransactionId())
@take_over_option
@output_option
@yes_option
@environment_options
@everywhere
@sheltered()
def cancel(
    environment: Environment,
    transaction_id: str,
    take_over: int | None,
    output: str,
    yes: bool,
) -> None:
    """Cancel a payment that has not been charged, at the gateway first.

    As POST /cancel does it, whoever's payment it is.

    \b
    Example:
      payment-infra payment cancel --suffix dev-001 80a5cce8-fa68-4b23-be9e-c5cc0cdb23f2
    """
    from payment_infra.cloud.operating import settling

    def work(operator: Operator) -> Outcome:
        return settling.cancel(environment, transaction_id, partial(operator.confirm, agreed=yes))

    _locked(environment, "payment cancel", work, take_over, output, yes=yes)


def _locked(
    environment: Environment,
    operation: str,
    work: Callable[[Operator], Outcome],
    take_over: int | None,
    output: str,
    *,
    yes: bool,
) -> None:
    """Do what changes a payment under the lock, and tell what came of it."""
    from payment_infra.cloud.environment.locking import Lock

    check_answers(yes)
    with at_terminal(environment.stack.name, "text") as operator:
        lock = Lock.acquire(
            *(environment.session, environment.stack, operation, operator.tell),
            command=entered(),
            take_over=take_over,
        )
        with lock:
            outcome = work(operator)
    if output == "json":
        print_json(
            {
                "transaction_id": outcome.transaction_id,
                "status": outcome.status,
                "written": outcome.written,
            }
        )
    else:
        already = "" if outcome.written else " already"
        note(f"payment {outcome.transaction_id}: {outcome.status}{already}")
