"""DynamoDB, SQS, SNS and CloudWatch, as the handlers call them.

Every call goes through the network, which may fail it, and is atomic. All is in memory, but the
database behind the table may be a real one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from threading import Lock
from typing import Any, Protocol, TypeVar

from botocore.exceptions import ClientError, ReadTimeoutError

from handlers.shared.clock import epoch_seconds
from handlers.shared.transactions import DECLINED, PROCESSED
from tests.model.expressions import Item, evaluate
from tests.model.faults import Call, Network, Wording

VISIBILITY_TIMEOUT = timedelta(seconds=300)
MAX_RECEIVES = 3

T = TypeVar("T")


def client_error(code: str, **response: Any) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": ""}, **response}
    return ClientError(answer, "Operation")


AWS = Wording(
    refused=lambda: client_error("ThrottlingException"),
    unanswered=lambda: ReadTimeoutError(endpoint_url="https://aws.invalid"),
)


class Database(Protocol):
    """DynamoDB's calls on the transactions table, and the items that the table holds."""

    @property
    def items(self) -> dict[str, Item]: ...
    def put_item(self, **params: Any) -> dict[str, Any]: ...
    def update_item(self, **params: Any) -> dict[str, Any]: ...
    def query(self, **params: Any) -> dict[str, Any]: ...


class InMemoryDatabase:
    """One table with its sparse index."""

    def __init__(self, items: dict[str, Item] | None = None) -> None:
        self.items = items or {}

    def put_item(self, **params: Any) -> dict[str, Any]:
        transaction_id = params["Item"]["transaction_id"]["S"]
        self._check(params, transaction_id, "ConditionExpression")
        self.items[transaction_id] = dict(params["Item"])
        return {}

    def update_item(self, **params: Any) -> dict[str, Any]:
        transaction_id = params["Key"]["transaction_id"]["S"]
        self._check(params, transaction_id, "ConditionExpression", "UpdateExpression")
        old = self.items.get(transaction_id, dict(params["Key"]))
        expressions = evaluate(params, old, "ConditionExpression", "UpdateExpression")
        self.items[transaction_id] = expressions.updated(params["UpdateExpression"])
        return {"Attributes": dict(self.items[transaction_id])}

    def query(self, **params: Any) -> dict[str, Any]:
        assert params["IndexName"] == "in-flight-index"
        condition = params["KeyConditionExpression"]

        def matches(item: Item) -> bool:
            return evaluate(params, item, "KeyConditionExpression").condition(condition)

        found = [item for item in self.items.values() if "in_flight" in item and matches(item)]
        after = _index_order(params.get("ExclusiveStartKey"))
        page = sorted((item for item in found if _index_order(item) > after), key=_index_order)
        page, rest = page[: params["Limit"]], page[params["Limit"] :]
        return {"Items": page} | ({"LastEvaluatedKey": page[-1]} if rest else {})

    def _check(self, params: dict[str, Any], transaction_id: str, *expressions: str) -> None:
        old = self.items.get(transaction_id)
        evaluator = evaluate(params, old or {}, *expressions)
        if not evaluator.condition(params["ConditionExpression"]):
            assert params["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
            item = {"Item": dict(old)} if old else {}
            raise client_error("ConditionalCheckFailedException", **item)


class Table:
    """The transactions table: a DynamoDB client that notes who writes what."""

    def __init__(self, network: Network, now: Callable[[], datetime], database: Database) -> None:
        # Payments whose row was written after they were settled, and those that somebody else
        # than the holder of the live lease wrote.
        self.rewritten: list[str] = []
        self.overruled: list[str] = []
        # What the index shows while it lags behind the table.
        self.stale: dict[str, Item] | None = None
        self._now = now
        self._network = network
        self._database = database
        self._lock = Lock()

    @property
    def items(self) -> dict[str, Item]:
        return self._database.items

    def put_item(self, **params: Any) -> dict[str, Any]:
        transaction_id = params["Item"]["transaction_id"]["S"]
        put = partial(self._database.put_item, **params)
        return self._call("PutItem", transaction_id, lambda: self._write(transaction_id, put, None))

    def update_item(self, **params: Any) -> dict[str, Any]:
        transaction_id = params["Key"]["transaction_id"]["S"]
        attempt = params["ExpressionAttributeValues"].get(":attempt")
        update = partial(self._database.update_item, **params)
        return self._call(
            "UpdateItem", transaction_id, lambda: self._write(transaction_id, update, attempt)
        )

    def query(self, **params: Any) -> dict[str, Any]:
        def query() -> dict[str, Any]:
            index = self._database if self.stale is None else InMemoryDatabase(self.stale)
            return index.query(**params)

        return self._call("Query", "", query)

    def _call(self, site: str, transaction_id: str, effect: Callable[[], T]) -> T:
        def atomic() -> T:
            with self._lock:
                return effect()

        return self._network.call(Call(site, transaction_id), atomic, AWS)

    def _write(self, transaction_id: str, write: Callable[[], T], attempt: object) -> T:
        old = self.items.get(transaction_id)
        answer = write()
        if old and old["status"]["S"] in {PROCESSED, DECLINED}:
            self.rewritten.append(transaction_id)
        lease_end = int(old["lease_expires_at"]["N"]) if old and "lease_expires_at" in old else 0
        if old and lease_end >= epoch_seconds(self._now()) and attempt != old["attempt_id"]:
            self.overruled.append(transaction_id)
        return answer


def _index_order(item: Item | None) -> tuple[int, str]:
    if item is None:
        return -1, ""
    return int(item["lease_expires_at"]["N"]), item["transaction_id"]["S"]


@dataclass
class Message:
    message_id: str
    body: str
    visible_at: datetime
    receives: int = 0

    @cached_property
    def about(self) -> tuple[str, str]:
        """The operation and the transaction."""
        body = json.loads(self.body)
        return body["operation"], body["transaction_id"]


class Queue:
    """The failed transactions: an SQS client, the queue behind it, and its dead letters."""

    def __init__(self, network: Network, now: Callable[[], datetime]) -> None:
        self.sent: list[Message] = []
        # Every (operation, transaction) that somebody tried to queue, whether it worked or not.
        self.attempted: set[tuple[str, str]] = set()
        self.live: dict[str, Message] = {}
        self.dead: dict[str, Message] = {}
        self._network = network
        self._now = now
        self._lock = Lock()

    def send_message(self, **params: Any) -> dict[str, Any]:
        message = Message("", params["MessageBody"], self._now())
        self.attempted.add(message.about)

        def send() -> dict[str, Any]:
            with self._lock:
                number = f"message-{len(self.sent)}"
                sent = Message(number, message.body, message.visible_at)
                self.sent.append(sent)
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
