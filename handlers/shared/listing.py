"""One page of the gateway's own list of payments, for whoever compares the rows with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from handlers.shared.clock import timestamp
from handlers.shared.fields import InvalidField, parse_transaction_id
from handlers.shared.gateway import GATEWAY_TIMEOUT_SECONDS, MAX_LISTED, lists, marks_of
from handlers.shared.known import NotDone, described
from handlers.shared.needs import minor_units

if TYPE_CHECKING:
    from handlers.shared.deadline import Deadline
    from handlers.shared.gateway import AnyGateway, GatewayPayment
    from handlers.shared.known import Told


def page(
    gateway: AnyGateway, since: object, until: object, cursor: object, deadline: Deadline
) -> Told:
    """Return a page of the payments that were made from `since` until before `until`.

    The two are ISO 8601 with an offset, and the cursor is that of the page before, None for the
    first. A page is its `payments`, the `cursor` of the next one, None after the last, and the
    `marks` of the gateway as rows have them. Of a payment there are id, amount (in the gateway's
    own units), amount_minor (in ISO 4217's, None if these cannot hold it), currency, created_at,
    what it came to as `described`, and transaction_id, None if it is none of ours. Never where a
    customer has to go.

    Raises NotDone if the gateway cannot list, DependencyFailed, or TypeError for a list that is not
    as the protocol has it.
    """
    begins, ends = _moment("since", since), _moment("until", until)
    if not isinstance(cursor, str | None):
        raise NotDone("not_an_order", "cursor")
    if not lists(gateway):
        raise NotDone("not_listing")
    deadline.require(GATEWAY_TIMEOUT_SECONDS)
    listed = gateway.payments(begins, ends, cursor)
    if len(listed.payments) > MAX_LISTED or not isinstance(listed.cursor, str | None):
        raise TypeError("a page has MAX_LISTED payments at most, and a text for a cursor")
    if listed.cursor is not None and listed.cursor == cursor:
        raise TypeError("a page of a list leads to another one")
    return {
        "payments": [_told(gateway, payment, begins, ends) for payment in listed.payments],
        "cursor": listed.cursor,
        "marks": marks_of(gateway).attributes,
    }


def _told(
    gateway: AnyGateway, payment: GatewayPayment, begins: datetime, ends: datetime
) -> dict[str, object]:
    marks, made_at = marks_of(gateway), payment.created_at
    if (payment.account, payment.mode) != (marks.account, marks.mode):
        raise TypeError("a gateway lists the payments of its own account and mode")
    if made_at is None or not begins <= made_at < ends:
        raise TypeError("a gateway lists what was made within the two moments, and tells when")
    if not isinstance(payment.id, str) or not payment.id or type(payment.amount) is not int:
        raise TypeError("a listed payment has a text for an id, and a whole amount")
    return {
        **described(payment),
        "transaction_id": _ours(payment.transaction_id),
        "amount": payment.amount,
        "amount_minor": minor_units(gateway, payment.amount, payment.currency),
        "currency": payment.currency,
        "created_at": timestamp(made_at.astimezone(UTC)),
    }


def _ours(transaction_id: object) -> str | None:
    try:
        return parse_transaction_id(transaction_id)
    except InvalidField:
        return None


def _moment(name: str, text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise NotDone("not_an_order", name)
    return moment
