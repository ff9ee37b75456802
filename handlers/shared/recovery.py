"""Payments whose attempt never came to its end, and pending ones whose next look is due: found in
the index, and queued.

Each row is taken by itself: one that cannot be read, or cannot be written, is counted and reported,
and never keeps the others from their turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from handlers.shared.aws import logs, metrics
from handlers.shared.aws.table import StoreUnavailable
from handlers.shared.charging import (
    LOOKED_AFTER,
    MAX_LEASE_AHEAD_SECONDS,
    QUEUE_RETRY_SECONDS,
)
from handlers.shared.clock import epoch_seconds, timestamp
from handlers.shared.deadline import CALL_SECONDS, OutOfTime
from handlers.shared.failures import DependencyFailed
from handlers.shared.flaws import Flawed, Unreadable
from handlers.shared.recording import FIRST_LOOK_SECONDS
from handlers.shared.retry_messages import STILL_PENDING, RetryMessage
from handlers.shared.states import IN_FLIGHT_KEYS, OVERDUE, PENDING_KEYS, PROCESSING, STUCK
from handlers.shared.transactions import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from handlers.shared.aws.store import Store
    from handlers.shared.deadline import Deadline
    from handlers.shared.retry_messages import RetryQueue

# Longer than the queue's own retries take: 3 receives, 300 s apart.
RECOVER_AFTER_SECONDS = 20 * 60
SCHEDULE_SECONDS = 300
# A run queues no more than this; the next one, five minutes later, continues.
MAX_PAYMENTS_A_RUN = 500
# A queue that has refused so many messages in a row is left alone until the next run.
MAX_UNSENT = 3
# One payment: the page of the index, a look at the row, a message, and the count.
PAYMENT_SECONDS = 4 * CALL_SECONDS
# How DynamoDB refuses an update after which the item would have more than 400 KB ("Constraints in
# Amazon DynamoDB": item size), whatever else it may refuse so.
TOO_LARGE = "ValidationException"
# The next look at a pending payment is as far off as it is old, within FIRST_LOOK_SECONDS and this.
MAX_LOOK_SECONDS = 6 * 3600
# Payments that are pending for longer are counted, for an alarm.
OVERDUE_SECONDS = 24 * 3600
# Of the payments that are set aside, so many are named in the log of a run.
MAX_NAMED = 100


# Takes up one payment of the index: its id, the key there, and the end of its lease.
TakeUp = Callable[[str, str, Decimal], None]


class RecoveryIncomplete(Exception):
    """Some payments could not be recovered in this run, for the reasons in its log lines."""


@dataclass
class Recovery:
    """One run at a moment, with what it works with, and what it has come to so far.

    queued are payments, failed are payments and parts of the index; unsent are messages in a row;
    aside are the ids that were set aside, by the key of the index.
    """

    store: Store
    queue: RetryQueue
    now: datetime
    request_id: str
    deadline: Deadline
    queued: int = 0
    failed: int = 0
    unsent: int = 0
    aside: dict[str, set[str]] = field(default_factory=lambda: {key: set() for key in LOOKED_AFTER})

    def run(self, after_seconds: int) -> None:
        """Queue every payment whose lease expired that long ago, unless it is to be set aside, and
        every pending one whose next look is due.

        A payment in processing is queued MAX_RECOVERIES times at most; only what SQS took counts.
        Those that are set aside, and pending for long, are counted in every run, until somebody has
        looked after them.

        Raises RecoveryIncomplete if something failed; what could be done has been done.
        """
        try:
            for key, transaction_id, lease_end, take_up in self._due(after_seconds):
                self._take_up_alone(transaction_id, key, lease_end, take_up)
                if self.queued == MAX_PAYMENTS_A_RUN or self.unsent == MAX_UNSENT:
                    break
                self.deadline.require(PAYMENT_SECONDS)
        except OutOfTime:
            logs.info("recovery goes on in the next run", queued=self.queued)
        for key in LOOKED_AFTER:
            self._count(key)
        if self.failed:
            raise RecoveryIncomplete(f"{self.failed} payments, or parts of the index")

    def _due(self, after_seconds: int) -> Iterator[tuple[str, str, Decimal, TakeUp]]:
        """Yield key, id and lease end of what is due in the index, and how it is taken up."""
        for key, transaction_id, lease_end in self._overdue(after_seconds):
            yield key, transaction_id, lease_end, self._take_up
        now = epoch_seconds(self.now)
        looks: list[tuple[str, int | None, int | None]] = [
            (key, now, None) for key in (OVERDUE, *self._from_elsewhere(PENDING_KEYS))
        ]
        # A clock that was wrong may have put a look off for years: under one key in each run.
        ahead = now + MAX_LOOK_SECONDS + MAX_LEASE_AHEAD_SECONDS
        looks.append((self._from_elsewhere((OVERDUE, *PENDING_KEYS))[0], None, ahead))
        for key, before, after in looks:
            self.deadline.require(PAYMENT_SECONDS)
            try:
                for transaction_id, lease_end in self.store.index.in_index(
                    key, before=before, after=after
                ):
                    yield key, transaction_id, lease_end, self._look_at
            except DependencyFailed as failure:
                logs.error("index not read", key=key, code=failure.code)
                self.failed += 1

    def _from_elsewhere(self, keys: Sequence[str]) -> Sequence[str]:
        """Return keys in an order that begins elsewhere in each run, so that what one has no time
        for is the first of another."""
        first = epoch_seconds(self.now) // SCHEDULE_SECONDS % len(keys)
        return (*keys[first:], *keys[:first])

    def _overdue(self, after_seconds: int) -> Iterator[tuple[str, str, Decimal]]:
        """Yield key, id and lease end of what is overdue in the index."""
        seconds = epoch_seconds(self.now)
        for key in self._from_elsewhere(IN_FLIGHT_KEYS):
            self.deadline.require(PAYMENT_SECONDS)
            try:
                before = seconds - after_seconds
                for transaction_id, lease_end in self.store.index.in_index(key, before=before):
                    yield key, transaction_id, lease_end
                # These would be overdue never, or long after anybody could wait for it.
                ahead = seconds + MAX_LEASE_AHEAD_SECONDS
                for transaction_id, lease_end in self.store.index.in_index(key, after=ahead):
                    yield key, transaction_id, lease_end
            except DependencyFailed as failure:
                logs.error("index not read", key=key, code=failure.code)
                self.failed += 1

    def _take_up_alone(
        self, transaction_id: str, key: str, lease_end: Decimal, take_up: TakeUp
    ) -> None:
        """Take up one payment; whatever is wrong with it concerns no other."""
        try:
            take_up(transaction_id, key, lease_end)
        except DependencyFailed as failure:
            logs.error("payment not recovered", transaction_id=transaction_id, code=failure.code)
            self.failed += 1
        except Exception as error:  # noqa: BLE001
            logs.unexpected(error, transaction_id=transaction_id)
            self.failed += 1

    def _take_up(self, transaction_id: str, key: str, lease_end: Decimal) -> None:
        stuck = self.store.index.set_aside_if_stuck(transaction_id, key, lease_end)
        if stuck.done:
            self.aside[STUCK].add(transaction_id)
            return
        row = stuck.row
        if (row.get("in_flight"), row.get("lease_expires_at")) != (key, lease_end):
            return  # it has moved on
        flaw = _flaw(row, lease_end, self.now)
        if flaw:
            self._set_aside(transaction_id, key, lease_end, flaw)
            return
        if not self._send(transaction_id, "lease_expired", "payment recovered"):
            return
        queued_until = epoch_seconds(self.now) + QUEUE_RETRY_SECONDS
        try:
            self.store.index.count_recovery(transaction_id, key, lease_end, queued_until, self.now)
        except StoreUnavailable as failure:
            if failure.code != TOO_LARGE:
                raise
            # It would be queued in every run. The other key is shorter, so this can be written.
            self._set_aside(transaction_id, key, lease_end, Unreadable("item size"))

    def _look_at(self, transaction_id: str, key: str, lease_end: Decimal) -> None:
        """Queue a pending payment, for payment-retry to ask the gateway, and put off the next look.

        That is done first, so that a payment is queued once for each look; a message that SQS does
        not take is made good by the next one. It is no recovery: a customer takes the time he
        takes.
        """
        row = self.store.index.set_aside_if_stuck(transaction_id, key, lease_end).row
        age = _pending_seconds(row, self.now)
        next_look = epoch_seconds(self.now) + min(max(age, FIRST_LOOK_SECONDS), MAX_LOOK_SECONDS)
        to_key = OVERDUE if age > OVERDUE_SECONDS else key
        put_off = self.store.index.look_again(transaction_id, key, lease_end, next_look, to_key).row
        stands = (put_off.get("in_flight"), put_off.get("lease_expires_at"))
        if stands == (key, lease_end):
            self._set_aside(transaction_id, key, lease_end, Unreadable("status"))
        if stands != (to_key, next_look):
            return  # it has moved on; where it was put, an answer may have been lost
        if to_key == OVERDUE:
            self.aside[OVERDUE].add(transaction_id)
        self._send(transaction_id, STILL_PENDING, "payment looked at")

    def _send(self, transaction_id: str, reason: str, told: str) -> bool:
        message = RetryMessage(
            operation="process",
            transaction_id=transaction_id,
            reason=reason,
            request_id=self.request_id,
            first_failed_at=timestamp(self.now),
        )
        sent = self.queue.send(message)
        logs.info(told, transaction_id=transaction_id, queued=sent)
        self.unsent = 0 if sent else self.unsent + 1
        self.queued += sent
        return sent

    def _set_aside(self, transaction_id: str, key: str, lease_end: Decimal, flaw: Flawed) -> None:
        logs.error(
            "payment set aside",
            transaction_id=transaction_id,
            reason=flaw.reason,
            attribute=flaw.attribute,
        )
        self.store.index.set_aside(transaction_id, key, lease_end, flaw.key)
        self.aside[flaw.key].add(transaction_id)

    def _count(self, key: str) -> None:
        """Count the payments under a key, and name the first of them in the log."""
        # The index may not show yet what this run has set aside.
        payments = set(self.aside[key])
        try:
            payments.update(transaction_id for transaction_id, _ in self.store.index.in_index(key))
        except DependencyFailed as failure:
            logs.error("index not read", key=key, code=failure.code)
            self.failed += 1
        else:
            if key == STUCK and not payments:
                metrics.count(metrics.STUCK, 0)  # the others cost nothing while there are none
        if payments:
            metrics.count(LOOKED_AFTER[key], len(payments))
        for transaction_id in sorted(payments)[:MAX_NAMED]:
            logs.error(f"payment is {key}", transaction_id=transaction_id)


def _pending_seconds(row: Mapping[str, object], now: datetime) -> int:
    """Return for how long a row has been pending; one that does not tell counts as overdue."""
    try:
        since = datetime.fromisoformat(str(row.get("pending_at")))
        return max(0, int((now - since).total_seconds()))
    except (TypeError, ValueError):
        return OVERDUE_SECONDS + 1


def _flaw(row: Mapping[str, object], lease_end: Decimal, now: datetime) -> Flawed | None:
    """Return why a row must not be queued, None if it may."""
    try:
        if Transaction.payable(row).status != PROCESSING:
            raise Unreadable("status")
        if lease_end > epoch_seconds(now):
            raise Unreadable("lease_expires_at")
    except Flawed as flaw:
        return flaw
    return None
