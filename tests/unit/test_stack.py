from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.errors import AwsError
from tests.aws import FakeAws, FakeStack, Refused, event

if TYPE_CHECKING:
    from payment_infra.cloud.stacks.stack import Stack

NAME = "payment-infra-dev"


def exists(aws: FakeAws, status: str) -> FakeStack:
    aws.stacks[NAME] = FakeStack(NAME, status)
    return aws.stacks[NAME]


def test_the_state_tells_what_describe_stacks_does(aws: FakeAws, stack: Stack) -> None:
    found = exists(aws, "CREATE_COMPLETE")
    found.parameters, found.outputs, found.protected = {"A": "1"}, {"B": "2"}, True
    found.role_arn, found.notification_arns = "arn:role", ["arn:topic"]
    state = stack.state()
    assert state is not None
    assert (state.status, state.parameters, state.outputs) == (
        "CREATE_COMPLETE",
        {"A": "1"},
        {"B": "2"},
    )
    assert (state.role_arn, state.notification_arns) == ("arn:role", ("arn:topic",))
    assert state.termination_protection


@pytest.mark.parametrize("status", [None, "REVIEW_IN_PROGRESS"])
def test_a_stack_that_was_never_made_has_no_outputs(
    status: str | None, aws: FakeAws, stack: Stack
) -> None:
    if status:
        exists(aws, status)
    with pytest.raises(
        AwsError, match=f"there is no stack {NAME}; `payment-infra deploy --suffix dev` makes"
    ):
        stack.outputs()


@pytest.mark.parametrize("text", ["{A: !Ref B}", '{"A": {"Ref": "B"}}'])
def test_a_template_is_read_whatever_its_form(text: str, aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_COMPLETE").template = text
    assert stack.template() == {"A": {"Ref": "B"}}


@pytest.mark.parametrize(
    ("name", "metadata"),
    [("Recorded", {"PaymentInfra": {"version": "1"}}), ("Bare", {}), ("No", {})],
)
def test_the_metadata_of_a_resource_is_read_without_the_template(
    name: str, metadata: dict[str, object], aws: FakeAws, stack: Stack
) -> None:
    found = exists(aws, "CREATE_COMPLETE")
    found.resources = dict.fromkeys(["Recorded", "Bare"], "CREATE_COMPLETE")
    found.template = '{"Resources": {"Recorded": {"Metadata": {"PaymentInfra": {"version": "1"}}}}}'
    assert stack.metadata(name) == metadata
    assert aws.called("cloudformation:GetTemplate") == []


def test_metadata_that_may_not_be_read_is_an_error(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_COMPLETE")
    aws.errors["cloudformation:DescribeStackResource"] = Refused("AccessDenied")
    with pytest.raises(AwsError, match="not allowed to call DescribeStackResource"):
        stack.metadata("AlarmTopic")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it has no sections"),
        ("- A", "it has no sections"),
        ("{A: [", "while parsing a flow node"),
        ("a\nb: c", "mapping values are not allowed "),
    ],
)
def test_a_template_that_cannot_be_read_is_one_line(
    text: str, why: str, aws: FakeAws, stack: Stack
) -> None:
    exists(aws, "CREATE_COMPLETE").template = text
    with pytest.raises(AwsError) as unreadable:
        stack.template()
    line = str(unreadable.value)
    assert line.startswith(f"stack {NAME}: its template cannot be read: {why}")
    assert line.endswith("; see it in the CloudFormation console")
    assert "\n" not in line


def test_a_deletion_is_followed_beyond_the_stacks_name(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_COMPLETE").happen("CREATE_COMPLETE", [event(0, NAME, "CREATE_COMPLETE")])
    state = stack.state()
    assert state is not None
    statuses = [getattr(one, "status", "") for one in stack.delete(state)]
    assert statuses == ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]
    assert stack.state() is None


def test_a_deletion_that_fails_tells_what_stays(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_COMPLETE")
    aws.timeline = [("DELETE_FAILED", [event(5, "Table", "DELETE_FAILED", "it is protected")])]
    state = stack.state()
    assert state is not None
    with pytest.raises(DeploymentFailed, match="is DELETE_FAILED") as failed:
        list(stack.delete(state))
    assert [one.logical_id for one in failed.value.events if one.failed] == ["Table"]


@pytest.mark.parametrize(
    ("status", "operation"),
    [("UPDATE_IN_PROGRESS", "CancelUpdateStack"), ("CREATE_IN_PROGRESS", "DeleteStack")],
)
def test_what_goes_on_is_cancelled_by_the_call_for_it(
    status: str, operation: str, aws: FakeAws, stack: Stack
) -> None:
    exists(aws, status)
    state = stack.state()
    assert state is not None
    list(stack.cancel(state))
    assert aws.changes() == [f"cloudformation:{operation}"]


def test_a_creation_is_cancelled_though_its_stack_is_protected(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_IN_PROGRESS").protected = True
    state = stack.state()
    assert state is not None
    list(stack.cancel(state))
    assert NAME not in aws.stacks


@pytest.mark.parametrize("status", ["UPDATE_COMPLETE", "UPDATE_ROLLBACK_IN_PROGRESS"])
def test_nothing_else_is_cancelled(status: str, aws: FakeAws, stack: Stack) -> None:
    exists(aws, status)
    state = stack.state()
    assert state is not None
    with pytest.raises(AwsError, match=f"is {status}: only a creation or an update"):
        stack.cancel(state)
    assert aws.changes() == []
