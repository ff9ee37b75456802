"""The second update, which some have directly after them.

A creation is followed by the protection of its table, since a rollback could not delete one that is
protected; an update that brings the key by what is encrypted with it, since a rollback of both
would lose that. After an interruption between the two, the next deployment makes the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from payment_infra.cloud.deploying.parameters import protection_request
from payment_infra.cloud.deploying.release import encrypting
from payment_infra.cloud.stacks import change_sets
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.stack import Outdated

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.execution import Execution
    from payment_infra.cloud.deploying.options import DeployOptions
    from payment_infra.cloud.deploying.release import Release
    from payment_infra.cloud.events import Change
    from payment_infra.cloud.stacks.change_sets import Request
    from payment_infra.cloud.stacks.described import ChangeSet
    from payment_infra.cloud.stacks.stack import Stack, StackState
    from payment_infra.config import StackConfig


def request(release: Release, options: DeployOptions) -> Request:
    """Return what the change set is made of that deploys a release."""
    return change_sets.Request(
        {"TemplateURL": release.bucket.url(release.template.key)},
        release.parameters,
        options.role_arn,
        options.notification_arns,
    )


def second(
    first: ChangeSet, state: StackState, release: Release | None, options: DeployOptions
) -> Request | None:
    """Return what has to come after an update, None if nothing has to.

    Args:
        first: the update.
        state: the stack after it.
        release: what it has deployed, None if an earlier run has left it.
        options: how the deployment is made.
    """
    if first.creates:
        return protection_request(state, options.parameters)
    if release is None or release.plan.encrypts:
        return None
    return request(encrypting(release), options)


def complete(
    stack: Stack, state: StackState, request: Request, execution: Execution, config: StackConfig
) -> tuple[StackState, tuple[Change, ...]]:
    """Make the second update; return what the stack is then, and what has changed.

    Raises:
        DeploymentFailed: it failed; the first stands.
        Outdated: somebody else has changed the stack before it; the first stands.
    """
    try:
        with change_sets.created(stack, state, request) as change_set:
            if change_set is None:
                return state, ()
            events = execution.begin(change_set)
        execution.follow(events, config)
    except DeploymentFailed as failed:
        told = f"{failed}; {_stands(stack)}"
        raise DeploymentFailed(told, failed.status, failed.events, failed.diagnosis) from failed
    except Outdated as outdated:
        raise Outdated(f"{outdated}: {_stands(stack)}") from outdated
    return stack.state_for_sure() or state, change_set.changes


def _stands(stack: Stack) -> str:
    return f"the update before stands, and `{stack.command('deploy')}` makes this second one again"
