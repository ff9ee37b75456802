"""What a person does about an operation on a stack: watch it, cancel it, roll back what it left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from payment_infra.cloud.events import LastOperation, Result
from payment_infra.cloud.stacks.diagnosis import failure
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.operator import follow, follow_cancelling
from payment_infra.cloud.stacks.settling import Step, continue_rollback, step_of
from payment_infra.cloud.stacks.stack import CANCELLABLE
from payment_infra.cloud.stacks.tokens import began
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from payment_infra.cloud.events import StackEvent
    from payment_infra.cloud.stacks.operator import Operator, Remove
    from payment_infra.cloud.stacks.stack import Stack, StackState


def watch(
    stack: Stack, operator: Operator, built: Callable[[], Mapping[str, str]] = lambda: {}
) -> Result:
    """Show the operation in progress until it has ended; return what it came to.

    If there is none, tell what the last one was.

    `built` returns by logical id which module builds a resource, to be told of what has failed.

    Raises:
        AwsError: there is no such stack.
        DeploymentFailed: the operation failed, or none is in progress and the last one has.
    """
    state = _existing(stack)
    step = step_of(state)
    if step is not Step.WAIT:
        events = stack.following(state.id).of_last_operation()
        if events:
            operator.tell(_last(stack, events))
        if step is Step.UPDATE:
            return Result(stack.name, state.status, changed=False)
        failed = failure(stack.name, state.status, events, built(), stack.flags)
        why = f"; the last one: {failed.diagnosis}" if failed.diagnosis else ""
        raise DeploymentFailed(
            f"stack {stack.name} is {state.status}, and no operation is in progress{why}",
            *(state.status, events, failed.diagnosis),
        )
    try:
        follow(stack, stack.watch(state), operator)
    except DeploymentFailed as failed:
        raise failure(stack.name, failed.status, failed.events, built(), stack.flags) from failed
    return _came_to(stack)


def cancel(
    stack: Stack,
    operator: Operator,
    *,
    check: Callable[[StackState], None],
    yes: bool,
    remove: Remove = lambda kept, _: kept,
) -> Result:
    """Cancel the update in progress, or delete the stack that is being created.

    It takes no lock: it acts on the operation that it showed, and the holder of the lock for that
    operation follows the rollback to its end.

    Args:
        stack: the stack.
        operator: is asked first, unless `yes`.
        check: raises if the stack is not to be touched; asked once more after the question.
        yes: whether to go ahead without a question.
        remove: see `follow_cancelling`.

    Raises:
        AwsError: there is no such stack, or no operation in progress can be cancelled, or it has
            ended while the question was asked.
        DeploymentFailed: what was done could not be undone.
    """
    state = _existing(stack)
    check(state)
    undo = "delete what it made" if state.status == "CREATE_IN_PROGRESS" else "roll it back"
    if state.status in CANCELLABLE:
        operator.confirm(f"Cancel the operation on {stack.name}, and {undo}?", yes)
        now = stack.state()
        if now is None or (now.id, now.changed_at) != (state.id, state.changed_at):
            raise AwsError(
                f"the operation on {stack.name} that was to be cancelled has ended, and another "
                "may have begun; nothing was cancelled"
            )
        state = now
        check(state)
    follow_cancelling(stack, state, operator, remove)
    return _came_to(stack)


def roll_back(
    stack: Stack,
    operator: Operator,
    *,
    check: Callable[[StackState], None],
    lock: Callable[[], AbstractContextManager[object]],
    yes: bool,
    skip: Collection[str] = (),
) -> Result:
    """Undo what a failed operation has left, or continue a rollback that failed.

    Args:
        stack: the stack.
        operator: is asked first, unless `yes`.
        check: raises if the stack is not to be rolled back; asked once more after the question.
        lock: takes the lock, once there is something to roll back.
        yes: whether to go ahead without a question.
        skip: logical ids that a continued rollback leaves as they are.

    Raises:
        AwsError: there is no such stack, or nothing of it is to be rolled back.
        DeploymentFailed: the rollback failed.
    """
    _to_roll_back(stack, check)
    operator.check_answers(yes)
    with lock():
        state = _to_roll_back(stack, check)
        operator.confirm(f"stack {stack.name} is {state.status}. Roll it back?", yes)
        check(state)
        if state.status == "UPDATE_ROLLBACK_FAILED":
            continue_rollback(stack, state, operator, skip)
        else:
            follow(stack, stack.roll_back(state), operator)
        return _came_to(stack)


def _last(stack: Stack, events: Sequence[StackEvent]) -> LastOperation:
    """Return the operation that these events are of."""
    return LastOperation(
        stack=stack.name,
        began=events[0].time,
        ended=events[-1].time,
        begun=began(events[0].token),
        resources=len({event.logical_id for event in events} - {stack.name}),
        failed=tuple(event for event in events if event.failed and event.logical_id != stack.name),
    )


def _to_roll_back(stack: Stack, check: Callable[[StackState], None]) -> StackState:
    state = _existing(stack)
    check(state)
    if state.status not in {"CREATE_FAILED", "UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED"}:
        raise AwsError(f"stack {stack.name} is {state.status}: there is nothing to roll back")
    return state


def _existing(stack: Stack) -> StackState:
    state = stack.state()
    if state is None:
        raise AwsError(f"there is no stack {stack.name}")
    return state


def _came_to(stack: Stack) -> Result:
    state = stack.state_for_sure()
    return Result(stack.name, state.status if state else "DELETE_COMPLETE", changed=True)
