"""A restore from its question to its report, and the drill, which is its first half."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING

from payment_infra.cloud.environment.journal import Journal, Phase, copy_name
from payment_infra.cloud.events import Caution, Report
from payment_infra.cloud.restoring import backups, copy, encryption, row_log
from payment_infra.cloud.restoring.agreement import agree, check_choice, listed, marked_lines
from payment_infra.cloud.restoring.comparing import Against, compare
from payment_infra.cloud.restoring.repointing import ready
from payment_infra.cloud.restoring.switch import Moved, is_lost, switch
from payment_infra.cloud.restoring.verification import verify
from payment_infra.cloud.sdk import tables
from payment_infra.errors import AwsError, Interrupted, UsageError
from payment_infra.moments import iso, shown
from payment_infra.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from payment_infra.cloud.restoring.encryption import Encryption
    from payment_infra.cloud.restoring.work import RestoreOptions, Work

STEPS, DRILL_STEPS = range(1, 10), range(1, 6)


def restore(work: Work) -> Report:
    """Bring the payments of an earlier moment back, or continue where an earlier run has ended.

    Raises:
        UsageError: the moment cannot be restored, or another restore is in progress.
        AwsError: something is not as it must be; says what.
        Declined: the answer was no; nothing was changed.

    Whatever ends it while payments are stopped, that is told.
    """
    work.operator.check_answers(work.options.yes)
    drill = work.options.drill
    name, steps = ("restore --drill", DRILL_STEPS) if drill else ("restore", STEPS)
    with work.operation(name, steps):
        return _restore(work)


def _restore(work: Work) -> Report:
    ready(work.environment, work.operator)
    work.look_again()
    journal = _in_progress(work)
    if journal is None:
        journal = _begin(work) if work.options.from_backup is None else _begin_from_backup(work)
    work.add_earlier_runs(journal)
    journal = _copy(work, journal)
    client = work.environment.client("dynamodb")
    if work.options.drill:
        with work.step(5, f"Delete {journal.copy}"):
            if journal.exists:
                tables.delete(client, journal.copy, work.sleep)
        moved = Moved(journal, [], set())
    else:
        if not is_lost(work, journal.source):
            agree(work, journal.source, journal.copy, journal.to, shown(journal.to))
        moved = switch(work, journal, journal.source, journal.copy, journal.to, Phase.SWITCHING)
        work.tell_step(9, "Report")
    against = Against() if work.options.drill else compare(work, moved.journal.to)
    report = _report(work, moved, against)
    work.operator.tell(report)
    journal = work.note(moved.journal, phase=Phase.DONE)
    row_log.clear(work.environment, journal)
    return report


def _in_progress(work: Work) -> Journal | None:
    """Return the restore in progress, None if there is none."""
    options = work.options
    every = work.find_journals()
    if undoing := [journal for journal in every if journal.undoing]:
        raise AwsError(
            f"the restore to {shown(undoing[0].to)} is being undone; "
            f"`{work.command('restore --undo')}` completes that first"
        )
    open_ones = [journal for journal in every if journal.open and journal.drill == options.drill]
    if not open_ones:
        return None
    journal = open_ones[-1]
    same = options.from_backup == journal.backup
    if not same and (journal.backup is None or options.from_backup != backups.LATEST):
        words = f"--from-backup {journal.backup}" if journal.backup else f"--to {shown(journal.to)}"
        raise UsageError(
            f"a restore is in progress; give {words} to continue it, or `{_end(work, journal)}` "
            "to end it"
        )
    asked = None if options.ago else options.to
    if asked is not None and copy.whole(asked) != journal.to:
        raise UsageError(
            f"a restore to {shown(journal.to)} is in progress; give --to {shown(journal.to)} to "
            f"continue it, or `{_end(work, journal)}` to end it"
        )
    if not journal.exists and journal.phase is not Phase.COPYING and not journal.drill:
        raise AwsError(
            f"the copy {journal.copy} of the restore to {shown(journal.to)} is gone; "
            f"`{work.command('restore --undo')}` ends that restore"
        )
    words = f"--from-backup {journal.backup}" if journal.backup else f"--to {shown(journal.to)}"
    check_choice(work, journal, f"restore {words}")
    work.confirm(
        f"A restore of {journal.source} to {shown(journal.to)} is in progress. Continue it?",
        options.yes,
    )
    return journal


def _begin(work: Work) -> Journal:
    """Show what will happen, ask, and begin to make the copy."""
    began = work.clock()
    work.tell_step(1, "Check what can be restored")
    environment, options = work.environment, work.options
    table = environment.table
    found = copy.window(environment.session, table, work.command("restore --from-backup latest"))
    if options.to and copy_name(environment.own_table, options.to) == table:
        raise UsageError(f"payments are already in {table}, restored to {shown(options.to)}")
    to = copy.moment(options.to, found)
    encryption.wanted(environment, table)
    name = copy_name(environment.own_table, to, drill=options.drill)
    _check_name(work, name)
    lines = [
        f"  from    {table}, as it was at {shown(to)}",
        f"  to      a new table, {name}",
        f"  window  {shown(found.earliest)} to {shown(found.latest)}",
    ]
    if options.drill:
        lines.append("  then    the copy is verified and deleted; payments go on meanwhile")
    else:
        lines += _plan(options)
    _tell_plan(work, lines, {"source": table, "copy": name, "to": shown(to)})
    what = "Make the drill?" if options.drill else f"Restore payments to {shown(to)}?"
    work.confirm(what, options.yes)
    facts = {"began_at": iso(began), "newest_restorable": iso(found.latest)}
    return _note_begun(work, Journal(name, table, to, exists=False), facts)


def _begin_from_backup(work: Work) -> Journal:
    """Find the backup, show what will happen, and ask."""
    began = work.clock()
    work.tell_step(1, "Check what can be restored")
    environment, options = work.environment, work.options
    table = environment.table
    found = backups.find_backups(environment.session, table, work.operator.tell)
    backup = backups.choose(found, str(options.from_backup))
    to = copy.whole(backup.made_at)
    encryption.wanted(environment, None if is_lost(work, table) else table)
    name = copy_name(environment.own_table, to)
    _check_name(work, name)
    journal = Journal(name, table, to, exists=False)
    lines = [
        f"  from    {backup.arn}",
        f"          a backup of {table} ({backup.kind}), made at {shown(to)}",
        f"  to      a new table, {name}",
    ]
    if not is_lost(work, table):
        lines += _plan(options)
    else:
        lines += [
            "  then    payments are stopped, the stack moves to the new table, and they are let in",
            f"          again; {table} is gone: open payments are marked as rewound,",
            "          unless the backup is what the deletion has left",
        ]
    _tell_plan(work, lines, {"source": table, "copy": name, "backup": backup.arn, "to": shown(to)})
    work.confirm(f"Restore payments from the backup of {shown(to)}?", options.yes)
    facts = {
        "began_at": iso(began),
        "newest_restorable": iso(to),
        "backup": backup.arn,
        "whole": backup.kind == backups.SYSTEM and backup == found[0],
    }
    return _note_begun(work, journal, facts)


def _check_name(work: Work, name: str) -> None:
    environment = work.environment
    if any(journal.copy == name for journal in work.find_journals()):
        [delete] = tables.delete_commands_of(environment.session, name, protected=False)
        raise UsageError(
            f"there is a table {name} from an earlier restore; `{delete}` deletes it, or restore "
            "to another second"
        )


def _plan(options: RestoreOptions) -> list[str]:
    kept = "stay behind" if options.discard_newer else "are carried over"
    return [
        f"  then    payments are stopped, those that changed since {kept},",
        "          open ones that may have been charged since are marked as rewound,",
        "          to be charged only if the gateway is certain that it never did,",
        "          the stack moves to the new table, and payments are let in again",
    ]


def _tell_plan(work: Work, lines: list[str], document: dict[str, object]) -> None:
    environment = work.environment
    first = f"Restore of {environment.stack.name} in {environment.session.region}"
    work.operator.tell(Report((first, *lines), {"kind": "plan", **document}))


def _note_begun(work: Work, journal: Journal, facts: Mapping[str, object]) -> Journal:
    row_log.clear(work.environment, journal)
    return work.note(journal, facts=facts)


def _copy(work: Work, journal: Journal) -> Journal:
    """Begin the copy, wait for it, complete it and look at it, unless an earlier run has."""
    if journal.phase is not Phase.COPYING:
        return journal
    client = work.environment.client("dynamodb")
    lost = is_lost(work, journal.source)
    source = None if lost else journal.source
    key = encryption.wanted(work.environment, source)
    if not journal.exists:
        _make(work, journal, key)
        journal = replace(journal, exists=True)
    with work.step(2, f"Restore to {journal.copy}"):
        _wait(work, journal)
    with work.step(3, "Bring back its recovery, tags and protection"):
        if source is None:
            stack, values = work.environment.stack, work.environment.state.parameters
            backups.bring_back_from_template(
                client, stack.template(), values, journal.copy, key, work.sleep
            )
        else:
            copy.bring_back(client, source, journal.copy, key, work.sleep)
    with work.step(4, "Verify it"):
        verification = verify(client, source, journal.copy, journal.to, key)
    for problem in verification.problems:
        work.operator.tell(Caution(f"{journal.copy}: {problem}"))
    if verification.problems and work.options.verify:
        raise AwsError(
            f"the copy {journal.copy} is not what it should be, and payments go on in "
            f"{journal.source}; --no-verify continues all the same, "
            f"`{_end(work, journal)}` ends it"
        )
    return work.note(journal, phase=Phase.VERIFIED, facts={"verification": asdict(verification)})


def _make(work: Work, journal: Journal, key: Encryption) -> None:
    """Begin to make the copy."""
    session = work.environment.session
    if journal.backup is None:
        client = session.client("dynamodb")
        copy.begin(client, journal.source, journal.copy, journal.to, key, work.sleep)
        return
    found = backups.find_backups(session, journal.source, work.operator.tell)
    backup = backups.choose(found, journal.backup)
    role = backups.role_of(work.environment)
    backups.begin(session, backup, journal.copy, key, work.sleep, role)


def _end(work: Work, journal: Journal) -> str:
    """Return the command that ends a restore, or a drill, that is in progress."""
    return work.command("restore --undo" + (" --drill" if journal.drill else ""))


def _wait(work: Work, journal: Journal) -> None:
    client = work.environment.client("dynamodb")
    try:
        for waiting in copy.wait(client, journal.copy, work.sleep, work.clock):
            work.operator.tell(waiting)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            f"DynamoDB continues to make {journal.copy}, and payments go on in {journal.source}; "
            f"the same command continues it, `{_end(work, journal)}` ends it"
        ) from interrupt


def _report(work: Work, moved: Moved, against: Against) -> Report:
    now, journal = work.clock(), moved.journal
    facts = journal.facts
    verification = facts.get("verification")
    took = sum(work.seconds.values())  # without the time that the person has taken to answer
    document = {
        "kind": "drill" if journal.drill else "restore",
        "stack": work.environment.stack.name,
        "region": work.environment.session.region,
        "source": journal.source,
        "copy": journal.copy,
        "to": shown(journal.to),
        "backup": journal.backup,
        "ended_at": shown(now),
        "steps": [{"step": text, "seconds": round(of, 1)} for text, of in work.seconds.items()],
        "recovery_time_seconds": round(took, 1),
        "newest_restorable": None,
        "recovery_point_seconds": None,
        "verification": verification,
        "rows": [asdict(row) for row in moved.rows],
        "marked": sorted(moved.marked),
        "reconciled": against.document,
    }
    lines = [f"{seconds:8.1f} s  {text}" for text, seconds in work.seconds.items()]
    lines.append(f"{took:8.1f} s  in all (recovery time)")
    if "began_at" in facts:
        began, newest = (
            datetime.fromisoformat(facts[name]) for name in ("began_at", "newest_restorable")
        )
        behind = max(0.0, (began - newest).total_seconds())
        document["newest_restorable"] = shown(newest)
        document["recovery_point_seconds"] = round(behind, 1)
        lines.append(
            f"{behind:8.1f} s  behind: the newest moment was {shown(newest)} (recovery point)"
        )
    if verification:
        restored = f"payments restored: {verification['in_copy']}"
        if verification["in_source"]:
            restored += (
                f"; made since then: {verification['created_since']} of {verification['in_source']}"
            )
        lines.append(restored)
    if journal.drill:
        return Report((*lines, f"{journal.copy} was deleted again"), document, final=True)
    return Report((*lines, *_what_is_left(work, moved, against)), document, final=True)


def _what_is_left(work: Work, moved: Moved, against: Against) -> list[str]:
    journal, rows = moved.journal, moved.rows
    lines = [f"Payments are in {journal.copy}."]
    if rows:
        changed = counted(len(rows), "payment")
        lines += [f"{changed} had changed since {shown(journal.to)}:", *listed(rows)]
    lines += [
        *backups.backed_up_lines(work.environment, journal.copy),
        *marked_lines(moved.marked),
        "What is left to do:",
        *against.lines,
    ]
    if unknown := sum(row.unknown for row in rows):
        lines.append(
            f"- compare the {unknown} that could be charged again with the gateway's records"
        )
    if is_lost(work, journal.source):
        return [*lines, f"- {journal.source} is gone, and this restore cannot be undone"]
    lines.append(f"- `{work.command('restore --undo')}` goes back to {journal.source}")
    if journal.source == work.environment.own_table:
        lines.append(f"- {journal.source} belongs to the stack: it stays, with what it holds")
    else:
        lines += [
            f"- {journal.source} is not used any more:",
            *(
                f"  {command}"
                for command in tables.delete_commands(work.environment.session, journal.source)
            ),
        ]
    return lines
