"""Change sets: made, read, executed, and never left behind by accident."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from payment_infra.cloud.events import Waiting
from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.cloud.sdk.polling import POLL_SECONDS, looks
from payment_infra.cloud.stacks import described
from payment_infra.cloud.stacks.clearing import MISSING, NAME_PREFIX, is_listed, take_back
from payment_infra.cloud.stacks.diagnosis import explain_change_set, validation_events
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.following import REVIEW, Following
from payment_infra.cloud.stacks.stack import Outdated, StackState, is_unfit
from payment_infra.cloud.stacks.state import change
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from payment_infra.cloud.events import StackEvent, Tell
    from payment_infra.cloud.stacks.described import ChangeSet
    from payment_infra.cloud.stacks.stack import Stack

# What an operation may make: a template that was deployed before may name its roles too.
CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM")
# What CloudFormation says in StatusReason when a change set would change nothing.
NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
# What a call is refused with that names what was made a moment ago: a role, or the bucket of the
# template (IAM, "Changes that I make are not always immediately visible").
NOT_YET = ("cannot be assumed", "S3 error: The specified bucket does not exist")
# Looks at a new change set that may not find it yet, some two minutes of them.
MAX_UNSEEN = 30
# After as many, some twelve seconds of them, it has to be in the list of the stack's change sets.
MAX_UNLISTED = len(POLL_SECONDS)
# What somebody has made of a change set that was ready (CloudFormation API, DescribeChangeSet).
TAKEN = frozenset({"EXECUTE_IN_PROGRESS", "EXECUTE_COMPLETE", "EXECUTE_FAILED", "OBSOLETE"})
# Looks for the first event of an execution.
MAX_LOOKS = 8


@dataclass(frozen=True)
class Existing:
    """A resource that exists outside of the stack: its logical id, type and name in the template.

    identifier is what an import into a stack names it by: a queue's is its URL (CloudFormation API,
    ResourceToImport).
    """

    logical_id: str
    resource_type: str
    name: str
    identifier: Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """What a change set is made of.

    Args:
        template: {"TemplateURL": ...}, {"TemplateBody": ...} or {"UsePreviousTemplate": True}.
        parameters: name to value; None keeps the value that the stack has.
        role_arn: the role that CloudFormation works with; None: the stack's, or the caller's.
        notification_arns: topics that get the stack's events; None: the stack's.
        imports: resources that exist, and are taken into the stack; nothing else changes then.
    """

    template: Mapping[str, str | bool]
    parameters: Mapping[str, str | None]
    role_arn: str | None = None
    notification_arns: tuple[str, ...] | None = None
    imports: tuple[Existing, ...] = ()


@contextmanager
def created(
    stack: Stack, state: StackState | None, request: Request, tell: Tell = lambda _: None
) -> Iterator[ChangeSet | None]:
    """Make a change set for the block, which executes it, keeps it, or has it taken back.

    What leaves the block as an exception (Ctrl-C too) deletes the change set, and the empty stack
    if it was made for it.

    Args:
        stack: the stack.
        state: what it is; None if there is none yet.
        request: what the change set is made of.
        tell: is told while CloudFormation makes it.

    Yields:
        The change set, or None if it would change nothing; then none is left behind.

    Raises:
        DeploymentFailed: CloudFormation refuses it.
        Outdated: the stack is not as `state` says, by somebody else; nothing was changed.
    """
    name = f"{NAME_PREFIX}{uuid.uuid4().hex}"
    creates = state is None or state.status == REVIEW
    stack_id = ""
    try:
        made, stack_id = _create(stack, state, name, _call(stack, name, creates, request))
        # Of a stack that has nothing yet, the answer says which one the change set is for.
        found = StackState.in_review(stack_id) if creates or state is None else state
        change_set = _wait(stack, made, found, name, creates, tell)
        if change_set is None:
            take_back(stack, name, stack_id, made_stack=state is None)
        elif not creates and (changed := stack.find_change(found)):
            # It fits what the stack is now, and that is not what was worked out before.
            raise Outdated(changed)
        elif request.imports:
            change_set = replace(change_set, imports=True)
        yield change_set
    except BaseException:
        with suppress(AwsError):
            take_back(stack, name, stack_id, made_stack=state is None)
        raise


def _create(stack: Stack, state: StackState | None, name: str, call: Any) -> tuple[str, str]:
    """Make a change set; return its ARN, and the stack's."""
    with stack.expecting(state):
        for pause in (*POLL_SECONDS, None):
            try:
                answer: Any = stack.client.create_change_set(**call)
            except ClientError as error:
                # Nobody else has this name: the SDK repeats a call whose answer was lost.
                if code_of(error) == "AlreadyExistsException":
                    made = described.describe(
                        stack.client, StackName=stack.name, ChangeSetName=name
                    )
                    return made["ChangeSetId"], made["StackId"]
                if pause is None or not any(text in str(error) for text in NOT_YET):
                    raise
                stack.sleep(pause)
            else:
                return answer["Id"], answer["StackId"]
    raise AssertionError


