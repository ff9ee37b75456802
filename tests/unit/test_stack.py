from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from payment_infra.cloud.stack import POLL_SECONDS, UPDATABLE, Stack
from payment_infra.errors import AwsError, DeploymentFailed
from tests.aws import FakeAws, FakeStack, event

NAME = "payment-infra-dev"
TEMPLATE = {"TemplateBody": "{Resources: {}, Outputs: {}}"}
CREATE = "cloudformation:CreateChangeSet"


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that were made, none of which took any time."""
    return []


@pytest.fixture
def stack(aws: FakeAws, pauses: list[float]) -> Stack:
    return Stack(aws.session().client("cloudformation"), NAME, pauses.append)


def exists(aws: FakeAws, status: str) -> FakeStack:
    aws.stacks[NAME] = FakeStack(NAME, status)
    return aws.stacks[NAME]


def test_a_stack_that_is_not_there_is_created(aws: FakeAws, stack: Stack) -> None:
    change_set = stack.create_change_set(TEMPLATE, {}, "why")
    assert change_set is not None
    assert change_set.made_stack
    [request] = aws.called(CREATE)
    assert (request["ChangeSetType"], request["Description"]) == ("CREATE", "why")
    assert request["Capabilities"] == ["CAPABILITY_IAM"]


def test_a_stack_that_was_only_looked_at_is_created(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "REVIEW_IN_PROGRESS")
    change_set = stack.create_change_set(TEMPLATE, {}, "why")
    assert change_set is not None
    assert aws.called(CREATE)[0]["ChangeSetType"] == "CREATE"


def test_a_failed_change_set_takes_only_a_stack_of_its_own_with_it(
    aws: FakeAws, stack: Stack
) -> None:
    exists(aws, "REVIEW_IN_PROGRESS")
    aws.change_set_failure = "no such macro"
    with pytest.raises(DeploymentFailed, match="no such macro"):
        stack.create_change_set(TEMPLATE, {}, "why")
    assert aws.change_sets == {}
    assert NAME in aws.stacks


@pytest.mark.parametrize("status", sorted(UPDATABLE))
def test_a_stack_that_is_settled_is_updated(status: str, aws: FakeAws, stack: Stack) -> None:
    exists(aws, status)
    change_set = stack.create_change_set(TEMPLATE, {}, "why")
    assert change_set is not None
    assert not change_set.made_stack
    assert aws.called(CREATE)[0]["ChangeSetType"] == "UPDATE"


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        ("ROLLBACK_COMPLETE", "delete-stack"),
        ("CREATE_FAILED", "delete-stack"),
        ("ROLLBACK_FAILED", "delete-stack"),
        ("DELETE_FAILED", "delete-stack"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"),
        ("CREATE_IN_PROGRESS", "wait until that has ended"),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "wait until that has ended"),
        ("DELETE_IN_PROGRESS", "wait until that has ended"),
    ],
)
def test_a_stack_that_cannot_be_changed_is_left_alone_with_the_way_out(
    status: str, remedy: str, aws: FakeAws, stack: Stack
) -> None:
    exists(aws, status)
    with pytest.raises(DeploymentFailed) as failed:
        stack.create_change_set(TEMPLATE, {}, "why")
    assert str(failed.value).startswith(f"stack {NAME} is {status}; ")
    assert remedy in str(failed.value)
    assert failed.value.exit_code == 3
    assert aws.changes() == []


def test_a_parameter_without_a_value_keeps_the_stacks(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_COMPLETE").parameters = {"A": "old", "B": "old"}
    text = "{Parameters: {A: {Type: String}, B: {Type: String}}, Resources: {}}"
    stack.create_change_set({"TemplateBody": text}, {"A": None, "B": "new"}, "why")
    assert aws.called(CREATE)[0]["Parameters"] == [
        {"ParameterKey": "A", "UsePreviousValue": True},
        {"ParameterKey": "B", "ParameterValue": "new"},
    ]


def test_the_change_set_is_waited_for_with_growing_pauses(
    aws: FakeAws, stack: Stack, pauses: list[float]
) -> None:
    aws.change_set_waits = 8
    assert stack.create_change_set(TEMPLATE, {}, "why") is not None
    assert pauses == [*POLL_SECONDS, POLL_SECONDS[-1], POLL_SECONDS[-1]]


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information to create "
        "a change set.",
        "No updates are to be performed.",
    ],
)
def test_no_changes_is_no_change_set_and_leaves_none_behind(
    reason: str, aws: FakeAws, stack: Stack
) -> None:
    exists(aws, "UPDATE_COMPLETE")
    aws.change_set_failure = reason
    assert stack.create_change_set(TEMPLATE, {}, "why") is None
    assert aws.change_sets == {}
    assert aws.stacks[NAME].status == "UPDATE_COMPLETE"


@pytest.mark.parametrize("status", [None, "CREATE_COMPLETE"])
def test_a_change_set_that_fails_says_why_and_leaves_everything_as_it_was(
    status: str | None, aws: FakeAws, stack: Stack
) -> None:
    if status:
        exists(aws, status)
    aws.change_set_failure = "Template error: no such thing"
    with pytest.raises(DeploymentFailed) as failed:
        stack.create_change_set(TEMPLATE, {}, "why")
    assert str(failed.value) == (
        f"stack {NAME}: the change set failed: Template error: no such thing"
    )
    assert failed.value.exit_code == 3
    assert aws.change_sets == {}
    assert {name: one.status for name, one in aws.stacks.items()} == (
        {NAME: status} if status else {}
    )


def execute(stack: Stack) -> list[str]:
    change_set = stack.create_change_set(TEMPLATE, {}, "why")
    assert change_set is not None
    return [one.id for one in stack.execute(change_set)]


@pytest.mark.parametrize("page_size", [1, 2, 3, 5, 100])
def test_an_operation_yields_its_own_events_in_order_and_each_once(
    page_size: int, aws: FakeAws, stack: Stack
) -> None:
    earlier = [event(number, "Old", "CREATE_COMPLETE") for number in range(10)]
    exists(aws, "CREATE_COMPLETE").happen("CREATE_COMPLETE", earlier)
    aws.page_size = page_size
    # Number 10 is the one that says that the update has begun.
    aws.timeline = [
        ("UPDATE_IN_PROGRESS", [event(11, "A", "UPDATE_IN_PROGRESS")]),
        ("UPDATE_IN_PROGRESS", []),
        (
            "UPDATE_IN_PROGRESS",
            [event(number, "A", "UPDATE_IN_PROGRESS") for number in range(12, 19)],
        ),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", [event(19, "A", "UPDATE_COMPLETE")]),
        ("UPDATE_COMPLETE", [event(20, NAME, "UPDATE_COMPLETE")]),
    ]
    assert execute(stack) == [f"event-{number}" for number in range(10, 21)]


def test_an_operation_is_followed_until_it_has_ended(
    aws: FakeAws, stack: Stack, pauses: list[float]
) -> None:
    waiting = "CREATE_IN_PROGRESS"
    aws.timeline = [(waiting, []), (waiting, []), (waiting, []), ("CREATE_COMPLETE", [])]
    execute(stack)
    assert pauses == list(POLL_SECONDS[:3])


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("ROLLBACK_COMPLETE", "ROLLBACK_COMPLETE: B: Queue exists"),
        ("CREATE_FAILED", "CREATE_FAILED: B: Queue exists"),
        ("ROLLBACK_FAILED", "ROLLBACK_FAILED: B: Queue exists"),
    ],
)
def test_a_failure_names_the_resource_that_failed_first_and_why(
    status: str, expected: str, aws: FakeAws, stack: Stack
) -> None:
    aws.timeline = [
        ("CREATE_IN_PROGRESS", [event(5, "A", "CREATE_COMPLETE")]),
        (
            "ROLLBACK_IN_PROGRESS",
            [
                event(6, "B", "CREATE_FAILED", "Queue exists"),
                event(7, "C", "CREATE_FAILED", "Resource creation cancelled"),
            ],
        ),
        (status, [event(8, "A", "DELETE_FAILED", "too late")]),
    ]
    with pytest.raises(DeploymentFailed) as failed:
        execute(stack)
    assert str(failed.value) == f"stack {NAME} is {expected}"
    assert failed.value.exit_code == 3


def test_an_update_that_was_rolled_back_failed(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_COMPLETE")
    aws.timeline = [("UPDATE_ROLLBACK_COMPLETE", [event(9, "A", "UPDATE_FAILED", "no")])]
    with pytest.raises(DeploymentFailed, match="is UPDATE_ROLLBACK_COMPLETE: A: no"):
        execute(stack)


def test_all_events_are_yielded_before_the_failure_is_told(aws: FakeAws, stack: Stack) -> None:
    aws.timeline = [("ROLLBACK_COMPLETE", [event(5, "A", "CREATE_FAILED", "no")])]
    change_set = stack.create_change_set(TEMPLATE, {}, "why")
    assert change_set is not None
    events = stack.execute(change_set)
    seen = [(one.logical_id, one.status, one.failed) for one in itertools.islice(events, 2)]
    assert seen == [(NAME, "CREATE_IN_PROGRESS", False), ("A", "CREATE_FAILED", True)]
    with pytest.raises(DeploymentFailed):
        next(events)


def test_a_deletion_is_followed_beyond_the_stacks_name(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_COMPLETE").happen("CREATE_COMPLETE", [event(0, NAME, "CREATE_COMPLETE")])
    assert [one.status for one in stack.delete()] == ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]
    assert stack.state() is None


def test_a_deletion_that_fails_names_what_stays(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_COMPLETE")
    aws.timeline = [("DELETE_FAILED", [event(5, "Table", "DELETE_FAILED", "it is protected")])]
    with pytest.raises(DeploymentFailed, match="is DELETE_FAILED: Table: it is protected"):
        list(stack.delete())


def test_a_stack_that_is_not_there_cannot_be_deleted(aws: FakeAws, stack: Stack) -> None:
    with pytest.raises(AwsError, match="there is no stack"):
        list(stack.delete())
    assert aws.changes() == []


def test_the_state_tells_parameters_and_outputs(aws: FakeAws, stack: Stack) -> None:
    found = exists(aws, "CREATE_COMPLETE")
    found.parameters, found.outputs = {"A": "1"}, {"B": "2"}
    state = stack.state()
    assert state is not None
    parameters: Mapping[str, str] = state.parameters
    assert (state.status, parameters, stack.outputs()) == (
        "CREATE_COMPLETE",
        {"A": "1"},
        {"B": "2"},
    )


@pytest.mark.parametrize("status", [None, "REVIEW_IN_PROGRESS"])
def test_a_stack_that_was_never_made_has_no_outputs(
    status: str | None, aws: FakeAws, stack: Stack
) -> None:
    if status:
        exists(aws, status)
    with pytest.raises(AwsError, match=f"there is no stack {NAME}; `payment-infra deploy` makes"):
        stack.outputs()
