"""What was changed outside of CloudFormation, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from payment_infra.cli.views.text import cut, cut_right
from payment_infra.rendering import describe
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.operating.drift import Drift


def draw(drift: Drift, width: int) -> Iterator[str]:
    """Yield the lines of a drift: each resource, and below it what differs, old and new."""
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
