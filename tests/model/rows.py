"""Rows that a person, a bug or a restore has changed: what becomes of an item then.

The index's own attributes cannot have another type than the index says: DynamoDB refuses such a
row ("Using Global Secondary Indexes in DynamoDB", key attribute types). They can be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from handlers.shared.clock import epoch_seconds
from handlers.shared.states import MISMATCHED, PENDING, PROCESSING, UNREADABLE, VALIDATED
from tests.expressions import Item

Change = Callable[[Item], Item]


def _set(**attributes: Mapping[str, object]) -> Change:
    return lambda item: item | {name: dict(value) for name, value in attributes.items()}


def _without(*names: str) -> Change:
    return lambda item: {name: value for name, value in item.items() if name not in names}


def _reference(item: Item) -> Item:
    """Return the row in the shape of the reference implementation."""
    names = ("transaction_id", "amount", "currency", "customer_id", "status")
    return {name: item[name] for name in names if name in item}


# No row of the model has these values. Each makes it another payment than was validated.
TAMPERINGS: Mapping[str, Change] = {
    "amount_minor": _set(amount_minor={"N": "31415"}),
    "negative amount_minor": _set(amount_minor={"N": "-1"}),
    "amount": _set(amount={"S": "314.15"}),
    "both amounts": _set(amount={"S": "314.15"}, amount_minor={"N": "31415"}),
    "currency": _set(currency={"S": "EUR"}),
    "currency without a code": _set(currency={"S": "XXX"}),
    "customer_id": _set(customer_id={"S": "somebody else"}),
    "fingerprint": _set(fingerprint={"S": "0" * 64}),
}
# None of these is a row that a release has written, or will write.
SPOILINGS: Mapping[str, Change] = {
    "the reference's shape": _reference,
    "no amount_minor": _without("amount_minor"),
    "no customer_id": _without("customer_id"),
    "no created_at": _without("created_at"),
    "no status": _without("status"),
    "another status": _set(status={"S": "charging"}),
    "status as a number": _set(status={"N": "1"}),
    "amount_minor as text": _set(amount_minor={"S": "10000"}),
    "amount_minor in fractions": _set(amount_minor={"N": "100.5"}),
    "amount as a number": _set(amount={"N": "100"}),
    "currency as a list": _set(currency={"L": []}),
    "customer_id as null": _set(customer_id={"NULL": True}),
    "fingerprint as true": _set(fingerprint={"BOOL": True}),
    "caller as a number": _set(caller={"N": "1"}),
    "recoveries as text": _set(recoveries={"S": "many"}),
    "rewound as text": _set(rewound={"S": "2026-11-22T21:27:00+00:00"}),
    "first_charge_at as a number": _set(first_charge_at={"N": "1"}),
    "first_charge_at without a time": _set(first_charge_at={"S": "yesterday"}),
    "first_charge_at without an offset": _set(first_charge_at={"S": "2026-11-22T21:27:00"}),
    # Nor is it anybody's, who would write a lease again when letting it go.
    "processing without a first charge": lambda item: _without(
        "lease_expires_at", "attempt_id", "first_charge_at", "gateway"
    )(item | {"status": {"S": PROCESSING}}),
}
# What takes a payment in processing out of the index, or puts it where nobody looks. It stays good.
LOSSES: Mapping[str, Change] = {
    "in_flight": _without("in_flight"),
    "lease": _without("lease_expires_at", "attempt_id"),
    "in_flight and lease": _without("in_flight", "lease_expires_at", "attempt_id"),
    "known key": _set(in_flight={"S": "in flight"}),
}
# What a later release may add to a good row. It stays good.
FOREIGN: Item = {"instrument": {"M": {"kind": {"S": "card"}}}, "attempts": {"L": [{"N": "1"}]}}


def flaw(name: str) -> str:
    """Return the key of the index under which a row with this change is set aside."""
    return MISMATCHED if name in TAMPERINGS else UNREADABLE


def rewound(earlier: Item, moment: datetime) -> Item:
    """Return an earlier state of a row as a restore of that moment leaves it, open and marked."""
    kept = {name: value for name, value in earlier.items() if name != "queued_until"}
    return kept | {"rewound": {"N": str(epoch_seconds(moment))}}


def ended(item: Item, status: str) -> Item:
    """Return a row as somebody leaves it who ends a payment with an update-item of his own."""
    lease = {"attempt_id", "lease_expires_at", "in_flight", "next_action", "pending_at"}
    kept = {name: value for name, value in item.items() if name not in lease}
    why = {"declined": "decline_reason", "canceled": "canceled_at"}[status]
    return kept | {"status": {"S": status}, why: {"S": "by hand"}}


def is_open(item: Item) -> bool:
    return item.get("status") in ({"S": VALIDATED}, {"S": PROCESSING}, {"S": PENDING})
