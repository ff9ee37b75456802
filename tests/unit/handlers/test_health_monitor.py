from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from handlers import health_monitor
from handlers.health_monitor import handler
from tests.unit.handlers.fakes import client_error
from tests.unit.handlers.harness import Aws, LambdaContext, Output, Response, call, load_event


def get(**query: str) -> Response:
    return call(handler, load_event("health", queryStringParameters=query or None))


def scheduled() -> dict[str, Any]:
    return handler(load_event("scheduled"), LambdaContext())


def check(report: dict[str, Any], metric: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in report["checks"] if c["metric"] == metric)
    return found


def test_a_system_without_data_is_healthy_and_every_resource_is_checked(aws: Aws) -> None:
    answer = get()
    assert answer.status == 200
    assert answer.body["overall_status"] == "healthy"
    assert answer.body["timestamp"].endswith("+00:00")
    rows = [tuple(entry.values()) for entry in answer.body["checks"]]
    assert rows == [
        ("API Gateway", "latency", "payment-api-dev", 0, 1000, "healthy"),
        ("API Gateway", "5xx", "payment-api-dev", 0, 10, "healthy"),
        ("Lambda", "errors", "payment-validation-dev", 0, 10, "healthy"),
        ("Lambda", "errors", "payment-processing-dev", 0, 10, "healthy"),
        ("DynamoDB", "throttles", "transactions-dev", 0, 10, "healthy"),
        ("SQS", "age_of_oldest_message", "failed-transactions-dev", 0, 900, "healthy"),
        ("SQS", "dead_letters", "failed-transactions-dlq-dev", 0, 1, "healthy"),
    ]
    names = ["service", "metric", "resource", "value", "threshold", "status"]
    assert list(answer.body["checks"][0]) == names


def test_all_checks_are_one_call_over_five_minutes_with_explicit_dimensions(aws: Aws) -> None:
    get()
    [(operation, params)] = aws.cloudwatch.calls
    assert operation == "GetMetricData"
    assert (params["EndTime"] - params["StartTime"]).total_seconds() == 300
    asked = {
        (
            query["MetricStat"]["Metric"]["Namespace"],
            query["MetricStat"]["Metric"]["MetricName"],
            query["MetricStat"]["Stat"],
            tuple((d["Name"], d["Value"]) for d in query["MetricStat"]["Metric"]["Dimensions"]),
        )
        for query in params["MetricDataQueries"]
    }
    api = (("ApiName", "payment-api-dev"), ("Stage", "prod"))
    visible = "ApproximateNumberOfMessagesVisible"
    assert asked == {
        ("AWS/ApiGateway", "Latency", "Sum", api),
        ("AWS/ApiGateway", "Latency", "SampleCount", api),
        ("AWS/ApiGateway", "5XXError", "Sum", api),
        ("AWS/Lambda", "Errors", "Sum", (("FunctionName", "payment-validation-dev"),)),
        ("AWS/Lambda", "Errors", "Sum", (("FunctionName", "payment-processing-dev"),)),
        ("AWS/DynamoDB", "WriteThrottleEvents", "Sum", (("TableName", "transactions-dev"),)),
        (
            *("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum"),
            (("QueueName", "failed-transactions-dev"),),
        ),
        ("AWS/SQS", visible, "Maximum", (("QueueName", "failed-transactions-dlq-dev"),)),
    }


def test_latency_is_the_average_over_all_requests_of_the_window(aws: Aws) -> None:
    aws.cloudwatch.data[("Latency", "Sum")] = [100.0, 9900.0]
    aws.cloudwatch.data[("Latency", "SampleCount")] = [1.0, 99.0]
    assert check(get().body, "latency")["value"] == 100


@pytest.mark.parametrize(
    ("metric", "name", "statistic", "healthy", "unhealthy"),
    [
        ("5xx", "5XXError", "Sum", [4, 5], [5, 5]),
        ("errors", "Errors", "Sum", [9], [10]),
        ("throttles", "WriteThrottleEvents", "Sum", [9], [10]),
        ("age_of_oldest_message", "ApproximateAgeOfOldestMessage", "Maximum", [800, 899], [900, 1]),
        ("dead_letters", "ApproximateNumberOfMessagesVisible", "Maximum", [0], [0, 1]),
    ],
)
def test_a_value_is_healthy_below_its_threshold(
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
    metric: str,
    name: str,
    statistic: str,
    healthy: list[float],
    unhealthy: list[float],
) -> None:
    aws.cloudwatch.data[(name, statistic)] = healthy
    assert get().body["overall_status"] == "healthy"
    monkeypatch.setattr(health_monitor, "_latest", None)
    aws.cloudwatch.data[(name, statistic)] = unhealthy
    report = get().body
    assert report["overall_status"] == "degraded"
    assert check(report, metric)["status"] == "unhealthy"


@pytest.mark.parametrize("code", ["PartialData", "InternalError", "Forbidden"])
def test_a_metric_that_is_not_complete_is_unknown_and_unknown_is_not_healthy(
    aws: Aws, code: str
) -> None:
    aws.cloudwatch.data[("Latency", "Sum")] = [100.0]
    aws.cloudwatch.status[("Latency", "SampleCount")] = code
    report = get().body
    assert report["overall_status"] == "degraded"
    latency = check(report, "latency")
    assert (latency["status"], latency["value"]) == ("unknown", None)
    assert Counter(entry["status"] for entry in report["checks"])["unknown"] == 1


