"""A payment of one caller never moves for another, by whichever way it is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handlers import processing, retry, validation
from handlers.shared.callers import caller_of
from handlers.shared.gateway import GatewayTimeout
from tests.unit.handlers.harness import (
    Aws,
    CountingGateway,
    LambdaContext,
    Response,
    call,
    load_event,
)

pytestmark = pytest.mark.usefixtures("clock")

ACCOUNT = "arn:aws:sts::123456789012:assumed-role"
ALICE, BOB = f"{ACCOUNT}/alice/session", f"{ACCOUNT}/bob/session"
USER = "arn:aws:iam::123456789012:user/carol"
STRANGER = "arn:aws:sts::210987654321:assumed-role/alice/session"


def event(name: str, arn: str | None, **changes: Any) -> dict[str, Any]:
    changed = load_event(name, **changes)
    changed["requestContext"]["identity"]["userArn"] = arn
    return changed


def validated(arn: str | None = ALICE) -> str:
    return str(call(validation.handler, event("validate", arn)).body["transaction_id"])


def process(transaction_id: str, arn: str | None) -> Response:
    body = json.dumps({"transaction_id": transaction_id})
    return call(processing.handler, event("process", arn, body=body))


def redeliver(aws: Aws) -> int:
    """Give every message that was sent to payment-retry; return how many come back."""
    records = [one.record() for one in aws.sqs.queue.messages.values()]
    answer = retry.handler({"Records": records}, LambdaContext())
    return len(answer["batchItemFailures"])


def test_all_sessions_of_a_role_are_one_caller_and_an_open_api_has_one_too() -> None:
    assert caller_of(event("process", ALICE)) == f"{ACCOUNT}/alice"
    assert caller_of(event("process", USER)) == USER
    assert caller_of(event("process", None)) == caller_of({}) == "anonymous"


@pytest.mark.parametrize("other", [BOB, USER, STRANGER, None])
def test_for_another_caller_a_payment_is_unknown_in_every_state(
    aws: Aws, gateway: CountingGateway, other: str | None
) -> None:
    transaction_id = validated()
    unknown = {"error": "Transaction not found", "transaction_id": transaction_id}
    answers = [process(transaction_id, other)]
    gateway.meanwhile = lambda: answers.append(process(transaction_id, other))
    assert process(transaction_id, ALICE).status == 200
    answers.append(process(transaction_id, other))
    assert [(answer.status, answer.body) for answer in answers] == [(404, unknown)] * 3
    assert gateway.keys == [transaction_id]
    assert not aws.sqs.calls
    assert process(transaction_id, ALICE).body["message"] == "Transaction already processed"


@pytest.mark.parametrize(("other", "may"), [(BOB, True), (USER, True), (STRANGER, False)])
def test_by_account_every_principal_of_the_account_may_process(
    aws: Aws,
    gateway: CountingGateway,
    monkeypatch: pytest.MonkeyPatch,
    other: str,
    may: bool,
) -> None:
    monkeypatch.setenv("PAYMENT_ACCESS", "account")
    transaction_id = validated()
    assert process(transaction_id, None).status == 404
    assert process(transaction_id, other).status == (200 if may else 404)


def test_an_id_that_another_caller_queues_while_the_table_is_away_is_not_charged_by_the_retry(
    aws: Aws, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    aws.dynamodb.fail("UpdateItem")
    assert process(transaction_id, BOB).body["retry"] == "queued"
    aws.dynamodb.errors.clear()
    assert redeliver(aws) == 1
    assert aws.dynamodb.items[transaction_id]["status"] == {"S": "validated"}
    assert not gateway.keys


def test_what_its_own_caller_has_queued_is_charged_by_the_retry(
    aws: Aws, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    gateway.result = GatewayTimeout()
    assert process(transaction_id, ALICE).status == 500
    gateway.result = None
    assert redeliver(aws) == 0
    assert aws.dynamodb.items[transaction_id]["status"] == {"S": "processed"}


def test_a_payment_that_the_retry_stores_has_its_caller_all_the_same(
    aws: Aws, gateway: CountingGateway
) -> None:
    aws.dynamodb.fail("PutItem")
    transaction_id = validated()
    aws.dynamodb.errors.clear()
    # The release before this one reads the body, and takes no field that it does not know.
    assert "caller" not in aws.queued()[0]
    assert redeliver(aws) == 0
    assert aws.dynamodb.items[transaction_id]["caller"] == {"S": f"{ACCOUNT}/alice"}
    assert process(transaction_id, BOB).status == 404


def test_a_row_of_an_earlier_release_is_open_to_every_caller(
    aws: Aws, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    del aws.dynamodb.items[transaction_id]["caller"]
    assert process(transaction_id, STRANGER).status == 200


def test_what_an_open_api_has_taken_stays_open_when_callers_have_to_sign(
    aws: Aws, gateway: CountingGateway
) -> None:
    transaction_id = validated(None)
    assert aws.dynamodb.items[transaction_id]["caller"] == {"S": "anonymous"}
    assert process(transaction_id, ALICE).status == 200


def test_a_message_without_a_caller_acts_for_the_system(aws: Aws, gateway: CountingGateway) -> None:
    transaction_id = validated()
    message = json.loads(load_event("sqs")["Records"][0]["body"])
    body = json.dumps(message | {"transaction_id": transaction_id})
    aws.sqs.send_message(QueueUrl="https://sqs", MessageBody=body)
    assert redeliver(aws) == 0
    assert gateway.keys == [transaction_id]


def test_of_two_callers_that_a_message_names_its_attribute_is_the_one(
    aws: Aws, gateway: CountingGateway
) -> None:
    """The attribute is what API Gateway said; the record's is a later release's."""
    aws.dynamodb.fail("PutItem")
    transaction_id = validated()
    aws.dynamodb.errors.clear()
    [sent] = aws.sqs.called("SendMessage")
    body = json.loads(sent["MessageBody"])
    body["record"]["caller"] = f"{ACCOUNT}/bob"
    sent["MessageBody"] = json.dumps(body)
    assert redeliver(aws) == 0
    assert aws.dynamodb.items[transaction_id]["caller"] == {"S": f"{ACCOUNT}/alice"}
