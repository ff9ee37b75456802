"""GET /health, and the scheduled run: it recovers payments, and tells people how the system is."""

from __future__ import annotations

import json
import os
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared.aws import clients, intake, latest_report, logs, metrics
from handlers.shared.charging import LOOKED_AFTER
from handlers.shared.clock import utc_now
from handlers.shared.deadline import CALL_SECONDS, Deadline
from handlers.shared.failures import error_code
from handlers.shared.health import Examination, Report, build_checks, examine
from handlers.shared.recovery import RECOVER_AFTER_SECONDS, Recovery
from handlers.shared.requests import Event, request_id
from handlers.shared.responses import Answer, proxy_response
from handlers.shared.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SUBJECT = "Payment System Health Alert"
CACHE_SECONDS = 30
# What a scheduled run needs after recovery while the services answer; if they do not, there is
# little to tell, and that the run did not come to its end is told by an alarm.
TELL_SECONDS = 10
# For ending a run: its metrics are log lines.
END_SECONDS = 1

# The last report that this container gave out or made, and when (monotonic seconds).
_latest: tuple[float, Report] | None = None
# What the report calls the throttled writes, and the metrics that are put of them.
THROTTLES = {
    "throttles": metrics.WRITE_THROTTLES,
    "index_throttles": metrics.INDEX_WRITE_THROTTLES,
}

T = TypeVar("T")


def handler(event: Event, context: Any) -> dict[str, Any]:
    """Answer one proxy event of API Gateway, or make the scheduled run.

    An event of API Gateway always gets an answer. The scheduled run returns its report, and
    raises what it did not foresee, so that it counts as an error of the function.
    """
    request = request_id(event, context)
    logs.begin(request_id=request)
    if event.get("source") == "aws.events":
        return _scheduled(request, context)
    try:
        report = _recent_report()
        unhealthy = report["overall_status"] != "healthy"
        answer = Answer(503 if unhealthy and _strict(event) else 200, _shown(event, report))
    except Exception as error:  # noqa: BLE001
        logs.unexpected(error)
        message = "The health of the system could not be determined"
        answer = Answer(500, {"error": "Health check failed", "message": message})
    logs.info("health", status=answer.status)
    metrics.end(answer.status)
    return proxy_response(answer, request)


def _scheduled(request: str, context: Any) -> Report:
    """Recover payments that are left over, report, and tell people what is news.

    One part that fails keeps no other from its work. Recovery waits for none, and what it counts is
    put before anything else is asked. Raises the first failure at the end. A run that failed, or
    could not tell whether payments are stopped, counts as 0, which an alarm watches.
    """
    failures: list[Exception] = []

    def attempt(part: Callable[[], T]) -> T | None:
        try:
            return part()
        except Exception as error:  # noqa: BLE001
            logs.unexpected(error)
            failures.append(error)
            return None

    attempt(lambda: _recover(request, context))
    metrics.flush()
    complete = attempt(_count_stopped)
    report = attempt(_report)
    if report is not None:
        attempt(lambda: _tell(report))
        attempt(lambda: _share(report))
    attempt(lambda: _sweep(context))
    metrics.count(metrics.SCHEDULED_RUNS, int(bool(complete) and not failures))
    metrics.flush()
    if failures or report is None:
        raise failures[0]
    logs.info("health", overall_status=report["overall_status"])
    return report


def _recover(request: str, context: Any) -> None:
    """Recover payments, and leave time to count those that are set aside, and for the rest."""
    reserved_seconds = len(LOOKED_AFTER) * CALL_SECONDS + TELL_SECONDS
    deadline = Deadline.of_invocation(context, utc_now, reserved_seconds)
    run = Recovery(clients.store(), clients.retry_queue(), utc_now(), request, deadline)
    run.run(int(os.environ.get("RECOVER_AFTER_SECONDS", RECOVER_AFTER_SECONDS)))


