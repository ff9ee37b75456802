"""POST /gateway-events."""

from __future__ import annotations

import base64
import json
from asyncio import CancelledError
from datetime import timedelta
from typing import Any

import pytest

from handlers import gateway_events
from handlers.shared.aws import clients
from handlers.shared.clock import epoch_seconds
from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayTimeout,
    GatewayUnavailable,
    NotCharged,
    Open,
    Outcome,
    Pending,
)
from handlers.shared.notifications import sign
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    Output,
    Response,
    call,
    load_event,
    look_up,
    process,
    validated,
)
from tests.unit.handlers.notifying import HEADER, OLD_SECRET, SECRET, NotifyingGateway

Capture = pytest.CaptureFixture[str]
TAKEN = {"message": "Notification taken"}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> NotifyingGateway:
    gateway = NotifyingGateway()
    monkeypatch.setattr(clients, "gateway", lambda: gateway)
    monkeypatch.setattr(clients, "gateway_class", lambda: NotifyingGateway)
    return gateway


@pytest.fixture
def pending(aws: Aws, clock: Clock, gateway: NotifyingGateway, capsys: Capture) -> str:
    """A payment that waits for its customer."""
    transaction_id = validated()
    assert process(transaction_id).status == 202
    gateway.calls.clear()
    aws.dynamodb.calls.clear()
    capsys.readouterr()
    return transaction_id


def event(body: str, header: str | None, **changes: Any) -> dict[str, Any]:
    of_process = load_event("process", body=body, **changes)
    if header is not None:
        # As a client has written it.
        of_process["headers"] = of_process["headers"] | {"Fake-Signature": header}
    return of_process


def notify(clock: Clock, body: str = "pay-1", secret: str = SECRET, **changes: Any) -> Response:
    """Send what the gateway sends."""
    header = sign(body.encode(), secret, clock.now)
    return call(gateway_events.handler, event(body, header, **changes))


def row(aws: Aws, transaction_id: str) -> dict[str, str]:
    item = aws.dynamodb.items[transaction_id]
    return {name: next(iter(value.values())) for name, value in item.items()}


# What settles a payment


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_a_pending_payment_that_is_charged_is_processed(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture, secret: str
) -> None:
    gateway.becomes(Charged("ch-1"))
    clock.tick(60)
    answer = notify(clock, secret=secret)
    assert (answer.status, answer.body) == (200, TAKEN)
    told = look_up(pending).body
    assert (told["status"], told["processed_at"]) == ("processed", told["updated_at"])
    assert row(aws, pending)["gateway_reference"] == "ch-1"
    assert "next_action" not in row(aws, pending)
    output = Output.read(capsys)
    assert output.metrics["PaymentsProcessed"] == [1]
    assert "CapturesContradicted" not in output.metrics
    [line] = output.of("notification")
    assert (line["status"], line["transaction_id"]) == (200, pending)


def test_it_is_a_write_that_is_refused_to_read_and_another_and_the_object_is_fetched_once(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str
) -> None:
    gateway.becomes(Charged("ch-1"))
    notify(clock)
    assert [name for name, _ in aws.dynamodb.calls] == ["UpdateItem", "UpdateItem"]
    assert gateway.calls == [("fetch", "pay-1")]
    assert aws.sqs.calls == []


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (NotCharged(), "canceled", None),
        (NotCharged("expired_card"), "declined", "expired_card"),
        (Declined("expired_card"), "declined", "expired_card"),
    ],
)
def test_a_pending_payment_that_cannot_be_charged_any_more_is_ended(
    aws: Aws,
    clock: Clock,
    gateway: NotifyingGateway,
    pending: str,
    outcome: Outcome,
    status: str,
    reason: str | None,
) -> None:
    gateway.becomes(outcome)
    assert notify(clock).status == 200
    assert row(aws, pending)["status"] == status
    assert row(aws, pending).get("decline_reason") == reason
    # One that failed could still be paid.
    assert gateway.payments["pay-1"].outcome == NotCharged(reason)
    assert gateway.asked("cancel") == isinstance(outcome, Declined)


