"""`payment-infra destroy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.operating import operating
from payment_infra.cli.options import (
    aws_options,
    config_options,
    require_suffix,
    stack_name_of,
    stack_name_option,
    yes_option,
)
from payment_infra.cli.output import note

if TYPE_CHECKING:
    from payment_infra.cloud.session import Session
    from payment_infra.sources import Resolved


@click.command("destroy")
@config_options("suffix")
@stack_name_option
@yes_option
@aws_options
@everywhere
def command(session: Session, resolved: Resolved, stack_name: str | None, yes: bool) -> None:
    """Delete the stack.

    Its payments go with it, unless they are retained.

    \b
    Example:
      payment-infra destroy --suffix dev-001
    """
    suffix = require_suffix(resolved)
    from payment_infra.cloud import recovery
    from payment_infra.cloud.release import find_stack
    from payment_infra.cloud.stack import Stack

    stack = Stack(session.client("cloudformation"), stack_name_of(resolved, stack_name))
    state = find_stack(stack, suffix)
    if state is None:
        note(f"there is no stack {stack.name}; nothing to delete")
        return
    with operating(stack.name, "text") as operator:
        kept = recovery.destroy(stack, state, operator, region=session.region, yes=yes)
    note(f"{stack.name} is deleted" + (f"; kept: {', '.join(kept)}" if kept else ""))
