"""Saving what a stack holds before it is deleted: its payments, and the messages of both queues.

Payments are stopped first, as a restore does it, so that none comes in that is not in the files.
How far it has come stands in a file beside them, so that after a crash the same command knows that
payments were stopped by it. Unless the stack is being deleted in the end, payments are let in
again, but for what was stopped before, and what was saved is old: the next run saves anew.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError

from payment_infra.cloud.environment.intake import (
    NOTIFICATIONS,
    Intake,
    drain,
    everything,
    let_in,
    stop,
    stopped,
    wanted,
)
from payment_infra.cloud.environment.journal import find_journals
from payment_infra.cloud.events import Caution, StepBegun, Waiting
from payment_infra.cloud.operating.dead_letters import LAG_SECONDS, Clock
from payment_infra.cloud.operating.export import PART, STATE, Since, save
from payment_infra.cloud.operating.queue_export import save_messages
from payment_infra.cloud.operating.redriving import last_moves
from payment_infra.cloud.sdk.errors import MISSING, code_of
from payment_infra.cloud.sdk.polling import countdown, persistently
from payment_infra.errors import (
    AwsError,
    Interrupted,
    PaymentInfraError,
    UsageError,
    by_ctrl_c,
)
from payment_infra.files import require_place, write_file
from payment_infra.names import DEAD_LETTER_QUEUE, FAILED_QUEUE
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import Tell

STEPS = ("Stop payments", "Save the payments", "Save both queues", "Delete the stack")

Seen = TypeVar("Seen")
# What API Gateway and Lambda say of what is not there.
GONE = MISSING | {"NotFoundException"}


class Phase(StrEnum):
    """What was done last; payments are stopped in the first two."""

    SAVING = "saving"
    SAVED = "saved"
    LET_IN = "let in"


@dataclass(frozen=True)
class Progress:
    """How far the saving of a stack has come.

    saved is the file's name to what it holds; before is what was stopped when it began, as
    `stopped` names it, and stays so.
    """

    stack: str
    phase: Phase
    saved: Mapping[str, int] = field(default_factory=dict)
    before: Sequence[str] = ()


class Saving:
    """Saves a stack; as a context, lets payments in again at its end if the stack stays.

    saved is each file's name to how many payments or messages it holds.
    """

    def __init__(
        self,
        environment: Environment,
        payments: Path,
        *,
        drain_seconds: int | None,
        tell: Tell,
        sleep: Callable[[float], None],
        clock: Clock = time.monotonic,
    ) -> None:
        """Look at what is there; nothing is changed.

        Args:
            environment: whose payments and messages.
            payments: the file for the payments; those for the queues are named after it.
            drain_seconds: how long to wait for requests that have begun; None: the longest timeout
                of the functions.
            tell: is told how far it has come.
            sleep: waits.
            clock: seconds.

        Raises:
            UsageError: a file is in the way that no saving of this stack has written.
        """
        stem, suffix = payments.stem, payments.suffix
        self.payments = payments
        self.queues = {
            FAILED_QUEUE: payments.with_name(f"{stem}.queued{suffix}"),
            DEAD_LETTER_QUEUE: payments.with_name(f"{stem}.dead-letters{suffix}"),
        }
        self._environment = environment
        self._drain_seconds = drain_seconds
        self._tell = tell
        self._sleep = sleep
        self._clock = clock
        self._path = Path(f"{payments}.destroy")
        self._progress = self._read()

    @property
    def saved(self) -> Mapping[str, int]:
        """Each file's name to how many payments or messages it holds."""
        return self._progress.saved

    def save(self) -> None:
        """Stop payments and save everything, unless that was done and the stack is being deleted.

        Raises:
            PaymentInfraError: something cannot be saved.
        """
        if (
            self._progress.phase is Phase.SAVED
            and self._environment.is_going()
            and not self._may_have_come_in()
        ):
            return
        moves = last_moves(self._environment, self._sleep)
        self._step(0)
        self._begin()
        self._stop()
        # The embedded AWS counts at once.
        lag = 0 if self._environment.session.embedded else LAG_SECONDS
        settled_at = self._clock() + lag
        self._step(1)
        self._save_payments()
        self._step(2)
        left = math.ceil(settled_at - self._clock())
        countdown(left, "the queues' numbers are right in {} s", self._sleep, self._tell)
        self._save_queues()
        # What is moved later is in the files by now.
        if last_moves(self._environment, self._sleep) != moves:
            raise AwsError("SQS has moved messages while they were saved; repeat the command")
        self._write(replace(self._progress, phase=Phase.SAVED))
        self._step(3)

    def check_stopped(self) -> None:
        """Make sure, directly before the deletion, that nothing has come in since.

        Raises:
            AwsError: payments can come in, or nobody can tell.
        """
        environment = self._environment
        if environment.is_going():
            return
        let_in_since = everything(environment) - set(self._persist(lambda: stopped(environment)))
        if let_in_since:
            raise AwsError(
                f"payments were let in while they were saved ({', '.join(sorted(let_in_since))}), "
                "by somebody without the lock; repeat the command, which saves anew"
            )

    def __enter__(self) -> Saving:
        """Begin what `save` is a part of."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let payments in again, unless the stack is being deleted."""
        if error is None:
            self._forget()
        elif self._progress.phase is not Phase.LET_IN:
            # After Ctrl-C the deletion continues, though the stack may not show it yet.
            if isinstance(error, Interrupted):
                self._tell(Caution(self._going()))
            else:
                self._let_in(error)

    def _forget(self) -> None:
        """Remove the note; that it stays does not undo what was done."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._tell(Caution(f"{self._path}: cannot be removed ({error.strerror}); delete it"))

    def _going(self) -> str:
        name = self._environment.stack.name
        return f"payments are stopped, and {name} is being deleted; the same command continues"

    def _let_in(self, ended_by: BaseException) -> None:
        """Let payments in, if they can come in; tell what is the case then, and write it down."""
        try:
            if by_ctrl_c(ended_by):
                self._tell(
                    Caution("payments are being let in again; another Ctrl-C leaves them stopped")
                )
            stays = self._persist(self._stays_and_is_open)
        except PaymentInfraError as error:
            self._tell(Caution(self._still_stopped(str(error))))
            return
        except KeyboardInterrupt:
            self._tell(Caution(self._still_stopped("interrupted")))
            raise
        self._tell(Caution(self._stays() if stays else self._going()))
        if not stays:
            return
        try:
            self._write(replace(self._progress, phase=Phase.LET_IN))
        except PaymentInfraError as error:
            self._tell(
                Caution(
                    f"{error}, and still says that payments are stopped; delete it and what was "
                    "saved"
                )
            )

    def _stays(self) -> str:
        if before := self._progress.before:
            return (
                f"nothing was deleted; what was stopped before stays so ({', '.join(before)}); "
                f"`{self._environment.command('resume')}` lets it in"
            )
        return "payments are let in again, and nothing was deleted"

    def _still_stopped(self, why: str) -> str:
        resume = self._environment.command("resume")
        return (
            f"payments are stopped ({why}); the same command saves anew; answered with no, it lets "
            f"them in again, as `{resume}` does"
        )

    def _stays_and_is_open(self) -> bool:
        """Let payments in if the stack stays; return whether it does."""
        before = self._progress.before
        if self._environment.is_going():
            return False
        self._check_restores()
        environment = self._environment.again()  # it may have been updated meanwhile
        intake = wanted(environment)
        kept = Intake(
            retries=intake.retries and "retries" not in before,
            throttles={
                name: limit for name, limit in intake.throttles.items() if name not in before
            },
            stage="" if before else intake.stage,
            notifications=NOTIFICATIONS not in before,
        )
        let_in(environment, kept, self._sleep)
        return True

    def _check_restores(self) -> None:
        """Make sure that no restore has stopped payments, which then only that may let in.

        Raises:
            AwsError: one has.
        """
        environment = self._environment
        if any(journal.stops for journal in find_journals(environment, environment.own_table)):
            raise AwsError(
                "a restore is in progress and has stopped payments; "
                f"`{environment.command('restore --undo')}` ends it first"
            )

    def _may_have_come_in(self) -> bool:
        """Whether somebody can have let payments in since the stack's deletion was begun.

        That takes a deletion that has failed, and left all of what lets them in. It is deleted
        before the table and the queues, which its functions refer to, so these are still there.
        """
        state = self._environment.stack.state_for_sure()
        if state is None or state.status != "DELETE_FAILED":
            return False
        try:
            stopped(self._environment)
        except AwsError as error:
            cause = error.__cause__
            if cause is None or (isinstance(cause, ClientError) and code_of(cause) in GONE):
                return False
            raise
        return True

    def _begin(self) -> None:
        """Take what an earlier run has saved as old, and write down what is stopped.

        That is before anything is done, so that whatever happens then it can be taken back. What an
        earlier run has stopped, and did not come to let in, was not stopped before.
        """
        self._check_restores()
        for name in (PART, STATE):
            Path(f"{self.payments}{name}").unlink(missing_ok=True)
        before = self._progress.before
        if self._progress.phase is Phase.LET_IN:
            before = stopped(self._environment)
        self._write(Progress(self._progress.stack, Phase.SAVING, before=before))

    def _stop(self) -> None:
        self._persist(lambda: stop(self._environment, self._sleep))
        drain(self._environment, self._drain_seconds, self._sleep, self._tell)

    def _save_payments(self) -> None:
        client, table = self._environment.client("dynamodb"), self._environment.table
        # A repetition continues after the last page that is in the file.
        rows = self._persist(
            lambda: save(client, table, Since(), self.payments, self._count, replace=True)
        )
        self._note_saved(self.payments, rows)

    def _save_queues(self) -> None:
        # The main queue first: what it gives to the dead-letter queue meanwhile is then in both.
        for logical_id, path in self.queues.items():
            number = save_messages(self._environment, logical_id, path, self._sleep, self._tell)
            self._note_saved(path, number)

    def _persist(self, call: Callable[[], Seen]) -> Seen:
        return persistently(call, self._sleep, self._tell)

    def _count(self, rows: int) -> None:
        self._tell(Waiting(f"{counted(rows, 'transaction')} saved"))

    def _note_saved(self, path: Path, number: int) -> None:
        self._write(replace(self._progress, saved={**self.saved, str(path): number}))

    def _step(self, number: int) -> None:
        self._tell(StepBegun(number + 1, len(STEPS), STEPS[number]))

    def _write(self, progress: Progress) -> None:
        write_file(self._path, json.dumps(asdict(progress)).encode())
        self._progress = progress

    def _read(self) -> Progress:
        """Return how far an earlier run has come.

        Raises:
            UsageError: see `__init__`.
        """
        stack = self._environment.state.id
        begun = os.path.exists(self._path)
        for path in (self.payments, *self.queues.values()):
            require_place(path, new=not begun)
            require_place(Path(f"{path}{PART}"))
        require_place(self._path)
        if not begun:
            return Progress(stack, Phase.LET_IN)
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            progress = Progress(
                stack=found["stack"],
                phase=Phase(found["phase"]),
                saved=dict(found["saved"]),
                before=tuple(found["before"]),
            )
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise UsageError(
                f"{self._path}: is not what destroy has written; name another file"
            ) from error
        if progress.stack != stack:
            raise UsageError(f"{self._path}: is of {progress.stack}; name another file")
        return progress
