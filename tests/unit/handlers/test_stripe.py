"""The Stripe gateway: what it asks of Stripe for each call of the protocol, and what it answers."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayKeyFailed,
    GatewayPayment,
    GatewayTimeout,
    GatewayUnavailable,
    InvalidSecret,
    NoCharge,
    NoSuchPayment,
    NotCharged,
    Open,
    Page,
    Pending,
)
from handlers.shared.money import Money
from handlers.shared.notifications import InvalidNotification, Notification
from handlers.shared.stripe import StripeGateway
from handlers.shared.stripe_http import NotAnswered
from handlers.shared.transactions import Transaction
from tests.unit.handlers.stripe_wire import (
    ACCOUNT,
    BANK,
    CREATED,
    KEY,
    NOW,
    SIGNING,
    Wire,
    answer,
    error,
    intent,
    listed,
    secret,
    succeeded,
)

BACK = "https://shop.example/back?order=1&a=ä"


@pytest.fixture
def wire() -> Wire:
    return Wire()


def transaction(customer: str = "c-1", **details: str) -> Transaction:
    given = {"payment_method": "pm_1", **details}
    return Transaction.validated("t-1", Money(10050, "USD"), customer, NOW, details=given)


CARD_ERROR = {"type": "card_error", "code": "card_declined", "decline_code": "do_not_honor"}
FAILED = intent(status="requires_payment_method", last_payment_error=CARD_ERROR)


def test_a_secret_that_is_wrong_makes_no_gateway() -> None:
    with pytest.raises(InvalidSecret, match=r"^the secret lacks account$"):
        StripeGateway(secret(account=None))
    assert StripeGateway(secret()).account == ACCOUNT


# prepare


def test_a_payment_is_prepared_with_what_its_row_says_and_moves_no_money(wire: Wire) -> None:
    wire.say(intent())
    made = wire.gateway().prepare(transaction(reference="r 1", return_url=BACK), "t-1")
    assert isinstance(made, GatewayPayment)
    assert (made.id, made.outcome) == ("pi_1", Open())
    assert wire.asked() == ["POST /v1/payment_intents"]
    assert wire.params() == {
        "amount": "10050",
        "currency": "usd",
        "payment_method": "pm_1",
        "confirm": "false",
        "capture_method": "automatic",
        "automatic_payment_methods[enabled]": "true",
        "metadata[transaction_id]": "t-1",
        "metadata[reference]": "r 1",
    }
    [request] = wire.requests
    assert dict(request.headers) == {
        "Authorization": f"Bearer {KEY}",
        "Idempotency-Key": "t-1",
        "Stripe-Version": "2025-12-15.clover",
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        "User-Agent": "payment-infra",
    }
    assert request.url == "https://api.stripe.com/v1/payment_intents"


def test_without_a_return_url_no_kind_of_method_sends_the_customer_away(wire: Wire) -> None:
    wire.say(intent())
    wire.gateway().prepare(transaction(), "t-1")
    assert wire.params()["automatic_payment_methods[allow_redirects]"] == "never"


@pytest.mark.parametrize(
    ("customer", "told"),
    [("cus_Abc1", "cus_Abc1"), ("c-1", None), ("cus_", None), ("cus_a b", None)],
)
def test_a_customer_of_stripes_is_the_payments_customer(
    wire: Wire, customer: str, told: str | None
) -> None:
    wire.say(intent())
    wire.gateway().prepare(transaction(customer=customer), "t-1")
    assert wire.params().get("customer") == told


def test_every_attempt_asks_with_the_same_parameters(wire: Wire) -> None:
    row = transaction(return_url=BACK, reference="r")
    later = replace(row, attempt_id="a-2", updated_at="later", status="processing", rewound=1)
    wire.say(intent(), intent())
    for each in (row, later):
        wire.gateway().prepare(each, "t-1")
    assert wire.requests[0].body == wire.requests[1].body


@pytest.mark.parametrize(
    ("status", "told", "expected"),
    [
        (
            400,
            error("resource_missing", param="payment_method"),
            Declined("resource_missing", another_method=True),
        ),
        (400, error("amount_too_small", param="amount"), Declined("amount_too_small")),
        (400, error(param="currency"), Declined("currency_not_supported")),
        (402, error("expired_card", "card_error"), Declined("expired_card", another_method=True)),
    ],
)
def test_a_refusal_for_what_the_customer_gave_is_declined(
    wire: Wire, status: int, told: Any, expected: Declined
) -> None:
    wire.say(answer(told, status))
    assert wire.gateway().prepare(transaction(), "t-1") == expected


@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        (400, error("parameter_unknown", param="capture_method"), "parameter_unknown"),
        (400, error(), "invalid_request_error"),
        (401, error(), "invalid_request_error"),
        (403, error("secret_key_required"), "secret_key_required"),
        (404, error("resource_missing"), "resource_missing"),
        (302, b"<html>", "http_302"),
        (403, b"<html>", "http_403"),
    ],
)
def test_a_mistake_of_ours_or_the_operators_declines_nobody(
    wire: Wire, status: int, told: Any, code: str
) -> None:
    wire.say(answer(told, status))
    with pytest.raises(GatewayUnavailable) as failure:
        wire.gateway().prepare(transaction(), "t-1")
    assert failure.value.code == code
    assert len(wire.requests) == 1


@pytest.mark.parametrize(("code", "told"), [("x", "x"), (None, "idempotency_error")])
@pytest.mark.parametrize(
    "begun", [[], [intent(id="pi_0")], [intent(status="canceled")], [succeeded(metadata={})]]
)
def test_a_key_for_other_parameters_is_of_no_use_and_declines_nobody(
    wire: Wire, code: str | None, told: str, begun: list[Any]
) -> None:
    wire.say(answer(error(code, "idempotency_error", param="amount"), 400), listed(*begun))
    with pytest.raises(GatewayKeyFailed) as failure:
        wire.gateway().prepare(transaction(), "t-1")
    assert failure.value.code == told
    assert wire.asked() == ["POST /v1/payment_intents", "GET /v1/payment_intents"]
    assert wire.params() == {"created[gte]": str(CREATED - 2 * 86_400), "limit": "100"}


@pytest.mark.parametrize("begun", [succeeded(), intent(status="processing")])
def test_what_was_charged_with_its_key_and_other_parameters_is_not_made_again(
    wire: Wire, begun: Any
) -> None:
    wire.say(answer(error(None, "idempotency_error"), 400), listed(intent(id="pi_2"), begun))
    made = wire.gateway().prepare(transaction(), "t-1")
    assert isinstance(made, GatewayPayment)
    assert made.id == "pi_1"


def test_what_cannot_be_told_of_a_key_for_other_parameters_is_not_charged(wire: Wire) -> None:
    pages = [answer(listed(intent(metadata={}), more=True))] * 20
    wire.seconds = 0.5
    wire.say(answer(error(None, "idempotency_error"), 400), *pages)
    with pytest.raises(GatewayUnavailable) as failure:
        wire.gateway().prepare(transaction(), "t-1")
    assert failure.value.code == "key_reused"


# confirm


def test_a_payment_is_confirmed_with_where_the_customer_comes_back_to_and_no_method(
    wire: Wire,
) -> None:
    wire.say(succeeded(), succeeded())
    charged = wire.gateway().confirm("pi_1", "a-confirm", BACK)
    assert charged.outcome == Charged("ch_1")
    assert wire.asked() == ["POST /v1/payment_intents/pi_1/confirm"]
    assert wire.params() == {"return_url": BACK}
    assert wire.requests[0].headers["Idempotency-Key"] == "a-confirm"
    wire.gateway().confirm("pi_1", "a-confirm", None)
    assert wire.requests[1].body == ""


def test_a_declined_card_is_told_by_the_error(wire: Wire) -> None:
    wire.say(answer(error("card_declined", "card_error", payment_intent=FAILED), 402))
    declined = wire.gateway().confirm("pi_1", "k", None)
    assert declined.outcome == Declined("do_not_honor", another_method=True)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("told", [None, intent(id="pi_2")])
def test_an_error_without_the_payment_has_it_fetched(wire: Wire, told: Any) -> None:
    wire.say(answer(error("card_declined", "card_error", payment_intent=told), 402), FAILED)
    declined = wire.gateway().confirm("pi_1", "k", None)
    assert declined.outcome == Declined("do_not_honor", another_method=True)
    assert wire.asked()[1] == "GET /v1/payment_intents/pi_1"


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (succeeded(), Charged("ch_1")),
        (intent(status="canceled"), NotCharged()),
        (intent(status="processing"), Pending()),
    ],
)
def test_what_has_ended_is_told_as_it_is_by_whoever_confirms_it(
    wire: Wire, found: Any, outcome: object
) -> None:
    refused = error("payment_intent_unexpected_state", payment_intent=found)
    wire.say(answer(refused, 400))
    assert wire.gateway().confirm("pi_1", "k", None).outcome == outcome


def test_what_cannot_be_confirmed_for_what_the_customer_gave_is_declined_though_it_is_open(
    wire: Wire,
) -> None:
    """It is canceled before that is written, as all that is declined."""
    refused = error("payment_method_unactivated", payment_intent=intent())
    wire.say(answer(refused, 400))
    declined = wire.gateway().confirm("pi_1", "k", None)
    assert declined.outcome == Declined("payment_method_unactivated", another_method=True)


def test_what_cannot_be_confirmed_for_another_reason_is_unavailable(wire: Wire) -> None:
    wire.say(answer(error("parameter_missing", param="return_url", payment_intent=intent()), 400))
    with pytest.raises(GatewayUnavailable) as failure:
        wire.gateway().confirm("pi_1", "k", None)
    assert failure.value.code == "parameter_missing"


def test_a_payment_that_is_not_there_is_none(wire: Wire) -> None:
    wire.say(*[answer(error("resource_missing", param="intent"), 404)] * 5)
    calls: list[Any] = [
        lambda: wire.gateway().fetch("pi_x/../y"),
        lambda: wire.gateway().confirm("pi_x", "k", None),
        lambda: wire.gateway().cancel("pi_x", "k"),
    ]
    for call in calls:
        with pytest.raises(NoSuchPayment):
            call()
    assert wire.asked()[0] == "GET /v1/payment_intents/pi_x%2F..%2Fy"


@pytest.mark.parametrize("told", [b"<html>", {}, error("another")])
def test_a_page_that_is_not_there_says_nothing_of_a_payment(wire: Wire, told: Any) -> None:
    """As of a proxy, or of an address that is not Stripe's."""
    wire.say(answer(told, 404))
    with pytest.raises(GatewayUnavailable) as failure:
        wire.gateway().fetch("pi_1")
    assert not isinstance(failure.value, NoSuchPayment)