def find(stack: Stack, state: StackState, name: str) -> ChangeSet:
    """Return the change set with this name (or ARN), which an earlier run has left.

    Raises:
        AwsError: there is none, or it cannot be executed.
    """
    try:
        with translated(f"change set {name}"):
            answer = described.describe(stack.client, StackName=stack.name, ChangeSetName=name)
    except AwsError as error:
        told = f"{error}; `{stack.command('deploy --no-execute')}` leaves one"
        if is_unfit(error):
            told = (
                f"stack {stack.name} has no change set {name}: it was executed or deleted, or an "
                f"update has made it void; `{stack.command('deploy --no-execute')}` leaves one"
            )
        raise AwsError(told) from error
    if answer["Status"] != "CREATE_COMPLETE" or answer["ExecutionStatus"] != "AVAILABLE":
        raise AwsError(
            f"change set {name} is {answer['Status']}, {answer['ExecutionStatus']}: it cannot be "
            f"executed; make a new one with `{stack.command('deploy')}`"
        )
    creates = state.status == REVIEW
    return described.change_set_of(answer, name, state, creates)


def execute(
    stack: Stack, change_set: ChangeSet, token: str, *, rollback: bool = True
) -> Iterator[StackEvent | Waiting]:
    """Execute a change set; what it returns yields the operation's events until it has ended.

    Args:
        stack: the stack.
        change_set: what to execute.
        token: the ClientRequestToken, which every event of the operation carries.
        rollback: whether a failure undoes what was done.

    Raises:
        Outdated: another deployment has begun since the change set was made.
        DeploymentFailed: it failed or was rolled back; from the iteration.
    """
    following = stack.following(change_set.stack_id)
    if not change_set.creates:
        following.skip_past()
    try:
        with _expecting(stack, change_set.found):
            stack.client.execute_change_set(
                ChangeSetName=change_set.id,
                ClientRequestToken=token,
                **({} if change_set.imports else _on_failure(rollback)),
            )
    except Outdated:
        if not _has_begun(stack, following, token):
            raise
    return following.events()


def _has_begun(stack: Stack, following: Following, token: str) -> bool:
    """Whether an operation with this token has begun, whatever the call for it was answered.

    The SDK repeats a call whose answer was lost, and the repetition finds a change set that is
    being executed already.
    """
    tokens = looks(f"stack {stack.name}", following.token_of_last_operation, stack.sleep)
    with suppress(AwsError):
        return token in islice(tokens, MAX_LOOKS)
    return False


