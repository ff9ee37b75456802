"""The health of the system: the latest metrics, each held against its threshold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared.aws import logs
from handlers.shared.aws.table import IN_FLIGHT_INDEX
from handlers.shared.clock import timestamp
from handlers.shared.failures import error_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

    # The starts of minutes with their values.
    Series = list[tuple[datetime, float]]

WINDOW_SECONDS = 300
PERIOD_SECONDS = 60
# What is counted has to be counted once: a minute that CloudWatch has only in part, or not yet, is
# left to the next run.
LATE_SECONDS = 120

# In the units of their metrics: ms, counts, seconds ("Amazon API Gateway dimensions and metrics",
# "Types of metrics for Lambda functions", "DynamoDB metrics and dimensions", "Available
# CloudWatch metrics for Amazon SQS").
LATENCY_MS = 1000
SERVER_ERRORS = 10
FUNCTION_ERRORS = 10
THROTTLES = 10
MESSAGE_AGE_SECONDS = 900
DEAD_LETTERS = 1
THROTTLE_EVENTS = "WriteThrottleEvents"
PAYMENT_RESOURCES = ("/validate", "/process")

Report = dict[str, Any]


@dataclass(frozen=True)
class Examination:
    """The report, and the throttled writes of a window that ended LATE_SECONDS ago.

    throttles is the number of each check that counts them, by its name in the report; one that is
    not known is not there.
    """

    report: Report
    throttles: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One metric of one resource, which is healthy below its threshold.

    service, metric and resource are what the report calls it; namespace, name and dimensions are
    what CloudWatch does, which may keep it in parts. aggregate is how a part's data points in the
    window become one value.
    """

    service: str
    metric: str
    resource: str
    threshold: int
    namespace: str
    name: str
    dimensions: Sequence[Mapping[str, str]]
    aggregate: Literal["sum", "maximum", "average"]

    @property
    def statistics(self) -> tuple[str, ...]:
        """The CloudWatch statistics that the value is made of."""
        return {
            "sum": ("Sum",),
            "maximum": ("Maximum",),
            # An average of the periods' averages would weigh a quiet minute like a busy one.
            "average": ("Sum", "SampleCount"),
        }[self.aggregate]

    def value(self, points: Sequence[list[float]]) -> float:
        """Return the window's value from the data points of each part's statistics: that of the
        worst part, 0 without data."""
        size = len(self.statistics)
        parts = [points[start : start + size] for start in range(0, len(points), size)]
        return max(self._of_part(part) for part in parts)

    def _of_part(self, points: Sequence[list[float]]) -> float:
        if self.aggregate == "maximum":
            return max(points[0], default=0)
        if self.aggregate == "sum":
            return sum(points[0])
        total, samples = sum(points[0]), sum(points[1])
        return total / samples if samples else 0

    def result(self, points: Sequence[list[float] | None]) -> dict[str, object]:
        """Return the entry in the report; None stands for a statistic that is not known."""
        known = [values for values in points if values is not None]
        value = self.value(known) if len(known) == len(points) else None
        if value is None:
            status = "unknown"
        else:
            status = "healthy" if value < self.threshold else "unhealthy"
        return {
            "service": self.service,
            "metric": self.metric,
            "resource": self.resource,
            "value": value,
            "threshold": self.threshold,
            "status": status,
        }


