"""What a queue says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.sdk.queues import Depth, read_depth
from payment_infra.errors import AwsError
from tests.stacks import Refused

if TYPE_CHECKING:
    from tests.aws import FakeAws

URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/failed-transactions-dev"


def test_messages_count_whether_they_wait_are_held_or_delayed(aws: FakeAws) -> None:
    numbers = {"": 4, "NotVisible": 2, "Delayed": 1}
    aws.answers["sqs:GetQueueAttributes"] = {
        "Attributes": {
            f"ApproximateNumberOfMessages{kind}": str(number) for kind, number in numbers.items()
        }
    }
    depth = read_depth(aws.session().client("sqs"), URL)
    assert depth == Depth("failed-transactions-dev", waiting=4, in_flight=2, delayed=1)
    assert depth.total == 7
    assert aws.called("sqs:GetQueueAttributes") == [{"QueueUrl": URL, "AttributeNames": ["All"]}]


def test_a_queue_that_cannot_be_read_is_named(aws: FakeAws) -> None:
    aws.errors["sqs:GetQueueAttributes"] = Refused("AccessDenied", "no")
    with pytest.raises(AwsError, match=rf"queue {URL}: not allowed to call GetQueueAttributes"):
        read_depth(aws.session().client("sqs"), URL)
