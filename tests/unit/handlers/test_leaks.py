"""No leak: canary strings go in by every way, and come out only where they belong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from handlers import health_monitor, processing, retry, validation
from handlers.shared.gateway import Charged, Declined, GatewayTimeout, GatewayUnavailable
from handlers.shared.transactions import LEASE_SECONDS
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    CountingGateway,
    LambdaContext,
    load_event,
    sqs_event,
)

CUSTOMER = "canary-customer"
VALID = {"amount": 100.50, "currency": "USD", "customer_id": CUSTOMER, "note": "canary-body"}


class World:
    """Every way into the handlers, each with canaries; notes what came out."""

    def __init__(
        self,
        aws: Aws,
        clock: Clock,
        gateway: CountingGateway,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.aws, self.clock, self.gateway, self.monkeypatch = aws, clock, gateway, monkeypatch
        self.answers: list[Any] = []

    def validate(self, body: str | None = None, key: str = "canary-key", **changes: Any) -> int:
        changed = {name: v for name, v in (VALID | changes).items() if v is not ...}
        event = self.event("validate", body=json.dumps(changed) if body is None else body)
        event["headers"]["Idempotency-Key"] = key
        event["multiValueHeaders"]["Idempotency-Key"] = [key]
        return self.call(validation.handler, event)

    def process(self, transaction_id: object = None, body: str | None = None) -> int:
        named = {"transaction_id": transaction_id, "note": "canary-body", "customer_id": CUSTOMER}
        body = json.dumps(named) if body is None else body
        return self.call(processing.handler, self.event("process", body=body))

    def health(self, **query: str) -> int:
        event = self.event("health", queryStringParameters=query | {"q": "canary-query"})
        return self.call(health_monitor.handler, event)

    def scheduled(self) -> None:
        detail = {"note": "canary-detail"}
        event = load_event("scheduled", detail=detail)
        self.answers.append(health_monitor.handler(event, LambdaContext()))

    def retry(self, *bodies: str, seconds_left: float = 60) -> int:
        event = sqs_event(*bodies)
        for record in event["Records"]:
            note = {"stringValue": "canary-attribute", "dataType": "String"}
            record["messageAttributes"] = {"note": note}
        answer = retry.handler(event, LambdaContext(seconds_left=seconds_left))
        self.answers.append(answer)
        return len(answer["batchItemFailures"])

    def event(self, name: str, **changes: Any) -> dict[str, Any]:
        event = load_event(name, **changes)
        event["headers"] |= {"X-Note": "canary-header", "Authorization": "canary-signature"}
        event["multiValueHeaders"] |= {"X-Note": ["canary-header"], "Cookie": ["canary-cookie"]}
        return event

    def call(self, handler: Callable[[Any, Any], dict[str, Any]], event: dict[str, Any]) -> int:
        answer = handler(event, LambdaContext())
        self.answers.append(answer)
        return int(answer["statusCode"])

    # Where the payments are that the paths begin with

    def validated(self) -> str:
        assert self.validate() == 200
        return next(iter(self.aws.dynamodb.items))

    def queued(self) -> str:
        self.aws.dynamodb.fail("PutItem")
        assert self.validate() == 500
        self.aws.dynamodb.errors.clear()
        return self.aws.queued()[-1]

    def message(self, **changes: Any) -> str:
        return json.dumps(json.loads(self.queued()) | changes)

    def to_process(self, transaction_id: str) -> str:
        return json.dumps(
            json.loads(load_event("sqs")["Records"][0]["body"]) | {"transaction_id": transaction_id}
        )

    def in_flight(self, then: Callable[[str], int]) -> int:
        transaction_id = self.validated()
        results: list[int] = []
        self.gateway.meanwhile = lambda: results.append(then(transaction_id))
        assert self.process(transaction_id) == 200
        return results[0]

    def charging(self, result: Charged | Declined | Exception) -> str:
        transaction_id = self.validated()
        self.gateway.result = result
        return transaction_id

    def failing(self, *operations: str) -> World:
        for operation in operations:
            self.aws.dynamodb.fail(operation)
            self.aws.sqs.fail(operation)
            self.aws.sns.fail(operation)
            self.aws.cloudwatch.fail(operation)
        return self

    def without(self, variable: str) -> World:
        self.monkeypatch.delenv(variable)
        return self

    def late(self, found: Charged | None) -> str:
        transaction_id = self.charging(GatewayTimeout())
        assert self.process(transaction_id) == 500
        self.gateway.found = found
        self.clock.tick(self.gateway.KEY_RETENTION.total_seconds())
        return transaction_id

    def degraded(self) -> World:
        self.aws.cloudwatch.data[("Errors", "Sum")] = [10]
        return self

    def abandoned(self, recoveries: int = 0) -> World:
        transaction_id = self.charging(GatewayTimeout())
        self.gateway.meanwhile = lambda: self.failing("UpdateItem") and None
        self.process(transaction_id)
        self.aws.dynamodb.errors.clear()
        self.aws.dynamodb.items[transaction_id]["recoveries"] = {"N": str(recoveries)}
        self.clock.tick(LEASE_SECONDS + 24 * 60)
        return self


def conflict(world: World) -> int:
    body = world.queued()
    assert world.retry(body) == 0
    record = json.loads(body)["record"] | {"fingerprint": "0" * 64}
    return world.retry(json.dumps(json.loads(body) | {"record": record}))


def twice(run: Callable[[], int]) -> int:
    run()
    return run()


def settled_again(world: World, result: Charged | Declined) -> int:
    transaction_id = world.charging(result)
    return twice(lambda: world.process(transaction_id))


def raising(run: Callable[[], None]) -> str:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        run()
    return type(raised.value).__name__


def overtaken(world: World) -> int:
    transaction_id = world.validated()

    def overtake() -> None:
        world.clock.tick(LEASE_SECONDS + 1)
        world.process(transaction_id)
        world.gateway.result = Charged("second-capture")

    world.gateway.meanwhile = overtake
    return world.process(transaction_id)


# Each path, and what shows that it was taken: the status, or how many messages come back.
PATHS: dict[str, tuple[Callable[[World], object], object]] = {
    "validate": (lambda w: w.validate(), 200),
    "validate, replayed": (lambda w: twice(w.validate), 200),
    "validate, key reused": (lambda w: (w.validate(), w.validate(amount=2))[1], 422),
    "validate, fields missing": (lambda w: w.validate(amount=...), 400),
    "validate, amount": (lambda w: w.validate(amount="canary-amount"), 400),
    "validate, decimals": (lambda w: w.validate(amount=1.005), 400),
    "validate, currency": (lambda w: w.validate(currency="canary-currency"), 400),
    "validate, customer_id": (lambda w: w.validate(customer_id=f"{CUSTOMER}\n"), 400),
    "validate, long customer_id": (lambda w: w.validate(customer_id=CUSTOMER * 20), 400),
    "validate, no JSON": (lambda w: w.validate(body="{canary"), 400),
    "validate, no object": (lambda w: w.validate(body='["canary"]'), 400),
    "validate, duplicate name": (lambda w: w.validate(body='{"canary":1,"canary":1}'), 400),
    "validate, surrogate": (lambda w: w.validate(body='{"canary": "\ud800"}'), 400),
    "validate, too large": (lambda w: w.validate(body='"' + "canary" * 9999 + '"'), 400),
    "validate, malformed key": (lambda w: w.validate(key="canary key"), 400),
    "validate, queued": (lambda w: w.failing("PutItem").validate(), 500),
    "validate, not queued": (lambda w: w.failing("PutItem", "SendMessage").validate(), 500),
    "validate, unforeseen": (lambda w: w.without("TRANSACTIONS_TABLE").validate(), 500),
    "process": (lambda w: w.process(w.validated()), 200),
    "process, again": (lambda w: settled_again(w, Charged("ref")), 200),
    "process, declined": (lambda w: w.process(w.charging(Declined("fraud"))), 402),
    "process, declined again": (lambda w: settled_again(w, Declined("fraud")), 402),
    "process, no id": (lambda w: w.process(), 400),
    "process, malformed id": (lambda w: w.process("canary id"), 400),
    "process, id of another type": (lambda w: w.process(["canary"]), 400),
    "process, no JSON": (lambda w: w.process(body="canary"), 400),
    "process, unknown": (lambda w: w.process("unknown"), 404),
    "process, in flight": (lambda w: w.in_flight(w.process), 409),
    "process, overtaken": (overtaken, 200),
    "process, unavailable": (lambda w: w.process(w.charging(GatewayUnavailable())), 500),
    "process, timeout": (lambda w: w.process(w.charging(GatewayTimeout())), 500),
    "process, not queued": (
        lambda w: w.failing("SendMessage").process(w.charging(GatewayTimeout())),
        500,
    ),
    "process, not claimed": (
        lambda w: (w.validated(), w.failing("UpdateItem").process("t-1"))[1],
        500,
    ),
    "process, not claimed and not queued": (
        lambda w: w.failing("UpdateItem", "SendMessage").process("t-1"),
        500,
    ),
    "process, outcome unknown": (lambda w: w.process(w.late(None)), 500),
    "process, unforeseen": (lambda w: w.process(w.charging(RuntimeError(CUSTOMER))), 500),
    "retry validate": (lambda w: w.retry(w.queued()), 0),
    "retry validate, again": (lambda w: w.retry(*[w.queued()] * 2), 0),
    "retry validate, conflict": (conflict, 1),
    "retry validate, failed": (lambda w: (b := w.queued(), w.failing("PutItem").retry(b))[1], 1),
    "retry process": (lambda w: w.retry(w.to_process(w.validated())), 0),
    "retry process, declined": (
        lambda w: w.retry(w.to_process(w.charging(Declined("fraud")))),
        0,
    ),
    "retry process, failed": (
        lambda w: w.retry(w.to_process(w.charging(GatewayUnavailable()))),
        1,
    ),
    "retry process, in flight": (lambda w: w.in_flight(lambda t: w.retry(w.to_process(t))), 1),
    "retry process, found": (lambda w: w.retry(w.to_process(w.late(Charged("ref")))), 0),
    "retry process, outcome unknown": (lambda w: w.retry(w.to_process(w.late(None))), 1),
    "retry process, unforeseen": (
        lambda w: w.retry(w.to_process(w.charging(RuntimeError(CUSTOMER)))),
        1,
    ),
    "retry process, unknown": (lambda w: w.retry(w.to_process("unknown")), 1),
    "retry, no time": (lambda w: w.retry(w.queued(), seconds_left=1), 1),
    "retry, no JSON": (lambda w: w.retry("canary"), 1),
    "retry, version": (lambda w: w.retry(w.message(version="canary")), 1),
    "retry, operation": (lambda w: w.retry(w.message(operation="canary")), 1),
    "retry, extra field": (lambda w: w.retry(w.message(canary="canary")), 0),
    "retry, malformed id": (lambda w: w.retry(w.message(transaction_id="canary id")), 1),
    "retry, record": (lambda w: w.retry(w.message(record={"customer_id": CUSTOMER})), 1),
    "health": (lambda w: w.health(), 200),
    "health, strict": (lambda w: w.degraded().health(strict="true"), 503),
    "health, unknown": (lambda w: w.failing("GetMetricData").health(), 200),
    "health, unforeseen": (lambda w: w.without("API_NAME").health(), 500),
    "scheduled alert": (lambda w: w.degraded().scheduled(), None),
    "scheduled recovery": (lambda w: w.abandoned().scheduled(), None),
    "scheduled recovery, stuck": (lambda w: w.abandoned(3).degraded().scheduled(), None),
    "scheduled recovery, not queued": (
        lambda w: w.abandoned().failing("SendMessage").scheduled(),
        None,
    ),
    "scheduled recovery, failed": (
        lambda w: raising(w.abandoned().degraded().failing("UpdateItem").scheduled),
        "RecoveryIncomplete",
    ),
    "scheduled alert, alarm unknown": (
        lambda w: w.degraded().failing("DescribeAlarms").scheduled(),
        None,
    ),
    "scheduled, cannot tell": (
        lambda w: raising(w.degraded().failing("Publish").scheduled),
        "ClientError",
    ),
}


@pytest.mark.parametrize(("path", "outcome"), PATHS.values(), ids=PATHS)
def test_what_a_client_sent_in_confidence_goes_nowhere_but_into_its_record(
    aws: Aws,
    clock: Clock,
    gateway: CountingGateway,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: Callable[[World], object],
    outcome: object,
) -> None:
    world = World(aws, clock, gateway, monkeypatch)
    assert path(world) == outcome
    captured = capsys.readouterr()
    assert captured.out
    assert "canary" not in captured.out + captured.err
    assert "canary" not in json.dumps(world.answers)
    assert "canary" not in str(aws.sns.calls)
    for _, params in aws.sqs.calls:
        message = json.loads(params.pop("MessageBody"))
        if "record" in message:
            assert message["operation"] == "validate"
            assert message["record"].pop("customer_id") == CUSTOMER
        assert "canary" not in json.dumps(message) + str(params)


def test_the_paths_do_publish_and_queue(
    aws: Aws, clock: Clock, gateway: CountingGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(aws, clock, gateway, monkeypatch)
    world.abandoned().degraded().scheduled()
    world.queued()
    assert aws.sns.calls
    assert len(aws.sqs.calls) == 3
