from __future__ import annotations

import json
from typing import Any

import pytest

from handlers import processing, retry, validation
from handlers.shared.aws import clients
from handlers.shared.deadline import CALL_SECONDS, CLOCK_SKEW_SECONDS, MESSAGE_SECONDS
from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayTimeout,
    GatewayUnavailable,
    NoCharge,
)
from handlers.shared.transactions import LEASE_SECONDS
from tests.unit.handlers.fakes import client_error
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    CountingGateway,
    LambdaContext,
    Output,
    call,
    deliver,
    ids_and_keys,
    load_event,
    sqs_event,
)

pytestmark = pytest.mark.usefixtures("clock", "gateway")

REQUEST = load_event("validate")["requestContext"]["requestId"]
# A charge that begins before this is over within the attempt's lease, and so within the retention,
# whatever the clocks say.
LOOKUP_SECONDS = CountingGateway.KEY_RETENTION.total_seconds() - LEASE_SECONDS - CLOCK_SKEW_SECONDS


def validated() -> str:
    return str(call(validation.handler, load_event("validate")).body["transaction_id"])


def process(transaction_id: str) -> int:
    body = json.dumps({"transaction_id": transaction_id})
    return call(processing.handler, load_event("process", body=body)).status


def to_process(transaction_id: str, **changes: Any) -> str:
    message = json.loads(load_event("sqs")["Records"][0]["body"])
    return json.dumps(message | {"transaction_id": transaction_id} | changes)


def to_validate(aws: Aws) -> tuple[str, str]:
    """Return the message of a payment that could not be stored, and its transaction id."""
    aws.dynamodb.fail("PutItem")
    transaction_id = validated_but_not_stored = validated()
    aws.dynamodb.errors.clear()
    assert validated_but_not_stored not in aws.dynamodb.items
    return aws.queued()[-1], transaction_id


def status(aws: Aws, transaction_id: str) -> str:
    return str(aws.dynamodb.items[transaction_id]["status"]["S"])


# What can succeed


def test_a_payment_that_could_not_be_stored_is_stored_as_it_was_validated(aws: Aws) -> None:
    message, transaction_id = to_validate(aws)
    assert deliver(message) == []
    record = json.loads(message)["record"]
    stored = {
        name: next(iter(v.values())) for name, v in aws.dynamodb.items[transaction_id].items()
    }
    gateway = {"validated_for": clients.configured_gateway()}
    assert stored == {name: str(value) for name, value in record.items()} | gateway


def test_a_payment_that_could_not_be_charged_is_charged(aws: Aws, gateway: CountingGateway) -> None:
    transaction_id = validated()
    gateway.result = GatewayUnavailable()
    assert process(transaction_id) == 500
    gateway.result = None
    assert deliver(*aws.queued()) == []
    assert status(aws, transaction_id) == "processed"
    assert gateway.simulated.captures.keys() == {transaction_id}


def test_a_message_is_seen_only_when_its_sender_has_let_the_payment_go(
    aws: Aws, gateway: CountingGateway
) -> None:
    """However long that takes; or its first receive would find the payment held."""
    gateway.result = GatewayUnavailable()
    process(validated())
    [sent] = aws.sqs.called("SendMessage")
    assert sent["DelaySeconds"] >= CALL_SECONDS


def test_a_message_delivered_twice_changes_nothing_the_second_time(
    aws: Aws, gateway: CountingGateway
) -> None:
    message, transaction_id = to_validate(aws)
    assert deliver(message, message) == []
    assert deliver(to_process(transaction_id)) == []
    before = dict(aws.dynamodb.items)
    assert deliver(message, to_process(transaction_id), to_process(transaction_id), message) == []
    assert aws.dynamodb.items == before
    assert gateway.keys == [transaction_id]


def test_messages_out_of_order_end_in_the_same_state(aws: Aws, gateway: CountingGateway) -> None:
    message, transaction_id = to_validate(aws)
    assert deliver(to_process(transaction_id), message) == [0]
    assert deliver(to_process(transaction_id)) == []
    assert status(aws, transaction_id) == "processed"
    assert gateway.keys == [transaction_id]


