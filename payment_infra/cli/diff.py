"""`payment-infra diff`."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import (
    aws_options,
    config_options,
    output_option,
    require_suffix,
    stack_name_option,
    stack_of,
)
from payment_infra.cli.sections import Sectioned
from payment_infra.cli.views.output import print_json
from payment_infra.cli.views.terminal import at_terminal

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.sources import Resolved

DIFFERENT = 4


@click.command("diff", cls=Sectioned)
@click.option("--fail", is_flag=True, help=f"Exit with {DIFFERENT} if there is a difference.")
@config_options()
@stack_name_option
@output_option
@aws_options
@everywhere
def command(session: Session, resolved: Resolved, output: str, fail: bool) -> None:
    """Show what a deployment would change.

    Compares what would be rendered with what is deployed: structure, code, parameters, and what the
    roles may do. Changes nothing.

    \b
    Example:
      payment-infra diff --suffix dev-001 --fail
    """
    require_suffix(resolved)
    from payment_infra.cli.views.preview import draw_diff
    from payment_infra.cloud.deploying.forecast import compare
    from payment_infra.difference import as_json

    stack = stack_of(session, resolved)
    with at_terminal(stack.name, "text") as operator:
        comparison = compare(session, stack, resolved, operator.tell)
    if output == "json":
        print_json(as_json(comparison))
    else:
        click.echo(draw_diff(comparison, shutil.get_terminal_size().columns))
    if fail and not comparison.same:
        click.get_current_context().exit(DIFFERENT)
