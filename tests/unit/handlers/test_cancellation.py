"""POST /cancel: nothing that may be captured is shown as canceled, and nothing canceled is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from handlers import cancellation, processing, validation
from handlers.shared.aws import clients
from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayPayment,
    GatewayTimeout,
    GatewayUnavailable,
    NoCharge,
    NotCharged,
    Open,
    Pending,
)
from tests.unit.handlers.bodies import HOSTILE
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    CountingGateway,
    Output,
    call,
    cancel,
    deliver,
    load_event,
    look_up,
    process,
    to_process,
)
from tests.unit.handlers.harness import validated as validated_anywhere
from tests.unit.handlers.two_steps import NEXT_ACTION, PENDING, ToldGateway, use

if TYPE_CHECKING:
    from handlers.shared.gateway import Outcome

STRANGER = "arn:aws:sts::999999999999:assumed-role/other/other"
COLLEAGUE = "arn:aws:sts::123456789012:assumed-role/colleague/one"
REWOUND = 1795000000
LATER = "2026-11-22T21:28:00.000000+00:00"


@pytest.fixture
def told(aws: Aws, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ToldGateway:
    return use(monkeypatch, ToldGateway(PENDING))


@pytest.fixture
def pending(told: ToldGateway, capsys: pytest.CaptureFixture[str]) -> str:
    """A payment that has just become pending."""
    transaction_id = validated()
    assert process(transaction_id).status == 202
    told.calls.clear()
    Output.read(capsys)
    return transaction_id


@pytest.fixture
def rewound(told: ToldGateway, aws: Aws, capsys: pytest.CaptureFixture[str]) -> str:
    """A validated payment of which a restore does not know what had become of it."""
    transaction_id = validated()
    aws.dynamodb.items[transaction_id]["rewound"] = {"N": str(REWOUND)}
    Output.read(capsys)
    return transaction_id


def validated() -> str:
    body = {"amount": 100.50, "currency": "USD", "customer_id": "c", "payment_method": "pm_1"}
    answer = call(validation.handler, load_event("validate", body=json.dumps(body)))
    return str(answer.body["transaction_id"])


def at_gateway(outcome: Outcome, **changes: Any) -> GatewayPayment:
    payment: dict[str, Any] = {
        **{"id": "pay-found", "amount": 10050, "currency": "USD"},
        **{"account": "acct_1", "mode": "test", "outcome": outcome},
    }
    return GatewayPayment(**payment | changes)


def canceled(transaction_id: str) -> dict[str, str]:
    return {
        "message": "Payment canceled",
        "transaction_id": transaction_id,
        "status": "canceled",
    }


def refused(error: str, transaction_id: str, status: str) -> dict[str, str]:
    return {"error": error, "transaction_id": transaction_id, "status": status}


def failed(transaction_id: str, message: str) -> dict[str, str]:
    return {
        "error": "Cancellation failed",
        "message": message,
        "transaction_id": transaction_id,
    }


TRY_AGAIN = "The request could not be completed; please send it again"
LOOK_AFTER = "The payment cannot be canceled; somebody has to look after it"


def row(aws: Aws, transaction_id: str) -> dict[str, Any]:
    return {name: next(iter(v.values())) for name, v in aws.dynamodb.items[transaction_id].items()}


# What nobody has begun.


def test_a_validated_payment_is_canceled_by_one_write_without_a_gateway(
    aws: Aws,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_gateway() -> None:
        raise AssertionError

    transaction_id = validated_anywhere()
    monkeypatch.setattr(clients, "gateway", no_gateway)
    monkeypatch.setattr(clients, "gateway_class", no_gateway)
    aws.dynamodb.calls.clear()
    Output.read(capsys)
    clock.tick(60)
    answer = cancel(transaction_id)
    assert (answer.status, answer.body) == (200, canceled(transaction_id))
    assert [name for name, _ in aws.dynamodb.calls] == ["UpdateItem"]
    assert row(aws, transaction_id)["canceled_at"] == LATER
    assert look_up(transaction_id).body["canceled_at"] == LATER
    output = Output.read(capsys)
    assert output.metrics == {"PaymentsCanceled": [1]}
    [line] = output.of("cancel")
    assert (line["transaction_id"], line["status"]) == (transaction_id, 200)
    assert "cust-12345" not in output.text


def test_asking_again_is_answered_alike_and_counted_once(
    aws: Aws, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = validated_anywhere()
    Output.read(capsys)
    first = cancel(transaction_id)
    clock.tick(60)
    again = cancel(transaction_id)
    assert (again.status, again.body) == (first.status, first.body) == (200, first.body)
    assert row(aws, transaction_id)["canceled_at"] != LATER
    assert Output.read(capsys).metrics == {"PaymentsCanceled": [1]}


def test_a_write_whose_answer_was_lost_has_canceled_all_the_same(aws: Aws) -> None:
    transaction_id = validated_anywhere()
    aws.dynamodb.losing_answers = True
    assert cancel(transaction_id).body == canceled(transaction_id)


def test_a_canceled_payment_is_never_charged(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated_anywhere()
    cancel(transaction_id)
    answer = process(transaction_id)
    assert (answer.status, answer.body["error"]) == (409, "Payment canceled")
    assert deliver(to_process(transaction_id)) == []
    assert gateway.keys == []


def test_of_a_charge_and_a_cancellation_at_once_one_alone_gets_the_payment(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated_anywhere()
    between: list[Any] = []

    def cancel_first() -> None:
        aws.dynamodb.before_update = lambda: None
        between.append(cancel(transaction_id))

    aws.dynamodb.before_update = cancel_first
    assert process(transaction_id).status == 409
    assert (between[0].status, gateway.keys) == (200, [])

    other = validated_other(amount=2)

    def charge_first() -> None:
        aws.dynamodb.before_update = lambda: None
        between.append(process(other))

    aws.dynamodb.before_update = charge_first
    answer = cancel(other)
    assert (between[1].status, gateway.keys) == (200, [other])
    assert answer.body == refused("Transaction already processed", other, "processed")


def validated_other(**changes: Any) -> str:
    body = {"amount": 1, "currency": "USD", "customer_id": "c"} | changes
    answer = call(validation.handler, load_event("validate", body=json.dumps(body)))
    return str(answer.body["transaction_id"])


# What has ended, or is under way.


def test_a_processed_payment_is_not_canceled(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated_anywhere()
    process(transaction_id)
    answer = cancel(transaction_id)
    assert answer.status == 409
    assert answer.body == refused("Transaction already processed", transaction_id, "processed")
    assert row(aws, transaction_id)["status"] == "processed"


def test_a_declined_payment_is_not_canceled(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated_anywhere()
    gateway.result = Declined("insufficient_funds")
    process(transaction_id)
    answer = cancel(transaction_id)
    assert answer.status == 409
    assert answer.body == refused("Payment declined", transaction_id, "declined")


def test_one_that_is_being_charged_is_told_as_process_tells_it(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated_anywhere()
    answers: list[Any] = []

    def meanwhile() -> None:
        answers.extend((process(transaction_id), cancel(transaction_id)))

    gateway.meanwhile = meanwhile
    assert process(transaction_id).status == 200
    of_process, of_cancel = answers
    assert of_cancel.status == of_process.status == 409
    assert of_cancel.body == of_process.body
    assert of_cancel.headers == of_process.headers | {
        "X-Request-Id": of_cancel.headers["X-Request-Id"]
    }
    assert of_cancel.headers["Retry-After"] == "90"
    assert of_cancel.headers["Location"] == f"/prod/transactions/{transaction_id}"


# What waits for its customer.


def test_a_pending_payment_is_canceled_at_the_gateway_first(
    aws: Aws,
    clock: Clock,
    told: ToldGateway,
    pending: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock.tick(60)
    told.failures["cancel"] = GatewayTimeout("Timeout")
    assert cancel(pending).status == 500
    assert row(aws, pending)["status"] == "pending"
    answer = cancel(pending)
    assert (answer.status, answer.body) == (200, canceled(pending))
    assert told.asked() == ["fetch", "cancel", "fetch", "cancel"]
    stored = row(aws, pending)
    assert (stored["status"], stored["canceled_at"]) == ("canceled", LATER)
    assert not {"next_action", "in_flight", "lease_expires_at", "pending_at"} & stored.keys()
    output = Output.read(capsys)
    assert output.metrics["PaymentsCanceled"] == [1]
    for secret in (NEXT_ACTION, "canary", "pm_1"):
        assert secret not in output.text


def test_each_cancellation_at_the_gateway_has_a_key_of_its_own(
    told: ToldGateway, pending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    def refuse(payment_id: str, idempotency_key: str) -> GatewayPayment:
        keys.append(idempotency_key)
        return told.payments[payment_id]

    monkeypatch.setattr(told, "cancel", refuse)
    assert [cancel(pending).status for _ in range(2)] == [409, 409]
    assert len(set(keys)) == 2


@pytest.mark.parametrize(
    ("outcome", "status", "error"),
    [
        (Charged("ch-1"), "processed", "Transaction already processed"),
        (Declined("card_declined"), "declined", "Payment declined"),
        (NotCharged("card_declined"), "declined", "Payment declined"),
    ],
    ids=repr,
)
def test_what_the_gateway_says_instead_is_written_and_told(
    aws: Aws, told: ToldGateway, pending: str, outcome: Outcome, status: str, error: str
) -> None:
    told.come_to(f"pay-{pending}", outcome)
    answer = cancel(pending)
    assert (answer.status, answer.body) == (409, refused(error, pending, status))
    stored = row(aws, pending)
    assert stored["status"] == status
    assert "next_action" not in stored
    if status == "declined":
        assert stored["decline_reason"] == "card_declined"
        assert told.payments[f"pay-{pending}"].outcome == NotCharged(
            *(["card_declined"] if isinstance(outcome, NotCharged) else [])
        )
    else:
        assert stored["gateway_reference"] == "ch-1"


@pytest.mark.parametrize("outcome", [PENDING, Pending(), Open()], ids=repr)
def test_what_the_gateway_does_not_cancel_now_stays_pending(
    aws: Aws,
    told: ToldGateway,
    pending: str,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told.come_to(f"pay-{pending}", outcome)
    monkeypatch.setattr(told, "cancel", lambda payment_id, **_: told.payments[payment_id])
    answer = cancel(pending)
    assert answer.status == 409
    assert answer.body == refused("Payment cannot be canceled now", pending, "pending")
    assert answer.headers["Location"] == f"/prod/transactions/{pending}"
    assert row(aws, pending)["status"] == "pending"


def test_one_that_failed_and_stays_payable_is_not_canceled(
    aws: Aws, told: ToldGateway, pending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.come_to(f"pay-{pending}", Declined("card_declined"))
    monkeypatch.setattr(told, "cancel", lambda payment_id, **_: told.payments[payment_id])
    answer = cancel(pending)
    assert answer.body == refused("Payment cannot be canceled now", pending, "pending")
    assert row(aws, pending)["status"] == "pending"


def test_a_capture_while_it_is_canceled_is_told_as_processed(
    aws: Aws, told: ToldGateway, pending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(payment_id: str, idempotency_key: str) -> GatewayPayment:
        told.come_to(payment_id, Charged("ch-late"))
        return told.payments[payment_id]

    monkeypatch.setattr(told, "cancel", too_late)
    assert cancel(pending).body["status"] == "processed"
    assert row(aws, pending)["gateway_reference"] == "ch-late"


def test_a_look_that_ends_it_meanwhile_has_the_last_word_and_nothing_is_counted_twice(
    aws: Aws, told: ToldGateway, pending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    real = told.cancel

    def and_looked_at(payment_id: str, idempotency_key: str) -> GatewayPayment:
        payment = real(payment_id, idempotency_key)
        assert deliver(to_process(pending)) == []
        return payment

    told.cancel = and_looked_at  # type: ignore[method-assign]
    assert cancel(pending).body == canceled(pending)
    assert Output.read(capsys).metrics["PaymentsCanceled"] == [1]


def test_a_cancellation_whose_write_failed_is_found_by_the_next_look(
    aws: Aws, told: ToldGateway, pending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first_write = len(aws.dynamodb.called("UpdateItem"))
    aws.dynamodb.before_update = lambda: (
        aws.dynamodb.fail("UpdateItem")
        if len(aws.dynamodb.called("UpdateItem")) > first_write
        else None
    )
    answer = cancel(pending)
    assert (answer.status, answer.body) == (500, failed(pending, TRY_AGAIN))
    assert answer.headers["Location"] == f"/prod/transactions/{pending}"
    assert aws.queued() == []
    assert row(aws, pending)["status"] == "pending"
    aws.dynamodb.before_update = lambda: None
    aws.dynamodb.errors.clear()
    assert deliver(to_process(pending)) == []
    assert row(aws, pending)["status"] == "canceled"
    assert Output.read(capsys).metrics["PaymentsCanceled"] == [1]
    assert cancel(pending).body == canceled(pending)


def test_one_of_another_account_is_not_asked_for_and_counts_as_stuck(
    aws: Aws, told: ToldGateway, pending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told.account = "acct_2"
    before = row(aws, pending)
    answer = cancel(pending)
    assert (answer.status, answer.body) == (500, failed(pending, LOOK_AFTER))
    assert told.asked() == []
    assert row(aws, pending) == before
    output = Output.read(capsys)
    assert output.metrics == {"PaymentsStuck": [1], "Failures": [1]}
    [line] = output.of("payment not canceled")
    assert (line["reason"], line["attribute"]) == ("other_gateway", "gateway_account")


def test_one_that_is_pending_at_a_gateway_in_two_steps_is_not_asked_of_another(
    aws: Aws, pending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "gateway", CountingGateway)
    for name in ("gateway", "gateway_account", "gateway_mode"):
        del aws.dynamodb.items[pending][name]
    assert cancel(pending).body == failed(pending, LOOK_AFTER)
    assert row(aws, pending)["status"] == "pending"


def test_one_whose_payment_at_the_gateway_is_another_is_not_canceled_there(
    aws: Aws, told: ToldGateway, pending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.dynamodb.items[pending]["amount_minor"] = {"N": "1"}
    assert cancel(pending).body == failed(pending, LOOK_AFTER)
    assert told.asked() == ["fetch"]
    assert row(aws, pending)["status"] == "pending"
    assert Output.read(capsys).metrics["PaymentsMismatched"] == [1]


# What a restore took back.


def test_a_rewound_payment_of_which_there_is_nothing_is_canceled(
    aws: Aws, told: ToldGateway, rewound: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told.found = NoCharge()
    assert cancel(rewound).body == canceled(rewound)
    assert told.asked() == ["find"]
    assert row(aws, rewound)["status"] == "canceled"
    assert Output.read(capsys).metrics["PaymentsCanceled"] == [1]


@pytest.mark.parametrize("outcome", [Open(), PENDING, Declined("card_declined")], ids=repr)
def test_what_there_is_of_a_rewound_payment_is_canceled_at_the_gateway(
    aws: Aws, told: ToldGateway, rewound: str, outcome: Outcome
) -> None:
    told.found = told.payments["pay-found"] = at_gateway(outcome)
    answer = cancel(rewound)
    assert told.asked() == ["find", "cancel"]
    assert told.payments["pay-found"].outcome == NotCharged()
    assert answer.body == canceled(rewound)
    assert row(aws, rewound)["status"] == "canceled"


def test_one_that_is_canceled_there_already_is_canceled(
    aws: Aws, told: ToldGateway, rewound: str
) -> None:
    told.found = at_gateway(NotCharged())
    assert cancel(rewound).body == canceled(rewound)
    assert told.asked() == ["find"]


def test_a_captured_one_is_told_as_processed_and_left_to_who_processes_it(
    aws: Aws, told: ToldGateway, rewound: str
) -> None:
    told.found = told.payments["pay-found"] = at_gateway(Charged("ch-1"))
    answer = cancel(rewound)
    assert answer.status == 409
    assert answer.body == refused("Transaction already processed", rewound, "processed")
    assert row(aws, rewound)["status"] == "validated"
    assert process(rewound).status == 200
    assert row(aws, rewound)["gateway_reference"] == "ch-1"


def test_one_of_which_nobody_can_know_is_not_canceled(
    aws: Aws, told: ToldGateway, rewound: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told.found = None
    answer = cancel(rewound)
    assert answer.status == 409
    assert answer.body == refused("Payment cannot be canceled now", rewound, "validated")
    assert row(aws, rewound)["status"] == "validated"
    assert "Failures" not in Output.read(capsys).metrics


def test_one_that_the_gateway_does_not_cancel_now_stays_as_it_is(
    aws: Aws, told: ToldGateway, rewound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.found = told.payments["pay-found"] = at_gateway(PENDING)
    monkeypatch.setattr(told, "cancel", lambda payment_id, **_: told.payments[payment_id])
    answer = cancel(rewound)
    assert answer.body == refused("Payment cannot be canceled now", rewound, "validated")
    assert row(aws, rewound)["status"] == "validated"


def test_what_is_found_has_to_be_the_rows(aws: Aws, told: ToldGateway, rewound: str) -> None:
    told.found = told.payments["pay-found"] = at_gateway(Open(), amount=1)
    assert cancel(rewound).body == failed(rewound, LOOK_AFTER)
    assert told.asked() == ["find"]


def test_one_that_is_charged_meanwhile_is_not_canceled(
    aws: Aws, told: ToldGateway, rewound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(_: object) -> NoCharge:
        item = aws.dynamodb.items[rewound]
        item |= {"status": {"S": "processing"}, "lease_expires_at": {"N": str(2**31)}}
        return NoCharge()

    monkeypatch.setattr(told, "find", find)
    answer = cancel(rewound)
    assert (answer.status, answer.body["error"]) == (409, "Transaction in progress")
    assert row(aws, rewound)["status"] == "processing"


def test_one_that_is_restored_once_more_meanwhile_is_not_canceled(
    aws: Aws, told: ToldGateway, rewound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(_: object) -> NoCharge:
        aws.dynamodb.items[rewound]["rewound"] = {"N": str(REWOUND + 1)}
        return NoCharge()

    monkeypatch.setattr(told, "find", find)
    assert cancel(rewound).status == 500
    assert row(aws, rewound)["status"] == "validated"


@pytest.mark.parametrize(
    ("found", "status", "stored"),
    [
        (NoCharge(), 200, "canceled"),
        (Declined("insufficient_funds"), 200, "canceled"),
        (Charged("ch-1"), 409, "validated"),
        (None, 409, "validated"),
        ("no outcome", 409, "validated"),
        (GatewayUnavailable("Away"), 500, "validated"),
    ],
    ids=repr,
)
def test_at_a_gateway_in_one_step_a_rewound_payment_is_canceled_if_there_is_no_charge(
    aws: Aws, clock: Clock, gateway: CountingGateway, found: Any, status: int, stored: str
) -> None:
    transaction_id = validated_anywhere()
    aws.dynamodb.items[transaction_id]["rewound"] = {"N": str(REWOUND)}
    gateway.found = found
    answer = cancel(transaction_id)
    assert (answer.status, gateway.lookups) == (status, [transaction_id])
    assert row(aws, transaction_id)["status"] == stored
    if isinstance(found, Charged):
        assert answer.body["status"] == "processed"


# Who asks, and what for.


def test_unknown_payments_and_those_of_others_get_the_same_answer(aws: Aws) -> None:
    transaction_id = validated_anywhere()
    answers = [cancel(transaction_id, userArn=other) for other in (STRANGER, COLLEAGUE)]
    assert row(aws, transaction_id)["status"] == "validated"
    aws.dynamodb.items.clear()
    for answer in (*answers, cancel(transaction_id)):
        assert (answer.status, answer.body) == (
            404,
            {"error": "Transaction not found", "transaction_id": transaction_id},
        )
    assert aws.dynamodb.items == {}


@pytest.mark.parametrize("state", ["pending", "rewound"])
def test_nobody_has_the_gateway_asked_of_the_payments_of_others(
    aws: Aws, told: ToldGateway, state: str, request: pytest.FixtureRequest
) -> None:
    transaction_id = request.getfixturevalue(state)
    assert cancel(transaction_id, userArn=STRANGER).status == 404
    assert told.asked() == []


def test_payments_of_the_account_are_canceled_where_its_principals_may_process_them(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYMENT_ACCESS", "account")
    transaction_id = validated_anywhere()
    assert cancel(transaction_id, userArn=STRANGER).status == 404
    assert cancel(transaction_id, userArn=COLLEAGUE).status == 200


@pytest.mark.parametrize("transaction_id", [None, "", "a b", "é", "x" * 129, "\n", 5, ["t"]])
def test_an_id_is_refused_as_process_refuses_it(aws: Aws, transaction_id: object) -> None:
    answer = cancel(transaction_id)
    body = json.dumps({"transaction_id": transaction_id})
    of_process = call(processing.handler, load_event("process", body=body))
    assert (answer.status, answer.body) == (400, of_process.body)
    assert aws.dynamodb.calls == []


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_body_that_is_no_sound_json_object_is_refused(aws: Aws, changes: dict[str, Any]) -> None:
    answer = call(cancellation.handler, load_event("cancel", **{"body": None} | changes))
    assert answer.status == 400
    assert aws.dynamodb.calls == []


# What fails.


def test_a_failure_of_dynamodb_is_answered_and_nothing_is_queued(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.dynamodb.fail("UpdateItem")
    answer = cancel("t")
    assert (answer.status, answer.body) == (500, failed("t", TRY_AGAIN))
    output = Output.read(capsys)
    assert output.metrics == {"Failures": [1]}
    [line] = output.of("cancel failed")
    assert (line["reason"], line["code"]) == ("store_unavailable", "InternalServerError")
    assert "canary" not in output.text
    assert aws.queued() == []


@pytest.mark.parametrize("error", [ValueError("canary"), SystemExit("canary")], ids=repr)
def test_whatever_a_gateway_raises_is_answered(
    aws: Aws,
    told: ToldGateway,
    pending: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(told, "cancel", fail)
    answer = cancel(pending)
    assert (answer.status, answer.body) == (500, failed(pending, TRY_AGAIN))
    assert row(aws, pending)["status"] == "pending"
    output = Output.read(capsys)
    assert output.of("cancel failed")[0]["reason"] == "unforeseen"
    assert "canary" not in output.text


def test_a_gateway_that_is_not_to_be_had_fails_what_needs_it_alone(
    aws: Aws, pending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable() -> None:
        raise GatewayUnavailable("AccessDeniedException")

    monkeypatch.setattr(clients, "gateway", unavailable)
    assert cancel(pending).body == failed(pending, TRY_AGAIN)
    monkeypatch.setattr(clients, "gateway", ToldGateway)
    transaction_id = validated()
    monkeypatch.setattr(clients, "gateway", unavailable)
    assert cancel(transaction_id).status == 200


def test_a_broken_environment_is_answered_too(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRANSACTIONS_TABLE")
    assert cancel("t").body == failed("t", TRY_AGAIN)
    assert Output.read(capsys).metrics == {"Failures": [1]}


@pytest.mark.parametrize(("waited", "calls"), [(23, 1), (24, 0)])
def test_a_request_that_has_waited_too_long_is_not_begun(
    aws: Aws, clock: Clock, waited: int, calls: int
) -> None:
    clock.tick(waited)
    assert cancel("t").status == (404 if calls else 500)
    assert len(aws.dynamodb.calls) == calls


@pytest.mark.parametrize(
    ("waited", "asked"), [(11, ["fetch", "cancel"]), (15, ["fetch", "cancel"]), (16, [])]
)
def test_the_gateway_is_not_asked_if_what_it_says_could_not_be_written_in_time(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str, waited: int, asked: list[str]
) -> None:
    clock.tick(waited)
    assert cancel(pending).status == (200 if asked else 500)
    assert told.asked() == asked


def test_a_slow_gateway_is_asked_to_cancel_only_while_there_is_time(
    aws: Aws, clock: Clock, told: ToldGateway, pending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = told.fetch

    def slow(payment_id: str) -> GatewayPayment:
        clock.tick(6)
        return real(payment_id)

    monkeypatch.setattr(told, "fetch", slow)
    clock.tick(12)
    assert cancel(pending).status == 500
    assert told.asked() == ["fetch"]
    assert row(aws, pending)["status"] == "pending"


@pytest.mark.parametrize(
    ("attribute", "item"),
    [
        ("status", {"S": "canary"}),
        ("status", None),
        ("caller", {"N": "1"}),
        ("amount_minor", {"S": "canary"}),
    ],
    ids=str,
)
def test_a_row_that_something_else_wrote_is_counted_and_left_as_it_is(
    aws: Aws,
    told: ToldGateway,
    pending: str,
    capsys: pytest.CaptureFixture[str],
    attribute: str,
    item: dict[str, Any] | None,
) -> None:
    stored = aws.dynamodb.items[pending]
    stored.pop(attribute)
    if item is not None:
        stored[attribute] = item
    before = dict(stored)
    assert cancel(pending).body == failed(pending, LOOK_AFTER)
    assert told.asked() == []
    assert aws.dynamodb.items[pending] == before
    output = Output.read(capsys)
    assert output.metrics == {"PaymentsUnreadable": [1], "Failures": [1]}
    assert "canary" not in output.text


def test_one_in_processing_without_a_lease_is_unreadable(
    aws: Aws, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = validated_anywhere()
    aws.dynamodb.items[transaction_id]["status"] = {"S": "processing"}
    assert cancel(transaction_id).body == failed(transaction_id, LOOK_AFTER)


@pytest.mark.parametrize("name", ["amount_minor", "customer_id", "fingerprint", "created_at"])
def test_a_validated_row_that_lacks_what_a_payment_has_is_not_written(aws: Aws, name: str) -> None:
    transaction_id = validated()
    del aws.dynamodb.items[transaction_id][name]
    before = dict(aws.dynamodb.items[transaction_id])
    assert cancel(transaction_id).status == 500
    assert aws.dynamodb.items[transaction_id] == before