def test_a_message_long_after_the_payment_was_settled_is_a_success(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    message, transaction_id = to_validate(aws)
    deliver(message)
    process(transaction_id)
    before = dict(aws.dynamodb.items)
    clock.tick(30 * 24 * 3600)
    assert deliver(message, to_process(transaction_id)) == []
    assert aws.dynamodb.items == before
    assert (gateway.keys, gateway.lookups) == ([transaction_id], [transaction_id])


@pytest.mark.parametrize("found", [None, NoCharge(), Declined("stolen_card"), Charged("ref")])
@pytest.mark.parametrize("state", ["processed", "declined"])
def test_a_capture_that_a_settled_row_does_not_name_is_looked_for_and_noted(
    aws: Aws,
    gateway: CountingGateway,
    capsys: pytest.CaptureFixture[str],
    state: str,
    found: Charged | Declined | NoCharge | None,
) -> None:
    transaction_id = validated()
    gateway.result = Charged("on record") if state == "processed" else Declined("stolen_card")
    process(transaction_id)
    before = dict(aws.dynamodb.items[transaction_id])
    gateway.found = found
    Output.read(capsys)
    assert deliver(to_process(transaction_id)) == []
    contradicted = Output.read(capsys).metrics.get("CapturesContradicted")
    row = aws.dynamodb.items[transaction_id]
    if isinstance(found, Charged):
        assert contradicted == [1]
        changed = {"contradicting_reference", "updated_at"}
        assert row["contradicting_reference"] == {"S": "ref"}
        assert {name for name in row if row[name] != before.get(name)} <= changed
    else:
        assert (contradicted, row) == (None, before)
    assert gateway.keys == [transaction_id]


def test_a_capture_that_cannot_be_looked_for_brings_the_message_back(
    aws: Aws, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    process(transaction_id)
    before = dict(aws.dynamodb.items)
    gateway.found = GatewayTimeout()
    assert deliver(to_process(transaction_id)) == [0]
    assert aws.dynamodb.items == before


def test_a_request_for_a_settled_payment_asks_no_gateway(
    aws: Aws, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    assert [process(transaction_id), process(transaction_id)] == [200, 200]
    assert not gateway.lookups


def test_a_declined_payment_is_a_success_and_never_charged_again(
    aws: Aws, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    gateway.result = Declined("insufficient_funds")
    assert deliver(to_process(transaction_id)) == []
    assert status(aws, transaction_id) == "declined"
    gateway.result = None
    assert deliver(to_process(transaction_id)) == []
    assert status(aws, transaction_id) == "declined"
    assert gateway.keys == [transaction_id]


def test_a_retry_of_a_process_message_is_two_updates(aws: Aws) -> None:
    transaction_id = validated()
    aws.dynamodb.calls.clear()
    deliver(to_process(transaction_id))
    assert [name for name, _ in aws.dynamodb.calls] == ["UpdateItem", "UpdateItem"]
    assert set(aws.created) == {"dynamodb"}


# What has to come back


def test_a_row_with_another_fingerprint_is_never_written_over(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    message, transaction_id = to_validate(aws)
    deliver(message)
    other = json.loads(message)
    other["record"]["fingerprint"] = "0" * 64
    before = dict(aws.dynamodb.items)
    Output.read(capsys)
    assert deliver(json.dumps(other)) == [0]
    assert aws.dynamodb.items == before
    [line] = Output.read(capsys).lines
    assert line["transaction_id"] == transaction_id
    assert line["reason"] == "another_transaction_has_the_id"


def test_only_the_messages_that_failed_come_back(aws: Aws, gateway: CountingGateway) -> None:
    good, also_good = validated(), validated()
    answer = deliver("no JSON", to_process(good), to_process("unknown"), to_process(also_good))
    assert answer == [0, 2]
    assert gateway.keys == [good, also_good]


def test_a_batch_that_fails_altogether_comes_back_without_an_error(aws: Aws) -> None:
    assert deliver("no JSON", to_process("unknown")) == [0, 1]


def test_a_failure_of_one_batch_does_not_come_back_with_the_next(aws: Aws) -> None:
    assert deliver("no JSON") == [0]
    assert deliver(to_process(validated())) == []


def test_what_there_is_no_time_for_comes_back_untried(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    message = to_process(validated())
    aws.created.clear()
    Output.read(capsys)
    short = LambdaContext(seconds_left=MESSAGE_SECONDS - 0.001)
    assert deliver(message, message, context=short) == [0, 1]
    assert not aws.created
    lines = Output.read(capsys).lines
    assert [line["reason"] for line in lines] == ["no_time_left"] * 2
    assert [line["message_id"] for line in lines] == ["message-0", "message-1"]
    enough = LambdaContext(seconds_left=MESSAGE_SECONDS)
    assert deliver(message, context=enough) == []


def test_time_is_looked_at_before_each_message(aws: Aws, gateway: CountingGateway) -> None:
    context = LambdaContext()
    first, second = validated(), validated()

    def dawdle() -> None:
        context.seconds_left = 1

    gateway.meanwhile = dawdle
    assert deliver(to_process(first), to_process(second), context=context) == [1]
    assert gateway.keys == [first]


RECORD = {
    "transaction_id": "t-1",
    "amount": "100.50",
    "amount_minor": 10050,
    "currency": "USD",
    "customer_id": "cust-1",
    "status": "validated",
    "fingerprint": "0" * 64,
    "created_at": "2026-11-22T21:27:00.000000+00:00",
    "updated_at": "2026-11-22T21:27:00.000000+00:00",
}


def message(**changes: Any) -> str:
    """Return a sound validate message with these changes; ... removes a field."""
    changed = json.loads(to_process("t-1", operation="validate", record=RECORD)) | changes
    return json.dumps({name: value for name, value in changed.items() if value is not ...})


def with_record(**changes: Any) -> str:
    changed = RECORD | changes
    return message(record={name: value for name, value in changed.items() if value is not ...})


NEVER = {
    "empty": ("", "not_json", None),
    "no JSON": ("amount=1", "not_json", None),
    "deep": ("[" * 100_000, "not_json", None),
    "huge number": (f'{{"version": {"9" * 10_000}}}', "not_json", None),
    "array": ("[]", "unknown_version", None),
    "null": ("null", "unknown_version", None),
    "no version": (message(version=...), "unknown_version", "t-1"),
    "next version": (message(version=2), "unknown_version", "t-1"),
    "version as text": (message(version="1"), "unknown_version", "t-1"),
    "version as boolean": (message(version=True), "unknown_version", "t-1"),
    "no operation": (message(operation=...), "unknown_operation", "t-1"),
    "unknown operation": (message(operation="refund"), "unknown_operation", "t-1"),
    "operation of another type": (message(operation=["process"]), "unknown_operation", "t-1"),
    "no transaction_id": (message(transaction_id=...), "bad_schema", None),
    "number as transaction_id": (message(transaction_id=5), "bad_schema", None),
    "malformed transaction_id": (message(transaction_id="a b"), "bad_schema", None),
    "no reason": (message(reason=...), "bad_schema", "t-1"),
    "no request_id": (message(request_id=...), "bad_schema", "t-1"),
    "no first_failed_at": (message(first_failed_at=None), "bad_schema", "t-1"),
    "record to process": (message(operation="process"), "bad_schema", "t-1"),
    "no record": (message(record=...), "bad_record", "t-1"),
    "null as record": (message(record=None), "bad_record", "t-1"),
    "list as record": (message(record=[]), "bad_record", "t-1"),
    "record without a field": (with_record(currency=...), "bad_record", "t-1"),
    "record of a payment that is further": (with_record(recoveries=0), "bad_record", "t-1"),
    "record with an object": (with_record(future={}), "bad_record", "t-1"),
    "record of another transaction": (with_record(transaction_id="t-2"), "bad_record", "t-1"),
    "record of a settled payment": (with_record(status="processed"), "bad_record", "t-1"),
    "record with a text for a number": (with_record(amount_minor="1"), "bad_record", "t-1"),
    "record with a boolean": (with_record(amount_minor=True), "bad_record", "t-1"),
    "record with a list": (with_record(customer_id=["c"]), "bad_record", "t-1"),
    "404": (to_process("t-1"), "transaction_not_found", "t-1"),
}


def test_the_message_that_the_next_test_spoils_is_sound(aws: Aws) -> None:
    assert deliver(message()) == []


def test_fields_of_a_later_release_are_taken_and_its_record_is_stored_whole(aws: Aws) -> None:
    body = json.loads(with_record(payment_method="pm_1", caller="arn:later")) | {"trace": {"id": 1}}
    assert deliver(json.dumps(body)) == []
    item = aws.dynamodb.items["t-1"]
    assert (item["payment_method"], item["caller"]) == ({"S": "pm_1"}, {"S": "arn:later"})
    assert item.keys() == {*RECORD, "payment_method", "caller", "validated_for"}


@pytest.mark.parametrize(("body", "reason", "transaction_id"), NEVER.values(), ids=NEVER)
def test_what_can_never_succeed_comes_back_and_is_one_line_with_id_and_reason(
    aws: Aws,
    capsys: pytest.CaptureFixture[str],
    gateway: CountingGateway,
    body: str,
    reason: str,
    transaction_id: str | None,
) -> None:
    assert deliver(body) == [0]
    [line] = Output.read(capsys).lines
    assert (line["level"], line["message"], line["reason"]) == ("ERROR", "retry failed", reason)
    assert line.get("transaction_id") == transaction_id
    assert (line["request_id"], line["message_id"]) == ("lambda-request-id", "message-0")
    assert not aws.dynamodb.items
    assert not aws.sqs.calls
    assert not gateway.keys


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (GatewayUnavailable("Down"), "gateway_unavailable"),
        (GatewayTimeout("Down"), "gateway_timeout"),
    ],
)
def test_a_gateway_that_fails_again_lets_the_lease_go_and_the_message_comes_back(
    aws: Aws,
    capsys: pytest.CaptureFixture[str],
    gateway: CountingGateway,
    failure: Exception,
    reason: str,
) -> None:
    transaction_id = validated()
    Output.read(capsys)
    gateway.result = failure
    assert deliver(to_process(transaction_id)) == [0]
    [line] = map(ids_and_keys, Output.read(capsys).lines)
    assert line == {
        "request_id": "lambda-request-id",
        "message_id": "message-0",
        "operation": "process",
        "transaction_id": transaction_id,
        "original_request_id": REQUEST,
        "reason": reason,
        "code": "Down",
    }
    assert status(aws, transaction_id) == "processing"
    assert "in_flight" in aws.dynamodb.items[transaction_id]
    assert not aws.sqs.calls  # the message itself comes back: another would be one too many
    gateway.result = None
    assert deliver(to_process(transaction_id)) == []  # at once, so the lease was free
    assert gateway.keys == [transaction_id] * 2


def test_a_lease_that_cannot_be_let_go_is_logged_and_the_message_comes_back(
    aws: Aws, capsys: pytest.CaptureFixture[str], gateway: CountingGateway
) -> None:
    transaction_id = validated()
    gateway.meanwhile = lambda: aws.dynamodb.fail("UpdateItem")
    gateway.result = GatewayTimeout()
    assert deliver(to_process(transaction_id)) == [0]
    output = Output.read(capsys)
    assert output.of("lease not let go")
    assert [line["reason"] for line in output.of("retry failed")] == ["gateway_timeout"]


@pytest.mark.parametrize("operation", ["PutItem", "UpdateItem"])
def test_a_store_that_fails_again_brings_the_message_back(
    aws: Aws, capsys: pytest.CaptureFixture[str], operation: str
) -> None:
    body, transaction_id = to_validate(aws)
    if operation == "UpdateItem":
        body = to_process(transaction_id)
    Output.read(capsys)
    aws.dynamodb.fail(operation, client_error("ThrottlingException"))
    assert deliver(body) == [0]
    [line] = Output.read(capsys).lines
    assert (line["reason"], line["code"]) == ("store_unavailable", "ThrottlingException")
    assert len(aws.queued()) == 1


def test_a_charge_that_cannot_be_recorded_comes_back_and_is_the_same_capture(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    gateway.meanwhile = lambda: aws.dynamodb.fail("UpdateItem")
    assert deliver(to_process(transaction_id)) == [0]
    aws.dynamodb.errors.clear()
    clock.tick(LEASE_SECONDS + 1)
    assert deliver(to_process(transaction_id)) == []
    assert gateway.keys == [transaction_id] * 2
    assert len(gateway.simulated.captures) == 1


def test_a_payment_in_flight_elsewhere_comes_back_uncharged(
    aws: Aws, gateway: CountingGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = validated()
    came_back: list[int] = []
    gateway.meanwhile = lambda: came_back.extend(deliver(to_process(transaction_id)))
    assert process(transaction_id) == 200
    assert came_back == [0]
    assert gateway.keys == [transaction_id]
    [line] = Output.read(capsys).of("retry failed")
    assert line["reason"] == "in_progress_elsewhere"


def test_a_retry_that_lost_its_lease_to_another_attempt_comes_back(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()

    def overtaken() -> None:
        clock.tick(LEASE_SECONDS + 1)
        gateway.result = GatewayTimeout()
        aws.sqs.fail("SendMessage")
        aws.dynamodb.before_update = fail_the_rest
        process(transaction_id)
        aws.dynamodb.errors.clear()
        aws.dynamodb.before_update = lambda: None
        gateway.result = None

    def fail_the_rest() -> None:  # the other attempt claims, and never lets go
        aws.dynamodb.before_update = lambda: aws.dynamodb.fail("UpdateItem")

    gateway.meanwhile = overtaken
    assert deliver(to_process(transaction_id)) == [0]
    assert status(aws, transaction_id) == "processing"


def test_an_unforeseen_failure_brings_back_its_own_message_only(
    aws: Aws, capsys: pytest.CaptureFixture[str], gateway: CountingGateway
) -> None:
    first, second = validated(), validated()

    def fail_once() -> None:
        gateway.result = None
        raise RuntimeError("canary")

    gateway.meanwhile = fail_once
    assert deliver(to_process(first), to_process(second)) == [0]
    output = Output.read(capsys)
    [line] = output.of("unexpected failure")
    assert (line["type"], line["transaction_id"]) == ("RuntimeError", first)
    assert "canary" not in output.text


# Past the time for which the gateway knows a key


def long_ago(gateway: CountingGateway, clock: Clock, seconds: float) -> str:
    """Return a payment whose first charge timed out, that long ago."""
    transaction_id = validated()
    gateway.result = GatewayTimeout()
    assert process(transaction_id) == 500
    gateway.result = None
    gateway.keys.clear()
    clock.tick(seconds)
    return transaction_id


def test_a_retry_charges_with_the_same_key_as_long_as_the_gateway_knows_it(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = long_ago(gateway, clock, LOOKUP_SECONDS - 1)
    assert deliver(to_process(transaction_id)) == []
    assert (gateway.keys, gateway.lookups) == ([transaction_id], [])


@pytest.mark.parametrize(
    ("found", "state", "attribute"),
    [
        (Charged("ref"), "processed", ("gateway_reference", "ref")),
        (Declined("stolen_card"), "declined", ("decline_reason", "stolen_card")),
    ],
)
def test_past_the_retention_of_the_key_what_is_found_is_recorded_and_nothing_charged(
    aws: Aws,
    clock: Clock,
    gateway: CountingGateway,
    found: Charged | Declined,
    state: str,
    attribute: tuple[str, str],
) -> None:
    transaction_id = long_ago(gateway, clock, LOOKUP_SECONDS)
    gateway.found = found
    assert deliver(to_process(transaction_id)) == []
    assert (gateway.keys, gateway.lookups) == ([], [transaction_id])
    assert status(aws, transaction_id) == state
    name, value = attribute
    assert aws.dynamodb.items[transaction_id][name] == {"S": value}


def test_past_the_retention_of_the_key_a_charge_that_is_not_found_is_left_to_a_person(
    aws: Aws, clock: Clock, gateway: CountingGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = long_ago(gateway, clock, LOOKUP_SECONDS)
    for _ in range(3):
        assert deliver(to_process(transaction_id)) == [0]
    assert process(transaction_id) == 500  # the API does not charge it either
    assert (gateway.keys, gateway.lookups) == ([], [transaction_id] * 4)
    assert status(aws, transaction_id) == "processing"
    reasons = {line["reason"] for line in Output.read(capsys).of("retry failed")}
    assert reasons == {"outcome_unknown"}


def test_a_lookup_that_fails_comes_back(aws: Aws, clock: Clock, gateway: CountingGateway) -> None:
    transaction_id = long_ago(gateway, clock, LOOKUP_SECONDS)
    gateway.found = GatewayUnavailable()
    assert deliver(to_process(transaction_id)) == [0]
    gateway.found = Charged("ref")
    assert deliver(to_process(transaction_id)) == []
    assert not gateway.keys


# What the lines say


def test_the_original_request_is_on_every_line_of_its_retry_and_on_no_other(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = validated(), validated()
    Output.read(capsys)
    first = to_process(one, request_id="request-1")
    deliver(first, "no JSON", to_process(two, request_id="request-2"))
    lines = Output.read(capsys).lines
    ids = [
        (line["message"], line.get("transaction_id"), line.get("original_request_id"))
        for line in lines
    ]
    assert ids == [
        ("captured", one, "request-1"),
        ("retried", one, "request-1"),
        ("retry failed", None, None),
        ("captured", two, "request-2"),
        ("retried", two, "request-2"),
    ]
    assert {line["request_id"] for line in lines} == {"lambda-request-id"}
    assert lines[1]["status"] == "processed"


def test_an_event_that_is_not_of_sqs_is_an_error(aws: Aws) -> None:
    with pytest.raises(Exception, match="SQS"):
        retry.handler({}, LambdaContext())


def test_the_event_of_the_tests_is_delivered_as_it_is(aws: Aws) -> None:
    event = load_event("sqs")
    answer = retry.handler(event, LambdaContext())
    assert answer == {"batchItemFailures": [{"itemIdentifier": event["Records"][0]["messageId"]}]}
    assert sqs_event("a", "b")["Records"][1]["messageId"] == "message-1"