@pytest.mark.parametrize(
    "error", [client_error("AccessDenied"), ReadTimeoutError(endpoint_url="https://canary")]
)
def test_a_failed_call_makes_every_check_unknown(
    aws: Aws, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.cloudwatch.fail("GetMetricData", error)
    answer = get()
    assert answer.status == 200
    assert answer.body["overall_status"] == "degraded"
    assert {entry["status"] for entry in answer.body["checks"]} == {"unknown"}
    assert "canary" not in capsys.readouterr().out


def test_strict_answers_503_unless_healthy(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    assert get(strict="true").status == 200
    monkeypatch.setattr(health_monitor, "_latest", None)
    aws.cloudwatch.data[("Errors", "Sum")] = [10]
    assert get(strict="true").status == 503
    assert get(strict="false").status == 200


def test_a_report_is_reused_for_30_seconds_but_not_by_the_scheduled_run(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 1000.0
    monkeypatch.setattr(health_monitor, "monotonic", lambda: seconds)
    get()
    seconds += 29
    get()
    assert len(aws.cloudwatch.called("GetMetricData")) == 1
    scheduled()
    assert len(aws.cloudwatch.called("GetMetricData")) == 2
    seconds += 30
    get()
    assert len(aws.cloudwatch.called("GetMetricData")) == 3


def test_only_the_scheduled_run_notifies_and_only_when_degraded(aws: Aws) -> None:
    scheduled()
    assert not aws.sns.calls
    aws.cloudwatch.data[("Errors", "Sum")] = [10]
    report = scheduled()
    [published] = aws.sns.called("Publish")
    assert published["TopicArn"].endswith(":payment-alarms-dev")
    assert published["Subject"] == "Payment System Health Alert"
    message = json.loads(published["Message"])
    assert message == {"subject": "Payment System Health Alert", **report}
    assert message.keys() == {"subject", "timestamp", "overall_status", "checks"}
    assert get().body["overall_status"] == "degraded"
    assert len(aws.sns.calls) == 1


@pytest.mark.parametrize(("errors", "value"), [(9, 0), (10, 1)])
def test_the_scheduled_run_puts_whether_the_system_is_degraded(
    aws: Aws, capsys: pytest.CaptureFixture[str], errors: int, value: int
) -> None:
    aws.cloudwatch.data[("Errors", "Sum")] = [errors]
    scheduled()
    assert Output.read(capsys).metrics == {"Degraded": [value], "PaymentsStuck": [0]}


def test_details_are_published_unless_the_alarm_has_told_already(aws: Aws) -> None:
    aws.cloudwatch.data[("Errors", "Sum")] = [10]
    for state in (None, "OK", "INSUFFICIENT_DATA"):
        if state:
            aws.cloudwatch.alarms["health-degraded-dev"] = state
        scheduled()
    assert len(aws.sns.calls) == 3
    aws.cloudwatch.alarms = {"health-degraded-dev": "ALARM"}
    scheduled()
    assert len(aws.sns.calls) == 3
    aws.cloudwatch.alarms = {"health-degraded-dev": "OK", "health-degraded-other": "ALARM"}
    scheduled()
    assert len(aws.sns.calls) == 4


def test_a_healthy_run_does_not_ask_about_the_alarm(aws: Aws) -> None:
    scheduled()
    assert not aws.cloudwatch.called("DescribeAlarms")


@pytest.mark.parametrize("errors", [0, 10])
def test_a_get_never_publishes_recovers_asks_about_alarms_or_counts(
    aws: Aws, capsys: pytest.CaptureFixture[str], errors: int
) -> None:
    aws.cloudwatch.data[("Errors", "Sum")] = [errors]
    get(strict="true")
    assert aws.created == ["cloudwatch"]
    assert [name for name, _ in aws.cloudwatch.calls] == ["GetMetricData"]
    assert not Output.read(capsys).metrics


def test_a_scheduled_run_that_cannot_ask_about_the_alarm_tells_people_rather_twice_than_never(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.cloudwatch.data[("Errors", "Sum")] = [10]
    aws.cloudwatch.alarms["health-degraded-dev"] = "ALARM"
    aws.cloudwatch.fail("DescribeAlarms", client_error("AccessDenied"))
    scheduled()
    assert len(aws.sns.calls) == 1
    output = Output.read(capsys)
    assert [line["code"] for line in output.of("alarm state unknown")] == ["AccessDenied"]
    assert "canary" not in output.text


def test_a_scheduled_run_that_cannot_notify_fails_after_logging(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.cloudwatch.fail("GetMetricData")
    aws.sns.fail("Publish", client_error("NotFound"))
    with pytest.raises(ClientError):
        scheduled()
    output = Output.read(capsys)
    [line] = output.of("unexpected failure")
    assert line["code"] == "NotFound"
    assert "canary" not in output.text


def test_an_unforeseen_failure_of_a_get_is_a_500_without_its_text(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAILED_QUEUE_NAME")
    answer = get()
    assert answer.status == 500
    assert answer.body["error"] == "Health check failed"
    assert "FAILED_QUEUE_NAME" not in answer.body["message"]
