"""The deployed dashboard, read back: its widgets, and the values that they would show.

It is read as `groups/dashboard.py` writes it. CloudWatch knows more forms ("Dashboard body
structure and syntax"): what somebody has added in one of those is refused, and not shown as
something else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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

# What CloudWatch keeps: every minute for 15 days, every 5 for 63, every hour for 455 (CloudWatch,
# "Metrics retention"). A period that is a multiple of these never asks for more than there is.
GRAINS = (60, 300, 3600)


@dataclass(frozen=True)
class Series:
    """A line of a widget."""

    label: str
    metric: Metric
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
        AwsError: there is no dashboard, or somebody has changed it beyond what is read here.
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
            f"dashboard {name} is not as payment-infra deploys it ({error!r}); "
            f"`{environment.command('drift')}` shows how somebody has changed it"
        ) from error
    metrics = [series.metric for widget, _ in widgets for series in widget.series]
    values = iter(read(client, metrics, start, end))
    alarms = {
        alarm.name: alarm for alarm in describe(client, [a for _, names in widgets for a in names])
    }
    return [
        Widget(
            widget.title,
            tuple(replace(series, points=tuple(next(values))) for series in widget.series),
            tuple(alarms[name] for name in names if name in alarms),
        )
        for widget, names in widgets
    ]


def _least_period(span: timedelta, columns: int) -> int:
    """Return the seconds, in whole grains, of which `columns` cover the span."""
    seconds = max(1.0, span.total_seconds() / columns)
    grain = max([grain for grain in GRAINS if grain <= seconds], default=GRAINS[0])
    return -int(-seconds // grain) * grain


def _widgets(body: Mapping[str, Any], period: int) -> Iterator[tuple[Widget, list[str]]]:
    """Yield each widget that shows metrics or alarms, with the names of its alarms."""
    for widget in sorted(
        body["widgets"], key=lambda widget: (widget.get("x", 0), widget.get("y", 0))
    ):
        properties = widget.get("properties", {})
        title = properties.get("title", "")
        if widget["type"] == "alarm":
            yield Widget(title), [arn.rpartition(":alarm:")[2] for arn in properties["alarms"]]
        elif widget["type"] == "metric":
            yield Widget(title, tuple(_series(properties, period))), []


def _series(properties: Mapping[str, Any], period: int) -> Iterator[Series]:
    above: list[str] = []
    for row in properties["metrics"]:
        options = row[-1] if isinstance(row[-1], dict) else {}
        names = row[:-1] if isinstance(row[-1], dict) else row
        if "..." in names or not options.keys() <= {"stat", "label"}:
            raise ValueError(row)
        above = [above[place] if part == "." else part for place, part in enumerate(names)]
        namespace, name, *pairs = above
        metric = Metric(
            namespace=namespace,
            name=name,
            dimensions=dict(zip(pairs[::2], pairs[1::2], strict=True)),
            statistic=options.get("stat") or properties["stat"],
            period=max(properties["period"], period),
        )
        yield Series(options.get("label") or name, metric)
