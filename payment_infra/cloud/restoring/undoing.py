"""Going back from a restore: to the table that payments were in before it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from payment_infra.cloud.environment.journal import Phase
from payment_infra.cloud.events import Report
from payment_infra.cloud.restoring import backups, copy, row_log
from payment_infra.cloud.restoring.agreement import agree, check_choice, listed, marked_lines
from payment_infra.cloud.restoring.comparing import compare
from payment_infra.cloud.restoring.repointing import ready
from payment_infra.cloud.restoring.switch import is_lost, start, switch
from payment_infra.cloud.sdk import tables
from payment_infra.errors import AwsError
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.environment.journal import Journal
    from payment_infra.cloud.restoring.work import Work


STEPS = range(5, 9)


def undo(work: Work) -> Report:
    """Go back from the last restore, with what was settled since, or end one that is in progress.

    Raises:
        AwsError: there is no restore to undo.
        Declined: the answer was no; nothing was changed.

    Whatever ends it while payments are stopped, that is told.
    """
    work.operator.check_answers(work.options.yes)
    with work.operation("restore --undo", STEPS):
        return _undo(work)


def _undo(work: Work) -> Report:
    ready(work.environment, work.operator)
    work.look_again()
    journal = _to_undo(work)
    active = work.environment.table
    if journal.drill or (active != journal.copy and not journal.undoing):
        return _abandon(work, journal)
    check_choice(work, journal, "restore --undo")
    if is_lost(work, journal.source):
        if active == journal.copy and is_lost(work, active):
            return _abandon(work, journal)
        raise AwsError(
            f"there is no table {journal.source} any more to go back to; payments are in {active}"
        )
    work.confirm(f"Move payments from {journal.copy} back to {journal.source}?", work.options.yes)
    moment = journal.stopped_at or journal.to
    if not is_lost(work, journal.copy):
        agree(work, journal.copy, journal.source, moment, "the restore")
    if not journal.undoing:
        row_log.clear(work.environment, journal)
    moved = switch(work, journal, journal.copy, journal.source, moment, Phase.UNDOING)
    journal, rows = moved.journal, moved.rows
    left = tables.delete_commands(work.environment.session, journal.copy) if journal.exists else []
    against = compare(work, moment)
    report = Report(
        (
            f"Payments are in {journal.source} again.",
            *([f"{counted(len(rows), 'payment')} had changed since:"] if rows else []),
            *listed(rows),
            *backups.backed_up_lines(work.environment, journal.source),
            *marked_lines(moved.marked),
            *against.lines,
            f"{journal.copy} is not used any more{':' if left else ', and gone'}",
            *(f"  {command}" for command in left),
        ),
        {
            "kind": "undo",
            "stack": work.environment.stack.name,
            "table": journal.source,
            "left": journal.copy,
            "rows": [asdict(row) for row in rows],
            "marked": sorted(moved.marked),
            "reconciled": against.document,
        },
        final=True,
    )
    work.operator.tell(report)
    journal = work.note(journal, phase=Phase.UNDONE)
    row_log.clear(work.environment, journal)
    return report


def _to_undo(work: Work) -> Journal:
    environment = work.environment
    every = work.find_journals()
    for journal in reversed(every):
        if journal.drill == work.options.drill and (journal.open or journal.undoing):
            return journal
    if work.options.drill:
        raise AwsError(f"there is no drill of {environment.stack.name} in progress")
    for journal in every:
        if journal.copy == environment.table:
            return journal
    raise AwsError(
        f"there is no restore of {environment.stack.name} to undo: payments are in "
        f"{environment.table}"
    )


def _abandon(work: Work, journal: Journal) -> Report:
    """End a restore whose copy is not used, or lost: payments are let in where they are."""
    client, active = work.environment.client("dynamodb"), work.environment.table
    what = "drill" if journal.drill else "restore"
    work.confirm(f"End the {what} to {journal.copy}, which is not used?", work.options.yes)
    if is_lost(work, active):
        lines = [
            f"The {what} has ended; the table {active} is gone, and payments stay as they are:",
            f"`{work.command('restore --from-backup latest')}` brings them back.",
        ]
    else:
        journal = start(work, journal)
        lines = [f"The {what} has ended; payments are in {active}."]
    journal = work.note(journal, phase=Phase.ABANDONED, stopped=False)
    row_log.clear(work.environment, journal)
    left: list[str] = []
    if journal.exists and active != journal.copy:
        for waiting in copy.wait(client, journal.copy, work.sleep, work.clock):
            work.operator.tell(waiting)  # before, it cannot be deleted
        left = tables.delete_commands(work.environment.session, journal.copy)
    report = Report(
        (
            *lines,
            f"{journal.copy} is not used{':' if left else ', and gone'}",
            *(f"  {command}" for command in left),
        ),
        {"kind": "abandoned", "table": active, "left": journal.copy},
        final=True,
    )
    work.operator.tell(report)
    return report
