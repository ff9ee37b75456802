"""`payment-infra resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import entered, everywhere
from payment_infra.cli.options import (
    environment_options,
    output_option,
    take_over_option,
    yes_option,
)
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.terminal import at_terminal

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment


@click.command("resume")
@take_over_option
@output_option
@yes_option
@environment_options
@everywhere
@sheltered()
def command(environment: Environment, take_over: int | None, output: str, yes: bool) -> None:
    """Let payments in, whatever has stopped them.

    Stage and event source become what the deployed template says; another throttle than that, which
    somebody has set, is asked about. A restore that is continued afterwards stops payments again.

    \b
    Example:
      payment-infra resume --suffix dev-001
    """
    from payment_infra.cloud.restoring.resuming import resume
    from payment_infra.cloud.restoring.work import RestoreOptions, Work

    options = RestoreOptions(yes=yes, command=entered(), take_over=take_over)
    with at_terminal(environment.stack.name, output) as operator:
        resume(Work(environment, options, operator))
