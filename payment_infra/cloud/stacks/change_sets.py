"""Change sets: made, read, executed, and never left behind by accident."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from payment_infra.cloud.events import Action, Change, PropertyChange, Replacement
from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.cloud.sdk.polling import looks
from payment_infra.cloud.stacks.diagnosis import explain_change_set, validation_events
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.following import REVIEW
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from payment_infra.cloud.events import StackEvent, Waiting
    from payment_infra.cloud.stacks.stack import Stack, StackState

NAME_PREFIX = "payment-infra-"
# What an operation may make: a template that was deployed before may name its roles too.
CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM")
# CloudFormation takes a larger template only from a bucket ("CloudFormation quotas").
MAX_BODY_BYTES = 51_200
# What CloudFormation says in StatusReason when a change set would change nothing.
NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
# Of a change set that another deployment has overtaken.
OVERTAKEN = frozenset({"ChangeSetNotFound", "InvalidChangeSetStatus"})
REPLACEMENTS: Mapping[str, Replacement] = {"True": "replaces", "Conditional": "may replace"}


class Outdated(AwsError):
    """A change set that does not fit the stack any more, which was updated since."""


@dataclass(frozen=True)
class ChangeSet:
    """A change set that is ready to be executed.

    creates if the stack has nothing yet; imports if it does nothing but take resources into it;
    parameters holds the values that are given, and not those that the stack keeps.
    """

    id: str
    name: str
    stack_id: str
    creates: bool
    changes: tuple[Change, ...]
    parameters: Mapping[str, str]
    imports: bool = False


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
def created(stack: Stack, state: StackState | None, request: Request) -> Iterator[ChangeSet | None]:
    """Make a change set for the block, which executes it, keeps it, or has it taken back.

    What leaves the block as an exception (Ctrl-C too) deletes the change set, and the empty stack
    if it was made for it.

    Args:
        stack: the stack.
        state: what it is; None if there is none yet.
        request: what the change set is made of.

    Yields:
        The change set, or None if it would change nothing; then none is left behind.

    Raises:
        DeploymentFailed: CloudFormation refuses it.
    """
    name = f"{NAME_PREFIX}{uuid.uuid4().hex}"
    creates = state is None or state.status == REVIEW
    try:
        with translated(f"stack {stack.name}"):
            answer = stack.client.create_change_set(**_call(stack, name, creates, request))
        change_set = _wait(stack, answer["Id"], answer["StackId"], name, creates)
        if change_set is None:
            _take_back(stack, name, made_stack=state is None)
        elif request.imports:
            change_set = replace(change_set, imports=True)
        yield change_set
    except BaseException:
        with suppress(AwsError):
            _take_back(stack, name, made_stack=state is None)
        raise


def find(stack: Stack, state: StackState, name: str) -> ChangeSet:
    """Return the change set with this name (or ARN), which an earlier run has left.

    Raises:
        AwsError: there is none, or it cannot be executed.
    """
    try:
        with translated(f"change set {name}"):
            answer = _describe(stack, StackName=stack.name, ChangeSetName=name)
    except AwsError as error:
        raise AwsError(f"{error}; `{stack.command('deploy --no-execute')}` leaves one") from error
    if answer["Status"] != "CREATE_COMPLETE" or answer["ExecutionStatus"] != "AVAILABLE":
        raise AwsError(
            f"change set {name} is {answer['Status']}, {answer['ExecutionStatus']}: it cannot be "
            f"executed; make a new one with `{stack.command('deploy')}`"
        )
    creates = state.status == REVIEW
    return _change_set(answer, name, state.id, creates)


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
    with translated(f"stack {stack.name}"):
        try:
            stack.client.execute_change_set(
                ChangeSetName=change_set.id,
                ClientRequestToken=token,
                **({} if change_set.imports else _on_failure(rollback)),
            )
        except ClientError as error:
            if code_of(error) in OVERTAKEN:
                raise Outdated(
                    f"stack {stack.name}: another deployment has begun since this one was "
                    "prepared, and nothing of this one was done; repeat the command"
                ) from error
            raise
    return following.events()


def _on_failure(rollback: bool) -> Any:
    """Return what becomes of what an operation has made; one that imports makes nothing."""
    # A table that this operation made holds no payment yet, and would only be in the way of the
    # next attempt.
    return {"DisableRollback": not rollback, "RetainExceptOnCreate": True}


def delete_failed(stack: Stack) -> None:
    """Delete the change sets that failed in earlier runs of this tool."""
    with translated(f"stack {stack.name}"):
        for summary in _summaries(stack):
            if summary["ChangeSetName"].startswith(NAME_PREFIX) and summary["Status"] == "FAILED":
                stack.client.delete_change_set(ChangeSetName=summary["ChangeSetId"])


def _summaries(stack: Stack) -> Iterator[Any]:
    """Yield what ListChangeSets says of each change set that is not deleted."""
    pages = stack.client.get_paginator("list_change_sets").paginate(StackName=stack.name)
    for page in pages:
        yield from (
            summary for summary in page["Summaries"] if not summary["Status"].startswith("DELETE_")
        )


def _call(stack: Stack, name: str, creates: bool, request: Request) -> Any:
    call: dict[str, Any] = {
        "StackName": stack.name,
        "ChangeSetName": name,
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
    stack: Stack, change_set_id: str, stack_id: str, name: str, creates: bool
) -> ChangeSet | None:
    def look() -> Any:
        return _describe(stack, ChangeSetName=change_set_id)

    answer: Any = {}
    for answer in looks(f"stack {stack.name}", look, stack.sleep):
        if answer["Status"] in {"CREATE_COMPLETE", "FAILED"}:
            break
    if answer["Status"] == "CREATE_COMPLETE":
        return _change_set(answer, name, stack_id, creates)
    reason = answer.get("StatusReason", "")
    if any(text in reason for text in NO_CHANGES):
        return None
    events = validation_events(stack.client, change_set_id)
    told = explain_change_set(reason, events, stack.flags)
    raise DeploymentFailed(f"stack {stack.name}: the change set failed: {told}")


def _describe(stack: Stack, **which: str) -> Any:
    """Return a change set's description, with the changes of all its pages; fails as the SDK."""
    page: Any = stack.client.describe_change_set(**which)  # type: ignore[arg-type]
    answer, changes = page, [*page.get("Changes", [])]
    while page.get("NextToken"):
        page = stack.client.describe_change_set(
            ChangeSetName=answer["ChangeSetId"], NextToken=page["NextToken"]
        )
        changes += page.get("Changes", [])
    return {**answer, "Changes": changes}


