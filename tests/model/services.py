"""SQS, SNS and CloudWatch, as the handlers call them; every call goes through the network."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from threading import Lock
from typing import Any

from tests import queues
from tests.model.faults import AWS, Call, Network
from tests.model.invocations import running

VISIBILITY_TIMEOUT = timedelta(seconds=300)
MAX_RECEIVES = 3


@dataclass
class Message(queues.Message):
    """A message about an operation on a payment.

    sender is the principal whose request sent it, whatever the message says; None is the system.
    """

    sender: str | None = None

    @cached_property
    def about(self) -> tuple[str, str]:
        """The operation and the transaction."""
        body = json.loads(self.body)
        return body["operation"], body["transaction_id"]


class Queue:
    """The failed transactions: an SQS client, the queue behind it, and its dead letters.

    The queue is that of all tests. Here, calls go through the network, and what was sent is noted.
    """

    def __init__(self, network: Network, now: Callable[[], datetime]) -> None:
        self.sent: list[Message] = []
        # How many of them the system itself has sent, by transaction.
        self.recoveries: Counter[str] = Counter()
        # Every (operation, transaction) that somebody tried to queue, whether it worked or not.
        self.attempted: set[tuple[str, str]] = set()
        self._network = network
        self._queue: queues.Queue[Message] = queues.Queue(
            lambda: now().timestamp(), max_receives=MAX_RECEIVES
        )
        self._lock = Lock()

    @property
    def live(self) -> dict[str, Message]:
        return self._queue.messages

    @property
    def dead(self) -> dict[str, Message]:
        return self._queue.dead_letters

    def send_message(self, **params: Any) -> dict[str, Any]:
        attributes = params.get("MessageAttributes", {})
        sender = running().asker
        message = Message("", params["MessageBody"], attributes, sender=sender)
        self.attempted.add(message.about)

        def send() -> dict[str, Any]:
            with self._lock:
                sent = replace(message, id=f"message-{len(self.sent)}")
                self.sent.append(sent)
                self.recoveries[sent.about[1]] += sent.sender is None
                self._queue.send(sent)
            return {"MessageId": sent.id}

        return self._network.call(Call("SendMessage", message.about[1]), send, AWS)

    def receive(self, most: int) -> list[Message]:
        """Return the messages that are due, hidden from others for the visibility timeout."""
        with self._lock:
            return self._queue.receive(most, VISIBILITY_TIMEOUT.total_seconds())

    def delete(self, message: Message) -> None:
        """Delete a message, though it was perhaps received again since: SQS may do that."""
        with self._lock:
            self.live.pop(message.id, None)

    def redrive(self) -> None:
        """Move the dead letters back, as an operator does."""
        with self._lock:
            for message in self.dead.values():
                message.receives = 0
                message.hidden_until = 0
            self.live.update(self.dead)
            self.dead.clear()

    def holds(self, operation: str, transaction_id: str) -> bool:
        """Whether such a message is in the queue or among the dead letters."""
        with self._lock:
            messages = [*self.live.values(), *self.dead.values()]
        return any(message.about == (operation, transaction_id) for message in messages)


class Monitoring:
    """CloudWatch, SNS and what else a scheduled run calls. The dead letters degrade the system, and
    no alarm knows of it yet; payments are let in."""

    def __init__(self, network: Network, queue: Queue) -> None:
        self._network = network
        self._queue = queue

    def get_metric_data(self, **params: Any) -> dict[str, Any]:
        def value(query: dict[str, Any]) -> float:
            name = query["MetricStat"]["Metric"]["MetricName"]
            return len(self._queue.dead) if name == "ApproximateNumberOfMessagesVisible" else 0

        results = [
            {
                "Id": query["Id"],
                "StatusCode": "Complete",
                "Timestamps": [params["StartTime"] + timedelta(minutes=5)],
                "Values": [value(query)],
            }
            for query in params["MetricDataQueries"]
        ]
        return self._call("GetMetricData", {"MetricDataResults": results})

    def describe_alarms(self, **_: Any) -> dict[str, Any]:
        return self._call("DescribeAlarms", {"MetricAlarms": []})

    def put_log_events(self, **_: Any) -> dict[str, Any]:
        return self._call("PutLogEvents", {})

    def get_stage(self, **_: Any) -> dict[str, Any]:
        return self._call("GetStage", {})

    def get_event_source_mapping(self, **_: Any) -> dict[str, Any]:
        return self._call("GetEventSourceMapping", {"State": "Enabled"})

    def publish(self, **_: Any) -> dict[str, Any]:
        return self._call("Publish", {"MessageId": "1"})

    def _call(self, site: str, answer: dict[str, Any]) -> dict[str, Any]:
        return self._network.call(Call(site, ""), lambda: answer, AWS)
