"""How the tests invoke a handler: its events, its clock and the AWS it sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.unit.handlers.fakes import FakeCloudWatch, FakeDynamoDB, FakeSNS, FakeSQS

EVENTS = Path(__file__).parents[2] / "events"


@dataclass
class Aws:
    dynamodb: FakeDynamoDB = field(default_factory=FakeDynamoDB)
    sqs: FakeSQS = field(default_factory=FakeSQS)
    sns: FakeSNS = field(default_factory=FakeSNS)
    cloudwatch: FakeCloudWatch = field(default_factory=FakeCloudWatch)
    created: list[str] = field(default_factory=list)

    def client(self, service: str) -> Any:
        self.created.append(service)
        return getattr(self, service)


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 22, 21, 27, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class LambdaContext:
    aws_request_id: str = "lambda-request-id"


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def load_event(name: str, **changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event | changes


def call(handler: Callable[[Any, Any], dict[str, Any]], event: dict[str, Any]) -> Response:
    """Invoke a handler, and check what every answer has."""
    response = handler(event, LambdaContext())
    assert response["headers"]["Content-Type"] == "application/json"
    assert response["headers"]["X-Request-Id"] == event["requestContext"]["requestId"]
    return Response(response["statusCode"], response["headers"], json.loads(response["body"]))