def _change_set(answer: Any, name: str, stack_id: str, creates: bool) -> ChangeSet:
    parameters = {
        one["ParameterKey"]: one.get("ParameterValue", "") for one in answer.get("Parameters", [])
    }
    changes = _changes(answer)
    return ChangeSet(answer["ChangeSetId"], name, stack_id, creates, changes, parameters)


def _changes(answer: Any) -> tuple[Change, ...]:
    raw = (change["ResourceChange"] for change in answer["Changes"] if "ResourceChange" in change)
    return tuple(map(_change, raw))


def _take_back(stack: Stack, name: str, *, made_stack: bool) -> None:
    """Delete a change set, if it was made, and the empty stack that was made for it."""
    with translated(f"stack {stack.name}"):
        try:
            stack.client.delete_change_set(StackName=stack.name, ChangeSetName=name)
        except ClientError as error:
            # The call that makes it may have been interrupted before it took effect.
            if code_of(error) not in {"ChangeSetNotFound", "ValidationError"}:
                raise
        if not made_stack:
            return
        # Another deployment, begun at the same moment, may have a change set of the same stack.
        state = stack.state()
        if state is None or state.status != REVIEW:
            return
        if all(summary["ChangeSetName"] == name for summary in _summaries(stack)):
            if state.termination_protection:
                stack.protect(state.id, on=False)
            stack.client.delete_stack(StackName=state.id)


def _change(raw: Mapping[str, Any]) -> Change:
    named: dict[str, PropertyChange] = {}
    for detail in raw.get("Details", []):
        target = detail["Target"]
        path = target.get("Name") or target["Attribute"]
        named.setdefault(path, PropertyChange(path, cause=detail.get("CausingEntity")))
    return Change(
        action=cast("Action", raw["Action"]),
        logical_id=raw["LogicalResourceId"],
        resource_type=raw["ResourceType"],
        replacement=REPLACEMENTS.get(raw.get("Replacement", ""), "no"),
        properties=tuple(named.values()),
    )


def _parameter(name: str, value: str | None) -> dict[str, str | bool]:
    if value is None:
        return {"ParameterKey": name, "UsePreviousValue": True}
    return {"ParameterKey": name, "ParameterValue": value}


def token_of(principal: str) -> str:
    """Return a ClientRequestToken that says who began an operation.

    Args:
        principal: the caller's ARN, as sts gives it; its last part is the user or the session.
    """
    name = re.sub(r"[^a-zA-Z0-9]+", "-", principal.rpartition("/")[2]).strip("-")[:64]
    return f"{NAME_PREFIX}{name}-{uuid.uuid4().hex[:12]}"


def principal_of(token: str) -> str:
    """Return who began an operation, as far as its token says; "" if it was not this tool."""
    if not token.startswith(NAME_PREFIX):
        return ""
    return token.removeprefix(NAME_PREFIX).rpartition("-")[0]
