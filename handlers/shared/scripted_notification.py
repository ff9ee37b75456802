"""What the scripted gateway would tell by itself: it does so only by the hand of somebody else.

The body is a JSON object with type, and payment_id, account and mode; the header HEADER has its
signature (see `notifications.py`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from handlers.shared.notifications import (
    InvalidNotification,
    Notification,
    check_signature,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

HEADER = "scripted-signature"
# With what it signs if its secret does not say: it moves no money, and nobody relies on its word.
SIGNING_SECRET = "scripted"
# What the type of all that is about a payment begins with.
ABOUT_PAYMENTS = "payment."


def notification(
    headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: datetime
) -> Notification | None:
    """Return what a signed body is about, None if that is no payment.

    Raises InvalidNotification.
    """
    check_signature(headers.get(HEADER), body, secrets, now)
    try:
        told = json.loads(body)
    except ValueError as error:  # of UTF-8, or of JSON
        raise InvalidNotification("unreadable") from error
    match told:
        case {"type": str(kind)} if not kind.startswith(ABOUT_PAYMENTS):
            return None
        case {"type": str(), "payment_id": str(payment_id), "account": str(account), "mode": mode}:
            return Notification(payment_id, account, str(mode))
    raise InvalidNotification("unreadable")


def signed(
    payment_id: str,
    moment: datetime,
    *,
    account: str = "scripted",
    mode: str = "test",
    kind: str = f"{ABOUT_PAYMENTS}updated",
    secret: str = SIGNING_SECRET,
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a notification, as the gateway would send it then."""
    told = {"type": kind, "payment_id": payment_id, "account": account, "mode": mode}
    body = json.dumps(told).encode()
    return {HEADER: sign(body, secret, moment), "content-type": "application/json"}, body
