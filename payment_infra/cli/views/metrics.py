"""The widgets of a dashboard as lines of text, or for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from payment_infra.foreign import escaped
from payment_infra.moments import iso

if TYPE_CHECKING:
    from payment_infra.cloud.operating.dashboard import Series, Widget

BLOCKS = "▁▂▃▄▅▆▇█"
LABEL = 26
# What stands beside a line: the last value and the largest.
NUMBERS = 24
UNITS = {"T": 1e12, "G": 1e9, "M": 1e6}
NO_DATA = "no data"


def columns(width: int) -> int:
    """Return how many values a line has room for, in a terminal of this width."""
    return max(10, width - LABEL - NUMBERS - 3)


def draw(widgets: Sequence[Widget], start: datetime, end: datetime) -> Iterator[str]:
    """Yield the lines of the drawing: a line of values for each series."""
    for number, widget in enumerate(widgets):
        if number:
            yield ""
        yield click.style(escaped(widget.title), bold=True)
        for series in widget.series:
            yield _series(series, start, end)
        for alarm in widget.alarms:
            color = {"ALARM": "red", "OK": "green"}.get(alarm.state)
            yield f"  {click.style(f'{alarm.state:<17}', fg=color)}  {escaped(alarm.name)}"


def sparkline(values: Sequence[float | None]) -> str:
    """Return a character for each value, from the lowest level, 0 or less, to the highest."""
    known = [value for value in values if value is not None]
    low, high = min([0.0, *known]), max([0.0, *known])
    steps = (high - low) or 1.0
    return "".join(
        " " if value is None else BLOCKS[round((value - low) / steps * (len(BLOCKS) - 1))]
        for value in values
    )


def _series(series: Series, start: datetime, end: datetime) -> str:
    label = f"{escaped(series.label)[:LABEL]:<{LABEL}}"
    if not series.points:
        return f"{label} {NO_DATA}"
    period = series.metric.period
    values: list[float | None] = [None] * -(-int((end - start).total_seconds()) // period)
    for point in series.points:
        # CloudWatch begins a period at its own full minutes, which can be before the start.
        place = max(0, int((point.time - start).total_seconds() // period))
        values[min(place, len(values) - 1)] = point.value
    numbers = f"last {_short(series.points[-1].value)}, max {_short(_largest(series))}"
    return f"{label} {sparkline(values)} {numbers}"


def _largest(series: Series) -> float:
    return max(point.value for point in series.points)


def _short(value: float) -> str:
    for unit, size in UNITS.items():
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.2g}"


def document(widget: Widget) -> dict[str, Any]:
    """Return a widget as `payment-infra metrics --output json` writes it."""
    return {
        "title": widget.title,
        "series": [
            {
                "label": series.label,
                "statistic": series.metric.statistic,
                "period_seconds": series.metric.period,
                "points": [
                    {"time": iso(point.time), "value": point.value} for point in series.points
                ],
            }
            for series in widget.series
        ],
        "alarms": [{"name": alarm.name, "state": alarm.state} for alarm in widget.alarms],
    }
