"""Answers, and the proxy responses that API Gateway makes HTTP of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from handlers.shared.requests import location

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from handlers.shared.requests import Event, InvalidRequest
    from handlers.shared.standings import Standing

# The payment is pending, has an end of its own, or goes on by itself.
LOCATED = frozenset({202, 409, 500})


@dataclass(frozen=True)
class Answer:
    """What a client is told: the HTTP status, a JSON object, and headers beyond the usual ones."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)


def proxy_response(answer: Answer, request_id: str) -> dict[str, Any]:
    """Return an answer in the output format of a Lambda proxy integration."""
    return {
        "statusCode": answer.status,
        "headers": {
            "Content-Type": "application/json",
            "X-Request-Id": request_id,
            **answer.headers,
        },
        "body": json.dumps(answer.body),
        "isBase64Encoded": False,
    }


def bad_request(refusal: InvalidRequest) -> Answer:
    """Return the 400 that tells the client what to change."""
    return Answer(400, refusal.body)


def not_found(transaction_id: str) -> Answer:
    """Return the 404 of a payment that there is not, or not for this caller."""
    return Answer(404, {"error": "Transaction not found", "transaction_id": transaction_id})


def located(answer: Answer, event: Event, transaction_id: str | None) -> Answer:
    """Return an answer with the place where the payment can be looked up, if that has news."""
    if transaction_id is None or answer.status not in LOCATED:
        return answer
    where = {"Location": location(event, transaction_id)}
    return replace(answer, headers={**answer.headers, **where})


def in_progress(standing: Standing, now: datetime) -> Answer:
    """Return the 409 of a payment that an attempt holds, and until when at most it does so."""
    return Answer(
        409,
        {"error": "Transaction in progress", "transaction_id": standing.transaction_id},
        {"Retry-After": str(standing.lease_seconds_left(now))},
    )


# What is known of a request that nobody will repeat but its client.
TRY_AGAIN = "The request could not be completed; please send it again"
OUTCOME_UNKNOWN = (
    "The outcome is unknown: the payment may have been charged, or may still be. Ask again with the"
    " same transaction_id"
)
NOT_CHARGED = (
    "The stored payment is not what was validated, so this request has not charged it; somebody has"
    " to look after it"
)
_WILL_BE_RETRIED = "The request could not be completed now and will be retried"


def failed(
    error: str, transaction_id: str | None, *, queued: bool, unqueued: str = TRY_AGAIN
) -> Answer:
    """Return the 500 of a payment that could not be taken further, and who tries it again.

    `unqueued` is what the client is told if no one else does.
    """
    return Answer(
        500,
        {
            "error": error,
            "message": _WILL_BE_RETRIED if queued else unqueued,
            **({"transaction_id": transaction_id} if transaction_id else {}),
            "retry": "queued" if queued else "not queued",
        },
    )
