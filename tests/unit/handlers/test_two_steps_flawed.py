"""Two steps with rows, gateways and clocks that are not as they should be: nothing is relied on, no
false alarm is raised, and nobody is told more than is known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from handlers import health_monitor, processing, validation
from handlers.shared.clock import epoch_seconds
from handlers.shared.deadline import CALL_SECONDS, REQUEST_SECONDS
from handlers.shared.gateway import (
    GATEWAY_TIMEOUT_SECONDS,
    Charged,
    GatewayPayment,
    Open,
    Outcome,
    Pending,
)
from handlers.shared.recovery import MAX_LOOK_SECONDS
from handlers.shared.responses import NOT_CHARGED, OUTCOME_UNKNOWN
from tests.unit.handlers.fakes import client_error
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    LambdaContext,
    Output,
    Response,
    call,
    deliver,
    load_event,
    look_up,
    process,
    to_process,
)
from tests.unit.handlers.two_steps import NEXT_ACTION, PENDING, ToldGateway, use

if TYPE_CHECKING:
    from tests.expressions import Item

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def told(aws: Aws, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ToldGateway:
    return use(monkeypatch, ToldGateway(PENDING))


def validated() -> str:
    body = {"amount": 100.50, "currency": "USD", "customer_id": "c", "payment_method": "pm_1"}
    answer = call(validation.handler, load_event("validate", body=json.dumps(body)))
    return str(answer.body["transaction_id"])


@pytest.fixture
def pending(told: ToldGateway) -> str:
    """A payment that has just become pending."""
    transaction_id = validated()
    assert process(transaction_id).status == 202
    told.calls.clear()
    return transaction_id


def run(aws: Aws, clock: Clock, transaction_id: str) -> list[str]:
    """Make the scheduled run when the next look is due; return the messages that it has queued."""
    look = int(aws.dynamodb.items[transaction_id]["lease_expires_at"]["N"])
    clock.tick(look - epoch_seconds(clock.now) + 1)
    health_monitor.handler(load_event("scheduled"), LambdaContext())
    return aws.queued()


def made(told: ToldGateway, transaction_id: str, outcome: Outcome) -> GatewayPayment:
    """Let the gateway have a payment for a transaction of 100.50 USD."""
    payment = GatewayPayment(
        id=f"pay-{transaction_id}",
        amount=10050,
        currency="USD",
        account=told.account,
        mode="test",
        outcome=outcome,
    )
    told.payments[payment.id] = payment
    return payment


# A look at a pending payment


def test_a_look_whose_answer_was_lost_is_queued_and_sets_nothing_aside(
    aws: Aws, clock: Clock, pending: str, capsys: Capture
) -> None:
    capsys.readouterr()
    aws.dynamodb.losing_answers = True
    [body] = run(aws, clock, pending)
    assert json.loads(body)["transaction_id"] == pending
    assert "PaymentsUnreadable" not in Output.read(capsys).metrics
    assert aws.dynamodb.items[pending]["in_flight"]["S"].startswith("pending#")


@pytest.mark.parametrize("ended", [True, False])
def test_a_payment_that_is_taken_further_during_a_look_is_neither_queued_nor_set_aside(
    aws: Aws, clock: Clock, pending: str, capsys: Capture, ended: bool
) -> None:
    capsys.readouterr()
    item = aws.dynamodb.items[pending]
    updates = iter(range(99))

    def meanwhile() -> None:
        if next(updates) == 1:  # it has been read, and is not put off yet
            if ended:
                item.pop("in_flight")
                item.pop("lease_expires_at")
                item["status"] = {"S": "processed"}
            else:
                item["lease_expires_at"] = {"N": str(epoch_seconds(clock.now) + 77)}

    aws.dynamodb.before_update = meanwhile
    assert run(aws, clock, pending) == []
    assert "PaymentsUnreadable" not in Output.read(capsys).metrics
    assert item["status"] == {"S": "processed" if ended else "pending"}


@pytest.mark.parametrize("value", [None, {"S": ""}, {"N": "5"}, {"M": {}}])
def test_a_pending_row_without_a_readable_id_is_set_aside_and_asked_of_nobody(
    aws: Aws,
    told: ToldGateway,
    pending: str,
    capsys: Capture,
    value: dict[str, Any] | None,
) -> None:
    capsys.readouterr()
    item = aws.dynamodb.items[pending]
    del item["gateway_id"]
    if value is not None:
        item["gateway_id"] = value
    assert deliver(to_process(pending)) == [0]
    assert told.asked() == []
    item = aws.dynamodb.items[pending]
    assert (item["status"], item["in_flight"]) == ({"S": "pending"}, {"S": "unreadable"})
    assert Output.read(capsys).metrics["PaymentsUnreadable"] == [1]


@pytest.mark.parametrize("key", ["pending#0", "pending#15", "overdue"])
def test_a_look_that_a_wrong_clock_has_put_off_for_years_is_made_within_two_hours(
    aws: Aws, clock: Clock, pending: str, key: str
) -> None:
    look = epoch_seconds(clock.now) + 5 * 365 * 24 * 3600
    moved: Item = {"lease_expires_at": {"N": str(look)}, "in_flight": {"S": key}}
    aws.dynamodb.items[pending] |= moved
    for _ in range(24):
        health_monitor.handler(load_event("scheduled"), LambdaContext())
        clock.tick(300)
    put_off = int(aws.dynamodb.items[pending]["lease_expires_at"]["N"])
    assert put_off <= epoch_seconds(clock.now) + MAX_LOOK_SECONDS
    assert json.loads(aws.queued()[0])["reason"] == "still_pending"


# Rows whose caller, or whose gateway, is not ours


def test_a_row_whose_caller_cannot_be_read_tells_nobody_where_a_customer_has_to_go(
    aws: Aws, told: ToldGateway, pending: str
) -> None:
    aws.dynamodb.items[pending]["caller"] = {"M": {}}
    answers: list[Response] = [process(pending), look_up(pending)]
    assert [answer.status for answer in answers] == [500, 500]
    assert NEXT_ACTION not in str(answers)


def test_a_validated_row_of_another_gateway_counts_as_stuck(
    aws: Aws, told: ToldGateway, capsys: Capture
) -> None:
    """A restore learns from a newer row where a payment was begun."""
    transaction_id = validated()
    marks: Item = {"gateway": {"S": "acme:Other"}, "rewound": {"N": "5"}}
    aws.dynamodb.items[transaction_id] |= marks
    capsys.readouterr()
    assert process(transaction_id).body["message"] == OUTCOME_UNKNOWN
    assert deliver(to_process(transaction_id)) == [0]
    output = Output.read(capsys)
    assert output.metrics["PaymentsStuck"] == [1, 1]
    assert "PaymentsUnreadable" not in output.metrics
    assert told.asked() == []
    assert aws.dynamodb.items[transaction_id]["status"] == {"S": "validated"}


@pytest.mark.parametrize(
    "other", [{"amount": 1}, {"currency": "EUR"}, {"account": "acct_2"}, {"mode": "live"}]
)
def test_where_the_gateway_has_confirmed_another_payment_the_client_is_not_told_it_is_uncharged(
    aws: Aws, told: ToldGateway, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    confirm = told.confirm

    def confirmed(payment_id: str, idempotency_key: str, return_url: str | None) -> GatewayPayment:
        return replace(confirm(payment_id, idempotency_key, return_url), **other)

    told.confirmed = Charged("ch-1")
    monkeypatch.setattr(told, "confirm", confirmed)
    transaction_id = validated()
    answer = process(transaction_id)
    assert (answer.status, answer.body["message"]) == (500, OUTCOME_UNKNOWN)
    aside = aws.dynamodb.items[transaction_id]["in_flight"]
    assert aside == {"S": "stuck" if other.keys() & {"account", "mode"} else "mismatched"}


def test_what_is_not_as_validated_is_told_as_not_charged(aws: Aws, told: ToldGateway) -> None:
    transaction_id = validated()
    aws.dynamodb.items[transaction_id]["payment_method"] = {"S": "pm_2"}
    assert process(transaction_id).body["message"] == NOT_CHARGED
    assert told.asked() == []


# A gateway that does not keep to its protocol


@pytest.mark.parametrize("payment_id", [None, "", 5])
def test_a_payment_without_a_text_as_its_id_is_neither_stored_nor_confirmed(
    aws: Aws, told: ToldGateway, monkeypatch: pytest.MonkeyPatch, payment_id: Any
) -> None:
    transaction_id = validated()
    prepared = replace(made(told, transaction_id, Open()), id=payment_id)
    monkeypatch.setattr(told, "prepare", lambda *_, **__: prepared)
    assert process(transaction_id).body["retry"] == "queued"
    assert told.asked() == []
    assert "gateway_id" not in aws.dynamodb.items[transaction_id]


@pytest.mark.parametrize("step", ["prepare", "confirm", "find"])
def test_a_payment_that_was_made_for_another_transaction_is_not_taken_for_this_one(
    aws: Aws, told: ToldGateway, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Two payments of one amount would share one capture."""
    transaction_id = validated()
    if step == "find":
        aws.dynamodb.items[transaction_id]["rewound"] = {"N": "5"}
    other = replace(
        made(told, transaction_id, Charged("ch-1")), transaction_id="another-transaction"
    )
    if step != "confirm":
        told.payments.clear()
    else:
        told.come_to(other.id, Open())
    monkeypatch.setattr(told, step, lambda *_, **__: other)
    assert process(transaction_id).body["message"] == OUTCOME_UNKNOWN
    item = aws.dynamodb.items[transaction_id]
    assert (item["status"], item["in_flight"]) == ({"S": "processing"}, {"S": "mismatched"})
    assert ("gateway_id" in item) == (step == "confirm")
    assert "gateway_reference" not in item


