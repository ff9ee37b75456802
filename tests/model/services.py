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

from tests.model.faults import AWS, Call, Network
from tests.model.invocations import running

VISIBILITY_TIMEOUT = timedelta(seconds=300)
MAX_RECEIVES = 3


@dataclass
class Message:
    """attributes are those of the SQS message, as they are sent.

    sender is the principal whose request sent it, whatever the message says; None is the system.
    """

    message_id: str
    body: str
    visible_at: datetime
    attributes: dict[str, dict[str, str]]
    sender: str | None
    receives: int = 0

    @cached_property
    def about(self) -> tuple[str, str]:
        """The operation and the transaction."""
        body = json.loads(self.body)
        return body["operation"], body["transaction_id"]

    def record(self) -> dict[str, Any]:
        """Return it as Lambda hands it to a function."""
        return {
            "messageId": self.message_id,
            "receiptHandle": "handle",
            "body": self.body,
            "attributes": {"ApproximateReceiveCount": str(self.receives)},
            "messageAttributes": {
                name: {
                    "dataType": attribute["DataType"],
                    "stringValue": attribute["StringValue"],
                    "binaryListValues": [],
                    "stringListValues": [],
                }
                for name, attribute in self.attributes.items()
            },
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:failed-dev",
            "awsRegion": "us-east-1",
        }


class Queue:
    """The failed transactions: an SQS client, the queue behind it, and its dead letters."""

    def __init__(self, network: Network, now: Callable[[], datetime]) -> None:
        self.sent: list[Message] = []
        # How many of them the system itself has sent, by transaction.
        self.recoveries: Counter[str] = Counter()
        # Every (operation, transaction) that somebody tried to queue, whether it worked or not.
        self.attempted: set[tuple[str, str]] = set()
        self.live: dict[str, Message] = {}
        self.dead: dict[str, Message] = {}
        self._network = network
        self._now = now
        self._lock = Lock()

    def send_message(self, **params: Any) -> dict[str, Any]:
        attributes = params.get("MessageAttributes", {})
        sender = running().asker
        message = Message("", params["MessageBody"], self._now(), attributes, sender)
        self.attempted.add(message.about)

        def send() -> dict[str, Any]:
            with self._lock:
                number = f"message-{len(self.sent)}"
                sent = replace(message, message_id=number)
                self.sent.append(sent)
                self.recoveries[sent.about[1]] += sent.sender is None
                self.live[number] = sent
            return {"MessageId": number}

        return self._network.call(Call("SendMessage", message.about[1]), send, AWS)

    def receive(self, most: int) -> list[Message]:
        """Return the messages that are due, hidden from others for the visibility timeout."""
        received: list[Message] = []
        with self._lock:
            for message in list(self.live.values()):
                if len(received) == most:
                    break
                if message.visible_at > self._now():
                    continue
                if message.receives == MAX_RECEIVES:
                    self.dead[message.message_id] = self.live.pop(message.message_id)
                    continue
                message.receives += 1
                message.visible_at = self._now() + VISIBILITY_TIMEOUT
                received.append(message)
        return received

    def delete(self, message: Message) -> None:
        with self._lock:
            self.live.pop(message.message_id, None)

    def redrive(self) -> None:
        """Move the dead letters back, as an operator does."""
        with self._lock:
            for message in self.dead.values():
                message.receives = 0
                message.visible_at = self._now()
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
