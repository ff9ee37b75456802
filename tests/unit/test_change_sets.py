from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.events import Event, Waiting
from payment_infra.cloud.sdk.polling import POLL_SECONDS
from payment_infra.cloud.stacks import change_sets, clearing
from payment_infra.cloud.stacks.change_sets import Request
from payment_infra.cloud.stacks.diagnosis import remedy_of
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.stack import Outdated, Stack
from payment_infra.errors import AwsError
from tests.aws import FakeAws, FakeStack, Refused
from tests.stacks import NO_CHANGES, Answer

if TYPE_CHECKING:
    from payment_infra.cloud.stacks.described import ChangeSet

NAME = "payment-infra-dev"
TEXT = "{Resources: {Queue: {Type: 'AWS::SQS::Queue'}}, Outputs: {}}"
REQUEST = Request({"TemplateBody": TEXT}, {})
CREATE = "cloudformation:CreateChangeSet"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def stack(aws: FakeAws, pauses: list[float]) -> Stack:
    return Stack(aws.session().client("cloudformation"), NAME, pauses.append, "--suffix dev")


def exists(aws: FakeAws, status: str) -> FakeStack:
    aws.stacks[NAME] = FakeStack(NAME, status)
    return aws.stacks[NAME]


def create(stack: Stack, request: Request = REQUEST) -> ChangeSet | None:
    with change_sets.created(stack, stack.state(), request) as change_set:
        return change_set


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (None, "CREATE"),
        ("REVIEW_IN_PROGRESS", "CREATE"),
        ("CREATE_COMPLETE", "UPDATE"),
        ("UPDATE_ROLLBACK_COMPLETE", "UPDATE"),
    ],
)
def test_a_stack_without_anything_is_created_and_any_other_updated(
    status: str | None, kind: str, aws: FakeAws, stack: Stack
) -> None:
    if status:
        exists(aws, status)
    change_set = create(stack)
    assert change_set is not None
    assert change_set.creates == (kind == "CREATE")
    [request] = aws.called(CREATE)
    assert request["ChangeSetType"] == kind
    assert request["Capabilities"] == ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]
    assert not request.keys() & {"RoleARN", "NotificationARNs"}
    [change] = change_set.changes
    assert (change.action, change.logical_id) == ("Add", "Queue")


def test_role_and_topics_are_passed_on(aws: FakeAws, stack: Stack) -> None:
    role, topic = "arn:aws:iam::123456789012:role/cfn", "arn:aws:sns:us-east-1:123456789012:events"
    create(stack, Request({"TemplateBody": TEXT}, {}, role, (topic,)))
    [request] = aws.called(CREATE)
    assert (request["RoleARN"], request["NotificationARNs"]) == (role, [topic])


