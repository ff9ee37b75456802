"""Moving payments from one table to another: stopped, carried over, marked, repointed, let in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from payment_infra.cloud.environment import smoke
from payment_infra.cloud.environment.intake import (
    everything,
    stopped,
)
from payment_infra.cloud.environment.live import check_live
from payment_infra.cloud.events import Caution
from payment_infra.cloud.restoring import row_log
from payment_infra.cloud.restoring.carry_over import RowChange, changes
from payment_infra.cloud.restoring.encryption import check_usable
from payment_infra.cloud.restoring.marking import Marking
from payment_infra.cloud.restoring.repointing import Disturbed, repoint
from payment_infra.cloud.restoring.work import CARRY
from payment_infra.cloud.sdk import tables
from payment_infra.errors import AwsError, PaymentInfraError
from payment_infra.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from payment_infra.cloud.environment.journal import Journal, Phase
    from payment_infra.cloud.restoring.work import Work

# How often payments are moved, if others update the stack meanwhile.
MAX_MOVES = 5


@dataclass(frozen=True)
class Moved:
    """What has come of moving payments, in all runs.

    rows are the payments that differed; marked are the ids of the open ones that are marked as
    rewound where payments are now.
    """

    journal: Journal
    rows: list[RowChange]
    marked: set[str]


def is_lost(work: Work, table: str) -> bool:
    """Whether a table's rows can be read no more."""
    return tables.status(work.environment.client("dynamodb"), table) in tables.LOST


def switch(
    work: Work, journal: Journal, source: str, target: str, moment: datetime, phase: Phase
) -> Moved:
    """Move payments from one table to another; what an earlier run has done is not done again.

    Args:
        work: whose environment.
        journal: the restore that this is part of.
        source: the table that payments are in, which may be gone.
        target: the table that they go to.
        moment: when the two tables were the same.
        phase: what the journal is to say meanwhile.

    Raises:
        PaymentInfraError: a step failed; payments may be stopped.
    """
    client, discard = work.environment.client("dynamodb"), work.options.discard_newer
    marking = Marking(client, source, target, moment, discard, is_lost(work, source))
    rows: list[RowChange] = []
    marked: set[str] | None = None
    if work.environment.table != target:
        # Whoever cannot read both cannot move payments, and is told before they are stopped.
        names = [target] if marking.lost else [source, target]
        check_usable(work.environment.session, names)
        journal = replace(journal, phase=phase, discard=discard)
        journal, rows, marked = _move(work, journal, marking)
    with work.step(8, "Let payments in"):
        slipped: set[str] = set()
        if journal.stopped:
            # `resume` or a person may have let them in since.
            if not journal.stops or _is_open(work):
                journal = _stop(work, journal)
            slipped = _carry_over_again(work, journal, marking, rows)
            _tell_marked(work, target, len(slipped - (marked or set())))
            journal = start(work, journal)
        # An earlier run has marked them, if it has moved the stack.
        marked = slipped | (work.persist(marking.find_marked) if marked is None else marked)
        if work.options.smoke:
            check(work)
    return Moved(journal, row_log.noted(work.environment, journal), marked)


def start(work: Work, journal: Journal) -> Journal:
    """Let payments in as the template says, if they are stopped; return the journal of that.

    Raises:
        AwsError: what they would go through does not work on the active table.
    """
    if journal.stopped:
        work.persist(lambda: check_live(work.environment))
        work.let_payments_in()
    return work.note(journal, stopped=False, let_in_at=None)


def check(work: Work) -> None:
    """Find out with real requests whether payments work; what is not healthy is told.

    Raises:
        PaymentInfraError: an answer was not the expected one.
    """
    api = work.environment.api()
    try:
        gateway = work.environment.gateway()
        pay, method = work.options.pay, work.options.payment_method
        verdict = smoke.judge(api, gateway, work.sleep, pay=pay, method=method)
    except AwsError as error:
        verdict = smoke.Verdict(str(error), ())
    for message in verdict.cautions:
        work.operator.tell(Caution(message))
    if verdict.failed:
        raise PaymentInfraError(
            f"payments are let in, but the check at {api.url} failed: {verdict.failed}; the same "
            f"command checks again, `{work.command('restore --undo')}` goes back"
        )


