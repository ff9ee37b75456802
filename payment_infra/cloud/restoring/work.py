"""One run of a restore, a drill, an undo or a resume: what it works with, and holds meanwhile."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from payment_infra.cloud.environment import journal as journals
from payment_infra.cloud.environment.intake import drain, let_in, stop, wanted
from payment_infra.cloud.environment.locking import Lock
from payment_infra.cloud.events import Caution, StepBegun
from payment_infra.cloud.sdk.polling import persistently
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.environment.journal import Journal
    from payment_infra.cloud.stacks.operator import Operator


Found = TypeVar("Found")
# The choice of --mismatched that takes them along; the other is "leave".
CARRY = "carry"


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """How a restore, a drill or an undo is made.

    Args:
        to: the moment to restore to; None: the latest that there is.
        from_backup: the ARN of the backup to restore from, or "latest"; `to` is then that of it.
        ago: whether that was said as a while ago: the same words then continue a restore.
        yes: answer the questions, but for those of discard_newer and mismatched.
        drill: make a copy, verify it and delete it.
        verify: whether a copy that is not what it should be ends the restore.
        discard_newer: leave behind what changed since.
        confirm_discard: answer its question.
        mismatched: whether payments that are not what was validated are carried over: "carry" or
            "leave"; None asks.
        drain_seconds: how long to wait for requests that have begun; None: the functions' timeout.
        smoke: whether payments of its own check the outcome.
        pay: whether that charges at a real gateway, too.
        payment_method: the gateway's token of what is charged.
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
    payment_method: str = ""
    command: str = ""
    take_over: int | None = None


class Work:
    """What a restore, a drill, an undo or a resume works with, and what it has done.

    It alone changes what it knows: the others call what says what has happened.
    """

    def __init__(
        self,
        environment: Environment,
        options: RestoreOptions,
        operator: Operator,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Change nothing yet.

        Args:
            environment: whose payments.
            options: how.
            operator: is told what happens, and asked.
            sleep: waits for so many seconds.
            clock: the time.
        """
        self.options: Final = options
        self.operator: Final = operator
        self.sleep: Final = sleep
        self.clock: Final = clock
        self._environment = environment
        self._steps = range(0)
        self._seconds: dict[str, float] = {}
        self._stopped = False  # whether payments are, as far as is known
        self._lock: Lock | None = None

    @property
    def environment(self) -> Environment:
        """The environment, as it was when it was last looked at."""
        return self._environment

    @property
    def seconds(self) -> Mapping[str, float]:
        """What each step has taken, those of earlier runs included."""
        return self._seconds

    @contextmanager
    def operation(self, name: str, steps: range = range(0)) -> Iterator[None]:
        """Hold the lock of the environment while the block lasts.

        Whatever ends the block while payments are stopped, that is told.

        Args:
            name: what is done, for those who find the lock held.
            steps: those of a restore that it consists of.
        """
        self._steps = steps
        self._lock = Lock.acquire(
            *(self.environment.session, self.environment.stack, name, self.operator.tell),
            command=self.options.command,
            take_over=self.options.take_over,
            now=self.clock,
        )
        with self._warning(), self._lock:
            self._environment = self._environment.again()
            yield

    def look_again(self) -> None:
        """Look at the environment again, after something has changed it."""
        self._environment = self.persist(self._environment.again)

    def find_journals(self) -> list[Journal]:
        """Return every restore, the newest moment last (see `journal.find_journals`).

        They say whether payments are stopped.
        """
        found = journals.find_journals(self.environment, self.environment.own_table)
        self._stopped = any(journal.stops for journal in found)
        return found

    def stop_payments(self) -> None:
        """Let no payment in, and wait until what has begun has ended."""
        self._stopped = True
        self.persist(lambda: stop(self.environment, self.sleep))
        drain(self.environment, self.options.drain_seconds, self.sleep, self.operator.tell)

    def let_payments_in(self) -> None:
        """Let payments in as the deployed template says."""
        self.persist(lambda: let_in(self.environment, wanted(self.environment), self.sleep))
        self._stopped = False

    @contextmanager
    def _warning(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if self._stopped:
                self.operator.tell(
                    Caution(
                        "payments are stopped; the same command continues, "
                        f"`{self.command('restore --undo')}` goes back, "
                        f"`{self.command('resume')}` lets them in where they are"
                    )
                )
            raise

    @contextmanager
    def step(self, number: int, text: str) -> Iterator[None]:
        """Tell that a step of a restore has begun, and take its time."""
        self.tell_step(number, text)
        began = self.clock()
        yield
        took = (self.clock() - began).total_seconds()
        self._seconds[text] = self._seconds.get(text, 0.0) + took

    def tell_step(self, number: int, text: str) -> None:
        """Tell that a step of a restore has begun."""
        self.operator.tell(StepBegun(self._steps.index(number) + 1, len(self._steps), text))

    def add_earlier_runs(self, journal: Journal) -> None:
        """Take over what the steps of a restore have taken in earlier runs."""
        self._seconds = {**journal.facts.get("seconds", {}), **self._seconds}

    def confirm(self, question: str, agreed: bool, flag: str = "--yes") -> None:
        """Return only if that is agreed to, and read again what was read before the question.

        Raises:
            AwsError: payments have moved meanwhile.
        """
        before = self.environment.table
        self.operator.confirm(question, agreed, flag)
        self._environment = self._environment.again()
        if self.environment.table != before:
            raise AwsError(
                f"payments have moved from {before} to {self.environment.table} meanwhile; nothing "
                "was done, repeat the command"
            )

    def note(self, journal: Journal, **changed: Any) -> Journal:
        """Change the journal, and keep it; return it."""
        assert self._lock is not None
        facts = {**journal.facts, "seconds": self._seconds, **changed.pop("facts", {})}
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
