"""payment-retry and the scheduled run on real queues: what fails ends settled or dead."""

import json
from typing import Any

import pytest

from payment_infra.local.emulator import Emulator
from tests.e2e.conftest import Deploy
from tests.e2e.harness import PAYMENT, Deployed, until

SCHEDULED = {"source": "aws.events", "detail-type": "Scheduled Event"}


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy) -> Deployed:
    """Return a stack whose failed messages come back at once, so that no test waits minutes."""
    deployed = deploy(aws, "retry-1", authorization="none")
    deployed.session.client("sqs").set_queue_attributes(
        QueueUrl=queue(deployed, "FailedTransactionsQueue"), Attributes={"VisibilityTimeout": "1"}
    )
    return deployed


def queue(deployed: Deployed, logical_id: str) -> str:
    return deployed.stack.physical_ids()[logical_id]


def validated(deployed: Deployed, customer_id: str) -> str:
    answer = deployed.api().call("POST", "validate", PAYMENT | {"customer_id": customer_id})
    return str(answer.field("transaction_id"))


def row(deployed: Deployed, transaction_id: str) -> dict[str, Any]:
    answer = deployed.session.client("dynamodb").get_item(
        TableName="transactions-retry-1", Key={"transaction_id": {"S": transaction_id}}
    )
    return dict(answer.get("Item", {}))


def change(deployed: Deployed, transaction_id: str, **values: dict[str, str]) -> None:
    """Change a row by hand, or make one."""
    for name, value in values.items():
        deployed.session.client("dynamodb").update_item(
            TableName="transactions-retry-1",
            Key={"transaction_id": {"S": transaction_id}},
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": value},
        )


def send(deployed: Deployed, caller: str | None = None, **message: object) -> None:
    body = {
        "version": 1,
        "reason": "store_unavailable",
        "request_id": "the-first-request",
        "first_failed_at": "2026-11-22T21:27:00.000000+00:00",
    }
    attributes: Any = {"caller": {"DataType": "String", "StringValue": caller}} if caller else {}
    deployed.session.client("sqs").send_message(
        QueueUrl=queue(deployed, "FailedTransactionsQueue"),
        MessageBody=json.dumps(body | message),
        MessageAttributes=attributes,
    )


def dead(deployed: Deployed, text: str) -> list[str]:
    """Return the dead letters with this text, and leave them there."""
    answer = deployed.session.client("sqs").receive_message(
        QueueUrl=queue(deployed, "FailedTransactionsDLQ"),
        MaxNumberOfMessages=10,
        VisibilityTimeout=0,
    )
    return [one["Body"] for one in answer.get("Messages", []) if text in one["Body"]]


def test_a_queued_payment_is_charged_and_never_twice(deployed: Deployed) -> None:
    transaction_id = validated(deployed, "cust-1")
    send(deployed, operation="process", transaction_id=transaction_id)
    until(lambda: row(deployed, transaction_id)["status"] == {"S": "processed"})
    # Only now: while the first one holds the payment, another waits for its next receive, and has
    # three. Each message may be received again while it is handled, so more lines may be there.
    send(deployed, operation="process", transaction_id=transaction_id)
    until(
        lambda: (
            len(
                {
                    json.loads(line)["message_id"]
                    for line in lines(deployed, "retried", transaction_id)
                }
            )
            == 2
        )
    )
    assert len(lines(deployed, "captured", transaction_id)) == 1
    assert all("the-first-request" in line for line in lines(deployed, "retried", transaction_id))


def lines(deployed: Deployed, message: str, transaction_id: str) -> list[str]:
    found = deployed.logged("Retry", f'"message":"{message}"')
    return [line for line in found if transaction_id in line]


def test_a_payment_that_could_not_be_recorded_is_recorded_later(deployed: Deployed) -> None:
    source = row(deployed, validated(deployed, "cust-2"))
    record = {name: next(iter(value.values())) for name, value in source.items()}
    record |= {"transaction_id": "recorded-later", "amount_minor": int(record["amount_minor"])}
    send(deployed, operation="validate", transaction_id="recorded-later", record=record)
    assert until(lambda: row(deployed, "recorded-later"))["status"] == {"S": "validated"}


