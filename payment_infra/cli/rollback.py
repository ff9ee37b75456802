"""`payment-infra rollback`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import entered, everywhere
from payment_infra.cli.options import (
    allow_option,
    aws_options,
    config_options,
    output_option,
    skip_option,
    stack_name_option,
    stack_of,
    take_over_option,
    yes_option,
)
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.terminal import at_terminal

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.sources import Resolved


@click.command("rollback")
@skip_option
@allow_option
@take_over_option
@config_options("suffix")
@stack_name_option
@output_option
@yes_option
@aws_options
@everywhere
@sheltered()
def command(
    session: Session,
    resolved: Resolved,
    output: str,
    yes: bool,
    allow: frozenset[str],
    skip: tuple[str, ...],
    take_over: int | None,
) -> None:
    """Undo what a failed deployment has left.

    After `deploy --no-rollback`, or when a rollback has failed itself.

    \b
    Example:
      payment-infra rollback --suffix dev-001
    """
    from payment_infra.cloud.deploying.moving import Return
    from payment_infra.cloud.environment.locking import Lock
    from payment_infra.cloud.stacks import intervention
    from payment_infra.cloud.stacks.settling import ROLLING_BACK

    stack = stack_of(session, resolved)
    with at_terminal(stack.name, output) as operator:
        lock = partial(
            Lock.acquire,
            *(session, stack, "rollback", operator.tell),
            command=entered(),
            take_over=take_over,
        )
        result = intervention.roll_back(
            stack,
            operator,
            check=Return(session, stack, operator.tell, ROLLING_BACK, entered(), allow),
            lock=lock,
            yes=yes,
            skip=skip,
        )
        operator.tell(result)
