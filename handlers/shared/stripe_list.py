"""Stripe's list of payments, page by page, and which payment of a transaction is in it.

Stripe's search is never asked, for it lags behind (Stripe, "Search").
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from math import ceil, floor
from typing import TYPE_CHECKING

from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayPayment,
    GatewayUnavailable,
    NoCharge,
    Open,
    Pending,
)
from handlers.shared.stripe_api import Call, Object, Refused
from handlers.shared.stripe_payment import payment_of

if TYPE_CHECKING:
    # When the payments of a list were made: from the first moment until before the second, if any.
    Span = tuple[datetime, datetime | None]

PAYMENTS = "payment_intents"
# The most that a list takes (Stripe, "Pagination").
PAGE_SIZE = 100


def page(call: Call, span: Span, cursor: str | None) -> tuple[list[Object], bool]:
    """Return a page of a list, the newest first, and whether there is another one after it."""
    params = _created(span) | {"limit": str(PAGE_SIZE)}
    if cursor is not None:
        params["starting_after"] = cursor
    try:
        listed = call.get(PAYMENTS, params)
    except Refused as refused:
        raise GatewayUnavailable(refused.told) from refused
    intents, more = listed["data"], listed["has_more"]
    if type(more) is not bool or not isinstance(intents, list) or (more and not intents):
        raise TypeError("a list has its payments, and says whether there are more")
    return intents, more


def search(
    call: Call, transaction_id: str, account: str, *spans: Span
) -> GatewayPayment | NoCharge | None:
    """Return the payment of a transaction in some lists, NoCharge if none has one, and None if
    they come to no end in time."""
    found: list[GatewayPayment] = []
    for span in spans:
        for intents in _pages(call, span):
            if intents is None:
                return None
            found += [
                payment_of(intent, account)
                for intent in intents
                if _transaction_id(intent) == transaction_id
            ]
            charged = [each for each in found if isinstance(each.outcome, Charged)]
            if charged:
                return charged[0]
    return min(found, key=_rank, default=NoCharge())


def _pages(call: Call, span: Span) -> Iterator[list[Object] | None]:
    """Yield each page of a list; None, as the last, if there was no time for all."""
    cursor, more = None, True
    while more:
        if call.is_over:
            yield None
            return
        intents, more = page(call, span, cursor)
        cursor = str(intents[-1]["id"]) if intents else None
        yield intents


def _created(span: Span) -> dict[str, str]:
    """Return a span in whole seconds since 1970, as Stripe has it."""
    since, until = span
    created = {"created[gte]": str(max(0, floor(since.timestamp())))}
    return created if until is None else created | {"created[lt]": str(ceil(until.timestamp()))}


def _transaction_id(intent: Object) -> object:
    metadata = intent.get("metadata")
    return metadata.get("transaction_id") if isinstance(metadata, dict) else None


def _rank(payment: GatewayPayment) -> int:
    """Return how early a payment comes among several of one transaction."""
    kinds = (Charged, Pending, Declined, Open)
    kind = next((kind for kind in kinds if isinstance(payment.outcome, kind)), None)
    return len(kinds) if kind is None else kinds.index(kind)