# cancel


def test_a_payment_is_canceled(wire: Wire) -> None:
    wire.say(intent(status="canceled", last_payment_error=CARD_ERROR))
    assert wire.gateway().cancel("pi_1", "k").outcome == NotCharged("do_not_honor")
    assert wire.asked() == ["POST /v1/payment_intents/pi_1/cancel"]
    assert wire.requests[0].headers["Idempotency-Key"] == "k"


@pytest.mark.parametrize(
    ("found", "outcome"),
    [(succeeded(), Charged("ch_1")), (intent(status="processing"), Pending())],
)
@pytest.mark.parametrize("with_it", [True, False])
def test_what_cannot_be_canceled_is_told_as_it_is(
    wire: Wire, found: Any, outcome: object, with_it: bool
) -> None:
    refused = error("payment_intent_unexpected_state", payment_intent=found if with_it else None)
    wire.say(answer(refused, 400), found)
    assert wire.gateway().cancel("pi_1", "k").outcome == outcome
    assert len(wire.requests) == (1 if with_it else 2)


# find


def test_a_payment_is_found_by_the_metadata_in_the_list_since_it_was_validated(
    wire: Wire,
) -> None:
    other = intent(id="pi_2", metadata={"transaction_id": "t-2"})
    wire.say(listed(other, intent()), listed())
    found = wire.gateway().find(transaction())
    assert isinstance(found, GatewayPayment)
    assert found.id == "pi_1"
    assert wire.asked() == ["GET /v1/payment_intents"] * 2
    soon = str(CREATED + 3600)
    first = {"created[gte]": str(CREATED - 300), "created[lt]": soon, "limit": "100"}
    assert wire.params(0) == first
    assert wire.params(1) == {"created[gte]": soon, "limit": "100"}


