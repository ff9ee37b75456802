"""GET /transactions/{transaction_id}."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import lookup
from handlers.shared.clock import epoch_seconds, utc_now
from handlers.shared.lookups import ATTRIBUTES, description
from handlers.shared.money import MAX_MINOR_UNITS, MINOR_DIGITS, Money
from handlers.shared.requests import location
from handlers.shared.states import ASIDE_KEYS
from handlers.shared.transactions import TYPES
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    CountingGateway,
    Output,
    call,
    load_event,
    look_up,
    process,
    validated,
)

if TYPE_CHECKING:
    from handlers.shared.requests import Event

STRANGER = "arn:aws:sts::999999999999:assumed-role/other/other"
COLLEAGUE = "arn:aws:sts::123456789012:assumed-role/colleague/one"
MOMENT = "2026-11-22T21:27:00.000000+00:00"


def test_a_validated_payment_is_told_with_the_amount_that_was_sent(aws: Aws, clock: Clock) -> None:
    transaction_id = validated()
    answer = look_up(transaction_id)
    assert answer.status == 200
    assert answer.body == {
        "transaction_id": transaction_id,
        "status": "validated",
        "amount": 100.5,
        "currency": "USD",
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }


def test_it_is_one_consistent_read_of_what_is_told_and_never_of_the_customer(aws: Aws) -> None:
    transaction_id = validated()
    aws.dynamodb.calls.clear()
    assert "cust-12345" not in json.dumps(look_up(transaction_id).body)
    [(operation, params)] = aws.dynamodb.calls
    assert operation == "GetItem"
    assert params["ConsistentRead"] is True
    read = set(params["ExpressionAttributeNames"].values())
    assert read == set(ATTRIBUTES)
    assert not read & {"customer_id", "fingerprint", "gateway_reference", "attempt_id"}
    assert read <= {*TYPES, "in_flight"}


def test_the_end_of_a_payment_is_told(aws: Aws, clock: Clock, gateway: CountingGateway) -> None:
    transaction_id = validated()
    clock.tick(60)
    process(transaction_id)
    told = look_up(transaction_id).body
    assert told["status"] == "processed"
    assert told["created_at"] == MOMENT
    assert told["processed_at"] == told["updated_at"] == "2026-11-22T21:28:00.000000+00:00"
    assert "retry_queued" not in told


def test_why_the_gateway_declined_is_told(aws: Aws, gateway: CountingGateway) -> None:
    transaction_id = validated()
    aws.dynamodb.items[transaction_id]["status"] = {"S": "declined"}
    aws.dynamodb.items[transaction_id]["decline_reason"] = {"S": "insufficient_funds"}
    told = look_up(transaction_id).body
    assert (told["status"], told["decline_reason"]) == ("declined", "insufficient_funds")


def test_a_client_whose_payment_was_queued_learns_its_end_without_a_charge(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    gateway.result = ConnectionError("canary-exception-text")
    queued = process(transaction_id)
    assert (queued.status, queued.body["retry"]) == (500, "queued")
    assert queued.headers["Location"] == f"/prod/transactions/{transaction_id}"
    charges = len(gateway.keys)
    told = look_up(transaction_id).body
    assert (told["status"], told["retry_queued"]) == ("processing", True)
    assert len(gateway.keys) == charges


@pytest.mark.parametrize(
    ("changes", "queued"),
    [
        ({"in_flight": "processing#3"}, True),
        ({"queued_until": 60}, True),
        ({"queued_until": 0}, False),
        ({"queued_until": -60}, False),
        ({"in_flight": "stuck", "queued_until": 60}, True),
        *(({"in_flight": key}, False) for key in ASIDE_KEYS),
        ({}, False),
        ({"queued_until": "tomorrow", "in_flight": 5}, False),
    ],
    ids=str,
)
def test_a_retry_is_queued_while_the_queue_or_the_scheduled_run_has_the_payment(
    changes: dict[str, Any], queued: bool
) -> None:
    now = utc_now()
    if isinstance(changes.get("queued_until"), int):
        changes = changes | {"queued_until": epoch_seconds(now) + changes["queued_until"]}
    told = description("t", row(status="processing", **changes), now)
    assert told["retry_queued"] is queued


def test_a_payment_in_flight_is_told_where_it_can_be_looked_up(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    answers = []
    gateway.meanwhile = lambda: answers.append(process(transaction_id))
    process(transaction_id)
    [answer] = answers
    assert answer.status == 409
    assert answer.headers["Location"] == f"/prod/transactions/{transaction_id}"


def test_an_answer_that_nothing_follows_names_the_place_all_the_same(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    aws.sqs.fail("SendMessage")
    gateway.result = ConnectionError()
    transaction_id = validated()
    answer = process(transaction_id)
    assert (answer.status, answer.body["retry"]) == (500, "not queued")
    assert answer.headers["Location"] == f"/prod/transactions/{transaction_id}"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/prod/process", "/prod/transactions/a%2Fb%3F"),
        ("/prod/process/", "/prod/transactions/a%2Fb%3F"),
        ("/process", "/transactions/a%2Fb%3F"),
        ("/shop/v1/process", "/shop/v1/transactions/a%2Fb%3F"),
        (None, "/transactions/a%2Fb%3F"),
    ],
)
def test_the_place_is_beside_the_endpoint_that_was_called(path: str | None, place: str) -> None:
    event: Event = {"requestContext": {"path": path}}
    assert location(event, "a/b?") == place
    assert location({}, "t") == "/transactions/t"


def test_unknown_payments_and_those_of_others_get_the_same_answer(aws: Aws) -> None:
    transaction_id = validated()
    of_another = look_up(transaction_id, userArn=STRANGER)
    colleagues = look_up(transaction_id, userArn=COLLEAGUE)
    aws.dynamodb.items.clear()
    unknown = look_up(transaction_id)
    for answer in (of_another, colleagues, unknown):
        assert (answer.status, answer.body) == (
            404,
            {"error": "Transaction not found", "transaction_id": transaction_id},
        )


def test_payments_of_the_account_are_told_where_its_principals_may_process_them(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYMENT_ACCESS", "account")
    transaction_id = validated()
    assert look_up(transaction_id, userArn=COLLEAGUE).status == 200
    assert look_up(transaction_id, userArn=STRANGER).status == 404


@pytest.mark.parametrize("transaction_id", ["a b", "é", "x" * 129, "\n", ""])
def test_a_malformed_id_is_refused_as_process_refuses_it(aws: Aws, transaction_id: str) -> None:
    answer = look_up(transaction_id)
    assert answer.status == 400
    if transaction_id:
        assert answer.body == process(transaction_id).body
    assert aws.dynamodb.calls == []


@pytest.mark.parametrize("parameters", [None, {}, {"transaction_id": None}])
def test_an_event_without_an_id_is_refused(aws: Aws, parameters: object) -> None:
    answer = call(
        lookup.handler,
        load_event("lookup", pathParameters=parameters),
    )
    assert (answer.status, answer.body["error"]) == (400, "Invalid transaction_id")


def row(**changes: object) -> dict[str, object]:
    whole = {
        **{"transaction_id": "t", "status": "validated", "amount": "100.50", "currency": "USD"},
        **{"created_at": MOMENT, "updated_at": MOMENT, "caller": "anonymous"},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    ("attribute", "item"),
    [
        ("status", {"S": "canary"}),
        ("status", {"N": "1"}),
        ("amount", {"N": "100.5"}),
        ("amount", {"S": "NaN canary"}),
        ("amount", {"S": "1e9"}),
        ("amount", {"S": "1234567890123"}),
        ("amount", {"S": "\u0661"}),
        ("currency", {"NULL": True}),
        ("created_at", {"M": {"canary": {"S": "canary"}}}),
        ("updated_at", None),
    ],
    ids=str,
)
def test_a_row_that_something_else_wrote_is_counted_and_its_content_told_to_nobody(
    aws: Aws,
    capsys: pytest.CaptureFixture[str],
    attribute: str,
    item: dict[str, Any] | None,
) -> None:
    transaction_id = validated()
    stored = aws.dynamodb.items[transaction_id]
    stored.pop(attribute)
    if item is not None:
        stored[attribute] = item
    Output.read(capsys)
    answer = look_up(transaction_id)
    assert answer.status == 500
    assert answer.body == {
        "error": "Lookup failed",
        "message": "The stored payment cannot be read; somebody has to look after it",
        "transaction_id": transaction_id,
    }
    output = Output.read(capsys)
    [line] = output.of("payment unreadable")
    assert (line["reason"], line["attribute"]) == ("row_unreadable", attribute)
    assert output.metrics == {"PaymentsUnreadable": [1], "Failures": [1]}
    assert "canary" not in output.text


@pytest.mark.parametrize("missing", ["processed_at", "decline_reason"])
def test_a_settled_row_without_its_end_is_unreadable(aws: Aws, missing: str) -> None:
    transaction_id = validated()
    status = "processed" if missing == "processed_at" else "declined"
    aws.dynamodb.items[transaction_id]["status"] = {"S": status}
    assert look_up(transaction_id).status == 500


def test_a_failure_of_dynamodb_is_answered_and_counted_as_the_others_are(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.dynamodb.fail("GetItem")
    answer = look_up("t")
    assert (answer.status, answer.body) == (
        500,
        {
            "error": "Lookup failed",
            "message": "The request could not be completed; please send it again",
            "transaction_id": "t",
        },
    )
    output = Output.read(capsys)
    assert output.metrics == {"Failures": [1]}
    [line] = output.of("lookup failed")
    assert (line["reason"], line["code"]) == ("store_unavailable", "InternalServerError")
    assert "canary" not in output.text
    assert aws.queued() == []


def test_a_broken_environment_is_answered_too(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRANSACTIONS_TABLE")
    assert look_up("t").status == 500
    assert Output.read(capsys).metrics == {"Failures": [1]}


def test_a_request_that_has_waited_too_long_is_not_begun(aws: Aws, clock: Clock) -> None:
    clock.tick(24)
    assert look_up("t").status == 500
    assert aws.dynamodb.calls == []


def test_the_log_names_the_payment_and_no_customer(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = validated()
    Output.read(capsys)
    look_up(transaction_id)
    output = Output.read(capsys)
    [line] = output.of("lookup")
    assert (line["transaction_id"], line["status"]) == (transaction_id, 200)
    assert output.metrics == {}
    assert "cust-12345" not in output.text


@given(st.data())
def test_every_amount_comes_back_as_the_number_that_it_is(data: st.DataObject) -> None:
    currency = data.draw(st.sampled_from(sorted(MINOR_DIGITS)))
    money = Money(data.draw(st.integers(1, MAX_MINOR_UNITS)), currency)
    told = description("t", row(amount=money.amount, currency=currency), utc_now())
    [number] = json.loads(json.dumps([told["amount"]]), parse_float=Decimal, parse_int=Decimal)
    assert number == Decimal(money.amount)
