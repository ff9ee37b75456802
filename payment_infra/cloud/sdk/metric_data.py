"""Values of metrics, as many as there are, in as few calls as CloudWatch allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.sdk.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

# Queries that one call takes (CloudWatch API, GetMetricData).
MAX_QUERIES = 500


@dataclass(frozen=True)
class Metric:
    """A metric with its statistic and period in seconds."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str
    period: int


@dataclass(frozen=True)
class Point:
    """A value, and the moment at which its period begins."""

    time: datetime
    value: float


def read(
    client: CloudWatchClient, metrics: Sequence[Metric], start: datetime, end: datetime
) -> list[list[Point]]:
    """Return the points of each metric, oldest first."""
    found: list[list[Point]] = [[] for _ in metrics]
    for first in range(0, len(metrics), MAX_QUERIES):
        queries = [
            _query(f"m{number}", metrics[number])
            for number in range(first, min(first + MAX_QUERIES, len(metrics)))
        ]
        with translated("metrics"):
            pages = client.get_paginator("get_metric_data").paginate(
                MetricDataQueries=queries,
                StartTime=start,
                EndTime=end,
                ScanBy="TimestampAscending",
            )
            for page in pages:
                for result in page["MetricDataResults"]:
                    points = zip(result["Timestamps"], result["Values"], strict=True)
                    found[int(result["Id"][1:])] += [Point(*point) for point in points]
    return [sorted(points, key=lambda point: point.time) for points in found]


def _query(query_id: str, metric: Metric) -> Any:
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions.items()]
    return {
        "Id": query_id,
        "MetricStat": {
            "Metric": {
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": dimensions,
            },
            "Period": metric.period,
            "Stat": metric.statistic,
        },
    }
