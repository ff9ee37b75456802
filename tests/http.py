"""The deployed API as a client of HTTP sees it, in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.sdk import network

if TYPE_CHECKING:
    import pytest

URL = "https://abc.execute-api.eu-central-1.amazonaws.com/prod/"
Body = Mapping[str, Any]


@dataclass
class Response:
    status_code: int
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()


@dataclass
class FakeHttp:
    """The deployed API as a client of HTTP sees it; `answers` overrule what it would say.

    One that is signed answers 403 where there is no signature, and one whose health is closed so
    does there; an authorizer may say 401.
    """

    signed: bool = False
    closed: bool = False
    unsigned_status: int = 403
    answers: dict[str, Response | Exception] = field(default_factory=dict)
    requests: list[Any] = field(default_factory=list)
    processed: bool = False

    def send(self, request: Any) -> Response:
        self.requests.append(request)
        path = request.url.removeprefix(URL)
        overruled = self.answers.get(path)
        if isinstance(overruled, Exception):
            raise overruled
        wants = self.closed if path == "health" else self.signed
        if wants and "Authorization" not in request.headers:
            return overruled or self._answer(self.unsigned_status, {"error": "Forbidden"})
        return overruled or self._answer(*self._decide(path, json.loads(request.body or b"{}")))

    def _decide(self, path: str, body: Body) -> tuple[int, Body]:
        if path.startswith("transactions/"):
            return 200, {"status": "processed" if self.processed else "validated"}
        if path == "health":
            return 200, {"overall_status": "healthy"}
        if path == "validate":
            if "amount" not in body:
                return 400, {"error": "Validation failed"}
            if body["amount"] <= 0:
                return 400, {"error": "Invalid amount"}
            return 200, {"status": "validated", "transaction_id": "known"}
        if body["transaction_id"] != "known":
            return 404, {"error": "Transaction not found"}
        if path == "cancel" and self.processed:
            return 409, {"error": "Transaction already processed", "status": "processed"}
        if path == "cancel":
            return 200, {"message": "Payment canceled", "status": "canceled"}
        if self.processed:
            return 200, {"message": "Transaction already processed", "status": "processed"}
        self.processed = True
        return 200, {"message": "Payment processed successfully", "status": "processed"}

    def _answer(self, status: int, body: Body) -> Response:
        return Response(status, json.dumps(body).encode())


def answering(monkeypatch: pytest.MonkeyPatch) -> FakeHttp:
    """Let it answer whoever calls the API from now on."""
    http = FakeHttp()
    monkeypatch.setattr(network, "URLLib3Session", lambda **_: http)
    return http