def test_a_payment_that_is_still_pending_stays_so_and_is_told_where_to_go_now(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str
) -> None:
    before = row(aws, pending)
    assert notify(clock).status == 200
    assert row(aws, pending) == before
    gateway.becomes(Pending("https://bank.example/another"))
    assert notify(clock).status == 200
    assert row(aws, pending) == before | {
        "next_action": "https://bank.example/another",
        "updated_at": row(aws, pending)["updated_at"],
    }


# Twice, early, late, out of order


def test_the_same_notification_again_changes_nothing_and_counts_nothing(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture
) -> None:
    gateway.becomes(Charged("ch-1"))
    notify(clock)
    settled = row(aws, pending)
    capsys.readouterr()
    for _ in range(3):
        assert notify(clock).status == 200
    assert row(aws, pending) == settled
    assert not {"PaymentsProcessed", "CapturesContradicted"} & Output.read(capsys).metrics.keys()


def test_a_late_notification_of_a_canceled_payment_leaves_it_canceled(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str
) -> None:
    gateway.becomes(NotCharged())
    notify(clock)
    settled = row(aws, pending)
    assert settled["status"] == "canceled"
    assert notify(clock).status == 200
    assert row(aws, pending) == settled


def test_of_a_payment_that_is_only_validated_or_begun_nothing_is_written(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture
) -> None:
    item = aws.dynamodb.items[pending]
    for outcome in (Open(), Pending("https://bank.example/x"), Declined("expired_card")):
        gateway.becomes(outcome)
        for status, gone in (("validated", "gateway_id"), ("processing", "gateway_id")):
            kept = {name: value for name, value in item.items() if name != gone}
            aws.dynamodb.items[pending] = kept | {"status": {"S": status}}
            before = row(aws, pending)
            assert notify(clock).status == 200
            assert row(aws, pending) == before
    assert gateway.asked("cancel") == 0
    assert "CapturesContradicted" not in Output.read(capsys).metrics


def test_what_is_not_for_good_of_a_payment_in_processing_is_left_to_its_attempt(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str
) -> None:
    aws.dynamodb.items[pending] |= {
        "status": {"S": "processing"},
        "attempt_id": {"S": "somebody"},
        "lease_expires_at": {"N": str(epoch_seconds(clock.now) + 60)},
    }
    before = row(aws, pending)
    for outcome in (Open(), Pending("https://bank.example/x"), Declined("expired_card")):
        gateway.becomes(outcome)
        assert notify(clock).status == 200
        assert row(aws, pending) == before
    assert gateway.asked("cancel") == 0


@pytest.mark.parametrize(
    ("outcome", "status"), [(Charged("ch-1"), "processed"), (NotCharged(), "declined")]
)
def test_an_end_of_a_payment_in_processing_is_written_and_its_attempt_finds_it(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, outcome: Outcome, status: str
) -> None:
    """The notification is faster than the answer of `confirm`."""
    transaction_id = validated()
    gateway.confirmed = outcome
    confirm = gateway.confirm

    def confirm_late(payment_id: str, idempotency_key: str, return_url: str | None) -> Any:
        confirmed = confirm(payment_id, idempotency_key, return_url)
        assert notify(clock).status == 200
        assert row(aws, transaction_id)["status"] == status
        return confirmed

    gateway.confirm = confirm_late  # type: ignore[method-assign]
    answer = process(transaction_id)
    assert answer.status == (200 if status == "processed" else 402)
    assert row(aws, transaction_id)["status"] == status
    assert "contradicting_reference" not in row(aws, transaction_id)


