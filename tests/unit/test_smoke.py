from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ConnectionError as NoConnection

from payment_infra.cloud import smoke
from payment_infra.errors import AwsError

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
    """The deployed API as a client of HTTP sees it; `answers` overrule what it would say."""

    signed: bool = False
    answers: dict[str, Response | Exception] = field(default_factory=dict)
    requests: list[Any] = field(default_factory=list)
    processed: bool = False

    def send(self, request: Any) -> Response:
        self.requests.append(request)
        path = request.url.removeprefix(URL)
        if self.signed and request.method == "POST" and "Authorization" not in request.headers:
            return self._answer(403, {"error": "Forbidden", "message": "not signed"})
        overruled = self.answers.get(path)
        if isinstance(overruled, Exception):
            raise overruled
        return overruled or self._answer(*self._decide(path, json.loads(request.body or b"{}")))

    def _decide(self, path: str, body: Body) -> tuple[int, Body]:
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
        if self.processed:
            return 200, {"message": "Transaction already processed", "status": "processed"}
        self.processed = True
        return 200, {"message": "Payment processed successfully", "status": "processed"}

    def _answer(self, status: int, body: Body) -> Response:
        return Response(status, json.dumps(body).encode())


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> FakeHttp:
    http = FakeHttp()
    monkeypatch.setattr(smoke, "URLLib3Session", lambda **_: http)
    return http


def api() -> smoke.Api:
    return smoke.Api(URL, "eu-central-1", lambda: Credentials("AKIDEXAMPLE", "secret"))


def outcome(check: smoke.Check) -> tuple[str, str]:
    return check.expected, check.got


def test_a_sound_stack_passes_every_check_in_order(http: FakeHttp) -> None:
    checks = list(smoke.run(api()))
    assert [(one.name, *outcome(one)) for one in checks] == [
        ("validate", "200 validated", "200 validated"),
        ("process", "200 processed", "200 processed"),
        ("process again", "200 already processed", "200 already processed"),
        ("rejected amount", "400 Invalid amount", "400 Invalid amount"),
        ("unknown id", "404 Transaction not found", "404 Transaction not found"),
        ("health", "200 healthy", "200 healthy"),
    ]
    assert all(one.passed for one in checks)


def test_what_an_open_api_gets_is_not_signed(http: FakeHttp) -> None:
    list(smoke.run(api()))
    assert not [one for one in http.requests if "Authorization" in one.headers]


def test_what_an_api_that_wants_it_gets_is_signed_but_for_health(http: FakeHttp) -> None:
    http.signed = True
    assert all(one.passed for one in smoke.run(api()))
    # The first request, without a payment, finds out.
    first, *posts, health = http.requests
    assert (first.url, first.body) == (f"{URL}validate", b"{}")
    assert "Authorization" not in first.headers
    for request in posts:
        signature = request.headers["Authorization"]
        signature = signature.decode() if isinstance(signature, bytes) else signature
        assert "/eu-central-1/execute-api/aws4_request" in signature
    assert (health.method, "Authorization" in health.headers) == ("GET", False)


@pytest.mark.parametrize(
    ("path", "answer", "failed", "got"),
    [
        ("validate", Response(500, b'{"error": "Validation failed"}'), "validate", "500 "),
        ("health", Response(200, b'{"overall_status": "degraded"}'), "health", "200 degraded"),
        ("health", Response(502, b"<html>"), "health", "502 <html>"),
        ("health", Response(200, b"[]"), "health", "200 []"),
        ("health", NoConnection(error=OSError("reset")), "health", "no answer: ConnectionError"),
    ],
)
def test_any_other_answer_fails_its_check_and_is_shown(
    path: str, answer: Response | Exception, failed: str, got: str, http: FakeHttp
) -> None:
    http.answers[path] = answer
    checks = {one.name: one for one in smoke.run(api())}
    assert not checks[failed].passed
    assert checks[failed].got.startswith(got)
    assert len(checks) == 6


def test_the_right_body_with_the_wrong_status_fails(http: FakeHttp) -> None:
    http.answers["health"] = Response(503, b'{"overall_status": "healthy"}')
    assert [one.name for one in smoke.run(api()) if not one.passed] == ["health"]


def test_nothing_at_the_address_ends_it_at_once(http: FakeHttp) -> None:
    http.answers["validate"] = NoConnection(error=OSError("refused"))
    with pytest.raises(AwsError) as failed:
        list(smoke.run(api()))
    expected = f"{URL}: no answer (ConnectionError); is the stack deployed whole?"
    assert str(failed.value) == expected
    assert len(http.requests) == 1


@pytest.mark.parametrize(
    ("endpoint_url", "expected"),
    [
        (None, URL),
        ("http://127.0.0.1:4566", "http://127.0.0.1:4566/_aws/execute-api/abc/prod/"),
        ("http://127.0.0.1:4566/", "http://127.0.0.1:4566/_aws/execute-api/abc/prod/"),
    ],
)
def test_an_api_is_called_at_its_own_address_or_at_its_place_on_an_emulator(
    endpoint_url: str | None, expected: str
) -> None:
    assert smoke.invoke_url({"APIEndpoint": URL}, endpoint_url) == expected


def test_a_stack_without_an_api_cannot_be_called() -> None:
    with pytest.raises(AwsError):
        smoke.invoke_url({"Other": "thing"}, None)
