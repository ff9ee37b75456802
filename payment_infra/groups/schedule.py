"""The schedule of the health monitor, and what becomes of a run that fails."""

from dataclasses import dataclass

from awacs import sqs
from awacs.aws import Action, Allow, ArnEquals, PolicyDocument, Principal, Statement
from awacs.aws import Condition as When
from troposphere.awslambda import DestinationConfig, EventInvokeConfig, OnFailure, Permission
from troposphere.events import DeadLetterConfig, RetryPolicy, Rule, Target
from troposphere.sns import Topic
from troposphere.sqs import Queue, QueuePolicy

from payment_infra.groups.functions import FunctionParts
from payment_infra.groups.iam import require_tls
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
    failed_policy: QueuePolicy | None
    failed: EventInvokeConfig | None


def build_schedule(
    health_monitor: FunctionParts, failed_runs: Queue | None, topic: Topic
) -> Schedule:
    """Build the schedule.

    Args:
        health_monitor: what it runs.
        failed_runs: where events end that no run has handled, if they are kept.
        topic: is told of a run that failed.
    """
    rule = Rule(
        "HealthMonitorSchedule",
        Name=suffixed("health-monitor-schedule"),
        ScheduleExpression=EXPRESSION,
        State="ENABLED",
        Targets=[
            Target(Id="health-monitor", Arn=health_monitor.invoked_arn, **_undelivered(failed_runs))
        ],
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
        failed_policy=_build_policy(failed_runs, rule) if failed_runs else None,
        failed=_build_failed(health_monitor, topic) if failed_runs else None,
    )


def _undelivered(queue: Queue | None) -> dict[str, object]:
    """Return what becomes of an event that reaches no function: it ends in the queue, if any."""
    if queue is None:
        return {}
    return {
        "DeadLetterConfig": DeadLetterConfig(Arn=queue.get_att("Arn")),
        "RetryPolicy": RetryPolicy(
            MaximumEventAgeInSeconds=AGE_SECONDS, MaximumRetryAttempts=RETRIES
        ),
    }


def _build_policy(queue: Queue, rule: Rule) -> QueuePolicy:
    """Let the schedule put events into the queue (EventBridge, "Using dead-letter queues to process
    undelivered events"), and refuse requests without TLS."""
    return QueuePolicy(
        "FailedRunsPolicy",
        Queues=[queue.ref()],
        PolicyDocument=PolicyDocument(
            Version="2012-10-17",
            Statement=[
                require_tls(Action("sqs", "*"), "*"),
                Statement(
                    Sid="UndeliveredRuns",
                    Effect=Allow,
                    Principal=Principal("Service", "events.amazonaws.com"),
                    Action=[sqs.SendMessage],
                    Resource=[queue.get_att("Arn")],
                    Condition=When(ArnEquals("aws:SourceArn", rule.get_att("Arn"))),
                ),
            ],
        ),
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
