"""How the tests invoke a handler: its events, its clock, its gateway and the AWS it sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from handlers import cancellation, lookup, processing, retry, validation
from handlers.shared.gateway import Charged, Declined, NoCharge, SimulatedGateway
from tests.unit.handlers.fakes import (
    FakeApiGateway,
    FakeCloudWatch,
    FakeDynamoDB,
    FakeLambda,
    FakeLogs,
    FakeSNS,
    FakeSQS,
)

if TYPE_CHECKING:
    import pytest

    from handlers.shared.transactions import Transaction

EVENTS = Path(__file__).parents[2] / "events"
SERVICE = "payment-dev"


@dataclass
class Aws:
    dynamodb: FakeDynamoDB = field(default_factory=FakeDynamoDB)
    sqs: FakeSQS = field(default_factory=FakeSQS)
    sns: FakeSNS = field(default_factory=FakeSNS)
    cloudwatch: FakeCloudWatch = field(default_factory=FakeCloudWatch)
    cloudwatch_logs: FakeLogs = field(default_factory=FakeLogs)
    apigateway: FakeApiGateway = field(default_factory=FakeApiGateway)
    aws_lambda: FakeLambda = field(default_factory=FakeLambda)
    created: list[str] = field(default_factory=list)

    def client(self, service: str) -> Any:
        self.created.append(service)
        return getattr(self, service)

    def queued(self) -> list[str]:
        """The bodies of the messages that were sent, the oldest first."""
        return [params["MessageBody"] for params in self.sqs.called("SendMessage")]


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 22, 21, 27, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class CountingGateway:
    """Charges like the simulated one, unless told what to answer or raise.

    `meanwhile` runs before it answers; `keys` and `lookups` are what it was asked for.
    """

    KEY_RETENTION: ClassVar = timedelta(hours=24)

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.lookups: list[str] = []
        self.meanwhile: Callable[[], object] | None = None
        self.result: Charged | Declined | Exception | None = None
        self.found: Charged | Declined | NoCharge | Exception | None = None
        self.simulated = SimulatedGateway()

    def charge(self, transaction: Transaction, idempotency_key: str) -> Charged | Declined:
        self.keys.append(idempotency_key)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result or self.simulated.charge(transaction, idempotency_key)

    def find(self, idempotency_key: str) -> Charged | Declined | NoCharge | None:
        self.lookups.append(idempotency_key)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@dataclass
class LambdaContext:
    aws_request_id: str = "lambda-request-id"
    seconds_left: float = 60

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds_left * 1000)


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Output:
    """What was written to stdout and stderr: log lines, and the values of each metric.

    of_version holds version and name of what is counted by the published version too.
    """

    text: str
    lines: list[dict[str, Any]]
    metrics: dict[str, list[float]]
    of_version: list[tuple[str, str]]

    @classmethod
    def read(cls, capsys: pytest.CaptureFixture[str]) -> Output:
        """Return what was written since the last time, and check what every line has."""
        captured = capsys.readouterr()
        entries = [json.loads(line) for line in captured.out.splitlines()]
        output = cls(captured.out + captured.err, [], {}, [])
        for entry in entries:
            if "_aws" not in entry:
                assert entry["service"] == SERVICE
                output.lines.append(entry)
                continue
            [directive] = entry["_aws"]["CloudWatchMetrics"]
            assert directive["Namespace"] == "PaymentInfra"
            assert entry["service"] == SERVICE
            [dimensions] = directive["Dimensions"]
            if set(dimensions) == {"service", "version"}:
                output.of_version.append((entry["version"], directive["Metrics"][0]["Name"]))
                continue
            assert dimensions == ["service"]
            for metric in directive["Metrics"]:
                output.metrics.setdefault(metric["Name"], []).extend(entry[metric["Name"]])
        return output

    def of(self, message: str) -> list[dict[str, Any]]:
        """The lines with this message."""
        return [line for line in self.lines if line["message"] == message]


def ids_and_keys(line: dict[str, Any]) -> dict[str, Any]:
    """Return a log line without what Powertools puts into each."""
    return {
        name: value
        for name, value in line.items()
        if name not in {"level", "message", "timestamp", "service"}
    }


def load_event(name: str, **changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event | changes


def call(handler: Callable[[Any, Any], dict[str, Any]], event: dict[str, Any]) -> Response:
    """Invoke a handler, and check what every answer has."""
    response = handler(event, LambdaContext())
    assert response["headers"]["Content-Type"] == "application/json"
    assert response["headers"]["X-Request-Id"] == event["requestContext"]["requestId"]
    return Response(response["statusCode"], response["headers"], json.loads(response["body"]))


def validated() -> str:
    """Validate the payment of the event; return its transaction id."""
    return str(call(validation.handler, load_event("validate")).body["transaction_id"])


def process(transaction_id: str) -> Response:
    """Ask for a payment's charge."""
    body = json.dumps({"transaction_id": transaction_id})
    return call(processing.handler, load_event("process", body=body))


def look_up(transaction_id: str, **identity: Any) -> Response:
    """Ask where a payment stands, as this caller."""
    event = load_event("lookup", pathParameters={"transaction_id": transaction_id})
    event["requestContext"]["identity"] |= identity
    response = call(lookup.handler, event)
    assert response.headers["Cache-Control"] == "no-store"
    return response


def cancel(transaction_id: object, **identity: Any) -> Response:
    """Ask for a payment to be canceled, as this caller."""
    event = load_event("cancel", body=json.dumps({"transaction_id": transaction_id}))
    event["requestContext"]["identity"] |= identity
    return call(cancellation.handler, event)


def to_process(transaction_id: str) -> str:
    """Return the body of a message to charge a payment."""
    message = json.loads(load_event("sqs")["Records"][0]["body"])
    return json.dumps(message | {"transaction_id": transaction_id})


def sqs_event(*bodies: str) -> dict[str, Any]:
    """Return the event that delivers these messages, whose ids are message-0 and so on."""
    [record] = load_event("sqs")["Records"]
    records = [
        record | {"messageId": f"message-{index}", "body": body}
        for index, body in enumerate(bodies)
    ]
    return {"Records": records}


def deliver(*bodies: str, context: LambdaContext | None = None) -> list[int]:
    """Give messages to payment-retry; return the indices of those that are to come back."""
    answer = retry.handler(sqs_event(*bodies), context or LambdaContext())
    assert answer.keys() == {"batchItemFailures"}
    assert all(failure.keys() == {"itemIdentifier"} for failure in answer["batchItemFailures"])
    identifiers = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    return [int(identifier.removeprefix("message-")) for identifier in identifiers]
