from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError

from payment_infra.cloud.events import StackEvent, Waiting
from payment_infra.cloud.sdk.polling import MAX_FAILED_LOOKS, POLL_SECONDS
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.following import Following
from payment_infra.errors import AwsError
from tests.aws import FakeAws, FakeStack, Refused, event
from tests.stacks import Answer, own_event

NAME = "payment-infra-dev"


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that were made, none of which took any time."""
    return []


@pytest.fixture
def stack(aws: FakeAws) -> FakeStack:
    """A stack with ten events of its past."""
    aws.stacks[NAME] = FakeStack(NAME)
    earlier = [event(number, "Old", "CREATE_COMPLETE") for number in range(10)]
    aws.stacks[NAME].happen("CREATE_COMPLETE", earlier)
    return aws.stacks[NAME]


def following(aws: FakeAws, stack: FakeStack, pauses: list[float]) -> Following:
    return Following(
        aws.session().client("cloudformation"), NAME, stack.id, pauses.append, "--suffix dev"
    )


def update(stack: FakeStack, *looks: tuple[str, list[Answer]], token: str = "") -> None:
    """Begin an update that comes to this, look by look."""
    stack.happen("UPDATE_IN_PROGRESS", [own_event(stack, 10, "UPDATE_IN_PROGRESS", token=token)])
    stack.timeline.extend(looks)


def ids(events: list[Any]) -> list[str]:
    return [one.id for one in events if isinstance(one, StackEvent)]


@pytest.mark.parametrize("page_size", [1, 2, 3, 5, 100])
def test_an_operation_yields_its_own_events_in_order_and_each_once(
    page_size: int, aws: FakeAws, stack: FakeStack, pauses: list[float]
) -> None:
    aws.page_size = page_size
    follow = following(aws, stack, pauses)
    follow.skip_past()
    update(
        stack,
        ("UPDATE_IN_PROGRESS", [event(11, "A", "UPDATE_IN_PROGRESS")]),
        ("UPDATE_IN_PROGRESS", []),
        ("UPDATE_IN_PROGRESS", [event(n, "A", "UPDATE_IN_PROGRESS") for n in range(12, 19)]),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", [event(19, "A", "UPDATE_COMPLETE")]),
        ("UPDATE_COMPLETE", [event(20, NAME, "UPDATE_COMPLETE")]),
    )
    seen = list(follow.events())
    assert ids(seen) == [f"event-{number}" for number in range(10, 21)]
    assert sum(isinstance(one, Waiting) for one in seen) == 1
    assert pauses == list(POLL_SECONDS[:4])


@pytest.mark.parametrize("page_size", [1, 3, 100])
def test_who_comes_later_sees_the_operation_from_its_start(
    page_size: int, aws: FakeAws, stack: FakeStack, pauses: list[float]
) -> None:
    aws.page_size = page_size
    update(stack, ("UPDATE_COMPLETE", [event(12, NAME, "UPDATE_COMPLETE")]), token="who")
    stack.happen("UPDATE_IN_PROGRESS", [event(11, "A", "UPDATE_IN_PROGRESS")])
    follow = following(aws, stack, pauses)
    assert follow.token_of_last_operation() == "who"
    follow.skip_to_last_operation()
    assert ids(list(follow.events())) == ["event-10", "event-11", "event-12"]


def test_a_stack_that_still_has_its_last_status_has_not_ended(
    aws: FakeAws, stack: FakeStack, pauses: list[float]
) -> None:
    follow = following(aws, stack, pauses)
    follow.skip_past()
    stack.timeline.extend([("CREATE_COMPLETE", []), ("CREATE_COMPLETE", [])])
    stack.timeline.append(("UPDATE_COMPLETE", [own_event(stack, 10, "UPDATE_COMPLETE")]))
    assert ids(list(follow.events())) == ["event-10"]


def test_a_status_that_is_seen_just_before_the_first_events_is_no_end(
    aws: FakeAws, stack: FakeStack, pauses: list[float]
) -> None:
    follow = following(aws, stack, pauses)
    follow.skip_past()
    # The status is looked at first, and by the time of the events the update has begun.
    stack.timeline.append(("CREATE_COMPLETE", [own_event(stack, 10, "UPDATE_IN_PROGRESS")]))
    failed = [event(11, "A", "UPDATE_FAILED", "no")]
    stack.timeline.append(("UPDATE_IN_PROGRESS", failed))
    stack.timeline.append(("UPDATE_ROLLBACK_COMPLETE", []))
    with pytest.raises(DeploymentFailed, match="is UPDATE_ROLLBACK_COMPLETE: A"):
        list(follow.events())


@pytest.mark.parametrize(
    "trouble",
    [
        Refused("Throttling"),
        Refused("InternalFailure", status=500),
        EndpointConnectionError(endpoint_url="https://cloudformation"),
        ConnectTimeoutError(endpoint_url="https://cloudformation"),
    ],
)
@pytest.mark.parametrize("operation", ["DescribeStacks", "DescribeStackEvents"])
def test_a_look_that_fails_for_a_while_is_made_again_and_fails_nothing(
    operation: str, trouble: Exception, aws: FakeAws, stack: FakeStack, pauses: list[float]
) -> None:
    follow = following(aws, stack, pauses)
    follow.skip_past()
    update(stack)
    aws.errors[f"cloudformation:{operation}"] = trouble
    events = follow.events()
    assert [type(next(events)) for _ in range(3)] == [Waiting] * 3
    aws.errors.clear()
    stack.timeline.append(("UPDATE_COMPLETE", [event(11, NAME, "UPDATE_COMPLETE")]))
    assert ids(list(events)) == ["event-10", "event-11"]


def test_why_a_look_failed_is_told(aws: FakeAws, stack: FakeStack, pauses: list[float]) -> None:
    follow = following(aws, stack, pauses)
    update(stack)
    events = follow.events()
    for trouble, told in (
        (Refused("Throttling"), "AWS throttles DescribeStacks"),
        (EndpointConnectionError(endpoint_url="https://aws"), "aws cannot be reached"),
    ):
        aws.errors["cloudformation:DescribeStacks"] = trouble
        assert next(events) == Waiting(f"{told}, trying again")


@pytest.mark.parametrize(
    ("trouble", "looks"), [("ExpiredToken", 0), ("AccessDenied", 0), ("Throttling", 59)]
)
def test_a_stack_that_is_out_of_sight_says_that_the_operation_goes_on(
    trouble: str, looks: int, aws: FakeAws, stack: FakeStack, pauses: list[float]
) -> None:
    follow = following(aws, stack, pauses)
    follow.skip_past()
    update(stack)
    aws.errors["cloudformation:DescribeStacks"] = Refused(trouble)
    events = follow.events()
    with pytest.raises(
        AwsError, match="can no longer be read, and its operation is still in progress"
    ):
        list(events)
    assert len(pauses) == looks < MAX_FAILED_LOOKS


def test_only_looks_that_fail_in_a_row_put_a_stack_out_of_sight(
    aws: FakeAws, stack: FakeStack, pauses: list[float]
) -> None:
    follow = following(aws, stack, pauses)
    follow.skip_past()
    update(stack)
    events = follow.events()
    for number in (10, 11):
        aws.errors["cloudformation:DescribeStacks"] = Refused("Throttling")
        fails = [next(events) for _ in range(MAX_FAILED_LOOKS - 1)]
        assert {type(one) for one in fails} == {Waiting}
        aws.errors.clear()
        assert ids([next(events)]) == [f"event-{number}"]
        stack.timeline.append(("UPDATE_COMPLETE", [event(11, NAME, "UPDATE_COMPLETE")]))


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "CREATE_FAILED", "UPDATE_FAILED"])
def test_a_failure_is_told_after_all_of_its_events(
    status: str, aws: FakeAws, stack: FakeStack, pauses: list[float]
) -> None:
    follow = following(aws, stack, pauses)
    follow.skip_past()
    update(stack, (status, [event(11, "A", "UPDATE_FAILED", "no")]))
    events = follow.events()
    seen = [next(events), next(events)]
    with pytest.raises(DeploymentFailed, match=f"stack {NAME} is {status}") as failed:
        next(events)
    assert list(failed.value.events) == seen
    assert failed.value.exit_code == 3


def test_what_a_rollback_is_to_come_to_is_its_success(
    aws: FakeAws, stack: FakeStack, pauses: list[float]
) -> None:
    follow = following(aws, stack, pauses)
    follow.skip_past()
    update(stack, ("UPDATE_ROLLBACK_COMPLETE", []))
    assert ids(list(follow.events({"UPDATE_ROLLBACK_COMPLETE"}))) == ["event-10"]


@pytest.mark.parametrize("later", [False, True])
def test_an_operation_ends_where_somebody_begins_the_next_one(
    later: bool, aws: FakeAws, stack: FakeStack, pauses: list[float]
) -> None:
    """Whether its end and that beginning are seen at one look or at two."""
    follow = following(aws, stack, pauses)
    follow.skip_past()
    end = own_event(stack, 12, "UPDATE_COMPLETE")
    theirs = [own_event(stack, 13, "UPDATE_IN_PROGRESS"), event(14, "A", "UPDATE_FAILED")]
    looks = [[end], theirs] if later else [[end, *theirs]]
    update(stack, *(("UPDATE_IN_PROGRESS", events) for events in looks))
    assert ids([*follow.events()]) == ["event-10", "event-12"]
