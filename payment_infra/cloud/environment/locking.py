"""One operation on an environment at a time: a lock with a holder and a generation.

The lock is an item of the operations table. Its generation grows with every holder and with nothing
else, so that a holder that was taken over finds that out directly before its next change: while the
lock is held, the session asks it before each attempt of a call that changes something.

A holder that was killed keeps the lock, and only a person can say that it has really ended:
`--take-over GENERATION`. One that leaves a stack operation behind hands the lock over to that: it
is held while the stack is in progress, and free afterwards.

What remains is a request that was sent in time and takes effect later than a takeover waits for,
the holder's `in_flight_seconds`: it was held up in the network or in AWS after its sender had given
it up.
"""

from __future__ import annotations

import math
import os
import re
import socket
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event as Signal
from threading import Thread
from typing import TYPE_CHECKING

from payment_infra.cloud.environment import stack_policy
from payment_infra.cloud.environment.operations_table import ANSWER_SECONDS, OperationsTable
from payment_infra.cloud.events import Caution, Waiting
from payment_infra.cloud.sdk.configuration import CONNECT_SECONDS, READ_SECONDS
from payment_infra.cloud.sdk.polling import persistently
from payment_infra.cloud.stacks.operator import going_on
from payment_infra.cloud.stacks.settling import Step, step_of
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import AwsError, Interrupted
from payment_infra.moments import iso, shown

if TYPE_CHECKING:
    from types import TracebackType

    from payment_infra.cloud.environment.operations_table import Item
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.sdk.session import Session

Now = Callable[[], datetime]

ITEM = "lock"
RENEWAL_SECONDS = 20
LOOK_SECONDS = 5
# A holder that has missed as many renewals has ended, or is cut off from AWS.
SILENT_SECONDS = 6 * RENEWAL_SECONDS
# What a call of a holder can take that does not say it, one of an older release.
IN_FLIGHT_SECONDS = ANSWER_SECONDS + CONNECT_SECONDS + READ_SECONDS

TAKE = (
    "SET #generation = if_not_exists(#generation, :zero) + :one, #holder = :me, "
    "#operation = :operation, #since = :now, #renewed_at = :now, "
    "#in_flight_seconds = :in_flight_seconds REMOVE #stack_id"
)
RELEASE = "REMOVE #holder, #operation, #since, #renewed_at, #stack_id, #in_flight_seconds"
FREE = "attribute_not_exists(#holder)"
MINE = "#generation = :generation AND #holder = :me"


@dataclass(frozen=True)
class Held:
    """Who has a lock: the item, while it has a holder.

    since is when the holder took it, renewed_at its last sign of life, both by its own clock;
    in_flight_seconds is what a call of the holder can take, from the answer that it still had the
    lock: that answer's own way, then one attempt, by the holder's time-outs. An S3 upload can take
    longer, but puts under the digest of a content what anybody would put there.
    stack_id is that of the stack whose operation the lock was handed over to, "" if it was not.
    """

    generation: int
    holder: str
    operation: str
    since: datetime
    renewed_at: datetime
    stack_id: str = ""
    in_flight_seconds: int = IN_FLIGHT_SECONDS

    @classmethod
    def of(cls, item: Item) -> Held | None:
        """Return what an item says; None if nobody has the lock."""
        if "holder" not in item:
            return None
        return cls(
            generation=int(item["generation"]["N"]),
            holder=item["holder"]["S"],
            operation=item["operation"]["S"],
            since=datetime.fromisoformat(item["since"]["S"]),
            renewed_at=datetime.fromisoformat(item["renewed_at"]["S"]),
            stack_id=item.get("stack_id", {}).get("S", ""),
            in_flight_seconds=int(item.get("in_flight_seconds", {}).get("N", IN_FLIGHT_SECONDS)),
        )


class Overtaken(AwsError):
    """Somebody else has taken the lock over: nothing more may be changed."""


