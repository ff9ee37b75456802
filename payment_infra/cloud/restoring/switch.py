"""Moving payments from one table to another: stopped, reconciled, marked, repointed, let in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from payment_infra.cloud.environment import journal as journals
from payment_infra.cloud.environment import smoke
from payment_infra.cloud.environment.intake import (
    EVERYTHING,
    let_in,
    seconds_to_end,
    stop,
    stopped,
    wanted,
)
from payment_infra.cloud.environment.locking import Lock
from payment_infra.cloud.events import Caution, Report, StepBegun, Waiting
from payment_infra.cloud.restoring import row_log
from payment_infra.cloud.restoring.marking import Marking
from payment_infra.cloud.restoring.reconciliation import RowChange, changes
from payment_infra.cloud.restoring.repointing import Disturbed, repoint
from payment_infra.cloud.restoring.rows import OPEN
from payment_infra.cloud.sdk import tables
from payment_infra.cloud.sdk.polling import persistently
from payment_infra.errors import AwsError, PaymentInfraError, UsageError
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.environment.journal import Journal, Phase
    from payment_infra.cloud.stacks.operator import Operator

Found = TypeVar("Found")
# Payments that are listed one by one for a person; a report has them all.
MAX_LISTED = 20
# How often payments are moved, if others update the stack meanwhile.
MAX_MOVES = 5
CARRY, LEAVE = "carry", "leave"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a restore, a drill or an undo is made.

    Args:
        to: the moment to restore to; None: the latest that there is.
        from_backup: the ARN of the backup to restore from, or "latest"; `to` is then that of it.
        ago: whether that was said as a while ago: the same words then go on with a restore.
        yes: answer the questions, but for those of discard_newer and mismatched.
        drill: make a copy, verify it and delete it.
        verify: whether a copy that is not what it should be ends the restore.
        discard_newer: leave behind what changed since.
        confirm_discard: answer its question.
        mismatched: what becomes of payments that are not what was validated: CARRY them over, or
            LEAVE them behind; None asks.
        drain_seconds: how long to wait for requests that have begun; None: the functions' timeout.
        smoke: whether payments of its own check the outcome.
        pay: whether that charges at a real gateway, too.
        command: what a person has entered.
        take_over: the generation of the lock that may be taken from its holder.
    """

    to: datetime | None = None
    from_backup: str | None = None
    ago: bool = False
    yes: bool = False
    drill: bool = False
    verify: bool = True
    discard_newer: bool = False
    confirm_discard: bool = False
    mismatched: str | None = None
    drain_seconds: int | None = None
    smoke: bool = True
    pay: bool = False
    command: str = ""
    take_over: int | None = None


