"""A payment's row, as far as a restore needs to know it: what it has, what it says, its mark."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from payment_infra.cloud.restoring.reading import Item

# Statuses in which a payment can still be charged, each further than the one before.
OPEN = ("validated", "processing", "pending")
SETTLED = frozenset({"processed", "declined", "canceled"})
# What each status may be written over: nothing goes back to validated.
OVERWRITES: Mapping[str, tuple[str, ...]] = {
    "validated": ("validated",),
    "processing": ("validated", "processing"),
    "pending": OPEN,
    "processed": OPEN,
    "declined": OPEN,
    "canceled": OPEN,
}
# The mark of a row that was rewound: the moment that it shows, in epoch seconds. The handlers look
# such a payment up before they charge it.
REWOUND = "rewound"
# When a row is next looked at, and by which key of the index: that tells nothing of the payment.
IN_INDEX = ("in_flight", "lease_expires_at")
# The gateway's own name of a payment, which is the only one that is ever confirmed.
GATEWAY_ID = "gateway_id"
# Whom a payment was begun at.
GATEWAY_MARKS = ("gateway", "gateway_account", "gateway_mode")
# For whom a payment was validated, with the name of the secret, if there is one.
VALIDATED_FOR = "validated_for"
# What is written once, before money can move, and never changed.
BEGUN_AT = (*GATEWAY_MARKS, GATEWAY_ID)
# What a client may have sent with a payment, besides what every payment has.
DETAILS = ("payment_method", "reference", "return_url")
# The reference of a capture that a settled row contradicts, noted by the handlers.
CONTRADICTED = "contradicting_reference"
# What every row has, with DynamoDB's types.
ATTRIBUTES = {
    **dict.fromkeys(
        (
            *("transaction_id", "amount", "currency", "customer_id", "status", "fingerprint"),
            *("created_at", "updated_at"),
        ),
        "S",
    ),
    "amount_minor": "N",
}


def is_payment(row: Item) -> bool:
    """Whether a row has what every payment has."""
    return (
        all(kind in row.get(name, {}) for name, kind in ATTRIBUTES.items())
        and row["status"]["S"] in OVERWRITES
    )


def is_as_validated(row: Item) -> bool:
    """Whether a payment is what it was validated as: amount, currency, customer, and what was sent
    with it.

    The fingerprints are computed anew, as the handlers do it (`transactions.fingerprint`). They
    have no key: they find accidents, not somebody who writes a row on purpose.
    """
    terms = {name: text(row, name) for name in ("amount", "currency", "customer_id")}
    details = {name: text(row, name) for name in DETAILS if name in row}
    minor = text(row, "amount").replace(".", "")
    return (
        _fingerprint(terms) == text(row, "fingerprint")
        and (_fingerprint(terms | details) if details else "") == text(row, "details_fingerprint")
        and minor.isdecimal()
        and Decimal(minor) == Decimal(row["amount_minor"]["N"])
    )


def _fingerprint(values: Mapping[str, str]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def text(row: Item, name: str) -> str:
    """Return a text that a row has, "" if it has none of that name."""
    return str(row.get(name, {}).get("S", ""))


def is_open(row: Item) -> bool:
    """Whether a row's payment can still be charged."""
    return text(row, "status") in OPEN


def is_settled(row: Item) -> bool:
    """Whether a row's payment has come to its end."""
    return text(row, "status") in SETTLED


def mark_of(row: Item) -> int | None:
    """Return the moment that a row is marked with, in epoch seconds, None if it is not marked."""
    number = row.get(REWOUND, {}).get("N")
    return None if number is None else int(Decimal(number))


def with_mark(row: Item, mark: int) -> Item:
    """Return a row that is marked with a moment, in epoch seconds."""
    return {**row, REWOUND: {"N": str(mark)}}


def tells_as_much(present: Item, row: Item) -> bool:
    """Whether one row of a payment says all that another one does.

    That is so if nothing differs but the mark, the place in the index, and that it may be known to
    have been made earlier.
    """
    unlike = (REWOUND, *IN_INDEX, "created_at")
    told, present_told = (
        {name: value for name, value in version.items() if name not in unlike}
        for version in (row, present)
    )
    made, present_made = text(row, "created_at"), text(present, "created_at")
    return told == present_told and (made == present_made or "" < present_made < made)


def made_twice(row: Item, other: Item) -> bool:
    """Whether two rows of a payment were made at different times: one of them was lost, and its
    client validated the payment again."""
    return text(row, "created_at") != text(other, "created_at")


def keeps(row: Item, present: Item) -> bool:
    """Whether a row says all that another one does of where the payment was begun."""
    return all(row.get(name) == present[name] for name in BEGUN_AT if name in present)


def supersedes(row: Item, present: Item) -> bool:
    """Whether a payment's row of the table that is left stands, and not the one where it goes.

    An end does, over what is open, and what a settled row has noted since. Of two open rows the
    newer one does, if that takes nothing back.
    """
    if is_settled(present):
        same_end = text(row, "status") == text(present, "status")
        return same_end and CONTRADICTED in row and CONTRADICTED not in present
    if is_settled(row):
        return True
    if text(present, "status") not in OVERWRITES[text(row, "status")] or not keeps(row, present):
        return False
    updated, known = text(row, "updated_at"), text(present, "updated_at")
    return updated > known or (updated == known and tells_more(row, present))


def tells_more(other: Item, row: Item) -> bool:
    """Whether another row of an open payment shows what this hides: an end, a later status, an
    earlier charge or beginning, or where it was begun.

    Both count a charge from `first_charge_at` (ISO 8601 in UTC, so texts compare as moments do).
    """
    if is_settled(other) or _stage(other) > _stage(row) or not keeps(row, other):
        return True
    if text(other, "created_at") < text(row, "created_at"):
        return True
    first, known = text(other, "first_charge_at"), text(row, "first_charge_at")
    return first != "" and (known == "" or first < known)


def contradicts(row: Item, present: Item) -> bool:
    """Whether two rows of a payment show ends that differ, or captures that do."""
    return (
        is_settled(row)
        and is_settled(present)
        and any(text(row, name) != text(present, name) for name in ("status", "gateway_reference"))
    )


def _stage(row: Item) -> int:
    return OPEN.index(text(row, "status"))
