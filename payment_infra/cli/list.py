"""`payment-infra list`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import output_option, place_options
from payment_infra.cli.views.output import note, print_json, print_table
from payment_infra.moments import iso

if TYPE_CHECKING:
    from payment_infra.cloud.environment.listing import Listed
    from payment_infra.cloud.sdk.session import Session


@click.command("list")
@output_option
@place_options
@everywhere
def command(session: Session, output: str) -> None:
    """List the environments of the region, in any state.

    \b
    Example:
      payment-infra list --region eu-central-1
    """
    from payment_infra.cloud.environment.listing import find_stacks

    found = find_stacks(session.client("cloudformation"))
    if output == "json":
        print_json([{**asdict(stack), "changed_at": iso(stack.changed_at)} for stack in found])
    elif not found:
        deploy = session.command("payment-infra deploy --suffix SUFFIX")
        note(f"there is no environment in {session.region}; `{deploy}` makes one")
    else:
        print_stacks(found, datetime.now(UTC))


def print_stacks(stacks: Sequence[Listed], now: datetime) -> None:
    """Print a table of environments."""
    from payment_infra.cli.views.text import ago

    print_table(
        ("stack", "environment", "status", "changed"),
        [(stack.stack, stack.suffix, stack.status, ago(stack.changed_at, now)) for stack in stacks],
    )