def test_a_charged_one_comes_first_and_ends_the_search(wire: Wire) -> None:
    wire.say(listed(intent(id="pi_2"), intent(id="pi_3"), more=True), listed(succeeded()))
    found = wire.gateway().find(transaction())
    assert isinstance(found, GatewayPayment)
    assert found.id == "pi_1"
    assert wire.params()["starting_after"] == "pi_3"
    assert wire.answers == []


ORDER = [
    succeeded(id="pi_a"),
    intent(id="pi_b", status="processing"),
    intent(id="pi_c", status="requires_payment_method", last_payment_error=CARD_ERROR),
    intent(id="pi_d"),
    intent(id="pi_e", status="canceled"),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_of_several_the_one_that_went_furthest_is_found(wire: Wire, first: int) -> None:
    wire.say(listed(*reversed(ORDER[first:])), listed())
    found = wire.gateway().find(transaction())
    assert isinstance(found, GatewayPayment)
    assert found.id == ORDER[first]["id"]


def test_there_certainly_is_none_if_both_lists_end_and_the_key_is_the_accounts(
    wire: Wire,
) -> None:
    wire.say(listed(intent(metadata={}), more=True), listed(), listed(), {"id": ACCOUNT})
    assert wire.gateway().find(transaction()) == NoCharge()
    assert wire.asked()[-1] == "GET /v1/account"


@pytest.mark.parametrize(
    "account",
    [
        {"id": "acct_2"},
        {},
        answer(error("more_permissions_required"), 403),
        answer(error(), 404),
        NotAnswered("timeout"),
    ],
)
def test_whether_there_is_none_cannot_be_told_if_the_account_may_be_another(
    wire: Wire, account: Any
) -> None:
    wire.say(listed(), listed(), *[account] * 3)
    assert wire.gateway().find(transaction()) is None


def test_a_list_without_end_tells_nothing_in_time(wire: Wire) -> None:
    wire.seconds = 0.4
    wire.say(*[listed(intent(), more=True)] * 50)
    begun = wire.now
    assert wire.gateway().find(transaction()) is None
    assert wire.now - begun <= 6


def test_no_time_to_ask_whose_the_key_is_tells_nothing(wire: Wire) -> None:
    wire.seconds = 2.6
    wire.say(listed(), listed())
    assert wire.gateway().find(transaction()) is None


@pytest.mark.parametrize(
    "page", [{"data": []}, {"data": [], "has_more": True}, {"data": {}, "has_more": False}]
)
def test_what_is_no_list_is_no_answer(wire: Wire, page: Any) -> None:
    wire.say(page)
    with pytest.raises((KeyError, TypeError)):
        wire.gateway().find(transaction())


# payments


def test_all_payments_are_listed_page_by_page(wire: Wire) -> None:
    since, until = NOW - timedelta(days=1, microseconds=1), NOW + timedelta(microseconds=1)
    wire.say(listed(succeeded(), intent(id="pi_2", metadata={}), more=True), listed())
    first = wire.gateway().payments(since, until, None)
    assert [each.id for each in first.payments] == ["pi_1", "pi_2"]
    assert [each.transaction_id for each in first.payments] == ["t-1", None]
    assert {each.created_at for each in first.payments} == {NOW}
    assert first.cursor == "pi_2"
    assert wire.params() == {
        "created[gte]": str(CREATED - 86_401),
        "created[lt]": str(CREATED + 1),
        "limit": "100",
    }
    assert wire.gateway().payments(since, until, first.cursor) == Page((), None)
    assert wire.params()["starting_after"] == "pi_2"


def test_stripes_time_begins_in_1970(wire: Wire) -> None:
    wire.say(listed())
    wire.gateway().payments(datetime.fromtimestamp(-120, UTC), NOW, None)
    assert wire.params()["created[gte]"] == "0"


# notification

EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "payment_intent.succeeded",
    "livemode": False,
    "data": {"object": {"id": "pi_1", "object": "payment_intent"}},
}


