"""How an operation on a stack is shown: live on a terminal, line by line, or as NDJSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import click

from payment_infra.cli.output import note, print_outputs
from payment_infra.cloud.events import (
    STACK_TYPE,
    Caution,
    Event,
    Outputs,
    Preview,
    Result,
    StackEvent,
    Waiting,
)
from payment_infra.errors import DeploymentFailed, PaymentInfraError

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live

SILENCE = timedelta(seconds=30)
# Rows of resources in flight that are shown at once.
MAX_IN_FLIGHT = 8
COLORS = {"COMPLETE": "green", "FAILED": "red"}

Now = Callable[[], datetime]


class View(Protocol):
    """Shows what is told to it."""

    def tell(self, event: Event) -> None:
        """Show an event."""

    def pause(self) -> None:
        """Leave the terminal to a question."""

    def fail(self, error: PaymentInfraError) -> None:
        """Take note of how it ends, if it ends in an error."""


@contextmanager
def view(
    form: str,
    stack: str,
    *,
    terminal: bool,
    width: int | None = None,
    now: Now = lambda: datetime.now(UTC),
) -> Iterator[View]:
    """Show an operation while the block lasts.

    Args:
        form: "text", or "json" for NDJSON on stdout.
        stack: the stack's name.
        terminal: whether stderr is one on which lines can be drawn anew.
        width: its columns; None asks it.
        now: the clock.
    """
    columns = width or shutil.get_terminal_size().columns
    if form == "json":
        yield JsonView()
    elif terminal:
        live = LiveView(stack, columns, now)
        try:
            yield live
        finally:
            live.pause()
    else:
        yield PlainView(stack, columns, now)


class Operation:
    """What is known of an operation from its events.

    done holds the last event of each resource that has come to rest, in that order; started the
    moment when each began; total the number of resources, as far as it is known.
    """

    def __init__(self, stack: str) -> None:
        self.total = 0
        self.began: datetime | None = None
        self.ended: datetime | None = None
        self.label = ""
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


class PlainView:
    """Writes one line on stderr for an event, and one after every 30 s of silence."""

    def __init__(self, stack: str, width: int, now: Now) -> None:
        self._operation = Operation(stack)
        self._width = width
        self._now = now
        self._last_line = now()

    def tell(self, event: Event) -> None:
        """Write a line, if there is something to say."""
        if isinstance(event, StackEvent):
            self._operation.add(event)
            note(_line(event))
            self._last_line = self._now()
        elif isinstance(event, Waiting):
            self._break_silence()
        else:
            tell_rest(event, self._operation, self._width)
            self._last_line = self._now()

    def pause(self) -> None:
        """Do nothing: there is nothing in the way of a question."""

    def fail(self, error: PaymentInfraError) -> None:
        """Do nothing: the error has its line."""

    def _break_silence(self) -> None:
        now = self._now()
        if now - self._last_line < SILENCE:
            return
        self._last_line = now
        names = ", ".join(self._operation.in_flight) or "the stack"
        began = self._operation.began or now
        note(f"still in progress: {names} ({elapsed((now - began).total_seconds())})")


class LiveView:
    """Draws a bar and what is in flight on a terminal, and keeps what has ended above it."""

    def __init__(self, stack: str, width: int, now: Now) -> None:
        self._stack = stack
        self._operation = Operation(stack)
        self._width = width
        self._now = now
        self._live: Live | None = None

    def tell(self, event: Event) -> None:
        """Take the event into the drawing, or write it above."""
        if isinstance(event, Waiting):
            self._start()
        elif isinstance(event, StackEvent):
            self._operation.add(event)
            self._start()
            if event.failed:
                self._write(_failure(event))
        else:
            if isinstance(event, Preview):
                self._operation.total = len(event.changes)
            self.pause()
            tell_rest(event, self._operation, self._width)

    def pause(self) -> None:
        """Take the drawing away; when the operation was begun, leave the list of what has ended."""
        if self._live is None:
            return
        self._live.stop()
        self._live = None
        for line in finished(self._operation, self._width):
            note(line)
        self._operation = Operation(self._stack)

    def fail(self, error: PaymentInfraError) -> None:
        """Take the drawing away, so that the error has the last line."""
        self.pause()

    def _start(self) -> None:
        if self._live is not None:
            return
        from rich.live import Live

        self._live = Live(
            get_renderable=lambda: frame(self._operation, self._width, self._now()),
            console=_console(self._width),
            refresh_per_second=4,
            transient=True,
        )
        self._live.start()

    def _write(self, line: str) -> None:
        from rich.text import Text

        if self._live is not None:
            self._live.console.print(Text.from_ansi(line))


class JsonView:
    """Writes one JSON object on stdout for each event, with its `type`."""

    def tell(self, event: Event) -> None:
        """Write the event's line; silence has none."""
        match event:
            case Preview():
                self._write(
                    "change_set",
                    {
                        "stack": event.stack,
                        "account": event.account,
                        "region": event.region,
                        "change_set": event.change_set,
                        "creates": event.creates,
                        "changes": [asdict(one) for one in event.changes],
                        "iam": [asdict(one) for one in event.grants],
                    },
                )
            case StackEvent():
                moment = event.time.astimezone(UTC).isoformat()
                self._write("event", {**asdict(event), "time": moment})
            case Caution():
                self._write("warning", asdict(event))
            case Outputs():
                self._write("outputs", {"outputs": dict(event.values)})
            case Result():
                self._write("result", asdict(event))

    def pause(self) -> None:
        """Do nothing: questions are asked on stderr."""

    def fail(self, error: PaymentInfraError) -> None:
        """Write the error's line, with the root cause of a failed deployment."""
        cause = error.diagnosis if isinstance(error, DeploymentFailed) else None
        known = {"cause": asdict(cause)} if cause else {}
        self._write("error", {"message": str(error), "exit_code": error.exit_code, **known})

    @staticmethod
    def _write(kind: str, fields: dict[str, Any]) -> None:
        click.echo(json.dumps({"type": kind, **fields}))