def test_a_capture_that_comes_before_the_id_is_stored_has_to_be_told_again(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture
) -> None:
    stored = dict(aws.dynamodb.items[pending])
    aws.dynamodb.items[pending] = {
        name: value for name, value in stored.items() if name != "gateway_id"
    } | {"status": {"S": "processing"}}
    gateway.becomes(Charged("ch-1"))
    answer = notify(clock)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
    output = Output.read(capsys)
    assert output.of("notification not followed")[0]["reason"] == "not_yet"
    assert "CapturesContradicted" not in output.metrics
    aws.dynamodb.items[pending] = stored
    assert notify(clock).status == 200
    assert row(aws, pending)["status"] == "processed"


# A capture that is not the row's


def changed(item: dict[str, Any], **values: str) -> dict[str, Any]:
    return item | {name: {"S": value} for name, value in values.items()}


@pytest.mark.parametrize(
    ("values", "noted"),
    [
        ({"status": "validated"}, False),
        ({"status": "declined"}, True),
        ({"status": "canceled"}, True),
        ({"status": "processed", "gateway_reference": "ch-2"}, True),
        ({"status": "pending", "gateway_id": "pay-2"}, False),
        ({"status": "processing", "gateway_id": "pay-2"}, False),
    ],
)
def test_a_capture_that_its_row_does_not_have_counts_as_contradicted(
    aws: Aws,
    clock: Clock,
    gateway: NotifyingGateway,
    pending: str,
    capsys: Capture,
    values: dict[str, str],
    noted: bool,
) -> None:
    aws.dynamodb.items[pending] = changed(aws.dynamodb.items[pending], **values)
    gateway.becomes(Charged("ch-1"))
    assert notify(clock).status == 200
    output = Output.read(capsys)
    assert output.metrics["CapturesContradicted"] == [1]
    [line] = output.of("capture is not the one on record")
    assert (line["transaction_id"], line["gateway_reference"]) == (pending, "ch-1")
    assert row(aws, pending)["status"] == values["status"]
    assert row(aws, pending).get("contradicting_reference") == ("ch-1" if noted else None)


def test_a_capture_without_a_row_counts_as_contradicted(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture
) -> None:
    del aws.dynamodb.items[pending]
    gateway.becomes(Charged("ch-1"))
    assert notify(clock).status == 200
    assert Output.read(capsys).metrics["CapturesContradicted"] == [1]
    assert pending not in aws.dynamodb.items


def end_after_the_read(aws: Aws, transaction_id: str, status: str) -> None:
    """Let somebody else change the row between the two writes, the first of which reads."""
    writes = 0

    def change() -> None:
        nonlocal writes
        writes += 1
        if writes == 2:
            aws.dynamodb.items[transaction_id] |= {"status": {"S": status}}

    aws.dynamodb.before_update = change


def test_a_row_that_is_ended_otherwise_while_it_is_read_counts_the_capture(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture
) -> None:
    end_after_the_read(aws, pending, "canceled")
    gateway.becomes(Charged("ch-1"))
    assert notify(clock).status == 200
    assert Output.read(capsys).metrics["CapturesContradicted"] == [1]
    assert row(aws, pending)["status"] == "canceled"


def test_a_row_that_is_taken_back_while_it_is_read_is_asked_for_again(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str
) -> None:
    end_after_the_read(aws, pending, "validated")
    gateway.becomes(Charged("ch-1"))
    assert notify(clock).status == 503


def test_a_payment_that_another_system_has_made_at_the_same_gateway_is_none_of_ours(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture
) -> None:
    for name in (None, "", "with blank", "x" * 129):
        gateway.becomes(Charged("ch-1"), transaction_id=name)
        assert notify(clock).status == 200
    assert aws.dynamodb.calls == []
    assert "CapturesContradicted" not in Output.read(capsys).metrics


@pytest.mark.parametrize(
    ("changes", "metric"),
    [
        ({"amount": 1}, "PaymentsMismatched"),
        ({"currency": "EUR"}, "PaymentsMismatched"),
        ({"account": "acct-2"}, "PaymentsStuck"),
        ({"mode": "live"}, "PaymentsStuck"),
    ],
)
def test_a_payment_of_another_amount_currency_account_or_mode_settles_nothing(
    aws: Aws,
    clock: Clock,
    gateway: NotifyingGateway,
    pending: str,
    capsys: Capture,
    changes: dict[str, Any],
    metric: str,
) -> None:
    gateway.becomes(Charged("ch-1"), **changes)
    assert notify(clock).status == 200
    assert row(aws, pending)["status"] == "pending"
    assert Output.read(capsys).metrics[metric] == [1]


