"""Moving payments from one table to another: stopped, reconciled, marked, repointed, let in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from payment_infra.cloud import smoke
from payment_infra.cloud.events import Caution, StepBegun, Waiting
from payment_infra.cloud.options import naming_flags
from payment_infra.cloud.polling import persistently
from payment_infra.cloud.restore import journal as journals
from payment_infra.cloud.restore.marking import Marking
from payment_infra.cloud.restore.reconciliation import RowChange, changes
from payment_infra.cloud.restore.repointing import repoint
from payment_infra.cloud.restore.rows import OPEN
from payment_infra.cloud.restore.writes import (
    Writes,
    let_in,
    seconds_to_end,
    settled,
    stop,
)
from payment_infra.errors import AwsError, PaymentInfraError
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.operations.environment import Environment
    from payment_infra.cloud.operator import Operator
    from payment_infra.cloud.restore.journal import Journal, Phase

Found = TypeVar("Found")
# Payments that are listed one by one for a person; a report has them all.
MAX_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a restore, a drill or an undo is made.

    Args:
        to: the moment to restore to; None: the latest that there is.
        ago: whether that was said as a while ago: the same words then go on with a restore.
        yes: answer the questions, but for that of discard_newer.
        drill: make a copy, verify it and delete it.
        verify: whether a copy that is not what it should be ends the restore.
        discard_newer: leave behind what changed since.
        confirm_discard: answer its question.
        drain_seconds: how long to wait for requests that have begun; None: the functions' timeout.
        smoke: whether payments of its own check the outcome.
        pay: whether that charges at a real gateway, too.
    """

    to: datetime | None = None
    ago: bool = False
    yes: bool = False
    drill: bool = False
    verify: bool = True
    discard_newer: bool = False
    confirm_discard: bool = False
    drain_seconds: int | None = None
    smoke: bool = True
    pay: bool = False


@dataclass
class Work:
    """What a restore, a drill or an undo works with, and what it has done.

    steps are those of a restore that it consists of; seconds is what each has taken; stopped is
    whether payments are, as far as is known.
    """

    environment: Environment
    options: Options
    operator: Operator
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    steps: range = range(1, 10)
    seconds: dict[str, float] = field(default_factory=dict)
    stopped: bool = False

    @contextmanager
    def warning(self) -> Iterator[None]:
        """Tell, whatever ends the block, that payments are stopped, if they are."""
        try:
            yield
        except BaseException:
            if self.stopped:
                self.operator.tell(
                    Caution(
                        "payments are stopped; the same command goes on, and "
                        f"`{self.command('restore --undo')}` lets them in where they were"
                    )
                )
            raise

    @contextmanager
    def step(self, number: int, text: str) -> Iterator[None]:
        """Tell that a step of a restore has begun, and take its time."""
        self.operator.tell(StepBegun(self.steps.index(number) + 1, len(self.steps), text))
        began = self.clock()
        yield
        self.seconds[text] = (self.clock() - began).total_seconds()

    def persist(self, call: Callable[[], Found]) -> Found:
        """Return what a call returns that can be repeated; see `persistently`."""
        return persistently(call, self.sleep, self.operator.tell)

    def command(self, arguments: str) -> str:
        """Return a command line for this environment, for a person to repeat."""
        named = naming_flags(self.environment.suffix, self.environment.stack.name)
        return f"payment-infra {arguments} {named}"


@dataclass(frozen=True)
class Moved:
    """What has come of moving payments.

    rows are the payments that differed; marked are the ids of the open ones that are marked as
    rewound where payments are now.
    """

    journal: Journal
    rows: list[RowChange]
    marked: set[str]


def switch(
    work: Work, journal: Journal, source: str, target: str, since: datetime, phase: Phase
) -> Moved:
    """Move payments from one table to another; what an earlier run has done is not done again.

    Args:
        work: whose environment.
        journal: the restore that this is part of.
        source: the table that payments are in.
        target: the table that they go to.
        since: when the two tables were the same.
        phase: what the journal is to say meanwhile.

    Raises:
        PaymentInfraError: a step failed; payments may be stopped.
    """
    client, discard = work.environment.client("dynamodb"), work.options.discard_newer
    marking = Marking(client, source, target, since, discard)
    rows: list[RowChange] = []
    marked: set[str] | None = None
    if work.environment.table != target:
        with work.step(5, "Stop payments"):
            journal = _stop(work, journal, phase)
        with work.step(6, f"Carry over what changed in {source}"):
            rows = _reconcile(work, source, target, since)
            marked = marking.mark_all()
            _tell_marked(work, target, len(marked))
        with work.step(7, f"Move the stack to {target}"):
            work.persist(lambda: repoint(work.environment, target, work.operator))
            work.environment = work.persist(work.environment.again)
    with work.step(8, "Let payments in"):
        slipped: set[str] = set()
        if journal.writes is not None:
            # A throttle is a target, not a ceiling (API Gateway, "Throttle requests to your REST
            # APIs"): what was let through after the last look is carried over, too. Of the open
            # rows only those are marked that this look finds: others may be new in the target.
            second = journal.stopped_at or since
            again = _reconcile(work, source, target, since, second_look=second, known=rows)
            rows += again
            slipped = marking.mark([row.transaction_id for row in again if row.action != "copied"])
            _tell_marked(work, target, len(slipped - (marked or set())))
            journal = start(work, journal)
            work.persist(partial(journals.write, client, journal, work.sleep))
        # An earlier run has marked them, if it has moved the stack.
        marked = slipped | (marking.find_marked() if marked is None else marked)
        if work.options.smoke:
            check(work)
    return Moved(journal, rows, marked)


def start(work: Work, journal: Journal) -> Journal:
    """Let payments in as they came before, if they are stopped; return the journal of that."""
    if journal.writes is not None:
        writes = Writes.parse(journal.writes)
        work.persist(lambda: let_in(work.environment, writes, work.sleep))
        work.stopped = False
    return replace(journal, writes=None)


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
        "  else the outcome stays unknown, for you to settle (README, Stuck payments)",
    ]


def _stop(work: Work, journal: Journal, phase: Phase) -> Journal:
    # Written down before it is done: whatever happens then, it can be taken back.
    present = partial(settled, work.environment, work.sleep)
    writes = journal.writes or work.persist(present).text()
    stopped_at = journal.stopped_at or work.clock()
    journal = replace(journal, phase=phase, stopped_at=stopped_at, writes=writes)
    client = work.environment.client("dynamodb")
    work.persist(lambda: journals.write(client, journal, work.sleep))
    work.stopped = True
    work.persist(lambda: stop(work.environment, work.sleep))
    left = work.options.drain_seconds
    if left is None:
        left = work.persist(lambda: seconds_to_end(work.environment))
    for seconds in range(left, 0, -1):
        work.operator.tell(Waiting(f"requests that have begun may go on for {seconds} s"))
        work.sleep(1)
    return journal


def _reconcile(
    work: Work,
    source: str,
    target: str,
    moment: datetime,
    *,
    second_look: datetime | None = None,
    known: Sequence[RowChange] = (),
) -> list[RowChange]:
    """Carry over what the source tells of more; return it, but for what is known already."""
    client, write = work.environment.client("dynamodb"), not work.options.discard_newer
    found = changes(client, source, target, moment, write=write, since=second_look)
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
    ):
        if number := sum(chosen):
            work.operator.tell(Caution(f"{counted(number, 'row')} {told}; see the report"))
    return rows


def _tell_marked(work: Work, target: str, number: int) -> None:
    if number:
        rows = counted(number, "open payment")
        work.operator.tell(Caution(f"{rows} of {target} marked as rewound; see the report"))
