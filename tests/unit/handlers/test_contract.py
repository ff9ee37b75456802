"""Every answer of the handlers, in every case of the contract, is in the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from handlers import cancellation, gateway_events, health_monitor, processing, validation
from handlers.shared.aws import clients, intake
from handlers.shared.callers import Claimant
from handlers.shared.gateway import Declined, Outcome, Pending
from handlers.shared.notifications import sign
from tests import contract
from tests.unit.handlers.bodies import HOSTILE
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    CountingGateway,
    Response,
    call,
    cancel,
    load_event,
    look_up,
)
from tests.unit.handlers.notifying import HEADER, SECRET, NotifyingGateway
from tests.unit.handlers.two_steps import PENDING, ToldGateway, use

PAYMENT = {"amount": 100.50, "currency": "USD", "customer_id": "cust-12345"}
VALIDATE, PROCESS, HEALTH = "POST /validate", "POST /process", "GET /health"
LOOK_UP = "GET /transactions/{transaction_id}"
EVENTS = "POST /gateway-events"
CANCEL = "POST /cancel"
# What API Gateway answers by itself, and no handler.
GATEWAY_STATUSES = {
    VALIDATE: {403, 413, 429, 502, 504},
    PROCESS: {403, 413, 429, 502, 504},
    LOOK_UP: {403, 429, 502, 504},
    CANCEL: {403, 413, 429, 502, 504},
    HEALTH: {403, 429, 502, 504},
    EVENTS: {403, 413, 429, 500, 502, 504},
}


@dataclass
class World:
    """A client, and what can go wrong behind the API."""

    aws: Aws
    clock: Clock
    gateway: CountingGateway
    monkeypatch: pytest.MonkeyPatch

    def validate(self, key: str | None = None, **changes: Any) -> Response:
        body = {name: value for name, value in (PAYMENT | changes).items() if value != "absent"}
        event = load_event("validate", body=json.dumps(body))
        if key is not None:
            event["headers"]["Idempotency-Key"] = key
            event["multiValueHeaders"]["Idempotency-Key"] = [key]
        return call(validation.handler, event)

    def validated(self, **changes: Any) -> str:
        return str(self.validate(**changes).body["transaction_id"])

    def process(self, transaction_id: object) -> Response:
        body = json.dumps({"transaction_id": transaction_id})
        return call(processing.handler, load_event("process", body=body))

    def process_again(self, **changes: Any) -> Response:
        transaction_id = self.validated(**changes)
        self.process(transaction_id)
        return self.process(transaction_id)

    def process_at_once(self) -> Response:
        transaction_id = self.validated()
        answers: list[Response] = []
        self.gateway.meanwhile = lambda: answers.append(self.process(transaction_id))
        self.process(transaction_id)
        return answers[0]

    def looked_up(self, *, processed: bool = False, **changes: Any) -> Response:
        transaction_id = self.validated(**changes)
        if processed:
            self.process(transaction_id)
        return look_up(transaction_id)

    def in_two_steps(self, confirmed: Outcome | None = None) -> World:
        use(self.monkeypatch, ToldGateway(confirmed))
        return self

    def processed_by_method(self, *, look: bool = False) -> Response:
        transaction_id = self.validated(payment_method="pm_1", reference="order 4711")
        answer = self.process(transaction_id)
        return look_up(transaction_id) if look else answer

    def canceled(self) -> str:
        transaction_id = self.validated()
        clients.store().cancel_validated(transaction_id, Claimant(None), self.clock.now)
        return transaction_id

    def flawed(self, ask: Callable[[str], Response] = look_up) -> Response:
        transaction_id = self.validated()
        self.aws.dynamodb.items[transaction_id]["status"] = {"S": "?"}
        return ask(transaction_id)

    def cancel(self, *, processed: bool = False, **changes: Any) -> Response:
        transaction_id = self.validated(**changes)
        if processed:
            self.process(transaction_id)
        return cancel(transaction_id)

    def cancel_meanwhile(self) -> Response:
        transaction_id = self.validated()
        answers: list[Response] = []
        self.gateway.meanwhile = lambda: answers.append(cancel(transaction_id))
        self.process(transaction_id)
        return answers[0]

    def cancel_after_a_restore(self) -> Response:
        transaction_id = self.validated()
        self.aws.dynamodb.items[transaction_id]["rewound"] = {"N": "1795000000"}
        return cancel(transaction_id)

    def notified(self, body: str = "", secret: str = SECRET, **changes: Any) -> Response:
        """Send what a gateway sends, of no concern unless the body names a payment."""
        gateway = NotifyingGateway()
        self.monkeypatch.setattr(clients, "gateway", lambda: gateway)
        event = load_event("process", body=body, **changes)
        event["headers"][HEADER] = sign(body.encode(), secret, self.clock.now)
        return call(gateway_events.handler, event)

    def health(self, **query: str) -> Response:
        return call(
            health_monitor.handler, load_event("health", queryStringParameters=query or None)
        )

    def failing(self, *operations: str) -> World:
        for operation in operations:
            {
                "PutItem": self.aws.dynamodb,
                "UpdateItem": self.aws.dynamodb,
                "GetItem": self.aws.dynamodb,
                "SendMessage": self.aws.sqs,
                "GetMetricData": self.aws.cloudwatch,
            }[operation].fail(operation)
        return self

    def degraded(self) -> World:
        self.aws.cloudwatch.data[("Errors", "Sum")] = [10]
        return self

    def reduced(self) -> World:
        self.monkeypatch.setenv("HEALTH_ACCESS", "status")
        return self

    def without(self, variable: str) -> World:
        self.monkeypatch.delenv(variable)
        return self


Ask = Callable[[World], Response]

CASES: dict[str, tuple[str, int, Ask]] = {
    "stored": (VALIDATE, 200, lambda world: world.validate()),
    "first with a key": (VALIDATE, 200, lambda world: world.validate("order-1")),
    "replayed": (VALIDATE, 200, lambda world: (world.validate("k"), world.validate("k"))[1]),
    "key reused": (
        VALIDATE,
        422,
        lambda world: (world.validate("k"), world.validate("k", amount=1))[1],
    ),
    "no field": (VALIDATE, 400, lambda world: world.validate(**dict.fromkeys(PAYMENT, "absent"))),
    "one field missing": (VALIDATE, 400, lambda world: world.validate(currency="absent")),
    "amount of no number": (VALIDATE, 400, lambda world: world.validate(amount="1")),
    "amount with decimals": (VALIDATE, 400, lambda world: world.validate(amount=1.005)),
    "amount too high": (VALIDATE, 400, lambda world: world.validate(amount=1e12)),
    "currency": (VALIDATE, 400, lambda world: world.validate(currency="XXX")),
    "customer_id blank": (VALIDATE, 400, lambda world: world.validate(customer_id=" ")),
    "customer_id too long": (VALIDATE, 400, lambda world: world.validate(customer_id="x" * 129)),
    "customer_id with NUL": (VALIDATE, 400, lambda world: world.validate(customer_id="\x00")),
    "malformed key": (VALIDATE, 400, lambda world: world.validate("a b")),
    "not stored, queued": (VALIDATE, 500, lambda world: world.failing("PutItem").validate()),
    "not stored, not queued": (
        VALIDATE,
        500,
        lambda world: world.failing("PutItem", "SendMessage").validate(),
    ),
    "validation broken": (
        VALIDATE,
        500,
        lambda world: world.without("TRANSACTIONS_TABLE").validate(),
    ),
    "charged": (PROCESS, 200, lambda world: world.process(world.validated())),
    "charged again": (PROCESS, 200, lambda world: world.process_again()),
    "no transaction_id": (PROCESS, 400, lambda world: world.process(None)),
    "malformed transaction_id": (PROCESS, 400, lambda world: world.process("a b")),
    "unknown": (PROCESS, 404, lambda world: world.process("~")),
    "in flight": (PROCESS, 409, lambda world: world.process_at_once()),
    "declined": (
        PROCESS,
        402,
        lambda world: world.process(world.validated(customer_id="sim-decline")),
    ),
    "declined again": (PROCESS, 402, lambda world: world.process_again(customer_id="sim-decline")),
    "gateway unavailable": (
        PROCESS,
        500,
        lambda world: world.process(world.validated(customer_id="sim-unavailable")),
    ),
    "gateway too slow": (
        PROCESS,
        500,
        lambda world: world.process(world.validated(customer_id="sim-timeout")),
    ),
    "not claimed, queued": (PROCESS, 500, lambda world: world.failing("UpdateItem").process("t")),
    "not claimed, not queued": (
        PROCESS,
        500,
        lambda world: world.failing("UpdateItem", "SendMessage").process("t"),
    ),
    "processing broken": (
        PROCESS,
        500,
        lambda world: world.without("TRANSACTIONS_TABLE").process("t"),
    ),
    "validated, looked up": (LOOK_UP, 200, lambda world: world.looked_up()),
    "processed, looked up": (LOOK_UP, 200, lambda world: world.looked_up(processed=True)),
    "declined, looked up": (
        LOOK_UP,
        200,
        lambda world: world.looked_up(processed=True, customer_id="sim-decline"),
    ),
    "queued, looked up": (
        LOOK_UP,
        200,
        lambda world: world.looked_up(processed=True, customer_id="sim-unavailable"),
    ),
    "without decimals, looked up": (
        LOOK_UP,
        200,
        lambda world: world.looked_up(amount=100, currency="JPY"),
    ),
    "with details": (
        VALIDATE,
        200,
        lambda world: world.validate(payment_method="pm_1", reference="r", return_url="https://a"),
    ),
    "payment_method of no token": (VALIDATE, 400, lambda world: world.validate(payment_method=" ")),
    "reference too long": (VALIDATE, 400, lambda world: world.validate(reference="x" * 65)),
    "return_url of no https": (VALIDATE, 400, lambda world: world.validate(return_url="http://a")),
    "payment_method missing": (VALIDATE, 400, lambda world: world.in_two_steps().validate()),
    "pending": (PROCESS, 202, lambda world: world.in_two_steps(PENDING).processed_by_method()),
    "pending without an action": (
        PROCESS,
        202,
        lambda world: world.in_two_steps(Pending()).processed_by_method(),
    ),
    "declined, another method": (
        PROCESS,
        402,
        lambda world: world.in_two_steps(
            Declined("expired", another_method=True)
        ).processed_by_method(),
    ),
    "canceled": (PROCESS, 409, lambda world: world.process(world.canceled())),
    "pending, looked up": (
        LOOK_UP,
        200,
        lambda world: world.in_two_steps(PENDING).processed_by_method(look=True),
    ),
    "declined with another method, looked up": (
        LOOK_UP,
        200,
        lambda world: world.in_two_steps(
            Declined("expired", another_method=True)
        ).processed_by_method(look=True),
    ),
    "canceled, looked up": (LOOK_UP, 200, lambda world: look_up(world.canceled())),
    "malformed, looked up": (LOOK_UP, 400, lambda _: look_up("a b")),
    "unknown, looked up": (LOOK_UP, 404, lambda _: look_up("~")),
    "flawed, looked up": (LOOK_UP, 500, lambda world: world.flawed()),
    "not looked up": (LOOK_UP, 500, lambda world: (world.failing("GetItem"), look_up("t"))[1]),
    "lookup broken": (
        LOOK_UP,
        500,
        lambda world: (world.without("TRANSACTIONS_TABLE"), look_up("t"))[1],
    ),
    "notified": (EVENTS, 200, lambda world: world.notified()),
    "forged": (EVENTS, 400, lambda world: world.notified(secret="guessed")),
    "of another account": (EVENTS, 400, lambda world: world.notified("pay-1@another")),
    "too long": (EVENTS, 400, lambda world: world.notified("x" * 2**20)),
    "not followed": (EVENTS, 503, lambda world: world.notified("pay-1")),
    "stopped": (
        EVENTS,
        503,
        lambda world: world.notified(stageVariables={intake.STOPPED_VARIABLE: "true"}),
    ),
    "validated, canceled": (CANCEL, 200, lambda world: world.cancel()),
    "processed, canceled": (CANCEL, 409, lambda world: world.cancel(processed=True)),
    "declined, canceled": (
        CANCEL,
        409,
        lambda world: world.cancel(processed=True, customer_id="sim-decline"),
    ),
    "in flight, canceled": (CANCEL, 409, lambda world: world.cancel_meanwhile()),
    "restored, canceled": (CANCEL, 409, lambda world: world.cancel_after_a_restore()),
    "pending, canceled": (
        CANCEL,
        200,
        lambda world: world.in_two_steps(PENDING).cancel(processed=True, payment_method="pm_1"),
    ),
    "no id, canceled": (CANCEL, 400, lambda _: cancel(None)),
    "malformed, canceled": (CANCEL, 400, lambda _: cancel("a b")),
    "unknown, canceled": (CANCEL, 404, lambda _: cancel("~")),
    "flawed, canceled": (CANCEL, 500, lambda world: world.flawed(cancel)),
    "not canceled": (CANCEL, 500, lambda world: (world.failing("UpdateItem"), cancel("t"))[1]),
    "cancellation broken": (
        CANCEL,
        500,
        lambda world: (world.without("TRANSACTIONS_TABLE"), cancel("t"))[1],
    ),
    "healthy": (HEALTH, 200, lambda world: world.health()),
    "healthy, without names": (HEALTH, 200, lambda world: world.reduced().health()),
    "degraded": (HEALTH, 200, lambda world: world.degraded().health()),
    "nothing known": (HEALTH, 200, lambda world: world.failing("GetMetricData").health()),
    "healthy, strictly": (HEALTH, 200, lambda world: world.health(strict="true")),
    "degraded, strictly": (HEALTH, 503, lambda world: world.degraded().health(strict="true")),
    "nothing known, strictly": (
        HEALTH,
        503,
        lambda world: world.failing("GetMetricData").health(strict="true"),
    ),
    "health broken": (HEALTH, 500, lambda world: world.without("FAILED_QUEUE_NAME").health()),
}


@pytest.fixture
def world(
    aws: Aws, clock: Clock, gateway: CountingGateway, monkeypatch: pytest.MonkeyPatch
) -> World:
    return World(aws, clock, gateway, monkeypatch)


@pytest.mark.parametrize(("operation", "status", "ask"), CASES.values(), ids=CASES)
def test_an_answer_is_as_described(world: World, operation: str, status: int, ask: Ask) -> None:
    answer = ask(world)
    assert answer.status == status
    contract.check(operation, answer.status, answer.headers, answer.body)


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_the_answer_to_a_hostile_body_is_as_described(
    world: World, changes: dict[str, Any]
) -> None:
    for operation, handler in (
        (VALIDATE, validation.handler),
        (PROCESS, processing.handler),
        (CANCEL, cancellation.handler),
    ):
        event = load_event(operation.rpartition("/")[2], **{"body": None} | changes)
        answer = call(handler, event)
        assert answer.status == 400
        contract.check(operation, answer.status, answer.headers, answer.body)


@pytest.mark.parametrize("operation", contract.OPERATIONS)
def test_every_status_that_is_described_is_one_that_is_answered(operation: str) -> None:
    answered = {status for name, status, _ in CASES.values() if name == operation}
    assert contract.statuses(operation) == answered | GATEWAY_STATUSES[operation]