class Lock:
    """The lock of a stack, held by this command; a context manager that lets go of it.

    What ends the block decides how: while the stack is in progress, and after Ctrl-C while AWS
    continues by itself, the lock is handed over to the stack's operation, otherwise it is released.

    generation is what `--take-over` would have to name; holder says who this is; table holds other
    items of the stack.
    """

    def __init__(self, session: Session, stack: Stack, tell: Tell, now: Now) -> None:
        self.generation = 0
        self.table = OperationsTable(session, stack.sleep)
        self._session = session
        self._stack = stack
        self._tell = tell
        self._now = now
        self.holder = (
            f"{session.principal()} on {socket.gethostname()} "
            f"(process {os.getpid()}, {uuid.uuid4().hex[:12]})"
        )
        self._handed_over = False
        self._ended = Signal()

    @classmethod
    def acquire(
        cls,
        session: Session,
        stack: Stack,
        operation: str,
        tell: Tell,
        *,
        command: str = "",
        take_over: int | None = None,
        wait: bool = False,
        now: Now = lambda: datetime.now(UTC),
    ) -> Lock:
        """Take the lock of a stack that exists or not; to be used in a `with` statement.

        Args:
            session: whose clients ask the lock before they change anything, in the block.
            stack: the stack; its `sleep` makes the pauses.
            operation: what it is taken for, as `deploy`.
            tell: is told what is waited for.
            command: what a person has entered, for the refusal to repeat it.
            take_over: the generation that may be taken from its holder.
            wait: whether to wait until the lock is free.
            now: the clock.

        Raises:
            AwsError: somebody else has it, or it may not be used; nothing was changed.
        """
        lock = cls(session, stack, tell, now)
        previous, seen, silent_seconds = None, None, 0

        def take() -> Held | None:
            return lock._take(operation, previous)

        # What is waited for is not given up for a fault that passes.
        while (held := persistently(take, stack.sleep, tell) if seen else take()) is not None:
            if _may_be_taken(stack, held, take_over):
                previous = held
                continue
            # By this machine's time alone: the holder's clock may be wrong.
            silent = held == seen and not held.stack_id
            silent_seconds = silent_seconds + LOOK_SECONDS if silent else 0
            if not wait or silent_seconds >= SILENT_SECONDS:
                raise AwsError(lock._refusal(held, command))
            previous, seen = None, held
            tell(Waiting(f"{stack.name} is held by {held.holder}: {held.operation}"))
            stack.sleep(LOOK_SECONDS)
        Thread(target=lock._renew_until_it_ends, daemon=True).start()
        # On the embedded AWS nothing is on its way that long.
        if previous is not None and not previous.stack_id and not session.embedded:
            lock._wait_for_requests_of(previous)
        return lock

    def __enter__(self) -> Lock:
        """Have the session's clients ask before they change anything.

        What an earlier holder that was killed has lifted is put back first.
        """
        self._session.guard = self.check
        try:
            stack_policy.put_back(self.table, self._stack, self._tell)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of the lock."""
        self._session.guard = None
        self._ended.set()
        if self._handed_over or isinstance(error, Overtaken):
            return
        try:
            if stack_id := self._goes_on(error):
                self.hand_over(stack_id)
            else:
                self._release()
        except (AwsError, KeyboardInterrupt) as failed:  # what was done is done
            told = str(failed) or "interrupted"
            self._tell(
                Caution(
                    f"the lock of {self._stack.name} could not be released ({told}); the next "
                    f"operation needs --take-over {self.generation}"
                )
            )
            if isinstance(failed, KeyboardInterrupt):
                raise

    def check(self) -> None:
        """Make sure that the lock is still held.

        Raises:
            Overtaken: somebody else has it.
            AwsError: that cannot be read.
        """
        held = Held.of(self.table.get(self._stack.name, ITEM) or {})
        if held and held.generation == self.generation and held.holder == self.holder:
            return
        by = f"{held.holder} took it over (generation {held.generation})" if held else "it is gone"
        raise Overtaken(
            f"the lock of {self._stack.name} is no longer held: {by}; nothing more was changed by "
            "this command"
        )

    def renew(self) -> bool:
        """Give a sign of life; return whether the lock is still held."""
        return self._update("SET #renewed_at = :now")

    def hand_over(self, stack_id: str) -> None:
        """Let the lock be held by the operation of a stack, as long as that is in progress."""
        self._ended.set()
        self._handed_over = True
        self._update("SET #stack_id = :stack_id, #renewed_at = :now", stack_id=stack_id)

    def _release(self) -> None:
        self._update(RELEASE)

    def _take(self, operation: str, previous: Held | None) -> Held | None:
        """Take the lock if it is free, or if it is as `previous` says; return who else has it."""
        condition = FREE
        values = {"me": self.holder, "operation": operation, "now": iso(self._now())}
        in_flight = ANSWER_SECONDS + math.ceil(self._session.attempt_seconds)
        numbers = {"zero": 0, "one": 1, "in_flight_seconds": in_flight}
        if previous is not None:
            condition = "#generation = :generation AND #holder = :holder"
            numbers["generation"], values["holder"] = previous.generation, previous.holder
            if not previous.stack_id:
                condition += " AND attribute_not_exists(#stack_id)"
        done, item = self._call(TAKE, condition, values, numbers)
        held = Held.of(item)
        # The SDK repeats a call whose answer was lost, and finds what it has done.
        if done or (held and held.holder == self.holder):
            self.generation = int(item["generation"]["N"])
            return None
        return held or self._take(operation, None)

    def _update(self, update: str, **values: str) -> bool:
        """Change the item, if it is still this command's."""
        if ":now" in update:
            values["now"] = iso(self._now())
        done, _ = self._call(
            update, MINE, {"me": self.holder, **values}, {"generation": self.generation}
        )
        return done

    def _call(
        self, update: str, condition: str, values: Mapping[str, str], numbers: Mapping[str, int]
    ) -> tuple[bool, Item]:
        return self.table.update(
            self._stack.name,
            ITEM,
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeNames=_names(update, condition),
            ExpressionAttributeValues={
                **{f":{name}": {"S": value} for name, value in values.items()},
                **{f":{name}": {"N": str(number)} for name, number in numbers.items()},
            },
        )

    def _renew_until_it_ends(self) -> None:
        while not self._ended.wait(RENEWAL_SECONDS):
            # That it fails for a time ends nothing: what counts is the check before a change.
            with suppress(AwsError):
                if not self.renew():
                    return

    def _wait_for_requests_of(self, previous: Held) -> None:
        """Wait as long as a request can take that the holder before has sent already."""
        try:
            for left in range(previous.in_flight_seconds, 0, -LOOK_SECONDS):
                self._tell(
                    Waiting(f"{left} s until nothing of {previous.holder} is on its way any more")
                )
                self._stack.sleep(LOOK_SECONDS)
        except BaseException:
            with self:
                raise
        self._tell(
            Caution(
                f"took the lock of {self._stack.name} over from {previous.holder}: "
                f"{previous.operation} since {shown(previous.since)}"
            )
        )

    def _goes_on(self, error: BaseException | None) -> str:
        """Return the id of the stack if its operation outlives this command, "" if none does."""
        if error is None:
            return ""
        try:
            state = self._stack.state()
        except AwsError:  # it may
            return self._stack.name
        if state is None:
            return ""
        interrupted = isinstance(error, Interrupted)  # and the stack may not show it yet
        return state.id if interrupted or step_of(state) is Step.WAIT else ""

    def _refusal(self, held: Held, command: str) -> str:
        name = self._stack.name
        if held.stack_id:
            return (
                f"{name} is held by the stack operation that {held.operation} of {held.holder} has "
                f"begun, and nothing was done; {going_on(self._stack)}"
            )
        ago = max(0, int((self._now() - held.renewed_at).total_seconds()))
        repeat = f"`{command} " if command else "repeat the command with `"
        return (
            f"{name} is held by {held.holder}: {held.operation} since {shown(held.since)}, last "
            f"renewed {ago} s ago; nothing was done: wait for its end, or, only if that has really "
            f"ended, {repeat}--take-over {held.generation}`"
        )


