"""What a person has done about one payment: payment-retry asks its gateway, and settles it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from handlers import retry, validation
from handlers.shared.aws import clients
from handlers.shared.clock import epoch_seconds
from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayPayment,
    GatewayTimeout,
    NoCharge,
    NotCharged,
    Open,
    Pending,
)
from handlers.shared.states import IN_FLIGHT_KEYS, STUCK
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
    load_event,
)

if TYPE_CHECKING:
    from handlers.shared.gateway import Mode, Need, Outcome
    from handlers.shared.transactions import Transaction

URL = "https://bank.example/canary-action"
ID = "pay_1"


@dataclass
class FakeTwoSteps:
    """Has one payment, or none; `answers` are the outcomes that it gives one after the other."""

    NEEDS: ClassVar[frozenset[Need]] = frozenset()
    account = "acct_1"
    mode: ClassVar[Mode] = "test"
    payment: GatewayPayment | NoCharge | None = None
    cancels_to: Outcome = field(default_factory=NotCharged)
    calls: list[str] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    @staticmethod
    def digits(_currency: str) -> int | None:
        return 2

    def prepare(self, transaction: Transaction, idempotency_key: str) -> GatewayPayment | Declined:
        raise AssertionError("a payment is never prepared by hand")

    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        raise AssertionError("a payment is never confirmed by hand")

    def fetch(self, payment_id: str) -> GatewayPayment:
        self.calls.append("fetch")
        self.meanwhile()
        assert isinstance(self.payment, GatewayPayment)
        assert payment_id == ID
        return self.payment

    def cancel(self, payment_id: str, idempotency_key: str) -> GatewayPayment:
        self.calls.append("cancel")
        assert isinstance(self.payment, GatewayPayment)
        self.payment = replace(self.payment, outcome=self.cancels_to)
        return self.payment

    def find(self, transaction: Transaction) -> GatewayPayment | NoCharge | None:
        self.calls.append("find")
        self.meanwhile()
        return self.payment


@pytest.fixture
def two_steps(monkeypatch: pytest.MonkeyPatch) -> FakeTwoSteps:
    gateway = FakeTwoSteps()
    monkeypatch.setattr(clients, "gateway", lambda: gateway)
    return gateway


def paid(outcome: Outcome, **changes: Any) -> GatewayPayment:
    payment = GatewayPayment(
        id=ID, amount=10050, currency="USD", account="acct_1", mode="test", outcome=outcome
    )
    return replace(payment, **changes)


def order(**fields: Any) -> dict[str, Any]:
    answer = retry.handler({"by_hand": fields}, LambdaContext())
    assert set(answer) == {"by_hand"}
    json.dumps(answer)
    told: dict[str, Any] = answer["by_hand"]
    return told


def ask(transaction_id: str) -> dict[str, Any]:
    return order(do="ask", transaction_id=transaction_id)


def settle(transaction_id: str, agreed: object, **more: Any) -> dict[str, Any]:
    return order(do="settle", transaction_id=transaction_id, agreed=agreed, **more)


def settled(transaction_id: str) -> dict[str, Any]:
    """Settle a payment as its gateway says now."""
    return settle(transaction_id, ask(transaction_id)["gateway"])


def validated() -> str:
    return str(call(validation.handler, load_event("validate")).body["transaction_id"])


@dataclass
class Payment:
    aws: Aws
    id: str

    @property
    def row(self) -> dict[str, Any]:
        return self.aws.dynamodb.items[self.id]

    def set(self, **values: str | int) -> None:
        for name, value in values.items():
            self.row[name] = {"N": str(value)} if isinstance(value, int) else {"S": value}

    def value(self, name: str) -> Any:
        return next(iter(self.row[name].values())) if name in self.row else None


@pytest.fixture
def payment(aws: Aws, clock: Clock) -> Payment:
    """A payment that has been stuck in processing at the gateway in two steps."""
    return stuck(aws, clock)


def stuck(aws: Aws, clock: Clock) -> Payment:
    payment = Payment(aws, validated())
    clock.tick(3600)
    payment.set(
        status="processing",
        attempt_id="a-dead-attempt",
        lease_expires_at=epoch_seconds(clock.now) - 1,
        in_flight=STUCK,
        recoveries=3,
        gateway="tests.unit.handlers.test_by_hand:FakeTwoSteps",
        gateway_account="acct_1",
        gateway_mode="test",
        gateway_id=ID,
    )
    return payment


def one_step(payment: Payment) -> None:
    for name in ("gateway", "gateway_account", "gateway_mode", "gateway_id"):
        payment.row.pop(name)
    payment.set(first_charge_at=payment.value("created_at"))


def pending(payment: Payment) -> None:
    payment.set(status="pending", in_flight="pending#3", pending_at=payment.value("created_at"))
    payment.set(next_action=URL)
    del payment.row["attempt_id"], payment.row["recoveries"]


ENDS = [
    (Charged("ch_1"), "processed"),
    (Declined("do_not_honor"), "declined"),
    (NotCharged(), "canceled"),
    (NotCharged("expired_card"), "declined"),
]


@pytest.mark.parametrize(("outcome", "status"), ENDS)
@pytest.mark.parametrize("is_pending", [False, True])
def test_what_the_gateway_says_is_written_and_a_failed_payment_is_canceled_there_first(
    payment: Payment, two_steps: FakeTwoSteps, outcome: Outcome, status: str, is_pending: bool
) -> None:
    if is_pending:
        pending(payment)
    two_steps.payment = paid(outcome)
    two_steps.cancels_to = NotCharged("do_not_honor")
    assert settled(payment.id)["status"] == status
    assert payment.value("status") == status
    assert ("cancel" in two_steps.calls) == isinstance(outcome, Declined)
    for name in ("attempt_id", "lease_expires_at", "in_flight", "recoveries", "next_action"):
        assert name not in payment.row
    assert payment.value("gateway_reference") == ("ch_1" if status == "processed" else None)
    reasons = {ENDS[1][0]: "do_not_honor", ENDS[3][0]: "expired_card"}
    assert payment.value("decline_reason") == reasons.get(outcome)


@pytest.mark.parametrize("outcome", [Open(), Pending(URL)])
def test_what_has_not_ended_at_the_gateway_stays_as_it_is(
    payment: Payment, two_steps: FakeTwoSteps, outcome: Outcome
) -> None:
    two_steps.payment = paid(outcome)
    before = dict(payment.row)
    code = "open" if outcome == Open() else "pending"
    assert settled(payment.id)["refused"] == {"code": code, "about": ""}
    assert two_steps.calls == ["fetch", "fetch"]
    # Claimed and let go, to where it was set aside.
    changed = {name for name in payment.row if payment.row[name] != before.get(name)}
    assert changed <= {"attempt_id", "first_charge_at", "lease_expires_at", "updated_at"}
    assert payment.value("in_flight") == STUCK


def test_to_ask_changes_nothing_here_or_there_and_tells_no_next_action(
    payment: Payment, two_steps: FakeTwoSteps, capsys: pytest.CaptureFixture[str]
) -> None:
    for outcome in (Declined("do_not_honor", another_method=True), Pending(URL), Charged("ch_1")):
        two_steps.payment = paid(outcome)
        before = dict(payment.row)
        told = ask(payment.id)
        assert told["status"] == "processing"
        assert URL not in json.dumps(told)
        assert payment.row == before
    assert told["gateway"] == {"outcome": "charged", "reference": "ch_1", "id": ID}
    assert set(two_steps.calls) == {"fetch"}
    assert URL not in Output.read(capsys).text


def test_nothing_is_written_if_the_gateway_says_otherwise_by_then(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    two_steps.payment = paid(NotCharged())
    agreed = ask(payment.id)["gateway"]
    two_steps.payment = paid(Charged("ch_1"))
    assert settle(payment.id, agreed)["refused"]["code"] == "changed"
    assert payment.value("status") == "processing"
    assert settled(payment.id)["status"] == "processed"


def test_nothing_is_written_over_what_another_has_settled_meanwhile_and_a_capture_is_counted(
    payment: Payment, two_steps: FakeTwoSteps, capsys: pytest.CaptureFixture[str]
) -> None:
    pending(payment)
    two_steps.payment = paid(Charged("ch_1"))
    agreed = ask(payment.id)["gateway"]
    two_steps.meanwhile = lambda: payment.set(status="canceled")
    assert settle(payment.id, agreed)["refused"]["code"] == "changed"
    assert payment.value("status") == "canceled"
    assert payment.value("contradicting_reference") == "ch_1"
    assert Output.read(capsys).metrics["CapturesContradicted"] == [1]


def test_a_payment_that_an_attempt_holds_is_left_alone(
    payment: Payment, two_steps: FakeTwoSteps, clock: Clock
) -> None:
    payment.set(lease_expires_at=epoch_seconds(clock.now) + 59)
    two_steps.payment = paid(Charged("ch_1"))
    assert settled(payment.id)["refused"] == {"code": "held", "about": "60"}
    assert payment.value("attempt_id") == "a-dead-attempt"
    assert payment.value("status") == "processing"


@pytest.mark.parametrize("status", ["validated", "processed", "declined", "canceled"])
def test_what_nobody_has_begun_or_has_ended_is_not_settled(
    payment: Payment, two_steps: FakeTwoSteps, status: str
) -> None:
    payment.set(status=status)
    two_steps.payment = paid(Charged("ch_1"))
    code = "validated" if status == "validated" else "settled"
    assert settled(payment.id)["refused"]["code"] == code
    assert payment.value("status") == status


def test_what_was_never_prepared_for_certain_is_canceled_without_asking(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    """Only an id that is stored is ever confirmed."""
    del payment.row["gateway_id"]
    assert ask(payment.id)["gateway"] == {"outcome": "none"}
    assert settled(payment.id)["status"] == "canceled"
    assert two_steps.calls == []


@pytest.mark.parametrize("status", ["validated", "processing"])
def test_what_a_restore_took_back_is_looked_for_and_its_id_is_stored(
    payment: Payment, two_steps: FakeTwoSteps, status: str
) -> None:
    del payment.row["gateway_id"]
    payment.set(status=status, rewound=1)
    two_steps.payment = paid(Charged("ch_1"))
    assert settled(payment.id)["status"] == "processed"
    assert payment.value("gateway_id") == ID
    assert two_steps.calls == ["find", "find"]


@pytest.mark.parametrize("found", [NoCharge(), paid(Charged("ch_2"), id="pay_2")])
def test_a_row_that_a_restore_took_back_is_not_settled_by_another_payment_of_the_gateways(
    payment: Payment, two_steps: FakeTwoSteps, found: GatewayPayment | NoCharge
) -> None:
    """It has an id, and the gateway knows better: somebody has to compare."""
    payment.set(rewound=1)
    two_steps.payment = found
    told = settle(payment.id, {"outcome": "charged", "reference": "ch_2", "id": "pay_2"})
    assert tuple(told["refused"].values()) == ("gateway_payment_mismatched", "gateway_id")
    assert payment.value("status") == "processing"
    two_steps.payment = paid(Charged("ch_1"))
    assert settled(payment.id)["status"] == "processed"
    assert "fetch" not in two_steps.calls


def test_what_the_gateway_cannot_know_is_not_written(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    del payment.row["gateway_id"]
    payment.set(rewound=1)
    two_steps.payment = None
    assert ask(payment.id)["gateway"] == {"outcome": "unknown"}
    assert settled(payment.id)["refused"] == {"code": "unknown", "about": ""}
    assert payment.value("status") == "processing"
    two_steps.payment = NoCharge()
    assert settled(payment.id)["status"] == "canceled"


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (Charged("ch_1"), "processed"),
        (Declined("do_not_honor"), "declined"),
        (NoCharge(), "canceled"),
        (None, "processing"),
    ],
)
def test_a_gateway_in_one_step_is_asked_by_the_key_and_never_charged(
    payment: Payment, gateway: CountingGateway, found: Any, status: str
) -> None:
    one_step(payment)
    gateway.found = found
    settled(payment.id)
    assert payment.value("status") == status
    assert gateway.keys == []
    assert set(gateway.lookups) == {payment.id}


@pytest.mark.parametrize(("reference", "status"), [("ch_9", "processed"), (None, "canceled")])
def test_what_a_person_knows_is_written_only_where_the_gateway_cannot_tell(
    payment: Payment, gateway: CountingGateway, reference: str | None, status: str
) -> None:
    one_step(payment)
    gateway.found = Declined("do_not_honor")
    known = {"reference": reference}
    refused = settle(payment.id, ask(payment.id)["gateway"], known=known)["refused"]
    assert refused["code"] == "known"
    gateway.found = None
    assert settle(payment.id, {"outcome": "unknown"}, known=known)["status"] == status
    assert payment.value("status") == status
    assert payment.value("gateway_reference") == reference


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"gateway_account": "acct_2"}, ("other_gateway", "gateway_account")),
        ({"gateway_mode": "live"}, ("other_gateway", "gateway_mode")),
        ({"gateway": "acme:Acme"}, ("other_gateway", "gateway")),
        ({"amount_minor": "10050"}, ("row_unreadable", "amount_minor")),
        ({"lease_expires_at": 10**11}, ("row_unreadable", "lease_expires_at")),
    ],
)
def test_a_row_of_another_gateway_or_that_is_no_payment_is_refused(
    payment: Payment, two_steps: FakeTwoSteps, changes: dict[str, Any], refused: tuple[str, str]
) -> None:
    payment.set(**changes)
    two_steps.payment = paid(Charged("ch_1"))
    told = settle(payment.id, {"outcome": "charged", "reference": "ch_1", "id": ID})
    assert tuple(told["refused"].values()) == refused
    assert payment.value("status") == "processing"


def test_what_was_begun_in_one_step_is_looked_for_at_a_gateway_that_has_two_now(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    """It has no id there, and may have been charged all the same."""
    del payment.row["gateway_id"]
    payment.set(first_charge_at=payment.value("created_at"))
    two_steps.payment = paid(Charged("ch_1"))
    assert settled(payment.id)["status"] == "processed"
    assert two_steps.calls == ["find", "find"]


def test_what_does_not_say_where_it_was_begun_or_prepared_is_not_asked_about(
    payment: Payment, two_steps: FakeTwoSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_steps.payment = NoCharge()
    pending(payment)
    del payment.row["gateway_id"]
    assert tuple(ask(payment.id)["refused"].values()) == ("row_unreadable", "gateway_id")
    payment.set(status="processing", first_charge_at=payment.value("created_at"))
    del payment.row["gateway"]
    assert tuple(ask(payment.id)["refused"].values()) == ("other_gateway", "gateway")
    payment.set(gateway_id=ID)
    monkeypatch.setattr(clients, "gateway", CountingGateway)
    assert tuple(ask(payment.id)["refused"].values()) == ("other_gateway", "gateway_id")
    assert two_steps.calls == []


@pytest.mark.parametrize(
    "changes", [{"amount": 1}, {"currency": "EUR"}, {"account": "acct_2"}, {"id": "pay_2"}]
)
def test_another_payment_of_the_gateways_is_refused(
    payment: Payment, two_steps: FakeTwoSteps, changes: dict[str, Any]
) -> None:
    two_steps.payment = paid(Charged("ch_1"), **changes)
    told = ask(payment.id)
    assert told["refused"]["code"] in {"gateway_payment_mismatched", "other_gateway"}
    assert "gateway" not in told


def test_a_row_that_is_not_what_was_validated_is_told_as_such(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    payment.set(customer_id="somebody-else")
    two_steps.payment = paid(Charged("ch_1"))
    told = ask(payment.id)
    assert told["flaw"] == {"code": "row_mismatched", "about": "fingerprint"}
    assert told["gateway"]["outcome"] == "charged"


def test_a_gateway_that_does_not_answer_or_raises_anything_leaves_the_payment_as_it_was(
    payment: Payment, gateway: CountingGateway
) -> None:
    one_step(payment)
    for error, code in ((GatewayTimeout(), "gateway_timeout"), (KeyError("x"), "unforeseen")):
        gateway.found = error
        assert ask(payment.id)["refused"]["code"] == code
        assert settle(payment.id, {"outcome": "unknown"})["refused"]["code"] == code
        assert payment.value("status") == "processing"
        assert payment.value("in_flight") == STUCK


def test_a_table_that_fails_is_told(payment: Payment, two_steps: FakeTwoSteps) -> None:
    two_steps.payment = paid(Charged("ch_1"))
    payment.aws.dynamodb.fail("UpdateItem")
    assert ask(payment.id)["refused"] == {
        "code": "store_unavailable",
        "about": "InternalServerError",
    }


def test_an_order_that_a_slow_gateway_leaves_no_time_for_writes_nothing(
    payment: Payment, two_steps: FakeTwoSteps, clock: Clock
) -> None:
    """Whoever waits for the answer has given up by then, or orders it once more."""
    two_steps.payment = paid(Declined("do_not_honor"))
    agreed = ask(payment.id)["gateway"]
    two_steps.meanwhile = lambda: clock.tick(12)
    assert settle(payment.id, agreed)["refused"]["code"] == "no_time_left"
    assert "cancel" not in two_steps.calls
    assert payment.value("status") == "processing"


def test_a_payment_that_is_not_there_is_told(aws: Aws, two_steps: FakeTwoSteps) -> None:
    assert ask("unknown")["refused"]["code"] == "not_found"


@pytest.mark.parametrize(
    "fields",
    [
        {"do": "ask"},
        {"do": "ask", "transaction_id": "with a blank"},
        {"do": "pay", "transaction_id": "t-1"},
        {"do": "settle", "transaction_id": "t-1"},
        {"do": "settle", "transaction_id": "t-1", "agreed": {}, "known": {"reference": 1}},
        {"do": "settle", "transaction_id": "t-1", "agreed": {}, "known": None},
    ],
)
def test_what_is_no_order_is_refused(
    aws: Aws, two_steps: FakeTwoSteps, fields: dict[str, Any]
) -> None:
    assert order(**fields)["refused"]["code"] == "not_an_order"
    assert aws.dynamodb.calls == []


def test_an_order_is_read_with_the_grants_of_a_retry_alone(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    two_steps.payment = paid(Charged("ch_1"))
    settled(payment.id)
    assert {name for name, _ in payment.aws.dynamodb.calls} == {"PutItem", "UpdateItem"}


def test_a_message_is_never_taken_for_an_order_and_no_order_for_a_message(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    wanted = {"do": "settle", "transaction_id": payment.id, "agreed": {"outcome": "none"}}
    del payment.row["gateway_id"]
    assert len(deliver(json.dumps({"by_hand": wanted}))) == 1
    event = load_event("sqs") | {"by_hand": wanted}
    retry.handler(event, LambdaContext())
    assert payment.value("status") == "processing"
    message = load_event("sqs")["Records"][0]["body"]
    assert order(**json.loads(message))["refused"]["code"] == "not_an_order"


def test_an_order_is_one_log_line_and_an_end_is_counted(
    payment: Payment, two_steps: FakeTwoSteps, capsys: pytest.CaptureFixture[str]
) -> None:
    two_steps.payment = paid(Charged("ch_1"))
    agreed = ask(payment.id)["gateway"]
    Output.read(capsys)
    settle(payment.id, agreed)
    output = Output.read(capsys)
    [line] = output.of("by hand")
    assert (line["transaction_id"], line["status"]) == (payment.id, "processed")
    assert output.metrics["PaymentsProcessed"] == [1]


def test_an_attempt_by_hand_that_dies_leaves_the_payment_to_be_recovered(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    two_steps.payment = paid(Charged("ch_1"))
    agreed = ask(payment.id)["gateway"]

    def die() -> None:
        raise SystemExit

    two_steps.meanwhile = die
    payment.set(in_flight=IN_FLIGHT_KEYS[0])
    with pytest.raises(SystemExit):
        settle(payment.id, agreed)
    assert payment.value("status") == "processing"
    assert payment.value("in_flight") in IN_FLIGHT_KEYS
    two_steps.meanwhile = lambda: None
    assert settle(payment.id, agreed)["status"] == "processed"


# cancel


def cancel(transaction_id: str) -> dict[str, Any]:
    return order(do="cancel", transaction_id=transaction_id)


def test_a_validated_payment_is_canceled_without_asking_whoever_made_it(
    payment: Payment, two_steps: FakeTwoSteps, capsys: pytest.CaptureFixture[str]
) -> None:
    payment.set(status="validated", caller="arn:aws:iam::123456789012:user/shop")
    del payment.row["gateway_id"]
    assert cancel(payment.id) == {"transaction_id": payment.id, "status": "canceled"}
    assert cancel(payment.id) == {"transaction_id": payment.id, "status": "canceled"}
    assert payment.value("status") == "canceled"
    assert two_steps.calls == []
    assert Output.read(capsys).metrics["PaymentsCanceled"] == [1]


@pytest.mark.parametrize("is_pending", [False, True])
@pytest.mark.parametrize("outcome", [Open(), Pending(URL)])
def test_what_can_be_canceled_at_the_gateway_is_canceled_there_first(
    payment: Payment, two_steps: FakeTwoSteps, is_pending: bool, outcome: Outcome
) -> None:
    if is_pending:
        pending(payment)
    two_steps.payment = paid(outcome)
    assert cancel(payment.id)["status"] == "canceled"
    assert payment.value("status") == "canceled"
    assert payment.value("canceled_at") is not None
    assert "cancel" in two_steps.calls


def test_what_was_charged_is_written_as_that(payment: Payment, two_steps: FakeTwoSteps) -> None:
    pending(payment)
    two_steps.payment = paid(Charged("ch_1"))
    assert cancel(payment.id)["status"] == "processed"
    assert payment.value("gateway_reference") == "ch_1"
    assert "cancel" not in two_steps.calls


def test_what_the_gateway_does_not_cancel_stays_as_it_is(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    two_steps.payment, two_steps.cancels_to = paid(Pending()), Pending()
    assert cancel(payment.id)["refused"]["code"] == "not_cancelable"
    assert payment.value("status") == "processing"
    assert payment.value("in_flight") == STUCK


def test_what_has_ended_or_is_held_is_not_canceled(
    payment: Payment, two_steps: FakeTwoSteps, clock: Clock
) -> None:
    payment.set(lease_expires_at=epoch_seconds(clock.now) + 9)
    assert cancel(payment.id)["refused"] == {"code": "held", "about": "10"}
    payment.set(status="processed")
    assert cancel(payment.id)["refused"] == {"code": "settled", "about": "processed"}
    assert two_steps.calls == []


def test_what_was_never_prepared_is_canceled_so_that_nobody_prepares_it(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    del payment.row["gateway_id"]
    assert cancel(payment.id)["status"] == "canceled"
    assert two_steps.calls == []


def test_what_a_restore_took_back_is_looked_for_before_it_is_canceled(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    del payment.row["gateway_id"]
    payment.set(status="validated", rewound=1)
    assert cancel(payment.id)["refused"]["code"] == "unknown"
    two_steps.payment = paid(Open())
    assert cancel(payment.id)["status"] == "canceled"
    assert payment.value("gateway_id") == ID


def test_a_gateway_in_one_step_has_nothing_to_cancel(
    payment: Payment, gateway: CountingGateway
) -> None:
    one_step(payment)
    assert cancel(payment.id)["refused"]["code"] == "in_one_step"
    assert payment.value("status") == "processing"


# Faults at every call


CALLS = 8  # more than an order makes


@pytest.mark.parametrize("do", ["settle", "cancel"])
@pytest.mark.parametrize("is_pending", [False, True])
@pytest.mark.parametrize("outcome", [Charged("ch_1"), Declined("do_not_honor"), Open()], ids=str)
@pytest.mark.parametrize("takes_effect", [False, True])
def test_whatever_call_fails_the_payment_is_found_again_and_the_next_order_ends_it(
    aws: Aws,
    clock: Clock,
    two_steps: FakeTwoSteps,
    monkeypatch: pytest.MonkeyPatch,
    do: str,
    is_pending: bool,
    outcome: Outcome,
    takes_effect: bool,
) -> None:
    """An order is never half done: what the row says is true, or somebody still looks at it."""
    ends = {Charged: {"processed"}, Declined: {"declined", "canceled"}, Open: {"canceled"}}
    for failing in range(CALLS):
        payment = stuck(aws, clock)
        if is_pending:
            pending(payment)
        two_steps.payment, two_steps.cancels_to = paid(outcome), NotCharged()
        agreed = ask(payment.id)["gateway"]
        calls = iter(range(CALLS * 2))

        def fail(call: Callable[..., Any], failing: int = failing, calls: Any = calls) -> Any:
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                is_failing = next(calls) == failing
                if is_failing and not takes_effect:
                    raise client_error() if kwargs.get("TableName") else GatewayTimeout()
                answer = call(*args, **kwargs)
                if is_failing:
                    raise client_error() if kwargs.get("TableName") else GatewayTimeout()
                return answer

            return wrapped

        with monkeypatch.context() as patched:
            patched.setattr(aws.dynamodb, "update_item", fail(aws.dynamodb.update_item))
            patched.setattr(two_steps, "fetch", fail(two_steps.fetch))
            patched.setattr(two_steps, "cancel", fail(two_steps.cancel))
            order(do=do, transaction_id=payment.id, agreed=agreed)
        status = payment.value("status")
        if status == "processing":
            assert payment.value("in_flight") in {STUCK, *IN_FLIGHT_KEYS}
        elif status == "pending":
            assert payment.value("in_flight") == "pending#3"
        clock.tick(LEASE_SECONDS)
        if do == "settle":
            settled(payment.id)
        else:
            cancel(payment.id)
        is_open = do == "settle" and outcome == Open()
        assert (payment.value("status") in ends[type(outcome)]) != is_open, (failing, status)
        assert isinstance(two_steps.payment, GatewayPayment)
        captured = isinstance(two_steps.payment.outcome, Charged)
        assert captured == (payment.value("status") == "processed")


# A capture that the gateway has listed.


def listed(payment: Payment, **more: Any) -> dict[str, Any]:
    """Settle a payment by the id under which the gateway has listed its capture."""
    told = order(do="ask", transaction_id=payment.id, capture=ID)
    return settle(payment.id, told.get("gateway"), capture=ID, **more)


@pytest.mark.parametrize("state", ["rewound", "validated", "unmarked", "with its id", "pending"])
def test_a_listed_capture_is_settled_though_the_row_has_no_id_and_the_gateway_finds_nothing(
    payment: Payment, two_steps: FakeTwoSteps, state: str
) -> None:
    if state == "pending":
        pending(payment)
    elif state != "with its id":
        del payment.row["gateway_id"]
    if state in {"rewound", "validated"}:
        payment.set(rewound=1)
    if state == "validated":
        payment.set(status="validated")
    two_steps.payment = paid(Charged("ch_1"), transaction_id=payment.id)
    assert listed(payment)["status"] == "processed"
    assert (payment.value("gateway_id"), payment.value("gateway_reference")) == (ID, "ch_1")
    assert set(two_steps.calls) == {"fetch"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"transaction_id": None}, ("gateway_payment_mismatched", "transaction_id")),
        ({"transaction_id": "another"}, ("gateway_payment_mismatched", "transaction_id")),
        ({"amount": 1}, ("gateway_payment_mismatched", "amount")),
        ({"currency": "EUR"}, ("gateway_payment_mismatched", "currency")),
        ({"account": "acct_2"}, ("other_gateway", "gateway_account")),
    ],
    ids=str,
)
def test_a_listed_capture_of_something_else_is_not_settled(
    payment: Payment, two_steps: FakeTwoSteps, changes: dict[str, Any], code: tuple[str, str]
) -> None:
    del payment.row["gateway_id"]
    two_steps.payment = paid(Charged("ch_1"), **{"transaction_id": payment.id, **changes})
    refused = listed(payment)["refused"]
    assert (refused["code"], refused["about"]) == code
    assert payment.value("status") == "processing"
    assert "gateway_id" not in payment.row


@pytest.mark.parametrize("outcome", [Open(), Declined("x"), NotCharged(), Pending(URL)])
def test_what_was_listed_and_is_not_captured_settles_nothing(
    payment: Payment, two_steps: FakeTwoSteps, outcome: Outcome
) -> None:
    """It may be one that was prepared beside the row's own, and never confirmed."""
    del payment.row["gateway_id"]
    two_steps.payment = paid(outcome, transaction_id=payment.id)
    told = order(do="ask", transaction_id=payment.id, capture=ID)
    assert (told["gateway"], told["obstacle"]["code"]) == ({"outcome": "unknown"}, "unknown")
    assert listed(payment)["refused"]["code"] == "unknown"
    assert (payment.value("status"), two_steps.calls) == ("processing", ["fetch"] * 3)


def test_a_listed_capture_under_another_id_than_the_rows_settles_nothing(
    payment: Payment, two_steps: FakeTwoSteps
) -> None:
    payment.set(gateway_id="pay_2")
    two_steps.payment = paid(Charged("ch_1"), transaction_id=payment.id)
    assert listed(payment)["refused"]["code"] == "gateway_payment_mismatched"
    assert two_steps.calls == []
    assert payment.value("status") == "processing"


@pytest.mark.parametrize("capture", ["", 7, ["pay_1"]], ids=str)
def test_a_capture_is_named_by_a_text(
    payment: Payment, two_steps: FakeTwoSteps, capture: object
) -> None:
    told = order(do="ask", transaction_id=payment.id, capture=capture)
    assert told["refused"] == {"code": "not_an_order", "about": "capture"}
