"""A payment's row, as far as a restore needs to know it: what it has, what it says, its mark."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from payment_infra.cloud.restoring.reading import Item

# Statuses in which a payment can still be charged.
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
    """Whether a payment's amount, currency and customer are those that it was validated with.

    The fingerprint is computed anew, as the handlers do it (`transactions.fingerprint`). It has no
    key: it finds accidents, not somebody who writes a row on purpose.
    """
    terms = {name: text(row, name) for name in ("amount", "currency", "customer_id")}
    canonical = json.dumps(terms, sort_keys=True, separators=(",", ":"))
    minor = text(row, "amount").replace(".", "")
    return (
        hashlib.sha256(canonical.encode()).hexdigest() == text(row, "fingerprint")
        and minor.isdecimal()
        and Decimal(minor) == Decimal(row["amount_minor"]["N"])
    )


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


def without_mark(row: Item) -> Item:
    """Return all of a row but its mark."""
    return {name: value for name, value in row.items() if name != REWOUND}


def made_anew(row: Item, other: Item) -> bool:
    """Whether a payment's row was made later than another one: that one was lost in between, and
    its client validated the payment again."""
    return text(row, "created_at") > text(other, "created_at")


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
    if text(present, "status") not in OVERWRITES[text(row, "status")]:
        return False
    updated, known = text(row, "updated_at"), text(present, "updated_at")
    return updated > known or (updated == known and tells_more(row, present))


def tells_more(other: Item, row: Item) -> bool:
    """Whether another row of an open payment shows an end, or an earlier charge, that this hides.

    Both count a charge from `first_charge_at` (ISO 8601 in UTC, so texts compare as moments do).
    """
    status = text(other, "status")
    if status in SETTLED or (status == "processing" and text(row, "status") == "validated"):
        return True
    first, known = text(other, "first_charge_at"), text(row, "first_charge_at")
    return first != "" and (known == "" or first < known)
