"""A status as one screen of text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from payment_infra.cli.views.text import ago, cut, draw_gateway, elapsed, size
from payment_infra.names import DEAD_LETTERS

if TYPE_CHECKING:
    from payment_infra.checks import Check
    from payment_infra.cloud.environment.locking import Held
    from payment_infra.cloud.operating.status import FunctionStatus, QueueStatus, Status

LABEL = 11
COLORS = {
    "FAILED": "red",
    "COMPLETE": "green",
    "DRIFTED": "yellow",
}
NOTHING = "-"
GONE = "GONE"


def draw(status: Status, width: int, now: datetime, drift: str) -> str:
    """Return the screen; no line is wider than `width`, but for what is to be copied.

    drift is the command that detects drift.
    """
    return "\n".join(_lines(status, width, now, drift))


def _lines(status: Status, width: int, now: datetime, drift: str) -> Iterator[str]:
    color = COLORS.get(status.status.rpartition("_")[2])
    by = f", payment-infra {status.version}" if status.version else ""
    yield _row("stack", click.style(status.stack, bold=True))
    yield _row(
        "status", click.style(status.status, fg=color) + f" {ago(status.changed_at, now)}{by}"
    )
    yield _row("API", status.url or NOTHING)
    stopped = status.payments not in {"let in", "unknown"}
    yield _row("payments", click.style(status.payments, fg="red" if stopped else None))
    yield _row("gateway", draw_gateway(status.gateway) or NOTHING)
    if status.lock:
        yield from _lock(status.lock, width, now)
    # Before what is longer than a small terminal.
    if status.findings:
        yield _row("problems", click.style(str(len(status.findings)), fg="red"))
    for finding in status.findings:
        yield from _finding(finding, width)
    yield from _alarms(status, width, now)
    yield from _table(status, now)
    for queue in status.queues:
        yield _row("queue", _queue(queue))
    yield _row("drift", _drift(status, now, drift))
    if status.functions:
        yield ""
        yield click.style(
            f"{'function':<34}{'code':<14}{'errors':>7}{'p95':>10}  changed", bold=True
        )
        yield from (_function(function, now) for function in status.functions)
    for part, reason in status.unknown.items():
        yield click.style(cut(f"unknown: {part}: {reason}", width), fg="yellow")


def _lock(lock: Held, width: int, now: datetime) -> Iterator[str]:
    who, _, where = lock.holder.partition(" on ")
    yield _row("lock", click.style(f"{lock.operation}, begun {ago(lock.since, now)}", fg="yellow"))
    yield _row("", cut(f"by {who}", width - LABEL))
    yield _row("", cut(f"on {where}", width - LABEL))
    if lock.stack_id:
        yield _row("", "handed over to the stack's operation")
    else:
        renewed = ago(lock.renewed_at, now)
        yield _row("", f"last renewed {renewed} (generation {lock.generation})")


def _row(label: str, text: str) -> str:
    return f"{label:<{LABEL}}{text}"


def _finding(finding: Check, width: int) -> Iterator[str]:
    """Yield what is wrong, and what to do; that is not cut, as it is to be copied."""
    yield click.style(f"  {cut(finding.message, width - 2)}", fg="red")
    yield f"    {finding.remedy}"


def _table(status: Status, now: datetime) -> Iterator[str]:
    table = status.table
    yield _row("table", status.table_name or NOTHING)
    if table is None:
        return
    if table.status == GONE:
        yield _row("", click.style(GONE, fg="red"))
        return
    yield _row("", f"{table.status}, about {table.items} items, {size(table.size_bytes)}")
    if table.restorable_from and table.restorable_to:
        since, until = (ago(moment, now) for moment in (table.restorable_from, table.restorable_to))
        yield _row("", f"can be restored to any moment from {since} to {until}")
    else:
        yield _row("", click.style("point-in-time recovery is off", fg="yellow"))


def _queue(queue: QueueStatus) -> str:
    age = f", oldest {elapsed(queue.oldest_seconds)}" if queue.oldest_seconds else ""
    text = f"{queue.name}: {queue.waiting} waiting, {queue.in_flight} in flight{age}"
    dead = queue.name.startswith(f"{DEAD_LETTERS}-") and queue.waiting
    return click.style(text, fg="red") if dead else text


def _function(function: FunctionStatus, now: datetime) -> str:
    errors = NOTHING if function.errors is None else str(function.errors)
    p95 = function.p95_milliseconds
    duration = NOTHING if p95 is None else f"{p95:.0f} ms"
    text = (
        f"{cut(function.name, 32):<34}{function.code or NOTHING:<14}{errors:>7}{duration:>10}"
        f"  {_changed(function.changed_at, now)}"
    )
    return click.style(text, fg="red") if function.errors else text


def _changed(text: str, now: datetime) -> str:
    """Return how long ago Lambda's time, as 2026-11-24T10:00:00.000+0000, was."""
    try:
        return ago(datetime.fromisoformat(text), now)
    except ValueError:
        return text


def _alarms(status: Status, width: int, now: datetime) -> Iterator[str]:
    if not status.alarms_known:
        yield _row("alarms", click.style("unknown", fg="yellow"))
        return
    raised = [alarm for alarm in status.alarms if alarm.state == "ALARM"]
    unsure = len(status.alarms) - len(raised)
    fine = status.alarms_in_all - len(status.alarms)
    more = f", {unsure} without data yet" if unsure else ""
    yield _row("alarms", f"{fine} of {status.alarms_in_all} OK{more}")
    for alarm in sorted(raised, key=lambda alarm: alarm.name):
        since = f", {ago(alarm.since, now)}" if alarm.since else ""
        yield click.style(f"  {cut(f'ALARM {alarm.name}{since}', width - 2)}", fg="red")
        yield f"    {cut(alarm.reason, width - 4)}"


def _drift(status: Status, now: datetime, command: str) -> str:
    if status.drift_checked_at is None:
        return f"not checked (`{command}` does it)"
    text = click.style(status.drift, fg=COLORS.get(status.drift))
    return f"{text}, checked {ago(status.drift_checked_at, now)}"
