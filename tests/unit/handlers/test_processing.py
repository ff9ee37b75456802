from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from handlers import validation
from handlers.processing import handler
from handlers.shared.gateway import Charged
from handlers.shared.transactions import LEASE_SECONDS
from tests.unit.handlers.bodies import HOSTILE
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    CountingGateway,
    Output,
    Response,
    call,
    ids_and_keys,
    load_event,
)

pytestmark = pytest.mark.usefixtures("clock")


def validated(customer_id: str = "canary-customer") -> str:
    body = json.dumps({"amount": 100.50, "currency": "USD", "customer_id": customer_id})
    transaction_id = call(validation.handler, load_event("validate", body=body)).body[
        "transaction_id"
    ]
    assert isinstance(transaction_id, str)
    return transaction_id


def process(transaction_id: object) -> Response:
    body = json.dumps({"transaction_id": transaction_id})
    return call(handler, load_event("process", body=body))


def updates(aws: Aws) -> int:
    return len(aws.dynamodb.called("UpdateItem"))


def test_a_validated_payment_is_charged_with_two_updates(
    aws: Aws, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    answer = process(transaction_id)
    assert answer.status == 200
    assert answer.body == {
        "message": "Payment processed successfully",
        "transaction_id": transaction_id,
        "status": "processed",
        "processed_at": "2026-11-22T21:27:00.000000+00:00",
    }
    assert gateway.keys == [transaction_id]
    assert [name for name, _ in aws.dynamodb.calls] == ["PutItem", "UpdateItem", "UpdateItem"]
    assert set(aws.created) == {"dynamodb"}


def test_a_processed_payment_is_not_charged_again(aws: Aws, gateway: CountingGateway) -> None:
    transaction_id = validated()
    process(transaction_id)
    answer = process(transaction_id)
    assert answer.status == 200
    assert answer.body == {
        "message": "Transaction already processed",
        "transaction_id": transaction_id,
        "status": "processed",
    }
    assert gateway.keys == [transaction_id]


@pytest.mark.parametrize("body", ["{}", '{"transaction_id": null}', '{"transaction_id": ""}'])
def test_a_request_without_transaction_id_is_a_400(aws: Aws, body: str) -> None:
    answer = call(handler, load_event("process", body=body))
    assert (answer.status, answer.body) == (400, {"error": "Missing transaction_id"})


@pytest.mark.parametrize("transaction_id", [5, False, [], {}, " ", "a b", "é", "\ud800", "x" * 129])
def test_a_malformed_transaction_id_is_a_400(aws: Aws, transaction_id: object) -> None:
    answer = process(transaction_id)
    assert answer.status == 400
    assert answer.body.keys() == {"error", "message"}
    assert not aws.created


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body_is_a_400_and_touches_nothing(aws: Aws, changes: dict[str, Any]) -> None:
    answer = call(handler, load_event("process", **{"body": None} | changes))
    assert answer.status == 400
    assert answer.body.keys() == {"error", "message"}
    assert not aws.created


def test_an_unknown_transaction_is_a_404(aws: Aws, gateway: CountingGateway) -> None:
    answer = process("unknown")
    assert answer.status == 404
    assert answer.body == {"error": "Transaction not found", "transaction_id": "unknown"}
    assert not gateway.keys


def test_a_declined_payment_is_a_402_then_and_after(aws: Aws) -> None:
    transaction_id = validated("sim-decline")
    expected = {
        "error": "Payment declined",
        "transaction_id": transaction_id,
        "reason": "insufficient_funds",
    }
    for _ in range(2):
        answer = process(transaction_id)
        assert (answer.status, answer.body) == (402, expected)


def test_of_two_requests_at_once_one_charges_and_the_other_is_a_409(
    aws: Aws, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    answers: list[Response] = []
    gateway.meanwhile = lambda: answers.append(process(transaction_id))
    answers.append(process(transaction_id))
    racing, winning = answers
    assert winning.status == 200
    assert racing.status == 409
    assert racing.body == {"error": "Transaction in progress", "transaction_id": transaction_id}
    assert racing.headers["Retry-After"] == str(LEASE_SECONDS)
    assert gateway.keys == [transaction_id]


def test_two_claims_racing_charge_once(aws: Aws, gateway: CountingGateway) -> None:
    transaction_id = validated()
    answers: list[Response] = []

    def overtake() -> None:
        aws.dynamodb.before_update = lambda: None
        answers.append(process(transaction_id))

    aws.dynamodb.before_update = overtake
    answers.append(process(transaction_id))
    assert [answer.status for answer in answers] == [200, 200]
    assert gateway.keys == [transaction_id]


def test_a_charge_slower_than_its_lease_is_answered_with_what_the_row_says(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    answers: list[Response] = []

    def overtaken() -> None:
        clock.tick(LEASE_SECONDS + 1)
        answers.append(process(transaction_id))

    gateway.meanwhile = overtaken
    answers.append(process(transaction_id))
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body
    assert gateway.keys == [transaction_id] * 2
    assert not aws.sqs.calls


def test_a_capture_that_is_not_the_one_on_record_is_reported(
    aws: Aws, clock: Clock, gateway: CountingGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = validated()

    def overtaken() -> None:
        clock.tick(LEASE_SECONDS + 1)
        process(transaction_id)
        gateway.result = Charged("second-capture")

    gateway.meanwhile = overtaken
    assert process(transaction_id).status == 200
    assert "capture is not the one on record" in capsys.readouterr().out


def test_lost_answers_do_not_fail_a_payment(aws: Aws, gateway: CountingGateway) -> None:
    transaction_id = validated()
    aws.dynamodb.losing_answers = True
    answer = process(transaction_id)
    assert answer.body["message"] == "Payment processed successfully"
    assert gateway.keys == [transaction_id]


@pytest.mark.parametrize(
    ("customer_id", "reason"),
    [("sim-unavailable", "gateway_unavailable"), ("sim-timeout", "gateway_timeout")],
)
def test_a_failed_charge_is_queued_before_its_lease_is_let_go(
    aws: Aws, customer_id: str, reason: str
) -> None:
    transaction_id = validated(customer_id)
    queued_at: list[int] = []
    aws.dynamodb.before_update = lambda: queued_at.append(len(aws.sqs.calls))
    answer = process(transaction_id)
    assert answer.status == 500
    assert answer.body.pop("message")
    assert answer.body == {
        "error": "Processing failed",
        "transaction_id": transaction_id,
        "retry": "queued",
    }
    assert queued_at == [0, 1]
    [sent] = aws.sqs.called("SendMessage")
    assert json.loads(sent["MessageBody"]) == {
        "version": 1,
        "operation": "process",
        "transaction_id": transaction_id,
        "reason": reason,
        "request_id": answer.headers["X-Request-Id"],
        "first_failed_at": "2026-11-22T21:27:00.000000+00:00",
    }
    item = aws.dynamodb.items[transaction_id]
    assert item["status"] == {"S": "processing"}
    assert "in_flight" in item
    assert process(transaction_id).status == 500  # not 409: the lease is free


def test_a_claim_that_fails_is_queued(aws: Aws, gateway: CountingGateway) -> None:
    transaction_id = validated()
    aws.dynamodb.fail("UpdateItem")
    answer = process(transaction_id)
    assert (answer.status, answer.body["retry"]) == (500, "queued")
    assert not gateway.keys


def test_a_claim_without_an_answer_is_let_go_all_the_same(
    aws: Aws, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    took_effect = aws.dynamodb.update_item

    def lose_the_answer(**params: Any) -> dict[str, Any]:
        aws.dynamodb.update_item = took_effect  # type: ignore[method-assign]
        took_effect(**params)
        raise ReadTimeoutError(endpoint_url="https://canary")

    aws.dynamodb.update_item = lose_the_answer  # type: ignore[method-assign]
    answer = process(transaction_id)
    assert (answer.status, answer.body["retry"]) == (500, "queued")
    assert aws.dynamodb.items[transaction_id]["status"] == {"S": "processing"}
    assert not gateway.keys
    assert process(transaction_id).status == 200  # not 409 for 90 s


def test_a_charge_that_cannot_be_recorded_is_queued_and_found_by_the_next_attempt(
    aws: Aws, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    gateway.meanwhile = lambda: aws.dynamodb.fail("UpdateItem")
    answer = process(transaction_id)
    assert (answer.status, answer.body["retry"]) == (500, "queued")
    aws.dynamodb.errors.clear()
    assert process(transaction_id).status == 409  # letting go failed too: the lease must run out


def test_after_an_abandoned_lease_the_same_key_charges_again(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    gateway.meanwhile = lambda: aws.dynamodb.fail("UpdateItem")
    process(transaction_id)
    aws.dynamodb.errors.clear()
    clock.tick(LEASE_SECONDS + 1)
    assert process(transaction_id).status == 200
    assert gateway.keys == [transaction_id] * 2


def test_a_failure_that_cannot_be_queued_says_so_and_still_lets_go(aws: Aws) -> None:
    transaction_id = validated("sim-timeout")
    aws.sqs.fail("SendMessage")
    answer = process(transaction_id)
    assert (answer.status, answer.body["retry"]) == (500, "not queued")
    assert updates(aws) == 2


def test_an_unforeseen_failure_is_a_500_that_names_the_transaction(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRANSACTIONS_TABLE")
    answer = process("t-1")
    assert answer.status == 500
    assert (answer.body["transaction_id"], answer.body["retry"]) == ("t-1", "not queued")


@pytest.mark.parametrize("failing", [(), ("UpdateItem",), ("UpdateItem", "SendMessage")])
def test_no_log_line_answer_or_message_holds_a_customer_id_or_the_text_of_an_exception(
    aws: Aws, capsys: pytest.CaptureFixture[str], failing: tuple[str, ...]
) -> None:
    transaction_id = validated()
    for operation in failing:
        (aws.dynamodb if operation == "UpdateItem" else aws.sqs).fail(operation)
    answer = process(transaction_id)
    captured = capsys.readouterr()
    sent = str(aws.sqs.calls)
    assert "canary" not in captured.out + captured.err + str(answer.body) + sent


def test_every_capture_is_one_log_line(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = validated()
    process(transaction_id)
    process(transaction_id)
    [capture] = map(ids_and_keys, Output.read(capsys).of("captured"))
    assert capture.pop("gateway_reference").startswith("sim_")
    assert capture == {
        "request_id": load_event("process")["requestContext"]["requestId"],
        "transaction_id": transaction_id,
        "amount_minor": 10050,
        "currency": "USD",
    }
