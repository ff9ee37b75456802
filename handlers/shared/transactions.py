"""A transaction: what a payment is, and the states it goes through.

    validated -> processing -> processed
                      |-----> declined
                      \\-----> pending -> processed, declined or canceled
    validated -> canceled

Nothing goes back to validated: a payment whose charge did not come to an end stays in processing,
with a lease that expires, and in the index of what is in flight, so that someone finds it. A
payment is pending while its customer, or a bank, has yet to do something; it is in the index too,
with the moment of the next look as the end of its lease.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from handlers.shared.clock import epoch_seconds, timestamp
from handlers.shared.money import MINOR_DIGITS, Money

if TYPE_CHECKING:
    from collections.abc import Mapping

VALIDATED = "validated"
PROCESSING = "processing"
PROCESSED = "processed"
DECLINED = "declined"
PENDING = "pending"
CANCELED = "canceled"
SETTLED = frozenset({PROCESSED, DECLINED, CANCELED})

# Outlasts the 60 s that the processing function may run, so that no holder outlives its lease.
LEASE_SECONDS = 90
IN_FLIGHT_SHARDS = 16
# What first_charge_at is of a payment that is charged in two steps: longer ago than any gateway
# knows a key, so that a release that knows one step alone never charges it.
LONG_AGO = "1970-01-01T00:00:00+00:00"
# How often a payment is queued again before it is left to a person.
MAX_RECOVERIES = 3

# The index keys of payments that the scheduled run only counts, until somebody looks after them.
STUCK = "stuck"
MISMATCHED = "mismatched"
UNREADABLE = "unreadable"
ASIDE_KEYS = (STUCK, MISMATCHED, UNREADABLE)
# The index key of payments that have been pending for longer than a day. They are counted like
# those above, and looked at all the same.
OVERDUE = "overdue"

Record = dict[str, str | int | Decimal]


class Flawed(Exception):
    """A row that must not be charged; key is that of the index under which it is set aside."""

    key: ClassVar[str]
    reason: ClassVar[str]

    def __init__(self, attribute: str) -> None:
        super().__init__(attribute)
        self.attribute = attribute


class Unreadable(Flawed):
    """A row is not as a payment is; attribute is the one that is missing, or of another type."""

    key = UNREADABLE
    reason = "row_unreadable"


class Mismatched(Flawed):
    """A row's amount, currency or customer is not what was validated; attribute tells which."""

    key = MISMATCHED
    reason = "row_mismatched"


class OtherGateway(Flawed):
    """A payment that was begun at another gateway, account or mode; attribute tells which."""

    key = STUCK
    reason = "other_gateway"


class OtherPayment(Flawed):
    """The gateway's payment is not the row's: its id, amount or currency is another's."""

    key = MISMATCHED
    reason = "gateway_payment_mismatched"


