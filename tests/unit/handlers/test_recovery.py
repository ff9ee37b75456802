from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from handlers import health_monitor, processing, validation
from handlers.health_monitor import handler
from handlers.shared import recovery
from handlers.shared.clock import epoch_seconds
from handlers.shared.gateway import GatewayTimeout
from handlers.shared.recovery import RECOVER_AFTER_SECONDS, RecoveryIncomplete
from handlers.shared.transactions import LEASE_SECONDS, MAX_RECOVERIES
from tests.items import MAX_ITEM_BYTES, item_bytes
from tests.unit.handlers.fakes import client_error
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

OVERDUE_SECONDS = LEASE_SECONDS + RECOVER_AFTER_SECONDS + 1


@pytest.fixture
def abandoned(aws: Aws, clock: Clock, gateway: CountingGateway) -> str:
    """A payment that was claimed now, and whose holder then died without another word."""
    return abandon(aws, gateway)


def abandon(aws: Aws, gateway: CountingGateway) -> str:
    answer = call(validation.handler, load_event("validate"))
    transaction_id = str(answer.body["transaction_id"])
    gateway.meanwhile = lambda: aws.dynamodb.fail("UpdateItem")
    aws.sqs.fail("SendMessage")
    gateway.result = GatewayTimeout()
    assert process(transaction_id) == 500
    aws.dynamodb.errors.clear()
    aws.sqs.errors.clear()
    aws.sqs.calls.clear()
    gateway.result = None
    gateway.keys.clear()
    return transaction_id


def process(transaction_id: str) -> int:
    body = json.dumps({"transaction_id": transaction_id})
    return call(processing.handler, load_event("process", body=body)).status


def scheduled() -> dict[str, Any]:
    return handler(load_event("scheduled"), LambdaContext())


def recoveries(aws: Aws, transaction_id: str) -> int:
    return int(aws.dynamodb.items[transaction_id].get("recoveries", {"N": "0"})["N"])


def test_a_lease_is_left_alone_while_the_queue_may_still_be_retrying(
    aws: Aws, clock: Clock, abandoned: str
) -> None:
    clock.tick(OVERDUE_SECONDS - 1)
    before = dict(aws.dynamodb.items)
    scheduled()
    assert aws.dynamodb.items == before
    assert not aws.sqs.calls


