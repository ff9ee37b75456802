from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ConnectionError as NoConnection

from payment_infra.cli.smoke import run_checks
from payment_infra.cloud.environment import smoke
from payment_infra.errors import AwsError, PaymentInfraError, UsageError
from payment_infra.gateway_names import (
    SCRIPTED_GATEWAY,
    SIMULATED_GATEWAY,
    STRIPE_GATEWAY,
    gateway_name,
)
from tests.http import URL, FakeHttp, Response, answering


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> FakeHttp:
    return answering(monkeypatch)


NOTHING = "the endpoint: the connection has failed (OSError); check the network"


def no_pause(_: float) -> None: ...


def api() -> smoke.Api:
    return smoke.Api(URL, "eu-central-1", lambda: Credentials("AKIDEXAMPLE", "secret"))


def outcome(check: smoke.Check) -> tuple[str, str]:
    return check.expected, check.got


def test_a_sound_stack_passes_every_check_in_order(http: FakeHttp) -> None:
    checks = list(smoke.run(api(), charge=True))
    assert [(one.name, *outcome(one)) for one in checks] == [
        ("validate", "200 validated", "200 validated"),
        ("process", "200 processed", "200 processed"),
        ("process again", "200 already processed", "200 already processed"),
        ("look up", "200 processed", "200 processed"),
        ("cancel", "409 already processed", "409 already processed"),
        ("rejected amount", "400 Invalid amount", "400 Invalid amount"),
        ("unknown id", "404 Transaction not found", "404 Transaction not found"),
        ("health", "200 healthy", "200 healthy"),
    ]
    assert all(one.passed for one in checks)


def test_stripe_is_asked_for_no_charge_without_a_payment_method_of_its_own(
    http: FakeHttp,
) -> None:
    lacking = "a charge takes a payment method of stripe's; name one by --payment-method"
    verdict = smoke.judge(api(), STRIPE_GATEWAY, no_pause, pay=True)
    [caution] = verdict.cautions
    assert (verdict.failed, http.processed) == ("", False)
    assert caution.startswith(f"not tried: {lacking}")
    http.requests.clear()
    with pytest.raises(UsageError, match=f"^{lacking}"):
        run_checks(api(), STRIPE_GATEWAY, pay=True, verbose=False)
    assert not http.requests
    assert smoke.judge(
        api(), STRIPE_GATEWAY, no_pause, pay=True, method="pm_card_visa"
    ) == smoke.Verdict("", ())
    assert http.processed


def test_the_payment_has_what_a_gateway_needs_by_the_token_that_was_named(
    http: FakeHttp,
) -> None:
    for method, sent in (("", "smoke-check"), ("pm_test", "pm_test")):
        http.requests.clear()
        smoke.judge(api(), "acme:Acme", no_pause, pay=True, method=method)
        payments = [json.loads(one.body) for one in http.requests if one.url.endswith("validate")]
        payments = [payment for payment in payments if payment]  # others ask for a signature
        assert {payment["payment_method"] for payment in payments} == {sent}
        assert all(payment["return_url"].startswith("https://") for payment in payments)


def test_what_an_open_api_gets_is_not_signed(http: FakeHttp) -> None:
    list(smoke.run(api(), charge=True))
    assert not [one for one in http.requests if "Authorization" in one.headers]


@pytest.mark.parametrize("status", [401, 403])
def test_what_an_api_that_wants_it_gets_is_signed_but_for_health(
    http: FakeHttp, status: int
) -> None:
    http.signed, http.unsigned_status = True, status
    assert all(one.passed for one in smoke.run(api(), charge=True))
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
        (
            "health",
            NoConnection(error=OSError("reset")),
            "health",
            f"no answer: {NOTHING}",
        ),
    ],
)
def test_any_other_answer_fails_its_check_and_is_shown(
    path: str, answer: Response | Exception, failed: str, got: str, http: FakeHttp
) -> None:
    http.answers[path] = answer
    checks = {one.name: one for one in smoke.run(api(), charge=True)}
    assert not checks[failed].passed
    assert checks[failed].got.startswith(got)
    assert len(checks) == 8