def signed(body: bytes, *secrets: str, at: int = CREATED) -> str:
    """Return the header as Stripe makes it: a signature by each secret, and one of its test's."""
    made = [
        hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        for secret in secrets
    ]
    return ",".join([f"t={at}", *(f"v1={each}" for each in made), "v0=ab"])


def notify(wire: Wire, event: Any, **fields: object) -> Notification | None:
    body = json.dumps(event).encode()
    headers = {"stripe-signature": signed(body, SIGNING)}
    return wire.gateway(**fields).notification(headers, body, NOW)


def test_an_event_says_which_payment_and_whose(wire: Wire) -> None:
    assert notify(wire, EVENT) == Notification("pi_1", None, "test")
    connected = {**EVENT, "livemode": True, "account": "acct_2"}
    assert notify(wire, connected) == Notification("pi_1", "acct_2", "live")
    assert wire.requests == []


@pytest.mark.parametrize(
    "kind", ["charge.succeeded", "payment_intent.created", "payment_method.attached", "ping"]
)
def test_an_event_of_another_kind_is_of_no_concern(wire: Wire, kind: str) -> None:
    assert notify(wire, {**EVENT, "type": kind}) is None


@pytest.mark.parametrize(
    "kind", ["payment_failed", "canceled", "processing", "requires_action", "partially_funded"]
)
def test_every_other_kind_of_a_payment_is_of_concern(wire: Wire, kind: str) -> None:
    told = notify(wire, {**EVENT, "type": f"payment_intent.{kind}"})
    assert told == Notification("pi_1", None, "test")


