"""The real handlers in a world of fakes: its clients, its queue, its schedule and its time."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from threading import Lock
from typing import TYPE_CHECKING, Any

from handlers.shared import sweep
from handlers.shared.aws import clients as clients_edge
from handlers.shared.charging import LOOKED_AFTER
from handlers.shared.gateway import GatewayUnavailable
from handlers.shared.recovery import MAX_LOOK_SECONDS
from handlers.shared.responses import NOT_CHARGED
from tests.model.faults import Call, Fault, Killed, Network
from tests.model.gateway import Recorder, RecordingGateway
from tests.model.invocations import SECRET, Container, Invocation, Journal, run, running
from tests.model.ledger import Ledger
from tests.model.outcomes import in_flight, left_to_a_person, overdue, unseen
from tests.model.principals import ANONYMOUS, Access, may_have, user_arn
from tests.model.release import CURRENT, Release
from tests.model.services import VISIBILITY_TIMEOUT, Message, Monitoring, Queue
from tests.model.table import Database, InMemoryDatabase, Table
from tests.model.two_step_gateway import (
    DETAILS,
    NEXT_ACTION,
    TwoStepGateway,
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


class Clock:
    """The true time."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 21, 27, tzinfo=UTC)
        self._lock = Lock()

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        with self._lock:
            self.now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def outcome(self) -> str:
        """The status; of a 500, who tries again, or that the row must not be charged; or that it
        was canceled."""
        if self.body.get("error") == "Payment canceled":
            return "canceled"
        if self.status != 500:
            return str(self.status)
        return "not charged" if self.body["message"] == NOT_CHARGED else str(self.body["retry"])


