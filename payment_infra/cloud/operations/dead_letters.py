"""The messages of the dead-letter queue: read without consuming them, and deleted.

Whoever receives a message hides it from others for a while. It is given back at once after a look;
should this program be killed meanwhile, it comes back by itself after VISIBILITY_SECONDS.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.errors import translated
from payment_infra.errors import PaymentInfraError

if TYPE_CHECKING:
    from payment_infra.cloud.operations.environment import Environment

QUEUE = "FailedTransactionsQueue"
DEAD_LETTERS = "FailedTransactionsDLQ"
# Messages of one call (SQS API: ReceiveMessage and the batches).
BATCH_SIZE = 10
VISIBILITY_SECONDS = 120
# A long poll asks all servers of a queue: what comes back empty is empty (SQS, "Short and long
# polling").
WAIT_SECONDS = 1


@dataclass(frozen=True)
class DeadLetter:
    """A message that payment-retry has given up.

    transaction_id, operation, reason and first_failed_at are "" in a message that is not of this
    system. receives is SQS's count; body and attributes are what was sent.
    """

    id: str
    transaction_id: str
    operation: str
    reason: str
    first_failed_at: str
    sent_at: datetime
    receives: int
    body: str = field(repr=False)
    attributes: Mapping[str, Any] = field(repr=False)
    handle: str = field(repr=False)

    def document(self) -> dict[str, Any]:
        """Return the whole message for a file; not its receipt handle, which does not last."""
        fields = {**asdict(self), "sent_at": self.sent_at.isoformat()}
        del fields["handle"]
        return fields


@dataclass(frozen=True)
class Depth:
    """A queue's own numbers, which are about right."""

    name: str
    waiting: int
    in_flight: int
    delayed: int


def depth(environment: Environment, logical_id: str) -> Depth:
    """Return how many messages a queue has; nothing is received."""
    url = environment.resource(logical_id)
    with translated(f"queue {url}"):
        attributes = environment.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["All"]
        )["Attributes"]
    messages = "ApproximateNumberOfMessages"
    return Depth(
        name=url.rpartition("/")[2],
        waiting=int(attributes[messages]),
        in_flight=int(attributes[f"{messages}NotVisible"]),
        delayed=int(attributes.get(f"{messages}Delayed", 0)),
    )


@contextmanager
def borrowed(
    environment: Environment, visibility_seconds: int = VISIBILITY_SECONDS
) -> Iterator[list[DeadLetter]]:
    """Hold every message of the dead-letter queue for the block, then give back what is left.

    Yields:
        The messages, the oldest first. Whoever deletes one takes it out of the list.
    """
    client, url = environment.client("sqs"), environment.resource(DEAD_LETTERS)
    held: dict[str, DeadLetter] = {}
    messages: list[DeadLetter] = []
    try:
        with translated("the dead-letter queue"):
            while received := client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=BATCH_SIZE,
                VisibilityTimeout=visibility_seconds,
                WaitTimeSeconds=WAIT_SECONDS,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages"):
                # A message can come twice; the later handle is the one that counts.
                held.update((one["MessageId"], _dead_letter(one)) for one in received)
        messages += sorted(held.values(), key=lambda one: one.sent_at)
        held.clear()
        yield messages
    finally:
        _give_back(client, url, [*messages, *held.values()])


def delete(environment: Environment, ids: Collection[str]) -> int:
    """Delete messages; return how many.

    Raises:
        PaymentInfraError: some were not deleted.
    """
    client, url = environment.client("sqs"), environment.resource(DEAD_LETTERS)
    deleted, failures = 0, 0
    with borrowed(environment) as messages:
        chosen = [one for one in messages if one.id in ids]
        for batch in _batches(chosen):
            entries = [
                {"Id": str(number), "ReceiptHandle": one.handle} for number, one in enumerate(batch)
            ]
            with translated("the dead-letter queue"):
                answer = client.delete_message_batch(QueueUrl=url, Entries=entries)
            gone = [batch[int(one["Id"])] for one in answer.get("Successful", [])]
            deleted += len(gone)
            failures += len(batch) - len(gone)
            for one in gone:
                messages.remove(one)
    missing = len(ids) - deleted - failures
    if failures or missing:
        raise PaymentInfraError(
            f"{deleted} messages were deleted and {failures + missing} were not; repeat the command"
        )
    return deleted


def _give_back(client: Any, url: str, messages: Sequence[DeadLetter]) -> None:
    with translated("the dead-letter queue"):
        for batch in _batches(messages):
            client.change_message_visibility_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": one.handle, "VisibilityTimeout": 0}
                    for number, one in enumerate(batch)
                ],
            )


def _batches(messages: Sequence[DeadLetter]) -> Iterator[Sequence[DeadLetter]]:
    for start in range(0, len(messages), BATCH_SIZE):
        yield messages[start : start + BATCH_SIZE]


def _dead_letter(raw: Any) -> DeadLetter:
    try:
        body = json.loads(raw["Body"])
    except (ValueError, RecursionError):
        body = None
    fields = body if isinstance(body, dict) else {}

    def text(name: str) -> str:
        value = fields.get(name)
        return value if isinstance(value, str) else ""

    system = raw.get("Attributes", {})
    return DeadLetter(
        id=raw["MessageId"],
        transaction_id=text("transaction_id"),
        operation=text("operation"),
        reason=text("reason") or ("" if fields else "not JSON"),
        first_failed_at=text("first_failed_at"),
        sent_at=datetime.fromtimestamp(int(system.get("SentTimestamp", 0)) / 1000, UTC),
        receives=int(system.get("ApproximateReceiveCount", 0)),
        body=raw["Body"],
        attributes=raw.get("MessageAttributes", {}),
        handle=raw["ReceiptHandle"],
    )
