"""What is asked of Stripe again, for how long, and with which key; and what never gets out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handlers.shared.aws import logs
from handlers.shared.failures import DependencyFailed
from handlers.shared.gateway import (
    GATEWAY_TIMEOUT_SECONDS,
    Charged,
    GatewayKeyFailed,
    GatewayTimeout,
    GatewayUnavailable,
)
from handlers.shared.stripe_http import HttpAnswer, NotAnswered, NotSent
from tests.unit.handlers.harness import Output
from tests.unit.handlers.stripe_wire import (
    BANK,
    CLIENT_SECRET,
    KEY,
    SIGNING,
    Failure,
    Wire,
    answer,
    error,
    intent,
    secret,
    succeeded,
)

NEW_KEY = "rk_test_canaryNEW"
API_ERROR = error(None, "api_error")
IN_USE = error("idempotency_key_in_use", "idempotency_error")


@pytest.fixture
def wire() -> Wire:
    return Wire()


def confirm(wire: Wire) -> object:
    return wire.gateway().confirm("pi_1", "a-confirm", None).outcome


def keys(wire: Wire) -> set[str | None]:
    return {request.headers.get("Idempotency-Key") for request in wire.requests}


@pytest.mark.parametrize(
    "failures",
    [
        [answer(IN_USE, 409)],
        [answer(IN_USE, 409)] * 4,
        [answer(error("lock_timeout"), 429)],
        [answer(error("rate_limit"), 429, retry_after="2")],
        [answer(error("rate_limit"), 429)] * 3,
        [answer(API_ERROR, 500)] * 2,
        [answer(API_ERROR, 500, stripe_should_retry="true")],
        [answer(API_ERROR, 500, idempotent_replayed="true", stripe_should_retry="true")],
        [answer(b"<html>", 503)],
        [NotSent("NewConnectionError")] * 2,
        [NotAnswered("ProtocolError")] * 2,
        [NotAnswered("ProtocolError"), answer(IN_USE, 409), answer(IN_USE, 409)],
    ],
)
def test_what_passes_is_asked_again_with_the_same_key(
    wire: Wire, failures: list[HttpAnswer | Failure]
) -> None:
    wire.say(*failures, succeeded())
    begun = wire.now
    assert confirm(wire) == Charged("ch_1")
    assert len(wire.requests) == len(failures) + 1
    assert keys(wire) == {"a-confirm"}
    assert len({request.body for request in wire.requests}) == 1
    assert wire.now - begun < GATEWAY_TIMEOUT_SECONDS


def test_what_is_asked_again_waits_longer_each_time_or_as_long_as_stripe_says(wire: Wire) -> None:
    wire.say(*[answer(IN_USE, 409)] * 4, succeeded())
    confirm(wire)
    assert wire.waits == [0.25, 0.5, 1.0, 1.0]
    wire.waits.clear()
    wire.say(answer(error("rate_limit"), 429, retry_after="3"), succeeded())
    confirm(wire)
    assert wire.waits == [3.0]


@pytest.mark.parametrize(
    ("failure", "kind", "code", "tries"),
    [
        (answer(IN_USE, 409, stripe_should_retry="false"), GatewayTimeout, "key_in_use", 1),
        (answer(error("rate_limit"), 429, retry_after="60"), GatewayUnavailable, "rate_limit", 1),
        (
            answer(error("rate_limit"), 429, stripe_should_retry="false"),
            *(GatewayUnavailable, "rate_limit", 1),
        ),
        (
            answer(API_ERROR, 500, idempotent_replayed="true"),
            *(GatewayKeyFailed, "api_error", 1),
        ),
        (
            answer(API_ERROR, 500, stripe_should_retry="false"),
            *(GatewayKeyFailed, "api_error", 1),
        ),
        (answer(API_ERROR, 500), GatewayKeyFailed, "api_error", 3),
        (answer(b"<html>", 502), GatewayKeyFailed, "http_502", 3),
        (answer(error(), 424), GatewayKeyFailed, "invalid_request_error", 3),
        (answer(b"", 200), GatewayTimeout, "http_200", 1),
        (answer(b"[]", 201), GatewayTimeout, "http_201", 1),
        (answer(b"\xff", 204), GatewayTimeout, "http_204", 1),
        (answer(error(), 307), GatewayUnavailable, "invalid_request_error", 1),
        (NotSent("certificate", stays=True), GatewayUnavailable, "certificate", 1),
        (NotSent("NewConnectionError"), GatewayUnavailable, "NewConnectionError", 3),
        (NotAnswered("ProtocolError"), GatewayTimeout, "ProtocolError", 3),
    ],
)
def test_what_does_not_pass_is_told_by_its_code(
    wire: Wire, failure: HttpAnswer | Failure, kind: type[DependencyFailed], code: str, tries: int
) -> None:
    wire.say(*[failure] * 5)
    with pytest.raises(DependencyFailed) as raised:
        confirm(wire)
    assert type(raised.value) is kind
    assert code in raised.value.code
    assert len(wire.requests) == tries
    assert keys(wire) == {"a-confirm"}


def test_a_read_that_fails_at_stripe_leaves_no_key_that_has_failed(wire: Wire) -> None:
    wire.say(*[answer(API_ERROR, 500)] * 3)
    with pytest.raises(GatewayUnavailable):
        wire.gateway().fetch("pi_1")
    assert keys(wire) == {None}


def test_what_one_try_may_have_done_is_unknown_however_another_fails(wire: Wire) -> None:
    wire.say(NotAnswered("ProtocolError"), NotSent("NewConnectionError"), answer(error(), 403))
    with pytest.raises(GatewayTimeout):
        confirm(wire)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.7, 2.0, 5.4, 9.0])
@pytest.mark.parametrize(
    "failure",
    [
        answer(IN_USE, 409),
        answer(error("rate_limit"), 429, retry_after="1"),
        answer(API_ERROR, 503, stripe_should_retry="true"),
        NotSent("ConnectTimeoutError"),
        NotAnswered("ProtocolError"),
    ],
)
def test_a_call_ends_in_time_whatever_comes(
    wire: Wire, failure: HttpAnswer | Failure, seconds: float
) -> None:
    wire.seconds = seconds
    wire.say(*[failure] * 50)
    begun = wire.now
    with pytest.raises(DependencyFailed):
        confirm(wire)
    assert wire.now - begun < GATEWAY_TIMEOUT_SECONDS


@pytest.mark.parametrize(
    "after", ["", "-1", "1.5", "soon", "99999", "Wed, 21 Oct 2026 07:28:00 GMT"]
)
def test_how_long_to_wait_is_said_in_seconds_or_not_at_all(wire: Wire, after: str) -> None:
    wire.say(answer(error("rate_limit"), 429, retry_after=after), succeeded())
    assert confirm(wire) == Charged("ch_1")
    assert wire.waits == [0.25]


def test_a_wait_of_no_time_is_none_that_stripe_can_mean(wire: Wire) -> None:
    """Else it would be asked hundreds of times within a call, when it has asked for less."""
    wire.say(*[answer(error("rate_limit"), 429, retry_after="0")] * 2, succeeded())
    assert confirm(wire) == Charged("ch_1")
    assert wire.waits == [0.25, 0.5]


# A key that is rotated

REFUSED = answer(error("api_key_expired"), 401)


def test_a_key_that_is_refused_is_fetched_anew_and_the_call_repeated_once(wire: Wire) -> None:
    fetched = []
    gateway = wire.gateway()
    gateway.fetch_secret = lambda: fetched.append(1) or secret(api_key=NEW_KEY)  # type: ignore[func-returns-value]
    wire.say(REFUSED, succeeded(), succeeded())
    assert gateway.confirm("pi_1", "k", None).outcome == Charged("ch_1")
    assert [request.headers["Authorization"] for request in wire.requests] == [
        f"Bearer {KEY}",
        f"Bearer {NEW_KEY}",
    ]
    assert gateway.fetch("pi_1").outcome == Charged("ch_1")
    assert wire.requests[2].headers["Authorization"] == f"Bearer {NEW_KEY}"
    assert (fetched, keys(wire)) == ([1], {"k", None})


def test_a_new_key_that_is_refused_too_is_unavailable(wire: Wire) -> None:
    fetched: list[str] = []

    def fetch() -> str:
        fetched.append(secret(api_key=f"{NEW_KEY}{len(fetched)}"))
        return fetched[-1]

    gateway = wire.gateway()
    gateway.fetch_secret = fetch
    wire.say(REFUSED, REFUSED)
    with pytest.raises(GatewayUnavailable) as refused:
        gateway.confirm("pi_1", "k", None)
    assert (refused.value.code, len(fetched)) == ("api_key_expired", 1)


@pytest.mark.parametrize(
    "found",
    [
        secret(),
        secret(api_key=NEW_KEY, account="acct_2"),
        secret(api_key="rk_live_canaryNEW"),
    ],
)
def test_a_key_that_is_the_same_or_of_another_account_or_mode_is_not_asked_with(
    wire: Wire, found: str
) -> None:
    gateway = wire.gateway()
    gateway.fetch_secret = lambda: found
    wire.say(REFUSED)
    with pytest.raises(GatewayUnavailable):
        gateway.confirm("pi_1", "k", None)
    assert len(wire.requests) == 1
    assert (gateway.account, gateway.mode) == ("acct_1Canary", "test")


@pytest.mark.parametrize("text", [None, "", "{}", "sk_test_canary"])
def test_a_secret_that_is_none_is_unavailable(wire: Wire, text: str | None) -> None:
    gateway = wire.gateway()
    gateway.fetch_secret = lambda: text
    wire.say(REFUSED)
    with pytest.raises(GatewayUnavailable) as refused:
        gateway.fetch("pi_1")
    assert refused.value.code == "secret_invalid"
    assert "canary" not in repr(refused.value)


def test_without_time_or_a_way_to_fetch_it_no_secret_is_fetched(wire: Wire) -> None:
    gateway = wire.gateway()
    for seconds, fetch in ((4.0, lambda: secret(api_key=NEW_KEY)), (0.1, None)):
        wire.seconds = seconds
        if fetch:
            gateway.fetch_secret = fetch
        else:
            gateway = wire.gateway()
        wire.say(REFUSED)
        with pytest.raises(GatewayUnavailable):
            gateway.fetch("pi_1")
    assert len(wire.requests) == 2


# What never gets out

HIDDEN = (KEY, SIGNING, CLIENT_SECRET, BANK, "canary", "pm_", "t-1", "hooks.stripe.com")
ACTION = {"type": "redirect_to_url", "redirect_to_url": {"url": BANK}}


@pytest.mark.parametrize(
    "told",
    [
        answer(error("card_declined", "card_error", payment_intent=intent(status="x")), 402),
        answer(error(f"canary {KEY}", "canary!", param="canary pm_1", decline_code=KEY + " "), 400),
        answer(error("canary\n", decline_code={"canary": 1}), 403, request_id="req canary"),
        answer(f"canary {KEY}".encode(), 500),
        answer(intent(status="requires_action", next_action=ACTION)),
        answer(intent(status="canary")),
        NotAnswered("ProtocolError"),
    ],
)
@pytest.mark.usefixtures("aws")
def test_no_key_body_or_address_gets_into_a_log_or_a_failures_text(
    wire: Wire, told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.begin()
    wire.say(*[told] * 4)
    try:
        wire.gateway().confirm("pi_1", "k", BANK)
    except Exception as failure:  # noqa: BLE001
        logs.unexpected(failure)
        shown = [str(failure), repr(failure)]
        cause = failure.__cause__
        shown += [str(cause), repr(cause)]
    else:
        shown = []
    output = Output.read(capsys)
    for hidden in HIDDEN:
        assert hidden not in output.text
        assert not any(hidden in text for text in shown)


@pytest.mark.usefixtures("aws")
def test_what_stripes_support_asks_for_is_logged(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.begin()
    param = "automatic_payment_methods[enabled]"
    told = error("parameter_unknown", param=param, payment_intent=intent())
    wire.say(answer(told, 400, request_id="req_AbC1"))
    with pytest.raises(GatewayUnavailable):
        wire.gateway().confirm("pi_1", "k", None)
    [line] = Output.read(capsys).of("stripe refused")
    named = {name: line[name] for name in ("status", "code", "param", "request")}
    assert named == {
        "status": 400,
        "code": "parameter_unknown",
        "param": param,
        "request": "req_AbC1",
    }
    assert json.dumps(line).count("canary") == 0
