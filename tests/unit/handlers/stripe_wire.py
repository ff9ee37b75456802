"""Stripe at the end of a wire: it answers what a test says, and takes down what it is asked.

Its objects are as Stripe's documentation has them ("The PaymentIntent object", "Errors",
"Pagination"), with the fields that the gateway reads.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from handlers.shared.stripe import StripeGateway
from handlers.shared.stripe_api import Api
from handlers.shared.stripe_http import HttpAnswer, HttpRequest, NotAnswered, NotSent
from handlers.shared.stripe_secret import parse_secret

ACCOUNT = "acct_1Canary"
KEY = "rk_test_canary0123456789"
SIGNING = "whsec_canary0123456789"
CLIENT_SECRET = "pi_1_secret_canary"
BANK = "https://hooks.stripe.com/redirect/authenticate/canary"
CREATED = 1_790_000_000
NOW = datetime.fromtimestamp(CREATED, UTC)

Failure = NotSent | NotAnswered


def secret(**fields: object) -> str:
    """Return the text of a secret; fields that are None are left out."""
    told = {"api_key": KEY, "account": ACCOUNT, "signing_secrets": [SIGNING], **fields}
    return json.dumps({name: value for name, value in told.items() if value is not None})


def intent(**fields: Any) -> dict[str, Any]:
    """Return a PaymentIntent that was prepared."""
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 10050,
        "amount_received": 0,
        "client_secret": CLIENT_SECRET,
        "created": CREATED,
        "currency": "usd",
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {"transaction_id": "t-1"},
        "next_action": None,
        "status": "requires_confirmation",
        **fields,
    }


def succeeded(**fields: Any) -> dict[str, Any]:
    """Return one that is paid."""
    paid = {"status": "succeeded", "amount_received": 10050, "latest_charge": "ch_1"}
    return intent(**{**paid, **fields})


def error(code: str | None = None, kind: str = "invalid_request_error", **fields: Any) -> Any:
    """Return an error; its text is of nobody's concern."""
    told = {"type": kind, "code": code, "message": f"canary {KEY}", **fields}
    return {"error": {name: value for name, value in told.items() if value is not None}}


def listed(*intents: dict[str, Any], more: bool = False) -> dict[str, Any]:
    """Return a page of a list."""
    return {"object": "list", "data": list(intents), "has_more": more, "url": "/v1/payment_intents"}


def answer(body: Any, status: int = 200, **headers: str) -> HttpAnswer:
    """Return an answer; the names of headers have underscores here."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status, {"request-id": "req_1", **named}, sent)


class Wire:
    """Answers each request with the next of `answers`, which may be a failure; `now` is its clock.

    Each answer takes `seconds`; an answer that would come later than it is waited for does not.
    """

    def __init__(self) -> None:
        self.answers: list[HttpAnswer | Failure] = []
        self.requests: list[HttpRequest] = []
        self.waits: list[float] = []
        self.now = 1_000.0
        self.seconds = 0.1

    def carry(self, request: HttpRequest, seconds: float) -> HttpAnswer:
        """Carry a request, and its answer back."""
        assert 0 < seconds <= 5.5
        self.requests.append(request)
        if self.seconds > seconds:
            self.now += seconds
            raise NotAnswered("timeout")
        self.now += self.seconds
        came = self.answers.pop(0)
        if isinstance(came, HttpAnswer):
            return came
        raise came

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.waits.append(seconds)
        self.now += seconds

    def gateway(self, **fields: object) -> StripeGateway:
        """Return the gateway at this end of the wire."""
        api = Api(parse_secret(secret(**fields)), self.carry, lambda: self.now, self.wait)
        return StripeGateway(None, api)

    def say(self, *answers: HttpAnswer | Failure | dict[str, Any]) -> None:
        """Have these answered next."""
        self.answers += [
            answer(each) if isinstance(each, dict) else each  # of 200
            for each in answers
        ]

    def asked(self) -> list[str]:
        """Return method and path of each request."""
        return [f"{each.method} {urlsplit(each.url).path}" for each in self.requests]

    def params(self, number: int = -1) -> dict[str, str]:
        """Return the parameters of a request."""
        request = self.requests[number]
        return dict(parse_qsl(request.body or urlsplit(request.url).query, strict_parsing=True))
