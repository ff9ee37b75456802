"""`payment-infra destroy`."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.operating import operating
from payment_infra.cli.options import (
    aws_options,
    config_options,
    output_option,
    require_suffix,
    stack_name_of,
    stack_name_option,
    yes_option,
)
from payment_infra.cli.output import check_answers, note, print_json

if TYPE_CHECKING:
    from payment_infra.cloud.operations.destruction import Destruction, Kept
    from payment_infra.cloud.operations.environment import Environment
    from payment_infra.cloud.session import Session
    from payment_infra.sources import Resolved


@click.command("destroy")
@config_options("suffix")
@stack_name_option
@click.option(
    "--export",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Save the payments first, as JSON lines.",
)
@output_option
@yes_option
@aws_options
@everywhere
def command(
    session: Session,
    resolved: Resolved,
    stack_name: str | None,
    file: Path | None,
    output: str,
    yes: bool,
) -> None:
    """Delete the stack.

    Shows what goes and what is kept, and asks. Its payments go with it, unless they are retained.

    \b
    Example:
      payment-infra destroy --suffix dev-001 --export payments.jsonl
    """
    suffix = require_suffix(resolved)
    from payment_infra.cloud import intervention
    from payment_infra.cloud.operations.destruction import (
        check_protection,
        delete_late_log_groups,
        examine,
        remains,
    )
    from payment_infra.cloud.operations.environment import Environment
    from payment_infra.cloud.release import find_stack
    from payment_infra.cloud.stack import Stack

    stack = Stack(session.client("cloudformation"), stack_name_of(resolved, stack_name))
    state = find_stack(stack, suffix)
    if state is None:
        note(f"there is no stack {stack.name}; nothing to delete")
        if output == "json":
            print_json({"stack": stack.name, "deleted": False, "remains": []})
        return
    check_answers(yes)
    environment = Environment(session, stack, state)
    found = examine(environment)
    width = shutil.get_terminal_size().columns
    note("\n".join(draw(found, width)))
    check_protection(environment, found, resolved)
    with operating(stack.name, "text") as operator:
        intervention.destroy(
            stack,
            state,
            operator,
            region=session.region,
            yes=yes,
            also=_also(found),
            first=lambda: _prepare(environment, found, file),
        )
    again = delete_late_log_groups(environment, found)
    left = remains(environment, found)
    note(f"{stack.name} is deleted" + (f", with {', '.join(again)}, made again" if again else ""))
    if output == "json":
        print_json({"stack": stack.name, "deleted": True, "remains": [asdict(one) for one in left]})
    elif left:
        note("\n".join(draw_remains(left)))


def draw(found: Destruction, width: int) -> Iterator[str]:
    """Yield what goes and what is kept."""
    from payment_infra.cli.preview import cut
    from payment_infra.cloud.operations.destruction import kinds

    yield click.style(f"Deletion of {found.stack} in {found.region}", bold=True)
    yield click.style(f"- resources that go: {sum(found.goes.values())}", fg="red")
    if found.table:
        yield click.style(f"    table {found.table}, payments: about {found.items}", fg="red")
    for queue, number in found.messages.items():
        yield click.style(f"    queue {queue}, messages not handled yet: {number}", fg="red")
    for kind in kinds(found.goes):
        yield f"    {cut(kind, width - 4)}"
    if found.callers.principals:
        number = len(found.callers.principals)
        yield click.style(f"- who loses the callers' policy: {number}", fg="red")
    for one in found.callers.principals:
        yield f"    {one.kind} {one.name}"
    if found.callers.unknown:
        told = (
            "Warning: nobody can tell who has the callers' policy, and IAM deletes it only when "
            f"nobody has: {found.callers.unknown}"
        )
        yield from (click.style(line, fg="yellow") for line in textwrap.wrap(told, width))
    if found.kept:
        yield click.style(f"+ what is kept: {len(found.kept)}", fg="green")
    for kept in found.kept:
        yield f"    {kept.resource_type} {kept.name}"
        yield f"      {cut(kept.reason, width - 6)}"


def draw_remains(left: list[Kept]) -> Iterator[str]:
    """Yield what is left and the commands that remove it, which are to be copied: none is cut."""
    yield "What remains, and what removes it:"
    for one in left:
        yield f"  {one.resource_type} {one.name}"
        yield f"    {one.reason}"
        yield f"    {one.command}"


def _also(found: Destruction) -> str:
    from payment_infra.wording import counted

    number = len(found.callers.principals)
    return f", and detach the callers' policy from {counted(number, 'principal')}" if number else ""


def _prepare(environment: Environment, found: Destruction, file: Path | None) -> None:
    from payment_infra.cloud.operations.callers import detach

    _export(environment, file)
    detach(environment.client("iam"), found.callers)


def _export(environment: Environment, file: Path | None) -> None:
    from payment_infra.cli.export import Count
    from payment_infra.cloud.operations.export import Since, save
    from payment_infra.wording import counted

    if file is None:
        return
    count = Count()
    rows = save(environment.client("dynamodb"), environment.table, Since(), file, count)
    count.end()
    note(f"{file}: {counted(rows, 'transaction')}")