def test_a_payment_whose_gateway_stays_away_ends_in_the_dead_letter_queue(
    deployed: Deployed,
) -> None:
    transaction_id = validated(deployed, "sim-unavailable")
    answer = deployed.api().call("POST", "process", {"transaction_id": transaction_id})
    assert (answer.status, answer.field("retry")) == (500, "queued")
    until(lambda: dead(deployed, transaction_id))
    assert row(deployed, transaction_id)["status"] == {"S": "processing"}
    failed = lines(deployed, "retry failed", transaction_id)
    assert len(failed) == 3
    assert all("gateway_unavailable" in line for line in failed)


def test_a_payment_of_another_caller_is_unknown_to_requests_and_messages(
    deployed: Deployed,
) -> None:
    alice = "arn:aws:sts::123456789012:assumed-role/alice"
    transaction_id = validated(deployed, "cust-4")
    assert row(deployed, transaction_id)["caller"] == {"S": "anonymous"}
    change(deployed, transaction_id, caller={"S": alice})
    answer = deployed.api().call("POST", "process", {"transaction_id": transaction_id})
    assert (answer.status, answer.field("error")) == (404, "Transaction not found")
    send(deployed, caller="anonymous", operation="process", transaction_id=transaction_id)
    until(lambda: dead(deployed, transaction_id))
    assert row(deployed, transaction_id)["status"] == {"S": "validated"}
    send(deployed, caller=alice, operation="process", transaction_id=transaction_id)
    until(lambda: row(deployed, transaction_id)["status"] == {"S": "processed"})


def test_rows_that_are_not_as_validated_are_set_aside_and_hide_nobody(
    aws: Emulator, deployed: Deployed
) -> None:
    foreign = {"amount": "5", "currency": "USD", "customer_id": "c", "status": "validated"}
    change(deployed, "foreign", **{name: {"S": value} for name, value in foreign.items()})
    tampered, behind = validated(deployed, "cust-5"), validated(deployed, "cust-6")
    for transaction_id in (tampered, behind):
        abandon(deployed, transaction_id)
    change(deployed, tampered, amount_minor={"N": "1"}, lease_expires_at={"N": "0"})
    for transaction_id in ("foreign", tampered):
        answer = deployed.api().call("POST", "process", {"transaction_id": transaction_id})
        assert (answer.status, answer.field("retry")) == (500, "not queued")
        assert "has not charged it" in str(answer.field("message"))
    assert row(deployed, "foreign").keys() == {"transaction_id", *foreign}
    error, _ = deployed.invoke("HealthMonitor", SCHEDULED)
    assert error is None
    until(lambda: row(deployed, behind)["status"] == {"S": "processed"})
    assert row(deployed, tampered)["in_flight"] == {"S": "mismatched"}
    assert not lines(deployed, "captured", tampered)


def test_a_message_that_can_never_succeed_ends_in_the_dead_letter_queue(
    deployed: Deployed,
) -> None:
    send(deployed, operation="refund", transaction_id="no-such-operation")
    until(lambda: dead(deployed, "no-such-operation"))


def test_the_scheduled_run_recovers_an_expired_lease(aws: Emulator, deployed: Deployed) -> None:
    transaction_id = validated(deployed, "cust-3")
    abandon(deployed, transaction_id)
    error, report = deployed.invoke("HealthMonitor", SCHEDULED)
    assert error is None
    assert report["overall_status"] in {"healthy", "degraded"}
    until(lambda: row(deployed, transaction_id)["status"] == {"S": "processed"})
    assert len(lines(deployed, "captured", transaction_id)) == 1


def abandon(deployed: Deployed, transaction_id: str) -> None:
    """Leave a payment as a function does that was killed between claim and charge, long ago."""
    claimed = validated(deployed, "sim-timeout")
    deployed.api().call("POST", "process", {"transaction_id": claimed})
    in_flight = row(deployed, claimed)
    names = ("status", "attempt_id", "in_flight", "first_charge_at")
    change(deployed, transaction_id, **{name: in_flight[name] for name in names})
    change(deployed, transaction_id, lease_expires_at={"N": "1"})
