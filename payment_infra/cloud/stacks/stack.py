"""One CloudFormation stack: its state, its template, and the operations on it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.cloud.sdk.polling import looks
from payment_infra.cloud.stacks.following import REVIEW, Following
from payment_infra.errors import AwsError
from payment_infra.names import naming_flags

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackResourceSummaryTypeDef, StackTypeDef

    from payment_infra.cloud.events import StackEvent, Waiting

CANCELLABLE = frozenset({"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"})


@dataclass(frozen=True)
class StackState:
    """What DescribeStacks says of a stack.

    changed_at is when its last operation began; drift is DRIFTED, IN_SYNC, UNKNOWN or NOT_CHECKED,
    as it was found at drift_checked_at.
    """

    id: str
    status: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    changed_at: datetime
    role_arn: str | None = None
    notification_arns: tuple[str, ...] = ()
    termination_protection: bool = False
    drift: str = "NOT_CHECKED"
    drift_checked_at: datetime | None = None

    @classmethod
    def of(cls, stack: StackTypeDef) -> StackState:
        """Return the state that an answer of DescribeStacks holds."""
        drift = stack.get("DriftInformation", {})
        return cls(
            id=stack["StackId"],
            status=stack["StackStatus"],
            parameters={
                parameter["ParameterKey"]: parameter.get("ParameterValue", "")
                for parameter in stack.get("Parameters", [])
            },
            outputs={
                output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])
            },
            changed_at=stack.get("LastUpdatedTime") or stack["CreationTime"],
            role_arn=stack.get("RoleARN"),
            notification_arns=tuple(stack.get("NotificationARNs", [])),
            termination_protection=stack.get("EnableTerminationProtection", False),
            drift=drift.get("StackDriftStatus", "NOT_CHECKED"),
            drift_checked_at=drift.get("LastCheckTimestamp"),
        )


class Stack:
    """A stack by name, whether it exists yet or not.

    Each operation begins with the call that starts it; what it returns is to be iterated over, and
    yields the operation's events until it has ended (see `Following`).

    flags is what leads to it in a command line, as `--suffix dev --region eu-west-1`.
    """

    def __init__(
        self,
        client: CloudFormationClient,
        name: str,
        sleep: Callable[[float], None] = time.sleep,
        flags: str = "",
    ) -> None:
        self.name = name
        self.client = client
        self.sleep = sleep
        self.flags = flags or naming_flags("", name)

    def command(self, words: str) -> str:
        """Return a command line about this stack, for a person to enter."""
        return f"payment-infra {words} {self.flags}"

    def state(self) -> StackState | None:
        """Return the stack's state, or None if there is no such stack."""
        with translated(f"stack {self.name}"):
            return self._read()

    def state_for_sure(self) -> StackState | None:
        """Return the stack's state, and look again if a look fails for a passing reason.

        For what follows an operation, whose end such a failure must not hide.
        """
        return next(looks(f"stack {self.name}", self._read, self.sleep))

    def outputs(self) -> Mapping[str, str]:
        """Return the stack's outputs.

        Raises:
            AwsError: there is no such stack.
        """
        state = self.state()
        if state is None or state.status == REVIEW:
            raise AwsError(f"there is no stack {self.name}; `{self.command('deploy')}` makes it")
        return state.outputs

    def template(self, change_set_id: str | None = None) -> Mapping[str, Any]:
        """Return the deployed template, or a change set's, with the functions' long forms.

        Raises:
            AwsError: there is none that can be read.
        """
        where = {"ChangeSetName": change_set_id} if change_set_id else {"StackName": self.name}
        with translated(f"stack {self.name}"):
            answer = self.client.get_template(**where, TemplateStage="Original")
        # boto3 parses a template in JSON, and passes one in YAML on as text.
        body: Any = answer["TemplateBody"]
        if isinstance(body, str):
            from payment_infra.rendering import read_document  # a first deployment needs no YAML

            try:
                return read_document(body)
            except ValueError as error:
                told = f"stack {self.name}: its template cannot be read: {error}"
                raise AwsError(f"{told}; see it in the CloudFormation console") from error
        document: Mapping[str, Any] = json.loads(json.dumps(body))
        return document

    def metadata(self, logical_id: str) -> Mapping[str, Any]:
        """Return the Metadata attribute of a resource, {} if the stack has no such resource."""
        with translated(f"stack {self.name}"):
            try:
                answer = self.client.describe_stack_resource(
                    StackName=self.name, LogicalResourceId=logical_id
                )
            except ClientError as error:
                if code_of(error) != "ValidationError":
                    raise
                return {}
        found: Mapping[str, Any] = json.loads(answer["StackResourceDetail"].get("Metadata", "{}"))
        return found

    def physical_ids(self) -> Mapping[str, str]:
        """Return logical id to physical id of every resource."""
        return {
            resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
            for resource in self.resources()
        }

    def physical_ids_of(self, resource_type: str) -> list[str]:
        """Return the physical ids of the resources of one type, as AWS::CloudWatch::Alarm."""
        return [
            resource["PhysicalResourceId"]
            for resource in self.resources()
            if resource["ResourceType"] == resource_type and resource.get("PhysicalResourceId")
        ]

    def resource_statuses(self) -> Mapping[str, str]:
        """Return logical id to status of every resource."""
        return {
            resource["LogicalResourceId"]: resource["ResourceStatus"]
            for resource in self.resources()
        }

    def created(self) -> frozenset[str]:
        """Return the logical ids of the resources whose creation has come to its end."""
        statuses = self.resource_statuses()
        return frozenset(name for name, status in statuses.items() if status == "CREATE_COMPLETE")

    def following(self, stack_id: str) -> Following:
        """Return what yields the events of an operation that is begun after this."""
        return Following(self.client, self.name, stack_id, self.sleep, self.flags)

    def watch(self, state: StackState) -> Iterator[StackEvent | Waiting]:
        """Yield the events of the operation in progress, or else of the last one, from its start.

        Raises:
            DeploymentFailed: it failed or was rolled back.
        """
        following = self.following(state.id)
        following.skip_to_last_operation()
        return following.events()

    def delete(
        self, state: StackState, retain: Collection[str] = ()
    ) -> Iterator[StackEvent | Waiting]:
        """Delete the stack, and leave the resources with these logical ids where they are.

        CloudFormation takes `retain` only for a stack whose deletion has failed before.

        Raises:
            DeploymentFailed: the deletion failed.
        """
        following = self._following_from_now(state)
        with translated(f"stack {self.name}"):
            self.client.delete_stack(StackName=state.id, RetainResources=list(retain))
        return following.events()

    def roll_back(self, state: StackState) -> Iterator[StackEvent | Waiting]:
        """Undo what a failed operation has left, when it was told not to roll back."""
        following = self._following_from_now(state)
        with translated(f"stack {self.name}"):
            self.client.rollback_stack(StackName=state.id, RetainExceptOnCreate=True)
        return following.events(expected={"ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"})

    def continue_rollback(
        self, state: StackState, skip: Collection[str] = ()
    ) -> Iterator[StackEvent | Waiting]:
        """Continue a rollback that failed, without the resources with these logical ids."""
        following = self._following_from_now(state)
        with translated(f"stack {self.name}"):
            self.client.continue_update_rollback(StackName=state.id, ResourcesToSkip=list(skip))
        return following.events(expected={"UPDATE_ROLLBACK_COMPLETE"})

    def cancel(self, state: StackState) -> Iterator[StackEvent | Waiting]:
        """Cancel an update, which rolls it back, or delete a stack that is being created.

        Raises:
            AwsError: no operation in progress can be cancelled.
        """
        if state.status not in CANCELLABLE:
            raise AwsError(
                f"stack {self.name} is {state.status}: only a creation or an update in "
                "progress can be cancelled"
            )
        if state.status == "CREATE_IN_PROGRESS":
            # The protection is that of a stack which holds nothing yet.
            if state.termination_protection:
                self.protect(state.id, on=False)
            return self.delete(state)
        following = self._following_from_now(state)
        with translated(f"stack {self.name}"):
            self.client.cancel_update_stack(StackName=state.id)
        return following.events(expected={"UPDATE_ROLLBACK_COMPLETE"})

    def protect(self, state_id: str, on: bool) -> None:
        """Switch termination protection, which refuses every deletion of the stack."""
        with translated(f"stack {self.name}"):
            self.client.update_termination_protection(
                StackName=state_id, EnableTerminationProtection=on
            )

    def policy(self) -> str:
        """Return the stack policy as JSON, "" if there is none."""
        with translated(f"stack {self.name}"):
            answer = self.client.get_stack_policy(StackName=self.name)
        return answer.get("StackPolicyBody", "")

    def set_policy(self, state_id: str, body: str) -> None:
        """Set the stack policy, which says what updates may do to which resource."""
        with translated(f"stack {self.name}"):
            self.client.set_stack_policy(StackName=state_id, StackPolicyBody=body)

    def resources(self) -> Iterator[StackResourceSummaryTypeDef]:
        """Yield every resource as CloudFormation summarizes it."""
        with translated(f"stack {self.name}"):
            pages = self.client.get_paginator("list_stack_resources").paginate(StackName=self.name)
            for page in pages:
                yield from page["StackResourceSummaries"]

    def _following_from_now(self, state: StackState) -> Following:
        following = self.following(state.id)
        following.skip_past()
        return following

    def _read(self) -> StackState | None:
        try:
            stack = self.client.describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            # CloudFormation has no error code of its own for this.
            if code_of(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
        if stack["StackStatus"] == "DELETE_COMPLETE":
            return None
        return StackState.of(stack)