def build_checks(
    *, api: str, stage: str, functions: Iterable[str], table: str, queue: str, dead_letters: str
) -> list[Check]:
    """Return the checks of one stack, from the names of its resources."""
    return [
        Check(
            service="API Gateway",
            metric="latency",
            resource=api,
            threshold=LATENCY_MS,
            namespace="AWS/ApiGateway",
            name="Latency",
            dimensions=[{"ApiName": api, "Stage": stage}],
            aggregate="average",
        ),
        Check(
            service="API Gateway",
            metric="5xx",
            resource=api,
            threshold=SERVER_ERRORS,
            namespace="AWS/ApiGateway",
            name="5XXError",
            # Not of /health, which answers a strict probe with 503 while the system is degraded,
            # and would keep it so.
            dimensions=[
                {"ApiName": api, "Stage": stage, "Method": "POST", "Resource": resource}
                for resource in PAYMENT_RESOURCES
            ],
            aggregate="sum",
        ),
        *(
            Check(
                service="Lambda",
                metric="errors",
                resource=function,
                threshold=FUNCTION_ERRORS,
                namespace="AWS/Lambda",
                name="Errors",
                dimensions=[{"FunctionName": function}],
                aggregate="sum",
            )
            for function in functions
        ),
        Check(
            service="DynamoDB",
            metric="throttles",
            resource=table,
            threshold=THROTTLES,
            namespace="AWS/DynamoDB",
            name=THROTTLE_EVENTS,
            dimensions=[{"TableName": table}],
            aggregate="sum",
        ),
        Check(
            service="DynamoDB",
            metric="index_throttles",
            resource=IN_FLIGHT_INDEX,
            threshold=THROTTLES,
            namespace="AWS/DynamoDB",
            name=THROTTLE_EVENTS,
            dimensions=[{"TableName": table, "GlobalSecondaryIndexName": IN_FLIGHT_INDEX}],
            aggregate="sum",
        ),
        Check(
            service="SQS",
            metric="age_of_oldest_message",
            resource=queue,
            threshold=MESSAGE_AGE_SECONDS,
            namespace="AWS/SQS",
            name="ApproximateAgeOfOldestMessage",
            dimensions=[{"QueueName": queue}],
            aggregate="maximum",
        ),
        Check(
            service="SQS",
            metric="dead_letters",
            resource=dead_letters,
            threshold=DEAD_LETTERS,
            namespace="AWS/SQS",
            name="ApproximateNumberOfMessagesVisible",
            dimensions=[{"QueueName": dead_letters}],
            aggregate="maximum",
        ),
    ]


def examine(client: CloudWatchClient, checks: Sequence[Check], now: datetime) -> Examination:
    """Return the report on the last WINDOW_SECONDS, out of one GetMetricData call.

    The report holds timestamp, overall_status (healthy, or degraded unless every check is
    healthy) and checks. What CloudWatch does not answer, or not completely, is unknown.
    """
    queries = [
        query for index, check in enumerate(checks) for query in _queries(f"check{index}", check)
    ]
    minute = now.replace(second=0, microsecond=0)
    start, late = minute - timedelta(seconds=WINDOW_SECONDS), timedelta(seconds=LATE_SECONDS)
    answers = _complete_answers(client, queries, start - late, now)
    series = [
        [answers.get(query["Id"]) for query in _queries(f"check{index}", check)]
        for index, check in enumerate(checks)
    ]
    results = [
        check.result([_between(start, now, each) for each in found])
        for check, found in zip(checks, series, strict=True)
    ]
    healthy = all(result["status"] == "healthy" for result in results)
    report = {
        "timestamp": timestamp(now),
        "overall_status": "healthy" if healthy else "degraded",
        "checks": results,
    }
    settled = {
        check.metric: _between(start - late, minute - late, found[0])
        for check, found in zip(checks, series, strict=True)
        if check.name == THROTTLE_EVENTS
    }
    known = {metric: sum(values) for metric, values in settled.items() if values is not None}
    return Examination(report, known)


def _between(since: datetime, until: datetime, series: Series | None) -> list[float] | None:
    if series is None:
        return None
    return [value for moment, value in series if since <= moment < until]


def _queries(prefix: str, check: Check) -> list[MetricDataQueryTypeDef]:
    """Return the queries of each part's statistics, in the order in which `value` takes them."""
    return [
        {
            "Id": f"{prefix}_{part}_{statistic}",
            "MetricStat": {
                "Metric": {
                    "Namespace": check.namespace,
                    "MetricName": check.name,
                    "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions.items()],
                },
                "Period": PERIOD_SECONDS,
                "Stat": statistic,
            },
        }
        for part, dimensions in enumerate(check.dimensions)
        for statistic in check.statistics
    ]


def _complete_answers(
    client: CloudWatchClient,
    queries: list[MetricDataQueryTypeDef],
    start: datetime,
    end: datetime,
) -> dict[str, Series]:
    try:
        answer = client.get_metric_data(MetricDataQueries=queries, StartTime=start, EndTime=end)
    except (BotoCoreError, ClientError) as error:
        logs.error("metrics unavailable", code=error_code(error))
        return {}
    return {
        result["Id"]: list(zip(result["Timestamps"], result["Values"], strict=True))
        for result in answer["MetricDataResults"]
        if result["StatusCode"] == "Complete"
    }
