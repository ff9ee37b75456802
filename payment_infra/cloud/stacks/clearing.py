"""Change sets that nobody is to execute are deleted, with a stack that was made for one alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.cloud.sdk.polling import POLL_SECONDS
from payment_infra.cloud.stacks.following import REVIEW

if TYPE_CHECKING:
    from payment_infra.cloud.stacks.stack import Stack, StackState

# What the names of this tool's change sets begin with.
NAME_PREFIX = "payment-infra-"
MISSING = "ChangeSetNotFound"


def take_back(stack: Stack, name: str, stack_id: str, *, made_stack: bool) -> None:
    """Delete a change set, if it was made, and the empty stack that was made for it.

    stack_id is that of the stack, "" if it is not known whether one was made.
    """
    with translated(f"stack {stack.name}"):
        _delete(stack, StackName=stack_id or stack.name, ChangeSetName=name)
        if not made_stack:
            return
        # Another deployment, begun at the same moment, may have a change set of the same stack.
        state = stack.state()
        if state is None or state.status != REVIEW or (stack_id and state.id != stack_id):
            return
        if all(summary["ChangeSetName"] == name for summary in _summaries(stack)):
            if state.termination_protection:
                stack.protect(state.id, on=False)
            stack.client.delete_stack(StackName=state.id)


def delete_failed(stack: Stack, state: StackState) -> None:
    """Delete the change sets that failed in earlier runs of this tool.

    Raises:
        Outdated: the stack is not as `state` says, by somebody else.
    """
    with stack.expecting(state):
        for summary in _summaries(stack):
            if summary["ChangeSetName"].startswith(NAME_PREFIX) and summary["Status"] == "FAILED":
                _delete(stack, ChangeSetName=summary["ChangeSetId"])


def _delete(stack: Stack, **which: str) -> None:
    """Delete a change set, if it is there, once it can be deleted; fails as the SDK.

    That it cannot be yet, while it is being made, is an InvalidChangeSetStatus (CloudFormation API,
    DeleteChangeSet).
    """
    pauses = iter(POLL_SECONDS)
    while True:
        try:
            stack.client.delete_change_set(**which)
        except ClientError as error:
            # The call that makes it may have been interrupted before it took effect; the stack may
            # be gone with it.
            if code_of(error) in {MISSING, "ValidationError"}:
                return
            pause = next(pauses, None)
            if code_of(error) != "InvalidChangeSetStatus" or pause is None:
                raise
            stack.sleep(pause)
        else:
            return


def is_listed(stack: Stack, change_set_id: str) -> bool:
    """Whether a change set is among those of its stack; fails as the SDK."""
    return any(summary["ChangeSetId"] == change_set_id for summary in _summaries(stack))


def _summaries(stack: Stack) -> Iterator[Any]:
    """Yield what ListChangeSets says of each change set that is not deleted."""
    pages = stack.client.get_paginator("list_change_sets").paginate(StackName=stack.name)
    for page in pages:
        yield from (
            summary for summary in page["Summaries"] if not summary["Status"].startswith("DELETE_")
        )