@pytest.mark.parametrize("known", [["whsec_new", SIGNING], [SIGNING, "whsec_new"]])
def test_while_a_signing_secret_is_changed_either_will_do(wire: Wire, known: list[str]) -> None:
    body = json.dumps(EVENT).encode()
    gateway = wire.gateway(signing_secrets=known)
    for secrets in ([SIGNING], ["whsec_new"], ["whsec_other", SIGNING]):
        assert gateway.notification({"stripe-signature": signed(body, *secrets)}, body, NOW)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "unsigned"),
        ("", "unsigned"),
        (f"t={CREATED},v0=ab", "unsigned"),
        (f"t={CREATED},v1=ab", "forged"),
        (signed(json.dumps(EVENT).encode(), SIGNING, at=CREATED - 301), "old"),
        (signed(json.dumps(EVENT).encode(), SIGNING, at=CREATED + 301), "old"),
        (signed(json.dumps(EVENT).encode(), "whsec_other"), "forged"),
        (signed(b"{}", SIGNING), "forged"),
    ],
)
def test_what_stripe_has_not_signed_of_late_is_refused(
    wire: Wire, header: str | None, code: str
) -> None:
    headers = {} if header is None else {"stripe-signature": header}
    with pytest.raises(InvalidNotification) as refused:
        wire.gateway().notification(headers, json.dumps(EVENT).encode(), NOW)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "event",
    [
        [],
        {},
        "canary",
        {**EVENT, "data": {}},
        {**EVENT, "type": 1},
        {**EVENT, "data": {"object": {"id": 1}}},
        {**EVENT, "data": {"object": {"id": ""}}},
    ],
)
def test_what_is_signed_and_no_event_is_refused(wire: Wire, event: Any) -> None:
    with pytest.raises(InvalidNotification) as refused:
        notify(wire, event)
    assert refused.value.code == "unreadable"


def test_without_a_signing_secret_nothing_is_taken(wire: Wire) -> None:
    with pytest.raises(InvalidNotification):
        notify(wire, EVENT, signing_secrets=[])


# whatever fails


def test_account_and_mode_are_the_secrets(wire: Wire) -> None:
    assert (wire.gateway().account, wire.gateway().mode) == (ACCOUNT, "test")
    live = wire.gateway(api_key="sk_live_canary")
    assert live.mode == "live"


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (answer(error("lock_timeout"), 429, stripe_should_retry="false"), GatewayUnavailable),
        (answer(error(None, "api_error"), 500, idempotent_replayed="true"), GatewayKeyFailed),
        (answer(b"", 200), GatewayTimeout),
        (answer([], 200), GatewayTimeout),
    ],
)
def test_a_failure_is_one_of_the_protocols_in_every_call(
    wire: Wire, failure: Any, kind: type[Exception]
) -> None:
    gateway = wire.gateway()
    calls: list[Any] = [
        lambda: gateway.prepare(transaction(), "k"),
        lambda: gateway.confirm("pi_1", "k", None),
        lambda: gateway.cancel("pi_1", "k"),
    ]
    for call in calls:
        wire.answers.clear()
        wire.say(failure)
        with pytest.raises(kind):
            call()
    wire.answers.clear()
    wire.say(*[failure] * 12)
    reading: list[Any] = [
        lambda: gateway.fetch("pi_1"),
        lambda: gateway.find(transaction()),
        lambda: gateway.payments(NOW, NOW, None),
    ]
    for call in reading:
        with pytest.raises((GatewayUnavailable, GatewayTimeout)):
            call()


def test_where_a_customer_goes_is_in_nothing_that_is_shown(wire: Wire) -> None:
    action = {"type": "redirect_to_url", "redirect_to_url": {"url": BANK, "return_url": BACK}}
    wire.say(intent(status="requires_action", next_action=action))
    pending = wire.gateway().confirm("pi_1", "k", BACK)
    assert pending.outcome == Pending(BANK)
    shown = repr((pending, wire.requests, wire.gateway(), wire.gateway().__dict__))
    for hidden in (BANK, BACK, KEY, SIGNING):
        assert hidden not in shown
