"""What an attempt does when the gateway, the row or the queue is not as it should be."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from handlers import validation
from handlers.shared.charging import QUEUE_RETRY_SECONDS
from handlers.shared.clock import epoch_seconds
from handlers.shared.gateway import Charged, Declined, GatewayTimeout, NoCharge
from handlers.shared.transactions import LEASE_SECONDS
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    CountingGateway,
    Output,
    call,
    deliver,
    load_event,
    process,
    to_process,
    validated,
)

Capture = pytest.CaptureFixture[str]
UNKNOWN = (
    "The outcome is unknown: the payment may have been charged, or may still be. Ask again with the"
    " same transaction_id"
)


# A gateway that breaks its protocol

BROKEN = {
    "raises": RuntimeError("canary"),
    "asks for a key": KeyError("canary"),
    "answers nothing": None,
    "answers text": "charged",
    "answers without a text": Charged(None),  # type: ignore[arg-type]
    "declines without a text": Declined(5),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_whatever_a_gateway_does_wrong_is_an_unknown_outcome_queued_and_let_go(
    aws: Aws,
    clock: Clock,
    gateway: CountingGateway,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    broken: object,
) -> None:
    def charge(*_: object, **__: object) -> object:
        if isinstance(broken, Exception):
            raise broken
        return broken

    transaction_id = validated()
    monkeypatch.setattr(gateway, "charge", charge)
    answer = process(transaction_id)
    assert (answer.status, answer.body["retry"]) == (500, "queued")
    output = Output.read(capsys)
    [line] = output.of("unexpected failure")
    assert line["type"] in {"RuntimeError", "KeyError", "TypeError"}
    assert ".py:" in line["place"]
    [failed] = output.of("process failed")
    assert (failed["reason"], failed["code"]) == ("unforeseen", line["type"])
    assert "canary" not in output.text + str(aws.sqs.calls)
    assert deliver(to_process(transaction_id)) == [0]
    monkeypatch.undo()
    assert aws.dynamodb.items[transaction_id]["status"] == {"S": "processing"}


def test_a_gateway_that_cannot_be_made_leaves_no_lease_behind(
    aws: Aws, clock: Clock, gateway: CountingGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ValueError("canary")

    transaction_id = validated()
    with monkeypatch.context() as patch:
        patch.setattr("handlers.shared.aws.clients.gateway", broken)
        assert process(transaction_id).body["retry"] == "queued"
    assert process(transaction_id).status == 200


class CancelledError(BaseException):
    """asyncio's, by its name."""


@pytest.mark.parametrize("ended", [SystemExit("canary"), CancelledError("canary")])
def test_a_gateway_that_ends_the_program_is_an_unknown_outcome_too(
    aws: Aws,
    clock: Clock,
    gateway: CountingGateway,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    ended: BaseException,
) -> None:
    def charge(*_: object, **__: object) -> None:
        raise ended

    transaction_id = validated()
    with monkeypatch.context() as patch:
        patch.setattr(gateway, "charge", charge)
        assert process(transaction_id).body["retry"] == "queued"
    assert "canary" not in Output.read(capsys).text
    assert process(transaction_id).status == 200


