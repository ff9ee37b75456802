"""The messages of the queues: read without consuming them, and deleted.

A receive hides a message from others for a while. It is given back at once after a look;
should this program be killed meanwhile, it comes back by itself after VISIBILITY_SECONDS, and until
then it is held: in flight, as SQS counts it.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from payment_infra.cloud.events import Waiting
from payment_infra.cloud.operating.transactions import CAPABILITIES
from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.sdk.polling import looks
from payment_infra.cloud.sdk.queues import Depth, read_depth
from payment_infra.errors import AwsError, PaymentInfraError
from payment_infra.foreign import parsed
from payment_infra.moments import iso
from payment_infra.names import DEAD_LETTER_QUEUE
from payment_infra.wording import counted

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from payment_infra.cloud.environment.environment import Environment

# Messages of one call (SQS API: ReceiveMessage and the batches).
BATCH_SIZE = 10
VISIBILITY_SECONDS = 120
# For how long messages are received, counted from the last that was taken out: those received first
# are still hidden then, and their receipt handles good.
READ_SECONDS = VISIBILITY_SECONDS // 2
# A long poll asks all servers of a queue: what comes back empty is empty (SQS, "Short and long
# polling").
WAIT_SECONDS = 1
# A queue's numbers may be that old (SQS API, GetQueueAttributes).
LAG_SECONDS = 60
POLL_SECONDS = 5

Clock = Callable[[], float]


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
        """Return the whole message for a file, as JSON takes it: what is binary, in base64.

        The receipt handle is not in it: it does not last. Nor is what pays for a payment that could
        not be stored, whose record the message holds.
        """
        fields = {
            **asdict(self),
            "body": _without_capabilities(self.body),
            "sent_at": iso(self.sent_at),
            "attributes": {
                name: {key: _text(value) for key, value in attribute.items()}
                for name, attribute in self.attributes.items()
            },
        }
        del fields["handle"]
        return fields


def depth(environment: Environment, logical_id: str) -> Depth:
    """Return how many messages a queue has; nothing is received."""
    return read_depth(environment.client("sqs"), environment.resource(logical_id))


def receive(client: SQSClient, url: str) -> list[DeadLetter]:
    """Receive at most ten messages, which are hidden from others for VISIBILITY_SECONDS."""
    with translated(f"queue {url}"):
        answer = client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=BATCH_SIZE,
            VisibilityTimeout=VISIBILITY_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
    return list(
        {
            message["MessageId"]: _dead_letter(message) for message in answer.get("Messages", ())
        }.values()
    )


class Reading:
    """Messages of a queue that are received, and held until they are taken out or given back.

    before is the queue's depth before the first was received; messages is those that are held, the
    oldest first; seen is how many came; whole says that the queue gave all that it could give.
    """

    def __init__(self, environment: Environment, logical_id: str, clock: Clock) -> None:
        self.url = environment.resource(logical_id)
        self.before = depth(environment, logical_id)
        self.seen = 0
        self.whole = False
        self._client = environment.client("sqs")
        self._clock = clock
        self._until = clock() + READ_SECONDS
        self._held: dict[str, DeadLetter] = {}

    @property
    def messages(self) -> list[DeadLetter]:
        """The messages that are held, the oldest first."""
        return sorted(self._held.values(), key=lambda message: message.sent_at)

    @property
    def held_elsewhere(self) -> int:
        """About how many messages others hold, or a program that was killed has held."""
        return self._others if self.whole else 0

    @property
    def not_read(self) -> int:
        """About how many messages there was no time to read."""
        return 0 if self.whole else self._others

    def batches(self) -> Iterator[list[DeadLetter]]:
        """Receive, and yield the messages that are new, at most ten at a time.

        Ends when the queue is empty, when it gives only what is held already, or when nothing was
        taken out for READ_SECONDS.
        """
        while self._clock() < self._until:
            received = receive(self._client, self.url)
            fresh = [message for message in received if message.id not in self._held]
            # A message can come twice; the later handle is the one that counts.
            self._held |= {message.id: message for message in received}
            self.seen += len(fresh)
            if not fresh:
                self.whole = not received
                return
            yield fresh

    def take_out(self, message: DeadLetter) -> None:
        """Hold a message no longer: it is deleted."""
        del self._held[message.id]
        self._until = self._clock() + READ_SECONDS

    def give_back(self) -> None:
        """Let others receive what is held; if SQS does not take that, it comes back by itself."""
        for batch in _batches(self.messages):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.handle, "VisibilityTimeout": 0}
                for number, message in enumerate(batch)
            ]
            try:
                self._client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
            except (ClientError, BotoCoreError):
                return

    @property
    def _others(self) -> int:
        return max(0, self.before.total - self.seen)


@contextmanager
def reading(
    environment: Environment, logical_id: str = DEAD_LETTER_QUEUE, clock: Clock = time.monotonic
) -> Iterator[Reading]:
    """Read a queue in the block; give back after it what was not taken out."""
    begun = Reading(environment, logical_id, clock)
    try:
        yield begun
    finally:
        begun.give_back()


def read_dead_letters(environment: Environment, clock: Clock = time.monotonic) -> Reading:
    """Read the dead-letter queue, as far as there is time, and give everything back."""
    with reading(environment, clock=clock) as found:
        for _ in found.batches():
            pass
    return found


def delete(environment: Environment, ids: Collection[str], clock: Clock = time.monotonic) -> int:
    """Delete messages; return how many.

    Raises:
        PaymentInfraError: some were not deleted.
    """
    left, deleted = set(ids), 0
    with reading(environment, clock=clock) as found:
        for messages in found.batches():
            chosen = [message for message in messages if message.id in left]
            left -= {message.id for message in chosen}
            deleted += _delete(environment, found, chosen)
            if not left:
                break
    if deleted < len(ids):
        raise PaymentInfraError(
            f"{counted(deleted, 'message')} of {len(ids)} deleted; the others could not be, or are "
            "held by somebody else: repeat the command"
        )
    return deleted


def wait_for_held(
    environment: Environment, sleep: Callable[[float], None], tell: Callable[[Waiting], None]
) -> None:
    """Wait until nobody holds messages of the dead-letter queue.

    What this program holds comes back by itself, so there is an end to the waiting.

    Raises:
        AwsError: they stay held by somebody else.
    """
    found = looks("queue", lambda: depth(environment, DEAD_LETTER_QUEUE), sleep, (POLL_SECONDS,))
    left = range(VISIBILITY_SECONDS + LAG_SECONDS, -1, -POLL_SECONDS)
    for seconds, now in zip(left, found, strict=False):
        if not now.in_flight:
            return
        tell(Waiting(f"{counted(now.in_flight, 'message')} held, for {seconds} s at most"))
    raise AwsError(
        f"{now.name}: {counted(now.in_flight, 'message')} held by somebody who keeps reading "
        "them; end that, then repeat the command"
    )


def _delete(environment: Environment, found: Reading, messages: Sequence[DeadLetter]) -> int:
    """Delete at most ten messages; return how many are deleted."""
    if not messages:
        return 0
    entries = [
        {"Id": str(number), "ReceiptHandle": message.handle}
        for number, message in enumerate(messages)
    ]
    with translated("the dead-letter queue"):
        answer = environment.client("sqs").delete_message_batch(QueueUrl=found.url, Entries=entries)
    gone = [messages[int(entry["Id"])] for entry in answer.get("Successful", [])]
    for message in gone:
        found.take_out(message)
    return len(gone)


def _batches(messages: Sequence[DeadLetter]) -> Iterator[Sequence[DeadLetter]]:
    for start in range(0, len(messages), BATCH_SIZE):
        yield messages[start : start + BATCH_SIZE]


def _without_capabilities(body: str) -> str:
    message = parsed(body)
    record = message.get("record") if isinstance(message, dict) else None
    if not isinstance(record, dict) or not record.keys() & CAPABILITIES:
        return body
    kept = {name: value for name, value in record.items() if name not in CAPABILITIES}
    return json.dumps({**message, "record": kept})


def _text(value: object) -> object:
    """Return a part of a message attribute as JSON takes it (SQS API, MessageAttributeValue)."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _dead_letter(raw: Any) -> DeadLetter:
    body = parsed(raw["Body"])
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
