"""`payment-infra destroy`."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
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
    take_over_option,
    yes_option,
)
from payment_infra.cli.views.output import check_answers, note, print_json
from payment_infra.cli.views.terminal import operating
from payment_infra.errors import UsageError
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.destroying.destruction import Destruction
    from payment_infra.cloud.destroying.saving import Saving
    from payment_infra.cloud.environment.callers import Detaching
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.sources import Resolved


@click.command("destroy")
@config_options("suffix")
@stack_name_option
@click.option(
    "--export",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
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
def command(
    session: Session,
    resolved: Resolved,
    stack_name: str | None,
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
    suffix = require_suffix(resolved)
    from payment_infra.cli.views.destruction import draw, draw_remains
    from payment_infra.cloud.destroying.destruction import (
        check_protection,
        delete_late_log_groups,
        examine,
        remains,
    )
    from payment_infra.cloud.destroying.saving import Saving
    from payment_infra.cloud.environment.callers import Detaching
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.environment.locking import Lock
    from payment_infra.cloud.environment.ownership import find_stack
    from payment_infra.cloud.stacks import intervention

    stack = stack_of(session, resolved, stack_name)
    if find_stack(stack, suffix) is None:
        note(f"there is no stack {stack.name}; nothing to delete")
        if output == "json":
            print_json({"stack": stack.name, "deleted": False, "saved": {}, "remains": []})
        return
    check_answers(yes)
    with (
        operating(stack.name, "text") as operator,
        Lock.acquire(
            *(session, stack, "destroy", operator.tell), command=entered(), take_over=take_over
        ),
    ):
        environment = Environment.find(session, stack, suffix)
        found = examine(environment)
        note("\n".join(draw(found, shutil.get_terminal_size().columns)))
        check_protection(environment, found, resolved)
        saving = None
        if file is not None:
            note(f"Before that, payments are stopped, and saved with both queues' messages: {file}")
            saving = Saving(
                environment,
                file,
                drain_seconds=drain_seconds,
                tell=operator.tell,
                sleep=time.sleep,
            )
        detaching = Detaching(environment, found.callers, operator.tell, time.sleep)
        with detaching, saving or nullcontext():
            intervention.destroy(
                stack,
                environment.state,
                operator,
                region=session.region,
                yes=yes,
                also=_also(found),
                first=lambda: _prepare(saving, detaching),
            )
        saved = dict(saving.saved) if saving else {}
        for name, number in saved.items():
            note(f"{name}: {counted(number, 'line')}")
        again = delete_late_log_groups(environment, found)
        left = remains(environment, found)
    note(f"{stack.name} is deleted" + (f", with {', '.join(again)}, made again" if again else ""))
    if output == "json":
        rest = [asdict(resource) for resource in left]
        print_json({"stack": stack.name, "deleted": True, "saved": saved, "remains": rest})
    elif left:
        note("\n".join(draw_remains(left)))


def _also(found: Destruction) -> str:
    number = len(found.callers.principals)
    return f", and detach the callers' policy from {counted(number, 'principal')}" if number else ""


def _prepare(saving: Saving | None, detaching: Detaching) -> None:
    if saving:
        saving.save()
    detaching.detach()
