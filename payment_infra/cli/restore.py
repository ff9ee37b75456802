"""`payment-infra restore`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import entered, everywhere
from payment_infra.cli.option_types import OutputFile
from payment_infra.cli.options import (
    environment_options,
    method_option,
    output_option,
    take_over_option,
    yes_option,
)
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.output import note
from payment_infra.cli.views.terminal import at_terminal
from payment_infra.errors import PaymentInfraError, UsageError

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import Report

LATEST = "latest"


@click.command("restore")
@click.option(
    "--to",
    "moment",
    metavar="TIME",
    help="The moment to restore to: latest, 15m or -15m ago, or 2026-11-24T10:00:00Z.",
)
@click.option(
    "--from-backup",
    metavar="ARN",
    help="The backup to restore from, or latest: also where the table is deleted.",
)
@click.option("--undo", is_flag=True, help="Undo the last restore, or end one half done.")
@click.option(
    "--drill",
    is_flag=True,
    help="Restore, verify and delete a copy; payments go on. With --undo, end one half done.",
)
@click.option(
    "--discard-newer", is_flag=True, help="Leave behind what changed since; asks once more."
)
@click.option(
    "--confirm-discard", is_flag=True, help="Answer the question of --discard-newer, too."
)
@click.option(
    "--mismatched",
    type=click.Choice(["carry", "leave"]),
    help="Payments that are not what was validated: take them along, or leave them behind.",
)
@click.option(
    "--drain",
    "drain_seconds",
    type=click.IntRange(0, 900),
    metavar="SECONDS",
    help="Wait this long for requests that have begun.  [default: the functions' timeout]",
)
@click.option(
    "--no-verify", is_flag=True, help="Continue though the copy is not what it should be."
)
@click.option("--no-smoke", is_flag=True, help="Make no payments of its own at the end.")
@click.option("--pay", is_flag=True, help="Let them charge at a real gateway, too: 100.50 USD.")
@method_option
@click.option(
    "--report",
    "report_file",
    type=OutputFile(),
    help="Write the report to this file, too, as JSON.",
)
@take_over_option
@output_option
@partial(yes_option, others="--confirm-discard and --mismatched answer")
@environment_options
@everywhere
@sheltered()
def command(
    environment: Environment,
    moment: str | None,
    from_backup: str | None,
    undo: bool,
    drill: bool,
    discard_newer: bool,
    confirm_discard: bool,
    drain_seconds: int | None,
    no_verify: bool,
    no_smoke: bool,
    pay: bool,
    payment_method: str,
    report_file: Path | None,
    mismatched: str | None,
    take_over: int | None,
    output: str,
    yes: bool,
) -> None:
    """Bring the payments of an earlier moment back.

    Restores the table to a new one, verifies that, stops payments, carries over what was settled
    since, marks what may have been charged and is open there, moves the stack to the new table, and
    lets payments in again. Interrupted, the same command continues from there.

    \b
    Example:
      payment-infra restore --suffix dev-001 --to 2026-11-24T10:00:00Z
      payment-infra restore --suffix dev-001 --to latest --drill
      payment-infra restore --suffix dev-001 --from-backup latest
      payment-infra restore --suffix dev-001 --undo
    """
    from payment_infra.cloud.restoring import restoration, undoing
    from payment_infra.cloud.restoring.work import RestoreOptions, Work
    from payment_infra.files import require_place
    from payment_infra.moments import is_ago

    if [undo, moment is not None, from_backup is not None].count(True) != 1 or (
        drill and from_backup is not None
    ):
        raise UsageError(
            "give one of --to TIME, --from-backup ARN and --undo; --drill goes with --to or --undo"
        )
    if report_file is not None:
        require_place(report_file)
    options = RestoreOptions(
        to=_parse(moment),
        from_backup=from_backup,
        ago=moment is not None and is_ago(moment),
        yes=yes,
        drill=drill,
        verify=not no_verify,
        discard_newer=discard_newer,
        confirm_discard=confirm_discard,
        drain_seconds=drain_seconds,
        smoke=not no_smoke,
        pay=pay,
        payment_method=payment_method,
        mismatched=mismatched,
        command=entered(),
        take_over=take_over,
    )
    with at_terminal(environment.stack.name, output) as operator:
        work = Work(environment, options, operator)
        report = undoing.undo(work) if undo else restoration.restore(work)
    if report_file is not None:
        _write(report, report_file)


def _parse(moment: str | None) -> datetime | None:
    from payment_infra.moments import parse_moment

    if moment is None or moment == LATEST:
        return None
    return parse_moment(moment, datetime.now(UTC), LATEST)


def _write(report: Report, path: Path) -> None:
    """Write the report.

    Raises:
        PaymentInfraError: it cannot be written; what was done is done.
    """
    from payment_infra.files import write_file

    try:
        write_file(path, (json.dumps(report.document, indent=2) + "\n").encode())
    except PaymentInfraError as error:
        raise PaymentInfraError(
            f"{error}; all else is done, and the report stands above"
        ) from error
    note(f"report: {path}")
