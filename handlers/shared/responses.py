"""Answers, and the proxy responses that API Gateway makes HTTP of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handlers.shared.requests import InvalidRequest


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


def failed(error: str, transaction_id: str | None, *, queued: bool) -> Answer:
    """Return the 500 of a payment that could not be taken further, and who tries it again."""
    return Answer(
        500,
        {
            "error": error,
            "message": (
                "The request could not be completed now and will be retried"
                if queued
                else "The request could not be completed; please send it again"
            ),
            **({"transaction_id": transaction_id} if transaction_id else {}),
            "retry": "queued" if queued else "not queued",
        },
    )