@pytest.mark.parametrize("name", ["gateway", "gateway_account", "gateway_mode"])
def test_a_row_that_was_begun_elsewhere_is_settled_by_nobody(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture, name: str
) -> None:
    aws.dynamodb.items[pending] = changed(aws.dynamodb.items[pending], **{name: "another"})
    gateway.becomes(Charged("ch-1"))
    assert notify(clock).status == 200
    assert row(aws, pending)["status"] == "pending"
    assert Output.read(capsys).metrics["PaymentsStuck"] == [1]


# What is refused


def assert_refused(answer: Response, aws: Aws, gateway: NotifyingGateway) -> None:
    assert answer.status == 400
    assert (gateway.calls, aws.dynamodb.calls, aws.sqs.calls) == ([], [], [])


@pytest.mark.parametrize("header", [None, "", "t=1,v1=00", "pay-1"])
def test_without_a_signature_or_with_a_wrong_one_nobody_is_asked(
    aws: Aws,
    clock: Clock,
    gateway: NotifyingGateway,
    pending: str,
    capsys: Capture,
    header: str | None,
) -> None:
    gateway.becomes(Charged("ch-1"))
    answer = call(gateway_events.handler, event("pay-1", header))
    assert_refused(answer, aws, gateway)
    assert answer.body == {
        "error": "Invalid notification",
        "message": "It is not signed by the payment gateway, or not of these minutes",
    }
    assert "Failures" not in Output.read(capsys).metrics


def test_a_signature_of_another_secret_body_or_hour_is_refused(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture
) -> None:
    gateway.becomes(Charged("ch-1"))
    assert_refused(notify(clock, secret="guessed"), aws, gateway)
    header = sign(b"pay-2", SECRET, clock.now)
    assert_refused(call(gateway_events.handler, event("pay-1", header)), aws, gateway)
    for seconds in (301, -301):
        header = sign(b"pay-1", SECRET, clock.now - timedelta(seconds=seconds))
        assert_refused(call(gateway_events.handler, event("pay-1", header)), aws, gateway)
    reasons = [line["reason"] for line in Output.read(capsys).of("notification refused")]
    assert reasons == ["forged", "forged", "old", "old"]


@pytest.mark.parametrize("body", ["pay-1@acct-2", "pay-1#live"])
def test_a_notification_of_another_account_or_mode_is_refused(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, body: str
) -> None:
    gateway.becomes(Charged("ch-1"))
    assert_refused(notify(clock, body), aws, gateway)


def test_a_notification_of_the_same_account_and_mode_is_followed(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str
) -> None:
    gateway.becomes(Charged("ch-1"))
    assert notify(clock, "pay-1@acct-1#test").status == 200
    assert row(aws, pending)["status"] == "processed"


def test_of_a_mebibyte_nothing_is_even_verified(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str
) -> None:
    answer = notify(clock, "x" * 1024 * 1024)
    assert_refused(answer, aws, gateway)
    assert answer.body["message"] == "The body is over 262144 bytes"


@pytest.mark.parametrize(
    "changes", [{"body": None}, {"body": "%", "isBase64Encoded": True}, {"body": "\ud800"}]
)
def test_a_body_that_is_none_is_refused(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, changes: dict[str, Any]
) -> None:
    sent = event("pay-1", sign(b"pay-1", SECRET, clock.now)) | changes
    assert_refused(call(gateway_events.handler, sent), aws, gateway)


def test_a_body_in_base64_is_verified_as_it_was_sent(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str
) -> None:
    gateway.becomes(Charged("ch-1"))
    sent = event("pay-1", sign(b"pay-1", SECRET, clock.now))
    sent |= {"body": base64.b64encode(b"pay-1").decode(), "isBase64Encoded": True}
    assert call(gateway_events.handler, sent).status == 200
    assert row(aws, pending)["status"] == "processed"


