"""Charging in two steps: whatever fails, and whenever, a payment is captured once and told right.

The gateway is the scripted one. A wire between the functions and what they call lets any of the
calls fail.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from botocore.exceptions import ReadTimeoutError

from handlers import health_monitor, validation
from handlers.shared.aws import clients
from handlers.shared.gateway import (
    Declined,
    GatewayPayment,
    GatewayTimeout,
    NoCharge,
    Open,
    SimulatedGateway,
)
from handlers.shared.recovery import RECOVER_AFTER_SECONDS, RecoveryIncomplete
from handlers.shared.scripted import ScriptedGateway
from handlers.shared.scripted_ledger import Ledger
from tests.interleaving import Turns
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    LambdaContext,
    Output,
    call,
    deliver,
    load_event,
    process,
    to_process,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from handlers.shared.transactions import Transaction

Shown = TypeVar("Shown")
DAYS = timedelta(days=3).total_seconds()


class Killed(BaseException):
    """Lambda has ended the function."""


class Wire:
    """Counts the calls, to the table and to the gateway; each may fail before it is made, or after.

    names are those of the calls, in their order.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.faults: dict[int, str] = {}
        self.before: Callable[[], object] = lambda: None

    def call(self, name: str, make: Callable[[], Any], unanswered: Exception) -> Any:
        number = len(self.names)
        self.names.append(name)
        self.before()
        fault = self.faults.pop(number, "")
        for moment in ("before", "after"):
            if fault == f"killed {moment}":
                raise Killed
            if fault == f"unanswered {moment}":
                raise unanswered
            if moment == "before":
                made = make()
        return made

    def cut(self) -> list[str]:
        """Return the names so far, and forget them."""
        names, self.names = self.names, []
        return names


