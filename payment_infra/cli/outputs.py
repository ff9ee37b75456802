"""`payment-infra outputs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import (
    aws_options,
    config_options,
    output_option,
    stack_name_option,
    stack_of,
)
from payment_infra.cli.views.output import print_outputs

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.sources import Resolved


@click.command("outputs")
@config_options("suffix")
@stack_name_option
@output_option
@aws_options
@everywhere
def command(session: Session, resolved: Resolved, output: str) -> None:
    """Print the outputs of the deployed stack.

    \b
    Example:
      payment-infra outputs --suffix dev-001 --output json
    """
    from payment_infra.cloud.environment.address import reachable

    stack = stack_of(session, resolved)
    print_outputs(reachable(stack.outputs(), session.endpoint_url, stack.physical_ids), output)
