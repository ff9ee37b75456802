"""The real handlers in a world of fakes: its clients, its queue, its schedule and its time."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any

from handlers import health_monitor, processing, retry, validation
from handlers.shared import clients, logs, metrics
from handlers.shared.transactions import DECLINED, PROCESSED, PROCESSING
from tests.model.expressions import plain
from tests.model.faults import Call, Fault, Killed, Network
from tests.model.gateway import RecordingGateway
from tests.model.services import (
    VISIBILITY_TIMEOUT,
    Database,
    InMemoryDatabase,
    Message,
    Monitoring,
    Queue,
    Table,
)

if TYPE_CHECKING:
    import pytest

ENVIRONMENT = {
    "TRANSACTIONS_TABLE": "transactions-dev",
    "FAILED_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/failed-dev",
    "ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:payment-alarms-dev",
    "API_ID": "a1b2c3d4e5",
    "API_NAME": "payment-api-dev",
    "API_STAGE": "prod",
    "FUNCTION_NAMES": "payment-validation-dev,payment-processing-dev",
    "FAILED_QUEUE_NAME": "failed-transactions-dev",
    "DEAD_LETTER_QUEUE_NAME": "failed-transactions-dlq-dev",
    "DEGRADED_ALARM_NAME": "health-degraded-dev",
    "LOG_GROUP": "/aws/lambda/health-monitor-dev",
    "RETRY_SOURCE_ID": "retry-source",
    "POWERTOOLS_SERVICE_NAME": "payment-dev",
}
# More than three receives and three recoveries take.
MOST_DRAIN_ROUNDS = 60
# What a dependency raises that has failed; the scheduled run passes it on.
EXPECTED_FAILURES = {"ClientError", "ReadTimeoutError", "StoreUnavailable", "RecoveryIncomplete"}


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 21, 27, tzinfo=UTC)
        self._lock = Lock()

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        with self._lock:
            self.now += timedelta(seconds=seconds)


class Journal:
    """Takes the log lines and metrics; unlike Powertools' it is made for threads."""

    def __init__(self) -> None:
        self.metrics: Counter[str] = Counter()
        self.metric_set: dict[str, object] = {}
        self.stuck: set[str] = set()
        self.unforeseen: list[dict[str, object]] = []
        self._lock = Lock()

    def add_metric(self, name: str, unit: object, value: float) -> None:
        with self._lock:
            self.metrics[name] += 1 if "Milliseconds" in str(unit) else int(value)

    def error(self, message: str, **extra: Any) -> None:
        keys = extra.get("extra", extra)
        if message == "payment is stuck":
            self.stuck.add(keys["transaction_id"])
        if message == "unexpected failure" and keys["type"] not in EXPECTED_FAILURES:
            self.unforeseen.append(keys)
        if message == "capture is not the one on record":
            self.unforeseen.append({"message": message, **keys})

    def info(self, message: str, **_: Any) -> None: ...
    def append_keys(self, **_: Any) -> None: ...
    def clear_state(self) -> None: ...


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass
class LambdaContext:
    remaining_ms: int = 60_000
    aws_request_id: str = "invocation"

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass
class World:
    """`decide` says which calls go wrong; `database` is what the table's calls end in.

    By transaction, `told` is what clients were answered, and `agreed` the amounts in minor units
    and customers of the payments that were validated for them.
    """

    decide: Callable[[Call], Fault | None]
    database: Database = field(default_factory=InMemoryDatabase)
    clock: Clock = field(default_factory=Clock)
    journal: Journal = field(default_factory=Journal)
    told: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    agreed: dict[str, set[tuple[int, str]]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self.network = Network(self.decide)
        self.table = Table(self.network, self.clock, self.database)
        self.queue = Queue(self.network, self.clock)
        self.gateway = RecordingGateway(self.network, self.clock)
        self.monitoring = Monitoring(self.network, self.queue)
        self._requests = count()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put the world where the handlers look for AWS, the gateway, time, logs and metrics."""
        patch.setattr(clients, "dynamodb", lambda: self.table)
        patch.setattr(clients, "sqs", lambda: self.queue)
        patch.setattr(clients, "cloudwatch", lambda: self.monitoring)
        patch.setattr(clients, "sns", lambda: self.monitoring)
        for seldom in ("cloudwatch_logs", "apigateway", "aws_lambda"):
            patch.setattr(clients, seldom, lambda: self.monitoring)
        patch.setattr(logs, "logger", self.journal)
        patch.setattr(metrics, "_metrics", self.journal)
        patch.setattr(clients, "gateway", lambda: self.gateway)
        for timed in (validation, processing, retry, health_monitor):
            patch.setattr(timed, "utc_now", self.clock)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)

    def validate(
        self, amount: int = 100, customer_id: str = "customer", key: str | None = None
    ) -> Answer | None:
        """Ask for a validation; None if the process was killed."""
        body = {"amount": amount, "currency": "USD", "customer_id": customer_id}
        headers = {"Idempotency-Key": key} if key else {}
        answer = self._request("validate", validation.handler, body, headers)
        if answer and answer.status == 200:
            self.agreed[answer.body["transaction_id"]].add((amount * 100, customer_id))
        return answer

    def process(self, transaction_id: str) -> Answer | None:
        """Ask for the charge; None if the process was killed."""
        return self._request("process", processing.handler, {"transaction_id": transaction_id}, {})

    def _request(
        self,
        operation: str,
        handler: Callable[[Any, Any], dict[str, Any]],
        body: dict[str, Any],
        headers: dict[str, str],
    ) -> Answer | None:
        event = {
            "requestContext": {"requestId": f"request-{next(self._requests)}"},
            "headers": headers,
            "body": json.dumps(body),
        }
        try:
            response = handler(event, LambdaContext())
        except Killed:
            return None
        answer = Answer(response["statusCode"], json.loads(response["body"]), response["headers"])
        outcome = answer.body["retry"] if answer.status == 500 else str(answer.status)
        if "transaction_id" in answer.body:
            self.told[answer.body["transaction_id"]].add(f"{operation}: {outcome}")
        return answer

    def retry(self, most: int = 10, remaining_ms: int = 60_000) -> int:
        """Run payment-retry on what the queue has due; return how many messages it got."""
        received = self.queue.receive(most)
        if received:
            self.deliver(received, remaining_ms)
        return len(received)

    def deliver(self, messages: list[Message], remaining_ms: int = 60_000) -> None:
        """Run payment-retry on these messages, and delete those that it settled."""
        records = [
            {
                "messageId": message.message_id,
                "receiptHandle": "handle",
                "body": message.body,
                "attributes": {"ApproximateReceiveCount": str(message.receives)},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:failed-dev",
                "awsRegion": "us-east-1",
            }
            for message in messages
        ]
        try:
            response = retry.handler({"Records": records}, LambdaContext(remaining_ms))
        except Killed:
            return
        failed = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
        for message in messages:
            if message.message_id not in failed:
                self.queue.delete(message)

    def scheduled_run(self) -> bool:
        """Make the health monitor's scheduled run; return whether it came to its end."""
        self.journal.stuck.clear()
        try:
            health_monitor.handler({"source": "aws.events", "id": "schedule"}, LambdaContext())
        except (Killed, Exception):  # noqa: BLE001
            return False
        return True

    def advance(self, seconds: float) -> None:
        """Let time go by; a call that is under way does not take as long as a minute."""
        if seconds >= 60:
            self.network.deliver_late()
        self.clock.advance(seconds)

    def drain(self) -> None:
        """End the faults, and let time, retries and recoveries run until nothing changes."""
        self.network.decide = lambda _: None
        self.table.stale = None
        self.network.deliver_late()
        for _ in range(MOST_DRAIN_ROUNDS):
            while self.retry():
                pass
            assert self.scheduled_run()
            if not self.queue.live and not self.in_flight() - self.left_to_a_person():
                return
            self.advance(VISIBILITY_TIMEOUT.total_seconds())

    def in_flight(self) -> set[str]:
        return self._payments_in(PROCESSING)

    def settled(self) -> set[str]:
        return self._payments_in(PROCESSED, DECLINED)

    def _payments_in(self, *states: str) -> set[str]:
        rows = list(self.table.items.items())
        return {payment for payment, row in rows if plain(row["status"]) in states}

    def left_to_a_person(self) -> set[str]:
        """Payments with a dead letter, and those that the latest scheduled run counted as stuck."""
        dead = {message.about[1] for message in self.queue.dead.values()}
        return dead | self.journal.stuck
