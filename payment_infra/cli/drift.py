"""`payment-infra drift`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from payment_infra.cli.diff import DIFFERENT
from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import environment_options, output_option
from payment_infra.cli.views.output import note, print_json
from payment_infra.cli.views.terminal import operating
from payment_infra.foreign import escaped

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.operating.drift import Drift


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
    from payment_infra.cloud.operating.drift import detect

    with operating(environment.stack.name, "text") as operator:
        drift = detect(environment, time.sleep, operator.tell)
    if output == "json":
        print_json(asdict(drift))
    else:
        click.echo("\n".join(draw(drift, shutil.get_terminal_size().columns)))
    if drift.reason:
        note(f"Warning: the detection did not come to its end: {escaped(drift.reason)}")
    if fail and drift.status != "IN_SYNC":
        click.get_current_context().exit(DIFFERENT)


def draw(drift: Drift, width: int) -> Iterator[str]:
    """Yield the lines of a drift: each resource, and below it what differs, old and new."""
    from payment_infra.cli.views.text import cut, cut_right
    from payment_infra.rendering import describe
    from payment_infra.wording import counted

    for resource in drift.resources:
        sign, color = ("-", "red") if resource.status == "DELETED" else ("~", "yellow")
        head = f"{sign} {resource.logical_id}  {resource.resource_type}  {resource.status}"
        yield click.style(cut_right(head, width), fg=color)
        for changed in resource.properties:
            yield f"    {cut(changed.path, width - 4)}"
            yield click.style(f"      - {cut(describe(changed.expected), width - 8)}", fg="red")
            yield click.style(f"      + {cut(describe(changed.actual), width - 8)}", fg="green")
    cannot = f"{counted(drift.not_checked, 'resource')} cannot be compared"
    yield f"{drift.status}: {len(drift.resources)} drifted of {drift.checked} compared; {cannot}"
