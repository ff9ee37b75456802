"""Notifications: what Stripe tells by itself ("Receive Stripe events in your webhook endpoint").

Each change of a payment makes an event. It is kept, so that a test delivers it late, twice, in
another order, or not at all.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

import urllib3

SEND_SECONDS = 30


@dataclass(frozen=True)
class Event:
    """kind is what has happened to the payment, which is as it was then."""

    id: str
    kind: str
    created: int
    payment: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """The event as it is sent ("The Event object")."""
        told = {
            "id": self.id,
            "object": "event",
            "api_version": "2026-01-28.clover",
            "created": self.created,
            "data": {"object": self.payment},
            "livemode": self.payment["livemode"],
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": self.kind,
        }
        return json.dumps(told, indent=2).encode()


def signature(body: bytes, secrets: Sequence[str], moment: datetime) -> str:
    """Return the header Stripe-Signature, with a signature for each secret that is in use."""
    seconds = int(moment.timestamp())
    signed = str(seconds).encode() + b"." + body
    made = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join((f"t={seconds}", *(f"v1={one}" for one in made)))


def headers(body: bytes, secrets: Sequence[str], moment: datetime) -> dict[str, str]:
    """Return the headers that a notification comes with."""
    return {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": signature(body, secrets, moment),
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }


def send(url: str, event: Event, secrets: Sequence[str], moment: datetime) -> int:
    """Send an event to a URL; return the status of the answer."""
    told = headers(event.body, secrets, moment)
    with urllib3.PoolManager(retries=False, timeout=SEND_SECONDS) as pool:
        return pool.request("POST", url, body=event.body, headers=told, redirect=False).status


@dataclass
class Events:
    """The events, in the order in which they were made."""

    made: list[Event] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def add(self, kind: str, created: int, payment: Mapping[str, Any]) -> Event:
        event = Event(f"evt_{next(self._numbers):024d}", kind, created, payment)
        self.made.append(event)
        return event

    def of(self, payment_id: str) -> list[Event]:
        """Return the events of a payment."""
        return [event for event in self.made if event.payment["id"] == payment_id]
