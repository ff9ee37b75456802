"""What a gateway tells by itself, and how it proves that it is the one who tells.

The signature is the one that most gateways have: a header `t=SECONDS,v1=HEX`, in which HEX is the
HMAC-SHA256 of the seconds, a dot and the body, as it was sent (Stripe, "Resolve webhook signature
verification errors"). The seconds are those at which it was signed, since 1970.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from handlers.shared.clock import epoch_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

# The same as Stripe's libraries have; a notification that is sent again is signed anew.
MAX_AGE_SECONDS = 5 * 60


class InvalidNotification(Exception):
    """Nobody knows that the gateway has sent it; code is one word for why, and goes into the log.

    So nothing of the notification may be in it.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Notification:
    """A gateway's word that something of a payment has changed: a hint to ask what.

    payment_id is the gateway's own; account and mode are whose payment it is, where it says so.
    """

    payment_id: str
    account: str | None = None
    mode: str | None = None


def sign(body: bytes, secret: str, moment: datetime) -> str:
    """Return the header of a signature made at a moment."""
    seconds = str(epoch_seconds(moment))
    return f"t={seconds},v1={_digest(body, secret, seconds)}"


def check_signature(header: str | None, body: bytes, secrets: Iterable[str], now: datetime) -> None:
    """Make sure that a body was signed with one of the secrets within MAX_AGE_SECONDS.

    There are several secrets, and several signatures in a header, while a secret is changed. A
    clock may be wrong, so a signature may also be as much ahead. Raises InvalidNotification.
    """
    pairs = [part.strip().partition("=") for part in (header or "").split(",")]
    moments = [value for name, _, value in pairs if name == "t"]
    signatures = [value.encode() for name, _, value in pairs if name == "v1"]
    if len(moments) != 1 or not signatures:
        raise InvalidNotification("unsigned")
    [seconds] = moments
    # All are compared, each in constant time, so that the time tells nothing of them.
    equal = [
        hmac.compare_digest(_digest(body, secret, seconds).encode(), signature)
        for secret in secrets
        for signature in signatures
    ]
    if not any(equal):
        raise InvalidNotification("forged")
    # What was signed is a time, or the gateway is another one.
    if not (seconds.isascii() and seconds.isdecimal()):
        raise InvalidNotification("undated")
    if abs(epoch_seconds(now) - int(seconds)) > MAX_AGE_SECONDS:
        raise InvalidNotification("old")


def _digest(body: bytes, secret: str, seconds: str) -> str:
    signed = seconds.encode() + b"." + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
