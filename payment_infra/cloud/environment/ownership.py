"""Whether a stack is ours: this tool's, and the environment's that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from payment_infra.cloud.stacks.following import REVIEW
from payment_infra.errors import AwsError
from payment_infra.names import ENVIRONMENT_SUFFIX, TRANSACTIONS_TABLE_OVERRIDE

if TYPE_CHECKING:
    from payment_infra.cloud.stacks.stack import Stack, StackState


def find_stack(stack: Stack, suffix: str) -> StackState | None:
    """Return the state of the environment's stack, None if it is yet to be created.

    Raises:
        AwsError: the stack of that name is not this tool's, or is another environment's.
    """
    state = stack.state()
    if state is None or state.status == REVIEW:
        return None
    check_environment(stack.name, state, suffix)
    return state


def is_ours(state: StackState) -> bool:
    """Whether a stack is one of this tool's environments, in whatever state.

    Its parameters say it: a create that was rolled back keeps them, and every deployment of the
    template has them, while a stack's own tags would spread to every resource.
    """
    return TRANSACTIONS_TABLE_OVERRIDE in state.parameters


def check_ours(name: str, state: StackState) -> None:
    """Make sure that a stack is this tool's.

    Raises:
        AwsError: it is not.
    """
    if not is_ours(state):
        raise foreign(name)


def check_environment(name: str, state: StackState, suffix: str) -> None:
    """Make sure that a stack is this tool's and this environment's; one in review is nobody's yet.

    Raises:
        AwsError: it is not.
    """
    if state.status == REVIEW:
        return
    check_ours(name, state)
    deployed = state.parameters.get(ENVIRONMENT_SUFFIX, "")
    if deployed != suffix:
        raise AwsError(
            f"stack {name} is the environment {deployed!r}, not {suffix!r}, and a new suffix "
            "would replace its table; choose another --stack-name"
        )


def foreign(name: str) -> AwsError:
    """Return the refusal to touch a stack that this tool has not made."""
    return AwsError(
        f"a stack named {name} exists and was not made by payment-infra; it is left alone: "
        "choose another --stack-name or region"
    )
