"""`payment-infra destroy`."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import entered, everywhere
from payment_infra.cli.option_types import OutputFile
from payment_infra.cli.options import (
    aws_options,
    config_options,
    output_option,
    require_suffix,
    stack_name_option,
    stack_of,
    take_over_option,
    yes_option,
)
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.output import note, print_json
from payment_infra.cli.views.terminal import at_terminal
from payment_infra.errors import UsageError

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.sources import Resolved


@click.command("destroy")
@config_options("suffix")
@stack_name_option
@click.option(
    "--export",
    "file",
    type=OutputFile(),
    help="Stop payments and save them and both queues' messages first, as JSON lines.",
)
@click.option(
    "--drain",
    "drain_seconds",
    type=click.IntRange(0, 900),
    metavar="SECONDS",
    help="With --export, wait this long for requests that have begun.  "
    "[default: the functions' timeout]",
)
@take_over_option
@output_option
@yes_option
@aws_options
@everywhere
@sheltered()
def command(
    session: Session,
    resolved: Resolved,
    file: Path | None,
    drain_seconds: int | None,
    output: str,
    yes: bool,
    take_over: int | None,
) -> None:
    """Delete the stack.

    Shows what goes and what is kept, and asks. Its payments go with it, unless they are retained.
    With --export payments are stopped and saved first; if it fails before the stack is being
    deleted, they are let in again. After a crash the same command saves anew.

    \b
    Example:
      payment-infra destroy --suffix dev-001 --export payments.jsonl
    """
    if drain_seconds is not None and file is None:
        raise UsageError("--drain goes with --export")
    require_suffix(resolved)
    from payment_infra.cli.views.destruction import draw, draw_remains
    from payment_infra.cloud.destroying.deletion import DestroyOptions, destroy

    stack = stack_of(session, resolved)
    options = DestroyOptions(
        export=file,
        drain_seconds=drain_seconds,
        yes=yes,
        command=entered(),
        take_over=take_over,
    )
    width = shutil.get_terminal_size().columns
    with at_terminal(stack.name, "text") as operator:
        done = destroy(
            *(session, stack, resolved, options, operator),
            show=lambda found: note("\n".join(draw(found, width))),
        )
    if done is None:
        note(f"there is no stack {stack.name}; nothing to delete")
    else:
        late = f", with {', '.join(done.log_groups)}, made again" if done.log_groups else ""
        note(f"{stack.name} is deleted{late}")
    if output == "json":
        print_json(
            {
                "stack": stack.name,
                "deleted": done is not None,
                "saved": done.saved if done else {},
                "remains": [asdict(resource) for resource in done.remains] if done else [],
            }
        )
    elif done is not None and done.remains:
        note("\n".join(draw_remains(done.remains)))