@dataclass(frozen=True)
class Marks:
    """Whom a payment is charged by: the gateway's class as "module:Class", its account there, and
    whether real money moves. A gateway in one step need not tell the last two."""

    gateway: str
    account: str | None = None
    mode: str | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """What is told, by the names of the row's attributes."""
        values = {
            "gateway": self.gateway,
            "gateway_account": self.account,
            "gateway_mode": self.mode,
        }
        return {name: value for name, value in values.items() if value is not None}

    def other(self, row: Mapping[str, object]) -> str | None:
        """Return the attribute by which a row says otherwise, None if none does."""
        mine = self.attributes.items()
        return next((name for name, value in mine if row.get(name, value) != value), None)

    def check(self, row: Mapping[str, object]) -> None:
        """Raise OtherGateway if a row says otherwise."""
        if (name := self.other(row)) is not None:
            raise OtherGateway(name)


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One row of the transactions table.

    amount is the decimal with the currency's digits and amount_minor the same in minor units;
    times are ISO 8601 in UTC with offset, except lease_expires_at, queued_until and rewound, which
    are in epoch seconds. attempt_id, lease_expires_at and recoveries exist only while processing.
    caller is who validated it; until queued_until the queue's own retries go on; rewound is the
    moment to which a restore took the row back, without knowing what had become of it.

    payment_method, reference and return_url are what the client sent with it, and
    details_fingerprint is of a request that sent any. gateway, gateway_account and gateway_mode say
    whom it was begun at, and gateway_id is the gateway's name of it, stored before money can move.
    next_action exists only while it is pending, since pending_at.
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
    caller: str | None = None
    attempt_id: str | None = None
    lease_expires_at: int | None = None
    first_charge_at: str | None = None
    gateway_reference: str | None = None
    decline_reason: str | None = None
    processed_at: str | None = None
    recoveries: int | None = None
    queued_until: int | None = None
    rewound: int | None = None
    payment_method: str | None = field(default=None, repr=False)
    reference: str | None = field(default=None, repr=False)
    return_url: str | None = field(default=None, repr=False)
    details_fingerprint: str | None = None
    gateway: str | None = None
    gateway_account: str | None = None
    gateway_mode: str | None = None
    gateway_id: str | None = None
    next_action: str | None = field(default=None, repr=False)
    pending_at: str | None = None
    canceled_at: str | None = None
    another_method: int | None = None

    @classmethod
    def validated(
        cls,
        transaction_id: str,
        money: Money,
        customer_id: str,
        now: datetime,
        caller: str | None = None,
        details: Mapping[str, str] = MappingProxyType({}),
    ) -> Transaction:
        """Return the transaction that a valid request starts; details are those of DETAILS that
        it has sent."""
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
            caller=caller,
            payment_method=details.get("payment_method"),
            reference=details.get("reference"),
            return_url=details.get("return_url"),
            details_fingerprint=(fingerprint(money, customer_id, details) if details else None),
        )

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Transaction:
        """Return the transaction that a row holds; attributes it does not know are left out.

        Raises Unreadable if one that every transaction has is missing, one is of another type, or
        the time of the first charge is not a time. One in processing must have it, or say at which
        gateway it was begun: without either, nobody knows whether it has been charged.
        """
        for name in REQUIRED:
            if name not in record:
                raise Unreadable(name)
        known = {name: record[name] for name in TYPES if name in record}
        for name, value in known.items():
            if type(value) is not TYPES[name]:
                raise Unreadable(name)
        transaction = cls(**known)  # type: ignore[arg-type]
        first_charge_at = transaction.first_charge_at
        if first_charge_at is None:
            is_known = transaction.status != PROCESSING or transaction.gateway is not None
        else:
            is_known = _is_moment(first_charge_at)
        if not is_known:
            raise Unreadable("first_charge_at")
        return transaction

    @classmethod
    def as_read(cls, record: Mapping[str, object]) -> Transaction:
        """Return the transaction of a row that is read, not claimed: none of its attempts is the
        reader's. Raises Unreadable."""
        return replace(cls.from_record(record), attempt_id=None)

    @classmethod
    def payable(cls, record: Mapping[str, object]) -> Transaction:
        """Return the transaction of a row that is as it was validated.

        The fingerprint is computed anew from what would be charged. It has no key, so it finds
        accidents, not somebody who writes a row on purpose.

        Raises Unreadable, or Mismatched.
        """
        transaction = cls.from_record(record)
        if transaction.currency not in MINOR_DIGITS:
            raise Mismatched("currency")
        money = Money(transaction.amount_minor, transaction.currency)
        if money.amount != transaction.amount:
            raise Mismatched("amount")
        if fingerprint(money, transaction.customer_id) != transaction.fingerprint:
            raise Mismatched("fingerprint")
        details = transaction.details
        if details or transaction.details_fingerprint is not None:
            expected = fingerprint(money, transaction.customer_id, details) if details else None
            if expected != transaction.details_fingerprint:
                raise Mismatched("details_fingerprint")
        return transaction

    @property
    def was_charged_in_one_step(self) -> bool:
        """Whether somebody may have charged it in one step."""
        return self.first_charge_at not in {None, LONG_AGO}

    @property
    def details(self) -> dict[str, str]:
        """Those of DETAILS that the client has sent."""
        return {name: value for name in DETAILS if (value := getattr(self, name)) is not None}

    def to_record(self) -> Record:
        """Return the attributes that have a value, as they are stored."""
        values = {name: getattr(self, name) for name in TYPES}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a payment stands, as a client is told; it takes any row that has a status.

    charged is whether the attempt that tells has had the gateway's answer itself.
    """

    transaction_id: str
    status: str
    processed_at: str | None = None
    decline_reason: str | None = None
    another_method: bool = False
    next_action: str | None = field(default=None, repr=False)
    lease_expires_at: int = 0
    charged: bool = False

    @classmethod
    def of(cls, transaction_id: str, record: Mapping[str, object]) -> Standing:
        """Return where a row stands that is settled, pending, or held by another attempt.

        Raises Unreadable if it says neither, or has an unreadable caller.
        """
        status, lease_expires_at = record.get("status"), record.get("lease_expires_at")
        if not isinstance(record.get("caller", ""), str):
            raise Unreadable("caller")  # so nobody knows who may be told
        if status == PROCESSING and type(lease_expires_at) is int:
            return cls(
                transaction_id=transaction_id, status=status, lease_expires_at=lease_expires_at
            )
        if status not in SETTLED and status != PENDING:
            raise Unreadable("status")
        return cls(
            transaction_id=transaction_id,
            status=str(status),
            processed_at=_text(record.get("processed_at")),
            decline_reason=_text(record.get("decline_reason")),
            another_method=record.get("another_method") == 1,
            next_action=_text(record.get("next_action")),
        )

    def lease_seconds_left(self, now: datetime) -> int:
        """Whole seconds until another attempt may claim the payment, at least 1."""
        return max(1, self.lease_expires_at - epoch_seconds(now))


IN_FLIGHT_KEYS = tuple(f"{PROCESSING}#{shard}" for shard in range(IN_FLIGHT_SHARDS))
# Of their own, so that the release before this one, which does not know them, leaves them alone.
PENDING_KEYS = tuple(f"{PENDING}#{shard}" for shard in range(IN_FLIGHT_SHARDS))
# What a client may send with a payment.
DETAILS = ("payment_method", "reference", "return_url")
# Every attribute of a transaction with its type, as the dataclass above declares them.
TYPES: Mapping[str, type] = {
    attribute.name: int if "int" in str(attribute.type) else str
    for attribute in fields(Transaction)
}
REQUIRED = tuple(
    attribute.name for attribute in fields(Transaction) if "None" not in str(attribute.type)
)


def fingerprint(money: Money, customer_id: str, details: Mapping[str, str] | None = None) -> str:
    """Return the SHA-256, in hex, of a request: equal for requests that mean the same payment.

    What every request has is hashed by itself, as releases that know no details do it.
    """
    canonical = {
        "amount": money.amount,
        "currency": money.currency,
        "customer_id": customer_id,
        **(details or {}),
    }
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def in_flight_key(transaction_id: str) -> str:
    """Return the index key of a payment in processing, stable for its id."""
    return IN_FLIGHT_KEYS[_shard(transaction_id)]


def pending_key(transaction_id: str) -> str:
    """Return the index key of a pending payment, stable for its id."""
    return PENDING_KEYS[_shard(transaction_id)]


def _shard(transaction_id: str) -> int:
    return zlib.crc32(transaction_id.encode()) % IN_FLIGHT_SHARDS


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
