"""One CloudFormation stack: its state, change sets, events, outputs and deletion.

A deployment is: create a change set, look at it, execute it, follow its events. Each step is a
call of its own, and what happens comes as events, so that a caller decides what to show and what
to ask in between.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from cfn_tools import load_yaml

from payment_infra.cloud.errors import code_of, translated
from payment_infra.errors import AwsError, DeploymentFailed

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_cloudformation import CloudFormationClient

POLL_SECONDS = (0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
CAPABILITIES = ("CAPABILITY_IAM",)
# What CloudFormation says in StatusReason when a change set would change nothing.
NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
# A stack that can be updated.
UPDATABLE = {
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
}
SUCCEEDED = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"}


@dataclass(frozen=True)
class StackState:
    """What DescribeStacks says of a stack."""

    id: str
    status: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class StackEvent:
    """One event of a stack: what happened to which resource, when, and why."""

    id: str
    time: datetime
    logical_id: str
    resource_type: str
    status: str
    reason: str

    @property
    def failed(self) -> bool:
        """Whether the resource could not be brought to its new state."""
        return self.status.endswith("_FAILED")


@dataclass(frozen=True)
class ChangeSet:
    """A change set that is ready to be executed."""

    id: str
    stack_id: str
    made_stack: bool


class Stack:
    """A stack by name, whether it exists yet or not."""

    def __init__(
        self,
        client: CloudFormationClient,
        name: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._client = client
        self._sleep = sleep

    def state(self) -> StackState | None:
        """Return the stack's state, or None if there is no such stack."""
        return self._describe(self.name)

    def outputs(self) -> Mapping[str, str]:
        """Return the stack's outputs.

        Raises:
            AwsError: there is no such stack.
        """
        state = self.state()
        if state is None or state.status == "REVIEW_IN_PROGRESS":
            raise AwsError(f"there is no stack {self.name}; `payment-infra deploy` makes it")
        return state.outputs

    def create_change_set(
        self,
        template: Mapping[str, str],
        parameters: Mapping[str, str | None],
        description: str,
    ) -> ChangeSet | None:
        """Create a change set and wait until it is ready.

        Args:
            template: {"TemplateURL": ...} or {"TemplateBody": ...}.
            parameters: name to value; None keeps the value that the stack has.
            description: what the change set says of itself.

        Returns:
            The change set, or None if it would change nothing; then none is left behind.

        Raises:
            DeploymentFailed: CloudFormation refuses the template, or the stack's state does not
                allow a change.
        """
        state = self.state()
        creates = state is None or state.status == "REVIEW_IN_PROGRESS"
        if state is not None and not creates and state.status not in UPDATABLE:
            raise DeploymentFailed(
                f"stack {self.name} is {state.status}; {_remedy(self.name, state.status)}"
            )
        request: dict[str, Any] = {
            "StackName": self.name,
            "ChangeSetName": f"payment-infra-{uuid.uuid4().hex}",
            "ChangeSetType": "CREATE" if creates else "UPDATE",
            "Description": description,
            "Capabilities": list(CAPABILITIES),
            "Parameters": [_parameter(*item) for item in parameters.items()],
            **template,
        }
        with translated(f"stack {self.name}"):
            created = self._client.create_change_set(**request)
        change_set = ChangeSet(created["Id"], created["StackId"], state is None)
        status, reason = self._wait_for_change_set(change_set)
        if status == "CREATE_COMPLETE":
            return change_set
        self.discard(change_set)
        if any(text in reason for text in NO_CHANGES):
            return None
        raise DeploymentFailed(f"stack {self.name}: the change set failed: {reason or status}")

    def discard(self, change_set: ChangeSet) -> None:
        """Delete a change set, and the empty stack if it was made for it."""
        with translated(f"stack {self.name}"):
            self._client.delete_change_set(ChangeSetName=change_set.id)
            if change_set.made_stack:
                self._client.delete_stack(StackName=change_set.stack_id)

    def execute(self, change_set: ChangeSet) -> Iterator[StackEvent]:
        """Execute a change set, and yield this operation's events until it has ended.

        Raises:
            DeploymentFailed: it failed or was rolled back; names the first failed resource.
        """
        known = self._newest_event_ids(change_set.stack_id)
        with translated(f"stack {self.name}"):
            self._client.execute_change_set(ChangeSetName=change_set.id)
        yield from self._follow(change_set.stack_id, known)

    def delete(self) -> Iterator[StackEvent]:
        """Delete the stack, and yield the deletion's events until it has ended.

        Raises:
            AwsError: there is no such stack.
            DeploymentFailed: the deletion failed.
        """
        state = self.state()
        if state is None:
            raise AwsError(f"there is no stack {self.name}; nothing was deleted")
        known = self._newest_event_ids(state.id)
        with translated(f"stack {self.name}"):
            self._client.delete_stack(StackName=state.id)
        yield from self._follow(state.id, known)

    def metadata(self) -> Mapping[str, Any]:
        """Return the Metadata section of the deployed template."""
        with translated(f"stack {self.name}"):
            answer = self._client.get_template(StackName=self.name, TemplateStage="Original")
        # boto3 parses a template in JSON, and passes one in YAML on as text.
        body: Any = answer["TemplateBody"]
        document = body if isinstance(body, dict) else load_yaml(body)
        return document.get("Metadata") or {}

    def physical_ids(self) -> Mapping[str, str]:
        """Return logical id to physical id of every resource."""
        with translated(f"stack {self.name}"):
            pages = self._client.get_paginator("list_stack_resources").paginate(StackName=self.name)
            return {
                one["LogicalResourceId"]: one.get("PhysicalResourceId", "")
                for page in pages
                for one in page["StackResourceSummaries"]
            }

    def _describe(self, name_or_id: str) -> StackState | None:
        with translated(f"stack {self.name}"):
            try:
                stack = self._client.describe_stacks(StackName=name_or_id)["Stacks"][0]
            except ClientError as error:
                # CloudFormation has no error code of its own for this.
                if code_of(error) == "ValidationError" and "does not exist" in str(error):
                    return None
                raise
        if stack["StackStatus"] == "DELETE_COMPLETE" and name_or_id == self.name:
            return None
        return StackState(
            id=stack["StackId"],
            status=stack["StackStatus"],
            parameters={
                one["ParameterKey"]: one.get("ParameterValue", "")
                for one in stack.get("Parameters", [])
            },
            outputs={one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])},
        )

    def _wait_for_change_set(self, change_set: ChangeSet) -> tuple[str, str]:
        for seconds in _polls():
            with translated(f"stack {self.name}"):
                answer = self._client.describe_change_set(ChangeSetName=change_set.id)
            status = answer["Status"]
            if not status.endswith(("_PENDING", "_IN_PROGRESS")):
                return status, answer.get("StatusReason", "")
            self._sleep(seconds)
        raise AssertionError("unreachable: polling does not end by itself")

    def _follow(self, stack_id: str, known: set[str]) -> Iterator[StackEvent]:
        first_failure: StackEvent | None = None
        for seconds in _polls():
            state = self._describe(stack_id)
            for event in self._new_events(stack_id, known):
                if event.failed and first_failure is None:
                    first_failure = event
                yield event
            status = state.status if state else "DELETE_COMPLETE"
            if not status.endswith("_IN_PROGRESS"):
                break
            self._sleep(seconds)
        if status not in SUCCEEDED:
            raise DeploymentFailed(f"stack {self.name} is {status}{_because(first_failure)}")

    def _new_events(self, stack_id: str, known: set[str]) -> list[StackEvent]:
        """Return the events that are not in `known`, oldest first, and add them to it."""
        events: list[StackEvent] = []
        with translated(f"stack {self.name}"):
            pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
            for page in pages:
                fresh = [one for one in page["StackEvents"] if one["EventId"] not in known]
                events += map(_event, fresh)
                if len(fresh) < len(page["StackEvents"]):
                    break
        known.update(event.id for event in events)
        return events[::-1]

    def _newest_event_ids(self, stack_id: str) -> set[str]:
        """Return the ids of the newest page: where the events of what follows will end."""
        with translated(f"stack {self.name}"):
            page = self._client.describe_stack_events(StackName=stack_id)
        return {one["EventId"] for one in page["StackEvents"]}


def _polls() -> Iterator[float]:
    yield from POLL_SECONDS
    while True:
        yield POLL_SECONDS[-1]


def _parameter(name: str, value: str | None) -> dict[str, str | bool]:
    if value is None:
        return {"ParameterKey": name, "UsePreviousValue": True}
    return {"ParameterKey": name, "ParameterValue": value}


def _event(raw: Mapping[str, Any]) -> StackEvent:
    return StackEvent(
        id=raw["EventId"],
        time=raw["Timestamp"],
        logical_id=raw.get("LogicalResourceId", ""),
        resource_type=raw.get("ResourceType", ""),
        status=raw.get("ResourceStatus", ""),
        reason=raw.get("ResourceStatusReason", ""),
    )


def _because(failure: StackEvent | None) -> str:
    return f": {failure.logical_id}: {failure.reason or failure.status}" if failure else ""


def _remedy(name: str, status: str) -> str:
    if status.endswith("_IN_PROGRESS"):
        return "wait until that has ended, then try again"
    step = "continue-update-rollback" if status.startswith("UPDATE_") else "delete-stack"
    return f"`aws cloudformation {step} --stack-name {name}` first, then try again"
