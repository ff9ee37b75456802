"""The real handlers in a world of fakes: its clients, its queue, its schedule and its time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any

from handlers.shared.aws.intake import STOPPED_VARIABLE
from handlers.shared.recovery import MAX_LOOK_SECONDS
from tests.model.faults import Call, Fault, Network
from tests.model.functions import Functions
from tests.model.gateway import Recorder, RecordingGateway
from tests.model.heard import Answer, Heard
from tests.model.invocations import Container, Invocation, Journal
from tests.model.ledger import Ledger
from tests.model.made import DETAILS
from tests.model.outcomes import in_flight, left_to_a_person, overdue, unseen
from tests.model.post import Post
from tests.model.principals import ANONYMOUS, Access, user_arn
from tests.model.release import CURRENT, NEW_ENTRIES, Release
from tests.model.services import VISIBILITY_TIMEOUT, Message, Monitoring, Queue
from tests.model.table import Database, InMemoryDatabase, Table
from tests.model.two_step_gateway import TwoStepGateway

if TYPE_CHECKING:
    import pytest

    from tests.model.notices import Forgery, Notice

# The handlers' modules.
ENTRIES = {
    "validate": "validation",
    "process": "processing",
    "cancel": "cancellation",
    "look": "lookup",
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


@dataclass
class World:
    """`decide` says which calls go wrong; `database` is what the table's calls end in.

    `place` says in which container the next invocation runs; `two_steps` is which gateway there
    is, and clients then send what it needs.
    """

    decide: Callable[[Call], Fault | None]
    database: Database = field(default_factory=InMemoryDatabase)
    access: Access = "caller"
    releases: Sequence[Release] = (CURRENT,)
    two_steps: bool = False
    place: Callable[[], Container] = Container
    clock: Clock = field(default_factory=Clock)
    journal: Journal = field(default_factory=Journal)

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
        self.functions = Functions(self.clock, self.journal, self.releases)
        self.heard = Heard(self.ledger, self.gateway.captures)
        self.post = Post(self.two_step, self.table)
        # Whether what the gateway tells by itself arrives, when the faults are over.
        self.is_notified = False
        # Whether clients send what a payment need not have.
        self.sends_details = self.two_steps
        self._requests = count()

    @property
    def is_skewed(self) -> bool:
        """Whether a clock was ever wrong."""
        return any(container.clock_seconds for container in self.functions.containers)

    @property
    def is_mixed(self) -> bool:
        """Whether an earlier release has ever run."""
        return not all(container.release.is_current for container in self.functions.containers)

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
        self.functions.install(patch, clients, self.one_step, lambda: self.gateway, self.access)

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
        event = {"headers": headers, "body": json.dumps(body)}
        answer = self._request("validate", None, event, caller, waited_seconds)
        if answer and answer.status == 200:
            self.heard.agreed[answer.body["transaction_id"]].add((amount * 100, customer_id))
        return answer

    def process(
        self, transaction_id: str, caller: str = ANONYMOUS, waited_seconds: float | None = None
    ) -> Answer | None:
        """Ask for the charge, as for a validation."""
        event = {"body": json.dumps({"transaction_id": transaction_id})}
        return self._request("process", transaction_id, event, caller, waited_seconds)

    def cancel(
        self, transaction_id: str, caller: str = ANONYMOUS, waited_seconds: float | None = None
    ) -> Answer | None:
        """Ask for the end of a payment, as for a validation."""
        event = {"body": json.dumps({"transaction_id": transaction_id})}
        return self._request("cancel", transaction_id, event, caller, waited_seconds)

    def look_up(self, transaction_id: str, caller: str = ANONYMOUS) -> Answer | None:
        """Ask where a payment stands; None if the process was killed."""
        event = {"pathParameters": {"transaction_id": transaction_id}}
        return self._request("look", transaction_id, event, caller, None)

    def _request(
        self,
        operation: str,
        transaction_id: str | None,
        event: dict[str, Any],
        caller: str,
        waited_seconds: float | None,
    ) -> Answer | None:
        number = next(self._requests)
        context: dict[str, Any] = {
            "requestId": f"request-{number}",
            "identity": {"userArn": user_arn(caller, number)},
        }
        if waited_seconds is not None:
            received = self.clock().timestamp() - waited_seconds
            context["requestTimeEpoch"] = round(received * 1000)
        before = self.heard.begin(transaction_id)
        invocation = Invocation(self._place(ENTRIES[operation]), caller)
        response = self.functions.invoke(
            invocation, ENTRIES[operation], {"requestContext": context, **event}
        )
        if response is None:
            return None
        body = json.loads(response["body"])
        answer = Answer(operation, response["statusCode"], body, response["headers"])
        self.heard.take(answer.body.get("transaction_id"), answer, invocation, before)
        return answer

    def notify(
        self, notice: Notice, forgery: Forgery | None = None, *, stopped: bool = False
    ) -> int | None:
        """Bring a notification of the gateway, or what only looks like one; return the HTTP status
        of the answer, None if the process was killed.

        `stopped` is whether payments are stopped, as for a restore.
        """
        headers, body = notice.sent(self.clock(), forgery)
        variables = {STOPPED_VARIABLE: "true"} if stopped else {}
        event = {"headers": dict(headers), "body": body, "stageVariables": variables}
        before = self.post.begin(notice)
        invocation = Invocation(self._place("gateway_events"))
        response = self.functions.invoke(invocation, "gateway_events", event)
        if response is None:
            return None
        status = int(response["statusCode"])
        self.post.take(notice, status, invocation, before, is_genuine=forgery is None)
        return status

    def deliver_notices(self) -> None:
        """Bring every notification that is not taken, once."""
        for notice in self.post.waiting:
            self.notify(notice)

    def _place(self, entry: str) -> Container:
        """Return where the next invocation runs: an earlier release has not every handler."""
        container = self.place()
        if entry in NEW_ENTRIES:
            return Container(CURRENT, container.clock_seconds)
        return container

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
        invocation = Invocation(self._place("retry"), None, askers)
        response = self.functions.invoke(invocation, "retry", event, remaining_ms)
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
        invocation = Invocation(self._place("health_monitor"))
        self.network.away = set(away)
        try:
            event = {"source": "aws.events", "id": "schedule"}
            if self.functions.invoke(invocation, "health_monitor", event) is None:
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
            if self.is_notified:
                self.deliver_notices()
            while self.retry():
                pass
            assert self.scheduled_run()
            left_over = in_flight(self) - left_to_a_person(self)
            if not (self.queue.live or left_over or overdue(self) or unseen(self)):
                return
            awaits_a_look = unseen(self) and left_over <= unseen(self)
            self.advance(MAX_LOOK_SECONDS if awaits_a_look else VISIBILITY_TIMEOUT.total_seconds())
