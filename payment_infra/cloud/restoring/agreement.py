"""What a person is shown and asked before payments move, and told of afterwards."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from payment_infra.cloud.events import Report
from payment_infra.cloud.restoring.carry_over import RowChange, changes
from payment_infra.cloud.restoring.rows import OPEN
from payment_infra.errors import UsageError
from payment_infra.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from payment_infra.cloud.environment.journal import Journal
    from payment_infra.cloud.restoring.work import Work


# Payments that are listed one by one for a person; a report has them all.
MAX_LISTED = 20


def agree(work: Work, source: str, target: str, moment: datetime, since: str) -> None:
    """List what would stay behind, and ask, before payments are stopped.

    Args:
        work: the run, whose options say what is asked.
        source: the table that is left.
        target: the table that is moved to.
        moment: when the two were the same.
        since: says that, for a person.
    """
    options = work.options
    if work.environment.table == target:
        return
    client = work.environment.client("dynamodb")
    if options.discard_newer:
        rows = changes(client, source, target, moment, write=False)
        lines = (f"{counted(len(rows), 'payment')} changed since {since}:", *listed(rows))
        document = {"kind": "discarded", "rows": [asdict(row) for row in rows]}
        work.operator.tell(Report(lines, document))
        work.confirm(discard_question(rows), options.confirm_discard, "--confirm-discard")
    elif options.mismatched is None:
        found = changes(client, source, target, moment, write=False)
        rows = [row for row in found if row.action == "mismatched"]
        if rows:
            number = counted(len(rows), "payment")
            lines = (f"{number} of {source} are not what was validated:", *listed(rows))
            document = {"kind": "mismatched", "rows": [asdict(row) for row in rows]}
            work.operator.tell(Report(lines, document))
            question = (
                "What was validated of them was changed since. Leave them behind "
                "(--mismatched carry takes them along as they are)?"
            )
            work.confirm(question, agreed=False, flag="--mismatched leave, or carry")


def check_choice(work: Work, journal: Journal, command: str) -> None:
    """Make sure that a move continues as it has begun.

    Raises:
        UsageError: it was begun with the other choice of --discard-newer.
    """
    if journal.moving and journal.discard not in {None, work.options.discard_newer}:
        flag = " --discard-newer" if journal.discard else ""
        raise UsageError(
            f"it was begun {'with' if flag else 'without'} --discard-newer; "
            f"`{work.command(command + flag)}` continues it"
        )


def listed(rows: list[RowChange]) -> Iterator[str]:
    """Yield a line for each of the first payments that differ, and one for the rest."""
    for row in rows[:MAX_LISTED]:
        there = row.after or "missing"
        yield f"  {row.transaction_id}  {row.before} (there: {there}), {row.action}"
    if len(rows) > MAX_LISTED:
        yield f"  and {len(rows) - MAX_LISTED} more"


def discard_question(rows: list[RowChange]) -> str:
    """Return the question of --discard-newer, with what a yes does to payments that changed."""
    told = []
    if number := sum(row.after in OPEN for row in rows):
        told.append(
            f"At least {number} will be open again, and charged only if the gateway is certain "
            "that it never did"
        )
    if number := sum(row.unknown for row in rows):
        told.append(f"{number} will be missing, and could be charged again if validated again")
    return " ".join([*([f"{'; '.join(told)}."] if told else []), "Leave them behind?"])


def marked_lines(marked: set[str]) -> list[str]:
    """Return what a report says of payments that are marked."""
    if not marked:
        return []
    return [
        f"{counted(len(marked), 'open payment')} marked as rewound (the JSON report lists them):",
        "  looked up first, and charged only if the gateway is certain that it never did;",
        "  else the outcome stays unknown, for you to settle (docs/failed-payments.md)",
    ]
