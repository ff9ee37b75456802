"""`payment-infra deploy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import (
    aws_options,
    config_options,
    output_option,
    require_suffix,
    stack_name_of,
    stack_name_option,
)
from payment_infra.cli.output import note, print_outputs
from payment_infra.cli.progress import tell

if TYPE_CHECKING:
    from payment_infra.cloud.session import Session
    from payment_infra.sources import Resolved


@click.command("deploy")
@config_options()
@stack_name_option
@output_option
@aws_options
@everywhere
def command(session: Session, resolved: Resolved, stack_name: str | None, output: str) -> None:
    """Create or update the stack.

    Prints its outputs. Without a bucket, the account's own is used, and made the first time.

    \b
    Example:
      payment-infra deploy --suffix dev-001
    """
    require_suffix(resolved)
    from payment_infra.cloud import deployment
    from payment_infra.cloud.stack import Stack

    stack = Stack(session.client("cloudformation"), stack_name_of(resolved, stack_name))
    if not deployment.deploy(session, stack, resolved, tell):
        note(f"{stack.name}: no changes")
    print_outputs(stack.outputs(), output)
