"""What the gateway in two steps tells by itself: it is told again until it is taken.

A network may lose it, keep it for days, and bring it twice or in another order; and anybody can
send what only looks like it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from handlers.shared import scripted_notification
from handlers.shared.notifications import MAX_AGE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handlers.shared.notifications import Notification

SIGNING_SECRET = "the gateway's own"


class Forgery(StrEnum):
    """What is wrong with a notification that the gateway has not sent at this moment."""

    UNSIGNED = "without a signature"
    OTHER_SECRET = "signed with another secret"
    OTHER_BODY = "signed, but of another body"
    OLD = "signed some minutes ago"


@dataclass(eq=False)
class Notice:
    """That something of a payment has changed; told until it is taken, by an answer with 200."""

    payment_id: str
    transaction_id: str
    account: str
    is_taken: bool = False

    def sent(
        self, moment: datetime, forgery: Forgery | None = None
    ) -> tuple[Mapping[str, str], str]:
        """Return headers and body as they are sent at a moment."""
        secret = "another" if forgery is Forgery.OTHER_SECRET else SIGNING_SECRET
        if forgery is Forgery.OLD:
            moment -= timedelta(seconds=2 * MAX_AGE_SECONDS)
        headers, body = scripted_notification.signed(
            self.payment_id, moment, account=self.account, secret=secret
        )
        if forgery is Forgery.UNSIGNED:
            headers = {}
        return headers, body.decode() + " " * (forgery is Forgery.OTHER_BODY)


def verified(headers: Mapping[str, str], body: bytes, now: datetime) -> Notification | None:
    """Return what a notification is about. Raises InvalidNotification if it is forged."""
    return scripted_notification.notification(headers, body, [SIGNING_SECRET], now)