@dataclass
class Work:
    """What a restore, a drill or an undo works with, and what it has done.

    steps are those of a restore that it consists of; seconds is what each has taken, those of
    earlier runs included; stopped is whether payments are, as far as is known.
    """

    environment: Environment
    options: Options
    operator: Operator
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    steps: range = range(1, 10)
    seconds: dict[str, float] = field(default_factory=dict)
    stopped: bool = False
    _lock: Lock | None = None

    @contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Hold the lock of the environment while the block lasts.

        Whatever ends the block while payments are stopped, that is told.
        """
        self._lock = Lock.acquire(
            *(self.environment.session, self.environment.stack, name, self.operator.tell),
            command=self.options.command,
            take_over=self.options.take_over,
            now=self.clock,
        )
        with self._warning(), self._lock:
            self.environment = self.environment.again()
            yield

    @contextmanager
    def _warning(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if self.stopped:
                self.operator.tell(
                    Caution(
                        "payments are stopped; the same command goes on, "
                        f"`{self.command('restore --undo')}` goes back, "
                        f"`{self.command('resume')}` lets them in where they are"
                    )
                )
            raise

    @contextmanager
    def step(self, number: int, text: str) -> Iterator[None]:
        """Tell that a step of a restore has begun, and take its time."""
        self.operator.tell(StepBegun(self.steps.index(number) + 1, len(self.steps), text))
        began = self.clock()
        yield
        took = (self.clock() - began).total_seconds()
        self.seconds[text] = self.seconds.get(text, 0.0) + took

    def confirm(self, question: str, agreed: bool, flag: str = "--yes") -> None:
        """Go on only if that is agreed to, and read again what was read before the question.

        Raises:
            AwsError: payments have moved meanwhile.
        """
        before = self.environment.table
        self.operator.confirm(question, agreed, flag)
        self.environment = self.environment.again()
        if self.environment.table != before:
            raise AwsError(
                f"payments have moved from {before} to {self.environment.table} meanwhile; nothing "
                "was done, repeat the command"
            )

    def note(self, journal: Journal, **changed: Any) -> Journal:
        """Change the journal, and keep it; return it."""
        assert self._lock is not None
        facts = {**journal.facts, "seconds": self.seconds, **changed.pop("facts", {})}
        journal = replace(journal, by=self._lock.holder, facts=facts, **changed)
        self.persist(lambda: self._write(journal))
        return journal

    def _write(self, journal: Journal) -> None:
        assert self._lock is not None
        self._lock.check()
        if not journals.write(self.environment, journal, self._lock.generation):
            self._lock.check()
            raise AwsError(f"the journal of {journal.copy} was written by somebody else")

    def persist(self, call: Callable[[], Found]) -> Found:
        """Return what a call returns that can be repeated; see `persistently`."""
        return persistently(call, self.sleep, self.operator.tell)

    def command(self, arguments: str) -> str:
        """Return a command line for this environment, for a person to repeat."""
        return self.environment.command(arguments)


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


def agree(work: Work, source: str, target: str, moment: datetime, since: str) -> None:
    """List what would stay behind, and ask, before payments are stopped.

    Args:
        work: whose options.
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
        document = {"kind": "discarded", "rows": [asdict(one) for one in rows]}
        work.operator.tell(Report(lines, document))
        work.confirm(discard_question(rows), options.confirm_discard, "--confirm-discard")
    elif options.mismatched is None:
        found = changes(client, source, target, moment, write=False)
        rows = [one for one in found if one.action == "mismatched"]
        if rows:
            number = counted(len(rows), "payment")
            lines = (f"{number} of {source} are not what was validated:", *listed(rows))
            document = {"kind": "mismatched", "rows": [asdict(one) for one in rows]}
            work.operator.tell(Report(lines, document))
            question = (
                "Their amount, currency or customer was changed since. Leave them behind "
                "(--mismatched carry takes them along as they are)?"
            )
            work.confirm(question, agreed=False, flag="--mismatched leave, or carry")


def check_choice(work: Work, journal: Journal, command: str) -> None:
    """Make sure that a move goes on as it has begun.

    Raises:
        UsageError: it was begun with the other choice of --discard-newer.
    """
    if journal.moving and journal.discard not in {None, work.options.discard_newer}:
        flag = " --discard-newer" if journal.discard else ""
        raise UsageError(
            f"it was begun {'with' if flag else 'without'} --discard-newer; "
            f"`{work.command(command + flag)}` goes on with it"
        )


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
        journal = replace(journal, phase=phase, discard=discard)
        journal, rows, marked = _move(work, journal, marking)
    with work.step(8, "Let payments in"):
        slipped: set[str] = set()
        if journal.stopped:
            # `resume` or a person may have let them in since.
            if not journal.stops or _is_open(work):
                journal = _stop(work, journal)
            slipped = _look_again(work, journal, marking, rows)
            _tell_marked(work, target, len(slipped - (marked or set())))
            journal = start(work, journal)
        # An earlier run has marked them, if it has moved the stack.
        marked = slipped | (work.persist(marking.find_marked) if marked is None else marked)
        if work.options.smoke:
            check(work)
    return Moved(journal, row_log.noted(work.environment, journal), marked)


def start(work: Work, journal: Journal) -> Journal:
    """Let payments in as the template says, if they are stopped; return the journal of that."""
    if journal.stopped:
        work.persist(lambda: let_in(work.environment, wanted(work.environment), work.sleep))
        work.stopped = False
    return work.note(journal, stopped=False, let_in_at=None)


