from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.operating import redriving
from payment_infra.cloud.operating.dead_letters import (
    LAG_SECONDS,
    READ_SECONDS,
    VISIBILITY_SECONDS,
    delete,
    read_dead_letters,
    reading,
    wait_for_held,
)
from payment_infra.cloud.operating.redriving import Wanted
from payment_infra.errors import AwsError, Interrupted, PaymentInfraError
from tests.queues import DEAD_LETTERS, QUEUE, FakeQueues
from tests.stacks import Refused

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
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


def wanted(names: list[str]) -> Wanted:
    return Wanted(len(names), names)


def test_every_message_is_read_past_one_call_and_given_back(
    environment: Environment, queues: FakeQueues
) -> None:
    names = fill(queues, 123)
    with reading(environment) as found:
        assert sum(map(len, found.batches())) == 123
        assert queues.waiting() == {}
        assert {one.id for one in found.messages} == set(names)
        assert found.messages[0].transaction_id == "t-0"
    assert (found.held_elsewhere, found.not_read) == (0, 0)
    assert set(queues.waiting()) == set(names)
    assert queues.hidden() == {}


def test_a_reading_ends_while_what_came_first_is_still_hidden_and_counts_the_rest(
    environment: Environment, queues: FakeQueues
) -> None:
    fill(queues, 260)
    queues.receive_seconds = 5
    found = read_dead_letters(environment, lambda: queues.now)
    assert queues.now == READ_SECONDS < VISIBILITY_SECONDS
    assert len(found.messages) == 120
    assert (found.held_elsewhere, found.not_read) == (0, 140)
    assert len(queues.waiting()) == 260


def test_a_reading_ends_when_only_what_it_holds_comes_again(
    environment: Environment, queues: FakeQueues
) -> None:
    fill(queues, 12)
    queues.put("elsewhere", "{}")
    queues.hide(DEAD_LETTERS, ["elsewhere"], 1e9)
    queues.receive_seconds = VISIBILITY_SECONDS / 2
    found = read_dead_letters(environment, lambda: 0)
    assert len(found.messages) == 12
    assert (found.held_elsewhere, found.not_read) == (0, 1)
    assert queues.now < 10 * VISIBILITY_SECONDS


@pytest.mark.parametrize("everything", [True, False])
def test_a_slow_endpoint_takes_longer_to_delete_and_move_and_leaves_none(
    environment: Environment, queues: FakeQueues, everything: bool
) -> None:
    names, clock = fill(queues, 260), lambda: queues.now
    queues.receive_seconds = 5
    assert delete(environment, names[:130], clock) == 130
    some = Wanted(130) if everything else wanted(names[130:])
    assert redriving.move(environment, some, None, ignore, ignore, clock) == 130
    assert queues.waiting() == {}
    assert len(queues.waiting(QUEUE)) == 130


def test_moving_any_ends_at_the_number_though_more_come(
    environment: Environment, queues: FakeQueues
) -> None:
    fill(queues, 3)

    def fail_again(_: object) -> None:
        queues.put(f"again-{len(queues.waiting(QUEUE))}", "{}")

    assert redriving.move(environment, Wanted(3), None, ignore, fail_again) == 3
    assert set(queues.waiting()) == {"again-1", "again-2", "again-3"}


def test_what_a_killed_run_holds_is_counted_and_comes_back(
    environment: Environment, queues: FakeQueues
) -> None:
    names = fill(queues, 15)
    queues.hide(DEAD_LETTERS, names[:12], VISIBILITY_SECONDS)
    found = read_dead_letters(environment)
    assert (len(found.messages), found.held_elsewhere, found.not_read) == (3, 12, 0)
    told: list[Any] = []

    def sleep(seconds: float) -> None:
        queues.now += seconds

    wait_for_held(environment, sleep, told.append)
    assert queues.now == VISIBILITY_SECONDS
    assert told[0].what == "12 messages held, for 180 s at most"
    assert len(read_dead_letters(environment).messages) == 15


