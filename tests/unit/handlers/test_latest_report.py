"""The report that all containers share, which GET /health reads and the scheduled run writes."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from handlers import health_monitor
from handlers.health_monitor import handler
from handlers.shared.aws import latest_report
from handlers.shared.clock import timestamp
from tests.unit.handlers.fakes import client_error
from tests.unit.handlers.harness import (
    SERVICE,
    Aws,
    Clock,
    LambdaContext,
    Output,
    Response,
    call,
    load_event,
)

Capture = pytest.CaptureFixture[str]
PLACE = ("/aws/lambda/health-monitor-dev", "latest-report")


@pytest.fixture(autouse=True)
def seconds(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's own clock goes with the time of all."""
    start = clock.now
    monkeypatch.setattr(
        health_monitor, "monotonic", lambda: (clock.now - start).total_seconds() + 1000
    )


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Start another container: what the last one remembers is gone."""
    return lambda: monkeypatch.setattr(health_monitor, "_latest", None)


def get() -> Response:
    return call(handler, load_event("health", queryStringParameters=None))


def scheduled() -> dict[str, Any]:
    return handler(load_event("scheduled"), LambdaContext())


def made(aws: Aws) -> int:
    """How many reports were made, which is what costs."""
    return len(aws.cloudwatch.called("GetMetricData"))


def read(aws: Aws) -> int:
    return len(aws.cloudwatch_logs.called("GetLogEvents"))


def put(aws: Aws, clock: Clock, message: str) -> None:
    """Put a line into the stream, as somebody else may."""
    event = {"timestamp": int(clock.now.timestamp() * 1000), "message": message}
    aws.cloudwatch_logs.streams.setdefault(PLACE, []).append(event)


def test_every_container_gives_out_the_report_of_the_scheduled_run(
    aws: Aws, clock: Clock, container: Any
) -> None:
    aws.cloudwatch.data[("Errors", "Sum")] = [10]
    report = scheduled()
    clock.tick(299)
    for _ in range(3):
        container()
        assert get().body == report
    assert made(aws) == 1
    assert report["overall_status"] == "degraded"


def test_the_newest_report_is_given_out(aws: Aws, clock: Clock, container: Any) -> None:
    scheduled()
    clock.tick(60)
    newest = scheduled()
    container()
    assert get().body["timestamp"] == newest["timestamp"] == timestamp(clock.now)


def test_a_container_looks_for_another_report_after_30_seconds(
    aws: Aws, clock: Clock, container: Any
) -> None:
    first = scheduled()
    container()
    get()
    clock.tick(29)
    second = scheduled()  # of another container, as far as this one knows
    health_monitor._latest = (1000.0, first)
    assert get().body == first
    assert read(aws) == 1
    clock.tick(1)
    assert get().body == second
    assert read(aws) == 2
    assert made(aws) == 2


def test_a_report_may_be_six_minutes_old_and_no_older(
    aws: Aws, clock: Clock, container: Any
) -> None:
    report = scheduled()
    clock.tick(359)
    container()
    assert get().body == report
    clock.tick(1)
    container()
    assert get().body["timestamp"] == timestamp(clock.now)
    assert made(aws) == 2


def test_a_container_that_finds_none_makes_one_for_all(
    aws: Aws, clock: Clock, container: Any
) -> None:
    report = get().body
    operations = [name for name, _ in aws.cloudwatch_logs.calls]
    assert operations == ["GetLogEvents", "PutLogEvents", "CreateLogStream", "PutLogEvents"]
    clock.tick(200)
    container()
    assert get().body == report
    assert made(aws) == 1


def test_a_container_makes_none_while_its_own_can_be_given_out(aws: Aws, clock: Clock) -> None:
    report = get().body
    aws.cloudwatch_logs.streams[PLACE].clear()
    clock.tick(300)
    assert get().body == report
    assert made(aws) == 1


def test_a_report_that_does_not_know_everything_is_soon_made_again(
    aws: Aws, clock: Clock, container: Any
) -> None:
    aws.cloudwatch.fail("GetMetricData", client_error("InternalServiceFault"))
    assert scheduled()["overall_status"] == "degraded"
    clock.tick(29)
    container()
    assert get().body["overall_status"] == "degraded"
    clock.tick(1)
    container()
    assert get().body["overall_status"] == "healthy"


def test_what_is_stored_is_a_log_line_like_the_others(aws: Aws, clock: Clock) -> None:
    report = scheduled()
    [event] = aws.cloudwatch_logs.streams[PLACE]
    assert event["timestamp"] == int(clock.now.timestamp() * 1000)
    assert json.loads(event["message"]) == {
        "level": "INFO",
        "message": "health report",
        "timestamp": timestamp(clock.now),
        "service": SERVICE,
        "overall_status": "healthy",
        "report": report,
    }


def test_only_the_newest_lines_of_the_last_minutes_are_read(aws: Aws, clock: Clock) -> None:
    scheduled()
    clock.tick(31)
    get()
    [asked] = aws.cloudwatch_logs.called("GetLogEvents")
    assert (asked["logGroupName"], asked["logStreamName"]) == PLACE
    assert asked["startTime"] == int((clock.now - timedelta(seconds=390)).timestamp() * 1000)
    assert asked["limit"] == 10


def good(clock: Clock) -> dict[str, Any]:
    check = dict.fromkeys(("service", "metric", "resource"), "hand-made")
    return {
        "timestamp": timestamp(clock.now),
        "overall_status": "degraded",
        "checks": [check | {"value": 0, "threshold": 1, "status": "healthy"}],
    }


def line(**changes: Any) -> str:
    return json.dumps({"message": "health report"} | changes)


def bad_lines(clock: Clock) -> dict[str, str]:
    report = good(clock)
    [check] = report["checks"]
    return {
        "no JSON": "{",
        "no object": "[]",
        "a number": "7",
        "another line": line(message="health", report=report),
        "nothing of a report": line(report={}),
        "no report": line(),
        "too deep": "[" * 100_000,
        "no such status": line(report=report | {"overall_status": "fine"}),
        "a status of another type": line(report=report | {"overall_status": ["healthy"]}),
        "no checks": line(report=report | {"checks": []}),
        "checks of another type": line(report=report | {"checks": [1]}),
        "a check that lacks something": line(report=report | {"checks": [{"service": "SQS"}]}),
        "a check of no status": line(report=report | {"checks": [check | {"status": "?"}]}),
        "more than a report": line(report=report | {"more": 1}),
        "a time that is none": line(report=report | {"timestamp": "today"}),
        "a time without a zone": line(report=report | {"timestamp": "2026-11-22T21:27:00"}),
        "a time of another type": line(report=report | {"timestamp": 7}),
        "a time to come": line(report=report | {"timestamp": "2027-11-22T21:27:00+00:00"}),
        "a time long ago": line(report=report | {"timestamp": "2026-11-22T20:27:00+00:00"}),
    }


@pytest.mark.parametrize("case", bad_lines(Clock()))
def test_a_line_that_is_no_report_is_passed_over(
    aws: Aws, clock: Clock, capsys: Capture, case: str, container: Any
) -> None:
    put(aws, clock, bad_lines(clock)[case])
    answer = get()
    assert (answer.status, answer.body["overall_status"]) == (200, "healthy")
    assert made(aws) == 1
    put(aws, clock, bad_lines(clock)[case])
    container()
    assert get().body == answer.body
    assert made(aws) == 1
    assert not Output.read(capsys).of("unexpected failure")


def test_a_line_that_is_one_is_given_out(aws: Aws, clock: Clock) -> None:
    put(aws, clock, line(report=good(clock)))
    assert get().body == good(clock)
    assert made(aws) == 0


@pytest.mark.parametrize(
    "error", [client_error("AccessDenied"), ReadTimeoutError(endpoint_url="https://canary")]
)
def test_a_container_that_cannot_read_gives_out_its_own_or_makes_one(
    aws: Aws, clock: Clock, capsys: Capture, error: Exception
) -> None:
    aws.cloudwatch_logs.fail("GetLogEvents", *[error] * 3)
    first = get()
    clock.tick(359)
    second = get()
    clock.tick(1)
    third = get()
    assert [answer.status for answer in (first, second, third)] == [200, 200, 200]
    assert second.body == first.body
    assert third.body["timestamp"] == timestamp(clock.now)
    assert made(aws) == 2
    output = Output.read(capsys)
    codes = {entry["code"] for entry in output.of("latest report unknown")}
    assert codes <= {"AccessDenied", "ReadTimeoutError"}
    assert codes
    assert "canary" not in output.text


@pytest.mark.parametrize("operation", ["PutLogEvents", "CreateLogStream"])
def test_a_report_that_cannot_be_stored_is_given_out_and_logged(
    aws: Aws, capsys: Capture, operation: str
) -> None:
    if operation == "PutLogEvents":
        aws.cloudwatch_logs.streams[PLACE] = []
    aws.cloudwatch_logs.fail(operation, client_error("ServiceUnavailableException"))
    assert get().status == 200
    output = Output.read(capsys)
    [entry] = output.of("report not stored")
    assert entry["code"] == "ServiceUnavailableException"
    assert "canary" not in output.text


def test_a_scheduled_run_that_cannot_store_its_report_has_done_its_work(
    aws: Aws, capsys: Capture
) -> None:
    aws.cloudwatch_logs.fail("PutLogEvents", client_error("ServiceUnavailableException"))
    scheduled()
    assert Output.read(capsys).metrics["ScheduledRuns"] == [1]


def test_two_containers_can_make_the_stream_at_once(aws: Aws, capsys: Capture) -> None:
    aws.cloudwatch_logs.streams[PLACE] = []
    missing = client_error("ResourceNotFoundException")
    aws.cloudwatch_logs.fail("PutLogEvents", missing)
    assert get().status == 200
    [_] = aws.cloudwatch_logs.streams[PLACE]
    assert not Output.read(capsys).of("report not stored")


def test_a_report_is_as_old_as_it_says_whatever_its_event_says(clock: Clock) -> None:
    report = good(clock)
    later = clock.now + timedelta(seconds=359)
    assert latest_report.newest([None, report], later) == report
    assert latest_report.newest([None, report], later + timedelta(seconds=1)) is None
    # The clocks of two containers may differ, but not by minutes.
    assert latest_report.newest([report], clock.now - timedelta(seconds=29)) == report
    assert latest_report.newest([report], clock.now - timedelta(seconds=30)) is None
