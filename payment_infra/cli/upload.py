"""`payment-infra upload`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import entered, everywhere
from payment_infra.cli.options import (
    aws_options,
    config_options,
    output_option,
    require_suffix,
    stack_name_option,
    stack_of,
)
from payment_infra.cli.sections import Sectioned
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.output import note, print_json
from payment_infra.cli.views.terminal import at_terminal

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.sources import Resolved


@click.command("upload", cls=Sectioned)
@config_options()
@stack_name_option
@output_option
@aws_options
@everywhere
@sheltered()
def command(session: Session, resolved: Resolved, output: str) -> None:
    """Put zips and template into the bucket.

    Prints their addresses, and the command that deploys them with the plain AWS CLI. What is in the
    bucket already is not sent again.

    \b
    Example:
      payment-infra upload --suffix dev-001 --bucket my-zips
    """
    require_suffix(resolved)
    from payment_infra.cloud.deploying import forecast
    from payment_infra.cloud.deploying.bootstrap import BOOTSTRAP_STACK
    from payment_infra.cloud.deploying.release import deploy_command, protect_commands

    stack = stack_of(session, resolved)
    with at_terminal(BOOTSTRAP_STACK, "text") as operator:  # the bucket's, if it is made now
        releases = forecast.prepare(session, stack, resolved, operator.tell, entered())
    objects = (*releases[0].code, *(release.template for release in releases))
    shell = " && ".join(deploy_command(session, stack.name, release) for release in releases)
    protect = protect_commands(session, stack.name, releases[-1])
    if output == "json":
        print_json(
            {
                "bucket": releases[0].bucket.name,
                "objects": [asdict(item) for item in objects],
                "command": shell,
                "protect": protect,
            }
        )
        return
    for item in objects:
        note("uploaded" if item.new else "there already")
        click.echo(item.uri)
    note("To deploy it with the AWS CLI:")
    click.echo(shell)
    if protect:
        note("Once the stack stands, to protect it:")
    for line in protect:
        click.echo(line)
