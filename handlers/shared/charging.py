"""One attempt to bring a payment to its end, made alike by the API and by the retry.

Claim the payment, charge it at the gateway, write down what that came to. If it fails, first make
sure that somebody tries again, then let the lease go.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from handlers.shared.aws import logs, metrics
from handlers.shared.aws.table import StoreUnavailable
from handlers.shared.clock import epoch_seconds
from handlers.shared.deadline import (
    CALL_SECONDS,
    CHARGE_SECONDS,
    CLOCK_SKEW_SECONDS,
    FETCH_SECONDS,
)
from handlers.shared.failures import DependencyFailed, error_code, is_failure
from handlers.shared.flaws import Flawed, OtherGateway, Unreadable
from handlers.shared.gateway import has_two_steps, in_two_steps, marks_of
from handlers.shared.one_step import OneStep
from handlers.shared.recording import NotRecorded, compare, count_capture, overtaken, settle
from handlers.shared.retry_messages import DELAY_SECONDS
from handlers.shared.standings import Standing
from handlers.shared.states import (
    MISMATCHED,
    OVERDUE,
    PENDING,
    PROCESSING,
    SETTLED,
    STUCK,
    UNREADABLE,
)
from handlers.shared.transactions import Transaction
from handlers.shared.two_steps import Overtaken, TwoSteps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from handlers.shared.aws.store import Store
    from handlers.shared.aws.table import Write
    from handlers.shared.callers import Claimant
    from handlers.shared.deadline import Deadline
    from handlers.shared.gateway import AnyGateway, Gateway
    from handlers.shared.marks import Marks
    from handlers.shared.two_steps import End

# What the queue's own retries take at most: 3 receives, 300 s apart, after a short delay.
QUEUE_RETRY_SECONDS = DELAY_SECONDS + 3 * 300
# A row that says it is queued for longer than that was not written by this system.
LONGEST_QUEUED_SECONDS = QUEUE_RETRY_SECONDS + CLOCK_SKEW_SECONDS
# No attempt of ours leaves a lease that ends so late, whatever its clock says: nobody holds that.
MAX_LEASE_AHEAD_SECONDS = 3600
# What counts the payments under a key of the index that somebody has to look after.
LOOKED_AFTER: Mapping[str, str] = {
    STUCK: metrics.STUCK,
    MISMATCHED: metrics.MISMATCHED,
    UNREADABLE: metrics.UNREADABLE,
    OVERDUE: metrics.OVERDUE,
}

# Sends a message that lets the payment be tried again; returns whether that worked.
Send = Callable[[DependencyFailed], bool]


class Unforeseen(DependencyFailed):
    """A gateway's class, or our own code, raised what nobody foresaw; the log says what and where.

    It may have happened before or after the charge.
    """

    reason = "unforeseen"


class NotSettled(Exception):
    """The payment did not come to its end: why, and whether it is queued to be tried again; and its
    status, if its row was had."""

    def __init__(self, failure: DependencyFailed, *, queued: bool, status: object = None) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.queued = queued
        self.status = status


@dataclass(frozen=True)
class Attempt:
    """What an attempt works with.

    `gateway` makes the gateway, of the class that `gateway_class` returns. Without `send`, what
    asked for the attempt is a message: it asks again by itself, and may have done so.
    """

    store: Store
    gateway: Callable[[], AnyGateway]
    gateway_class: Callable[[], type[AnyGateway]]
    deadline: Deadline
    send: Send | None = None

    def settle(self, transaction_id: str, claimant: Claimant) -> Standing | None:
        """Claim, charge and finish a payment; return where it stands then.

        That is an end, by this attempt or an earlier one, or pending, or in processing by an
        attempt that is still running. It is None if there is no such payment, or none for this
        claimant. A message looks at a pending payment, and for a capture that an ended one hides.

        Raises:
            NotSettled: something failed. The lease was let go, and the outcome may be unknown.
            Flawed: the row must not be charged. It was set aside, if it could be claimed.
        """
        attempt_id = str(uuid.uuid4())
        claimed = None
        asked = held = False
        row: Mapping[str, object] = {}
        try:
            self.deadline.require(FETCH_SECONDS + CALL_SECONDS)
            gateway = self._open()
            kind = self.gateway_class() if isinstance(gateway, DependencyFailed) else type(gateway)
            marks = marks_of(kind if isinstance(gateway, DependencyFailed) else gateway)
            now, asked = self.deadline.clock(), True
            claim = self.store.claim(
                transaction_id, attempt_id, claimant, now, marks, two_steps=has_two_steps(kind)
            )
            held, row = claim.done, claim.row
            if held:
                claimed = Transaction.payable(row)
                return self._charge(claimed, _opened(gateway))
            standing = _in_the_way(transaction_id, row, claimant, now, marks, self.store)
            if standing and standing.status != PROCESSING and self.send is None:
                return self._look(standing, row, _opened(gateway), marks)
            return standing
        except Flawed as flaw:
            report(transaction_id, flaw)
            if held:
                self._let_go(transaction_id, attempt_id, key=flaw.key)
            elif self.send is None or flaw.key != UNREADABLE:
                self._set_aside(transaction_id, row, flaw.key)
            raise
        except BaseException as error:
            if not is_failure(error):
                raise
            failure = failure_of(transaction_id, error)
            queued_until = self._queue(claimed, failure)
            if asked:  # the claim itself may have failed only in its answer
                left = self._let_go(transaction_id, attempt_id, queued_until=queued_until or None)
                if isinstance(failure, NotRecorded):
                    queued = queued_until is not None
                    self._follow_up(transaction_id, failure.reference, left, queued=queued)
            raise NotSettled(
                failure, queued=queued_until is not None, status=row.get("status")
            ) from error

    def _open(self) -> AnyGateway | DependencyFailed:
        """Return the gateway, or why there is none: the payment is claimed all the same, so that it
        can be told where it stands, and recovered."""
        try:
            return self.gateway()
        except DependencyFailed as failure:
            return failure

    def _charge(self, claimed: Transaction, gateway: AnyGateway) -> Standing:
        """Charge a claimed payment and record the result.

        An attempt that lost its lease and charged late made no second capture, by the idempotency
        key of one step, or the stored id of two, and what the row says is true for it too.
        """
        outcome: End
        try:
            if in_two_steps(gateway):
                outcome = TwoSteps(gateway, self.store, self.deadline).charge(claimed)
            else:
                outcome = OneStep(cast("Gateway", gateway), self.deadline).charge(claimed)
        except Overtaken as other:
            return overtaken(
                self.store, claimed.transaction_id, other.row, None, self.deadline.clock()
            )
        return self._settle(claimed, outcome)

    def _look(
        self, standing: Standing, row: Mapping[str, object], gateway: AnyGateway, marks: Marks
    ) -> Standing:
        """Ask the gateway of a payment that nobody charges, and record what it says.

        One that has ended may hide a capture: an earlier receive of the message, or the request
        that queued it, may have captured, and then been killed, or not been answered.
        """
        self.deadline.require(CHARGE_SECONDS)
        if standing.status == PENDING:
            marks.check(row)
            if not in_two_steps(gateway):
                raise OtherGateway("gateway_id")
            read = Transaction.as_read(row)
            return self._settle(read, TwoSteps(gateway, self.store, self.deadline).look(read))
        if marks.other(row) is None:
            captured = (
                TwoSteps(gateway, self.store, self.deadline).find_capture(row)
                if in_two_steps(gateway)
                else OneStep(cast("Gateway", gateway), self.deadline).find_capture(
                    standing.transaction_id
                )
            )
            if captured is not None:
                compare(self.store, standing.transaction_id, captured, row, self.deadline.clock())
        return standing

    def _settle(self, transaction: Transaction, outcome: End) -> Standing:
        return settle(self.store, transaction, outcome, self.deadline.clock())

    def _follow_up(
        self, transaction_id: str, reference: str, left: Write | None, *, queued: bool
    ) -> None:
        """See to a capture that was not recorded: the row may have been settled otherwise.

        `left` is what letting go came to. A row that this attempt still held is charged again, with
        the same capture; one that is not known is looked at by the retry, if that is queued.
        """
        if left is None and not queued:
            count_capture("capture may not be on record", transaction_id, reference)
        elif left is not None and not left.done:
            compare(self.store, transaction_id, reference, left.row, self.deadline.clock())

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

    def _set_aside(self, transaction_id: str, row: Mapping[str, object], key: str) -> None:
        """Set a payment aside that nobody holds."""
        in_flight, lease_end = row.get("in_flight"), row.get("lease_expires_at")
        if not isinstance(in_flight, str) or type(lease_end) is not int:
            return
        try:
            self.store.index.set_aside(transaction_id, in_flight, lease_end, key)
        except StoreUnavailable as failure:
            logs.error("payment not set aside", transaction_id=transaction_id, code=failure.code)


def report(transaction_id: str, flaw: Flawed, message: str = "payment not charged") -> None:
    """Count and log a row that must not be charged; never what it holds."""
    metrics.count(LOOKED_AFTER[flaw.key])
    logs.error(
        message,
        transaction_id=transaction_id,
        reason=flaw.reason,
        attribute=flaw.attribute,
    )


def _opened(gateway: AnyGateway | DependencyFailed) -> AnyGateway:
    if isinstance(gateway, DependencyFailed):
        raise gateway
    return gateway


def _in_the_way(
    transaction_id: str,
    row: Mapping[str, object],
    claimant: Claimant,
    now: datetime,
    marks: Marks,
    store: Store,
) -> Standing | None:
    """Return where the row stands that refused a claim, None for a claimant who may not know.

    Raises OtherGateway if it was begun at another one, or may have been, and Unreadable if it is
    neither settled, nor pending, nor held, as no payment is.
    """
    if not row or not claimant.may_process(row):
        return None
    status, lease_end = row.get("status"), row.get("lease_expires_at")
    if status in SETTLED or status == PENDING:
        return Standing.of(transaction_id, row)
    seconds = epoch_seconds(now)
    is_moment = type(lease_end) is int and lease_end < seconds + MAX_LEASE_AHEAD_SECONDS
    if status != PROCESSING or not is_moment:
        Transaction.from_record(row)  # which says what is wrong with it, if it can
        marks.check(row)
        store.check(row)
        raise Unreadable("lease_expires_at" if status == PROCESSING else "status")
    standing = Standing.of(transaction_id, row)
    if standing.lease_expires_at < seconds:
        Transaction.from_record(row)
        marks.check(row)
        store.check(row)
        # It says none, and was charged before this one came; or nobody knows when it was charged.
        raise Unreadable("first_charge_at") if "gateway" in row else OtherGateway("gateway")
    return standing


def failure_of(transaction_id: str, error: BaseException) -> DependencyFailed:
    """Return what is told of an error; one that nobody foresaw is logged."""
    if isinstance(error, DependencyFailed):
        return error
    logs.unexpected(error, transaction_id=transaction_id)
    return Unforeseen(error_code(error))