def test_a_queue_that_cannot_even_be_asked_leaves_no_lease_behind(
    aws: Aws,
    clock: Clock,
    gateway: CountingGateway,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    transaction_id = validated()
    gateway.result = GatewayTimeout()
    monkeypatch.delenv("FAILED_QUEUE_URL")
    Output.read(capsys)
    assert process(transaction_id).body["retry"] == "not queued"
    assert Output.read(capsys).metrics["RetriesNotQueued"] == [1]
    gateway.result = None
    assert process(transaction_id).status == 200


# What a client is told


def test_a_claimed_payment_that_nobody_queued_may_still_be_charged_and_the_client_is_told_so(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    aws.sqs.fail("SendMessage")
    gateway.result = GatewayTimeout()
    answer = process(transaction_id)
    assert answer.body == {
        "error": "Processing failed",
        "message": UNKNOWN,
        "transaction_id": transaction_id,
        "retry": "not queued",
    }
    aws.dynamodb.fail("UpdateItem")
    assert process(transaction_id).body["message"] == UNKNOWN


def test_a_validation_that_nobody_queued_can_be_sent_again(aws: Aws, clock: Clock) -> None:
    aws.dynamodb.fail("PutItem")
    aws.sqs.fail("SendMessage")
    body = call(validation.handler, load_event("validate")).body
    assert body["message"] == "The request could not be completed; please send it again"


# One message for one outage


def test_repetitions_during_an_outage_are_queued_once_until_the_queue_is_done_with_it(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    gateway.result = GatewayTimeout()
    began = epoch_seconds(clock.now)
    for _ in range(10):
        assert process(transaction_id).body["retry"] == "queued"
    assert len(aws.queued()) == 1
    until = {"N": str(began + QUEUE_RETRY_SECONDS)}
    assert aws.dynamodb.items[transaction_id]["queued_until"] == until
    clock.tick(QUEUE_RETRY_SECONDS)
    assert process(transaction_id).body["retry"] == "queued"
    assert len(aws.queued()) == 2


def test_what_was_not_queued_is_queued_by_the_next_request(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    gateway.result = GatewayTimeout()
    aws.sqs.fail("SendMessage")
    assert process(transaction_id).body["retry"] == "not queued"
    assert "queued_until" not in aws.dynamodb.items[transaction_id]
    aws.sqs.errors.clear()
    assert process(transaction_id).body["retry"] == "queued"
    assert len(aws.queued()) == 2


def test_a_row_that_says_it_is_queued_for_ever_is_not_believed(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    aws.dynamodb.items[transaction_id]["queued_until"] = {"N": "99999999999"}
    gateway.result = GatewayTimeout()
    assert process(transaction_id).body["retry"] == "queued"
    assert len(aws.queued()) == 1


def test_a_retry_says_nothing_of_the_queue(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    gateway.result = GatewayTimeout()
    assert deliver(to_process(transaction_id)) == [0]
    assert "queued_until" not in aws.dynamodb.items[transaction_id]


# Rows that a restore took back


def rewound(aws: Aws, clock: Clock) -> str:
    transaction_id = validated()
    aws.dynamodb.items[transaction_id]["rewound"] = {"N": str(epoch_seconds(clock.now))}
    clock.tick(timedelta(days=3).total_seconds())
    return transaction_id


def test_a_rewound_payment_of_which_the_gateway_cannot_know_is_not_charged(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = rewound(aws, clock)
    gateway.found = None
    answer = process(transaction_id)
    assert (answer.status, answer.body["retry"]) == (500, "queued")
    assert json.loads(aws.queued()[0])["reason"] == "outcome_unknown"
    assert deliver(*aws.queued()) == [0]
    assert (gateway.keys, gateway.lookups) == ([], [transaction_id] * 2)


def test_a_rewound_payment_is_charged_when_the_gateway_knows_that_there_is_no_charge(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = rewound(aws, clock)
    gateway.found = NoCharge()
    assert process(transaction_id).status == 200
    assert gateway.lookups == gateway.keys == [transaction_id]


@pytest.mark.parametrize(("found", "status"), [(Charged("ref"), 200), (Declined("fraud"), 402)])
def test_what_is_found_of_a_rewound_payment_is_recorded(
    aws: Aws, clock: Clock, gateway: CountingGateway, found: Charged | Declined, status: int
) -> None:
    transaction_id = rewound(aws, clock)
    gateway.found = found
    assert process(transaction_id).status == status
    assert not gateway.keys


def test_a_payment_that_nobody_rewound_is_charged_late_without_a_look(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    clock.tick(timedelta(days=3).total_seconds())
    assert process(transaction_id).status == 200
    assert not gateway.lookups


def test_a_first_charge_that_is_yet_to_come_says_nothing_of_the_key(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    aws.dynamodb.items[transaction_id]["first_charge_at"] = {"S": "2099-01-01T00:00:00+00:00"}
    assert process(transaction_id).status == 500
    assert (gateway.keys, gateway.lookups) == ([], [transaction_id])


def test_a_look_that_takes_its_time_leaves_none_for_a_charge(
    aws: Aws, clock: Clock, gateway: CountingGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(idempotency_key: str) -> NoCharge:
        clock.tick(12)
        return NoCharge()

    transaction_id = rewound(aws, clock)
    monkeypatch.setattr(gateway, "find", slow)
    assert process(transaction_id).body["retry"] == "queued"
    assert json.loads(aws.queued()[0])["reason"] == "no_time_left"
    assert not gateway.keys


def test_past_the_retention_of_the_key_not_even_a_certain_answer_lets_a_charge_through(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    gateway.result = GatewayTimeout()
    process(transaction_id)
    gateway.result, gateway.found = None, NoCharge()
    gateway.keys.clear()
    clock.tick(gateway.KEY_RETENTION.total_seconds())
    assert process(transaction_id).status == 500
    assert (gateway.keys, gateway.lookups) == ([], [transaction_id])


def test_the_simulated_gateway_cannot_know_what_it_does_not_remember() -> None:
    assert CountingGateway().simulated.find("t-1") is None


# Captures that the row contradicts


def late_capture(aws: Aws, clock: Clock, gateway: CountingGateway, meanwhile: str) -> str:
    """Capture after another attempt has ended the payment otherwise, or the row is gone."""
    transaction_id = validated()

    def overtake() -> None:
        clock.tick(LEASE_SECONDS + 1)
        if meanwhile == "declined":
            gateway.result = Declined("insufficient_funds")
        process(transaction_id)
        if meanwhile == "gone":
            aws.dynamodb.items.clear()
        gateway.result = Charged("late-capture")

    gateway.meanwhile = overtake
    process(transaction_id)
    return transaction_id


@pytest.mark.parametrize("meanwhile", ["processed", "declined"])
def test_a_capture_that_the_row_contradicts_is_counted_logged_and_noted(
    aws: Aws, clock: Clock, gateway: CountingGateway, capsys: Capture, meanwhile: str
) -> None:
    transaction_id = late_capture(aws, clock, gateway, meanwhile)
    output = Output.read(capsys)
    assert output.metrics["CapturesContradicted"] == [1]
    [line] = output.of("capture is not the one on record")
    assert (line["gateway_reference"], line["status"]) == ("late-capture", meanwhile)
    item = aws.dynamodb.items[transaction_id]
    assert item["contradicting_reference"] == {"S": "late-capture"}
    assert item["status"] == {"S": meanwhile}
    assert item.get("gateway_reference") != {"S": "late-capture"}


@pytest.mark.parametrize("took_effect", [False, True])
def test_a_capture_whose_record_has_no_answer_is_compared_with_the_row_all_the_same(
    aws: Aws, clock: Clock, gateway: CountingGateway, capsys: Capture, took_effect: bool
) -> None:
    transaction_id = validated()
    update = aws.dynamodb.update_item

    def settled_by_hand() -> None:
        item = aws.dynamodb.items[transaction_id]
        for name in ("attempt_id", "lease_expires_at", "in_flight"):
            del item[name]
        item["status"] = {"S": "declined"}
        aws.dynamodb.update_item = unanswered  # type: ignore[method-assign]

    def unanswered(**params: object) -> dict[str, object]:
        aws.dynamodb.update_item = update  # type: ignore[method-assign]
        if took_effect:
            with suppress(ClientError):
                update(**params)
        raise ReadTimeoutError(endpoint_url="https://canary")

    gateway.meanwhile = settled_by_hand
    assert process(transaction_id).body["retry"] == "queued"
    output = Output.read(capsys)
    assert output.metrics["CapturesContradicted"] == [1]
    assert output.of("capture not recorded")
    assert "contradicting_reference" in aws.dynamodb.items[transaction_id]


def test_a_capture_without_a_row_is_counted_too(
    aws: Aws, clock: Clock, gateway: CountingGateway, capsys: Capture
) -> None:
    late_capture(aws, clock, gateway, "gone")
    assert Output.read(capsys).metrics["CapturesContradicted"] == [1]
    assert not aws.dynamodb.items
    assert len(aws.queued()) == 1


def test_a_contradiction_that_cannot_be_noted_is_counted_all_the_same(
    aws: Aws, clock: Clock, gateway: CountingGateway, capsys: Capture
) -> None:
    before = aws.dynamodb.update_item

    def refuse_notes(**params: object) -> dict[str, object]:
        if "contradicting_reference" in str(params["UpdateExpression"]):
            aws.dynamodb.fail("UpdateItem")
        return before(**params)

    aws.dynamodb.update_item = refuse_notes  # type: ignore[method-assign]
    late_capture(aws, clock, gateway, "declined")
    output = Output.read(capsys)
    assert output.metrics["CapturesContradicted"] == [1]
    assert output.of("capture not noted")


# Counting


def test_a_payment_is_counted_as_processed_by_who_wrote_it_and_by_nobody_else(
    aws: Aws, clock: Clock, gateway: CountingGateway, capsys: Capture
) -> None:
    transaction_id = validated()

    def overtaken() -> None:
        clock.tick(LEASE_SECONDS + 1)
        process(transaction_id)

    Output.read(capsys)
    gateway.meanwhile = overtaken
    assert process(transaction_id).status == 200
    assert Output.read(capsys).metrics["PaymentsProcessed"] == [1]