def test_a_parameter_without_a_value_keeps_the_stacks(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_COMPLETE").parameters = {"A": "old", "B": "old"}
    text = "{Parameters: {A: {Type: String}, B: {Type: String}}, Resources: {}}"
    create(stack, Request({"TemplateBody": text}, {"A": None, "B": "new"}))
    assert aws.called(CREATE)[0]["Parameters"] == [
        {"ParameterKey": "A", "UsePreviousValue": True},
        {"ParameterKey": "B", "ParameterValue": "new"},
    ]


def test_it_is_waited_for_with_growing_pauses(
    aws: FakeAws, stack: Stack, pauses: list[float]
) -> None:
    aws.change_set_waits = len(POLL_SECONDS) + 2
    assert create(stack) is not None
    assert pauses == [*POLL_SECONDS, POLL_SECONDS[-1], POLL_SECONDS[-1]]


@pytest.mark.parametrize("code", ["InternalFailure", "Throttling"])
def test_a_fault_that_passes_while_it_is_made_does_not_lose_it(
    code: str, aws: FakeAws, stack: Stack
) -> None:
    aws.errors["cloudformation:DescribeChangeSet"] = Refused(code, status=500)
    stack.sleep = lambda _: aws.errors.clear()
    assert create(stack) is not None
    assert aws.called("cloudformation:DeleteChangeSet") == []


@pytest.mark.parametrize("page_size", [1, 2, 100])
def test_every_page_of_the_changes_is_read(page_size: int, aws: FakeAws, stack: Stack) -> None:
    aws.page_size = page_size
    resources = ", ".join(f"Q{number}: {{Type: 'AWS::SQS::Queue'}}" for number in range(5))
    change_set = create(stack, Request({"TemplateBody": f"{{Resources: {{{resources}}}}}"}, {}))
    assert change_set is not None
    assert [one.logical_id for one in change_set.changes] == ["Q0", "Q1", "Q2", "Q3", "Q4"]


@pytest.mark.parametrize("reason", [NO_CHANGES, "No updates are to be performed."])
def test_no_changes_is_no_change_set_and_leaves_none_behind(
    reason: str, aws: FakeAws, stack: Stack
) -> None:
    exists(aws, "UPDATE_COMPLETE")
    aws.change_set_failure = reason
    assert create(stack) is None
    assert aws.change_sets == {}
    assert aws.stacks[NAME].status == "UPDATE_COMPLETE"


@pytest.mark.parametrize("status", [None, "REVIEW_IN_PROGRESS", "CREATE_COMPLETE"])
def test_one_that_fails_says_why_and_leaves_everything_as_it_was(
    status: str | None, aws: FakeAws, stack: Stack
) -> None:
    if status:
        exists(aws, status)
    aws.change_set_failure = "Requires capabilities : [CAPABILITY_AUTO_EXPAND]"
    with pytest.raises(DeploymentFailed) as failed:
        create(stack)
    assert str(failed.value) == (
        f"stack {NAME}: the change set failed: Requires capabilities : [CAPABILITY_AUTO_EXPAND]; "
        f"{remedy_of('Requires capabilities : [CAPABILITY_AUTO_EXPAND]', '', '--suffix dev')}"
    )
    assert aws.change_sets == {}
    assert {name: one.status for name, one in aws.stacks.items()} == (
        {NAME: status} if status else {}
    )


@pytest.mark.parametrize("status", [None, "REVIEW_IN_PROGRESS", "CREATE_COMPLETE"])
@pytest.mark.parametrize("trouble", [KeyboardInterrupt, DeploymentFailed])
def test_what_leaves_the_block_takes_the_change_set_with_it(
    trouble: type[BaseException], status: str | None, aws: FakeAws, stack: Stack
) -> None:
    if status:
        exists(aws, status)

    def stop() -> None:
        with change_sets.created(stack, stack.state(), REQUEST):
            raise trouble("stop")

    with pytest.raises(trouble):
        stop()
    assert aws.change_sets == {}
    assert list(aws.stacks) == ([NAME] if status else [])


def test_what_another_deployment_has_begun_at_the_same_moment_stays(
    aws: FakeAws, stack: Stack
) -> None:
    def decline() -> None:
        with change_sets.created(stack, None, REQUEST):
            raise KeyboardInterrupt

    with change_sets.created(stack, None, REQUEST) as theirs:
        with pytest.raises(KeyboardInterrupt):
            decline()
        assert theirs is not None
        assert list(aws.change_sets) == [theirs.id]
        assert list(aws.stacks) == [NAME]


@pytest.mark.parametrize("operation", ["CreateChangeSet", "DescribeChangeSet"])
def test_ctrl_c_while_it_is_made_leaves_nothing_behind(
    operation: str, aws: FakeAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = aws.answer

    def interrupted(service: str, name: str, params: dict[str, object]) -> object:
        answered = answer(service, name, params)
        if name == operation:
            raise KeyboardInterrupt  # the call took effect, and its answer never came
        return answered

    monkeypatch.setattr(aws, "answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create(stack)
    assert aws.change_sets == {}
    assert aws.stacks == {}


def test_one_that_was_left_is_found_by_its_name(aws: FakeAws, stack: Stack) -> None:
    made = create(stack)
    assert made is not None
    state = stack.state()
    assert state is not None
    assert change_sets.find(stack, state, made.name) == made
    with pytest.raises(AwsError, match="has no change set other: "):
        change_sets.find(stack, state, "other")


def test_one_that_failed_is_not_executed(aws: FakeAws, stack: Stack) -> None:
    made = create(stack)
    state = stack.state()
    assert made is not None
    assert state is not None
    aws.change_sets[made.id]["failure"] = "no"
    with pytest.raises(AwsError, match="make a new one with `payment-infra deploy --suffix dev`"):
        change_sets.find(stack, state, made.name)


def test_an_execution_carries_its_token_and_whether_it_rolls_back(
    aws: FakeAws, stack: Stack
) -> None:
    made = create(stack)
    assert made is not None
    events = list(change_sets.execute(stack, made, "token", rollback=False))
    [request] = aws.called("cloudformation:ExecuteChangeSet")
    assert (request["ClientRequestToken"], request["DisableRollback"]) == ("token", True)
    assert request["RetainExceptOnCreate"] is True
    assert [getattr(one, "status", "") for one in events] == [
        "CREATE_IN_PROGRESS",
        "CREATE_COMPLETE",
    ]


def test_an_execution_that_was_overtaken_says_so(aws: FakeAws, stack: Stack) -> None:
    made = create(stack)
    assert made is not None
    aws.errors["cloudformation:ExecuteChangeSet"] = Refused("InvalidChangeSetStatus")
    with pytest.raises(AwsError, match="somebody else has deleted or executed the change set"):
        change_sets.execute(stack, made, "token")


def test_only_failed_ones_of_this_tool_are_cleaned_up(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_COMPLETE")
    for name, failure in itertools.product(("payment-infra-1", "theirs"), ("", "no")):
        aws.change_sets[f"{name}{failure}"] = {
            "name": name,
            "stack": aws.stacks[NAME],
            "failure": failure,
        }
    state = stack.state()
    assert state is not None
    clearing.delete_failed(stack, state)
    assert list(aws.change_sets) == ["payment-infra-1", "theirs", "theirsno"]


DESCRIBE = "cloudformation:DescribeChangeSet"
UNSEEN = Refused("ChangeSetNotFound", "ChangeSet [new] does not exist")


def test_a_new_one_that_is_not_seen_everywhere_yet_is_waited_for(
    aws: FakeAws, stack: Stack, pauses: list[float]
) -> None:
    aws.errors[DESCRIBE] = UNSEEN

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if sum(pauses) > 60:
            aws.errors.clear()

    stack.sleep = sleep
    assert create(stack) is not None


def test_one_that_was_deleted_before_it_was_seen_is_not_waited_for_any_longer(
    aws: FakeAws, stack: Stack, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    exists(aws, "CREATE_COMPLETE")
    aws.errors[DESCRIBE] = UNSEEN
    monkeypatch.setattr(aws, "list_change_sets", lambda _: {"Summaries": []})
    with pytest.raises(Outdated, match="somebody else has deleted or executed the change set"):
        create(stack)
    assert 10 < sum(pauses) < 15


def test_that_cloudformation_makes_it_is_told(aws: FakeAws, stack: Stack) -> None:
    aws.change_set_waits = 2
    told = list[Event]()
    with change_sets.created(stack, stack.state(), REQUEST, told.append):
        assert told == [Waiting("CloudFormation makes the change set")] * 2


@pytest.mark.parametrize("status", [None, "CREATE_COMPLETE"])
def test_one_that_is_never_seen_was_deleted_by_somebody(
    status: str | None, aws: FakeAws, stack: Stack, pauses: list[float]
) -> None:
    if status:
        exists(aws, status)
    aws.errors[DESCRIBE] = UNSEEN
    with pytest.raises(Outdated, match="somebody else has deleted or executed the change set"):
        create(stack)
    assert 100 < sum(pauses) < 200
    assert list(aws.stacks) == ([NAME] if status else [])


@pytest.mark.parametrize(
    "answer",
    [
        {"Status": "DELETE_IN_PROGRESS"},
        {"Status": "CREATE_COMPLETE", "ExecutionStatus": "OBSOLETE"},
        {"Status": "CREATE_COMPLETE", "ExecutionStatus": "EXECUTE_IN_PROGRESS"},
    ],
)
def test_one_that_somebody_deletes_or_executes_while_it_is_made_is_told(
    answer: dict[str, str], aws: FakeAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists(aws, "CREATE_COMPLETE")
    monkeypatch.setattr(aws, "describe_change_set", lambda _: answer)
    with pytest.raises(Outdated, match="somebody else has deleted or executed the change set"):
        create(stack)


@pytest.mark.parametrize("operation", ["CreateChangeSet", "ExecuteChangeSet"])
def test_a_call_that_the_sdk_repeats_since_its_answer_was_lost_has_done_its_work(
    operation: str, aws: FakeAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists(aws, "CREATE_COMPLETE")
    answer = aws.answer

    def twice(service: str, name: str, params: dict[str, object]) -> object:
        if name == operation:
            in_progress: list[tuple[str, list[Answer]]] = [("UPDATE_IN_PROGRESS", [])] * 3
            aws.timeline = [*in_progress, ("UPDATE_COMPLETE", [])]
            answer(service, name, params)
        return answer(service, name, params)

    monkeypatch.setattr(aws, "answer", twice)
    made = create(stack)
    assert made is not None
    list(change_sets.execute(stack, made, "token"))
    assert aws.stacks[NAME].template == TEXT
    assert len(aws.called(f"cloudformation:{operation}")) == 2


def test_one_that_cannot_be_deleted_yet_is_deleted_once_it_can(
    aws: FakeAws, stack: Stack, pauses: list[float]
) -> None:
    """As the documentation of DeleteChangeSet says of one that is being made."""
    delete = "cloudformation:DeleteChangeSet"

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            aws.errors.clear()

    def stop() -> None:
        with change_sets.created(stack, None, REQUEST):
            aws.errors[delete] = Refused("InvalidChangeSetStatus")
            raise KeyboardInterrupt

    stack.sleep = sleep
    with pytest.raises(KeyboardInterrupt):
        stop()
    assert aws.change_sets == {}
    assert aws.stacks == {}


def test_the_empty_stack_of_somebody_else_is_not_taken_for_ours(aws: FakeAws, stack: Stack) -> None:
    def stop() -> None:
        with change_sets.created(stack, None, REQUEST):
            ours = aws.stacks[NAME]
            ours.happen("DELETE_COMPLETE")
            aws._bury(ours)
            aws.stacks[NAME] = FakeStack(NAME, "REVIEW_IN_PROGRESS", number=2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert list(aws.stacks) == [NAME]


def test_one_that_is_gone_says_what_can_have_become_of_it(aws: FakeAws, stack: Stack) -> None:
    exists(aws, "CREATE_COMPLETE")
    state = stack.state()
    assert state is not None
    with pytest.raises(AwsError) as refused:
        change_sets.find(stack, state, "other")
    assert str(refused.value) == (
        f"stack {NAME} has no change set other: it was executed or deleted, or an update has made "
        "it void; `payment-infra deploy --no-execute --suffix dev` leaves one"
    )