def tell(event: Event) -> None:
    """Write one line on stderr for a stack's event; for commands that show nothing else."""
    if isinstance(event, StackEvent):
        note(_line(event))


def tell_rest(event: Event, operation: Operation, width: int) -> None:
    """Write, as text, what is not an event of the stack."""
    match event:
        case Preview():
            from payment_infra.cli.preview import draw

            note(draw(event, width))
        case Caution():
            note(click.style(f"Warning: {event.message}", fg="yellow"))
        case Outputs():
            print_outputs(event.values, "text")
        case Result():
            note(f"{event.stack}: {event.status if event.changed else 'no changes'}")


def frame(operation: Operation, width: int, now: datetime) -> Group:
    """Return the drawing at a moment: the bar, and the resources in flight."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    done, total = len(operation.done), operation.total
    took = elapsed((now - (operation.began or now)).total_seconds())
    label = f"{done}/{total}  {took}  {operation.label}".rstrip()
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=max(total, 1), completed=done, width=max(10, width - len(label) - 3)),
        label,
    )
    rows = [
        f"  {elapsed(operation.seconds(name, now)):>8}  {event.status:<20}  {name}"
        for name, event in operation.in_flight.items()
    ]
    more = len(rows) - MAX_IN_FLIGHT
    shown = rows[:MAX_IN_FLIGHT] + ([f"  and {more} more"] if more > 0 else [])
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


def elapsed(seconds: float) -> str:
    """Return a duration as `42 s`, `1 m 30 s` or `2 h 5 m`."""
    whole = max(0, int(seconds))
    minutes, rest = divmod(whole, 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} m" if hours else f"{minutes} m {rest} s"


def cut_right(text: str, width: int) -> str:
    """Return text cut to the width, its spaces kept."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _line(event: StackEvent) -> str:
    color = COLORS.get(event.status.rpartition("_")[2])
    reason = f"  {event.reason}" if event.failed else ""
    status = click.style(f"{event.status:<28}", fg=color)
    return f"{event.time:%H:%M:%S}  {status}  {event.logical_id}  {event.resource_type}{reason}"


def _failure(event: StackEvent) -> str:
    status = click.style(event.status, fg="red")
    return f"{status}  {event.logical_id}: {event.reason}"


def _console(width: int) -> Console:
    from rich.console import Console

    color = click.get_current_context(silent=True)
    plain = color is not None and color.color is False
    return Console(stderr=True, width=width, no_color=plain, highlight=False)
