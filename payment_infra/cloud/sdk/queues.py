"""What a queue says of itself: how many messages it has; none is received for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from payment_infra.cloud.sdk.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True)
class Depth:
    """A queue's own numbers, which are about right."""

    name: str
    waiting: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """How many messages the queue has."""
        return self.waiting + self.in_flight + self.delayed


def read_depth(client: SQSClient, url: str) -> Depth:
    """Return how many messages the queue with this URL has."""
    with translated(f"queue {url}"):
        answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    attributes = answer["Attributes"]
    return Depth(
        name=name_of(url),
        waiting=int(attributes["ApproximateNumberOfMessages"]),
        in_flight=int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        delayed=int(attributes["ApproximateNumberOfMessagesDelayed"]),
    )


def name_of(url: str) -> str:
    """Return the name of the queue with this URL."""
    return url.rpartition("/")[2]