@pytest.mark.parametrize(("name", "path"), [("look up", "/transactions/"), ("cancel", "/cancel")])
def test_the_api_of_an_earlier_release_is_not_asked_for_what_it_lacks(
    http: FakeHttp, name: str, path: str
) -> None:
    credentials = Credentials("AKIDEXAMPLE", "secret")
    earlier = smoke.Api(URL, "eu-central-1", lambda: credentials, looks_up=False, cancels=False)
    assert name not in [one.name for one in smoke.run(earlier, charge=True)]
    assert not [one for one in http.requests if path in one.url]


def test_the_right_body_with_the_wrong_status_fails(http: FakeHttp) -> None:
    http.answers["health"] = Response(503, b'{"overall_status": "healthy"}')
    assert [one.name for one in smoke.run(api(), charge=True) if not one.passed] == ["health"]


def test_nothing_at_the_address_ends_it_at_once(http: FakeHttp) -> None:
    http.answers["validate"] = NoConnection(error=OSError("refused"))
    with pytest.raises(AwsError) as failed:
        list(smoke.run(api(), charge=True))
    expected = f"{URL}: no answer: {NOTHING}"
    assert str(failed.value) == expected
    assert len(http.requests) == 1


def test_a_gateway_gets_what_it_may_need(http: FakeHttp) -> None:
    list(smoke.run(api(), charge=True))
    payment = json.loads(http.requests[1].body or b"")
    assert payment["payment_method"] == "smoke-check"
    assert payment["return_url"].startswith("https://")


def test_without_a_charge_the_way_to_it_is_tried(http: FakeHttp) -> None:
    checks = list(smoke.run(api(), charge=False))
    assert [one.name for one in checks if one.passed] == [
        *("validate", "cancel", "rejected amount", "unknown id", "health"),
    ]
    [about] = [one for one in http.requests if b"known" in (one.body or b"")]
    assert about.url == f"{URL}cancel"
    assert (len(checks), http.processed) == (5, False)


@pytest.mark.parametrize(
    ("gateway", "pay", "charges"),
    [
        (SIMULATED_GATEWAY, False, True),
        (SCRIPTED_GATEWAY, False, True),
        ("acme:Acme", False, False),
        ("acme:Acme", True, True),
        (STRIPE_GATEWAY, False, False),
        (STRIPE_GATEWAY, True, True),
    ],
)
def test_a_real_gateway_charges_only_where_that_was_asked_for(
    http: FakeHttp, gateway: str, pay: bool, charges: bool
) -> None:
    verdict = smoke.judge(api(), gateway, no_pause, pay=pay, method="pm_card_visa")
    name = gateway_name(gateway)
    untried = f"not tried: a charge, which moves money at {name}; --pay makes one of 100.50 USD"
    assert verdict == smoke.Verdict("", () if charges else (untried,))
    assert http.processed == charges


ILL = {
    "overall_status": "degraded",
    "checks": [
        {"metric": "errors", "resource": "payment-retry", "status": "unhealthy"},
        {"metric": "latency", "resource": "payment-api", "status": "healthy"},
        {"metric": "age", "resource": "failed", "status": "unknown"},
        "rubbish",
    ],
}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            Response(200, json.dumps(ILL).encode()),
            "errors of payment-retry is unhealthy, age of failed is unknown",
        ),
        (Response(200, b'{"overall_status": "degraded", "checks": 7}'), "200 degraded"),
        (Response(502, b"<html>"), "502 <html>"),
        (
            NoConnection(error=OSError("reset")),
            f"no answer: {NOTHING}",
        ),
    ],
)
def test_that_the_system_is_not_healthy_does_not_say_that_payments_fail(
    http: FakeHttp, answer: Response | Exception, told: str
) -> None:
    http.answers["health"] = answer
    text = f"the system is not healthy: {told}"
    assert smoke.judge(api(), SIMULATED_GATEWAY, no_pause, pay=False) == smoke.Verdict("", (text,))