def _move(
    work: Work, journal: Journal, marking: Marking
) -> tuple[Journal, list[RowChange], set[str]]:
    """Bring the stack to the other table, with all that payments need there."""
    source, target = marking.source, marking.target
    rows: list[RowChange] = []
    for _ in range(MAX_MOVES):
        work.look_again()
        with work.step(5, "Stop payments"):
            journal = _stop(work, journal)
        with work.step(6, f"Carry over what changed in {source}"):
            if marking.lost:
                # What the deletion has left has all that the table had, and hides nothing.
                whole = journal.facts.get("whole", False) and not journal.undoing
                marked = set() if whole else work.persist(marking.mark_all)
            else:
                rows += _carry_over(work, journal, marking, known=rows)
                marked = work.persist(marking.mark_all)
            _tell_marked(work, target, len(marked))
        with work.step(7, f"Move the stack to {target}"):
            try:
                work.persist(lambda: repoint(work.environment, source, target, work.operator))
            except Disturbed as disturbed:
                work.operator.tell(Caution(f"{disturbed}; once more from there"))
                continue
            work.look_again()
            return journal, rows, marked
    raise AwsError(
        f"stack {work.environment.stack.name} is updated by somebody else again and again; end "
        "that first, then repeat the command"
    )


def _is_open(work: Work) -> bool:
    return set(work.persist(lambda: stopped(work.environment))) != everything(work.environment)


def _stop(work: Work, journal: Journal) -> Journal:
    # Where payments were let in meanwhile, and are where they were, the tables differ from now on.
    anew = not journal.stops and work.environment.table == journal.source and not journal.undoing
    stopped_at = work.clock() if anew else journal.stopped_at or work.clock()
    # Written down before it is done: whatever happens then, it is known.
    journal = work.note(journal, stopped=True, stopped_at=stopped_at, let_in_at=None)
    work.stop_payments()
    return journal


def _carry_over_again(
    work: Work, journal: Journal, marking: Marking, known: Sequence[RowChange]
) -> set[str]:
    """Carry over what slipped through, for a throttle is a target, not a ceiling (API Gateway,
    "Throttle requests to your REST APIs"); return the ids of what is marked.

    Of the open rows only those are marked that this look finds: others may be new in the target.
    """
    if marking.lost:
        return set()  # nothing can have slipped through to a table that is not there
    again = _carry_over(work, journal, marking, since=journal.stopped_at, known=known)
    ids = [row.transaction_id for row in again if row.action != "copied"]
    return work.persist(lambda: marking.mark(ids))


def _carry_over(
    work: Work,
    journal: Journal,
    marking: Marking,
    *,
    since: datetime | None = None,
    known: Sequence[RowChange] = (),
) -> list[RowChange]:
    """Carry over what the source tells of more; return it, but for what is known already."""
    source, target = marking.source, marking.target
    found = work.persist(
        lambda: changes(
            *(marking.client, source, target, marking.moment),
            write=not marking.discard,
            mismatched=work.options.mismatched == CARRY,
            since=since,
            note=lambda rows: row_log.note(work.environment, journal, rows),
        )
    )
    told_of = {(row.transaction_id, row.updated_at) for row in known}
    rows = [row for row in found if (row.transaction_id, row.updated_at) not in told_of]
    for told, chosen in (
        (
            f"not in {target}, and could be charged again if validated again",
            [row.unknown for row in rows],
        ),
        (
            f"kept as found in {target}: settled there, or as new",
            [row.action == "kept" for row in rows],
        ),
        (
            f"of {source} not copied: not as a payment is",
            [row.action == "foreign" for row in rows],
        ),
        (
            f"of {source} not copied: not what was validated",
            [row.action == "mismatched" for row in rows],
        ),
    ):
        if number := sum(chosen):
            work.operator.tell(Caution(f"{counted(number, 'row')} {told}; see the report"))
    return rows


def _tell_marked(work: Work, target: str, number: int) -> None:
    if number:
        rows = counted(number, "open payment")
        work.operator.tell(Caution(f"{rows} of {target} marked as rewound; see the report"))