def test_an_overdue_payment_is_moved_forward_counted_and_queued(
    aws: Aws, clock: Clock, abandoned: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clock.tick(OVERDUE_SECONDS)
    Output.read(capsys)
    scheduled()
    assert recoveries(aws, abandoned) == 1
    lease_end = int(aws.dynamodb.items[abandoned]["lease_expires_at"]["N"])
    assert lease_end == epoch_seconds(clock.now) - 1
    [message] = map(json.loads, aws.queued())
    assert message == {
        "version": 1,
        "operation": "process",
        "transaction_id": abandoned,
        "reason": "lease_expired",
        "request_id": "lambda-request-id",
        "first_failed_at": clock.now.isoformat(timespec="microseconds"),
    }
    [line] = Output.read(capsys).of("payment recovered")
    assert (line["transaction_id"], line["queued"]) == (abandoned, True)


def test_a_recovered_payment_is_not_recovered_again_by_the_next_run(
    aws: Aws, clock: Clock, abandoned: str
) -> None:
    clock.tick(OVERDUE_SECONDS)
    scheduled()
    clock.tick(300)
    scheduled()
    assert len(aws.queued()) == recoveries(aws, abandoned) == 1


def test_a_recovered_payment_can_be_claimed_right_away(
    aws: Aws, clock: Clock, gateway: CountingGateway, abandoned: str
) -> None:
    clock.tick(OVERDUE_SECONDS)
    scheduled()
    assert deliver(*aws.queued()) == []
    item = aws.dynamodb.items[abandoned]
    assert item["status"] == {"S": "processed"}
    assert not item.keys() & {"in_flight", "lease_expires_at", "recoveries"}
    assert gateway.keys == [abandoned]


def test_after_three_recoveries_a_payment_is_only_counted_and_logged_as_stuck(
    aws: Aws, clock: Clock, abandoned: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clock.tick(LEASE_SECONDS)
    for _ in range(MAX_RECOVERIES):
        clock.tick(RECOVER_AFTER_SECONDS + 1)
        Output.read(capsys)
        scheduled()
        assert Output.read(capsys).metrics["PaymentsStuck"] == [0]
    written: list[int] = []
    for _ in range(3):
        clock.tick(RECOVER_AFTER_SECONDS + 1)
        aws.dynamodb.calls.clear()
        scheduled()
        written.append(len(aws.dynamodb.called("UpdateItem")))
        output = Output.read(capsys)
        assert output.metrics["PaymentsStuck"] == [1]
        [line] = output.of("payment is stuck")
        assert (line["level"], line["transaction_id"]) == ("ERROR", abandoned)
    assert written == [1, 0, 0]  # set aside, once
    assert len(aws.queued()) == MAX_RECOVERIES
    assert process(abandoned) == 200


def test_a_queue_that_takes_nothing_uses_up_no_recovery(
    aws: Aws, clock: Clock, abandoned: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clock.tick(OVERDUE_SECONDS)
    aws.sqs.fail("SendMessage")
    for _ in range(MAX_RECOVERIES + 1):
        scheduled()
        clock.tick(300)
    assert recoveries(aws, abandoned) == 0
    aws.sqs.errors.clear()
    Output.read(capsys)
    scheduled()
    assert Output.read(capsys).metrics["PaymentsStuck"] == [0]
    assert recoveries(aws, abandoned) == 1


def test_a_queue_that_takes_nothing_is_asked_a_few_times_in_a_run(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    for _ in range(recovery.MAX_UNSENT + 2):
        abandon(aws, gateway)
    clock.tick(OVERDUE_SECONDS)
    aws.sqs.fail("SendMessage")
    scheduled()
    assert len(aws.queued()) == recovery.MAX_UNSENT


def test_single_messages_that_the_queue_refuses_do_not_end_a_run(
    aws: Aws, clock: Clock, gateway: CountingGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    everyone = {abandon(aws, gateway) for _ in range(12)}
    clock.tick(OVERDUE_SECONDS)
    send, sent = aws.sqs.send_message, []

    def refuse_two_of_three(**params: Any) -> dict[str, Any]:
        sent.append(params)
        if len(sent) % 3:
            raise client_error("ServiceUnavailable")
        return send(**params)

    monkeypatch.setattr(aws.sqs, "send_message", refuse_two_of_three)
    scheduled()
    assert len(sent) == len(everyone)
    assert sum(recoveries(aws, payment) for payment in everyone) == 4


def test_what_a_run_sets_aside_is_counted_though_the_index_lags(
    aws: Aws,
    clock: Clock,
    abandoned: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    aws.dynamodb.items[abandoned]["recoveries"] = {"N": str(MAX_RECOVERIES)}
    clock.tick(OVERDUE_SECONDS)
    query = aws.dynamodb.query

    def lagging(**params: Any) -> dict[str, Any]:
        aside = ":before" not in params["ExpressionAttributeValues"]
        return {"Items": []} if aside else query(**params)

    monkeypatch.setattr(aws.dynamodb, "query", lagging)
    Output.read(capsys)
    scheduled()
    assert Output.read(capsys).metrics["PaymentsStuck"] == [1]


def test_an_index_that_answers_nothing_does_not_hold_a_run_up_beyond_its_time(
    aws: Aws, clock: Clock, abandoned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unanswered(**_: Any) -> dict[str, Any]:
        clock.tick(5)
        raise client_error("InternalServerError")

    clock.tick(OVERDUE_SECONDS)
    monkeypatch.setattr(aws.dynamodb, "query", unanswered)
    began = clock.now
    with pytest.raises(RecoveryIncomplete):
        scheduled()
    assert (clock.now - began).total_seconds() <= LambdaContext().seconds_left


def test_what_recovery_counts_is_put_before_the_rest_of_the_run(
    aws: Aws, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(health_monitor, "_count_stopped", killed)
    with pytest.raises(KeyboardInterrupt):
        scheduled()
    assert Output.read(capsys).metrics == {"PaymentsStuck": [0]}


def test_a_recovered_payment_is_not_queued_by_its_client_as_well(
    aws: Aws, clock: Clock, gateway: CountingGateway, abandoned: str
) -> None:
    clock.tick(OVERDUE_SECONDS)
    scheduled()
    gateway.result = GatewayTimeout()
    assert process(abandoned) == 500
    assert len(aws.queued()) == 1


def test_a_payment_that_cannot_be_written_does_not_keep_the_others_from_their_turn(
    aws: Aws, clock: Clock, gateway: CountingGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    everyone = {abandon(aws, gateway) for _ in range(3)}
    clock.tick(OVERDUE_SECONDS)
    aws.dynamodb.fail("UpdateItem", client_error("InternalServerError"))  # once
    Output.read(capsys)
    with pytest.raises(RecoveryIncomplete):
        scheduled()
    [failed] = {line["transaction_id"] for line in Output.read(capsys).of("payment not recovered")}
    queued = {json.loads(message)["transaction_id"] for message in aws.queued()}
    assert queued == everyone - {failed}


def test_a_payment_too_large_to_be_counted_is_queued_once_and_set_aside(
    aws: Aws, clock: Clock, abandoned: str, capsys: pytest.CaptureFixture[str]
) -> None:
    item = aws.dynamodb.items[abandoned]
    item["filler"] = {"S": ""}
    item["filler"] = {"S": "x" * (MAX_ITEM_BYTES - item_bytes(item))}
    for _ in range(2):
        clock.tick(OVERDUE_SECONDS)
        Output.read(capsys)
        scheduled()
        assert Output.read(capsys).metrics["PaymentsUnreadable"] == [1]
        assert aws.dynamodb.items[abandoned]["in_flight"] == {"S": "unreadable"}
    assert len(aws.queued()) == 1


def test_a_part_of_the_index_that_cannot_be_read_does_not_hide_the_others(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    everyone = {abandon(aws, gateway) for _ in range(32)}
    for number, transaction_id in enumerate(sorted(everyone)):
        aws.dynamodb.items[transaction_id]["in_flight"] = {"S": f"processing#{number % 16}"}
    clock.tick(OVERDUE_SECONDS)
    aws.dynamodb.fail("Query", client_error("InternalServerError"))  # once
    with pytest.raises(RecoveryIncomplete):
        scheduled()
    queued = {json.loads(message)["transaction_id"] for message in aws.queued()}
    assert len(queued) == 30
    assert queued < everyone


def test_a_run_ends_in_time_and_the_next_begins_elsewhere(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    everyone = {abandon(aws, gateway) for _ in range(40)}
    clock.tick(OVERDUE_SECONDS)

    def slow() -> None:
        clock.tick(5)

    aws.dynamodb.before_update = slow
    firsts = set()
    for _ in range(4):
        queued, looks, began = len(aws.queued()), len(aws.dynamodb.called("Query")), clock.now
        scheduled()
        assert (clock.now - began).total_seconds() <= LambdaContext().seconds_left
        assert len(aws.queued()) > queued
        first = aws.dynamodb.called("Query")[looks]
        firsts.add(first["ExpressionAttributeValues"][":key"]["S"])
        clock.tick(300)
    assert len(firsts) == 4
    assert {json.loads(message)["transaction_id"] for message in aws.queued()} <= everyone


def test_a_payment_that_was_settled_after_its_recovery_is_never_stuck(
    aws: Aws, clock: Clock, abandoned: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clock.tick(OVERDUE_SECONDS)
    scheduled()
    deliver(*aws.queued())
    clock.tick(OVERDUE_SECONDS)
    Output.read(capsys)
    scheduled()
    assert Output.read(capsys).metrics["PaymentsStuck"] == [0]
    assert len(aws.queued()) == 1


@pytest.mark.parametrize("charge", ["ends", "goes on"])
def test_a_payment_that_is_taken_up_meanwhile_is_left_alone(
    aws: Aws, clock: Clock, gateway: CountingGateway, abandoned: str, charge: str
) -> None:
    clock.tick(OVERDUE_SECONDS)

    def overtake() -> None:
        aws.dynamodb.before_update = lambda: None
        if charge == "goes on":
            abandon_again()
        process(abandoned)
        aws.dynamodb.errors.clear()
        aws.sqs.errors.clear()

    def abandon_again() -> None:
        gateway.meanwhile = lambda: aws.dynamodb.fail("UpdateItem")
        aws.sqs.fail("SendMessage")

    aws.dynamodb.before_update = overtake
    aws.sqs.calls.clear()
    scheduled()
    item = aws.dynamodb.items[abandoned]
    assert item["status"]["S"] == ("processed" if charge == "ends" else "processing")
    assert "recoveries" not in item
    if charge == "goes on":
        lease_end = epoch_seconds(clock.now) + LEASE_SECONDS
        assert item["lease_expires_at"] == {"N": str(lease_end)}
    lease_expired = [m for m in map(json.loads, aws.queued()) if m["reason"] == "lease_expired"]
    assert not lease_expired


def test_a_recovery_whose_answer_was_lost_counts_and_queues_once(
    aws: Aws, clock: Clock, abandoned: str
) -> None:
    clock.tick(OVERDUE_SECONDS)
    aws.dynamodb.losing_answers = True
    scheduled()
    assert len(aws.queued()) == recoveries(aws, abandoned) == 1


def test_a_message_that_cannot_be_queued_is_counted_and_tried_again_by_a_later_run(
    aws: Aws, clock: Clock, abandoned: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clock.tick(OVERDUE_SECONDS)
    aws.sqs.fail("SendMessage")
    Output.read(capsys)
    scheduled()
    output = Output.read(capsys)
    assert output.metrics["RetriesNotQueued"] == [1]
    [line] = output.of("payment recovered")
    assert line["queued"] is False
    aws.sqs.errors.clear()
    clock.tick(RECOVER_AFTER_SECONDS + 1)
    scheduled()
    assert deliver(aws.queued()[-1]) == []
    assert aws.dynamodb.items[abandoned]["status"] == {"S": "processed"}


@pytest.mark.parametrize("operation", ["Query", "UpdateItem"])
def test_a_table_that_fails_fails_the_run_after_the_report_was_published(
    aws: Aws,
    clock: Clock,
    abandoned: str,
    capsys: pytest.CaptureFixture[str],
    operation: str,
) -> None:
    clock.tick(OVERDUE_SECONDS)
    aws.cloudwatch.data[("Errors", "Sum")] = [10]
    aws.dynamodb.fail(operation)
    Output.read(capsys)
    with pytest.raises(RecoveryIncomplete):
        scheduled()
    assert len(aws.sns.called("Publish")) == 1
    output = Output.read(capsys)
    assert output.metrics["Degraded"] == [1]
    assert [line["type"] for line in output.of("unexpected failure")] == ["RecoveryIncomplete"]
    assert not aws.sqs.calls


def test_payments_are_recovered_even_when_nobody_can_be_told(
    aws: Aws, clock: Clock, abandoned: str
) -> None:
    clock.tick(OVERDUE_SECONDS)
    for operation in ("GetMetricData", "DescribeAlarms"):
        aws.cloudwatch.fail(operation)
    aws.sns.fail("Publish")
    with pytest.raises(ClientError):
        scheduled()
    assert len(aws.queued()) == recoveries(aws, abandoned) == 1


def test_every_payment_of_every_shard_is_found_in_pages(
    aws: Aws, clock: Clock, gateway: CountingGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.shared.aws.table.PAGE_SIZE", 2)
    everyone = {abandon(aws, gateway) for _ in range(80)}
    clock.tick(OVERDUE_SECONDS)
    scheduled()
    assert sorted(json.loads(m)["transaction_id"] for m in aws.queued()) == sorted(everyone)


def test_a_run_queues_no_more_than_its_limit_and_the_next_goes_on(
    aws: Aws, clock: Clock, gateway: CountingGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "MAX_PAYMENTS_A_RUN", 3)
    everyone = {abandon(aws, gateway) for _ in range(5)}
    clock.tick(OVERDUE_SECONDS)
    scheduled()
    assert len(aws.queued()) == 3
    scheduled()
    assert {json.loads(m)["transaction_id"] for m in aws.queued()} == everyone


def test_payments_that_are_stuck_do_not_keep_others_from_their_turn(
    aws: Aws, clock: Clock, gateway: CountingGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "MAX_PAYMENTS_A_RUN", 2)
    for _ in range(5):
        aws.dynamodb.items[abandon(aws, gateway)]["recoveries"] = {"N": str(MAX_RECOVERIES)}
    clock.tick(60)
    other = abandon(aws, gateway)
    for item in aws.dynamodb.items.values():
        item["in_flight"] = {"S": "processing#0"}
    clock.tick(OVERDUE_SECONDS)
    scheduled()
    assert [json.loads(m)["transaction_id"] for m in aws.queued()] == [other]


def test_the_limit_can_be_shortened_where_nobody_can_wait(
    aws: Aws, clock: Clock, abandoned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECOVER_AFTER_SECONDS", "1")
    clock.tick(LEASE_SECONDS + 2)
    scheduled()
    assert len(aws.queued()) == 1


def test_a_run_with_nothing_to_recover_makes_no_sqs_call_and_writes_nothing(
    aws: Aws, clock: Clock
) -> None:
    scheduled()
    assert {name for name, _ in aws.dynamodb.calls} == {"Query", "Scan"}
    assert not aws.sqs.calls


def test_the_limit_outlasts_the_retries_of_the_queue() -> None:
    assert RECOVER_AFTER_SECONDS > 3 * 300
