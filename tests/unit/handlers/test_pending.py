"""Payments that wait for their customer, or a bank: in the index, looked at, and ended once."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import pytest

from handlers import health_monitor, validation
from handlers.shared.aws import clients
from handlers.shared.clock import epoch_seconds
from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayTimeout,
    GatewayUnavailable,
    NotCharged,
    Open,
    Pending,
)
from handlers.shared.recording import FIRST_LOOK_SECONDS
from handlers.shared.recovery import MAX_LOOK_SECONDS, OVERDUE_SECONDS, RECOVER_AFTER_SECONDS
from tests.unit.handlers.fakes import client_error
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    LambdaContext,
    Output,
    call,
    deliver,
    load_event,
    look_up,
    process,
    to_process,
)
from tests.unit.handlers.two_steps import NEXT_ACTION, PENDING, ToldGateway, use


@pytest.fixture
def told(aws: Aws, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ToldGateway:
    return use(monkeypatch, ToldGateway(PENDING))


@pytest.fixture
def pending(told: ToldGateway) -> str:
    """A payment that has just become pending."""
    transaction_id = validated()
    assert process(transaction_id).status == 202
    told.calls.clear()
    return transaction_id


def validated() -> str:
    body = {"amount": 100.50, "currency": "USD", "customer_id": "c", "payment_method": "pm_1"}
    answer = call(validation.handler, load_event("validate", body=json.dumps(body)))
    return str(answer.body["transaction_id"])


def scheduled() -> None:
    health_monitor.handler(load_event("scheduled"), LambdaContext())


def queued(aws: Aws) -> list[str]:
    """Return the bodies of the messages that were sent since the last time."""
    bodies = aws.queued()
    aws.sqs.calls.clear()
    return bodies


def due(aws: Aws, clock: Clock) -> list[str]:
    """Let the next look come due, and return what the scheduled run queues."""
    [item] = aws.dynamodb.items.values()
    clock.tick(int(item["lease_expires_at"]["N"]) - epoch_seconds(clock.now) + 1)
    scheduled()
    return queued(aws)


def test_the_client_is_told_what_to_do_and_where_to_look(
    aws: Aws, told: ToldGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = validated()
    answer = process(transaction_id)
    expected = {
        "message": "Payment pending",
        "transaction_id": transaction_id,
        "status": "pending",
        "next_action": NEXT_ACTION,
    }
    assert (answer.status, answer.body) == (202, expected)
    assert answer.headers["Location"] == f"/prod/transactions/{transaction_id}"
    assert told.asked() == ["prepare", "confirm"]
    output = Output.read(capsys)
    assert output.metrics["PaymentsPending"] == [1]
    assert "canary-secret" not in output.text
    looked_up = look_up(transaction_id).body
    assert (looked_up["status"], looked_up["next_action"]) == ("pending", NEXT_ACTION)


def test_a_row_that_is_pending_is_in_the_index_until_the_next_look_and_held_by_nobody(
    aws: Aws, clock: Clock, pending: str
) -> None:
    item = aws.dynamodb.items[pending]
    assert item["in_flight"]["S"].startswith("pending#")
    assert int(item["lease_expires_at"]["N"]) == epoch_seconds(clock.now) + FIRST_LOOK_SECONDS
    assert item["pending_at"]["S"] == item["updated_at"]["S"]
    assert not item.keys() & {"attempt_id", "recoveries", "queued_until"}


def test_asking_again_is_answered_from_the_row_and_confirms_nothing(
    aws: Aws, told: ToldGateway, pending: str
) -> None:
    for _ in range(2):
        answer = process(pending)
        assert (answer.status, answer.body["next_action"]) == (202, NEXT_ACTION)
    assert told.asked() == []


def test_without_a_next_action_none_is_told(aws: Aws, told: ToldGateway) -> None:
    told.confirmed = Pending()
    transaction_id = validated()
    assert "next_action" not in process(transaction_id).body
    assert "next_action" not in look_up(transaction_id).body


def test_a_look_is_queued_when_it_is_due_and_is_no_recovery(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str
) -> None:
    scheduled()
    assert queued(aws) == []
    for _ in range(5):
        [body] = due(aws, clock)
        assert json.loads(body)["operation"] == "process"
        assert deliver(body) == []
        assert told.asked() == ["fetch"]
    assert "recoveries" not in aws.dynamodb.items[pending]
    assert aws.dynamodb.items[pending]["status"] == {"S": "pending"}


def test_the_looks_are_the_rarer_the_older_it_is(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str
) -> None:
    waits: list[int] = []
    while sum(waits) < 2 * OVERDUE_SECONDS:
        begun = clock.now
        assert due(aws, clock)
        waits.append(int((clock.now - begun).total_seconds()))
    assert waits == sorted(waits)
    assert waits[-1] == MAX_LOOK_SECONDS + 1
    assert len(waits) < 20


@pytest.mark.parametrize(
    ("outcome", "status", "attribute"),
    [
        (Charged("ch-1"), "processed", ("gateway_reference", "ch-1")),
        (Declined("expired_card"), "declined", ("decline_reason", "expired_card")),
        (NotCharged(), "canceled", ("canceled_at", None)),
        (NotCharged("expired_card"), "declined", ("decline_reason", "expired_card")),
    ],
)
def test_what_the_gateway_says_then_ends_it_and_removes_the_next_action(
    aws: Aws,
    clock: Clock,
    told: ToldGateway,
    pending: str,
    outcome: Any,
    status: str,
    attribute: tuple[str, str | None],
) -> None:
    told.come_to(f"pay-{pending}", outcome)
    [body] = due(aws, clock)
    assert deliver(body) == []
    item = aws.dynamodb.items[pending]
    assert item["status"] == {"S": status}
    name, value = attribute
    assert value is None or item[name] == {"S": value}
    assert not item.keys() & {"next_action", "pending_at", "in_flight", "lease_expires_at"}
    # One that failed can still be paid, until it is canceled.
    canceled = ["cancel"] if isinstance(outcome, Declined) else []
    assert told.asked() == ["fetch", *canceled]
    scheduled()
    assert queued(aws) == []


def test_what_only_exists_at_the_gateway_stays_pending_and_is_not_confirmed(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str
) -> None:
    told.come_to(f"pay-{pending}", Open())
    [body] = due(aws, clock)
    assert deliver(body) == []
    assert told.asked() == ["fetch"]
    assert aws.dynamodb.items[pending]["status"] == {"S": "pending"}


def test_a_new_next_action_takes_the_place_of_the_old_one_and_the_time_stays(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str
) -> None:
    before = dict(aws.dynamodb.items[pending])
    told.come_to(f"pay-{pending}", Pending("https://gateway.example/other"))
    [body] = due(aws, clock)
    look = aws.dynamodb.items[pending]["lease_expires_at"]
    assert deliver(body) == []
    item = aws.dynamodb.items[pending]
    assert item["next_action"] == {"S": "https://gateway.example/other"}
    assert (item["pending_at"], item["lease_expires_at"]) == (before["pending_at"], look)


def test_a_decline_is_not_written_before_the_payment_is_canceled_at_the_gateway(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str
) -> None:
    told.come_to(f"pay-{pending}", Declined("expired_card"))
    told.failures["cancel"] = GatewayTimeout()
    [body] = due(aws, clock)
    assert deliver(body) == []
    assert aws.dynamodb.items[pending]["status"] == {"S": "pending"}
    told.come_to(f"pay-{pending}", Charged("ch-1"))  # the customer was quicker
    assert deliver(body) == []
    assert aws.dynamodb.items[pending]["gateway_reference"] == {"S": "ch-1"}


def test_one_that_is_older_than_a_day_is_counted_in_each_run_and_looked_at_all_the_same(
    aws: Aws,
    clock: Clock,
    told: ToldGateway,
    pending: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock.tick(OVERDUE_SECONDS - 1)
    scheduled()
    assert "PaymentsOverdue" not in Output.read(capsys).metrics
    queued(aws)
    assert due(aws, clock)
    assert Output.read(capsys).metrics["PaymentsOverdue"] == [1]
    assert aws.dynamodb.items[pending]["in_flight"] == {"S": "overdue"}
    scheduled()
    assert Output.read(capsys).metrics["PaymentsOverdue"] == [1]
    told.come_to(f"pay-{pending}", Charged("ch-1"))
    [body] = due(aws, clock)
    assert deliver(body) == []
    assert aws.dynamodb.items[pending]["status"] == {"S": "processed"}
    capsys.readouterr()
    scheduled()
    assert "PaymentsOverdue" not in Output.read(capsys).metrics


@pytest.mark.parametrize("value", [{"S": "yesterday"}, {"N": "5"}, None])
def test_one_that_does_not_say_since_when_counts_as_overdue(
    aws: Aws, clock: Clock, pending: str, value: dict[str, str] | None
) -> None:
    item = aws.dynamodb.items[pending]
    item.pop("pending_at")
    if value is not None:
        item["pending_at"] = value
    assert due(aws, clock)
    assert aws.dynamodb.items[pending]["in_flight"] == {"S": "overdue"}


@pytest.mark.parametrize("lost", [["in_flight"], ["lease_expires_at"], ["in_flight", "pending_at"]])
def test_one_that_the_index_has_lost_is_put_back_under_its_own_key(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str, lost: list[str]
) -> None:
    key = aws.dynamodb.items[pending]["in_flight"]
    for name in lost:
        del aws.dynamodb.items[pending][name]
    for _ in range(288):
        scheduled()
        clock.tick(300)
        if {"in_flight", "lease_expires_at"} <= aws.dynamodb.items[pending].keys():
            break
    assert aws.dynamodb.items[pending]["in_flight"] == key


@pytest.mark.parametrize(
    ("name", "value"),
    [("gateway", "acme:Other"), ("gateway_account", "acct_2"), ("gateway_mode", "live")],
)
def test_one_of_another_gateway_is_not_asked_for_and_counts_as_stuck(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str, name: str, value: str
) -> None:
    aws.dynamodb.items[pending][name] = {"S": value}
    [body] = due(aws, clock)
    assert deliver(body) == [0]
    assert told.asked() == []
    item = aws.dynamodb.items[pending]
    assert (item["status"], item["in_flight"]) == ({"S": "pending"}, {"S": "stuck"})
    clock.tick(RECOVER_AFTER_SECONDS + MAX_LOOK_SECONDS)
    scheduled()
    assert queued(aws) == []


def test_one_whose_payment_at_the_gateway_is_another_is_set_aside(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str
) -> None:
    told.payments[f"pay-{pending}"] = told.payments[f"pay-{pending}"].__class__(
        **{**vars(told.payments[f"pay-{pending}"]), "amount": 1, "outcome": Charged("ch-1")}
    )
    [body] = due(aws, clock)
    assert deliver(body) == [0]
    item = aws.dynamodb.items[pending]
    assert (item["status"], item["in_flight"]) == ({"S": "pending"}, {"S": "mismatched"})


def test_a_message_that_sqs_does_not_take_is_made_good_by_the_next_look(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str
) -> None:
    aws.sqs.fail("SendMessage")
    due(aws, clock)
    aws.sqs.errors.clear()
    queued(aws)
    assert len(due(aws, clock)) == 1


@pytest.mark.parametrize(
    ("failing", "reason"),
    [
        ("fetch", "gateway_unavailable"),
        ("gateway", "gateway_unavailable"),
        ("class", "gateway_unavailable"),
        ("UpdateItem", "store_unavailable"),
    ],
)
def test_a_look_that_fails_ends_well_since_there_is_another(
    aws: Aws,
    clock: Clock,
    told: ToldGateway,
    pending: str,
    failing: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    [body] = due(aws, clock)
    before = dict(aws.dynamodb.items[pending])
    told.failures["fetch"] = GatewayUnavailable("Down")
    with monkeypatch.context() as patch:
        if failing in {"gateway", "class"}:
            patch.setattr(clients, "gateway", unavailable)
        if failing == "class":
            patch.setattr(clients, "gateway_class", unavailable)
        if failing == "UpdateItem":
            aws.dynamodb.fail("UpdateItem")
        capsys.readouterr()
        assert deliver(body) == []
    output = Output.read(capsys)
    [line] = output.of("look failed")
    assert (line["level"], line["reason"], line["transaction_id"]) == ("ERROR", reason, pending)
    assert output.metrics["PaymentsUnanswered"] == [1]
    assert "PaymentsRetried" not in output.metrics
    assert aws.dynamodb.items[pending] == before
    aws.dynamodb.errors.clear()
    told.failures.clear()
    told.come_to(f"pay-{pending}", Charged("ch-1"))
    [body] = due(aws, clock)
    assert deliver(body) == []
    assert aws.dynamodb.items[pending]["status"] == {"S": "processed"}


def unavailable() -> NoReturn:
    raise GatewayUnavailable("Down")


def test_so_does_any_other_message_that_finds_its_payment_pending(
    aws: Aws, told: ToldGateway, pending: str
) -> None:
    told.failures["fetch"] = GatewayUnavailable("Down")
    assert deliver(to_process(pending)) == []


def test_a_look_comes_back_while_a_capture_may_not_be_on_record(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str
) -> None:
    [body] = due(aws, clock)
    told.come_to(f"pay-{pending}", Charged("ch-1"))
    updates = iter(range(99))

    def fail() -> None:
        if next(updates) == 1:  # the finish, after the claim that was refused
            raise client_error()

    aws.dynamodb.before_update = fail
    assert deliver(body) == [0]
    assert deliver(body) == []
    assert aws.dynamodb.items[pending]["status"] == {"S": "processed"}


def test_a_look_that_finds_its_payment_ended_comes_back_until_the_gateway_was_asked(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str
) -> None:
    [body] = due(aws, clock)
    told.come_to(f"pay-{pending}", Charged("ch-1"))
    aws.dynamodb.items[pending]["status"] = {"S": "declined"}
    told.failures["fetch"] = GatewayUnavailable("Down")
    assert deliver(body) == [0]
    assert deliver(body) == []
    assert aws.dynamodb.items[pending]["contradicting_reference"] == {"S": "ch-1"}


def test_a_look_that_meets_the_end_in_between_changes_nothing(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str
) -> None:
    [body] = due(aws, clock)
    told.come_to(f"pay-{pending}", Charged("ch-1"))
    assert deliver(body) == []
    ended = dict(aws.dynamodb.items[pending])
    assert deliver(body) == []
    assert aws.dynamodb.items[pending] == ended
