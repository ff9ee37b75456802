"""What a deletion takes and what it leaves, as lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from payment_infra.cli.views.output import NO_BREAK
from payment_infra.cli.views.text import cut

if TYPE_CHECKING:
    from payment_infra.cloud.destroying.destruction import Destruction, Kept


def draw(found: Destruction, width: int) -> Iterator[str]:
    """Yield what is kept and what goes, the data last: the question comes below it."""
    from payment_infra.cloud.destroying.destruction import kinds

    yield click.style(f"Deletion of {found.stack} in {found.region}", bold=True)
    if found.kept:
        yield click.style(f"+ what is kept: {len(found.kept)}", fg="green")
    for kept in found.kept:
        yield f"    {kept.resource_type} {kept.name}"
        yield f"      {cut(kept.reason, width - 6)}"
    if found.callers.principals:
        number = len(found.callers.principals)
        yield click.style(f"- who loses the callers' policy: {number}", fg="red")
    for principal in found.callers.principals:
        yield f"    {principal.kind} {principal.name}"
    if found.callers.unknown:
        told = (
            "Warning: it is unknown who has the callers' policy, and IAM deletes it only once "
            f"nobody has it: {found.callers.unknown}"
        )
        yield from (click.style(line, fg="yellow") for line in textwrap.wrap(told, width))
    yield click.style(f"- resources that go: {sum(found.goes.values())}", fg="red")
    every = ", ".join(kind.replace(" ", NO_BREAK) for kind in kinds(found.goes))
    for line in textwrap.wrap(every, width - 4):
        yield f"    {line.replace(NO_BREAK, ' ')}"
    if found.table:
        yield click.style(f"    table {found.table}, payments: about {found.items}", fg="red")
    for queue, number in found.messages.items():
        yield click.style(f"    queue {queue}, messages not handled yet: {number}", fg="red")


def draw_remains(left: Sequence[Kept]) -> Iterator[str]:
    """Yield what is left and the commands that remove it, which are to be copied: none is cut."""
    yield "What remains, and what removes it:"
    for resource in left:
        yield f"  {resource.resource_type} {resource.name}"
        yield f"    {resource.reason}"
        if resource.command:
            yield f"    {resource.command}"
