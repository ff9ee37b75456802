"""One attempt to bring a payment to its end, made alike by the API and by the retry.

Claim the payment, charge it at the gateway, write down what that came to. If it fails, first make
sure that somebody tries again, then let the lease go.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from handlers.shared.aws import logs, metrics
from handlers.shared.aws.table import StoreUnavailable
from handlers.shared.clock import epoch_seconds, timestamp
from handlers.shared.deadline import CALL_SECONDS, CHARGE_SECONDS, FETCH_SECONDS
from handlers.shared.failures import DependencyFailed, error_code
from handlers.shared.gateway import Charged, Declined, NoCharge
from handlers.shared.retry_messages import DELAY_SECONDS
from handlers.shared.transactions import (
    DECLINED,
    LEASE_SECONDS,
    MISMATCHED,
    PROCESSED,
    PROCESSING,
    SETTLED,
    STUCK,
    UNREADABLE,
    Flawed,
    Standing,
    Transaction,
    Unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handlers.shared.aws.store import Store
    from handlers.shared.aws.table import Write
    from handlers.shared.callers import Claimant
    from handlers.shared.deadline import Deadline
    from handlers.shared.gateway import Gateway

# What the queue's own retries take at most: 3 receives, 300 s apart, after a short delay.
QUEUE_RETRY_SECONDS = DELAY_SECONDS + 3 * 300
# How far the clocks of two machines may be apart, each 60 s from the true time.
CLOCK_SKEW_SECONDS = 2 * 60
# A row that says it is queued for longer than that was not written by this system.
LONGEST_QUEUED_SECONDS = QUEUE_RETRY_SECONDS + CLOCK_SKEW_SECONDS
# No attempt of ours leaves a lease that ends so late, whatever its clock says: nobody holds that.
MAX_LEASE_AHEAD_SECONDS = 3600
# What counts the payments that are set aside under a key of the index.
SET_ASIDE: Mapping[str, str] = {
    STUCK: metrics.STUCK,
    MISMATCHED: metrics.MISMATCHED,
    UNREADABLE: metrics.UNREADABLE,
}

# Sends a message that lets the payment be tried again; returns whether that worked.
Send = Callable[[DependencyFailed], bool]


class OutcomeUnknown(DependencyFailed):
    """Another charge could be a second one, so nobody charges: somebody has to look.

    The gateway has forgotten the key of an earlier charge, or a restore that of the payment, and
    the gateway cannot say for certain that there is no charge.
    """

    reason = "outcome_unknown"


class NotRecorded(StoreUnavailable):
    """The gateway captured, and whether the row says so is unknown."""

    def __init__(self, code: str, reference: str) -> None:
        super().__init__(code)
        self.reference = reference


class Unforeseen(DependencyFailed):
    """A gateway's class, or our own code, raised what nobody foresaw; the log says what and where.

    It may have happened before or after the charge.
    """

    reason = "unforeseen"


class NotSettled(Exception):
    """The payment did not come to its end: why, and whether it is queued to be tried again."""

    def __init__(self, failure: DependencyFailed, *, queued: bool) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.queued = queued


@dataclass(frozen=True)
class Attempt:
    """What an attempt works with.

    Without `send`, what asked for it is a message: it asks again by itself, and may have done so.
    """

    store: Store
    gateway: Callable[[], Gateway]
    deadline: Deadline
    send: Send | None = None

    def settle(self, transaction_id: str, claimant: Claimant) -> Standing | None:
        """Claim, charge and finish a payment; return where it stands then.

        That is processed or declined, by this attempt or an earlier one, or in processing by one
        that is still running. It is None if there is no such payment, or none for this claimant.

        Raises:
            NotSettled: something failed. The lease was let go, and the outcome may be unknown.
            Flawed: the row must not be charged. It was set aside, if it could be claimed.
        """
        attempt_id = str(uuid.uuid4())
        claimed = None
        asked = held = False
        try:
            self.deadline.require(CALL_SECONDS)
            now, asked = self.deadline.clock(), True
            claim = self.store.claim(transaction_id, attempt_id, claimant, now)
            held = claim.done
            if not held:
                standing = _in_the_way(transaction_id, claim.row, claimant, now)
                if standing and standing.status in SETTLED and self.send is None:
                    self._look_for_capture(transaction_id, claim.row)
                return standing
            claimed = Transaction.payable(claim.row)
            return self._charge(claimed)
        except Flawed as flaw:
            report(transaction_id, flaw)
            if held:
                self._let_go(transaction_id, attempt_id, key=flaw.key)
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and not _is_an_exit(error):
                raise
            failure = _failure(transaction_id, error)
            queued_until = self._queue(claimed, failure)
            if asked:  # the claim itself may have failed only in its answer
                left = self._let_go(transaction_id, attempt_id, queued_until=queued_until or None)
                if isinstance(failure, NotRecorded):
                    queued = queued_until is not None
                    self._follow_up(transaction_id, failure.reference, left, queued=queued)
            raise NotSettled(failure, queued=queued_until is not None) from error

    def _charge(self, claimed: Transaction) -> Standing:
        """Charge a claimed payment and record the result.

        The transaction_id is the gateway's idempotency key, so an attempt that lost its lease and
        charged late made no second capture, and what the row says is true for it too.
        """
        self.deadline.require(FETCH_SECONDS)
        gateway = self.gateway()
        self.deadline.require(CHARGE_SECONDS)
        with metrics.timed(metrics.GATEWAY_LATENCY):
            result = self._ask(claimed, gateway)
        now = self.deadline.clock()
        transaction_id = claimed.transaction_id
        captured = None
        match result:
            case Charged(str(reference)):
                captured = reference
                write, metric = self._finish(claimed, reference, now), metrics.PROCESSED
                ended = Standing(
                    transaction_id=transaction_id, status=PROCESSED, processed_at=timestamp(now)
                )
            case Declined(str(reason)):
                write, metric = self.store.decline(claimed, reason, now), metrics.DECLINED
                ended = Standing(
                    transaction_id=transaction_id, status=DECLINED, decline_reason=reason
                )
            case _:
                raise TypeError("a gateway answers Charged or Declined, each with a text")
        if not write.done:
            return self._overtaken(claimed, write.row, captured)
        metrics.count(metric)
        return replace(ended, charged=True)

    def _finish(self, claimed: Transaction, reference: str, now: datetime) -> Write:
        try:
            return self.store.finish(claimed, reference, now)
        except StoreUnavailable as failure:
            logs.error(
                "capture not recorded",
                transaction_id=claimed.transaction_id,
                gateway_reference=reference,
            )
            raise NotRecorded(failure.code, reference) from failure

    def _ask(self, claimed: Transaction, gateway: Gateway) -> object:
        """Charge, unless there may be a charge that the key no longer stands for: then look it up.

        No attempt outlives its lease, so a charge that begins now arrives within LEASE_SECONDS.
        """
        key = claimed.transaction_id
        skew = timedelta(seconds=CLOCK_SKEW_SECONDS)
        age = self.deadline.clock() - datetime.fromisoformat(str(claimed.first_charge_at))
        # A first charge that is yet to come says nothing of its age.
        key_is_known = (
            -skew <= age and age + timedelta(seconds=LEASE_SECONDS) + skew < gateway.KEY_RETENTION
        )
        if key_is_known and claimed.rewound is None:
            return gateway.charge(claimed, idempotency_key=key)
        found = gateway.find(key)
        if key_is_known and isinstance(found, NoCharge):
            self.deadline.require(CHARGE_SECONDS)
            return gateway.charge(claimed, idempotency_key=key)
        if found is None or isinstance(found, NoCharge):
            raise OutcomeUnknown
        return found

    def _overtaken(
        self, claimed: Transaction, row: Mapping[str, object], reference: str | None
    ) -> Standing:
        """Return what the row says that another attempt holds, or has ended."""
        if reference is not None:
            self._compare(claimed.transaction_id, reference, row)
        if not row:
            raise StoreUnavailable("RowMissing")
        try:
            return replace(Standing.of(claimed.transaction_id, row), charged=True)
        except Flawed as flaw:
            raise StoreUnavailable("RowChanged") from flaw

    def _follow_up(
        self, transaction_id: str, reference: str, left: Write | None, *, queued: bool
    ) -> None:
        """See to a capture that was not recorded: the row may have been settled otherwise.

        `left` is what letting go came to. A row that this attempt still held is charged again, with
        the same capture; one that is not known is looked at by the retry, if that is queued.
        """
        if left is None and not queued:
            _count_capture("capture may not be on record", transaction_id, reference)
        elif left is not None and not left.done:
            self._compare(transaction_id, reference, left.row)

    def _look_for_capture(self, transaction_id: str, row: Mapping[str, object]) -> None:
        """Ask the gateway for a capture that a settled row does not name.

        An earlier receive of the message, or the request that queued it, may have captured, and
        then been killed, or not been answered.
        """
        self.deadline.require(FETCH_SECONDS)
        gateway = self.gateway()
        self.deadline.require(CHARGE_SECONDS)
        match gateway.find(transaction_id):
            case Charged(str(reference)):
                self._compare(transaction_id, reference, row)

    def _compare(self, transaction_id: str, reference: str, row: Mapping[str, object]) -> None:
        """Report a capture that a settled row does not name, or that has no row.

        It counts at least once: whether an attempt that was killed has counted is not known.
        """
        settled = row.get("status") in SETTLED
        if (row and not settled) or row.get("gateway_reference") == reference:
            return
        status = row.get("status")
        _count_capture("capture is not the one on record", transaction_id, reference, status=status)
        if settled:
            self._note(transaction_id, reference)

    def _queue(self, claimed: Transaction | None, failure: DependencyFailed) -> int | None:
        """See to it that the payment is tried again; None if nobody will but its client.

        Returns until when the queue does so, in epoch seconds, 0 where that is known already: what
        was queued a moment ago is not queued twice.
        """
        if self.send is None:
            return 0
        now = epoch_seconds(self.deadline.clock())
        if claimed and now < (claimed.queued_until or 0) <= now + LONGEST_QUEUED_SECONDS:
            return 0
        try:
            sent = self.send(failure)
        except Exception as error:  # noqa: BLE001
            logs.unexpected(error)
            metrics.count(metrics.RETRIES_NOT_QUEUED)
            sent = False
        return epoch_seconds(self.deadline.clock()) + QUEUE_RETRY_SECONDS if sent else None

    def _let_go(
        self,
        transaction_id: str,
        attempt_id: str,
        *,
        queued_until: int | None = None,
        key: str | None = None,
    ) -> Write | None:
        """Let the payment go, if this attempt holds it; None if what became of that is unknown."""
        try:
            return self.store.let_go(
                transaction_id,
                attempt_id,
                self.deadline.clock(),
                queued_until=queued_until,
                key=key,
            )
        except StoreUnavailable as failure:
            logs.error("lease not let go", transaction_id=transaction_id, code=failure.code)
            return None

    def _note(self, transaction_id: str, reference: str) -> None:
        try:
            self.store.note_capture(transaction_id, reference, self.deadline.clock())
        except StoreUnavailable as failure:
            logs.error("capture not noted", transaction_id=transaction_id, code=failure.code)


def report(transaction_id: str, flaw: Flawed) -> None:
    """Count and log a row that must not be charged; never what it holds."""
    metrics.count(SET_ASIDE[flaw.key])
    logs.error(
        "payment not charged",
        transaction_id=transaction_id,
        reason=flaw.reason,
        attribute=flaw.attribute,
    )


def _count_capture(message: str, transaction_id: str, reference: str, **more: object) -> None:
    """Count and log a capture that somebody has to look after."""
    metrics.count(metrics.CONTRADICTED)
    logs.error(message, transaction_id=transaction_id, gateway_reference=reference, **more)
    metrics.flush()  # the alarm does not wait for the note


def _in_the_way(
    transaction_id: str, row: Mapping[str, object], claimant: Claimant, now: datetime
) -> Standing | None:
    """Return where the row stands that refused a claim, None for a claimant who may not know.

    Raises Unreadable if it is neither settled nor held, as no payment is.
    """
    if not row or not claimant.may_process(row):
        return None
    lease_end = row.get("lease_expires_at")
    seconds = epoch_seconds(now)
    held = type(lease_end) is int and seconds <= lease_end < seconds + MAX_LEASE_AHEAD_SECONDS
    if row.get("status") not in SETTLED and not (row.get("status") == PROCESSING and held):
        Transaction.from_record(row)  # which says what is wrong with it, if it can
        raise Unreadable("lease_expires_at" if row.get("status") == PROCESSING else "status")
    return Standing.of(transaction_id, row)


def _is_an_exit(error: BaseException) -> bool:
    """Whether it is one of those with which a gateway's library ends a program, or a task."""
    # By its name: asyncio itself would cost every cold start its import.
    return isinstance(error, SystemExit) or type(error).__name__ == "CancelledError"


def _failure(transaction_id: str, error: BaseException) -> DependencyFailed:
    if isinstance(error, DependencyFailed):
        return error
    logs.unexpected(error, transaction_id=transaction_id)
    return Unforeseen(error_code(error))
