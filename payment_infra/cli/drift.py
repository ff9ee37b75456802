"""`payment-infra drift`."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from payment_infra.cli.diff import DIFFERENT
from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import environment_options, output_option
from payment_infra.cli.views.output import note, print_json
from payment_infra.cli.views.terminal import at_terminal
from payment_infra.foreign import escaped

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment


@click.command("drift")
@click.option("--fail", is_flag=True, help=f"Exit with {DIFFERENT} if a resource has drifted.")
@output_option
@environment_options
@everywhere
def command(environment: Environment, fail: bool, output: str) -> None:
    """Show what was changed outside of CloudFormation.

    Lets CloudFormation compare every resource with the deployed template, and waits for that.
    Changes nothing.

    \b
    Example:
      payment-infra drift --suffix dev-001 --fail
    """
    from payment_infra.cli.views.drift import draw
    from payment_infra.cloud.operating.drift import detect

    with at_terminal(environment.stack.name, "text") as operator:
        drift = detect(environment, time.sleep, operator.tell)
    if output == "json":
        print_json(asdict(drift))
    else:
        click.echo("\n".join(draw(drift, shutil.get_terminal_size().columns)))
    if drift.reason:
        note(f"Warning: the detection did not complete: {escaped(drift.reason)}")
    if fail and drift.status != "IN_SYNC":
        click.get_current_context().exit(DIFFERENT)
