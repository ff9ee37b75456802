"""`payment-infra cancel`."""

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
    stack_name_option,
    stack_of,
    yes_option,
)
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.terminal import at_terminal

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.sources import Resolved


@click.command("cancel")
@allow_option
@config_options("suffix")
@stack_name_option
@output_option
@yes_option
@aws_options
@everywhere
@sheltered()
def command(
    session: Session, resolved: Resolved, output: str, yes: bool, allow: frozenset[str]
) -> None:
    """Cancel the deployment in progress.

    An update is rolled back; a stack that is being created is deleted.

    \b
    Example:
      payment-infra cancel --suffix dev-001
    """
    from payment_infra.cloud.deploying.moving import Return
    from payment_infra.cloud.stacks import intervention, leftovers

    stack = stack_of(session, resolved)
    with at_terminal(stack.name, output) as operator:
        check = Return(session, stack, operator.tell, {"UPDATE_IN_PROGRESS"}, entered(), allow)
        result = intervention.cancel(
            stack,
            operator,
            check=check,
            yes=yes,
            remove=partial(leftovers.remove, session, stack.sleep),
        )
        operator.tell(result)
