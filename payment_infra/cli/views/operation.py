"""What is known of an operation from its events, and how that is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from payment_infra.cli.views.text import cut_right, elapsed
from payment_infra.cloud.events import STACK_TYPE, StackEvent

if TYPE_CHECKING:
    from rich.console import Group

# Rows of resources in flight that are shown at once.
MAX_IN_FLIGHT = 8
# By the last word of a status.
COLORS = {"COMPLETE": "green", "FAILED": "red"}


class Operation:
    """What is known of an operation from its events.

    done holds the last event of each resource that has come to rest, in that order; started the
    moment when each began; total the number of resources, as far as it is known; waits_for what is
    waited for, where that is no stack; previewed whether what it would change was shown.
    """

    def __init__(self, stack: str) -> None:
        self.total = 0
        self.began: datetime | None = None
        self.ended: datetime | None = None
        self.label = ""
        self.waits_for = ""
        self.previewed = False
        self.done: dict[str, StackEvent] = {}
        self.in_flight: dict[str, StackEvent] = {}
        self._started: dict[str, datetime] = {}
        self._stack = stack

    def add(self, event: StackEvent) -> None:
        """Take note of an event."""
        self.began = self.began or event.time
        self.ended = event.time
        if event.resource_type == STACK_TYPE and event.logical_id == self._stack:
            if "ROLLBACK" in event.status:
                self.label = "rolling back"
            elif "CLEANUP" in event.status:
                self.label = "cleaning up"
            return
        name = event.logical_id
        if event.in_progress:
            if name not in self.in_flight:
                self._started[name] = event.time
            self.in_flight[name] = event
            self.done.pop(name, None)
        else:
            self.in_flight.pop(name, None)
            self.done.pop(name, None)
            self.done[name] = event
        self.total = max(self.total, len(self.done) + len(self.in_flight))

    def seconds(self, name: str, until: datetime) -> float:
        """Return how long a resource has taken until that moment, or its last event."""
        return (until - self._started.get(name, until)).total_seconds()


def frame(operation: Operation, width: int, height: int, now: datetime) -> Group:
    """Return the drawing at a moment: the bar, and the resources in flight.

    It is no wider and no higher than so many columns and lines.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    if operation.waits_for:
        return Group(Text(cut_right(operation.waits_for, width - 1), no_wrap=True))
    done, total = len(operation.done), operation.total
    took = elapsed((now - (operation.began or now)).total_seconds())
    count = f"{done}/{total}  " if total else ""  # nothing is known before the first event
    label = f"{count}{took}  {operation.label}".rstrip()
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=max(total, 1), completed=done, width=max(10, width - len(label) - 3)),
        label,
    )
    rows = [
        f"  {elapsed(operation.seconds(name, now)):>8}  {event.status:<20}  {name}"
        for name, event in operation.in_flight.items()
    ]
    most = max(min(MAX_IN_FLIGHT, height - 2), 0)  # beside the bar and the last row
    more = len(rows) - most
    shown = rows[:most] + ([f"  and {more} more"] if more > 0 and height > 1 else [])
    # The last column stays free: some terminals wrap when it is written.
    lines = [Text(cut_right(row, width - 1), no_wrap=True) for row in shown]
    return Group(bar, *lines)


def finished(operation: Operation, width: int) -> Iterator[str]:
    """Yield a line for every resource that has come to rest: status, duration, name."""
    for name, event in operation.done.items():
        color = COLORS.get(event.status.rpartition("_")[2])
        status = click.style(f"{event.status:<20}", fg=color)
        took = elapsed(operation.seconds(name, event.time))
        yield f"{status}  {took:>8}  {cut_right(name, width - 33)}"
