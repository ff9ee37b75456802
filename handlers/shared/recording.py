"""Writing down what a payment has come to, by whoever has learned it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from handlers.shared.aws import logs, metrics
from handlers.shared.aws.table import StoreUnavailable, Write
from handlers.shared.clock import epoch_seconds, timestamp
from handlers.shared.flaws import Flawed
from handlers.shared.gateway import Charged, Declined, NotCharged, Pending
from handlers.shared.standings import Standing
from handlers.shared.states import CANCELED, DECLINED, PENDING, PROCESSED, PROCESSING, SETTLED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from handlers.shared.aws.store import Store
    from handlers.shared.transactions import Transaction
    from handlers.shared.two_steps import End

# When the scheduled run first looks at a payment that has become pending.
FIRST_LOOK_SECONDS = 300


class NotRecorded(StoreUnavailable):
    """The gateway captured, and whether the row says so is unknown."""

    def __init__(self, code: str, reference: str) -> None:
        super().__init__(code)
        self.reference = reference


@dataclass(frozen=True)
class Recorded:
    """What became of an outcome: the write, where the payment stands if it was done, and the
    reference of the capture, if it is one."""

    write: Write
    standing: Standing
    captured: str | None = None


def record(
    store: Store,
    transaction: Transaction,
    outcome: End,
    now: datetime,
    *,
    on_request: bool = False,
) -> Recorded:
    """Write down an outcome, if nobody has taken the payment further meanwhile.

    That is told by the attempt that a claimed payment has, or by the gateway's id of one that was
    read. A payment in processing that was canceled at the gateway is declined, unless somebody has
    asked for that.

    Raises:
        NotRecorded: a capture may not be on record.
        StoreUnavailable: whether another outcome is, is unknown.
    """
    stands = partial(Standing, transaction_id=transaction.transaction_id, charged=True)
    match _told(transaction, outcome, on_request=on_request):
        case Charged(str(reference)):
            write, metric = _finish(store, transaction, reference, now), metrics.PROCESSED
            ended = stands(status=PROCESSED, processed_at=timestamp(now))
            return _counted(Recorded(write, ended, reference), metric)
        case Declined(str(reason), another_method) as declined:
            write, metric = store.decline(transaction, declined, now), metrics.DECLINED
            ended = stands(status=DECLINED, decline_reason=reason, another_method=another_method)
            return _counted(Recorded(write, ended), metric)
        case NotCharged():
            write, metric = store.cancel(transaction, now), metrics.CANCELED
            return _counted(Recorded(write, stands(status=CANCELED)), metric)
        case Pending(None | str() as next_action):
            ended = stands(status=PENDING, next_action=next_action)
            if transaction.status == PENDING and next_action == transaction.next_action:
                return Recorded(Write(True), ended)
            look = transaction.lease_expires_at if transaction.status == PENDING else None
            next_look = look or epoch_seconds(now) + FIRST_LOOK_SECONDS
            write = store.pend(transaction, next_action, next_look, now)
            is_news = transaction.status == PROCESSING
            return _counted(Recorded(write, ended), metrics.PENDING if is_news else None)
    raise TypeError("an outcome is Charged, Declined, Pending or NotCharged, with texts in it")


def settle(store: Store, transaction: Transaction, outcome: End, now: datetime) -> Standing:
    """Record an outcome as `record` does; return where the payment stands then, whoever wrote it.

    Raises as `record` does, and StoreUnavailable if the row is gone, or says nothing of that kind.
    """
    recorded = record(store, transaction, outcome, now)
    if recorded.write.done:
        return recorded.standing
    return overtaken(store, transaction.transaction_id, recorded.write.row, recorded.captured, now)


def overtaken(
    store: Store,
    transaction_id: str,
    row: Mapping[str, object],
    reference: str | None,
    now: datetime,
) -> Standing:
    """Return what the row says that another has taken further, or has ended.

    reference is that of a capture that there is all the same. Raises StoreUnavailable if the row is
    gone, or says nothing of that kind.
    """
    if reference is not None:
        compare(store, transaction_id, reference, row, now)
    if not row:
        raise StoreUnavailable("RowMissing")
    try:
        return replace(Standing.of(transaction_id, row), charged=True)
    except Flawed as flaw:
        raise StoreUnavailable("RowChanged") from flaw


def compare(
    store: Store, transaction_id: str, reference: str, row: Mapping[str, object], now: datetime
) -> None:
    """Report a capture that an ended row does not name, or that has no row.

    It counts at least once: whether an attempt that was killed has counted is not known.
    """
    status = row.get("status")
    settled = status in SETTLED
    if (row and not settled) or row.get("gateway_reference") == reference:
        return
    count_capture("capture is not the one on record", transaction_id, reference, status=status)
    if settled:
        try:
            store.note_capture(transaction_id, reference, now)
        except StoreUnavailable as failure:
            logs.error("capture not noted", transaction_id=transaction_id, code=failure.code)


def count_capture(message: str, transaction_id: str, reference: str, **more: object) -> None:
    """Count and log a capture that somebody has to look after."""
    metrics.count(metrics.CONTRADICTED)
    logs.error(message, transaction_id=transaction_id, gateway_reference=reference, **more)
    metrics.flush()  # the alarm does not wait for the note


def _told(transaction: Transaction, outcome: End, *, on_request: bool) -> End:
    """Return what a payment that is canceled at the gateway has come to: it was canceled on behalf
    of its client, unless it had failed before, or was not even pending and nobody has asked."""
    if not isinstance(outcome, NotCharged):
        return outcome
    if outcome.reason is None and (on_request or transaction.status == PENDING):
        return outcome
    return Declined(outcome.reason or "canceled_at_gateway", another_method=True)


def _finish(store: Store, transaction: Transaction, reference: str, now: datetime) -> Write:
    try:
        return store.finish(transaction, reference, now)
    except StoreUnavailable as failure:
        logs.error(
            "capture not recorded",
            transaction_id=transaction.transaction_id,
            gateway_reference=reference,
        )
        raise NotRecorded(failure.code, reference) from failure


def _counted(recorded: Recorded, metric: str | None) -> Recorded:
    if recorded.write.done and metric:
        metrics.count(metric)
    return recorded
