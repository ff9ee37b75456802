from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.operations import redriving
from payment_infra.cloud.operations.dead_letters import borrowed, delete
from payment_infra.errors import AwsError, Interrupted, PaymentInfraError
from tests.queues import DEAD_LETTERS, QUEUE, FakeQueues
from tests.stacks import Refused

if TYPE_CHECKING:
    from payment_infra.cloud.operations.environment import Environment
    from tests.aws import FakeAws


def ignore(_: object) -> None:
    pass


@pytest.fixture
def queues(aws: FakeAws) -> FakeQueues:
    queues = FakeQueues()
    aws.answers |= queues.answers()
    return queues


def fill(queues: FakeQueues, number: int) -> list[str]:
    for one in range(number):
        body = {"transaction_id": f"t-{one}", "operation": "process", "reason": "gateway_timeout"}
        queues.put(f"m-{one}", json.dumps(body))
    return [f"m-{one}" for one in range(number)]


def test_every_message_is_read_past_one_call_and_given_back(
    environment: Environment, queues: FakeQueues
) -> None:
    names = fill(queues, 123)
    with borrowed(environment) as messages:
        assert queues.waiting[DEAD_LETTERS] == {}
        assert {one.id for one in messages} == set(names)
        assert messages[0].transaction_id == "t-0"
    assert set(queues.waiting[DEAD_LETTERS]) == set(names)
    assert queues.hidden[DEAD_LETTERS] == {}


@pytest.mark.parametrize("body", ["rubbish", "[1]", '{"transaction_id": 7}', "[" * 100_000])
def test_a_message_of_another_kind_is_shown_as_what_it_is(
    environment: Environment, queues: FakeQueues, body: str
) -> None:
    queues.put("m", body)
    with borrowed(environment) as [message]:
        assert (message.transaction_id, message.operation, message.body) == ("", "", body)


def test_what_was_received_is_given_back_when_the_reading_fails(
    aws: FakeAws, environment: Environment, queues: FakeQueues
) -> None:
    fill(queues, 20)
    receive = queues.answers()["sqs:ReceiveMessage"]

    def fail_later(params: Any) -> Any:
        if queues.hidden[DEAD_LETTERS]:
            raise KeyboardInterrupt
        return receive(params)

    aws.answers["sqs:ReceiveMessage"] = fail_later
    with pytest.raises(KeyboardInterrupt), borrowed(environment):
        pass
    assert len(queues.waiting[DEAD_LETTERS]) == 20


def test_a_message_is_sent_before_it_is_deleted_so_that_a_crash_loses_none(
    environment: Environment, queues: FakeQueues
) -> None:
    names = fill(queues, 3)

    def crash() -> None:
        raise KeyboardInterrupt

    queues.on_delete["m-1"] = crash
    with pytest.raises(KeyboardInterrupt):
        redriving.move(environment, names, None, ignore, ignore)
    sent = [json.loads(one["Body"])["transaction_id"] for one in queues.waiting[QUEUE].values()]
    assert sent == ["t-0", "t-1"]
    assert set(queues.waiting[DEAD_LETTERS]) == {"m-1", "m-2"}
    attributes = [one["MessageAttributes"] for one in queues.waiting[QUEUE].values()]
    assert [one["trace"]["StringValue"] for one in attributes] == ["m-0", "m-1"]


def test_what_could_not_be_moved_stays_and_is_told(
    aws: FakeAws, environment: Environment, queues: FakeQueues
) -> None:
    names = fill(queues, 3)
    send = queues.answers()["sqs:SendMessage"]

    def refuse_one(params: Any) -> Any:
        if "t-1" in params["MessageBody"]:
            raise Refused("InternalError", "try later")
        return send(params)

    aws.answers["sqs:SendMessage"] = refuse_one
    with pytest.raises(PaymentInfraError, match="2 messages were moved and 1 were not"):
        redriving.move(environment, names, None, ignore, ignore)
    assert set(queues.waiting[DEAD_LETTERS]) == {"m-1"}


def test_messages_are_sent_at_the_rate_that_was_asked_for(
    environment: Environment, queues: FakeQueues
) -> None:
    pauses: list[float] = []
    assert redriving.move(environment, fill(queues, 4), 4, pauses.append, ignore) == 4
    assert pauses == [0.25] * 4


def test_only_the_chosen_messages_are_deleted(environment: Environment, queues: FakeQueues) -> None:
    names = fill(queues, 25)
    queues.put("since", "came later")
    assert delete(environment, names) == 25
    assert set(queues.waiting[DEAD_LETTERS]) == {"since"}


def test_what_could_not_be_deleted_is_told_and_stays(
    environment: Environment, queues: FakeQueues
) -> None:
    def refuse() -> None:
        raise Refused("InternalError")

    queues.on_delete["m-1"] = refuse
    with pytest.raises(PaymentInfraError, match="1 messages were deleted and 1 were not"):
        delete(environment, fill(queues, 2))
    assert set(queues.waiting[DEAD_LETTERS]) == {"m-1"}


# The shapes of StartMessageMoveTask and ListMessageMoveTasks in the SQS API Reference.
def task(status: str, moved: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "Results": [
            {
                "TaskHandle": "task-1",
                "Status": status,
                "SourceArn": "arn:aws:sqs:eu-central-1:123456789012:d",
                "ApproximateNumberOfMessagesMoved": moved,
                "ApproximateNumberOfMessagesToMove": 7,
                "StartedTimestamp": 1,
                **more,
            }
        ]
    }