def test_a_kind_of_no_concern_is_taken_and_nobody_is_asked(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str
) -> None:
    assert notify(clock, "").status == 200
    assert (gateway.calls, aws.dynamodb.calls) == ([], [])


# What comes again


@pytest.mark.parametrize(
    "raised",
    [
        *(GatewayTimeout("x"), GatewayUnavailable("x"), KeyError("x")),
        *(SystemExit("x"), CancelledError("x")),
    ],
)
def test_a_gateway_that_cannot_tell_is_asked_at_the_next_time(
    aws: Aws,
    clock: Clock,
    gateway: NotifyingGateway,
    pending: str,
    capsys: Capture,
    raised: BaseException,
) -> None:
    gateway.raised = raised
    answer = notify(clock)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
    assert answer.body == {
        "error": "Notification not taken",
        "message": "It could not be followed now; please send it again",
    }
    assert Output.read(capsys).metrics["Failures"] == [1]
    gateway.raised = None
    gateway.becomes(Charged("ch-1"))
    assert notify(clock).status == 200
    assert row(aws, pending)["status"] == "processed"


@pytest.mark.parametrize("calls", [1, 2])
def test_an_end_that_is_not_stored_has_to_be_told_again(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture, calls: int
) -> None:
    def fail_at_last() -> None:
        nonlocal calls
        calls -= 1
        if calls == 0:
            aws.dynamodb.fail("UpdateItem")

    aws.dynamodb.before_update = fail_at_last
    gateway.becomes(Charged("ch-1"))
    assert notify(clock).status == 503
    assert Output.read(capsys).metrics["Failures"] == [1]
    aws.dynamodb.errors.clear()
    assert notify(clock).status == 200
    assert row(aws, pending)["status"] == "processed"


def test_without_the_secret_it_has_to_be_told_again(
    aws: Aws, clock: Clock, pending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable() -> None:
        raise GatewayUnavailable("AccessDeniedException")

    monkeypatch.setattr(clients, "gateway", unavailable)
    assert notify(clock).status == 503


def test_a_class_that_answers_otherwise_takes_no_notification(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "fetch", lambda _: gateway.payments["pay-1"])
    assert notify(clock, "pay-2").status == 503
    monkeypatch.setattr(gateway, "notification", lambda *_: "pay-1")
    assert notify(clock).status == 503
    assert row(aws, pending)["status"] == "pending"


def test_without_the_time_for_it_nobody_is_asked(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str
) -> None:
    sent = event("pay-1", sign(b"pay-1", SECRET, clock.now))
    sent["requestContext"]["requestTimeEpoch"] = (epoch_seconds(clock.now) - 20) * 1000
    assert call(gateway_events.handler, sent).status == 503
    assert gateway.calls == []


def test_while_payments_are_stopped_it_has_to_be_told_again_and_nothing_is_written(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture
) -> None:
    gateway.becomes(Charged("ch-1"))
    answer = notify(clock, stageVariables={"paymentsStopped": "true"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
    assert (gateway.calls, aws.dynamodb.calls) == ([], [])
    assert "Failures" not in Output.read(capsys).metrics
    assert notify(clock, stageVariables={"other": "true"}).status == 200


# What nobody is told


def test_neither_body_nor_signature_nor_next_action_is_logged_or_answered(
    aws: Aws, clock: Clock, gateway: NotifyingGateway, pending: str, capsys: Capture
) -> None:
    answers = [notify(clock), notify(clock, secret="guessed"), notify(clock, "pay-1@canary")]
    gateway.raised = RuntimeError("canary")
    answers.append(notify(clock))
    text = Output.read(capsys).text + json.dumps([answer.body for answer in answers])
    for canary in ("canary", "secret-url", "v1=", "pay-1", HEADER):
        assert canary not in text
