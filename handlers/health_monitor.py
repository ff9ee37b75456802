"""GET /health, and the scheduled run that tells people when the system is degraded."""

from __future__ import annotations

import json
import os
from time import monotonic
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared import clients, logs, metrics
from handlers.shared.charging import SET_ASIDE
from handlers.shared.clock import utc_now
from handlers.shared.deadline import CALL_SECONDS, Deadline
from handlers.shared.failures import error_code
from handlers.shared.health import Report, build_checks, examine
from handlers.shared.recovery import RECOVER_AFTER_SECONDS, Recovery
from handlers.shared.requests import Event, request_id
from handlers.shared.responses import Answer, proxy_response

SUBJECT = "Payment System Health Alert"
CACHE_SECONDS = 30

# The last report that this container made, and when (monotonic seconds).
_latest: tuple[float, Report] | None = None


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
        answer = Answer(503 if unhealthy and _strict(event) else 200, report)
    except Exception as error:  # noqa: BLE001
        logs.unexpected(error)
        message = "The health of the system could not be determined"
        answer = Answer(500, {"error": "Health check failed", "message": message})
    logs.info("health", status=answer.status)
    metrics.end(answer.status)
    return proxy_response(answer, request)


def _scheduled(request: str, context: Any) -> Report:
    """Report, publish the report when it is news, and recover payments that are left over."""
    try:
        report = _report()
        degraded = report["overall_status"] != "healthy"
        metrics.count(metrics.DEGRADED, int(degraded))
        try:
            if degraded and not _is_known():
                _publish(report)
        finally:  # a payment does not wait for those who tell people
            _recover(request, context)
    except Exception as error:
        logs.unexpected(error)
        raise
    finally:
        metrics.flush()
    logs.info("health", overall_status=report["overall_status"])
    return report


def _recover(request: str, context: Any) -> None:
    """Recover payments; what is reserved is for counting those that are set aside."""
    deadline = Deadline.of_invocation(context, utc_now, len(SET_ASIDE) * CALL_SECONDS)
    run = Recovery(clients.store(), clients.retry_queue(), utc_now(), request, deadline)
    run.run(int(os.environ.get("RECOVER_AFTER_SECONDS", RECOVER_AFTER_SECONDS)))


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


def _recent_report() -> Report:
    if _latest and monotonic() - _latest[0] < CACHE_SECONDS:
        return _latest[1]
    return _report()


def _report() -> Report:
    global _latest  # noqa: PLW0603
    checks = build_checks(
        api=os.environ["API_NAME"],
        stage=os.environ["API_STAGE"],
        functions=os.environ["FUNCTION_NAMES"].split(","),
        table=os.environ["TRANSACTIONS_TABLE"],
        queue=os.environ["FAILED_QUEUE_NAME"],
        dead_letters=os.environ["DEAD_LETTER_QUEUE_NAME"],
    )
    report = examine(clients.cloudwatch(), checks, utc_now())
    _latest = (monotonic(), report)
    return report


def _publish(report: Report) -> None:
    clients.sns().publish(
        TopicArn=os.environ["ALARM_TOPIC_ARN"],
        Subject=SUBJECT,
        Message=json.dumps({"subject": SUBJECT, **report}, indent=2),
    )