@dataclass
class LambdaContext:
    remaining_ms: int = 60_000
    aws_request_id: str = "invocation"

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass
class World:
    """`decide` says which calls go wrong; `database` is what the table's calls end in.

    `place` says in which container the next invocation runs; `two_steps` is which gateway there
    is, and clients then send what it needs. By transaction, `told` is what clients
    were answered, and `agreed` the amounts in minor units and customers that they were told to be
    validated.
    """

    decide: Callable[[Call], Fault | None]
    database: Database = field(default_factory=InMemoryDatabase)
    access: Access = "caller"
    releases: Sequence[Release] = (CURRENT,)
    two_steps: bool = False
    place: Callable[[], Container] = Container
    clock: Clock = field(default_factory=Clock)
    journal: Journal = field(default_factory=Journal)
    told: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    agreed: dict[str, set[tuple[int, str]]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self.network = Network(self.decide)
        self.ledger = Ledger(self.clock, self.access)
        self.table = Table(self.network, self.database, self.ledger)
        self.queue = Queue(self.network, self.clock)
        self.one_step = RecordingGateway(self.network, self.clock)
        self.two_step = TwoStepGateway(
            self.network, self.clock, lambda: self.table.items, self.one_step
        )
        # The one that today's handlers charge at; those of an earlier release know one step.
        self.gateway: Recorder = self.two_step if self.two_steps else self.one_step
        self.monitoring = Monitoring(self.network, self.queue)
        # The latest scheduled run that came to its end.
        self.latest_run = Invocation()
        self.containers: set[Container] = set()
        # Payments that were not charged though no alarm saw it, and that the wrong ones heard of.
        self.unseen: list[str] = []
        self.disclosed: list[str] = []
        # Whether clients send what a payment need not have.
        self.sends_details = self.two_steps
        # Answers with what a client has sent, or with a customer's next step where there is none.
        self.leaked: list[str] = []
        self._requests = count()

    @property
    def is_skewed(self) -> bool:
        """Whether a clock was ever wrong."""
        return any(container.clock_seconds for container in self.containers)

    @property
    def is_mixed(self) -> bool:
        """Whether an earlier release has ever run."""
        return not all(container.release.is_current for container in self.containers)

    def change_gateway(self, gateway: Recorder) -> None:
        """Have today's handlers charge at another gateway."""
        if gateway is not self.gateway:
            self.gateway, gateway.has_changed = gateway, True

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put the world where the handlers look for AWS, the gateway, time, logs and metrics."""
        clients = {
            "dynamodb": self.table,
            "sqs": self.queue,
            **dict.fromkeys(("cloudwatch", "cloudwatch_logs", "sns"), self.monitoring),
            **dict.fromkeys(("apigateway", "aws_lambda"), self.monitoring),
        }
        for release in self.releases:
            release.install(patch, clients, self.one_step, self.container_time, self.journal)
        patch.setattr(clients_edge, "gateway", lambda: _opened(self.gateway))
        patch.setattr(clients_edge, "gateway_class", lambda: type(self.gateway))
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("PAYMENT_ACCESS", self.access)
        patch.setattr(sweep, "SEGMENTS", 2)  # or a day's runs would be needed to see every row
        # Where a payment stands in the index hangs on its id, and a run that is repeated must be
        # the same.
        random = Random(0)
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=random.getrandbits(128), version=4))

    def container_time(self) -> datetime:
        return self.clock() + timedelta(seconds=running().container.clock_seconds)

    def validate(
        self,
        amount: int = 100,
        customer_id: str = "customer",
        key: str | None = None,
        caller: str = ANONYMOUS,
        waited_seconds: float | None = None,
    ) -> Answer | None:
        """Ask for a validation; None if the process was killed.

        `waited_seconds` is how long ago API Gateway got the request; None says nothing about it.
        """
        body: dict[str, Any] = {"amount": amount, "currency": "USD", "customer_id": customer_id}
        if self.sends_details:
            body |= DETAILS
        headers = {"Idempotency-Key": key} if key else {}
        answer, _ = self._request("validate", body, headers, caller, waited_seconds)
        if answer and answer.status == 200:
            self.agreed[answer.body["transaction_id"]].add((amount * 100, customer_id))
        return answer

    def process(
        self, transaction_id: str, caller: str = ANONYMOUS, waited_seconds: float | None = None
    ) -> Answer | None:
        """Ask for the charge, as for a validation."""
        body = {"transaction_id": transaction_id}
        answer, invocation = self._request("process", body, {}, caller, waited_seconds)
        if answer is None:
            return None
        owner = self.ledger.owners.get(transaction_id, ANONYMOUS)
        if answer.outcome not in {"404", "queued", "not queued"} and not (
            may_have(owner, caller, self.access) or self.is_mixed
        ):
            self.disclosed.append(transaction_id)
        if answer.outcome == "not charged" and not _set_aside_in(invocation):
            self.unseen.append(transaction_id)
        return answer

    def _request(
        self,
        operation: str,
        body: dict[str, Any],
        headers: dict[str, str],
        caller: str,
        waited_seconds: float | None,
    ) -> tuple[Answer | None, Invocation]:
        number = next(self._requests)
        context: dict[str, Any] = {
            "requestId": f"request-{number}",
            "identity": {"userArn": user_arn(caller, number)},
        }
        if waited_seconds is not None:
            received = self.clock().timestamp() - waited_seconds
            context["requestTimeEpoch"] = round(received * 1000)
        event = {"requestContext": context, "headers": headers, "body": json.dumps(body)}
        invocation = self._begin(caller)
        entry = "validation" if operation == "validate" else "processing"
        response = self._invoke(invocation, entry, event)
        if response is None:
            return None, invocation
        answer = Answer(response["statusCode"], json.loads(response["body"]), response["headers"])
        if _leaks(operation, response["statusCode"], dict(answer.body)):
            self.leaked.append(f"{operation}: {response['body']}")
        if "transaction_id" in answer.body:
            self.told[answer.body["transaction_id"]].add(f"{operation}: {answer.outcome}")
        return answer, invocation

    def _begin(
        self, asker: str | None, askers: dict[tuple[str, str], set[str | None]] | None = None
    ) -> Invocation:
        container = self.place()
        self.containers.add(container)
        return Invocation(container, asker, askers or {})

    def _invoke(
        self, invocation: Invocation, entry: str, event: dict[str, Any], remaining_ms: int = 60_000
    ) -> Any:
        """Run a handler; None if the process was killed, and nobody will see what it counted."""
        handler = invocation.container.release.module(entry).handler
        with run(invocation):
            try:
                response = handler(event, LambdaContext(remaining_ms))
            except Killed:
                return None
            except Exception:
                self.journal.publish(invocation)
                raise
        self.journal.publish(invocation)
        return response

    def retry(self, most: int = 10, remaining_ms: int = 60_000) -> int:
        """Run payment-retry on what the queue has due; return how many messages it got."""
        received = self.queue.receive(most)
        if received:
            self.deliver(received, remaining_ms)
        return len(received)

    def deliver(self, messages: list[Message], remaining_ms: int = 60_000) -> None:
        """Run payment-retry on these messages, and delete those that it settled."""
        askers: dict[tuple[str, str], set[str | None]] = defaultdict(set)
        for message in messages:
            askers[message.about].add(message.sender)
        event = {"Records": [message.record() for message in messages]}
        response = self._invoke(self._begin(None, askers), "retry", event, remaining_ms)
        if response is None:
            return
        failed = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
        for message in messages:
            if message.id not in failed:
                self.queue.delete(message)

    def scheduled_run(self, away: frozenset[str] = frozenset()) -> bool:
        """Make the health monitor's scheduled run; return whether all that it began succeeded.

        The operations that are away fail for the whole run.
        """
        invocation = self._begin(None)
        self.network.away = set(away)
        try:
            event = {"source": "aws.events", "id": "schedule"}
            if self._invoke(invocation, "health_monitor", event) is None:
                return False
        except Exception:  # noqa: BLE001
            succeeded = False
        else:
            succeeded = True
        finally:
            self.network.away = set()
        self.latest_run = invocation
        return succeeded

    def advance(self, seconds: float) -> None:
        """Let time go by; a call that is under way does not take as long as a minute."""
        if seconds >= 60:
            self.network.deliver_late()
        self.clock.advance(seconds)

    def drain(self, release: Release = CURRENT) -> None:
        """End the faults, and let time, retries and recoveries of a release do what they can."""
        self.network.decide = lambda _: None
        self.place = lambda: Container(release)
        self.table.stale = None
        self.network.deliver_late()
        for _ in range(MOST_DRAIN_ROUNDS):
            while self.retry():
                pass
            assert self.scheduled_run()
            left_over = in_flight(self) - left_to_a_person(self)
            if not (self.queue.live or left_over or overdue(self) or unseen(self)):
                return
            awaits_a_look = unseen(self) and left_over <= unseen(self)
            self.advance(MAX_LOOK_SECONDS if awaits_a_look else VISIBILITY_TIMEOUT.total_seconds())


def _opened(gateway: Recorder) -> Recorder:
    """Return a gateway, unless its secret is away."""
    if gateway.is_away:
        raise GatewayUnavailable("SecretAway")
    return gateway


def _leaks(operation: str, status: int, body: dict[str, Any]) -> bool:
    """Whether an answer holds what it must not; one to a pending payment may say where to go."""
    if (operation, status) == ("process", 202):
        body["next_action"] = str(body.get("next_action", "")).removeprefix(NEXT_ACTION)
    return SECRET in json.dumps(body)


def _set_aside_in(invocation: Invocation) -> int:
    """Return how many rows an invocation has counted that must not be charged."""
    return sum(invocation.counted[metric] for metric in LOOKED_AFTER.values())
