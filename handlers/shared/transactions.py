"""A transaction: what a payment is, and the states it goes through.

    validated -> processing -> processed
                      \\-----> declined

Nothing goes back to validated: a payment whose charge did not come to an end stays in processing,
with a lease that expires, and in the index of what is in flight, so that someone finds it.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from handlers.shared.clock import epoch_seconds, timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from handlers.shared.money import Money

VALIDATED = "validated"
PROCESSING = "processing"
PROCESSED = "processed"
DECLINED = "declined"

# Outlasts the 60 s that the processing function may run, so that no holder outlives its lease.
LEASE_SECONDS = 90
IN_FLIGHT_SHARDS = 16
# How often a payment is queued again before it is left to a person.
MAX_RECOVERIES = 3

Record = dict[str, str | int]


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One row of the transactions table.

    amount is the decimal with the currency's digits and amount_minor the same in minor units;
    times are ISO 8601 in UTC with offset, except lease_expires_at, which is in epoch seconds.
    attempt_id, lease_expires_at and recoveries exist only while processing.
    """

    transaction_id: str
    amount: str
    amount_minor: int
    currency: str
    customer_id: str = field(repr=False)
    status: str
    fingerprint: str
    created_at: str
    updated_at: str
    attempt_id: str | None = None
    lease_expires_at: int | None = None
    first_charge_at: str | None = None
    gateway_reference: str | None = None
    decline_reason: str | None = None
    processed_at: str | None = None
    recoveries: int | None = None

    @classmethod
    def validated(
        cls, transaction_id: str, money: Money, customer_id: str, now: datetime
    ) -> Transaction:
        """Return the transaction that a valid request starts."""
        return cls(
            transaction_id=transaction_id,
            amount=money.amount,
            amount_minor=money.minor_units,
            currency=money.currency,
            customer_id=customer_id,
            status=VALIDATED,
            fingerprint=fingerprint(money, customer_id),
            created_at=timestamp(now),
            updated_at=timestamp(now),
        )

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Transaction:
        """Return the transaction that a row holds; attributes it does not know are left out.

        Raises TypeError if one that every transaction has is missing.
        """
        return cls(**{name: record[name] for name in _NAMES if name in record})  # type: ignore[arg-type]

    def to_record(self) -> Record:
        """Return the attributes that have a value, as they are stored."""
        values = {name: getattr(self, name) for name in _NAMES}
        return {name: value for name, value in values.items() if value is not None}

    def held_by(self, attempt_id: str) -> bool:
        """Whether this attempt holds the lease, and so may charge."""
        return self.status == PROCESSING and self.attempt_id == attempt_id

    def lease_seconds_left(self, now: datetime) -> int:
        """Whole seconds until another attempt may claim the payment, at least 1."""
        return max(1, (self.lease_expires_at or 0) - epoch_seconds(now))


IN_FLIGHT_KEYS = tuple(f"{PROCESSING}#{shard}" for shard in range(IN_FLIGHT_SHARDS))
_NAMES = tuple(attribute.name for attribute in fields(Transaction))


def fingerprint(money: Money, customer_id: str) -> str:
    """Return the SHA-256, in hex, of a request: equal for requests that mean the same payment."""
    canonical = {"amount": money.amount, "currency": money.currency, "customer_id": customer_id}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def in_flight_key(transaction_id: str) -> str:
    """Return the index key of a payment in flight, stable for its id."""
    return IN_FLIGHT_KEYS[zlib.crc32(transaction_id.encode()) % IN_FLIGHT_SHARDS]
