"""What a client is told of a payment that is looked up, and the attributes that this takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from handlers.shared.clock import epoch_seconds
from handlers.shared.flaws import Unreadable
from handlers.shared.states import (
    CANCELED,
    DECLINED,
    IN_FLIGHT_KEYS,
    PENDING,
    PROCESSED,
    PROCESSING,
    SETTLED,
    VALIDATED,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# What a look-up reads of a row: never whose payment it is, but the caller, whom it is open to.
ATTRIBUTES = (
    *("transaction_id", "status", "amount", "currency", "created_at", "updated_at", "processed_at"),
    *("decline_reason", "another_method", "reference", "next_action", "pending_at"),
    *("canceled_at", "caller", "queued_until", "in_flight"),
)
# What `Money.amount` writes, of at most 12 digits: a float has 15 that it gives back as they are
# (IEEE 754, binary64).
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,4})?", re.ASCII)


def description(transaction_id: str, row: Mapping[str, object], now: datetime) -> dict[str, object]:
    """Return what is told of a row.

    amount is a JSON number, as /validate takes it; reference is the client's. decline_reason is why
    the gateway declined, and another_method whether the customer may succeed with another one.
    next_action, of a pending payment, is where the customer has to go, if anywhere.
    retry_queued, of a payment in processing, is whether it comes to its end without its client: a
    message waits for it in the queue, or the scheduled run will send one.

    Raises Unreadable if the row is not as a payment is.
    """
    status = _text(row, "status")
    _texts(row, "caller")  # or nobody knows who may be told
    if status not in {VALIDATED, PROCESSING, PENDING, *SETTLED}:
        raise Unreadable("status")
    told: dict[str, object] = {
        "transaction_id": transaction_id,
        "status": status,
        "amount": _amount(row),
        "currency": _text(row, "currency"),
        "created_at": _text(row, "created_at"),
        "updated_at": _text(row, "updated_at"),
        **_texts(row, "reference"),
    }
    if status == PROCESSED:
        told["processed_at"] = _text(row, "processed_at")
    if status == DECLINED:
        told["decline_reason"] = _text(row, "decline_reason")
        told |= {"another_method": True} if row.get("another_method") == 1 else {}
    if status == PENDING:
        told |= _texts(row, "pending_at", "next_action")
    if status == CANCELED:
        told |= _texts(row, "canceled_at")
    if status == PROCESSING:
        told["retry_queued"] = _is_queued(row, now)
    return told


def _is_queued(row: Mapping[str, object], now: datetime) -> bool:
    until = row.get("queued_until")
    waits = type(until) is int and until > epoch_seconds(now)
    return waits or row.get("in_flight") in IN_FLIGHT_KEYS


def _amount(row: Mapping[str, object]) -> int | float:
    amount = _text(row, "amount")
    if not _AMOUNT.fullmatch(amount):
        raise Unreadable("amount")
    return float(amount) if "." in amount else int(amount)


def _texts(row: Mapping[str, object], *names: str) -> dict[str, object]:
    """Return those that a row has."""
    return {name: _text(row, name) for name in names if name in row}


def _text(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise Unreadable(name)
    return value