def check(work: Work) -> None:
    """Find out with real requests whether payments work; what is not healthy is told.

    Raises:
        PaymentInfraError: an answer was not the expected one.
    """
    api = work.environment.api()
    try:
        gateway = work.environment.gateway()
        verdict = smoke.judge(api, gateway, work.sleep, pay=work.options.pay)
    except AwsError as error:
        verdict = smoke.Verdict(str(error), ())
    for message in verdict.cautions:
        work.operator.tell(Caution(message))
    if verdict.failed:
        raise PaymentInfraError(
            f"payments are let in, but the check at {api.url} failed: {verdict.failed}; the same "
            f"command checks again, `{work.command('restore --undo')}` goes back"
        )


def listed(rows: list[RowChange]) -> Iterator[str]:
    """Yield a line for each of the first payments that differ, and one for the rest."""
    for one in rows[:MAX_LISTED]:
        there = one.after or "missing"
        yield f"  {one.transaction_id}  {one.before} (there: {there}), {one.action}"
    if len(rows) > MAX_LISTED:
        yield f"  and {len(rows) - MAX_LISTED} more"


def discard_question(rows: list[RowChange]) -> str:
    """Return the question of --discard-newer, with what a yes does to payments that changed."""
    told = []
    if number := sum(row.after in OPEN for row in rows):
        told.append(
            f"At least {number} will be marked as rewound, and charged only if the gateway is "
            "certain that it never did"
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


def _move(
    work: Work, journal: Journal, marking: Marking
) -> tuple[Journal, list[RowChange], set[str]]:
    """Bring the stack to the other table, with all that payments need there."""
    source, target = marking.source, marking.target
    rows: list[RowChange] = []
    for _ in range(MAX_MOVES):
        work.environment = work.persist(work.environment.again)
        with work.step(5, "Stop payments"):
            journal = _stop(work, journal)
        with work.step(6, f"Carry over what changed in {source}"):
            if marking.lost:
                # What the deletion has left has all that the table had, and hides nothing.
                whole = journal.facts.get("whole", False) and not journal.undoing
                marked = set() if whole else work.persist(marking.mark_all)
            else:
                rows += _reconcile(work, journal, marking, known=rows)
                marked = work.persist(marking.mark_all)
            _tell_marked(work, target, len(marked))
        with work.step(7, f"Move the stack to {target}"):
            try:
                work.persist(lambda: repoint(work.environment, source, target, work.operator))
            except Disturbed as disturbed:
                work.operator.tell(Caution(f"{disturbed}; once more from there"))
                continue
            work.environment = work.persist(work.environment.again)
            return journal, rows, marked
    raise AwsError(
        f"stack {work.environment.stack.name} is updated by somebody else again and again; end "
        "that first, then repeat the command"
    )


def _is_open(work: Work) -> bool:
    return set(work.persist(lambda: stopped(work.environment))) != EVERYTHING


def _stop(work: Work, journal: Journal) -> Journal:
    # Where payments were let in meanwhile, and are where they were, the tables differ from now on.
    anew = not journal.stops and work.environment.table == journal.source and not journal.undoing
    stopped_at = work.clock() if anew else journal.stopped_at or work.clock()
    # Written down before it is done: whatever happens then, it is known.
    journal = work.note(journal, stopped=True, stopped_at=stopped_at, let_in_at=None)
    work.stopped = True
    work.persist(lambda: stop(work.environment, work.sleep))
    left = work.options.drain_seconds
    if left is None:
        left = work.persist(lambda: seconds_to_end(work.environment))
    for seconds in range(left, 0, -1):
        work.operator.tell(Waiting(f"requests that have begun may go on for {seconds} s"))
        work.sleep(1)
    return journal


def _look_again(
    work: Work, journal: Journal, marking: Marking, known: Sequence[RowChange]
) -> set[str]:
    """Carry over what slipped through, for a throttle is a target, not a ceiling (API Gateway,
    "Throttle requests to your REST APIs"); return the ids of what is marked.

    Of the open rows only those are marked that this look finds: others may be new in the target.
    """
    if marking.lost:
        return set()  # nothing can have slipped through to a table that is not there
    again = _reconcile(work, journal, marking, since=journal.stopped_at, known=known)
    ids = [row.transaction_id for row in again if row.action != "copied"]
    return work.persist(lambda: marking.mark(ids))


def _reconcile(
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
    told_of = {(one.transaction_id, one.updated_at) for one in known}
    rows = [one for one in found if (one.transaction_id, one.updated_at) not in told_of]
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
