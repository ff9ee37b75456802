from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.artifacts import code_keys
from payment_infra.cli.views.metrics import (
    LABEL,
    NUMBERS,
    draw,
    sparkline,
)
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.operating.alarms import Alarm
from payment_infra.cloud.operating.dashboard import Series, Widget, read_dashboard
from payment_infra.cloud.sdk.metric_data import MAX_QUERIES, Metric, Point
from payment_infra.cloud.stacks.stack import Stack, StackState
from payment_infra.errors import AwsError
from payment_infra.rendering import document
from payment_infra.sources import resolve
from payment_infra.template import build_template
from tests import snapshots
from tests.aws import FakeAws, FakeStack
from tests.transcripts import check_width

if TYPE_CHECKING:
    from collections.abc import Sequence

END = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
START = END - timedelta(hours=3)


def dashboard(aws: FakeAws, *widgets: dict[str, Any]) -> Environment:
    """Return an environment whose deployed dashboard has these widgets."""
    aws.answers["cloudwatch:GetDashboard"] = {"DashboardBody": json.dumps({"widgets": widgets})}
    aws.answers["cloudwatch:DescribeAlarms"] = {"MetricAlarms": []}
    aws.answers.setdefault("cloudwatch:GetMetricData", {"MetricDataResults": []})
    aws.stacks["s"] = FakeStack("s", resources={"PaymentDashboard": "CREATE_COMPLETE"})
    session = aws.session()
    state = StackState("s", "CREATE_COMPLETE", {}, {}, START)
    return Environment(session, Stack(session.client("cloudformation"), "s"), state)


def widget(*metrics: Sequence[Any], **properties: Any) -> dict[str, Any]:
    return {"type": "metric", "properties": {"title": "T", "metrics": metrics, **properties}}


def series(environment: Environment) -> tuple[Series, ...]:
    [one] = read_dashboard(environment, START, END, 100)
    return one.series


def test_a_row_says_what_it_shows_with_a_point_for_what_stands_above() -> None:
    environment = dashboard(
        FakeAws(),
        widget(
            ["AWS/Lambda", "Errors", "FunctionName", "a", {"stat": "Sum", "label": "A"}],
            [".", ".", ".", "b", {"stat": "Maximum"}],
            [".", "Duration", ".", ".", {"stat": "p95"}],
            period=600,
        ),
    )
    assert series(environment) == (
        Series("A", Metric("AWS/Lambda", "Errors", {"FunctionName": "a"}, "Sum", 600)),
        Series("Errors", Metric("AWS/Lambda", "Errors", {"FunctionName": "b"}, "Maximum", 600)),
        Series("Duration", Metric("AWS/Lambda", "Duration", {"FunctionName": "b"}, "p95", 600)),
    )


def test_a_metric_without_a_statistic_of_its_own_has_its_widgets() -> None:
    environment = dashboard(
        FakeAws(),
        widget(
            ["N", "M", "D", "a"],
            [".", ".", ".", "b", {"label": "B"}],
            [".", ".", ".", ".", "E", "c", {"stat": "p95"}],
            period=300,
            stat="Sum",
        ),
    )
    assert series(environment) == (
        Series("M", Metric("N", "M", {"D": "a"}, "Sum", 300)),
        Series("B", Metric("N", "M", {"D": "b"}, "Sum", 300)),
        Series("M", Metric("N", "M", {"D": "b", "E": "c"}, "p95", 300)),
    )


@pytest.mark.parametrize("preset", ["development", "production"])
def test_what_is_deployed_is_understood(preset: str) -> None:
    config = resolve({"preset": preset}, {}).config
    [body] = [
        one["Properties"]["DashboardBody"]["Fn::Sub"]
        for one in document(build_template(config, code_keys()))["Resources"].values()
        if one["Type"] == "AWS::CloudWatch::Dashboard"
    ]
    text = body[0].replace("${G}", body[1]["G"]["Fn::Sub"])
    content = json.loads(text)
    environment = dashboard(FakeAws(), *content["widgets"])
    found = read_dashboard(environment, START, END, 100)
    assert {one.title for one in found} == {
        one["properties"]["title"] for one in content["widgets"]
    }
    names = {one.metric.name for widget in found for one in widget.series}
    assert {"Latency", "Errors", "ConsumedReadCapacityUnits", "GatewayLatency"} <= names
    assert "." not in names