@contextmanager
def _expecting(stack: Stack, found: StackState | None) -> Iterator[None]:
    """Tell what the block's calls about a change set fail with, as `Stack.expecting` does.

    Raises:
        Outdated: also where the stack is as it was found, and the change set is not.
    """
    try:
        with stack.expecting(found):
            yield
    except AwsError as error:
        unfit = is_unfit(error) and not isinstance(error, Outdated)
        if unfit and code_of(cast("ClientError", error.__cause__)) != "ValidationError":
            raise _lost(stack) from error
        raise


def _lost(stack: Stack) -> Outdated:
    """Return the refusal where nothing but the change set is not as it was."""
    return Outdated(
        f"stack {stack.name}: somebody else has deleted or executed the change set of this command "
        "meanwhile; nothing more was changed by this command, repeat the command"
    )


def _on_failure(rollback: bool) -> Any:
    """Return what becomes of what an operation has made; one that imports makes nothing."""
    # A table that this operation made holds no payment yet, and would only be in the way of the
    # next attempt.
    return {"DisableRollback": not rollback, "RetainExceptOnCreate": True}


def _call(stack: Stack, name: str, creates: bool, request: Request) -> Any:
    call: dict[str, Any] = {
        "StackName": stack.name,
        "ChangeSetName": name,
        "ClientToken": name,  # whoever repeats the call means the same change set
        "ChangeSetType": "CREATE" if creates else "UPDATE",
        "Description": "payment-infra deploy",
        "Capabilities": list(CAPABILITIES),
        "Parameters": [_parameter(*item) for item in request.parameters.items()],
        **request.template,
    }
    if request.role_arn is not None:
        call["RoleARN"] = request.role_arn
    if request.notification_arns is not None:
        call["NotificationARNs"] = list(request.notification_arns)
    if request.imports:
        call["ChangeSetType"] = "IMPORT"
        call["ResourcesToImport"] = [
            {
                "ResourceType": resource.resource_type,
                "LogicalResourceId": resource.logical_id,
                "ResourceIdentifier": dict(resource.identifier),
            }
            for resource in request.imports
        ]
    return call


def _wait(
    stack: Stack, change_set_id: str, found: StackState, name: str, creates: bool, tell: Tell
) -> ChangeSet | None:
    unseen, seen = 0, False

    def look() -> Any:
        nonlocal seen, unseen
        try:
            answer = described.describe(stack.client, ChangeSetName=change_set_id)
        except ClientError as error:
            unseen += 1
            if code_of(error) != MISSING or seen or unseen > MAX_UNSEEN:
                raise
            if unseen > MAX_UNLISTED and not is_listed(stack, change_set_id):
                raise
            now = stack.state()
            if now is not None and change(found, now):
                raise  # it went with that
            return {"Status": "CREATE_PENDING"}  # a new one is not seen everywhere at once
        seen = True
        return answer

    answer: Any = {}
    with _expecting(stack, found):
        for answer in looks(f"stack {stack.name}", look, stack.sleep):
            if answer["Status"] not in {"CREATE_PENDING", "CREATE_IN_PROGRESS"}:
                break
            tell(Waiting("CloudFormation makes the change set"))
    # Whoever sees it in the console can delete or execute it.
    taken = answer["Status"].startswith("DELETE_") or answer.get("ExecutionStatus") in TAKEN
    if taken:
        changed = stack.find_change(found)
        raise Outdated(changed) if changed else _lost(stack)
    if answer["Status"] == "CREATE_COMPLETE":
        return described.change_set_of(answer, name, found, creates)
    reason = answer.get("StatusReason", "")
    if any(text in reason for text in NO_CHANGES):
        return None
    events = validation_events(stack.client, change_set_id)
    told = explain_change_set(reason, events, stack.flags)
    raise DeploymentFailed(f"stack {stack.name}: the change set failed: {told}")


def _parameter(name: str, value: str | None) -> dict[str, str | bool]:
    if value is None:
        return {"ParameterKey": name, "UsePreviousValue": True}
    return {"ParameterKey": name, "ParameterValue": value}
