"""A transaction: what a payment is, and the row that holds it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING

from handlers.shared.clock import timestamp
from handlers.shared.flaws import Mismatched, Unreadable
from handlers.shared.money import MINOR_DIGITS, Money
from handlers.shared.states import PROCESSING, VALIDATED

if TYPE_CHECKING:
    from collections.abc import Mapping

# Outlasts the 60 s that the processing function may run, so that no holder outlives its lease.
LEASE_SECONDS = 90
# What first_charge_at is of a payment that is charged in two steps: longer ago than any gateway
# knows a key, so that a release that knows one step alone never charges it.
LONG_AGO = "1970-01-01T00:00:00+00:00"
# How often a payment is queued again before it is left to a person.
MAX_RECOVERIES = 3

Record = dict[str, str | int | Decimal]


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
        known = {name: value for name, value in record.items() if name in TYPES}
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


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
