from __future__ import annotations

import json
from typing import Any

import pytest

from handlers import health_monitor, processing, validation
from handlers.shared.gateway import Charged, Declined, GatewayTimeout
from handlers.shared.recovery import RecoveryIncomplete
from handlers.shared.transactions import LEASE_SECONDS
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    CountingGateway,
    LambdaContext,
    Output,
    call,
    deliver,
    load_event,
)

Capture = pytest.CaptureFixture[str]


def validate(**changes: Any) -> str:
    event = load_event("validate")
    event["multiValueHeaders"]["Idempotency-Key"] = ["order-1"]
    event["body"] = json.dumps(json.loads(event["body"]) | changes)
    return str(call(validation.handler, event).body.get("transaction_id"))


def process(transaction_id: str) -> int:
    body = json.dumps({"transaction_id": transaction_id})
    return call(processing.handler, load_event("process", body=body)).status


def measured(capsys: Capture) -> dict[str, list[float]]:
    """The values since the last time; how long the gateway took is only known to be known."""
    metrics = Output.read(capsys).metrics
    for milliseconds in metrics.get("GatewayLatency", []):
        assert 0 <= milliseconds < 1000
    latencies = metrics.pop("GatewayLatency", None)
    return metrics | ({"GatewayLatency": [0.0] * len(latencies)} if latencies else {})


def message(transaction_id: str) -> str:
    body = json.loads(load_event("sqs")["Records"][0]["body"])
    return json.dumps(body | {"transaction_id": transaction_id})


def test_a_payment_is_counted_as_validated_once_and_not_when_replayed(
    aws: Aws, clock: Clock, capsys: Capture
) -> None:
    validate()
    assert measured(capsys) == {"PaymentsValidated": [1]}
    clock.tick(1)
    validate()
    assert measured(capsys) == {}


def test_what_the_client_has_to_change_counts_nothing(aws: Aws, capsys: Capture) -> None:
    validate()
    measured(capsys)
    validate(amount=-1)
    validate(amount=200)
    process("")
    process("unknown")
    assert measured(capsys) == {}


def test_a_charge_is_counted_and_timed_once(
    aws: Aws, gateway: CountingGateway, capsys: Capture
) -> None:
    transaction_id = validate()
    measured(capsys)
    process(transaction_id)
    assert measured(capsys) == {"PaymentsProcessed": [1], "GatewayLatency": [0]}
    process(transaction_id)
    assert measured(capsys) == {}


def test_a_declined_payment_is_counted_once(
    aws: Aws, gateway: CountingGateway, capsys: Capture
) -> None:
    transaction_id = validate()
    measured(capsys)
    gateway.result = Declined("insufficient_funds")
    process(transaction_id)
    assert measured(capsys) == {"PaymentsDeclined": [1], "GatewayLatency": [0]}
    process(transaction_id)
    assert measured(capsys) == {}


def test_a_gateway_that_fails_is_timed_and_the_500_is_a_failure(
    aws: Aws, gateway: CountingGateway, capsys: Capture
) -> None:
    transaction_id = validate()
    measured(capsys)
    gateway.result = GatewayTimeout()
    process(transaction_id)
    assert measured(capsys) == {"Failures": [1], "GatewayLatency": [0]}


def test_a_message_that_cannot_be_queued_is_counted(aws: Aws, capsys: Capture) -> None:
    aws.dynamodb.fail("PutItem")
    validate()
    assert measured(capsys) == {"Failures": [1]}
    aws.sqs.fail("SendMessage")
    validate()
    assert measured(capsys) == {"Failures": [1], "RetriesNotQueued": [1]}