def test_a_next_action_that_is_no_text_is_not_stored(aws: Aws, told: ToldGateway) -> None:
    told.confirmed = Pending(5)  # type: ignore[arg-type]
    transaction_id = validated()
    assert process(transaction_id).body["retry"] == "queued"
    item = aws.dynamodb.items[transaction_id]
    assert item["status"] == {"S": "processing"}
    assert "next_action" not in item
    told.come_to(f"pay-{transaction_id}", Charged("ch-1"))
    assert deliver(to_process(transaction_id)) == []
    assert aws.dynamodb.items[transaction_id]["gateway_reference"] == {"S": "ch-1"}


# The time budget


@pytest.mark.parametrize("outcome", [Charged("ch-1"), PENDING])
def test_what_was_found_ended_is_written_down_only_if_the_request_still_ends_in_time(
    aws: Aws, clock: Clock, told: ToldGateway, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    """Every call takes as long as it may, and the row cannot be written after the id."""
    transaction_id = validated()
    aws.dynamodb.items[transaction_id]["rewound"] = {"N": "5"}
    told.found = made(told, transaction_id, outcome)
    began, writes = clock.now, iter(range(99))
    update, send, asked = aws.dynamodb.update_item, aws.sqs.send_message, told._asked

    def slow_update(**params: Any) -> Any:
        clock.tick(CALL_SECONDS)
        if next(writes) == 2:
            raise client_error()
        return update(**params)

    def slow_send(**params: Any) -> Any:
        clock.tick(CALL_SECONDS)
        return send(**params)

    def slow_answer(name: str, key: str) -> None:
        clock.tick(GATEWAY_TIMEOUT_SECONDS)
        asked(name, key)

    monkeypatch.setattr(aws.dynamodb, "update_item", slow_update)
    monkeypatch.setattr(aws.sqs, "send_message", slow_send)
    monkeypatch.setattr(told, "_asked", slow_answer)
    event = load_event("process", body=json.dumps({"transaction_id": transaction_id}))
    event["requestContext"]["requestTimeEpoch"] = int(began.timestamp() * 1000)
    assert call(processing.handler, event).body["retry"] == "queued"
    assert (clock.now - began).total_seconds() <= REQUEST_SECONDS
    assert aws.dynamodb.items[transaction_id]["gateway_id"] == {"S": f"pay-{transaction_id}"}
