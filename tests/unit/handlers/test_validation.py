from __future__ import annotations

import json
import uuid
from asyncio import CancelledError
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from handlers.shared.aws import clients
from handlers.validation import handler
from tests.unit.handlers.bodies import HOSTILE
from tests.unit.handlers.fakes import client_error
from tests.unit.handlers.harness import Aws, Output, Response, call, ids_and_keys, load_event

VALID = {"amount": 100.50, "currency": "USD", "customer_id": "cust-12345"}


def post(**changes: Any) -> Response:
    return call(handler, load_event("validate", body=json.dumps(VALID | changes)))


def test_a_valid_payment_is_stored_with_one_put(aws: Aws) -> None:
    answer = call(handler, load_event("validate"))
    assert answer.status == 200
    transaction_id = answer.body["transaction_id"]
    assert uuid.UUID(transaction_id).version == 4
    assert answer.body == {
        "message": "Payment validated successfully",
        "transaction_id": transaction_id,
        "status": "validated",
    }
    assert [name for name, _ in aws.dynamodb.calls] == ["PutItem"]
    assert aws.dynamodb.items[transaction_id]["amount"] == {"S": "100.50"}
    assert aws.created == ["dynamodb"]


def test_every_field_that_is_missing_is_named(aws: Aws) -> None:
    answer = call(handler, load_event("validate", body='{"currency": "USD"}'))
    assert answer.status == 400
    assert answer.body == {
        "error": "Validation failed",
        "missing_fields": ["amount", "customer_id"],
    }


@pytest.mark.parametrize("amount", [None, "100", True, 0, -1, [1]])
def test_an_amount_that_is_no_positive_number_is_a_400(aws: Aws, amount: object) -> None:
    answer = post(amount=amount)
    assert answer.status == 400
    assert answer.body == {
        "error": "Invalid amount",
        "message": "Amount must be a positive number",
    }


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"amount": 1.005}, "Invalid amount"),
        ({"amount": 1e300}, "Invalid amount"),
        ({"currency": None}, "Invalid currency"),
        ({"currency": "usd"}, "Invalid currency"),
        ({"currency": "XAU"}, "Invalid currency"),
        ({"customer_id": None}, "Invalid customer_id"),
        ({"customer_id": " "}, "Invalid customer_id"),
        ({"customer_id": "a\x00"}, "Invalid customer_id"),
        ({"customer_id": "\ud800"}, "Invalid customer_id"),
    ],
)
def test_a_field_that_breaks_its_rule_is_a_400_that_says_which(
    aws: Aws, changes: dict[str, Any], error: str
) -> None:
    answer = post(**changes)
    assert answer.status == 400
    assert answer.body["error"] == error
    assert answer.body["message"]
    assert not aws.created


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body_is_a_400_and_touches_nothing(aws: Aws, changes: dict[str, Any]) -> None:
    answer = call(handler, load_event("validate", **{"body": None} | changes))
    assert answer.status == 400
    assert answer.body.keys() == {"error", "message"}
    assert not aws.created


def test_fields_that_nobody_asked_for_are_not_stored(aws: Aws) -> None:
    answer = post(status="processed", card_number="4111")
    item = aws.dynamodb.items[answer.body["transaction_id"]]
    assert item["status"] == {"S": "validated"}
    assert "card_number" not in item


@pytest.mark.parametrize(
    "error",
    [client_error("InternalServerError"), EndpointConnectionError(endpoint_url="https://canary")],
)
def test_a_payment_that_cannot_be_stored_is_queued_with_its_record(
    aws: Aws, error: Exception
) -> None:
    aws.dynamodb.fail("PutItem", error)
    answer = post()
    assert answer.status == 500
    assert answer.body["error"] == "Validation failed"
    assert answer.body["retry"] == "queued"
    [sent] = aws.sqs.called("SendMessage")
    message = json.loads(sent["MessageBody"])
    record = message.pop("record")
    assert message.pop("first_failed_at").endswith("+00:00")
    assert message == {
        "version": 1,
        "operation": "validate",
        "transaction_id": answer.body["transaction_id"],
        "reason": "store_unavailable",
        "request_id": answer.headers["X-Request-Id"],
    }
    assert record.keys() == {
        *("transaction_id", "amount", "amount_minor", "currency", "customer_id"),
        *("status", "fingerprint", "created_at", "updated_at"),
    }
    assert (record["amount"], record["amount_minor"]) == ("100.50", 10050)


@pytest.mark.parametrize("ended", [SystemExit("canary"), CancelledError("canary")], ids=repr)
def test_a_gateway_class_that_ends_the_program_is_a_500_and_nothing_is_stored(
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ended: BaseException,
) -> None:
    class Ending:
        @staticmethod
        def digits(_currency: str) -> int:
            raise ended

    monkeypatch.setattr(clients, "gateway_class", lambda: Ending)
    answer = post()
    assert (answer.status, answer.body["error"]) == (500, "Validation failed")
    assert "canary" not in Output.read(capsys).text
    assert not aws.dynamodb.items


def test_a_payment_that_cannot_be_queued_either_says_so(aws: Aws) -> None:
    aws.dynamodb.fail("PutItem")
    aws.sqs.fail("SendMessage")
    answer = post()
    assert answer.status == 500
    assert answer.body["retry"] == "not queued"
    assert answer.body["transaction_id"]


def test_a_lost_answer_does_not_fail_a_payment_that_is_stored(aws: Aws) -> None:
    aws.dynamodb.losing_answers = True
    assert post().status == 200


def test_an_unforeseen_failure_is_a_500_without_its_text(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRANSACTIONS_TABLE")
    answer = post()
    assert answer.status == 500
    assert answer.body.keys() == {"error", "message", "transaction_id", "retry"}
    assert "TRANSACTIONS_TABLE" not in str(answer.body)
    [line] = Output.read(capsys).of("unexpected failure")
    assert (line["level"], line["type"], line["code"]) == ("ERROR", "KeyError", "KeyError")


@pytest.mark.parametrize("customer_id", ["canary-customer", "canary-customer\n"])
@pytest.mark.parametrize("failing", [(), ("PutItem",), ("PutItem", "SendMessage")])
def test_no_log_line_or_answer_holds_a_customer_id_a_body_or_the_text_of_an_exception(
    aws: Aws, capsys: pytest.CaptureFixture[str], customer_id: str, failing: tuple[str, ...]
) -> None:
    for operation in failing:
        (aws.dynamodb if operation == "PutItem" else aws.sqs).fail(operation)
    answer = post(customer_id=customer_id, note="canary-body")
    captured = capsys.readouterr()
    assert "canary" not in captured.out + captured.err + str(answer.body)
    for sent in aws.sqs.called("SendMessage"):
        message = json.loads(sent["MessageBody"])
        assert message.pop("record")["customer_id"] == customer_id
        assert "canary" not in str(message)


def test_each_request_is_one_json_line_with_its_ids(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = post()
    [line] = Output.read(capsys).lines
    shape = ("level", "message", "timestamp", "service", "request_id", "status")
    assert tuple(line) == (*shape, "transaction_id")
    assert (line["level"], line["message"]) == ("INFO", "validate")
    assert ids_and_keys(line) == {
        "request_id": answer.headers["X-Request-Id"],
        "status": 200,
        "transaction_id": answer.body["transaction_id"],
    }