def test_an_unforeseen_500_is_a_failure(
    aws: Aws, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRANSACTIONS_TABLE")
    validate()
    assert measured(capsys) == {"Failures": [1]}
    process("t-1")
    assert measured(capsys) == {"Failures": [1]}
    call(health_monitor.handler, load_event("health"))
    assert measured(capsys) == {"Failures": [1]}


def test_a_degraded_system_is_not_a_failure_of_the_answer(aws: Aws, capsys: Capture) -> None:
    aws.cloudwatch.fail("GetMetricData")
    event = load_event("health", queryStringParameters={"strict": "true"})
    assert call(health_monitor.handler, event).status == 503
    assert measured(capsys) == {}


def test_a_retry_counts_each_message_that_succeeded_and_what_it_did(
    aws: Aws, gateway: CountingGateway, capsys: Capture
) -> None:
    aws.dynamodb.fail("PutItem")
    transaction_id = validate()
    aws.dynamodb.errors.clear()
    measured(capsys)
    deliver(*aws.queued(), message(transaction_id), message("unknown"), message(transaction_id))
    assert measured(capsys) == {
        "PaymentsValidated": [1],
        "PaymentsProcessed": [1],
        "PaymentsRetried": [1, 1, 1],
        "GatewayLatency": [0],
    }


def test_a_retry_that_fails_is_no_failure_of_an_answer_and_not_retried(
    aws: Aws, gateway: CountingGateway, capsys: Capture
) -> None:
    transaction_id = validate()
    measured(capsys)
    gateway.result = GatewayTimeout()
    deliver(message(transaction_id))
    assert measured(capsys) == {"GatewayLatency": [0]}


def test_who_lost_the_lease_to_an_attempt_that_goes_on_counts_nothing_as_processed(
    aws: Aws, clock: Clock, gateway: CountingGateway, capsys: Capture
) -> None:
    transaction_id = validate()
    measured(capsys)

    def overtaken() -> None:
        clock.tick(LEASE_SECONDS + 1)
        item = aws.dynamodb.items[transaction_id]
        item["attempt_id"] = {"S": "another"}

    gateway.meanwhile = overtaken
    gateway.result = Charged("ref")
    assert process(transaction_id) == 409
    assert measured(capsys) == {"GatewayLatency": [0]}


@pytest.mark.parametrize("failing", ["PutItem", "UpdateItem"])
def test_nothing_is_left_over_for_the_next_invocation(
    aws: Aws, gateway: CountingGateway, capsys: Capture, failing: str
) -> None:
    transaction_id = validate()
    process(transaction_id)
    aws.dynamodb.fail(failing)
    validate()
    process(transaction_id)
    deliver(message(transaction_id))
    aws.dynamodb.errors.clear()
    health_monitor.handler(load_event("scheduled"), LambdaContext())
    measured(capsys)
    call(health_monitor.handler, load_event("health"))
    process("unknown")
    assert measured(capsys) == {}


def test_a_scheduled_run_that_fails_leaves_nothing_over(aws: Aws, capsys: Capture) -> None:
    aws.dynamodb.fail("Query")
    with pytest.raises(RecoveryIncomplete):
        health_monitor.handler(load_event("scheduled"), LambdaContext())
    assert measured(capsys) == {
        "Degraded": [0],
        "PaymentsStopped": [0],
        "WriteThrottleEvents": [0],
        "IndexWriteThrottleEvents": [0],
        "ScheduledRuns": [0],
    }
    process("unknown")
    assert measured(capsys) == {}


def test_the_metrics_of_a_request_are_one_line(
    aws: Aws, gateway: CountingGateway, capsys: Capture
) -> None:
    transaction_id = validate()
    capsys.readouterr()
    process(transaction_id)
    assert sum("_aws" in line for line in capsys.readouterr().out.splitlines()) == 1


def test_only_a_failure_of_a_published_version_is_counted_by_that_too(
    aws: Aws, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "payment-validation-dev")
    aws.dynamodb.fail("PutItem")
    for version, counted in (
        ("$LATEST", []),
        ("7", [("payment-validation-dev:7", "Failures")]),
    ):
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_VERSION", version)
        validate()
        output = Output.read(capsys)
        assert (output.metrics, output.of_version) == ({"Failures": [1]}, counted)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_VERSION", "7")
    aws.dynamodb.errors.clear()
    validate()
    output = Output.read(capsys)
    assert (output.metrics, output.of_version) == ({"PaymentsValidated": [1]}, [])
