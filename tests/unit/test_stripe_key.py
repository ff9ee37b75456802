"""Stripe's secret is judged as the functions do it, and its key asked whose it is."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from handlers.shared.stripe_http import HttpAnswer
from handlers.shared.stripe_secret import InvalidSecret
from handlers.shared.stripe_secret import parse_secret as functions_parse
from payment_infra import stripe_key
from payment_infra.errors import PaymentInfraError
from payment_infra.stripe_key import (
    ASK_SECONDS,
    OTHER,
    REFUSED,
    Judgment,
    judge_account,
    parse_secret,
)

if TYPE_CHECKING:
    from handlers.shared.stripe_http import HttpRequest

SOUND = {"api_key": "rk_test_canary1", "account": "acct_1", "signing_secrets": ["whsec_canary2"]}
SECRET = parse_secret(json.dumps(SOUND))
UNKNOWN = "whether its api_key is one of its account could not be found out: "


@pytest.mark.parametrize(
    "text",
    [
        None,
        "sk_live_canary",
        "[]",
        "{}",
        json.dumps(SOUND | {"api_key": "pk_test_canary"}),
        json.dumps(SOUND | {"api_key": 4711}),
        json.dumps(SOUND | {"account": "canary"}),
        json.dumps(SOUND | {"signing_secrets": "whsec_canary"}),
        json.dumps(SOUND | {"canary": 1}),
    ],
)
def test_what_is_wrong_is_told_in_the_functions_words_and_shows_nothing(text: str | None) -> None:
    with pytest.raises(InvalidSecret) as there:
        functions_parse(text)
    with pytest.raises(PaymentInfraError) as here:
        parse_secret(text)
    assert str(here.value) == str(there.value)
    assert "canary" not in str(here.value)
    assert here.value.__cause__ is here.value.__context__ is None


def test_the_handlers_are_those_beside_this_package_whatever_is_imported_under_their_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stripe_key._handlers.cache_clear()
    for name in ("handlers", "handlers.shared", "handlers.shared.stripe_secret"):
        monkeypatch.setitem(sys.modules, name, None)
    assert parse_secret(json.dumps(SOUND)).account == "acct_1"


@pytest.mark.parametrize(
    ("status", "body", "judgment"),
    [
        (200, {"object": "account", "id": "acct_1"}, Judgment("ok")),
        (
            200,
            {"object": "account", "id": "acct_2"},
            Judgment("fail", OTHER),
        ),
        (
            401,
            {"error": {"type": "invalid_request_error"}},
            Judgment("fail", REFUSED),
        ),
        (
            403,
            {"error": {"type": "invalid_request_error"}},
            Judgment(
                "warn",
                f"{UNKNOWN}the key may not read its account; allow the restricted key that",
            ),
        ),
        (401, "log in", Judgment("warn", f"{UNKNOWN}Stripe answered 401")),
        (200, "log in", Judgment("warn", f"{UNKNOWN}Stripe answered 200")),
        (200, {"id": "acct_2"}, Judgment("warn", f"{UNKNOWN}Stripe answered 200")),
        (302, "", Judgment("warn", f"{UNKNOWN}Stripe answered 302")),
        (429, {"error": {}}, Judgment("warn", f"{UNKNOWN}Stripe answered 429")),
        (503, "", Judgment("warn", f"{UNKNOWN}Stripe answered 503")),
    ],
)
def test_stripe_says_whose_the_key_is_and_nobody_else(
    status: int, body: object, judgment: Judgment
) -> None:
    asked = []

    def send(request: HttpRequest, seconds: float) -> HttpAnswer:
        asked.append((request.method, request.url, request.body, seconds))
        assert request.headers["Authorization"] == "Bearer rk_test_canary1"
        return HttpAnswer(status, {}, json.dumps(body).encode())

    assert judge_account(SECRET, send) == judgment
    assert asked == [("GET", "https://api.stripe.com/v1/account", None, ASK_SECONDS)]


def test_a_dead_network_is_no_failure() -> None:
    http = stripe_key._handlers("stripe_http")
    for failure in (http.NotSent("NewConnectionError"), http.NotAnswered("timeout")):

        def send(
            _request: HttpRequest, _seconds: float, failure: Exception = failure
        ) -> HttpAnswer:
            raise failure

        assert judge_account(SECRET, send) == Judgment(
            "warn", f"{UNKNOWN}Stripe did not answer ({failure.code})"
        )
