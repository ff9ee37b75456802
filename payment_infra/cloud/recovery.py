"""From any state that a stack can be in to one that a deployment can begin with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from payment_infra.cloud.change_sets import operator_of
from payment_infra.cloud.diagnosis import failure
from payment_infra.cloud.events import Caution, Result, StackEvent
from payment_infra.cloud.following import REVIEW
from payment_infra.cloud.stack import CANCELLABLE
from payment_infra.errors import AwsError, DeploymentFailed, Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from payment_infra.cloud.events import Event, Waiting
    from payment_infra.cloud.stack import Stack, StackState


class Step(Enum):
    """What a deployment does with a stack as it finds it; the value says it to a person."""

    CREATE = "creates the stack"
    UPDATE = "updates it"
    REMOVE = "deletes it after a question, then creates it"
    DELETE_AGAIN = "deletes it again, without what could not be deleted, then creates it"
    ROLL_BACK = "rolls it back after a question, then updates it"
    CONTINUE_ROLLBACK = "continues its rollback after a question, then updates it"
    WAIT = "waits for the end of its operation if asked to, then goes on"
    GIVE_UP = "leaves it alone: it needs a person"


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


class Operator(Protocol):
    """The person, or the program, that a deployment is made for."""

    def tell(self, event: Event) -> None:
        """Take note of what happened."""

    def check_answers(self, agreed: bool) -> None:
        """Make sure, before anything is changed, that a question can be answered.

        Raises:
            UsageError: nobody can answer, and it has not been agreed to.
        """

    def confirm(self, question: str, agreed: bool, flag: str = "--yes") -> None:
        """Go on if it has been agreed to, or if the answer is yes.

        Raises:
            UsageError: nobody can answer, and `flag` was not given.
            Declined: the answer is no.
        """


def settle(
    stack: Stack,
    operator: Operator,
    *,
    check: Callable[[StackState], None],
    yes: bool,
    wait: bool | None = None,
    skip: Collection[str] = (),
) -> StackState | None:
    """Bring the stack to where it can be created or updated; return it, None if there is none.

    Args:
        stack: the stack.
        check: raises if the stack is not to be touched.
        operator: asked before anything is changed, unless `yes`.
        yes: whether to go ahead without a question.
        wait: whether to wait for an operation that goes on; None asks.
        skip: logical ids that a continued rollback leaves as they are.

    Raises:
        AwsError: the stack is busy and is not to be waited for, or only a person can mend it.
        DeploymentFailed: the step failed.
    """
    while True:
        state = stack.state()
        if state is not None:
            check(state)
        step = STEPS.get(state.status, Step.GIVE_UP) if state else Step.CREATE
        if state is None or step in {Step.CREATE, Step.UPDATE}:
            return state
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
                follow(stack, stack.delete(state, left), operator)
            case Step.ROLL_BACK:
                operator.confirm(f"{found}. Roll it back to what it was before?", yes)
                follow(stack, stack.roll_back(state), operator)
            case Step.CONTINUE_ROLLBACK:
                skipped = f" without {', '.join(skip)}" if skip else ""
                operator.confirm(f"{found}. Continue its rollback{skipped}?", yes)
                _continue(stack, state, operator, skip)
            case _:
                raise AwsError(
                    f"{found}, which no deployment can mend: see its events in the console, and "
                    "bring it to rest with CloudFormation itself"
                )


def watch(
    stack: Stack, operator: Operator, built: Callable[[], Mapping[str, str]] = lambda: {}
) -> Result:
    """Show the operation that goes on until it has ended; return what it came to.

    `built` returns by logical id which module builds a resource, to be told of what has failed.

    Raises:
        AwsError: there is no such stack.
        DeploymentFailed: the operation failed, or nothing goes on and the last one has.
    """
    state = _existing(stack)
    if STEPS.get(state.status) is not Step.WAIT:
        if STEPS.get(state.status) is Step.UPDATE:
            return Result(stack.name, state.status, changed=False)
        raise DeploymentFailed(f"stack {stack.name} is {state.status}, and nothing goes on")
    try:
        follow(stack, stack.watch(state), operator)
    except DeploymentFailed as failed:
        raise failure(stack.name, failed.status, failed.events, built()) from failed
    return _came_to(stack)


def cancel(
    stack: Stack, operator: Operator, *, check: Callable[[StackState], None], yes: bool
) -> Result:
    """Cancel the update that goes on, or delete the stack that is being created.

    `check` raises if the stack is not to be touched.

    Raises:
        AwsError: there is no such stack, or nothing goes on that could be cancelled.
        DeploymentFailed: what was done could not be undone.
    """
    state = _existing(stack)
    check(state)
    undo = "delete what it made" if state.status == "CREATE_IN_PROGRESS" else "roll it back"
    if state.status in CANCELLABLE:
        operator.confirm(f"Cancel the operation on {stack.name}, and {undo}?", yes)
    follow_cancelling(stack, stack.cancel(state), operator)
    return _came_to(stack)


def roll_back(
    stack: Stack,
    operator: Operator,
    *,
    check: Callable[[StackState], None],
    yes: bool,
    skip: Collection[str] = (),
) -> Result:
    """Undo what a failed operation has left, or go on with a rollback that failed.

    `check` raises if the stack is not to be touched.

    Raises:
        AwsError: there is no such stack, or nothing of it is to be rolled back.
        DeploymentFailed: the rollback failed.
    """
    state = _existing(stack)
    check(state)
    question = f"stack {stack.name} is {state.status}. Roll it back?"
    match state.status:
        case "CREATE_FAILED" | "UPDATE_FAILED":
            operator.confirm(question, yes)
            follow(stack, stack.roll_back(state), operator)
        case "UPDATE_ROLLBACK_FAILED":
            operator.confirm(question, yes)
            _continue(stack, state, operator, skip)
        case _:
            raise AwsError(f"stack {stack.name} is {state.status}: there is nothing to roll back")
    return _came_to(stack)


def destroy(
    stack: Stack,
    state: StackState,
    operator: Operator,
    *,
    region: str,
    yes: bool,
    first: Callable[[], None] = lambda: None,
) -> list[str]:
    """Delete the stack; return the logical ids of what it keeps.

    `first` is done between the question and the deletion; if it fails, nothing is deleted.

    Raises:
        AwsError: termination protection is on; nothing was changed.
        DeploymentFailed: the deletion failed.
    """
    if state.termination_protection:
        raise AwsError(
            f"stack {stack.name} has termination protection; `payment-infra deploy "
            "--no-termination-protection` lifts it"
        )
    operator.confirm(f"Delete the stack {stack.name} in {region}?", yes)
    first()
    return follow(stack, stack.delete(state), operator)


def going_on(name: str, *, cancellable: bool = True) -> str:
    """Say how to see and how to stop an operation that nobody looks at any more."""
    stop = f", `payment-infra cancel --stack-name {name}` stops it" if cancellable else ""
    return (
        f"the operation on {name} goes on; `payment-infra watch --stack-name {name}` shows it{stop}"
    )


def current_operation(stack: Stack, state: StackState) -> str:
    """Say which operation goes on, since when, and who began it, as far as that is known."""
    following = stack.following(state.id)
    operator = operator_of(following.token_of_last_operation())
    by = f", begun by {operator} with payment-infra" if operator else ""
    return f"{state.status} since {state.changed_at:%Y-%m-%d %H:%M:%S %Z}{by}"


def _wait(stack: Stack, state: StackState, operator: Operator, wait: bool | None) -> None:
    busy = f"stack {stack.name} is busy: {current_operation(stack, state)}"
    if wait is False:
        raise AwsError(f"{busy}; nothing was done (`payment-infra watch` shows it)")
    operator.confirm(f"{busy}. Wait until that has ended, then go on?", bool(wait), "--wait")
    with suppress(DeploymentFailed):  # the next look decides what to do with what it came to
        follow(stack, stack.watch(state), operator)


def _remove(stack: Stack, state: StackState, operator: Operator) -> None:
    """Delete what is left of a creation that failed."""
    if state.termination_protection:
        stack.protect(state.id, on=False)
    if state.status == "CREATE_FAILED":
        # A rollback takes what is to be retained too, which would be in the way afterwards.
        follow(stack, stack.roll_back(state), operator)
    follow(stack, stack.delete(state), operator)


def _continue(stack: Stack, state: StackState, operator: Operator, skip: Collection[str]) -> None:
    try:
        follow(stack, stack.continue_rollback(state, skip), operator)
    except DeploymentFailed as failed:
        left = sorted({one.logical_id for one in failed.events if one.failed} - {stack.name})
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


def follow(stack: Stack, events: Iterator[StackEvent | Waiting], operator: Operator) -> list[str]:
    """Tell the events of an operation until it has ended; return the logical ids of what it keeps.

    Raises:
        Interrupted: Ctrl-C, after which the operation goes on.
        DeploymentFailed: it failed.
    """
    kept, cancellable = [], True
    try:
        for event in events:
            if isinstance(event, StackEvent):
                if event.logical_id == stack.name:
                    cancellable = event.status in CANCELLABLE
                if event.status == "DELETE_SKIPPED":
                    kept.append(event.logical_id)
            operator.tell(event)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(going_on(stack.name, cancellable=cancellable)) from interrupt
    return kept


def follow_cancelling(
    stack: Stack, events: Iterator[StackEvent | Waiting], operator: Operator
) -> None:
    """Tell the events of an operation that undoes another, and what stays of that.

    Raises as `follow` does.
    """
    if kept := follow(stack, events, operator):
        operator.tell(
            Caution(
                f"{', '.join(kept)}: kept, as the template says of a deletion; delete what is in "
                "the way before the next deployment, or choose another --suffix"
            )
        )


def _existing(stack: Stack) -> StackState:
    state = stack.state()
    if state is None:
        raise AwsError(f"there is no stack {stack.name}")
    return state


def _came_to(stack: Stack) -> Result:
    state = stack.state_for_sure()
    return Result(stack.name, state.status if state else "DELETE_COMPLETE", changed=True)
