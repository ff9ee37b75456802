"""Going back from a restore: to the table that payments were in before it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from payment_infra.cloud import tables
from payment_infra.cloud.errors import translated
from payment_infra.cloud.events import Report
from payment_infra.cloud.restore import copy
from payment_infra.cloud.restore import journal as journals
from payment_infra.cloud.restore.journal import Phase
from payment_infra.cloud.restore.reconciliation import changes
from payment_infra.cloud.restore.repointing import ready
from payment_infra.cloud.restore.switch import (
    Work,
    discard_question,
    listed,
    marked_lines,
    start,
    switch,
)
from payment_infra.errors import AwsError
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.restore.journal import Journal


STEPS = range(5, 9)


def undo(work: Work) -> Report:
    """Go back from the last restore, with what was settled since, or end one that is in progress.

    Raises:
        AwsError: there is no restore to undo.
        Declined: the answer was no; nothing was changed.

    Whatever ends it while payments are stopped, that is told.
    """
    with work.warning():
        return _undo(work)


def _undo(work: Work) -> Report:
    work.operator.check_answers(work.options.yes)
    ready(work.environment, work.operator)
    work.environment = work.environment.again()
    journal = _to_undo(work)
    if work.environment.table == journal.source and journal.phase is not Phase.UNDOING:
        return _abandon(work, journal)
    client = work.environment.client("dynamodb")
    with translated(f"table {journal.source}"):
        client.describe_table(TableName=journal.source)
    work.operator.confirm(
        f"Move payments from {journal.copy} back to {journal.source}?", work.options.yes
    )
    since = journal.stopped_at or journal.to
    if work.options.discard_newer and work.environment.table == journal.copy:
        rows = changes(client, journal.copy, journal.source, since, write=False)
        lines = (f"{counted(len(rows), 'payment')} changed since the restore:", *listed(rows))
        work.operator.tell(Report(lines, {"kind": "discarded", "rows": [asdict(r) for r in rows]}))
        work.operator.confirm(
            discard_question(rows), work.options.confirm_discard, "--confirm-discard"
        )
    work.steps = STEPS
    moved = switch(work, journal, journal.copy, journal.source, since, Phase.UNDOING)
    journal, rows = moved.journal, moved.rows
    report = Report(
        (
            f"Payments are in {journal.source} again.",
            *([f"{counted(len(rows), 'payment')} had changed since:"] if rows else []),
            *listed(rows),
            *marked_lines(moved.marked),
            f"{journal.copy} is not used any more:",
            *(f"  {one}" for one in tables.delete_commands(client, journal.copy)),
        ),
        {
            "kind": "undo",
            "stack": work.environment.stack.name,
            "table": journal.source,
            "left": journal.copy,
            "rows": [asdict(row) for row in rows],
            "marked": sorted(moved.marked),
        },
        final=True,
    )
    work.operator.tell(report)
    journals.write(client, replace(journal, phase=Phase.UNDONE), work.sleep)
    return report


def _to_undo(work: Work) -> Journal:
    environment = work.environment
    client = environment.client("dynamodb")
    every = journals.find_journals(client, environment.own_table, environment.table)
    work.stopped = any(one.writes is not None for one in every)
    for one in reversed(every):
        if not one.drill and (one.open or one.phase is Phase.UNDOING):
            return one
    for one in every:
        if one.copy == environment.table:
            return one
    raise AwsError(
        f"there is no restore of {environment.stack.name} to undo: payments are in "
        f"{environment.table}"
    )


def _abandon(work: Work, journal: Journal) -> Report:
    """End a restore whose copy is not used yet: payments are let in where they are."""
    client = work.environment.client("dynamodb")
    work.operator.confirm(
        f"End the restore to {journal.copy}, which is not used yet?", work.options.yes
    )
    for waiting in copy.wait(client, journal.copy, work.sleep, work.clock):
        work.operator.tell(waiting)  # before, it takes no tags
    journals.write(client, replace(start(work, journal), phase=Phase.ABANDONED), work.sleep)
    report = Report(
        (
            f"The restore has ended; payments are in {journal.source}.",
            f"{journal.copy} is not used:",
            *(f"  {one}" for one in tables.delete_commands(client, journal.copy)),
        ),
        {"kind": "abandoned", "table": journal.source, "left": journal.copy},
        final=True,
    )
    work.operator.tell(report)
    return report
