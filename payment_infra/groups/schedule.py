"""The schedule of the health monitor, and what becomes of a run that fails."""

from dataclasses import dataclass

from troposphere.awslambda import DestinationConfig, EventInvokeConfig, OnFailure, Permission
from troposphere.events import Rule, Target
from troposphere.sns import Topic
from troposphere.sqs import Queue

from payment_infra.groups.function_parts import FunctionParts
from payment_infra.names import LIVE
from payment_infra.naming import suffixed

EXPRESSION = "rate(5 minutes)"
# A run that fails is repeated twice, as Lambda does by itself; after five minutes the next run does
# the same work.
RETRIES = 2
AGE_SECONDS = 300


@dataclass(frozen=True)
class Schedule:
    """What runs the health monitor, and what keeps and tells the runs that failed, if asked for."""

    rule: Rule
    permission: Permission
    failed: EventInvokeConfig | None


def build_schedule(
    health_monitor: FunctionParts, failed_runs: Queue | None, topic: Topic
) -> Schedule:
    """Build the schedule.

    An event that reaches no function is kept nowhere: the next one is the same, and an alarm tells
    when none comes. A queue for these would have to take messages of EventBridge, which says for no
    account that it uses a key (EventBridge, "Using dead-letter queues").

    Args:
        health_monitor: what it runs.
        failed_runs: where Lambda keeps the events of runs that failed, if they are kept.
        topic: is told of a run that failed.
    """
    rule = Rule(
        "HealthMonitorSchedule",
        Name=suffixed("health-monitor-schedule"),
        ScheduleExpression=EXPRESSION,
        State="ENABLED",
        Targets=[Target(Id="health-monitor", Arn=health_monitor.invoked_arn)],
    )
    permission = Permission(
        "HealthMonitorSchedulePermission",
        Action="lambda:InvokeFunction",
        FunctionName=health_monitor.invoked,
        Principal="events.amazonaws.com",
        SourceArn=rule.get_att("Arn"),
    )
    return Schedule(
        rule=rule,
        permission=permission,
        failed=_build_failed(health_monitor, topic) if failed_runs else None,
    )


def _build_failed(health_monitor: FunctionParts, topic: Topic) -> EventInvokeConfig:
    """Tell the topic what Lambda knows of a run that failed; the function's dead-letter queue gets
    the event alone (Lambda, "Capturing records of Lambda asynchronous invocations")."""
    release = health_monitor.release
    return EventInvokeConfig(
        "FailedRuns",
        FunctionName=health_monitor.function.ref(),
        Qualifier=LIVE if release else "$LATEST",
        MaximumEventAgeInSeconds=AGE_SECONDS,
        MaximumRetryAttempts=RETRIES,
        DestinationConfig=DestinationConfig(OnFailure=OnFailure(Destination=topic.ref())),
        **({"DependsOn": release.alias} if release else {}),
    )