def test_a_fault_that_passes_does_not_end_the_waiting(
    environment: Environment, aws: FakeAws, queues: FakeQueues
) -> None:
    queues.hide(DEAD_LETTERS, fill(queues, 2), 1)

    def sleep(seconds: float) -> None:
        queues.now += seconds
        if aws.errors:
            aws.errors.clear()
        else:
            aws.errors["sqs:GetQueueAttributes"] = Refused("InternalFailure", status=500)

    wait_for_held(environment, sleep, ignore)
    assert queues.now == 10


def test_a_message_that_comes_twice_is_given_back_by_its_later_handle(
    environment: Environment, queues: FakeQueues
) -> None:
    fill(queues, 1)
    # By the program's clock no time has gone by, and yet the message comes once more.
    queues.receive_seconds = VISIBILITY_SECONDS
    found = read_dead_letters(environment, lambda: 0)
    assert [one.handle for one in found.messages] == ["m-0/5"]
    assert (set(queues.waiting()), queues.hidden()) == ({"m-0"}, {})


def test_what_somebody_goes_on_holding_is_not_waited_for_without_end(
    environment: Environment, queues: FakeQueues
) -> None:
    queues.hide(DEAD_LETTERS, fill(queues, 2), 1)

    def sleep(seconds: float) -> None:
        queues.now += seconds
        queues.hide(DEAD_LETTERS, queues.queues[DEAD_LETTERS].messages, 1)

    with pytest.raises(AwsError, match="2 messages held by somebody who keeps reading them"):
        wait_for_held(environment, sleep, ignore)
    assert queues.now == VISIBILITY_SECONDS + LAG_SECONDS


DEEP = "[" * 900 + "]" * 900
FOREIGN = ["rubbish", "[1]", '{"transaction_id": 7}', "[" * 100_000, DEEP, "[NaN]", "[1e999]"]


@pytest.mark.parametrize("body", [*FOREIGN, '{"reason": "\\ud800"}', "\x1b[2J\u202e"])
def test_a_message_of_another_kind_is_shown_as_what_it_is(
    environment: Environment, queues: FakeQueues, body: str
) -> None:
    queues.put("m", body)
    [message] = read_dead_letters(environment).messages
    assert (message.transaction_id, message.operation, message.body) == ("", "", body)
    document = json.loads(json.dumps(message.document(), allow_nan=False))
    assert document["body"] == body


def test_what_pays_is_left_out_of_a_file_and_is_sent_back(
    environment: Environment, queues: FakeQueues
) -> None:
    record = {"transaction_id": "t-1", "amount_minor": 1, "return_url": "https://shop.example/"}
    message = {"operation": "validate", "transaction_id": "t-1", "record": record}
    body = json.dumps(message | {"record": record | {"payment_method": "pm_1"}})
    queues.put("m", body)
    [found] = read_dead_letters(environment).messages
    assert json.loads(found.document()["body"]) == message
    assert redriving.move(environment, wanted(["m"]), None, ignore, ignore) == 1
    [sent] = queues.waiting(QUEUE).values()
    assert sent.body == body


@pytest.mark.parametrize("record", [None, [], "payment_method", {"amount": 1.0}])
def test_the_body_of_a_message_without_is_in_a_file_as_it_is(
    environment: Environment, queues: FakeQueues, record: object
) -> None:
    body = json.dumps({"record": record, "payment_method": "of another system"}, indent=1)
    queues.put("m", body)
    [found] = read_dead_letters(environment).messages
    assert found.document()["body"] == body


