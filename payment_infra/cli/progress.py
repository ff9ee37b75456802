"""How the events of a stack are shown while it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from payment_infra.cloud.stack import StackEvent

COLORS = {"COMPLETE": "green", "FAILED": "red"}


def tell(event: StackEvent) -> None:
    """Write one line on stderr for an event."""
    color = COLORS.get(event.status.rpartition("_")[2])
    reason = f"  {event.reason}" if event.failed else ""
    click.echo(
        f"{event.time:%H:%M:%S}  {click.style(f'{event.status:<28}', fg=color)}"
        f"  {event.logical_id}{reason}",
        err=True,
    )
