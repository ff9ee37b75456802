"""The index of payments in flight: who is found there, when, and what the scheduled run does then.

Each write is on the condition that the payment still stands where the index showed it, since the
index lags behind the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.shared.clock import just_expired, timestamp
from handlers.shared.states import (
    ASIDE_KEYS,
    IN_FLIGHT_KEYS,
    OVERDUE,
    PENDING,
    PENDING_KEYS,
    PROCESSING,
    STUCK,
    in_flight_key,
    pending_key,
)
from handlers.shared.transactions import MAX_RECOVERIES, Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from decimal import Decimal

    from handlers.shared.aws.table import Table, Write

    Number = Decimal | int

_IN_INDEX = "in_flight = :key AND lease_expires_at = :lease_end"
# In processing or pending, and under no key of the index that anybody looks at.
_INDEX_KEYS: Record = {
    f":key{number}": key
    for number, key in enumerate((*IN_FLIGHT_KEYS, *PENDING_KEYS, OVERDUE, *ASIDE_KEYS))
}
_NO_KEY = (
    "(attribute_not_exists(lease_expires_at)"
    f" OR attribute_not_exists(in_flight) OR NOT in_flight IN ({', '.join(_INDEX_KEYS)}))"
)
_OUT_OF_INDEX = f"#status IN (:processing, :pending) AND {_NO_KEY}"


class Index:
    """The in-flight index of a table. Every method raises StoreUnavailable if DynamoDB fails the
    call."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def in_index(
        self, key: str, *, before: int | None = None, after: int | None = None
    ) -> Iterator[tuple[str, Decimal]]:
        """Yield id and lease end of the payments under a key of the index, the oldest first.

        Only those whose lease ends before that, or after, in epoch seconds. The index may lag
        behind the table.
        """
        return self._table.in_index(key, before=before, after=after)

    def look_again(
        self, transaction_id: str, key: str, lease_end: Number, next_look: int, to_key: str
    ) -> Write:
        """Put off the next look at a pending payment, under the same key of the index or another.

        It is refused if it no longer stands where the index showed it. The row comes back.
        """
        return self._table.update(
            transaction_id,
            condition=f"#status = :pending AND {_IN_INDEX}",
            update="SET lease_expires_at = :next_look, in_flight = :to_key",
            values={
                ":pending": PENDING,
                ":key": key,
                ":lease_end": lease_end,
                ":next_look": next_look,
                ":to_key": to_key,
            },
            returns="ALL_NEW",
        )

    def set_aside_if_stuck(self, transaction_id: str, key: str, lease_end: Number) -> Write:
        """Move a payment that was recovered as often as it may be to the key STUCK of the index.

        Any other is left as it is, and so is one that no longer stands where the index showed it.
        The row comes back, which no function may read otherwise.
        """
        return self._table.update(
            transaction_id,
            condition=f"{_IN_INDEX} AND recoveries >= :max",
            update="SET in_flight = :stuck",
            values={
                ":key": key,
                ":lease_end": lease_end,
                ":max": MAX_RECOVERIES,
                ":stuck": STUCK,
            },
        )

    def count_recovery(
        self,
        transaction_id: str,
        key: str,
        lease_end: Number,
        queued_until: int,
        now: datetime,
    ) -> None:
        """Count that a payment was queued again, and let its lease have expired just now."""
        self._table.update(
            transaction_id,
            condition=f"#status = :processing AND {_IN_INDEX}",
            update=(
                "SET lease_expires_at = :just_expired, updated_at = :now, queued_until = :until,"
                " recoveries = if_not_exists(recoveries, :zero) + :one"
            ),
            values={
                ":processing": PROCESSING,
                ":key": key,
                ":lease_end": lease_end,
                ":just_expired": just_expired(now),
                ":now": timestamp(now),
                ":until": queued_until,
                ":zero": 0,
                ":one": 1,
            },
        )

    def set_aside(self, transaction_id: str, key: str, lease_end: Number, aside: str) -> None:
        """Move a row to another key of the index, where no recovery takes it up."""
        self._table.update(
            transaction_id,
            condition=_IN_INDEX,
            update="SET in_flight = :aside",
            values={":key": key, ":lease_end": lease_end, ":aside": aside},
        )

    def out_of_index(self, segment: int, segments: int) -> Iterator[list[str]]:
        """Yield the ids of the payments in flight that the index has lost, by pages.

        Only those in one of so many segments of the table, which may lag behind.
        """
        values = _INDEX_KEYS | {":processing": PROCESSING, ":pending": PENDING}
        return self._table.segment(segment, segments, condition=_OUT_OF_INDEX, values=values)

    def put_into_index(self, transaction_id: str, now: datetime) -> Write:
        """Put a payment that the index has lost where it belongs, with a lease that has expired if
        it has none."""
        write = self._into_index(transaction_id, PROCESSING, in_flight_key(transaction_id), now)
        if not write.done and write.row.get("status") == PENDING:
            return self._into_index(transaction_id, PENDING, pending_key(transaction_id), now)
        return write

    def _into_index(self, transaction_id: str, status: str, key: str, now: datetime) -> Write:
        return self._table.update(
            transaction_id,
            condition=f"#status = :status AND {_NO_KEY}",
            update=(
                "SET in_flight = :in_flight,"
                " lease_expires_at = if_not_exists(lease_expires_at, :expired)"
            ),
            values={
                **_INDEX_KEYS,
                ":status": status,
                ":in_flight": key,
                ":expired": just_expired(now),
            },
        )
