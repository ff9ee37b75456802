"""The deployed dashboard, read back: its widgets, and the values that they would show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.operating.alarms import Alarm, describe
from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.sdk.metric_data import Metric, Point, read
from payment_infra.errors import AwsError
from payment_infra.names import DASHBOARD

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment

# What CloudWatch takes where a widget does not say it ("Dashboard body structure and syntax").
DEFAULT_PERIOD = 300
DEFAULT_STATISTIC = "Average"
# What CloudWatch keeps: every minute for 15 days, every 5 for 63, every hour for 455 (CloudWatch,
# "Metrics retention"). A period that is a multiple of these never asks for more than there is.
GRAINS = (60, 300, 3600)


@dataclass(frozen=True)
class Series:
    """A line of a widget; metric is None if it is an expression, which is not computed here."""

    label: str
    metric: Metric | None
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Widget:
    """A widget: its title, and either series or alarms."""

    title: str
    series: tuple[Series, ...] = ()
    alarms: tuple[Alarm, ...] = ()


def read_dashboard(
    environment: Environment, start: datetime, end: datetime, columns: int
) -> list[Widget]:
    """Return the widgets in the dashboard's order, with their values in a span of time.

    Args:
        environment: whose dashboard.
        start: the first moment.
        end: the moment after the last.
        columns: how many values a series has at most; a widget's period is raised for that.

    Raises:
        AwsError: there is no dashboard, or it is not one that CloudWatch could show.
    """
    client = environment.client("cloudwatch")
    name = environment.resource(DASHBOARD)
    with translated(f"dashboard {name}"):
        body = client.get_dashboard(DashboardName=name)["DashboardBody"]
    period = _least_period(end - start, columns)
    try:
        widgets = list(_widgets(json.loads(body), period))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise AwsError(
            f"dashboard {name} is not as CloudWatch documents it ({error!r}); "
            f"`{environment.command('drift')}` shows whether somebody has changed it"
        ) from error
    metrics = [
        one.metric for widget, _ in widgets for one in widget.series if one.metric is not None
    ]
    values = iter(read(client, metrics, start, end))
    alarms = {one.name: one for one in describe(client, [a for _, names in widgets for a in names])}
    return [
        Widget(
            widget.title,
            tuple(
                replace(one, points=tuple(next(values))) if one.metric else one
                for one in widget.series
            ),
            tuple(alarms[one] for one in names if one in alarms),
        )
        for widget, names in widgets
    ]


def _least_period(span: timedelta, columns: int) -> int:
    """Return the seconds, in whole grains, of which `columns` cover the span."""
    seconds = max(1.0, span.total_seconds() / columns)
    grain = max([one for one in GRAINS if one <= seconds], default=GRAINS[0])
    return -int(-seconds // grain) * grain


def _widgets(body: Mapping[str, Any], period: int) -> Iterator[tuple[Widget, list[str]]]:
    """Yield each widget that shows metrics or alarms, with the names of its alarms."""
    for one in sorted(body["widgets"], key=lambda one: (one.get("x", 0), one.get("y", 0))):
        properties = one.get("properties", {})
        title = properties.get("title", "")
        if one["type"] == "alarm":
            yield Widget(title), [arn.rpartition(":alarm:")[2] for arn in properties["alarms"]]
        elif one["type"] == "metric":
            yield Widget(title, tuple(_series(properties, period))), []


def _series(properties: Mapping[str, Any], period: int) -> Iterator[Series]:
    before: list[str] = []
    for row in properties.get("metrics", []):
        options = row[-1] if isinstance(row[-1], dict) else {}
        if "expression" in options:
            yield Series(options.get("label") or options["expression"], None)
            continue
        before = _spelled_out([one for one in row if not isinstance(one, dict)], before)
        namespace, name, *pairs = before
        if options.get("visible") is False:
            continue
        wanted = options.get("period") or properties.get("period") or DEFAULT_PERIOD
        metric = Metric(
            namespace=namespace,
            name=name,
            dimensions=dict(zip(pairs[::2], pairs[1::2], strict=True)),
            statistic=options.get("stat") or properties.get("stat") or DEFAULT_STATISTIC,
            period=max(wanted, period),
        )
        yield Series(options.get("label") or name, metric)


def _spelled_out(row: Sequence[str], before: Sequence[str]) -> list[str]:
    """Return a metric without its shorthands: "." is what stands above, "..." all of it."""
    if "..." in row:
        place = row.index("...")
        rest = len(row) - place - 1
        row = [*row[:place], *before[place : len(before) - rest], *row[place + 1 :]]
    return [before[place] if one == "." else one for place, one in enumerate(row)]
