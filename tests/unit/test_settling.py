from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from payment_infra.cloud.events import StackEvent
from payment_infra.cloud.stacks import settling
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.settling import STEPS, Step
from payment_infra.errors import AwsError, Declined, UsageError
from tests.aws import FakeAws, FakeStack, event
from tests.documents import REPOSITORY, Page
from tests.operators import FakeOperator
from tests.stacks import own_event

if TYPE_CHECKING:
    from payment_infra.cloud.stacks.stack import Stack, StackState

NAME = "payment-infra-dev"


def exists(aws: FakeAws, status: str) -> FakeStack:
    aws.stacks[NAME] = FakeStack(NAME, status)
    return aws.stacks[NAME]


def anything(_: StackState) -> None:
    """Let any stack be touched."""


def settle(stack: Stack, operator: FakeOperator, **options: Any) -> StackState | None:
    return settling.settle(
        stack, operator, check=anything, **{"yes": False, "wait": None, **options}
    )


def test_every_status_that_cloudformation_knows_has_a_step() -> None:
    model = boto3.client("cloudformation", region_name="us-east-1").meta.service_model
    assert set(STEPS) == set(model.shape_for("StackStatus").enum)


def test_the_documents_have_the_same_table() -> None:
    page = Page(REPOSITORY / "docs" / "deploying.md")
    rows = [[f"`{status}`", step.value] for status, step in sorted(STEPS.items())]
    assert page.rows("## A stack in any state") == rows


@pytest.mark.parametrize(
    "status", [one for one in STEPS if STEPS[one] in {Step.CREATE, Step.UPDATE}]
)
def test_a_stack_that_is_at_rest_is_taken_as_it_is(
    status: str, aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, status)
    settle(stack, operator)
    assert (operator.asked, aws.changes()) == ([], [])


@pytest.mark.parametrize("protected", [False, True])
@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"])
def test_what_was_never_created_is_deleted_after_a_question(
    status: str, protected: bool, aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, status).protected = protected
    assert settle(stack, operator) is None
    assert len(operator.asked) == 1
    assert aws.changes()[-1] == "cloudformation:DeleteStack"
    assert NAME not in aws.stacks


def test_what_was_kept_of_a_creation_is_undone_with_what_is_to_be_retained(
    aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, "CREATE_FAILED")
    assert settle(stack, operator) is None
    assert aws.changes() == ["cloudformation:RollbackStack", "cloudformation:DeleteStack"]
    [request] = aws.called("cloudformation:RollbackStack")
    assert request["RetainExceptOnCreate"] is True


@pytest.mark.parametrize(
    ("status", "operation"),
    [
        ("UPDATE_FAILED", "RollbackStack"),
        ("UPDATE_ROLLBACK_FAILED", "ContinueUpdateRollback"),
    ],
)
def test_an_update_that_hangs_is_brought_back_after_a_question(
    status: str, operation: str, aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, status)
    state = settle(stack, operator, skip=("A",))
    assert state is not None
    assert state.status == "UPDATE_ROLLBACK_COMPLETE"
    assert len(operator.asked) == 1
    assert aws.changes() == [f"cloudformation:{operation}"]
    if operation == "ContinueUpdateRollback":
        assert aws.called(f"cloudformation:{operation}")[0]["ResourcesToSkip"] == ["A"]


def test_a_rollback_that_fails_again_names_what_to_skip(
    aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, "UPDATE_ROLLBACK_FAILED")
    aws.timeline = [("UPDATE_ROLLBACK_FAILED", [event(5, "Table", "UPDATE_FAILED", "busy")])]
    with pytest.raises(DeploymentFailed, match="mend Table and repeat the command, or add --skip"):
        settle(stack, operator)


def test_a_deletion_that_failed_goes_on_without_what_could_not_be_deleted(
    aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, "DELETE_FAILED").resources = {"A": "DELETE_COMPLETE", "Table": "DELETE_FAILED"}
    assert settle(stack, operator) is None
    assert "leave Table behind" in operator.asked[0]
    assert aws.called("cloudformation:DeleteStack")[0]["RetainResources"] == ["Table"]


@pytest.mark.parametrize("status", [one for one in STEPS if STEPS[one] is Step.WAIT])
def test_a_busy_stack_is_waited_for_after_a_question(
    status: str, aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    busy = exists(aws, status)
    token = "payment-infra-alice-0123456789ab"
    busy.happen(status, [own_event(busy, 0, "UPDATE_IN_PROGRESS", token=token)])
    busy.timeline.append((status, []))
    busy.timeline.append(("UPDATE_COMPLETE", [event(1, "A", "UPDATE_COMPLETE")]))
    state = settle(stack, operator)
    assert state is not None
    assert state.status == "UPDATE_COMPLETE"
    assert operator.asked == [
        f"stack {NAME} is busy: {status} since 2026-11-22T21:27:00Z, begun by alice with "
        "payment-infra. Wait until that has ended, then continue?"
    ]
    assert [one.id for one in operator.of(StackEvent)] == ["event-0", "event-1"]
    assert aws.changes() == []


def test_a_busy_stack_is_given_up_if_that_is_asked_for(
    aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, "UPDATE_IN_PROGRESS")
    with pytest.raises(AwsError, match=r"is busy: UPDATE_IN_PROGRESS since .*; nothing was done"):
        settle(stack, operator, wait=False)
    assert operator.asked == []


def test_yes_waits_and_what_the_other_came_to_is_recovered_from(aws: FakeAws, stack: Stack) -> None:
    busy = exists(aws, "CREATE_IN_PROGRESS")
    busy.happen("CREATE_IN_PROGRESS", [own_event(busy, 0, "CREATE_IN_PROGRESS")])
    busy.timeline.extend(
        [("CREATE_IN_PROGRESS", []), ("ROLLBACK_COMPLETE", [event(1, "A", "CREATE_FAILED", "no")])]
    )
    assert settle(stack, FakeOperator(), yes=True) is None
    assert aws.changes() == ["cloudformation:DeleteStack"]


CHANGED = [one for one in STEPS if STEPS[one] not in {Step.CREATE, Step.UPDATE, Step.GIVE_UP}]


@pytest.mark.parametrize(("answer", "refusal"), [(False, Declined), (None, UsageError)])
@pytest.mark.parametrize("status", CHANGED)
def test_nothing_is_done_without_a_yes(
    status: str, answer: bool | None, refusal: type[Exception], aws: FakeAws, stack: Stack
) -> None:
    exists(aws, status)
    with pytest.raises(refusal):
        settle(stack, FakeOperator(answer))
    assert aws.changes() == []


@pytest.mark.parametrize("status", ["IMPORT_ROLLBACK_FAILED", "A_STATUS_THAT_AWS_HAS_ADDED"])
def test_what_only_a_person_can_mend_is_left_alone(
    status: str, aws: FakeAws, stack: Stack, operator: FakeOperator
) -> None:
    exists(aws, status)
    with pytest.raises(AwsError, match="no deployment can mend"):
        settle(stack, operator)
    assert aws.changes() == []
