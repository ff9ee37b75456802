"""What a client may send with a payment: a payment method, its own reference, and a return URL."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handlers import validation
from handlers.shared.flaws import Mismatched
from handlers.shared.money import Money
from handlers.shared.needs import units
from handlers.shared.transactions import Transaction, fingerprint
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    CountingGateway,
    Output,
    Response,
    call,
    deliver,
    load_event,
    look_up,
    process,
)
from tests.unit.handlers.two_steps import ToldGateway, use

VALID = {"amount": 100.50, "currency": "USD", "customer_id": "cust-12345"}
DETAILS = {
    "payment_method": "pm_canary-token",
    "reference": "order 4711",
    "return_url": "https://shop.example/canary?order=4711",
}


def validate(key: str | None = None, **fields: Any) -> Response:
    event = load_event("validate", body=json.dumps(VALID | fields))
    if key is not None:
        event["headers"] = {"Idempotency-Key": key}
        event["multiValueHeaders"] = {"Idempotency-Key": [key]}
    return call(validation.handler, event)


def stored(aws: Aws, answer: Response) -> dict[str, Any]:
    return aws.dynamodb.items[answer.body["transaction_id"]]


def test_what_was_sent_is_stored_with_a_fingerprint_of_its_own(aws: Aws) -> None:
    item = stored(aws, validate(**DETAILS))
    assert {name: item[name]["S"] for name in DETAILS} == DETAILS
    # The release before this one computes that of what every payment has.
    assert item["fingerprint"]["S"] == fingerprint(Money(10050, "USD"), "cust-12345")
    assert item["details_fingerprint"]["S"] == fingerprint(
        Money(10050, "USD"), "cust-12345", DETAILS
    )


def test_a_payment_without_them_is_stored_as_ever(aws: Aws) -> None:
    assert not stored(aws, validate()).keys() & {*DETAILS, "details_fingerprint"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("payment_method", ""),
        ("payment_method", None),
        ("payment_method", 7),
        ("payment_method", "x" * 256),
        ("payment_method", "pm_a b"),
        ("payment_method", "pm_\x07"),
        ("payment_method", "pm_\n"),
        ("payment_method", "pm_é"),
        ("reference", ""),
        ("reference", "  "),
        ("reference", ["order"]),
        ("reference", "x" * 65),
        ("reference", "a\x00"),
        ("reference", "\ud800"),
        ("return_url", None),
        ("return_url", "http://shop.example/"),
        ("return_url", "HTTP://shop.example/"),
        ("return_url", "javascript:alert(1)"),
        ("return_url", "//shop.example/"),
        ("return_url", "https://"),
        ("return_url", "https:///path"),
        ("return_url", "https://user:secret@shop.example/"),
        ("return_url", "https://shop.example:port/"),
        ("return_url", "https://[::1]/"),
        ("return_url", "https://.example/"),
        ("return_url", "https://shop.example/\n"),
        ("return_url", "https://shop.example/a b"),
        ("return_url", "https://shop.example/<script>"),
        ("return_url", "https://shop.example\\@evil.example/"),
        ("return_url", "https://shop.example/" + "x" * 2048),
    ],
)
def test_one_that_breaks_its_rule_is_a_400_that_says_which_and_not_what(
    aws: Aws, capsys: pytest.CaptureFixture[str], name: str, value: object
) -> None:
    answer = validate(None, **{name: value})
    assert (answer.status, answer.body["error"]) == (400, f"Invalid {name}")
    if isinstance(value, str) and len(value) > 7:
        assert value not in answer.body["message"] + capsys.readouterr().out
    assert not aws.created


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("payment_method", "!"),
        ("payment_method", "~" * 255),
        ("reference", "Bestellung Nr. 4711, ö"),
        ("reference", "x" * 64),
        ("return_url", "https://shop.example"),
        ("return_url", "https://shop.example:8443/a?b=c&d=%20#e"),
        ("return_url", "https://shop.example/@you;a=b,(c)!"),
    ],
)
def test_one_that_keeps_it_is_stored_as_it_is(aws: Aws, name: str, value: str) -> None:
    assert stored(aws, validate(None, **{name: value}))[name] == {"S": value}


@pytest.mark.parametrize("name", DETAILS)
def test_the_same_key_with_another_one_is_another_payment(aws: Aws, name: str) -> None:
    first = validate("k", **DETAILS)
    assert validate("k", **DETAILS).headers["Idempotent-Replayed"] == "true"
    for changed in (
        DETAILS | {name: DETAILS[name] + "x"},
        {other: value for other, value in DETAILS.items() if other != name},
        {},
    ):
        answer = validate("k", **changed)
        assert (answer.status, answer.body["error"]) == (422, "Idempotency key reused")
    assert {key: stored(aws, first)[key]["S"] for key in DETAILS} == DETAILS


def test_a_key_that_was_used_without_any_is_not_reused_with_one(aws: Aws) -> None:
    assert validate("k").status == 200
    assert validate("k", reference="order").status == 422


@pytest.mark.parametrize("name", [*DETAILS, "details_fingerprint"])
@pytest.mark.parametrize("change", ["other", "gone"])
def test_a_row_whose_details_were_changed_is_never_charged(
    aws: Aws, clock: Clock, gateway: CountingGateway, name: str, change: str
) -> None:
    answer = validate(**DETAILS)
    item = stored(aws, answer)
    if change == "other":
        item[name] = {"S": item[name]["S"] + "x"}
    else:
        del item[name]
    assert process(answer.body["transaction_id"]).status == 500
    assert stored(aws, answer)["in_flight"] == {"S": "mismatched"}
    assert not gateway.keys


def test_a_row_with_a_detail_that_nobody_sent_is_never_charged() -> None:
    row = Transaction.validated("t", Money(1, "USD"), "c", Clock().now).to_record()
    with pytest.raises(Mismatched, match="details_fingerprint"):
        Transaction.payable(row | {"payment_method": "pm_of_somebody_else"})


def test_a_payment_that_could_not_be_stored_keeps_them_in_its_message(
    aws: Aws, clock: Clock
) -> None:
    aws.dynamodb.fail("PutItem")
    answer = validate(**DETAILS)
    aws.dynamodb.errors.clear()
    [body] = aws.queued()
    assert deliver(body) == []
    assert {name: stored(aws, answer)[name]["S"] for name in DETAILS} == DETAILS
    assert process(answer.body["transaction_id"]).status == 200


def test_none_of_them_is_logged_and_the_reference_alone_is_shown(
    aws: Aws, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = validate(**DETAILS).body["transaction_id"]
    shown = [process(transaction_id).body, look_up(transaction_id).body]
    assert shown[1]["reference"] == "order 4711"
    told = json.dumps(shown) + Output.read(capsys).text
    assert "canary" not in told
    assert "canary" not in repr(Transaction.payable(_plain(aws.dynamodb.items[transaction_id])))


def _plain(item: dict[str, Any]) -> dict[str, object]:
    return {name: value["S"] if "S" in value else int(value["N"]) for name, value in item.items()}


# What the gateway needs, and how it counts.


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> ToldGateway:
    return use(monkeypatch, ToldGateway())


@pytest.mark.usefixtures("told")
def test_what_the_gateway_needs_is_a_field_that_is_missing(aws: Aws) -> None:
    answer = validate()
    assert answer.status == 400
    assert answer.body == {"error": "Validation failed", "missing_fields": ["payment_method"]}
    assert validate(payment_method="pm_1").status == 200


@pytest.mark.usefixtures("told")
def test_a_currency_that_the_gateway_does_not_take_is_a_400(aws: Aws) -> None:
    answer = validate(payment_method="pm_1", currency="EUR")
    assert (answer.status, answer.body["error"]) == (400, "Invalid currency")
    assert not aws.created


@pytest.mark.usefixtures("told")
def test_an_amount_that_the_gateway_cannot_hold_is_a_400(aws: Aws) -> None:
    answer = validate(payment_method="pm_1", currency="MGA", amount=10.2)
    assert answer.body == {
        "error": "Invalid amount",
        "message": "Amount must have at most 0 decimals at the payment gateway",
    }
    assert validate(payment_method="pm_1", currency="MGA", amount=10).status == 200


@pytest.mark.parametrize(
    ("currency", "minor", "expected"), [("ISK", 5, 500), ("USD", 10050, 10050), ("MGA", 1000, 10)]
)
def test_an_amount_is_told_in_the_units_of_the_gateway(
    currency: str, minor: int, expected: int
) -> None:
    assert units(ToldGateway, Money(minor, currency)) == expected


def test_a_gateway_that_says_nothing_counts_as_iso_4217() -> None:
    assert units(CountingGateway, Money(5, "ISK")) == 5


def test_a_row_from_before_without_a_method_is_declined_and_nothing_is_prepared(
    aws: Aws, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction_id = validate().body["transaction_id"]
    told = use(monkeypatch, ToldGateway())
    answer = process(transaction_id)
    assert answer.status == 402
    assert answer.body == {
        "error": "Payment declined",
        "transaction_id": transaction_id,
        "reason": "no_payment_method",
        "another_method": True,
    }
    assert process(transaction_id).body == answer.body
    assert look_up(transaction_id).body["another_method"] is True
    assert not told.calls


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"currency": "EUR"}, "currency_not_supported"),
        ({"currency": "MGA", "amount": 10.2}, "amount_not_supported"),
    ],
)
def test_a_row_from_before_that_the_gateway_does_not_take_is_declined(
    aws: Aws, clock: Clock, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], reason: str
) -> None:
    transaction_id = validate(payment_method="pm_1", **fields).body["transaction_id"]
    told = use(monkeypatch, ToldGateway())
    assert process(transaction_id).body["reason"] == reason
    assert not told.calls
