"""Queues in memory, behind real boto3 clients: what SQS answers, as far as the operations ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tests.stacks import Answer, Refused

DEAD_LETTERS = "FailedTransactionsDLQ"
QUEUE = "FailedTransactionsQueue"


@dataclass
class FakeQueues:
    """The queues by URL: id to message. Hidden messages are in `hidden` of their queue."""

    waiting: dict[str, dict[str, Answer]] = field(
        default_factory=lambda: {QUEUE: {}, DEAD_LETTERS: {}}
    )
    hidden: dict[str, dict[str, Answer]] = field(
        default_factory=lambda: {QUEUE: {}, DEAD_LETTERS: {}}
    )
    # What the message with this id does when it is deleted.
    on_delete: dict[str, Callable[[], None]] = field(default_factory=dict)
    # Seconds: what the clock says, what a receive takes, and when each hidden message comes back.
    now: float = 0
    receive_seconds: float = 0
    hidden_until: dict[str, float] = field(default_factory=dict)
    # The last message move task of each queue, as ListMessageMoveTasks has it.
    tasks: dict[str, Answer] = field(default_factory=dict)
    sent: int = 0

    def put(self, message_id: str, body: str, url: str = DEAD_LETTERS) -> None:
        """Put a message into a queue."""
        self.waiting[url][message_id] = {
            "MessageId": message_id,
            "ReceiptHandle": f"handle-{message_id}",
            "Body": body,
            "Attributes": {"SentTimestamp": "1795540000000", "ApproximateReceiveCount": "4"},
            "MessageAttributes": {"trace": {"StringValue": message_id, "DataType": "String"}},
        }

    def hide(self, url: str, ids: Iterable[str], seconds: float) -> None:
        """Let somebody hold messages for a while."""
        self.hidden[url] |= {one: self.waiting[url].pop(one) for one in ids}
        self.hidden_until |= dict.fromkeys(ids, self.now + seconds)

    def come_back(self) -> None:
        """Let those messages wait again whose time is over."""
        for url, hidden in self.hidden.items():
            for one in [one for one in hidden if self.hidden_until[one] <= self.now]:
                self.waiting[url][one] = hidden.pop(one)

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
        }

    def _attributes(self, params: Answer) -> Answer:
        url = params["QueueUrl"]
        self.come_back()
        messages = "ApproximateNumberOfMessages"
        return {
            "Attributes": {
                "QueueArn": f"arn:aws:sqs:eu-central-1:123456789012:{url}",
                messages: str(len(self.waiting[url])),
                f"{messages}NotVisible": str(len(self.hidden[url])),
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
        moved = self.waiting[source]
        self.waiting[target] |= moved
        self.waiting[source] = {}
        self.tasks[source] = {
            "Status": "COMPLETED",
            "StartedTimestamp": int(self.now * 1000) + 1,
            "ApproximateNumberOfMessagesMoved": len(moved),
        }
        return {"TaskHandle": source}

    def _receive(self, params: Answer) -> Answer:
        assert params["MaxNumberOfMessages"] <= 10
        url = params["QueueUrl"]
        self.now += self.receive_seconds
        self.come_back()
        ids = list(self.waiting[url])[: params["MaxNumberOfMessages"]]
        self.hide(url, ids, params["VisibilityTimeout"])
        return {"Messages": [self.hidden[url][one] for one in ids]} if ids else {}

    def _change_visibility(self, params: Answer) -> Answer:
        url = params["QueueUrl"]
        assert len(params["Entries"]) <= 10
        for entry in params["Entries"]:
            assert entry["VisibilityTimeout"] == 0
            name = entry["ReceiptHandle"].removeprefix("handle-")
            if name in self.hidden[url]:  # it may have come back by itself
                self.waiting[url][name] = self.hidden[url].pop(name)
        return {"Successful": [], "Failed": []}

    def _send(self, params: Answer) -> Answer:
        url, name = params["QueueUrl"], f"sent-{self.sent}"
        self.sent += 1
        self.put(name, params["MessageBody"], url)
        self.waiting[url][name]["MessageAttributes"] = params["MessageAttributes"]
        return {"MessageId": name}

    def _delete(self, url: str, handle: str) -> Answer:
        name = handle.removeprefix("handle-")
        self.on_delete.get(name, lambda: None)()
        # With an old handle SQS may still delete it (API, DeleteMessage).
        for messages in (self.hidden[url], self.waiting[url]):
            messages.pop(name, None)
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
