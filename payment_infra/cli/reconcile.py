"""`payment-infra reconcile`."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import entered, everywhere
from payment_infra.cli.options import (
    entered_flags,
    environment_options,
    output_option,
    take_over_option,
    yes_option,
)
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.output import check_answers, note
from payment_infra.cli.views.terminal import at_terminal
from payment_infra.errors import Declined, Interrupted, UsageError
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.reconciling.fixing import Fixed
    from payment_infra.cloud.reconciling.passes import Asked, Summary
    from payment_infra.cloud.reconciling.spool import Spool

DIFFERENT = 4
DAYS = 30
TIMES = "10m, 3h or 2d ago, or 2026-11-24T10:00:00Z"


@click.command("reconcile")
@click.option(
    "--since",
    default=f"{DAYS}d",
    show_default=True,
    metavar="TIME",
    help=f"What was made from then on: {TIMES}.",
)
@click.option(
    "--until",
    metavar="TIME",
    help="And before that.  [default: now, less what an attempt takes]",
)
@click.option(
    "--fix", is_flag=True, help="Write what the gateway says, where nobody has to decide."
)
@click.option(
    "--only-ours", is_flag=True, help="Leave out what is captured for no transaction at all."
)
@take_over_option
@output_option
@yes_option
@environment_options
@everywhere
@sheltered()
def command(
    environment: Environment,
    since: str,
    until: str | None,
    fix: bool,
    only_ours: bool,
    take_over: int | None,
    output: str,
    yes: bool,
) -> None:
    """Compare payments with the gateway's own list.

    Finds what is captured and not settled, settled and not captured, captured twice, of another
    amount, or in no row. Exits with 4 on a difference. The stack's payment-retry asks the gateway;
    nothing is changed without --fix. Interrupted, the same command continues from there. With
    --output json each line is a JSON document, the last one the summary.

    \b
    Example:
      payment-infra reconcile --suffix dev-001 --since 7d
      payment-infra reconcile --suffix dev-001 --fix
    """
    from payment_infra.cli.views import reconciliation as shown
    from payment_infra.cloud.reconciling.spool import Spool, file_of

    if fix:
        check_answers(yes)
    asked = _asked(since, until, only_ours)
    session, stack = environment.session, environment.stack
    where = (session.account(), session.region, session.endpoint_url or "")
    subject = (stack.name, environment.table, since, until or "", str(only_ours))
    with Spool.open(file_of(*where, *subject)) as spool:
        summary = _compare(environment, spool, asked)
        fixable, fixed = spool.count_fixable(), None
        asks = fix and fixable > 0 and not yes
        if output == "text" or asks:
            columns = shutil.get_terminal_size().columns
            shown.print_differences(spool, columns, err=output == "json")
            shown.note_summary(spool, summary)
        if fix and fixable:
            fixed = _fix(environment, spool, summary, take_over, yes=yes)
        if output == "json":
            written = fixed.written if fixed else 0
            shown.print_json_lines(spool, summary, written if fix else None)
        elif fixed is not None:
            note(f"{counted(fixed.written, 'row')} written, {fixed.refused} refused")
        elif fixable:
            words = entered_flags("since", "until")
            note(f"`{environment.command(f'reconcile {words}'.rstrip())} --fix` mends {fixable}")
        differs = bool(spool.counts())
        spool.remove()
    if differs:
        click.get_current_context().exit(DIFFERENT)


def _asked(since: str, until: str | None, only_ours: bool) -> Asked:
    from payment_infra.cloud.reconciling.comparison import GRACE
    from payment_infra.cloud.reconciling.passes import Asked
    from payment_infra.moments import parse_since

    now = datetime.now(UTC)
    first = parse_since(since, now)
    last = min(now - GRACE, parse_since(until, now) if until else now)
    if first >= last:
        raise UsageError(
            "--since has to be before --until, and before what an attempt takes: "
            f"{int(GRACE.total_seconds())} s ago"
        )
    first, last = (moment.replace(microsecond=0) for moment in (first, last))
    return Asked(first, max(last, first + timedelta(seconds=1)), only_ours)


def _compare(environment: Environment, spool: Spool, asked: Asked) -> Summary:
    from payment_infra.cloud.environment.live import check_live
    from payment_infra.cloud.reconciling.passes import Comparison

    check_live(environment)
    try:
        with at_terminal(environment.stack.name, "text") as operator:
            now = partial(datetime.now, UTC)
            return Comparison(environment, spool, asked, operator.tell, now).run()
    except KeyboardInterrupt as interrupt:
        raise Interrupted("interrupted; the same command continues from there") from interrupt


def _fix(
    environment: Environment, spool: Spool, summary: Summary, take_over: int | None, *, yes: bool
) -> Fixed:
    """Ask, and write, under the lock."""
    from payment_infra.cloud.environment.locking import Lock
    from payment_infra.cloud.reconciling import fixing

    with at_terminal(environment.stack.name, "text") as operator:
        lock = Lock.acquire(
            *(environment.session, environment.stack, "reconcile --fix", operator.tell),
            command=entered(),
            take_over=take_over,
        )
        with lock:
            environment = environment.again()
            fixing.check_fixable(environment, summary.table)
            rows = counted(spool.count_fixable(), "row")
            try:
                operator.confirm(f"Write what the gateway says into {rows}?", yes)
            except Declined:
                spool.remove()  # the next run is to see what there is by then
                raise
            return fixing.fix(environment, spool, operator.tell)