def test_sqs_moves_all_messages_where_it_can(
    aws: FakeAws, environment: Environment, queues: FakeQueues
) -> None:
    states = iter([task("RUNNING", 3), task("COMPLETED", 7)])
    aws.answers["sqs:StartMessageMoveTask"] = {"TaskHandle": "task-1"}
    aws.answers["sqs:ListMessageMoveTasks"] = lambda _: next(states)
    told: list[Any] = []
    assert redriving.move_all(environment, 5, ignore, told.append) == 7
    assert [one.what for one in told] == ["3 of 7 moved"]
    [started] = aws.called("sqs:StartMessageMoveTask")
    assert started == {
        "SourceArn": f"arn:aws:sqs:eu-central-1:123456789012:{DEAD_LETTERS}",
        "DestinationArn": f"arn:aws:sqs:eu-central-1:123456789012:{QUEUE}",
        "MaxNumberOfMessagesPerSecond": 5,
    }


def test_an_endpoint_without_such_tasks_says_so_and_a_denied_one_fails(
    aws: FakeAws, environment: Environment, queues: FakeQueues
) -> None:
    aws.errors["sqs:StartMessageMoveTask"] = Refused("InvalidAction")
    assert redriving.move_all(environment, None, ignore, ignore) is None
    aws.errors["sqs:StartMessageMoveTask"] = Refused("AccessDenied")
    with pytest.raises(AwsError, match="not allowed to call StartMessageMoveTask"):
        redriving.move_all(environment, None, ignore, ignore)


def test_a_task_that_fails_says_why_and_ctrl_c_leaves_it_alone(
    aws: FakeAws, environment: Environment, queues: FakeQueues
) -> None:
    aws.answers["sqs:StartMessageMoveTask"] = {"TaskHandle": "task-1"}
    aws.answers["sqs:ListMessageMoveTasks"] = task("FAILED", 2, FailureReason="AccessDenied")
    with pytest.raises(AwsError, match="AccessDenied; 2 messages were moved"):
        redriving.move_all(environment, None, ignore, ignore)
    aws.answers["sqs:ListMessageMoveTasks"] = task("RUNNING", 2)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="redrive --cancel"):
        redriving.move_all(environment, None, interrupt, ignore)
    aws.answers["sqs:CancelMessageMoveTask"] = {"ApproximateNumberOfMessagesMoved": 4}
    assert redriving.cancel_move(environment) == 4
    assert aws.called("sqs:CancelMessageMoveTask") == [{"TaskHandle": "task-1"}]
    aws.answers["sqs:ListMessageMoveTasks"] = task("COMPLETED", 7)
    with pytest.raises(AwsError, match="no message move task goes on"):
        redriving.cancel_move(environment)


def test_a_task_that_somebody_cancels_says_how_far_it_came(
    aws: FakeAws, environment: Environment, queues: FakeQueues
) -> None:
    states = iter([task("RUNNING", 1), task("CANCELLING", 3), task("CANCELLED", 4)])
    aws.answers["sqs:StartMessageMoveTask"] = {"TaskHandle": "task-1"}
    aws.answers["sqs:ListMessageMoveTasks"] = lambda _: next(states)
    told: list[Any] = []
    with pytest.raises(AwsError, match="cancelled; 4 messages were moved, the others are where"):
        redriving.move_all(environment, None, ignore, told.append)
    assert [one.what for one in told] == ["1 of 7 moved", "3 of 7 moved"]


def test_a_task_is_looked_at_again_where_that_is_throttled_or_it_is_not_listed_yet(
    aws: FakeAws, environment: Environment, queues: FakeQueues
) -> None:
    looks = iter(
        [Refused("ThrottlingException"), {"Results": []}, task("RUNNING"), task("COMPLETED", 7)]
    )

    def answer(_: object) -> Any:
        look = next(looks)
        if isinstance(look, Refused):
            raise look
        return look

    aws.answers["sqs:StartMessageMoveTask"] = {"TaskHandle": "task-1"}
    aws.answers["sqs:ListMessageMoveTasks"] = answer
    assert redriving.move_all(environment, None, ignore, ignore) == 7
    assert aws.called("sqs:ListMessageMoveTasks")[0] == {
        "SourceArn": f"arn:aws:sqs:eu-central-1:123456789012:{DEAD_LETTERS}",
        "MaxResults": 1,
    }


def test_a_second_task_is_refused_by_sqs_in_one_line(
    aws: FakeAws, environment: Environment, queues: FakeQueues
) -> None:
    aws.errors["sqs:StartMessageMoveTask"] = Refused(
        "AWS.SimpleQueueService.UnsupportedOperation", "There is already a task running."
    )
    with pytest.raises(AwsError, match="StartMessageMoveTask failed: There is already a task"):
        redriving.move_all(environment, None, ignore, ignore)


def test_where_there_never_was_a_task_none_can_be_cancelled(
    aws: FakeAws, environment: Environment, queues: FakeQueues
) -> None:
    aws.answers["sqs:ListMessageMoveTasks"] = {"Results": []}
    with pytest.raises(AwsError, match="no message move task goes on"):
        redriving.cancel_move(environment)
    assert aws.called("sqs:CancelMessageMoveTask") == []
