"""A restore from its question to its report, and the drill, which is its first half."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from payment_infra.cloud import tables
from payment_infra.cloud.events import Caution, Report, StepBegun
from payment_infra.cloud.restore import copy
from payment_infra.cloud.restore import journal as journals
from payment_infra.cloud.restore.journal import Journal, Phase, copy_name
from payment_infra.cloud.restore.reconciliation import changes
from payment_infra.cloud.restore.repointing import ready
from payment_infra.cloud.restore.switch import (
    Moved,
    Work,
    discard_question,
    listed,
    marked_lines,
    switch,
)
from payment_infra.cloud.restore.verification import Verification, verify
from payment_infra.errors import AwsError, Interrupted, UsageError
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.restore.copy import Window

DRILL_STEPS = range(1, 6)


def restore(work: Work) -> Report:
    """Bring the payments of an earlier moment back, or go on where an earlier run has ended.

    Raises:
        UsageError: the moment cannot be restored, or another restore is in progress.
        AwsError: something is not as it must be; says what.
        Declined: the answer was no; nothing was changed.

    Whatever ends it while payments are stopped, that is told.
    """
    with work.warning():
        return _restore(work)


def _restore(work: Work) -> Report:
    work.operator.check_answers(work.options.yes)
    if work.options.drill:
        work.steps = DRILL_STEPS
    began = work.clock()
    ready(work.environment, work.operator)
    work.environment = work.environment.again()
    journal, found = _in_progress(work), None
    if journal is None:
        work.operator.tell(StepBegun(1, len(work.steps), "Check what can be restored"))
        found = copy.window(work.environment.client("dynamodb"), work.environment.table)
        journal = _begin(work, found)
    journal, verification = _copy(work, journal)
    moved = Moved(journal, [], set())
    if work.options.drill:
        with work.step(5, f"Delete {journal.copy}"):
            tables.delete(work.environment.client("dynamodb"), journal.copy, work.sleep)
    else:
        _agree_to_discard(work, journal)
        moved = switch(work, journal, journal.source, journal.copy, journal.to, Phase.SWITCHING)
        work.operator.tell(StepBegun(9, len(work.steps), "Report"))
    report = _report(work, moved, found, began, verification)
    work.operator.tell(report)
    if not work.options.drill:
        journals.write(
            work.environment.client("dynamodb"),
            replace(moved.journal, phase=Phase.DONE),
            work.sleep,
        )
    return report


def _in_progress(work: Work) -> Journal | None:
    """Return the restore to go on with, None if there is none."""
    environment, options = work.environment, work.options
    client = environment.client("dynamodb")
    every = journals.find_journals(client, environment.own_table, environment.table)
    work.stopped = any(one.writes is not None for one in every)
    if undoing := [one for one in every if one.phase is Phase.UNDOING]:
        raise AwsError(
            f"the restore to {_text(undoing[0].to)} is being undone; "
            f"`{work.command('restore --undo')}` completes that first"
        )
    open_ones = [one for one in every if one.open and one.drill == options.drill]
    if not open_ones:
        return None
    journal = open_ones[-1]
    asked = None if options.ago else options.to
    if asked is not None and copy.whole(asked) != journal.to:
        raise UsageError(
            f"a restore to {_text(journal.to)} is in progress; give --to {_text(journal.to)} to go "
            f"on with it, or `{work.command('restore --undo')}` to end it"
        )
    work.operator.confirm(
        f"A restore of {journal.source} to {_text(journal.to)} is in progress. Go on with it?",
        options.yes,
    )
    return journal


def _begin(work: Work, found: Window) -> Journal:
    """Show what will happen, ask, and begin to make the copy."""
    environment, options = work.environment, work.options
    client, table = environment.client("dynamodb"), environment.table
    if options.to and copy_name(environment.own_table, options.to) == table:
        raise UsageError(f"payments are already in {table}, restored to {_text(options.to)}")
    to = copy.moment(options.to, found)
    name = copy_name(environment.own_table, to, drill=options.drill)
    if any(
        one.copy == name for one in journals.find_journals(client, environment.own_table, table)
    ):
        raise UsageError(
            f"there is a table {name} from an earlier restore; `aws dynamodb delete-table "
            f"--table-name {name}` deletes it, or restore to another second"
        )
    lines = [
        f"Restore of {environment.stack.name} in {environment.session.region}",
        f"  from    {table}, as it was at {_text(to)}",
        f"  to      a new table, {name}",
        f"  window  {_text(found.earliest)} to {_text(found.latest)}",
    ]
    if options.drill:
        lines.append("  then    the copy is verified and deleted; payments go on meanwhile")
    else:
        kept = "stay behind" if options.discard_newer else "are carried over"
        lines += [
            f"  then    payments are stopped, those that changed since {kept},",
            "          open ones that may have been charged since are marked as rewound,",
            "          to be charged only if the gateway is certain that it never did,",
            "          the stack moves to the new table, and payments are let in again",
        ]
    document = {"kind": "plan", "source": table, "copy": name, "to": _text(to)}
    work.operator.tell(Report(tuple(lines), document))
    what = "Make the drill?" if options.drill else f"Restore payments to {_text(to)}?"
    work.operator.confirm(what, options.yes)
    copy.begin(client, table, name, to, work.sleep)
    return Journal(name, table, to)


def _copy(work: Work, journal: Journal) -> tuple[Journal, Verification | None]:
    """Wait for the copy, complete it and look at it, unless an earlier run has."""
    if journal.phase is not Phase.COPYING:
        return journal, None
    client = work.environment.client("dynamodb")
    with work.step(2, f"Restore to {journal.copy}"):
        _wait(work, journal)
    with work.step(3, "Bring back its recovery, tags and protection"):
        copy.bring_back(client, journal.source, journal.copy, work.sleep)
        journals.write(client, journal, work.sleep)
    with work.step(4, "Verify it"):
        verification = verify(client, journal.source, journal.copy, journal.to)
    for problem in verification.problems:
        work.operator.tell(Caution(f"{journal.copy}: {problem}"))
    if verification.problems and work.options.verify:
        raise AwsError(
            f"the copy {journal.copy} is not what it should be, and payments go on in "
            f"{journal.source}; --no-verify goes on all the same, "
            f"`{work.command('restore --undo')}` ends the restore"
        )
    if not journal.drill:
        journal = replace(journal, phase=Phase.VERIFIED)
        journals.write(client, journal, work.sleep)
    return journal, verification


def _wait(work: Work, journal: Journal) -> None:
    client = work.environment.client("dynamodb")
    try:
        for waiting in copy.wait(client, journal.copy, work.sleep, work.clock):
            work.operator.tell(waiting)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            f"DynamoDB goes on making {journal.copy}, and payments go on in {journal.source}; the "
            f"same command goes on with it, `{work.command('restore --undo')}` ends it"
        ) from interrupt


def _agree_to_discard(work: Work, journal: Journal) -> None:
    """List what would stay behind, and ask once more, before payments are stopped."""
    options = work.options
    if not options.discard_newer or work.environment.table == journal.copy:
        return
    client = work.environment.client("dynamodb")
    rows = changes(client, journal.source, journal.copy, journal.to, write=False)
    changed = counted(len(rows), "payment")
    lines = (f"{changed} changed since {_text(journal.to)}:", *listed(rows))
    document = {"kind": "discarded", "rows": [asdict(one) for one in rows]}
    work.operator.tell(Report(lines, document))
    work.operator.confirm(discard_question(rows), options.confirm_discard, "--confirm-discard")


def _report(
    work: Work,
    moved: Moved,
    found: Window | None,
    began: datetime,
    verification: Verification | None,
) -> Report:
    now, journal = work.clock(), moved.journal
    took = sum(work.seconds.values())  # without the time that the person has taken to answer
    behind = max(0.0, (began - found.latest).total_seconds()) if found else None
    document = {
        "kind": "drill" if journal.drill else "restore",
        "stack": work.environment.stack.name,
        "region": work.environment.session.region,
        "source": journal.source,
        "copy": journal.copy,
        "to": _text(journal.to),
        "ended_at": _text(now),
        "steps": [{"step": text, "seconds": round(of, 1)} for text, of in work.seconds.items()],
        "recovery_time_seconds": round(took, 1),
        "newest_restorable": _text(found.latest) if found else None,
        "recovery_point_seconds": round(behind, 1) if behind is not None else None,
        "verification": asdict(verification) if verification else None,
        "rows": [asdict(row) for row in moved.rows],
        "marked": sorted(moved.marked),
    }
    lines = [f"{seconds:8.1f} s  {text}" for text, seconds in work.seconds.items()]
    lines.append(f"{took:8.1f} s  in all (recovery time)")
    if found and behind is not None:
        lines.append(
            f"{behind:8.1f} s  behind: the newest moment was {_text(found.latest)} (recovery point)"
        )
    if verification:
        lines.append(
            f"payments restored: {verification.in_copy}; made since then: "
            f"{verification.created_since} of {verification.in_source}"
        )
    if journal.drill:
        return Report((*lines, f"{journal.copy} was deleted again"), document, final=True)
    return Report((*lines, *_what_is_left(work, moved)), document, final=True)


def _what_is_left(work: Work, moved: Moved) -> list[str]:
    client = work.environment.client("dynamodb")
    journal, rows = moved.journal, moved.rows
    lines = [f"Payments are in {journal.copy}."]
    if rows:
        changed = counted(len(rows), "payment")
        lines += [f"{changed} had changed since {_text(journal.to)}:", *listed(rows)]
    lines += [*marked_lines(moved.marked), "What is left to do:"]
    if unknown := sum(row.unknown for row in rows):
        lines.append(
            f"- compare the {unknown} that could be charged again with the gateway's records"
        )
    lines.append(f"- `{work.command('restore --undo')}` goes back to {journal.source}")
    if journal.source == work.environment.own_table:
        lines.append(f"- {journal.source} belongs to the stack: it stays, with what it holds")
    else:
        lines += [
            f"- {journal.source} is not used any more:",
            *(f"  {one}" for one in tables.delete_commands(client, journal.source)),
        ]
    return lines


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