@pytest.mark.parametrize("signed", [False, True])
def test_a_stage_that_has_just_let_payments_in_is_waited_for(http: FakeHttp, signed: bool) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 10:
            http.answers.clear()

    http.signed = signed
    http.answers["validate"] = Response(429, b'{"error": "Too many requests"}')
    verdict = smoke.judge(api(), SIMULATED_GATEWAY, sleep, pay=False)
    assert (verdict, sum(pauses)) == (smoke.Verdict("", ()), 20)


def test_a_stage_that_stays_stopped_fails(http: FakeHttp) -> None:
    pauses: list[float] = []
    http.answers["validate"] = Response(429, b'{"error": "Too many requests"}')
    verdict = smoke.judge(api(), SIMULATED_GATEWAY, pauses.append, pay=False)
    assert verdict.failed.startswith("validate: 429 ")
    assert sum(pauses) == 60


def test_that_payments_fail_is_told_whatever_the_health(http: FakeHttp) -> None:
    http.answers["validate"] = Response(500, b'{"error": "Validation failed"}')
    verdict = smoke.judge(api(), "acme:Acme", no_pause, pay=False)
    assert verdict.failed.startswith("validate: 500 Validation failed, not 200 ")
    http.answers["validate"] = NoConnection(error=OSError("refused"))
    assert smoke.judge(api(), "acme:Acme", no_pause, pay=False).failed == (
        f"{URL}: no answer: {NOTHING}"
    )


@pytest.mark.parametrize(("currency", "amount"), [("USD", 100.50), ("JPY", 100)])
def test_the_payment_is_in_the_currency_that_was_named(
    http: FakeHttp, currency: str, amount: float
) -> None:
    list(smoke.run(api(), charge=True, currency=currency))
    sent = [json.loads(one.body) for one in http.requests if one.url.endswith("validate")]
    assert {payment["currency"] for payment in sent if payment} == {currency}
    assert sorted(payment["amount"] for payment in sent if payment) == [-1, amount]