def test_a_binary_attribute_is_exported_in_base64_and_sent_back_as_it_is(
    environment: Environment, queues: FakeQueues
) -> None:
    binary = {"DataType": "Binary", "BinaryValue": b"\xff\x00"}
    queues.put("m", "{}", attributes={"raw": binary})
    [message] = read_dead_letters(environment).messages
    assert message.document()["attributes"] == {
        "raw": {"DataType": "Binary", "BinaryValue": "/wA="}
    }
    assert redriving.move(environment, wanted(["m"]), None, ignore, ignore) == 1
    [sent] = queues.waiting(QUEUE).values()
    assert sent.attributes == {"raw": binary}


def test_what_was_received_is_given_back_when_the_reading_fails(
    aws: FakeAws, environment: Environment, queues: FakeQueues
) -> None:
    fill(queues, 20)
    receive = queues.answers()["sqs:ReceiveMessage"]

    def fail_later(params: Any) -> Any:
        if queues.hidden():
            raise KeyboardInterrupt
        return receive(params)

    aws.answers["sqs:ReceiveMessage"] = fail_later
    with pytest.raises(KeyboardInterrupt):
        read_dead_letters(environment)
    assert len(queues.waiting()) == 20


def test_what_cannot_be_given_back_hides_neither_the_messages_nor_an_error(
    aws: FakeAws, environment: Environment, queues: FakeQueues
) -> None:
    fill(queues, 2)
    aws.errors["sqs:ChangeMessageVisibilityBatch"] = Refused("AccessDenied")
    assert len(read_dead_letters(environment).messages) == 2


def test_a_message_is_sent_before_it_is_deleted_so_that_a_crash_loses_none(
    environment: Environment, queues: FakeQueues
) -> None:
    names = fill(queues, 3)

    def crash() -> None:
        raise KeyboardInterrupt

    queues.on_delete["m-1"] = crash
    with pytest.raises(KeyboardInterrupt):
        redriving.move(environment, wanted(names), None, ignore, ignore)
    sent = [json.loads(one.body)["transaction_id"] for one in queues.waiting(QUEUE).values()]
    assert sent == ["t-0", "t-1"]
    assert set(queues.waiting()) == {"m-1", "m-2"}
    attributes = [one.attributes for one in queues.waiting(QUEUE).values()]
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
        redriving.move(environment, wanted(names), None, ignore, ignore)
    assert set(queues.waiting()) == {"m-1"}


def test_messages_are_sent_at_the_rate_that_was_asked_for(
    environment: Environment, queues: FakeQueues
) -> None:
    pauses: list[float] = []
    assert redriving.move(environment, wanted(fill(queues, 4)), 4, pauses.append, ignore) == 4
    assert pauses == [0.25] * 4


def test_only_the_chosen_messages_are_deleted(environment: Environment, queues: FakeQueues) -> None:
    names = fill(queues, 25)
    queues.put("since", "came later")
    assert delete(environment, names) == 25
    assert set(queues.waiting()) == {"since"}


def test_what_could_not_be_deleted_is_told_and_stays(
    environment: Environment, queues: FakeQueues
) -> None:
    def refuse() -> None:
        raise Refused("InternalError")

    queues.on_delete["m-1"] = refuse
    with pytest.raises(PaymentInfraError, match="1 message of 2 deleted"):
        delete(environment, fill(queues, 2))
    assert set(queues.waiting()) == {"m-1"}


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

    with pytest.raises(Interrupted, match="`payment-infra failed redrive --cancel --suffix "):
        redriving.move_all(environment, None, interrupt, ignore)
    aws.answers["sqs:CancelMessageMoveTask"] = {"ApproximateNumberOfMessagesMoved": 4}
    assert redriving.cancel_move(environment) == 4
    assert aws.called("sqs:CancelMessageMoveTask") == [{"TaskHandle": "task-1"}]
    aws.answers["sqs:ListMessageMoveTasks"] = task("COMPLETED", 7)
    with pytest.raises(AwsError, match="no message move task is in progress"):
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
    with pytest.raises(AwsError, match="no message move task is in progress"):
        redriving.cancel_move(environment)
    assert aws.called("sqs:CancelMessageMoveTask") == []
