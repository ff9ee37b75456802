from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.environment.locking import Lock
from payment_infra.cloud.events import Caution, LastOperation, StackEvent
from payment_infra.cloud.stacks import intervention
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.errors import AwsError, Interrupted
from tests.aws import FakeAws, FakeStack, event
from tests.operators import FakeOperator
from tests.stacks import own_event

if TYPE_CHECKING:
    from payment_infra.cloud.events import Result
    from payment_infra.cloud.stacks.stack import Stack, StackState

NAME = "payment-infra-dev"


def exists(aws: FakeAws, status: str) -> FakeStack:
    aws.stacks[NAME] = FakeStack(NAME, status)
    return aws.stacks[NAME]


def anything(_: StackState) -> None:
    """Let any stack be touched."""


def test_watch_shows_the_operation_and_says_what_it_came_to(
    aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    busy = exists(aws, "UPDATE_IN_PROGRESS")
    busy.happen("UPDATE_IN_PROGRESS", [own_event(busy, 0, "UPDATE_IN_PROGRESS")])
    busy.timeline.extend([("UPDATE_IN_PROGRESS", []), ("UPDATE_COMPLETE", [])])
    assert intervention.watch(stack, operator).status == "UPDATE_COMPLETE"
    assert len(operator.of(StackEvent)) == 1


@pytest.mark.parametrize(
    ("status", "error"), [("ROLLBACK_COMPLETE", DeploymentFailed), (None, AwsError)]
)
def test_watch_of_nothing_tells_how_it_stands(
    status: str | None,
    error: type[Exception],
    aws: FakeAws,
    stack: Stack,
    operator: FakeOperator,
) -> None:
    if status:
        exists(aws, status)
    with pytest.raises(error):
        intervention.watch(stack, operator)
    exists(aws, "UPDATE_COMPLETE")
    assert not intervention.watch(stack, operator).changed


def test_watch_of_nothing_tells_of_the_last_operation(
    aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    rested = exists(aws, "CREATE_COMPLETE")
    rested.happen(
        "CREATE_COMPLETE",
        [
            own_event(rested, 0, "CREATE_IN_PROGRESS"),
            event(1, "Old", "CREATE_FAILED", "long ago"),
            own_event(rested, 2, "CREATE_COMPLETE"),
        ],
    )
    ends = [
        own_event(rested, 60, "UPDATE_IN_PROGRESS", token="payment-infra-alice-0123456789ab"),
        event(61, "Queue", "UPDATE_IN_PROGRESS"),
        event(70, "Queue", "UPDATE_FAILED", "Limit exceeded"),
        event(71, "Topic", "UPDATE_FAILED", "Resource update cancelled"),
        own_event(rested, 72, "UPDATE_ROLLBACK_IN_PROGRESS"),
        own_event(rested, 150, "UPDATE_ROLLBACK_COMPLETE"),
    ]
    rested.happen("UPDATE_ROLLBACK_COMPLETE", ends)
    assert not intervention.watch(stack, operator).changed
    [last] = operator.of(LastOperation)
    assert (last.ended - last.began, last.resources) == (timedelta(seconds=90), 2)
    assert last.begun == "begun by alice with payment-infra"
    assert [failed.logical_id for failed in last.failed] == ["Queue", "Topic"]
    rested.happen("UPDATE_ROLLBACK_FAILED")
    with pytest.raises(DeploymentFailed, match=r"the last one: Queue.*Limit exceeded") as raised:
        intervention.watch(stack, operator)
    assert raised.value.diagnosis is not None


@pytest.mark.parametrize("operation", [intervention.watch, intervention.cancel])
def test_ctrl_c_says_that_the_operation_goes_on(
    operation: Callable[..., object], aws: FakeAws, stack: Stack
) -> None:
    busy = exists(aws, "UPDATE_IN_PROGRESS")
    busy.happen("UPDATE_IN_PROGRESS", [own_event(busy, 0, "UPDATE_IN_PROGRESS")])

    def press(_: object) -> None:
        raise KeyboardInterrupt

    options = {"yes": True, "check": anything} if operation is intervention.cancel else {}
    with pytest.raises(Interrupted, match=f"the operation on {NAME} is still in progress"):
        operation(stack, FakeOperator(on_tell=press), **options)


def test_cancel_asks_and_says_what_it_came_to(
    aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, "UPDATE_IN_PROGRESS")
    result = intervention.cancel(stack, operator, check=anything, yes=False)
    assert result.status == "UPDATE_ROLLBACK_COMPLETE"
    assert operator.asked == [f"Cancel the operation on {NAME}, and roll it back?"]


def test_cancel_leaves_alone_what_came_after_the_operation_that_it_showed(
    aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, "CREATE_IN_PROGRESS")

    def meanwhile(question: str, agreed: bool, flag: str = "--yes") -> None:
        exists(aws, "CREATE_COMPLETE")

    operator.confirm = meanwhile  # type: ignore[method-assign]
    with pytest.raises(AwsError, match="only a creation or an update in progress can be cancelled"):
        intervention.cancel(stack, operator, check=anything, yes=False)
    exists(aws, "UPDATE_IN_PROGRESS")

    def another(question: str, agreed: bool, flag: str = "--yes") -> None:
        exists(aws, "UPDATE_IN_PROGRESS").changed_at += timedelta(seconds=1)

    operator.confirm = another  # type: ignore[method-assign]
    with pytest.raises(AwsError, match="has ended, and another may have begun"):
        intervention.cancel(stack, operator, check=anything, yes=False)
    assert aws.changes() == []


def test_cancel_says_what_stays_in_the_way(
    aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, "CREATE_IN_PROGRESS")
    aws.timeline = [("DELETE_COMPLETE", [event(1, "Table", "DELETE_SKIPPED")])]
    intervention.cancel(stack, operator, check=anything, yes=True)
    [caution] = operator.of(Caution)
    assert caution.message.startswith("Table: kept")


def roll_back(aws: FakeAws, stack: Stack, operator: FakeOperator) -> Result:
    lock = partial(Lock.acquire, aws.session(), stack, "rollback", operator.tell)
    return intervention.roll_back(stack, operator, check=anything, lock=lock, yes=False)


@pytest.mark.parametrize(
    ("status", "comes_to"),
    [
        ("CREATE_FAILED", "ROLLBACK_COMPLETE"),
        ("UPDATE_FAILED", "UPDATE_ROLLBACK_COMPLETE"),
        ("UPDATE_ROLLBACK_FAILED", "UPDATE_ROLLBACK_COMPLETE"),
    ],
)
def test_rollback_undoes_what_failed(
    status: str, comes_to: str, aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, status)
    assert roll_back(aws, stack, operator).status == comes_to
    assert operator.asked == [f"stack {NAME} is {status}. Roll it back?"]


def test_nothing_that_is_complete_is_rolled_back(
    aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, "UPDATE_COMPLETE")
    with pytest.raises(AwsError, match="there is nothing to roll back"):
        roll_back(aws, stack, operator)
    assert aws.called("dynamodb:UpdateItem") == []
