"""From any state that a stack can be in to one that a deployment can begin with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING

from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.following import REVIEW
from payment_infra.cloud.stacks.operator import follow
from payment_infra.cloud.stacks.tokens import began
from payment_infra.errors import AwsError, PaymentInfraError
from payment_infra.moments import shown

if TYPE_CHECKING:
    from payment_infra.cloud.stacks.operator import Operator
    from payment_infra.cloud.stacks.stack import Stack, StackState


class Step(Enum):
    """What a deployment does with a stack as it finds it; the value says it to a person."""

    CREATE = "creates the stack"
    UPDATE = "updates it"
    REMOVE = "deletes it after a question, then creates it"
    DELETE_AGAIN = "deletes it again, without what could not be deleted, then creates it"
    ROLL_BACK = "rolls it back after a question, then updates it"
    CONTINUE_ROLLBACK = "continues its rollback after a question, then updates it"
    WAIT = "waits for the end of its operation if asked to, then continues"
    GIVE_UP = "leaves it alone: it needs a person"


# The steps that delete what there is of the stack, and those that change it otherwise, before a
# deployment can begin.
DELETING = frozenset({Step.REMOVE, Step.DELETE_AGAIN})
CHANGING = DELETING | {Step.ROLL_BACK, Step.CONTINUE_ROLLBACK}
# Every status of a stack ("Stack status codes" in the CloudFormation User Guide).
STEPS: Mapping[str, Step] = {
    "CREATE_COMPLETE": Step.UPDATE,
    "CREATE_FAILED": Step.REMOVE,
    "CREATE_IN_PROGRESS": Step.WAIT,
    "DELETE_COMPLETE": Step.CREATE,
    "DELETE_FAILED": Step.DELETE_AGAIN,
    "DELETE_IN_PROGRESS": Step.WAIT,
    "IMPORT_COMPLETE": Step.UPDATE,
    "IMPORT_IN_PROGRESS": Step.WAIT,
    "IMPORT_ROLLBACK_COMPLETE": Step.UPDATE,
    "IMPORT_ROLLBACK_FAILED": Step.GIVE_UP,
    "IMPORT_ROLLBACK_IN_PROGRESS": Step.WAIT,
    REVIEW: Step.CREATE,
    "ROLLBACK_COMPLETE": Step.REMOVE,
    "ROLLBACK_FAILED": Step.REMOVE,
    "ROLLBACK_IN_PROGRESS": Step.WAIT,
    "UPDATE_COMPLETE": Step.UPDATE,
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": Step.WAIT,
    "UPDATE_FAILED": Step.ROLL_BACK,
    "UPDATE_IN_PROGRESS": Step.WAIT,
    "UPDATE_ROLLBACK_COMPLETE": Step.UPDATE,
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": Step.WAIT,
    "UPDATE_ROLLBACK_FAILED": Step.CONTINUE_ROLLBACK,
    "UPDATE_ROLLBACK_IN_PROGRESS": Step.WAIT,
}


# The statuses of a stack that is rolled back by whoever asks.
ROLLING_BACK = frozenset(
    status for status, step in STEPS.items() if step in {Step.ROLL_BACK, Step.CONTINUE_ROLLBACK}
)


def step_of(state: StackState | None) -> Step:
    """Return what a deployment does with a stack; a status that is not known needs a person."""
    return Step.CREATE if state is None else STEPS.get(state.status, Step.GIVE_UP)


def settle(
    stack: Stack,
    operator: Operator,
    *,
    check: Callable[[StackState], None],
    yes: bool,
    wait: bool | None = None,
    skip: Collection[str] = (),
    hold: Callable[[], bool] = lambda: False,
) -> StackState | None:
    """Bring the stack to where it can be created or updated; return it, None if there is none.

    Args:
        stack: the stack.
        check: raises if the stack is not to be touched; before a rollback it is called once more,
            after the question.
        operator: asked before anything is changed, unless `yes`.
        yes: whether to go ahead without a question.
        wait: whether to wait for an operation in progress; None asks.
        skip: logical ids that a continued rollback leaves as they are.
        hold: takes the lock, before there is a question; returns whether it was not held before.

    Raises:
        AwsError: the stack is busy and is not to be waited for, or only a person can mend it.
        DeploymentFailed: the step failed.
    """
    while True:
        state = stack.state()
        if state is not None:
            check(state)
        step = step_of(state)
        if state is None or step in {Step.CREATE, Step.UPDATE}:
            return state
        if step in CHANGING and hold():
            continue
        found = f"stack {stack.name} is {state.status}"
        match step:
            case Step.WAIT:
                _wait(stack, state, operator, True if yes and wait is None else wait)
            case Step.REMOVE:
                operator.confirm(
                    f"{found}: its creation never ended. Delete what is left of it, and create it "
                    "again?",
                    yes,
                )
                _remove(stack, state, operator)
            case Step.DELETE_AGAIN:
                left = _not_deleted(stack)
                operator.confirm(
                    f"{found}. Delete it once more, and leave {', '.join(left) or 'nothing'} "
                    "behind?",
                    yes,
                )
                with _unprotected(stack, state):
                    follow(stack, stack.delete(state, left), operator)
            case Step.ROLL_BACK:
                operator.confirm(f"{found}. Roll it back to what it was before?", yes)
                check(state)
                follow(stack, stack.roll_back(state), operator)
            case Step.CONTINUE_ROLLBACK:
                skipped = f" without {', '.join(skip)}" if skip else ""
                operator.confirm(f"{found}. Continue its rollback{skipped}?", yes)
                check(state)
                continue_rollback(stack, state, operator, skip)
            case _:
                raise AwsError(
                    f"{found}, which no deployment can mend: see its events in the console, and "
                    "bring it to rest with CloudFormation itself"
                )


def busy(stack: Stack, state: StackState) -> AwsError:
    """Return the refusal to work on a stack with an operation in progress."""
    return AwsError(
        f"stack {stack.name} is busy: {current_operation(stack, state)}; nothing was done "
        f"(`{stack.command('watch')}` shows it)"
    )


def current_operation(stack: Stack, state: StackState) -> str:
    """Say which operation is in progress, since when, and who began it, as far as that is known."""
    following = stack.following(state.id)
    by = began(following.token_of_last_operation())
    return f"{state.status} since {shown(state.changed_at)}{by and f', {by}'}"


def _wait(stack: Stack, state: StackState, operator: Operator, wait: bool | None) -> None:
    if wait is False:
        raise busy(stack, state)
    found = f"stack {stack.name} is busy: {current_operation(stack, state)}"
    operator.confirm(f"{found}. Wait until that has ended, then continue?", bool(wait), "--wait")
    with suppress(DeploymentFailed):  # the next look decides what to do with what it came to
        follow(stack, stack.watch(state), operator)


def _remove(stack: Stack, state: StackState, operator: Operator) -> None:
    """Delete what is left of a creation that failed."""
    with _unprotected(stack, state):
        if state.status == "CREATE_FAILED":
            # A rollback takes what is to be retained too, which would be in the way afterwards.
            follow(stack, stack.roll_back(state), operator)
        follow(stack, stack.delete(state), operator)


@contextmanager
def _unprotected(stack: Stack, state: StackState) -> Iterator[None]:
    """Lift termination protection for a deletion; a stack that stays has it again.

    It tells the next deployment that the stack which it makes anew is to be protected.
    """
    if not state.termination_protection:
        yield
        return
    stack.protect(state.id, on=False)
    try:
        yield
    except (PaymentInfraError, KeyboardInterrupt):
        with suppress(AwsError):  # it may be being deleted
            stack.protect(state.id, on=True)
        raise


def continue_rollback(
    stack: Stack, state: StackState, operator: Operator, skip: Collection[str]
) -> None:
    """Continue a rollback that failed, without the resources with these logical ids.

    Raises:
        DeploymentFailed: it failed again; says what to mend or to skip.
    """
    try:
        follow(stack, stack.continue_rollback(state, skip), operator)
    except DeploymentFailed as failed:
        left = sorted({event.logical_id for event in failed.events if event.failed} - {stack.name})
        raise DeploymentFailed(
            f"{failed}; mend {', '.join(left) or 'what failed'} and repeat the command, or add "
            f"--skip {' --skip '.join(left) or 'RESOURCE'} to leave it as it is",
            failed.status,
            failed.events,
            failed.diagnosis,
        ) from failed


def _not_deleted(stack: Stack) -> list[str]:
    """Return the logical ids of the resources that could not be deleted."""
    statuses = stack.resource_statuses()
    return sorted(name for name, status in statuses.items() if status == "DELETE_FAILED")
