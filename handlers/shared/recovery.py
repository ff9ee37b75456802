"""Payments whose attempt never came to its end: found in the index, and queued again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.shared import logs, metrics
from handlers.shared.clock import epoch_seconds, timestamp
from handlers.shared.retry_messages import RetryMessage
from handlers.shared.store import StoreUnavailable
from handlers.shared.transactions import MAX_RECOVERIES

if TYPE_CHECKING:
    from datetime import datetime

    from handlers.shared.retry_messages import RetryQueue
    from handlers.shared.store import Store

# Longer than the queue's own retries take: 3 receives, 300 s apart.
RECOVER_AFTER_SECONDS = 20 * 60
# A run queues no more than this; the next one, five minutes later, goes on. Payments that are stuck
# do not count, since they are the oldest in the index and would keep the others from their turn.
MAX_PAYMENTS_A_RUN = 500


def recover(
    store: Store, queue: RetryQueue, now: datetime, request_id: str, after_seconds: int
) -> None:
    """Queue every payment whose lease expired that long ago; count those that are given up.

    Each is queued at most MAX_RECOVERIES times, and then counted as stuck on every run until
    somebody has looked after it. Raises StoreUnavailable if DynamoDB fails.
    """
    stuck = recovered = 0
    try:
        for transaction_id, lease_end in store.expired(epoch_seconds(now) - after_seconds):
            outcome = store.recover(transaction_id, lease_end, now)
            if outcome == "stuck":
                logs.error(
                    "payment is stuck", transaction_id=transaction_id, recoveries=MAX_RECOVERIES
                )
                stuck += 1
            elif outcome == "recovered":
                _queue(transaction_id, queue, now, request_id)
                recovered += 1
                if recovered == MAX_PAYMENTS_A_RUN:
                    break
    except StoreUnavailable:
        if stuck:
            metrics.count(metrics.STUCK, stuck)
        raise
    metrics.count(metrics.STUCK, stuck)


def _queue(transaction_id: str, queue: RetryQueue, now: datetime, request_id: str) -> None:
    message = RetryMessage(
        operation="process",
        transaction_id=transaction_id,
        reason="lease_expired",
        request_id=request_id,
        first_failed_at=timestamp(now),
    )
    queued = queue.send(message)
    logs.info("payment recovered", transaction_id=transaction_id, queued=queued)