class Wired(ScriptedGateway):
    """The scripted gateway at the end of a wire; `shown` changes what it answers with."""

    def __init__(self, wire: Wire, ledger: Ledger, clock: Clock) -> None:
        super().__init__(None, ledger, clock)
        self.wire, self.clock = wire, clock
        self.shown: dict[str, Any] = {}
        self.seconds = 0.0

    def prepare(self, transaction: Transaction, idempotency_key: str) -> GatewayPayment | Declined:
        prepare = super().prepare
        return self._wired("prepare", lambda: prepare(transaction, idempotency_key))

    def fetch(self, payment_id: str) -> GatewayPayment:
        fetch = super().fetch
        return self._wired("fetch", lambda: fetch(payment_id))

    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        confirm = super().confirm
        return self._wired("confirm", lambda: confirm(payment_id, idempotency_key, return_url))

    def cancel(self, payment_id: str, idempotency_key: str) -> GatewayPayment:
        cancel = super().cancel
        return self._wired("cancel", lambda: cancel(payment_id, idempotency_key))

    def find(self, transaction: Transaction) -> GatewayPayment | NoCharge | None:
        find = super().find
        return self._wired("find", lambda: find(transaction))

    def statuses(self) -> list[str]:
        """The states of all payments that were ever made, in their order."""
        with self._open() as pages:
            rows = pages.connection.execute("SELECT state FROM payments ORDER BY number")
            return [json.loads(row[0])["status"] for row in rows]

    def _wired(self, name: str, make: Callable[[], Shown]) -> Shown:
        answer: Shown = self.wire.call(name, make, GatewayTimeout("Wire"))
        self.clock.tick(self.seconds)
        if self.shown and isinstance(answer, GatewayPayment):
            return replace(answer, **self.shown)
        return answer


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def gateway(
    aws: Aws, clock: Clock, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Wired:
    gateway = Wired(wire, Ledger(tmp_path / "ledger"), clock)
    monkeypatch.setattr(clients, "gateway", lambda: gateway)
    monkeypatch.setattr(clients, "gateway_class", lambda: Wired)
    lost = ReadTimeoutError(endpoint_url="https://canary")
    update = aws.dynamodb.update_item

    def update_item(**params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = wire.call("update", lambda: update(**params), lost)
        return answer

    monkeypatch.setattr(aws.dynamodb, "update_item", update_item)
    return gateway


def validated(method: str = "paid", customer: str = "c", **more: object) -> str:
    body = {"amount": 100.50, "currency": "USD", "customer_id": customer, "payment_method": method}
    answer = call(validation.handler, load_event("validate", body=json.dumps(body | more)))
    return str(answer.body["transaction_id"])


def row(aws: Aws, transaction_id: str) -> dict[str, Any]:
    """Return what the row says, without its types."""
    item = aws.dynamodb.items[transaction_id]
    return {name: next(iter(value.values())) for name, value in item.items()}


def status(aws: Aws, transaction_id: str) -> str:
    return str(row(aws, transaction_id)["status"])


class Mill:
    """What goes on without any client: messages are delivered, and the scheduled run runs."""

    def __init__(self, aws: Aws, clock: Clock) -> None:
        self.aws, self.clock = aws, clock
        self.messages: list[str] = []

    def turn(self) -> None:
        """Let time go on by one scheduled run, and by what it has queued."""
        self.clock.tick(RECOVER_AFTER_SECONDS + 300)
        with suppress(RecoveryIncomplete):
            health_monitor.handler(load_event("scheduled"), LambdaContext())
        self.messages += self.aws.queued()
        self.aws.sqs.calls.clear()
        bodies, self.messages = self.messages, []
        self.messages = [bodies[index] for index in (deliver(*bodies) if bodies else [])]

    def run(self, transaction_id: str) -> dict[str, Any]:
        """Go on until the payment has come to its end; return its row."""
        for _ in range(8):
            self.turn()
            if status(self.aws, transaction_id) in {"processed", "declined", "canceled"}:
                return row(self.aws, transaction_id)
        raise AssertionError(row(self.aws, transaction_id))


@pytest.fixture
def mill(aws: Aws, clock: Clock) -> Mill:
    return Mill(aws, clock)


# How many calls


def test_two_steps_are_three_writes_around_two_calls_to_the_gateway(
    aws: Aws, gateway: Wired, wire: Wire
) -> None:
    transaction_id = validated()
    assert process(transaction_id).status == 200
    assert wire.cut() == ["update", "prepare", "update", "confirm", "update"]
    assert process(transaction_id).body["message"] == "Transaction already processed"
    assert wire.cut() == ["update"]
    assert gateway.statuses() == ["captured"]


@pytest.mark.parametrize("fault", [None, "unanswered before", "killed before"])
def test_the_return_url_of_the_row_is_confirmed_with_at_every_attempt(
    gateway: Wired, wire: Wire, mill: Mill, fault: str | None
) -> None:
    transaction_id = validated("redirect-paid", return_url="https://shop.example/back")
    if fault:
        wire.faults[3] = fault  # of update, prepare, update, confirm
        with suppress(Killed):
            process(transaction_id)
        mill.turn()
    answer = process(transaction_id)
    assert answer.status == 202
    assert answer.body["next_action"].endswith("?return_url=https%3A%2F%2Fshop.example%2Fback")


def test_one_step_is_two_writes(aws: Aws, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "gateway", SimulatedGateway)
    transaction_id = validated()
    aws.dynamodb.calls.clear()
    assert process(transaction_id).status == 200
    assert [name for name, _ in aws.dynamodb.calls] == ["UpdateItem"] * 2


# Whatever fails, and whenever

FAULTS = ("unanswered before", "unanswered after", "killed before", "killed after")
# By payment_method: the calls of a payment, how its row ends, and its payment at the gateway.
WAYS = {
    "paid": (5, "processed", "captured"),
    "declined": (6, "declined", "canceled"),
    "unknown-method": (3, "declined", None),
    "debit-paid:1": (5, "processed", "captured"),
    "debit-failed:1": (5, "declined", "canceled"),
    "redirect-expired:1": (5, "canceled or declined", "canceled"),
}
ONCE = [
    (method, number, fault, asks_again)
    for method, (calls, _, _) in WAYS.items()
    for number in range(calls)
    for fault in FAULTS
    for asks_again in ((False, True) if method in {"paid", "declined"} else (False,))
]


@pytest.mark.parametrize(("method", "number", "fault", "asks_again"), ONCE)
def test_whatever_call_fails_a_payment_comes_to_its_one_end_with_at_most_one_capture(
    aws: Aws,
    clock: Clock,
    gateway: Wired,
    wire: Wire,
    mill: Mill,
    method: str,
    number: int,
    fault: str,
    asks_again: bool,
) -> None:
    _, ended, at_gateway = WAYS[method]
    transaction_id = validated(method)
    wire.faults = {number: fault}
    with suppress(Killed):
        process(transaction_id)
    assert not wire.faults
    if asks_again or status(aws, transaction_id) == "validated":
        clock.tick(100)
        process(transaction_id)
    item = mill.run(transaction_id)
    assert item["status"] in ended
    assert not item.keys() & {"in_flight", "lease_expires_at", "attempt_id", "next_action"}
    assert "contradicting_reference" not in item
    if at_gateway is None:
        assert gateway.statuses() == []
        return
    assert [state for state in gateway.statuses() if state != "open"] == [at_gateway]
    assert gateway.fetch(item["gateway_id"]).outcome != Open()
    told = {"processed": 200, "declined": 402, "canceled": 409}[item["status"]]
    assert process(transaction_id).status == told


@pytest.mark.parametrize("days", [0, DAYS])
@pytest.mark.parametrize(
    "fault",
    [
        *("prepare-timeout", "prepare-lost", "prepare-500", "prepare-500-done"),
        *("confirm-timeout", "confirm-lost", "confirm-500", "confirm-500-done", "confirm-late"),
        "fetch-timeout",
    ],
)
def test_a_fault_of_the_gateway_ends_in_one_capture_also_when_its_key_is_forgotten(
    aws: Aws, clock: Clock, gateway: Wired, mill: Mill, fault: str, days: float
) -> None:
    transaction_id = validated(customer=f"fault-{fault}")
    first = process(transaction_id)
    told = {"prepare-500", "prepare-500-done", "fetch-timeout"}
    assert first.status == (200 if fault in told else 500)
    assert first.body.get("retry", "queued") == "queued"
    if fault.endswith("500-done") and fault.startswith("prepare"):
        assert gateway.statuses() == ["open", "captured"]
    clock.tick(days)
    item = row(aws, transaction_id) if first.status == 200 else mill.run(transaction_id)
    assert item["status"] == "processed"
    # What nobody confirmed stays open; the same key makes no other payment while it is known.
    left = 1 if fault == "prepare-500-done" or (fault == "prepare-lost" and days) else 0
    assert gateway.statuses() == ["open"] * left + ["captured"]


def test_a_failure_that_is_stored_for_each_key_leaves_the_payment_to_be_retried(
    aws: Aws, gateway: Wired, wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = validated(customer="fault-prepare-500")
    assert process(transaction_id).status == 200
    assert wire.cut() == ["update", "prepare", "prepare", "update", "confirm", "update"]
    [line] = Output.read(capsys).of("payment not prepared")
    assert (line["transaction_id"], line["key"], line["code"]) == (transaction_id, 0, "Scripted")


@pytest.mark.parametrize("step", ["confirm", "cancel", "fetch"])
def test_while_the_gateway_is_unavailable_nothing_is_written_but_that_it_is_queued(
    aws: Aws, clock: Clock, gateway: Wired, step: str
) -> None:
    transaction_id = validated("declined", customer=f"fault-{step}-unavailable")
    answer = process(transaction_id)
    if step == "fetch":
        assert answer.status == 402  # nobody had to fetch it
        return
    assert (answer.status, answer.body["retry"]) == (500, "queued")
    assert json.loads(aws.queued()[0])["reason"] == "gateway_unavailable"
    assert deliver(*aws.queued()) == [0]
    assert status(aws, transaction_id) == "processing"


def test_a_decline_is_told_only_when_the_payment_can_no_longer_be_paid(
    aws: Aws, gateway: Wired, wire: Wire
) -> None:
    transaction_id = validated("declined", customer="fault-cancel-timeout")
    answer = process(transaction_id)
    assert (answer.status, answer.body["retry"]) == (500, "queued")
    assert (status(aws, transaction_id), gateway.statuses()) == ("processing", ["failed"])
    wire.cut()
    assert deliver(*aws.queued()) == []
    assert wire.cut() == ["update", "fetch", "cancel", "update"]
    assert (status(aws, transaction_id), gateway.statuses()) == ("declined", ["canceled"])
    answer = process(transaction_id)
    assert (answer.status, answer.body["reason"]) == (402, "card_declined")
    assert answer.body["another_method"] is True


def test_a_decline_that_was_canceled_unheard_keeps_its_reason(aws: Aws, gateway: Wired) -> None:
    transaction_id = validated("blocked", customer="fault-cancel-lost")
    assert process(transaction_id).status == 500
    assert gateway.statuses() == ["canceled"]
    assert deliver(*aws.queued()) == []
    answer = process(transaction_id)
    assert (answer.status, answer.body["reason"]) == (402, "customer_blocked")


# Two attempts at once


@pytest.mark.parametrize("method", ["paid", "declined", "redirect-paid:9999"])
@pytest.mark.parametrize("seed", range(12))
def test_attempts_at_once_make_one_capture_and_every_answer_is_true(
    aws: Aws, clock: Clock, gateway: Wired, wire: Wire, mill: Mill, method: str, seed: int
) -> None:
    """The second one comes when the first is taken for dead, though it still runs."""
    transaction_id = validated(method)
    turns, answers = Turns(seed), list[int]()

    def attempt() -> None:
        answers.append(process(transaction_id).status)

    def before() -> None:
        turns.wait()
        clock.tick(13)  # so that a lease may end in the middle of an attempt

    wire.before = before
    raised = turns.run(attempt, attempt, attempt)
    wire.before = lambda: None
    assert raised == [None] * 3
    right = {"paid": 200, "declined": 402}.get(method, 202)
    assert set(answers) <= {right, 409, 500}
    if method.startswith("redirect"):
        clock.tick(9999)
    item = mill.run(transaction_id)
    assert item["status"] == ("declined" if method == "declined" else "processed")
    done = [state for state in gateway.statuses() if state != "open"]
    assert done == ["canceled" if method == "declined" else "captured"]
    assert "contradicting_reference" not in item


def test_an_attempt_that_was_overtaken_before_it_stored_the_id_confirms_nothing(
    aws: Aws, clock: Clock, gateway: Wired, wire: Wire
) -> None:
    transaction_id = validated()

    def overtake() -> None:
        if wire.names[-2:] == ["prepare", "update"]:
            wire.before = lambda: None
            clock.tick(DAYS)  # by now its key makes another payment
            assert process(transaction_id).status == 200

    wire.before = overtake
    answer = process(transaction_id)
    assert answer.status == 200
    assert sorted(gateway.statuses()) == ["captured", "open"]
    assert wire.names.count("confirm") == 1


def test_an_id_that_is_stored_is_not_written_over_and_no_other_is_confirmed(
    aws: Aws, gateway: Wired, wire: Wire
) -> None:
    transaction_id = validated()

    def store_another() -> None:
        if wire.names[-2:] == ["prepare", "update"]:
            aws.dynamodb.items[transaction_id]["gateway_id"] = {"S": "another"}

    wire.before = store_another
    assert process(transaction_id).status == 409
    assert row(aws, transaction_id)["gateway_id"] == "another"
    assert gateway.statuses() == ["open"]


# Whose payment it is

OTHER_MARKS = [
    ("gateway", "acme:Acme"),
    ("gateway", "handlers.shared.gateway:SimulatedGateway"),
    ("gateway_account", "acct_2"),
    ("gateway_mode", "live"),
]


@pytest.mark.parametrize(("name", "value"), OTHER_MARKS)
@pytest.mark.parametrize("begun", ["prepared", "claimed", "rewound"])
def test_a_payment_that_was_begun_elsewhere_is_not_asked_for_here_and_counts_as_stuck(
    aws: Aws,
    clock: Clock,
    gateway: Wired,
    wire: Wire,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    begun: str,
) -> None:
    transaction_id = validated()
    wire.faults = {1 if begun == "claimed" else 3: "killed before"}
    with suppress(Killed):
        process(transaction_id)
    item = aws.dynamodb.items[transaction_id]
    item[name] = {"S": value}
    if begun == "rewound":
        item["rewound"] = {"N": "1"}
        del item["gateway_id"]
    clock.tick(RECOVER_AFTER_SECONDS)
    wire.cut()
    capsys.readouterr()
    answer = process(transaction_id)
    assert (answer.status, answer.body["retry"]) == (500, "not queued")
    assert deliver(to_process(transaction_id)) == [0]
    assert set(wire.cut()) == {"update"}
    after = row(aws, transaction_id)
    assert (after["status"], after["in_flight"]) == ("processing", "stuck")
    output = Output.read(capsys)
    assert output.metrics["PaymentsStuck"] == [1, 1]
    assert {line["attribute"] for line in output.of("payment not charged")} == {name}


@pytest.mark.parametrize(
    ("shown", "key"),
    [
        ({"amount": 10051}, "mismatched"),
        ({"currency": "EUR"}, "mismatched"),
        ({"account": "acct_2"}, "stuck"),
        ({"mode": "live"}, "stuck"),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_what_the_gateway_has_is_confirmed_only_if_it_is_this_payment(
    aws: Aws,
    clock: Clock,
    gateway: Wired,
    wire: Wire,
    shown: dict[str, Any],
    key: str,
    known: bool,
) -> None:
    transaction_id = validated()
    if known:
        wire.faults = {3: "killed before"}
        with suppress(Killed):
            process(transaction_id)
        clock.tick(100)
    gateway.shown = shown
    answer = process(transaction_id)
    assert (answer.status, answer.body["retry"]) == (500, "not queued")
    assert gateway.statuses() == ["open"]
    item = row(aws, transaction_id)
    assert (item["status"], item["in_flight"]) == ("processing", key)


def test_an_answer_about_another_payment_is_not_believed(
    aws: Aws, gateway: Wired, wire: Wire
) -> None:
    transaction_id, other = validated(), validated()
    assert process(other).status == 200
    wire.cut()
    wire.faults = {3: "unanswered before"}
    assert process(transaction_id).status == 500
    gateway.shown = {"id": row(aws, other)["gateway_id"]}
    assert process(transaction_id).status == 500
    item = row(aws, transaction_id)
    assert (item["status"], item["in_flight"]) == ("processing", "mismatched")


# What the gateway needs


def test_a_payment_from_before_the_gateway_needed_a_method_is_declined_without_asking(
    aws: Aws, clock: Clock, gateway: Wired, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(clients, "gateway_class", lambda: object)
        body = json.dumps({"amount": 1, "currency": "USD", "customer_id": "c"})
        answer = call(validation.handler, load_event("validate", body=body))
    answer = process(str(answer.body["transaction_id"]))
    assert (answer.status, answer.body["reason"]) == (402, "no_payment_method")
    assert answer.body["another_method"] is True
    assert wire.names == ["update", "update"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"payment_method": None}, "Invalid payment_method"),
        ({"currency": "KPW"}, "Invalid currency"),
        ({"currency": "KWD", "amount": 1.005}, "Invalid amount"),
    ],
)
def test_what_the_gateway_cannot_take_is_a_400_at_validate(
    aws: Aws, gateway: Wired, fields: dict[str, object], error: str
) -> None:
    body = {"amount": 1, "currency": "USD", "customer_id": "c", "payment_method": "paid"}
    event = load_event("validate", body=json.dumps(body | fields))
    answer = call(validation.handler, event)
    assert (answer.status, answer.body["error"]) == (400, error)
    assert not aws.dynamodb.items


@pytest.mark.parametrize(
    ("currency", "amount", "units"),
    [("ISK", 1005, 100500), ("UGX", 7, 700), ("KWD", 1.25, 125), ("JPY", 100, 100)],
)
def test_a_currency_is_charged_in_the_digits_that_the_gateway_counts(
    aws: Aws, gateway: Wired, currency: str, amount: float, units: int
) -> None:
    transaction_id = validated(currency=currency, amount=amount)
    assert process(transaction_id).status == 200
    assert gateway.fetch(row(aws, transaction_id)["gateway_id"]).amount == units


# What a restore took back


def rewound(aws: Aws, transaction_id: str, *, begun: bool) -> None:
    """Take the row back to before it was processed, as a restore does it."""
    item = aws.dynamodb.items[transaction_id]
    kept = {"status": {"S": "processing" if begun else "validated"}, "rewound": {"N": "1795000000"}}
    for name in (
        *("gateway_id", "gateway_reference", "processed_at", "decline_reason", "another_method"),
        *("next_action", "pending_at", "in_flight", "lease_expires_at", "canceled_at"),
    ):
        item.pop(name, None)
    if begun:
        kept |= {
            "attempt_id": {"S": "before"},
            "lease_expires_at": {"N": "1"},
            "in_flight": {"S": "processing#0"},
        }
    item.update(kept)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("method", ["paid", "declined", "debit-paid:9999"])
def test_a_payment_that_a_restore_took_back_is_found_and_never_prepared_again(
    aws: Aws, clock: Clock, gateway: Wired, wire: Wire, method: str, begun: bool
) -> None:
    transaction_id = validated(method)
    first = process(transaction_id)
    before, states = row(aws, transaction_id), gateway.statuses()
    rewound(aws, transaction_id, begun=begun)
    clock.tick(100)
    wire.cut()
    again = process(transaction_id)
    assert (again.status, again.body.get("reason")) == (first.status, first.body.get("reason"))
    assert not {"prepare", "confirm"} & set(wire.cut())
    after = row(aws, transaction_id)
    for name in ("gateway_id", "status", "gateway_reference", "decline_reason"):
        assert after.get(name) == before.get(name)
    assert gateway.statuses() == states


def test_one_that_was_prepared_goes_on_from_there(
    aws: Aws, clock: Clock, gateway: Wired, wire: Wire
) -> None:
    transaction_id = validated()
    wire.faults = {3: "killed before"}
    with suppress(Killed):
        process(transaction_id)
    rewound(aws, transaction_id, begun=True)
    clock.tick(100)
    wire.cut()
    assert process(transaction_id).status == 200
    assert wire.cut() == ["update", "find", "update", "confirm", "update"]
    assert gateway.statuses() == ["captured"]


def test_one_that_never_was_is_declined_when_the_gateway_is_certain_and_else_left(
    aws: Aws, clock: Clock, gateway: Wired, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert process(validated()).status == 200  # since when it remembers
    clock.tick(1)
    transaction_id = validated()
    rewound(aws, transaction_id, begun=False)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_EXECUTION_ENV", "AWS_Lambda_python3.13")
        answer = process(transaction_id)
        assert (answer.status, answer.body["retry"]) == (500, "queued")
        assert json.loads(aws.queued()[0])["reason"] == "outcome_unknown"
        assert status(aws, transaction_id) == "processing"
    wire.cut()
    answer = process(transaction_id)
    assert (answer.status, answer.body["reason"]) == (402, "not_found_at_gateway")
    assert answer.body["another_method"] is True
    assert wire.cut() == ["update", "find", "update"]
    assert gateway.statuses() == ["captured"]


def test_what_was_begun_in_one_step_is_looked_for_too(
    aws: Aws, clock: Clock, gateway: Wired, wire: Wire
) -> None:
    transaction_id = validated()
    item = aws.dynamodb.items[transaction_id]
    item["first_charge_at"] = {"S": clock().isoformat()}
    assert process(transaction_id).status in {402, 500}
    assert "find" in wire.names
    assert gateway.statuses() == []


# The deadline


@pytest.mark.parametrize(("seconds", "queued"), [(7, False), (7.1, True)])
def test_what_confirm_has_no_time_for_is_queued_with_the_id_stored(
    aws: Aws, clock: Clock, gateway: Wired, wire: Wire, seconds: float, queued: bool
) -> None:
    """Of 28 s, 6 are for confirm, 5 to write that down, and 10 to send and let go."""
    transaction_id = validated()
    gateway.seconds = seconds
    answer = process(transaction_id)
    names = wire.cut()
    assert ("confirm" in names) != queued
    if not queued:
        assert answer.status == 200
        return
    assert (answer.status, answer.body["retry"]) == (500, "queued")
    assert json.loads(aws.queued()[0])["reason"] == "no_time_left"
    assert row(aws, transaction_id)["gateway_id"].startswith("scripted.")
    assert gateway.statuses() == ["open"]
    gateway.seconds = 0
    assert deliver(*aws.queued()) == []
    assert wire.cut() == ["update", "fetch", "confirm", "update"]
    assert gateway.statuses() == ["captured"]
