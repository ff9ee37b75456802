"""The file of a queue's messages, while another run writes it too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.environment.locking import Overtaken
from payment_infra.cloud.events import Event, Waiting
from payment_infra.cloud.operating.queue_export import save_messages
from tests.queues import QUEUE, FakeQueues
from tests.stacks import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from payment_infra.cloud.environment.environment import Environment
    from tests.aws import FakeAws


@pytest.mark.parametrize("operation", ["ReceiveMessage", "GetQueueAttributes"])
def test_a_fault_that_passes_does_not_end_it_while_payments_are_stopped(
    operation: str, aws: FakeAws, environment: Environment, tmp_path: Path
) -> None:
    queues, path = FakeQueues(), tmp_path / "queued.jsonl"
    aws.answers |= queues.answers()
    queues.put("first", "x", QUEUE)
    aws.errors[f"sqs:{operation}"] = Refused("ServiceUnavailable", status=503)
    told: list[Event] = []
    assert save_messages(environment, QUEUE, path, lambda _: aws.errors.clear(), told.append) == 1
    assert [one.what for one in told if isinstance(one, Waiting) and "again" in one.what]


def test_a_run_that_was_taken_over_does_not_write_into_the_file_of_the_other(
    aws: FakeAws, environment: Environment, tmp_path: Path
) -> None:
    """It is held after its first receive, with lines of its own not yet on the disk."""
    queues, path = FakeQueues(), tmp_path / "queued.jsonl"
    answers = queues.answers()
    aws.answers |= answers
    queues.put("first", "x" * 100, QUEUE)
    received = 0

    def save() -> int:
        return save_messages(environment, QUEUE, path, lambda _: None, lambda _: None)

    def receive(params: Any) -> Any:
        nonlocal received
        received += 1
        if received == 2:
            queues.now += 1000
            queues.queues[QUEUE].messages.clear()
            queues.put("second", "y", QUEUE)
            assert save() == 1
            raise Overtaken("by another")
        return answers["sqs:ReceiveMessage"](params)

    aws.answers["sqs:ReceiveMessage"] = receive
    with pytest.raises(Overtaken):
        save()
    assert [json.loads(line)["body"] for line in path.read_text().splitlines()] == ["y"]
