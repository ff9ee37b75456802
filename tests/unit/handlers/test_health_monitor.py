from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from handlers import health_monitor
from handlers.health_monitor import handler
from handlers.shared.recovery import RecoveryIncomplete
from tests.unit.handlers.fakes import client_error
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    LambdaContext,
    Output,
    Response,
    call,
    load_event,
)


def get(**query: str) -> Response:
    return call(handler, load_event("health", queryStringParameters=query or None))


def scheduled() -> dict[str, Any]:
    return handler(load_event("scheduled"), LambdaContext())


def forget(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be no report, neither in this container nor for all."""
    monkeypatch.setattr(health_monitor, "_latest", None)
    aws.cloudwatch_logs.streams.clear()


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
        (
            *("DynamoDB", "index_throttles", "in-flight-index"),
            *(0, 10, "healthy"),
        ),
        ("SQS", "age_of_oldest_message", "failed-transactions-dev", 0, 900, "healthy"),
        ("SQS", "dead_letters", "failed-transactions-dlq-dev", 0, 1, "healthy"),
    ]
    names = ["service", "metric", "resource", "value", "threshold", "status"]
    assert list(answer.body["checks"][0]) == names


@pytest.mark.parametrize(("query", "status"), [({}, 200), ({"strict": "true"}, 503)])
def test_an_api_that_tells_no_names_tells_the_status_alone(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, query: dict[str, str], status: int
) -> None:
    monkeypatch.setenv("HEALTH_ACCESS", "status")
    aws.cloudwatch.data[("Errors", "Sum")] = [10]
    answer = get(**query)
    assert (answer.status, list(answer.body)) == (status, ["timestamp", "overall_status"])
    assert answer.body["overall_status"] == "degraded"


@pytest.mark.parametrize("event", [{}, {"requestContext": {"requestId": "direct"}}])
def test_who_may_invoke_the_function_itself_is_told_the_names(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, event: dict[str, Any]
) -> None:
    monkeypatch.setenv("HEALTH_ACCESS", "status")
    report = json.loads(handler(event, LambdaContext())["body"])
    assert len(report["checks"]) == 8


def test_the_scheduled_run_tells_people_the_names_whatever_the_api_tells(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTH_ACCESS", "status")
    assert len(scheduled()["checks"]) == 8


def test_all_checks_are_one_call_over_seven_minutes_with_explicit_dimensions(
    aws: Aws, clock: Clock
) -> None:
    clock.tick(42)
    get()
    [(operation, params)] = aws.cloudwatch.calls
    assert operation == "GetMetricData"
    # From the start of a minute on.
    assert (params["EndTime"] - params["StartTime"]).total_seconds() == 7 * 60 + 42
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
        # Not of /health: its 503 for a strict probe would keep the system degraded.
        *(
            (
                "AWS/ApiGateway",
                "5XXError",
                "Sum",
                (*api, ("Method", "POST"), ("Resource", resource)),
            )
            for resource in ("/validate", "/process")
        ),
        ("AWS/Lambda", "Errors", "Sum", (("FunctionName", "payment-validation-dev"),)),
        ("AWS/Lambda", "Errors", "Sum", (("FunctionName", "payment-processing-dev"),)),
        ("AWS/DynamoDB", "WriteThrottleEvents", "Sum", (("TableName", "transactions-dev"),)),
        (
            *("AWS/DynamoDB", "WriteThrottleEvents", "Sum"),
            (
                ("TableName", "transactions-dev"),
                ("GlobalSecondaryIndexName", "in-flight-index"),
            ),
        ),
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
        # What was before the last five minutes is not of this report.
        ("5xx", "5XXError", "Sum", [0, 0, 0, 0, 9, 99, 99], [0, 0, 0, 0, 10]),
        ("errors", "Errors", "Sum", [9], [10]),
        ("throttles", "WriteThrottleEvents", "Sum", [9], [10]),
        ("index_throttles", "IndexWriteThrottleEvents", "Sum", [9, 0], [9, 1]),
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
    forget(aws, monkeypatch)
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
    forget(aws, monkeypatch)
    aws.cloudwatch.data[("Errors", "Sum")] = [10]
    assert get(strict="true").status == 503
    assert get(strict="false").status == 200


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
    assert Output.read(capsys).metrics["Degraded"] == [value]


def test_a_run_that_did_all_its_work_puts_every_metric_that_an_alarm_waits_for(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    scheduled()
    metrics = Output.read(capsys).metrics
    assert (
        metrics.items()
        >= {
            "Degraded": [0],
            "PaymentsStuck": [0],
            "PaymentsStopped": [0],
            "WriteThrottleEvents": [0],
            "IndexWriteThrottleEvents": [0],
            "ScheduledRuns": [1],
        }.items()
    )


# The latest first: the two latest minutes are not settled yet.
@pytest.mark.parametrize(
    ("points", "counted"),
    [
        ([], 0),
        ([7, 7], 0),
        ([0, 0, 1, 2, 3, 4, 5], 15),
        ([0, 0, 1, 0, 0, 0, 5, 6, 6], 6),
    ],
)
def test_throttled_writes_are_put_of_five_minutes_that_ended_two_minutes_ago(
    aws: Aws, capsys: pytest.CaptureFixture[str], points: list[float], counted: int
) -> None:
    aws.cloudwatch.data[("WriteThrottleEvents", "Sum")] = points
    scheduled()
    metrics = Output.read(capsys).metrics
    assert metrics["WriteThrottleEvents"] == [counted]
    assert metrics["IndexWriteThrottleEvents"] == [0]


def test_runs_count_every_throttled_write_once_wherever_in_a_minute_they_begin(
    aws: Aws, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    start, throttles = clock.now, [float(2**minute) for minute in range(15)]
    counted = 0.0
    for seconds in (5 * 60, 10 * 60 + 59, 15 * 60 + 1, 20 * 60):
        clock.now = start + timedelta(seconds=seconds)
        elapsed = seconds // 60
        past = [throttles[minute] if minute < 15 else 0.0 for minute in range(elapsed)]
        aws.cloudwatch.data[("WriteThrottleEvents", "Sum")] = past[::-1]
        scheduled()
        counted += sum(Output.read(capsys).metrics["WriteThrottleEvents"])
    assert counted == sum(throttles)


def test_throttled_writes_of_the_index_are_put_apart(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.cloudwatch.data[("IndexWriteThrottleEvents", "Sum")] = [0, 0, 12]
    scheduled()
    metrics = Output.read(capsys).metrics
    assert (metrics["WriteThrottleEvents"], metrics["IndexWriteThrottleEvents"]) == ([0], [12])


@pytest.mark.parametrize("statistic", ["IndexWriteThrottleEvents", None])
def test_throttled_writes_that_are_not_known_are_not_put(
    aws: Aws, capsys: pytest.CaptureFixture[str], statistic: str | None
) -> None:
    if statistic is None:
        aws.cloudwatch.fail("GetMetricData")
    else:
        aws.cloudwatch.status[(statistic, "Sum")] = "PartialData"
    scheduled()
    metrics = Output.read(capsys).metrics
    assert "IndexWriteThrottleEvents" not in metrics
    assert ("WriteThrottleEvents" in metrics) == (statistic is not None)
    assert metrics["ScheduledRuns"] == [1]


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
    assert set(aws.created) == {"cloudwatch_logs", "cloudwatch"}
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
    assert output.metrics["ScheduledRuns"] == [0]


@pytest.mark.parametrize(
    ("failing", "lost"),
    [
        ("DEGRADED_ALARM_NAME", set()),
        ("API_ID", {"PaymentsStopped"}),
        ("API_NAME", {"Degraded", "WriteThrottleEvents", "IndexWriteThrottleEvents"}),
        ("FAILED_QUEUE_URL", {"PaymentsStuck"}),
    ],
)
def test_a_part_of_the_run_that_fails_keeps_no_other_from_its_work(
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: str,
    lost: set[str],
) -> None:
    aws.cloudwatch.data[("Errors", "Sum")] = [10]
    scheduled()
    whole = set(Output.read(capsys).metrics)
    monkeypatch.delenv(failing)
    with pytest.raises(KeyError, match=failing):
        scheduled()
    output = Output.read(capsys)
    assert set(output.metrics) == whole - lost
    assert output.metrics["ScheduledRuns"] == [0]
    [line] = output.of("unexpected failure")
    assert line["type"] == "KeyError"
    assert bool(aws.dynamodb.calls) == (failing != "TRANSACTIONS_TABLE")


def test_of_two_failures_both_are_logged_and_the_first_is_raised(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.dynamodb.fail("Query", client_error("ThrottlingException"))
    aws.cloudwatch.data[("Errors", "Sum")] = [10]
    aws.sns.fail("Publish", client_error("NotFound"))
    with pytest.raises(RecoveryIncomplete):
        scheduled()
    assert len(Output.read(capsys).of("unexpected failure")) == 2


def test_recovery_comes_before_all_that_could_be_slow(aws: Aws) -> None:
    aws.cloudwatch.data[("Errors", "Sum")] = [10]
    scheduled()
    assert aws.created[0] == "dynamodb"
    assert aws.created.index("sqs") < min(
        aws.created.index(service)
        for service in ("cloudwatch", "cloudwatch_logs", "apigateway", "aws_lambda", "sns")
    )


def test_an_unforeseen_failure_of_a_get_is_a_500_without_its_text(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAILED_QUEUE_NAME")
    answer = get()
    assert answer.status == 500
    assert answer.body["error"] == "Health check failed"
    assert "FAILED_QUEUE_NAME" not in answer.body["message"]