def find(session: Session, stack: Stack) -> Held | None:
    """Return who has the lock of a stack, None if nobody has; nothing is changed.

    Raises:
        AwsError: it cannot be read.
    """
    item = OperationsTable(session, stack.sleep).get(stack.name, ITEM)
    held = Held.of(item or {})
    if held and held.stack_id and not _in_progress(stack, held.stack_id):
        return None
    return held


def free(session: Session, stack: Stack) -> None:
    """Release the lock of a stack, whoever held it: its holder cannot be running any more."""
    table = OperationsTable(session, stack.sleep)
    if held := Held.of(table.get(stack.name, ITEM) or {}):
        table.update(
            stack.name,
            ITEM,
            UpdateExpression=RELEASE,
            ConditionExpression="#generation = :generation",
            ExpressionAttributeNames=_names(RELEASE, "#generation"),
            ExpressionAttributeValues={":generation": {"N": str(held.generation)}},
        )


def _names(*expressions: str) -> dict[str, str]:
    """Return the names in expressions, whatever of them DynamoDB reserves ("Reserved words")."""
    return {name: name[1:] for text in expressions for name in re.findall(r"#\w+", text)}


def _may_be_taken(stack: Stack, held: Held, take_over: int | None) -> bool:
    if held.stack_id:
        return not _in_progress(stack, held.stack_id)
    return held.generation == take_over


def _in_progress(stack: Stack, stack_id: str) -> bool:
    """Whether an operation of the stack with this id is in progress; one that is gone has none."""
    state = Stack(stack.client, stack_id, stack.sleep).state()
    return step_of(state) is Step.WAIT