def _sweep(context: Any) -> None:
    """Look for payments that the index has lost, in the time that is left."""
    sweep(clients.store(), utc_now(), Deadline.of_invocation(context, utc_now, END_SECONDS))


def _count_stopped() -> bool:
    """Put whether payments are stopped; return whether that could be told."""
    stopped = intake.stopped(
        clients.apigateway(),
        clients.aws_lambda(),
        os.environ["API_ID"],
        os.environ["API_STAGE"],
        os.environ["RETRY_SOURCE_ID"],
    )
    if stopped is not None:
        metrics.count(metrics.PAYMENTS_STOPPED, int(stopped))
    return stopped is not None


def _report() -> Report:
    """Make a report, and put of it what alarms watch: CloudWatch itself leaves an alarm on a
    metric of DynamoDB as it is when data stops, whatever the alarm says."""
    examination = _examine()
    degraded = examination.report["overall_status"] != "healthy"
    metrics.count(metrics.DEGRADED, int(degraded))
    for name, value in examination.throttles.items():
        metrics.count(THROTTLES[name], value)
    return examination.report


def _tell(report: Report) -> None:
    """Publish the report when it is news."""
    if report["overall_status"] != "healthy" and not _is_known():
        _publish(report)


def _is_known() -> bool:
    """Whether the alarm on the metric Degraded has told people already; if in doubt, it has not."""
    name = os.environ["DEGRADED_ALARM_NAME"]
    try:
        alarms = clients.cloudwatch().describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm"])
    except (BotoCoreError, ClientError) as error:
        logs.error("alarm state unknown", code=error_code(error))
        return False
    return any(alarm.get("StateValue") == "ALARM" for alarm in alarms["MetricAlarms"])


def _strict(event: Event) -> bool:
    return (event.get("queryStringParameters") or {}).get("strict") == "true"


def _shown(event: Event, report: Report) -> Mapping[str, object]:
    """Return what the caller is shown: without any names where the API is to tell none.

    Who may invoke the function itself is told all; the API's id is in every event of the API.
    """
    by_api = "apiId" in (event.get("requestContext") or {})
    if not by_api or os.environ.get("HEALTH_ACCESS") != "status":
        return report
    return {name: report[name] for name in ("timestamp", "overall_status")}


def _recent_report() -> Report:
    """Return the report that all containers share, looked up every CACHE_SECONDS. If there is none
    that is fresh, and none of this container's own, it makes one and shares it."""
    global _latest  # noqa: PLW0603
    since, own = _latest or (0.0, None)
    report = latest_report.newest([own], utc_now())
    if report is not None and monotonic() - since < CACHE_SECONDS:
        return report
    shared = latest_report.find(clients.cloudwatch_logs(), os.environ["LOG_GROUP"], utc_now())
    report = latest_report.newest([shared, report], utc_now())
    if report is None:
        report = _examine().report
        _share(report)
    _latest = (monotonic(), report)
    return report


def _share(report: Report) -> None:
    latest_report.store(clients.cloudwatch_logs(), os.environ["LOG_GROUP"], report, utc_now())


def _examine() -> Examination:
    global _latest  # noqa: PLW0603
    checks = build_checks(
        api=os.environ["API_NAME"],
        stage=os.environ["API_STAGE"],
        functions=os.environ["FUNCTION_NAMES"].split(","),
        table=os.environ["TRANSACTIONS_TABLE"],
        queue=os.environ["FAILED_QUEUE_NAME"],
        dead_letters=os.environ["DEAD_LETTER_QUEUE_NAME"],
    )
    examination = examine(clients.cloudwatch(), checks, utc_now())
    _latest = (monotonic(), examination.report)
    return examination


def _publish(report: Report) -> None:
    clients.sns().publish(
        TopicArn=os.environ["ALARM_TOPIC_ARN"],
        Subject=SUBJECT,
        Message=json.dumps({"subject": SUBJECT, **report}, indent=2),
    )
