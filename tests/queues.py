"""Queues in memory, with SQS's rules, and what it answers behind real boto3 clients.

The rules are those of the SQS API Reference: what is received is hidden for a while, each receive
gives another receipt handle, and what was received too often goes to the dead letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tests.stacks import Answer, Refused

DEAD_LETTERS = "FailedTransactionsDLQ"
QUEUE = "FailedTransactionsQueue"


@dataclass
class Message:
    """A message; attributes are those that it was sent with.

    It is hidden until the clock says so many seconds. handle is that of the latest receive.
    """

    id: str
    body: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    receives: int = 0
    hidden_until: float = 0
    handle: str = ""

    def receive(self, until: float) -> None:
        """Hide it, with another handle."""
        self.receives += 1
        self.handle = f"{self.id}/{self.receives}"
        self.hidden_until = until

    def record(self) -> dict[str, Any]:
        """Return it as Lambda hands it to a function."""
        return {
            "messageId": self.id,
            "receiptHandle": self.handle,
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

    def answer(self) -> Answer:
        """Return it as ReceiveMessage has it."""
        return {
            "MessageId": self.id,
            "ReceiptHandle": self.handle,
            "Body": self.body,
            "Attributes": {
                "SentTimestamp": "1795540000000",
                "ApproximateReceiveCount": str(self.receives),
            },
            "MessageAttributes": dict(self.attributes),
        }


M = TypeVar("M", bound=Message)


@dataclass
class Queue(Generic[M]):
    """A queue: its messages by id, in the order in which they came."""

    clock: Callable[[], float]
    messages: dict[str, M] = field(default_factory=dict)
    # How often a message is received before it goes to the dead letters; None: as often as it is.
    max_receives: int | None = None
    dead_letters: dict[str, M] = field(default_factory=dict)
    # Whether a message goes, too, that is deleted with an older handle: SQS says that it may.
    old_handles_delete: bool = False

    def send(self, message: M) -> None:
        self.messages[message.id] = message

    def waiting(self) -> list[M]:
        return [one for one in self.messages.values() if one.hidden_until <= self.clock()]

    def hidden(self) -> list[M]:
        return [one for one in self.messages.values() if one.hidden_until > self.clock()]

    def receive(self, most: int, visibility_seconds: float) -> list[M]:
        """Return messages that wait, and hide them."""
        received: list[M] = []
        for one in self.waiting():
            if len(received) == most:
                break
            if one.receives == self.max_receives:
                self.dead_letters[one.id] = self.messages.pop(one.id)
                continue
            one.receive(self.clock() + visibility_seconds)
            received.append(one)
        return received

    def delete(self, handle: str) -> None:
        """Delete the message that this is the handle of; with an older one it may stay."""
        message = self.messages.get(handle.rpartition("/")[0])
        if message is not None and (message.handle == handle or self.old_handles_delete):
            del self.messages[message.id]

    def show(self, handle: str) -> None:
        """Let a message wait again, if the handle is its latest one."""
        message = self.messages.get(handle.rpartition("/")[0])
        if message is not None and message.handle == handle:
            message.hidden_until = self.clock()


@dataclass
class FakeQueues:
    """The service: the queues by URL."""

    queues: dict[str, Queue[Message]] = field(init=False)
    # What the message with this id does when it is deleted.
    on_delete: dict[str, Callable[[], None]] = field(default_factory=dict)
    # Seconds: what the clock says, and what a receive takes.
    now: float = 0
    receive_seconds: float = 0
    # The last message move task of each queue, as ListMessageMoveTasks has it.
    tasks: dict[str, Answer] = field(default_factory=dict)
    old_handles_delete: bool = False
    sent: int = 0

    def __post_init__(self) -> None:
        self.queues = {
            url: Queue(lambda: self.now, old_handles_delete=self.old_handles_delete)
            for url in (QUEUE, DEAD_LETTERS)
        }

    def put(
        self,
        message_id: str,
        body: str,
        url: str = DEAD_LETTERS,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Put a message into a queue, which was received three times before."""
        traced = {"trace": {"StringValue": message_id, "DataType": "String"}}
        given = traced if attributes is None else attributes
        self.queues[url].send(Message(message_id, body, given, receives=3))

    def hide(self, url: str, ids: Iterable[str], seconds: float) -> None:
        """Let somebody hold messages for a while."""
        for one in ids:
            self.queues[url].messages[one].receive(self.now + seconds)

    def waiting(self, url: str = DEAD_LETTERS) -> dict[str, Message]:
        """Return the messages that wait, by id."""
        return {one.id: one for one in self.queues[url].waiting()}

    def hidden(self, url: str = DEAD_LETTERS) -> dict[str, Message]:
        """Return the messages that somebody holds, by id."""
        return {one.id: one for one in self.queues[url].hidden()}

    def move(self, source: str, target: str) -> int:
        """Move the messages that wait; return how many."""
        waiting = self.waiting(source)
        for name in waiting:
            self.queues[target].send(self.queues[source].messages.pop(name))
        return len(waiting)

    def answers(self) -> Mapping[str, Callable[[Answer], Answer]]:
        """Return what FakeAws is to answer with."""
        return {
            "sqs:GetQueueAttributes": self._attributes,
            "sqs:ReceiveMessage": self._receive,
            "sqs:ListMessageMoveTasks": self._tasks,
            "sqs:StartMessageMoveTask": self._start_task,
            "sqs:ChangeMessageVisibilityBatch": self._change_visibility,
            "sqs:SendMessage": self._send,
            "sqs:DeleteMessage": lambda it: self._delete(it["QueueUrl"], it["ReceiptHandle"]),
            "sqs:DeleteMessageBatch": self._delete_batch,
            "sqs:DeleteQueue": self._delete_queue,
        }

    def _attributes(self, params: Answer) -> Answer:
        url = params["QueueUrl"]
        messages = "ApproximateNumberOfMessages"
        return {
            "Attributes": {
                "QueueArn": f"arn:aws:sqs:eu-central-1:123456789012:{url}",
                messages: str(len(self.waiting(url))),
                f"{messages}NotVisible": str(len(self.hidden(url))),
                f"{messages}Delayed": "0",
            }
        }

    def _tasks(self, params: Answer) -> Answer:
        assert params["MaxResults"] == 1
        url = params["SourceArn"].rpartition(":")[2]
        return {"Results": [self.tasks[url]]} if url in self.tasks else {}

    def _start_task(self, params: Answer) -> Answer:
        """Move all messages that wait, at once."""
        source, target = (
            params[name].rpartition(":")[2] for name in ("SourceArn", "DestinationArn")
        )
        self.tasks[source] = {
            "Status": "COMPLETED",
            "StartedTimestamp": int(self.now * 1000) + 1,
            "ApproximateNumberOfMessagesMoved": self.move(source, target),
        }
        return {"TaskHandle": source}

    def _receive(self, params: Answer) -> Answer:
        assert params["MaxNumberOfMessages"] <= 10
        self.now += self.receive_seconds
        queue = self.queues[params["QueueUrl"]]
        received = queue.receive(params["MaxNumberOfMessages"], params["VisibilityTimeout"])
        return {"Messages": [one.answer() for one in received]} if received else {}

    def _change_visibility(self, params: Answer) -> Answer:
        assert len(params["Entries"]) <= 10
        for entry in params["Entries"]:
            assert entry["VisibilityTimeout"] == 0
            self.queues[params["QueueUrl"]].show(entry["ReceiptHandle"])
        return {"Successful": [], "Failed": []}

    def _send(self, params: Answer) -> Answer:
        name = f"sent-{self.sent}"
        self.sent += 1
        self.put(name, params["MessageBody"], params["QueueUrl"], params["MessageAttributes"])
        return {"MessageId": name}

    def _delete(self, url: str, handle: str) -> Answer:
        self.on_delete.get(handle.rpartition("/")[0], lambda: None)()
        self.queues[url].delete(handle)
        return {}

    def _delete_batch(self, params: Answer) -> Answer:
        done: Answer = {"Successful": [], "Failed": []}
        for entry in params["Entries"]:
            try:
                self._delete(params["QueueUrl"], entry["ReceiptHandle"])
                done["Successful"].append({"Id": entry["Id"]})
            except Refused as refused:
                done["Failed"].append({"Id": entry["Id"], "Code": refused.code})
        return done

    def _delete_queue(self, params: Answer) -> Answer:
        del self.queues[params["QueueUrl"]]
        return {}
