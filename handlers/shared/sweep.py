"""Payments in flight that the index has lost, where no recovery finds them.

No handler leaves a row so: something else wrote it. Each scheduled run sweeps one segment of the
table, by the time of day, and puts what it finds into the index. There recovery takes it up, or
sets it aside, and an alarm sees it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from handlers.shared.aws import logs, metrics
from handlers.shared.aws.table import StoreUnavailable
from handlers.shared.clock import epoch_seconds
from handlers.shared.deadline import CALL_SECONDS, OutOfTime
from handlers.shared.recovery import SCHEDULE_SECONDS, RecoveryIncomplete

if TYPE_CHECKING:
    from datetime import datetime

    from handlers.shared.aws.store import Store
    from handlers.shared.deadline import Deadline

# One for each run of a day; DynamoDB takes up to a million ("Amazon DynamoDB API Reference": Scan).
SEGMENTS = 24 * 3600 // SCHEDULE_SECONDS
# Of a segment, so many pages of 1 MB are read, which bounds the cost: 128 read request units each.
MAX_PAGES_A_RUN = 100


def sweep(store: Store, now: datetime, deadline: Deadline) -> None:
    """Put what the index has lost in this run's segment into the index.

    One that cannot be written is counted as unreadable, for it is not seen again before tomorrow.
    Raises StoreUnavailable if the table cannot be read, RecoveryIncomplete if one was not written.
    """
    segment = epoch_seconds(now) // SCHEDULE_SECONDS % SEGMENTS
    failed, is_whole = 0, False
    with suppress(OutOfTime):
        deadline.require(CALL_SECONDS)
        pages = store.index.out_of_index(segment, SEGMENTS)
        for number, transaction_ids in enumerate(pages, start=1):
            for transaction_id in transaction_ids:
                deadline.require(CALL_SECONDS)
                failed += not _put_into_index(store, transaction_id, now)
            if number == MAX_PAGES_A_RUN:
                break
            deadline.require(CALL_SECONDS)
        else:
            is_whole = True
    if not is_whole:
        logs.error("segment not swept to its end", segment=segment)
    if failed:
        raise RecoveryIncomplete(f"{failed} payments that the index has lost")


def _put_into_index(store: Store, transaction_id: str, now: datetime) -> bool:
    try:
        written = store.index.put_into_index(transaction_id, now).done
    except StoreUnavailable as failure:
        metrics.count(metrics.UNREADABLE)
        logs.error(
            "payment not put into the index", transaction_id=transaction_id, code=failure.code
        )
        return False
    if written:
        logs.error("payment was not in the index", transaction_id=transaction_id)
    return True
