"""The latest health report, in a log stream: every container reads it, and few make one.

Reading a log stream costs nothing, and reading metrics does; anybody may ask for the health.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared.aws import logs
from handlers.shared.clock import timestamp
from handlers.shared.failures import error_code

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_logs import CloudWatchLogsClient

    from handlers.shared.health import Report

STREAM = "latest-report"
MESSAGE = "health report"
# The scheduled run makes one every 300 s.
MAX_AGE_SECONDS = 360
# A report that could not read every metric is soon made again.
INCOMPLETE_MAX_AGE_SECONDS = 30
# The clocks of two containers may differ.
CLOCK_SKEW_SECONDS = 30
# More than enough to find a report among lines that are not one.
EVENTS = 10
FIELDS = frozenset({"service", "metric", "resource", "value", "threshold", "status"})
STATUSES = frozenset({"healthy", "unhealthy", "unknown"})


def newest(reports: Iterable[Report | None], now: datetime) -> Report | None:
    """Return the newest of the reports that can still be given out; None if none can."""
    good = [
        report for report in reports if report is not None and _age(report, now) < _limit(report)
    ]
    return min(good, key=lambda report: _age(report, now), default=None)


def find(client: CloudWatchLogsClient, group: str, now: datetime) -> Report | None:
    """Return the newest report in the log group that is fresh; None if there is none to be had.

    What is no report is passed over. An answer may be empty though there are events (CloudWatch
    Logs API, GetLogEvents): then somebody makes one too many.
    """
    try:
        answer = client.get_log_events(
            logGroupName=group,
            logStreamName=STREAM,
            startTime=_milliseconds(now - timedelta(seconds=MAX_AGE_SECONDS + CLOCK_SKEW_SECONDS)),
            limit=EVENTS,
            startFromHead=False,
        )
    except (BotoCoreError, ClientError) as error:
        if error_code(error) != "ResourceNotFoundException":
            logs.error("latest report unknown", code=error_code(error))
        return None
    return newest((_parse(event.get("message", "")) for event in answer["events"]), now)


def store(client: CloudWatchLogsClient, group: str, report: Report, now: datetime) -> None:
    """Put a report into the log group, as a line like the others; a failure is logged."""
    line = {
        "level": "INFO",
        "message": MESSAGE,
        "timestamp": timestamp(now),
        "service": os.environ["POWERTOOLS_SERVICE_NAME"],
        "overall_status": report["overall_status"],
        "report": report,
    }
    try:
        try:
            _put(client, group, line, now)
        except ClientError as error:
            if error_code(error) != "ResourceNotFoundException":
                raise
            _create(client, group)
            _put(client, group, line, now)
    except (BotoCoreError, ClientError) as error:
        logs.error("report not stored", code=error_code(error))


def _put(client: CloudWatchLogsClient, group: str, line: dict[str, object], now: datetime) -> None:
    client.put_log_events(
        logGroupName=group,
        logStreamName=STREAM,
        logEvents=[{"timestamp": _milliseconds(now), "message": json.dumps(line)}],
    )


def _create(client: CloudWatchLogsClient, group: str) -> None:
    try:
        client.create_log_stream(logGroupName=group, logStreamName=STREAM)
    except ClientError as error:
        if error_code(error) != "ResourceAlreadyExistsException":  # another container was faster
            raise


def _parse(message: str) -> Report | None:
    """Return the report that a line holds; None unless it is one that `store` could have put."""
    try:
        line: Any = json.loads(message)
        report = line["report"]
        aware = datetime.fromisoformat(report["timestamp"]).utcoffset() is not None
        whole = (
            line["message"] == MESSAGE
            and report.keys() == {"timestamp", "overall_status", "checks"}
            and report["overall_status"] in {"healthy", "degraded"}
            and bool(report["checks"])
            and all(
                check.keys() == FIELDS and check["status"] in STATUSES for check in report["checks"]
            )
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return report if aware and whole else None


def _age(report: Report, now: datetime) -> float:
    """Return the seconds since a report was made; one of the future counts as old."""
    age = (now - datetime.fromisoformat(report["timestamp"])).total_seconds()
    return age if age > -CLOCK_SKEW_SECONDS else MAX_AGE_SECONDS


def _limit(report: Report) -> int:
    known = all(check["status"] != "unknown" for check in report["checks"])
    return MAX_AGE_SECONDS if known else INCOMPLETE_MAX_AGE_SECONDS


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