def test_a_currency_that_is_not_taken_is_told_with_how_to_name_another(
    http: FakeHttp, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = {"error": "Invalid currency", "message": "The payment gateway does not take the\x1b"}
    http.answers["validate"] = Response(400, json.dumps(refusal).encode())
    with pytest.raises(PaymentInfraError, match="checks failed"):
        run_checks(api(), SIMULATED_GATEWAY, pay=False, currency="MGA", verbose=False)
    told = (
        "Warning: MGA is not taken (The payment gateway does not take the\\x1b); name another by "
        "--currency\n"
    )
    assert told in capsys.readouterr().err


def test_the_command_says_what_it_has_not_tried(
    http: FakeHttp, capsys: pytest.CaptureFixture[str]
) -> None:
    run_checks(api(), "acme:Acme", pay=False, verbose=False)
    told = capsys.readouterr()
    assert told.err == (
        "Warning: not tried: a charge, which moves money at acme:Acme; --pay makes one of 100.50 "
        "USD\n"
    )
    assert "process again" not in told.out
    run_checks(api(), "acme:Acme", pay=True, method="pm_test", verbose=False)
    told = capsys.readouterr()
    assert (told.err, "process again" in told.out) == ("", True)


# An API that is out of reach.


class Detour:
    """The functions as who invokes them directly sees them."""

    told = "the API cannot be reached from here"

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self._api = FakeHttp()

    def call(self, verb: str, path: str, body: Any = None) -> smoke.Answer:
        self.calls.append((verb, path))
        content = None if body is None else json.dumps(body).encode()
        sent = AWSRequest(method=verb, url=f"{URL}{path}", data=content)
        answer = self._api.send(sent.prepare())
        return smoke.Answer(answer.status_code, json.loads(answer.text), 1.0)


def going_around(detour: Detour | None) -> tuple[smoke.Api, list[str]]:
    """Return an API that has this way around it, and how often and why it was asked for."""
    asked: list[str] = []

    def around(how: str) -> Detour | None:
        asked.append(how)
        return detour

    credentials = Credentials("AKIDEXAMPLE", "secret")
    return smoke.Api(URL, "eu-central-1", lambda: credentials, around), asked


@pytest.mark.parametrize(
    ("answer", "how"),
    [
        (
            NoConnection(error=OSError("timed out")),
            "no answer: the endpoint: the connection has failed (OSError)",
        ),
        (Response(403, b'{"message": "Forbidden"}'), "403 Forbidden"),
        (Response(403, b'{"error": "Request refused"}'), "403 Request refused"),
    ],
)
def test_an_api_that_is_out_of_reach_is_gone_around_from_the_first_request_on(
    http: FakeHttp, answer: Response | Exception, how: str
) -> None:
    http.answers["validate"] = answer
    detour = Detour()
    called, asked = going_around(detour)
    assert all(one.passed for one in smoke.run(called, charge=True))
    assert asked == [f"{URL} cannot be reached from here ({how})"]
    assert called.told == detour.told
    assert [path for _, path in detour.calls] == [
        *("validate", "validate", "process", "process", "transactions/known"),
        *("cancel", "validate", "process", "health"),
    ]
    # What an unsigned request is refused, a signed one may get: that is tried first.
    assert len(http.requests) == (1 if isinstance(answer, Exception) else 2)


def test_the_verdict_says_that_the_api_was_gone_around(http: FakeHttp) -> None:
    http.answers["validate"] = NoConnection(error=OSError("timed out"))
    called, _ = going_around(Detour())
    verdict = smoke.judge(called, SIMULATED_GATEWAY, no_pause, pay=False)
    assert verdict == smoke.Verdict("", (Detour.told,))


def test_an_api_that_has_answered_is_not_gone_around(http: FakeHttp) -> None:
    called, asked = going_around(Detour())
    called.find_authorization()
    http.answers["process"] = NoConnection(error=OSError("reset"))
    assert [one.name for one in smoke.run(called, charge=False) if not one.passed] == ["unknown id"]
    assert (asked, called.told) == ([], "")


def test_without_a_way_around_it_nothing_at_the_address_is_an_error(http: FakeHttp) -> None:
    http.answers["validate"] = NoConnection(error=OSError("refused"))
    called, asked = going_around(None)
    with pytest.raises(AwsError, match="no answer"):
        list(smoke.run(called, charge=True))
    assert len(asked) == 1


def test_a_health_that_is_closed_is_asked_by_a_signed_request(http: FakeHttp) -> None:
    http.closed = True
    assert all(one.passed for one in smoke.run(api(), charge=True))
    refused, asked = http.requests[-2:]
    assert [one.method for one in (refused, asked)] == ["GET", "GET"]
    assert ["Authorization" in one.headers for one in (refused, asked)] == [False, True]


def test_the_command_says_that_the_api_was_gone_around(
    http: FakeHttp, capsys: pytest.CaptureFixture[str]
) -> None:
    http.answers["validate"] = NoConnection(error=OSError("timed out"))
    called, _ = going_around(Detour())
    run_checks(called, SIMULATED_GATEWAY, pay=False, verbose=False)
    assert capsys.readouterr().err == f"Warning: {Detour.told}\n"


LONG = "the payment could not be stored " * 10


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"error": "Processing failed", "message": LONG}, "500 Processing failed"),
        ({"message": "Internal server error"}, "500 Internal server error"),
        ({"checks": [1, None]}, '500 {"checks": [1, null]}'),
        ([], "500 []"),
        ("", "500 nothing"),
        (LONG, "500 the payment could not be stored the …"),
    ],
)
def test_a_check_that_fails_has_a_short_line_in_the_table_and_its_answer_below(
    body: Any, told: str, http: FakeHttp, capsys: pytest.CaptureFixture[str]
) -> None:
    http.answers["process"] = Response(500, json.dumps(body).encode())
    with pytest.raises(PaymentInfraError, match="checks failed"):
        run_checks(api(), SIMULATED_GATEWAY, pay=False, verbose=False)
    out, err = capsys.readouterr()
    assert out.count(told) == 3
    assert max(map(len, out.splitlines())) <= 100
    assert err.count(f"POST {URL}process ") == 3
    assert f"POST {URL}validate" not in err
    if isinstance(body, dict):
        assert all(json.dumps(value) in err for value in body.values() if isinstance(value, str))
