"""The operator of a stack: told what happens, and asked before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from payment_infra.cloud.events import Caution, StackEvent
from payment_infra.cloud.stacks.stack import CANCELLABLE
from payment_infra.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from payment_infra.cloud.events import Event, Waiting
    from payment_infra.cloud.stacks.stack import Stack, StackState


# Removes what it can of what was kept, of that only what has these logical ids; returns the rest.
Remove = Callable[[Sequence[StackEvent], Collection[str]], Sequence[StackEvent]]


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
        """Return if it has been agreed to, or if the answer is yes.

        Raises:
            UsageError: nobody can answer, and `flag` was not given.
            Declined: the answer is no.
        """


def follow(
    stack: Stack, events: Iterator[StackEvent | Waiting], operator: Operator
) -> list[StackEvent]:
    """Tell the events of an operation until it has ended; return those of what it keeps.

    Raises:
        Interrupted: Ctrl-C; the operation continues.
        DeploymentFailed: it failed.
    """
    kept, cancellable = [], True
    try:
        for event in events:
            if isinstance(event, StackEvent):
                if event.logical_id == stack.name:
                    cancellable = event.status in CANCELLABLE
                if event.status == "DELETE_SKIPPED":
                    kept.append(event)
            operator.tell(event)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(going_on(stack, cancellable=cancellable)) from interrupt
    return kept


def follow_cancelling(
    stack: Stack,
    state: StackState,
    operator: Operator,
    remove: Remove = lambda kept, _: kept,
) -> None:
    """Cancel the operation in progress; tell the events of that, and what stays.

    `remove` gets what was kept of a creation, with the logical ids of what this creation itself has
    made: under the name of another there can be an earlier stack's.

    Raises as `Stack.cancel` and `follow` do.
    """
    made = stack.created() if state.status == "CREATE_IN_PROGRESS" else frozenset()
    if stays := remove(follow(stack, stack.cancel(state), operator), made):
        operator.tell(
            Caution(
                f"{', '.join(event.logical_id for event in stays)}: kept, as the template says of "
                "a deletion; delete what is in the way before the next deployment, or choose "
                "another --suffix"
            )
        )


def going_on(stack: Stack, *, cancellable: bool = True) -> str:
    """Say how to see and how to stop an operation that this run no longer follows."""
    stop = f", `{stack.command('cancel')}` stops it" if cancellable else ""
    watch = stack.command("watch")
    return f"the operation on {stack.name} is still in progress; `{watch}` shows it{stop}"
