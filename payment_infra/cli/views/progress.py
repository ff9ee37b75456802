"""How an operation on a stack is shown: live on a terminal, line by line, or as NDJSON."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import click

from payment_infra.cli.views.drawing import console, ended, room
from payment_infra.cli.views.ndjson import JsonView
from payment_infra.cli.views.operation import COLORS, MAX_IN_FLIGHT, Operation, finished, frame
from payment_infra.cli.views.output import note, print_outputs
from payment_infra.cli.views.text import elapsed
from payment_infra.cloud.events import (
    Caution,
    Event,
    LastOperation,
    Outputs,
    Preview,
    Report,
    Result,
    StackEvent,
    StepBegun,
    Target,
    Waiting,
)
from payment_infra.foreign import escaped
from payment_infra.moments import shown
from payment_infra.wording import counted

if TYPE_CHECKING:
    from rich.live import Live

    from payment_infra.errors import PaymentInfraError

SILENCE = timedelta(seconds=30)

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


class PlainView:
    """Writes one line on stderr for an event, and one after every 30 s of silence."""

    def __init__(self, stack: str, width: int, now: Now) -> None:
        self._stack = stack
        self._operation = Operation(stack)
        self._width = width
        self._now = now
        self._last_line = now()
        self._waiting_since: datetime | None = None

    def tell(self, event: Event) -> None:
        """Write a line, if there is something to say."""
        if isinstance(event, StackEvent):
            self._operation.add(event)
            note(_line(event))
            self._last_line = self._now()
        elif isinstance(event, Waiting):
            self._break_silence(event.what)
        else:
            if isinstance(event, Preview):  # what was before it, was another operation
                self._operation = Operation(self._stack)
            tell_rest(event, self._operation, self._width)
            self._last_line = self._now()
            self._waiting_since = None

    def pause(self) -> None:
        """Do nothing: there is nothing in the way of a question."""

    def fail(self, error: PaymentInfraError) -> None:
        """Do nothing: the error has its line."""

    def _break_silence(self, what: str) -> None:
        now = self._now()
        self._waiting_since = self._waiting_since or now
        if now - self._last_line < SILENCE:
            return
        self._last_line = now
        names = list(self._operation.in_flight) or ["the stack"]
        more = len(names) - MAX_IN_FLIGHT
        named = ", ".join(names[:MAX_IN_FLIGHT]) + (f" and {more} more" if more > 0 else "")
        began = self._operation.began or self._waiting_since
        took = elapsed((now - began).total_seconds())
        note(f"still in progress: {what or f'{named} ({took})'}")


class LiveView:
    """Draws a bar and what is in flight on a terminal, and keeps what has ended above it.

    operation is what is drawn now.
    """

    def __init__(self, stack: str, width: int, now: Now) -> None:
        self._stack = stack
        self.operation = Operation(stack)
        self._width = width
        self._now = now
        self._live: Live | None = None

    def tell(self, event: Event) -> None:
        """Take the event into the drawing, or write it above."""
        if isinstance(event, Waiting):
            self.operation.waits_for = event.what
            self._start()
        elif isinstance(event, StackEvent):
            self.operation.add(event)
            self._start()
            if event.failed:
                self._write(_failure(event))
        else:
            self.pause()
            if isinstance(event, Preview):
                self.operation.total = len(event.changes)
            tell_rest(event, self.operation, self._width)

    def pause(self) -> None:
        """Take the drawing away; when the operation was begun, leave the list of what has ended."""
        if self._live is None:
            return
        self._live.stop()
        self._live = None
        for line in finished(self.operation, self._width):
            note(line)
        self.operation = Operation(self._stack)

    def fail(self, error: PaymentInfraError) -> None:
        """Take the drawing away, so that the error has the last line."""
        self.pause()

    def _start(self) -> None:
        if self._live is not None:
            return
        from rich.live import Live

        self._live = Live(
            get_renderable=lambda: ended(frame(self.operation, self._width, room(), self._now())),
            console=console(self._width, stderr=True),
            refresh_per_second=4,
            transient=True,
        )
        self._live.start()

    def _write(self, line: str) -> None:
        from rich.text import Text

        if self._live is not None:
            self._live.console.print(Text.from_ansi(line))


def tell_rest(event: Event, operation: Operation, width: int) -> None:
    """Write, as text, what is not an event of the stack."""
    match event:
        case Preview():
            from payment_infra.cli.views.preview import draw

            note(draw(event, width))
            operation.previewed = True
        case Target():
            note(f"{event.stack}: account {event.account}, {event.region}")
        case Caution():
            note(click.style(f"Warning: {escaped(event.message)}", fg="yellow"))
        case LastOperation():
            for line in _last(event, width):
                note(line)
        case Outputs():
            print_outputs(event.values, "text")
        case StepBegun():
            note(click.style(f"[{event.number}/{event.of}] {event.text}", bold=True))
        case Report():
            click.echo("\n".join(map(escaped, event.lines)), err=not event.final)
        case Result():
            unchanged = "nothing was changed yet" if operation.previewed else "no changes"
            note(f"{event.stack}: {event.status if event.changed else unchanged}")


def _last(operation: LastOperation, width: int) -> Iterator[str]:
    """Yield what was of an operation that has ended, and what failed in it."""
    took = elapsed((operation.ended - operation.began).total_seconds())
    parts = [f"began {shown(operation.began)}", f"took {took}"]
    parts.append(counted(operation.resources, "resource"))
    if operation.failed:
        parts.append(f"{len(operation.failed)} failed")
    told = f"the last operation: {', '.join(parts)}" + (operation.begun and f"; {operation.begun}")
    yield from textwrap.wrap(told, width, subsequent_indent="  ", break_long_words=False)
    yield from map(_failure, operation.failed)


def _line(event: StackEvent) -> str:
    color = COLORS.get(event.status.rpartition("_")[2])
    name = escaped(event.logical_id)
    reason = f"  {_one_line(event.reason)}" if event.failed else ""
    status = click.style(f"{event.status:<28}", fg=color)
    return f"{event.time:%H:%M:%S}  {status}  {name}  {event.resource_type}{reason}"


def _failure(event: StackEvent) -> str:
    status = click.style(event.status, fg="red")
    return f"{status}  {escaped(event.logical_id)}: {_one_line(event.reason)}"


def _one_line(text: str) -> str:
    return escaped(" ".join(text.split()))
