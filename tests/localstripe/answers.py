"""What Stripe answers, in the shapes of its documentation ("Errors", "Error codes")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INVALID = "invalid_request_error"


@dataclass(frozen=True)
class Answer:
    """body is JSON, or bytes that are none; stored is whether an idempotency key keeps it.

    Stripe stores what came of a call that was carried out, and not that one was refused before.
    """

    status: int
    body: Mapping[str, Any] | bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    stored: bool = True


class Refused(Exception):
    """Stripe refuses a call."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def error(
    status: int,
    kind: str,
    message: str,
    code: str | None = None,
    *,
    stored: bool = False,
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> Answer:
    """Return an error; `more` are further fields of it."""
    fields = {"code": code, "message": message, "type": kind, **more}
    told = {name: value for name, value in fields.items() if value is not None}
    return Answer(status, {"error": told}, headers or {}, stored)


def failure() -> Answer:
    """Return the failure that is stored with the key."""
    return error(500, "api_error", "An unknown error occurred", stored=True)


def unavailable() -> Answer:
    """Return the failure of a call that was not carried out."""
    return error(503, "api_error", "Stripe is temporarily unavailable")


def too_many(after: int | None = None) -> Answer:
    """Return the refusal of too many calls; `after` is for how many seconds."""
    headers = {} if after is None else {"Retry-After": str(after)}
    return error(429, INVALID, "Request rate limit exceeded.", "rate_limit", headers=headers)


def locked() -> Answer:
    """Return the refusal of a call for an object that another call holds."""
    message = "This object cannot be accessed right now because another API request is."
    return error(429, INVALID, message, "lock_timeout")


def in_use() -> Answer:
    """Return the refusal of a key that another call has, which is not over."""
    message = "There is currently another in-progress request using this Idempotent Key."
    return error(409, "idempotency_error", message, "idempotency_key_in_use")


def reused() -> Answer:
    """Return the refusal of a key that came with other parameters before."""
    message = "Keys for idempotent requests can only be used with the same parameters."
    return error(400, "idempotency_error", message)


def unauthorized(*, expired: bool) -> Answer:
    """Return the refusal of an API key that is none, or was rotated."""
    if expired:
        return error(401, INVALID, "Expired API Key provided.", "api_key_expired")
    return error(401, INVALID, "Invalid API Key provided.")


def forbidden() -> Answer:
    """Return the refusal of a restricted key that lacks a permission."""
    message = "The provided key does not have the required permissions for this endpoint."
    return error(403, INVALID, message, "more_permissions_required_for_application")


def missing(what: str, name: str, parameter: str) -> Answer:
    """Return that there is no such object."""
    message = f"No such {what}: '{name}'"
    # A path that leads nowhere is a 404, and a parameter a 400.
    status = 404 if parameter == "intent" else 400
    return error(status, INVALID, message, "resource_missing", param=parameter)


def unknown_parameter(name: str) -> Answer:
    """Return the refusal of a parameter that does not exist."""
    message = f"Received unknown parameter: {name}"
    return error(400, INVALID, message, "parameter_unknown", param=name)


def unexpected_state(verb: str, payment: Mapping[str, Any]) -> Answer:
    """Return that a payment is not in a state in which it can be confirmed, or canceled."""
    message = f"You cannot {verb} this PaymentIntent because it has a status of {payment['status']}"
    code = "payment_intent_unexpected_state"
    return error(400, INVALID, message, code, stored=True, payment_intent=payment)