@pytest.mark.parametrize(
    "row",
    [
        ["...", "b", {"stat": "Sum"}],
        ["N", "M", {"stat": "Sum", "period": 60}],
        ["N", "M", {"stat": "Sum", "visible": False}],
        [{"expression": "m1/m2", "label": "Rate"}],
        ["N", "M", {}],
        ["N", "M"],
    ],
    ids=str,
)
def test_what_somebody_has_added_otherwise_is_refused(row: list[Any]) -> None:
    first = ["N", "M", "D", "a", {"stat": "Sum"}]
    with pytest.raises(AwsError, match=r"payment-infra deploys it .*`payment-infra drift --"):
        series(dashboard(FakeAws(), widget(first, row, period=300)))


@pytest.mark.parametrize(
    ("hours", "columns", "period"), [(1, 60, 300), (3, 30, 600), (24, 30, 3000), (240, 30, 28_800)]
)
def test_a_period_is_raised_until_the_line_fits(hours: int, columns: int, period: int) -> None:
    environment = dashboard(FakeAws(), widget(["N", "M", {"stat": "Sum"}], period=300))
    [one] = read_dashboard(environment, END - timedelta(hours=hours), END, columns)
    assert one.series[0].metric.period == period


def test_more_metrics_than_one_call_takes_and_values_on_several_pages_are_all_read() -> None:
    aws = FakeAws()

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        page = int(params.get("NextToken", "0"))
        results = [
            {
                "Id": one["Id"],
                "Timestamps": [START + timedelta(hours=page)],
                "Values": [float(page)],
            }
            for one in params["MetricDataQueries"]
        ]
        return {"MetricDataResults": results} | ({"NextToken": "1"} if page == 0 else {})

    aws.answers["cloudwatch:GetMetricData"] = answer
    names = [["N", f"M{number}", {"stat": "Sum"}] for number in range(MAX_QUERIES + 1)]
    found = series(dashboard(aws, widget(*names, period=300)))
    assert len(aws.called("cloudwatch:GetMetricData")) == 4
    assert len(found) == MAX_QUERIES + 1
    assert {tuple(point.value for point in one.points) for one in found} == {(0.0, 1.0)}


@pytest.mark.parametrize("body", ["{}", "[]", "no JSON", '{"widgets": [{"type": "alarm"}]}'])
def test_a_dashboard_that_somebody_broke_is_one_clear_error(body: str) -> None:
    aws = FakeAws()
    environment = dashboard(aws)
    aws.answers["cloudwatch:GetDashboard"] = {"DashboardBody": body}
    with pytest.raises(AwsError, match=r"payment-infra deploys it .*; `payment-infra drift --"):
        read_dashboard(environment, START, END, 100)


def test_a_line_shows_levels_between_nothing_and_the_largest_value_and_gaps() -> None:
    assert sparkline([0, 7, None, 3.5]) == "▁█ ▅"
    assert sparkline([5, 5]) == "██"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([-1, 0, 1]) == "▁▅█"


def test_the_drawing_is_as_it_was_reviewed() -> None:
    metric = Metric("N", "M", {}, "Sum", 600)

    def points(*values: float) -> tuple[Point, ...]:
        return tuple(
            Point(START + timedelta(minutes=10 * place), value)
            for place, value in enumerate(values)
            if value >= 0
        )

    widgets = [
        Widget(
            "Payments",
            (
                Series("Validated", metric, points(*range(0, 1800, 100))),
                Series("Processed", metric, points(*range(0, 18_000_000, 1_000_000))),
                Series("ConsumedWriteCapacityUnits", metric, points(1, 2.5, -1, -1, 0.25)),
                Series("Declined", metric),
            ),
        ),
        Widget(
            "Alarms",
            alarms=(
                Alarm("api-latency-dev", "ALARM", "", None),
                Alarm("api-5xx-dev", "OK", "", None),
            ),
        ),
    ]
    text = "\n".join(draw(widgets, START, END)) + "\n"
    check_width(text, 80)
    snapshots.check("metrics-80", text)


def test_no_number_is_too_long_for_its_place() -> None:
    metric = Metric("N", "M", {}, "Sum", 400)
    numbers = (999_999.0, 1_234_567.0, 987_654_321_000.0, 0.000_123)
    series = tuple(Series("L" * 40, metric, (Point(START, one),)) for one in numbers)
    assert int((END - START).total_seconds()) // 400 == 80 - LABEL - NUMBERS - 3
    check_width("\n".join(draw([Widget("T", series)], START, END)), 80)
