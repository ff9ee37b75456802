"""The payments in the table: every change of state is one conditional write.

The SDK may repeat a call whose answer was lost. Each condition therefore lets its own repetition
pass, or the row shows that the first one took effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.shared.clock import epoch_seconds, timestamp
from handlers.shared.lookups import ATTRIBUTES
from handlers.shared.transactions import (
    ASIDE_KEYS,
    DECLINED,
    IN_FLIGHT_KEYS,
    LEASE_SECONDS,
    MAX_RECOVERIES,
    PROCESSED,
    PROCESSING,
    REQUIRED,
    STUCK,
    TYPES,
    VALIDATED,
    Record,
    Transaction,
    in_flight_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from decimal import Decimal

    from handlers.shared.aws.table import Table, Write
    from handlers.shared.callers import Claimant

    Number = Decimal | int

_HELD = "#status = :processing AND attempt_id = :attempt"
_IN_INDEX = "in_flight = :key AND lease_expires_at = :lease_end"
_FREE = (
    "#status = :validated OR attempt_id = :attempt"
    " OR (#status = :processing AND lease_expires_at < :now_seconds"
    " AND attribute_exists(first_charge_at))"
)
# In processing, and under no key of the index that anybody looks at.
_INDEX_KEYS: Record = {
    f":key{number}": key for number, key in enumerate(IN_FLIGHT_KEYS + ASIDE_KEYS)
}
_OUT_OF_INDEX = (
    "#status = :processing AND (attribute_not_exists(lease_expires_at)"
    f" OR attribute_not_exists(in_flight) OR NOT in_flight IN ({', '.join(_INDEX_KEYS)}))"
)
# DynamoDB's names of the types that a payment's attributes have.
_TYPE_NAMES = {str: (":text", "S"), int: (":number", "N")}
# What a row must have to be claimed: it is refused before it is written, if it is not a payment's.
_PAYABLE = " AND ".join(
    f"attribute_type({'#status' if name == 'status' else name}, {_TYPE_NAMES[TYPES[name]][0]})"
    for name in REQUIRED
    if name != "transaction_id"
)


class TransactionExists(Exception):
    """Another transaction has this id; it is not written over."""

    reason = "another_transaction_has_the_id"


class Store:
    """Takes payments through their states. Every method raises StoreUnavailable if DynamoDB fails
    the call."""

    def __init__(self, table: Table, lease_seconds: int = LEASE_SECONDS) -> None:
        self._table = table
        self._lease_seconds = lease_seconds

    def add(self, transaction: Transaction, more: Record | None = None) -> Write:
        """Store a new transaction, unless an earlier request, or this call's first try, has.

        `more` are attributes of a later release, which are stored as they are. Raises
        TransactionExists if the id belongs to a transaction with another fingerprint.
        """
        write = self._table.put({**(more or {}), **transaction.to_record()})
        if not write.done and write.row.get("fingerprint") != transaction.fingerprint:
            raise TransactionExists
        return write

    def find(self, transaction_id: str) -> Mapping[str, object]:
        """Return what a look-up takes of a row, as it is now; nothing if there is none."""
        return self._table.get(transaction_id, ATTRIBUTES)

    def claim(
        self, transaction_id: str, attempt_id: str, claimant: Claimant, now: datetime
    ) -> Write:
        """Take the lease on a payment for one attempt.

        It is refused if another attempt holds or ended it, if the claimant may not have it, and if
        the row lacks what a payment has.
        """
        parts = [_FREE, claimant.condition]
        return self._table.update(
            transaction_id,
            condition=" AND ".join([_PAYABLE, *(f"({part})" for part in parts if part)]),
            update=(
                "SET #status = :processing, attempt_id = :attempt, lease_expires_at = :lease_end,"
                " in_flight = :in_flight, updated_at = :now,"
                " first_charge_at = if_not_exists(first_charge_at, :now)"
            ),
            values={
                **claimant.values,
                **dict(_TYPE_NAMES.values()),
                ":validated": VALIDATED,
                ":processing": PROCESSING,
                ":attempt": attempt_id,
                ":now": timestamp(now),
                ":now_seconds": epoch_seconds(now),
                ":lease_end": epoch_seconds(now) + self._lease_seconds,
                ":in_flight": in_flight_key(transaction_id),
            },
            wants_row=True,
        )

    def finish(self, claimed: Transaction, gateway_reference: str, now: datetime) -> Write:
        """Record a charge, if this attempt still holds the lease."""
        update = "processed_at = :now, gateway_reference = :reference"
        return self._end(claimed, PROCESSED, now, update, {":reference": gateway_reference})

    def decline(self, claimed: Transaction, reason: str, now: datetime) -> Write:
        """Record that the gateway declined, if this attempt still holds the lease."""
        return self._end(claimed, DECLINED, now, "decline_reason = :reason", {":reason": reason})

    def let_go(
        self,
        transaction_id: str,
        attempt_id: str,
        now: datetime,
        *,
        queued_until: int | None = None,
        key: str | None = None,
    ) -> Write:
        """Expire the lease, if this attempt holds it, so that the next claim gets in.

        Args:
            transaction_id: of the payment, which need not exist.
            attempt_id: that may have claimed it.
            now: the present moment.
            queued_until: until when the queue retries it, in epoch seconds; None leaves that.
            key: of the index under which it is set aside; None leaves that.
        """
        changes: Record = {":expired": _just_expired(now), ":now": timestamp(now)}
        update = "SET lease_expires_at = :expired, updated_at = :now"
        if queued_until is not None:
            changes[":until"] = queued_until
            update += ", queued_until = :until"
        if key is not None:
            changes[":key"] = key
            update += ", in_flight = :key"
        held: Record = {":processing": PROCESSING, ":attempt": attempt_id}
        return self._table.update(
            transaction_id, condition=_HELD, update=update, values=held | changes
        )

    def note_capture(self, transaction_id: str, gateway_reference: str, now: datetime) -> Write:
        """Write beside what a settled row says that there is a capture which contradicts it; of
        several the first."""
        return self._table.update(
            transaction_id,
            condition="#status IN (:processed, :declined)",
            update=(
                "SET contradicting_reference = if_not_exists(contradicting_reference, :reference),"
                " updated_at = :now"
            ),
            values={
                ":processed": PROCESSED,
                ":declined": DECLINED,
                ":reference": gateway_reference,
                ":now": timestamp(now),
            },
        )

    def in_index(
        self, key: str, *, before: int | None = None, after: int | None = None
    ) -> Iterator[tuple[str, Decimal]]:
        """Yield id and lease end of the payments under a key of the index, the oldest first.

        Only those whose lease ends before that, or after, in epoch seconds. The index may lag
        behind the table.
        """
        return self._table.in_index(key, before=before, after=after)

    def out_of_index(self, segment: int, segments: int) -> Iterator[list[str]]:
        """Yield the ids of the payments in processing that the index has lost, by pages.

        Only those in one of so many segments of the table, which may lag behind.
        """
        values = _INDEX_KEYS | {":processing": PROCESSING}
        return self._table.segment(segment, segments, condition=_OUT_OF_INDEX, values=values)

    def put_into_index(self, transaction_id: str, now: datetime) -> Write:
        """Put a payment that the index has lost where it belongs, with a lease that has expired if
        it has none."""
        return self._table.update(
            transaction_id,
            condition=_OUT_OF_INDEX,
            update=(
                "SET in_flight = :in_flight,"
                " lease_expires_at = if_not_exists(lease_expires_at, :expired)"
            ),
            values={
                **_INDEX_KEYS,
                ":processing": PROCESSING,
                ":in_flight": in_flight_key(transaction_id),
                ":expired": _just_expired(now),
            },
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
                ":just_expired": _just_expired(now),
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

    def _end(
        self, claimed: Transaction, status: str, now: datetime, update: str, values: Record
    ) -> Write:
        return self._table.update(
            claimed.transaction_id,
            condition=_HELD,
            update=(
                f"SET #status = :ended, updated_at = :now, {update}"
                " REMOVE attempt_id, lease_expires_at, in_flight, recoveries, queued_until"
            ),
            values={
                **values,
                ":ended": status,
                ":now": timestamp(now),
                ":processing": PROCESSING,
                ":attempt": claimed.attempt_id or "",
            },
        )


def _just_expired(now: datetime) -> int:
    return epoch_seconds(now) - 1
