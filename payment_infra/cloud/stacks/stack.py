"""One CloudFormation stack: its state, its template, and the operations on it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.cloud.sdk.polling import looks
from payment_infra.cloud.stacks.following import REVIEW, Following, is_gone
from payment_infra.cloud.stacks.state import StackState, change, is_busy
from payment_infra.cloud.stacks.tokens import began
from payment_infra.errors import AwsError
from payment_infra.moments import shown
from payment_infra.names import naming_flags

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackResourceSummaryTypeDef

    from payment_infra.cloud.events import StackEvent, Waiting

__all__ = ["CANCELLABLE", "Outdated", "Stack", "StackState"]

CANCELLABLE = frozenset({"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"})
# What CloudFormation says of a call that does not fit the stack, or its change set, as it is now;
# it also says the first of one that never fits (CloudFormation API, "Common Error Types", and the
# errors of CreateChangeSet, ExecuteChangeSet and DeleteChangeSet).
UNFIT = frozenset(
    {
        *("ValidationError", "ChangeSetNotFound", "InvalidChangeSetStatus"),
        *("AlreadyExistsException", "TokenAlreadyExistsException"),
    }
)


class Outdated(AwsError):
    """Somebody else has changed the stack, and what was to be done to it does not fit any more."""


def is_unfit(error: AwsError) -> bool:
    """Whether a call was refused that perhaps fitted the stack as it was before."""
    return isinstance(error.__cause__, ClientError) and code_of(error.__cause__) in UNFIT


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

    def find_change(self, found: StackState | None) -> str:
        """Say what somebody else has done to the stack since it was found so; "" for nothing.

        CloudFormation works on a stack for one at a time, and knows no lock of ours.
        """
        now = self.state()
        what = change(found, now)
        return what and self._told(what, found, now)

    @contextmanager
    def expecting(self, found: StackState | None) -> Iterator[None]:
        """Translate what the block's calls fail with, which expect the stack to be as it was found.

        Raises:
            Outdated: it is not, and a call was refused; says what somebody else has done.
            AwsError: a call failed otherwise.
        """
        try:
            with translated(f"stack {self.name}"):
                yield
        except AwsError as error:
            if isinstance(error, Outdated) or not is_unfit(error):
                raise
            try:
                now = self.state()
                what = change(found, now) or ("works on it" if now and is_busy(now) else "")
                told = what and self._told(what, found, now)
            except AwsError:  # then the refusal itself has to do
                raise error from error.__cause__
            if told:
                raise Outdated(told) from error
            raise

    def _told(self, what: str, found: StackState | None, now: StackState | None) -> str:
        details, then = "", "repeat the command"
        if found is not None and now is None:
            details = began(
                self.following(found.id).token_of_last_operation({"DELETE_IN_PROGRESS"})
            )
        elif now is not None and now.status != REVIEW:
            by = began(self.following(now.id).token_of_last_operation())
            details = f"{now.status} since {shown(now.changed_at)}{by and f', {by}'}"
            if is_busy(now):
                then = f"`{self.command('watch')}` shows it, repeat the command after that"
        return (
            f"stack {self.name}: somebody else {what} meanwhile{details and f' ({details})'}; "
            f"nothing more was changed by this command, {then}"
        )

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
        body = self._template_body(change_set_id)
        if isinstance(body, str):
            from payment_infra.rendering import read_document  # a first deployment needs no YAML

            try:
                return read_document(body)
            except ValueError as error:
                told = f"stack {self.name}: its template cannot be read: {error}"
                raise AwsError(f"{told}; see it in the CloudFormation console") from error
        document: Mapping[str, Any] = json.loads(json.dumps(body))
        return document

    def template_text(self) -> str:
        """Return the deployed template as text, in JSON or YAML; to parse the latter takes long."""
        body = self._template_body()
        return body if isinstance(body, str) else json.dumps(body)

    def _template_body(self, change_set_id: str | None = None) -> Any:
        """Return a template as boto3 does: parsed if it is JSON, as text if it is YAML."""
        where = {"ChangeSetName": change_set_id} if change_set_id else {"StackName": self.name}
        with self._there():
            return self.client.get_template(**where, TemplateStage="Original")["TemplateBody"]

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
            Outdated: somebody else has changed or protected the stack.
        """
        following = self._following_from_now(state)
        try:
            with self.expecting(state):
                self.client.delete_stack(StackName=state.id, RetainResources=list(retain))
        except AwsError as error:
            if is_unfit(error) and (now := self.state()) and now.termination_protection:
                raise Outdated(
                    f"stack {self.name}: somebody else has switched its termination protection on "
                    "meanwhile; it was not deleted, repeat the command once that is off"
                ) from error
            raise
        return following.events()

    def roll_back(self, state: StackState) -> Iterator[StackEvent | Waiting]:
        """Undo what a failed operation has left, when it was told not to roll back."""
        following = self._following_from_now(state)
        with self.expecting(state):
            self.client.rollback_stack(StackName=state.id, RetainExceptOnCreate=True)
        return following.events(expected={"ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"})

    def continue_rollback(
        self, state: StackState, skip: Collection[str] = ()
    ) -> Iterator[StackEvent | Waiting]:
        """Continue a rollback that failed, without the resources with these logical ids."""
        following = self._following_from_now(state)
        with self.expecting(state):
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
        with self.expecting(state):
            self.client.cancel_update_stack(StackName=state.id)
        return following.events(expected={"UPDATE_ROLLBACK_COMPLETE"})

    def protect(self, state_id: str, on: bool) -> None:
        """Switch termination protection, which refuses every deletion of the stack."""
        with self._there():
            self.client.update_termination_protection(
                StackName=state_id, EnableTerminationProtection=on
            )

    def policy(self) -> str:
        """Return the stack policy as JSON, "" if there is none."""
        with self._there():
            answer = self.client.get_stack_policy(StackName=self.name)
        return answer.get("StackPolicyBody", "")

    def set_policy(self, state_id: str, body: str) -> None:
        """Set the stack policy, which says what updates may do to which resource."""
        with self._there():
            self.client.set_stack_policy(StackName=state_id, StackPolicyBody=body)

    def resources(self) -> Iterator[StackResourceSummaryTypeDef]:
        """Yield every resource as CloudFormation summarizes it."""
        with self._there():
            pages = self.client.get_paginator("list_stack_resources").paginate(StackName=self.name)
            for page in pages:
                yield from page["StackResourceSummaries"]

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Translate what the block's calls fail with, which are about a stack that was found."""
        with translated(f"stack {self.name}"):
            try:
                yield
            except ClientError as error:
                if is_gone(error):
                    raise Outdated(
                        f"stack {self.name}: somebody else has deleted it meanwhile; nothing more "
                        "was changed by this command, repeat the command"
                    ) from error
                raise

    def _following_from_now(self, state: StackState) -> Following:
        following = self.following(state.id)
        following.skip_past()
        return following

    def _read(self) -> StackState | None:
        try:
            stack = self.client.describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            if is_gone(error):
                return None
            raise
        if stack["StackStatus"] == "DELETE_COMPLETE":
            return None
        return StackState.of(stack)
