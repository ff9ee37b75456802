"""`payment-infra bootstrap`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import aws_options
from payment_infra.cli.output import note
from payment_infra.cli.progress import tell

if TYPE_CHECKING:
    from payment_infra.cloud.session import Session


@click.command("bootstrap")
@aws_options
@everywhere
def command(session: Session) -> None:
    """Make the bucket for the zips, once per account and region.

    It is a stack of its own, payment-artifacts. `upload` and `deploy` do this by themselves when no
    bucket is given.

    \b
    Example:
      payment-infra bootstrap --region eu-central-1
    """
    from payment_infra.cloud.bootstrap import BOOTSTRAP_STACK, bootstrap

    bucket, changed = bootstrap(session, tell)
    if not changed:
        note(f"{BOOTSTRAP_STACK} is up to date")
    click.echo(bucket)
