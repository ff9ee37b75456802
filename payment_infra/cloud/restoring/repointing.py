"""Moving the stack to another table, by an update that changes nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from payment_infra import names
from payment_infra.cloud.environment.intake import everything, stopped
from payment_infra.cloud.events import Preview
from payment_infra.cloud.stacks import change_sets
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.operator import follow
from payment_infra.cloud.stacks.settling import Step, step_of
from payment_infra.cloud.stacks.stack import Outdated
from payment_infra.cloud.stacks.tokens import token_of
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import StackEvent, Waiting
    from payment_infra.cloud.stacks.operator import Operator
    from payment_infra.cloud.stacks.stack import StackState


class Disturbed(AwsError):
    """The stack was updated, or payments were let in, by somebody else: the tables differ anew."""


def repoint(environment: Environment, source: str, table: str, operator: Operator) -> None:
    """Let functions, roles, alarms and dashboard work on a table.

    The deployed template is kept, so that no other change comes with it. Directly before the
    update, the stack has to be as it was when payments were stopped, and they are so still.

    Args:
        environment: whose stack, as it was when payments were stopped.
        source: the table that they work on now.
        table: the table's name; the stack's own has no override.
        operator: is shown the change set and the events.

    Raises:
        Disturbed: somebody else was there; nothing was changed.
        AwsError: they work on another table by now; or the update would lose data, and was not
            made.
        DeploymentFailed: it failed, and was rolled back.
    """
    stack, state = environment.stack, ready(environment, operator)
    overrides = {environment.own_table: ""}
    before, override = (overrides.get(name, name) for name in (source, table))
    now = state.parameters[names.TRANSACTIONS_TABLE_OVERRIDE]
    if now == override:
        return
    if now != before:
        raise AwsError(
            f"payments are in {now or environment.own_table} by now, and not in {source}; nothing "
            "was moved"
        )
    values = dict.fromkeys(state.parameters) | {names.TRANSACTIONS_TABLE_OVERRIDE: override}
    if names.TRAFFIC_SHIFTING in state.parameters:
        # Payments are stopped, and alarms of the incident would end a canary.
        values[names.TRAFFIC_SHIFTING] = names.AT_ONCE
    request = change_sets.Request({"UsePreviousTemplate": True}, values)
    try:
        events = _begin(environment, state, request, operator)
    except Outdated as error:
        raise Disturbed(f"stack {stack.name} was updated by somebody else") from error
    if events is not None:
        follow(stack, events, operator)


def _begin(
    environment: Environment, state: StackState, request: change_sets.Request, operator: Operator
) -> Iterator[StackEvent | Waiting] | None:
    """Show the update and begin it; return its events, None if it would change nothing."""
    stack = environment.stack
    with change_sets.created(stack, state, request, operator.tell) as change_set:
        if change_set is None:
            return None
        operator.tell(
            Preview(
                stack=stack.name,
                account=environment.session.account(),
                region=environment.session.region,
                change_set=change_set.name,
                creates=False,
                changes=change_set.changes,
            )
        )
        if losing := [change.logical_id for change in change_set.changes if change.loses_data]:
            raise AwsError(
                f"stack {stack.name}: to move it would replace or remove {', '.join(losing)}, so "
                f"it was not done; `{environment.command('diff')}` shows how the stack differs"
            )
        _check_undisturbed(environment)
        token = token_of(environment.session.principal())
        return change_sets.execute(stack, change_set, token)


def _check_undisturbed(environment: Environment) -> None:
    name, now = environment.stack.name, environment.stack.state()
    if now is None or now.changed_at != environment.state.changed_at:
        raise Disturbed(f"stack {name} was updated by somebody else")
    if missing := everything(environment) - set(stopped(environment)):
        raise Disturbed(f"somebody has let payments in again ({', '.join(sorted(missing))})")


def ready(environment: Environment, operator: Operator) -> StackState:
    """Return the stack's state, once it can be updated; an operation in progress is waited for.

    Raises:
        AwsError: its last operation failed, and a person must mend it first.
    """
    stack = environment.stack
    while (state := stack.state()) is not None and step_of(state) is Step.WAIT:
        try:
            follow(stack, stack.watch(state), operator)
        except DeploymentFailed:
            continue
    if state is None or step_of(state) is not Step.UPDATE:
        raise AwsError(
            f"stack {stack.name} is {state.status if state else 'gone'} and cannot be updated; "
            f"`{environment.command('rollback')}` brings a failed update to its end"
        )
    return state
