"""The Lambda functions with their log groups and roles."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from awacs.aws import Statement
from troposphere import Join
from troposphere.awslambda import (
    Code,
    Environment,
    Function,
    LoggingConfig,
    Permission,
    TracingConfig,
)
from troposphere.events import Rule, Target
from troposphere.iam import ManagedPolicy, Role
from troposphere.logs import LogGroup
from troposphere.sns import Topic

from payment_infra.config import StackConfig
from payment_infra.groups.iam import (
    claim_and_finish,
    execution_role,
    publish_to,
    read_metrics,
    record_payments,
    send_to,
    send_traces,
    write_logs,
)
from payment_infra.groups.logs import build_log_group
from payment_infra.groups.queues import Queues
from payment_infra.groups.storage import Storage
from payment_infra.naming import ARTIFACT_BUCKET, STAGE_NAME, parameter, suffixed

HEALTH_MONITOR_NAME = "health-monitor"
HEALTH_SCHEDULE = "rate(5 minutes)"


@dataclass(frozen=True)
class FunctionParts:
    """A function and what belongs to it alone."""

    function: Function
    log_group: LogGroup
    role: Role
    policy: ManagedPolicy


@dataclass(frozen=True)
class Functions:
    """The three functions, and the schedule on which the health monitor runs."""

    validation: FunctionParts
    processing: FunctionParts
    health_monitor: FunctionParts
    health_schedule: Rule
    health_schedule_permission: Permission


def build_functions(
    config: StackConfig, code: Mapping[str, str], storage: Storage, queues: Queues, topic: Topic
) -> Functions:
    """Build the functions.

    Args:
        config: gives runtime and architecture.
        code: entry module of handlers/ ("validation") to the S3 key of its zip.
        storage: whose active table they work on.
        queues: where failed transactions go, and what the health monitor watches.
        topic: where the health monitor publishes.
    """
    build = partial(_build_function, config, code)
    payments = {"TRANSACTIONS_TABLE": storage.name, "FAILED_QUEUE_URL": queues.failed.ref()}
    validation = build(
        "Validation",
        "payment-validation",
        "validation",
        record_payments(storage),
        send_to(queues.failed),
        Description="Checks a payment and records it.",
        MemorySize=256,
        Timeout=30,
        Environment=Environment(Variables=payments),
    )
    processing = build(
        "Processing",
        "payment-processing",
        "processing",
        claim_and_finish(storage),
        send_to(queues.failed),
        Description="Charges a recorded payment, once.",
        MemorySize=512,
        Timeout=60,
        Environment=Environment(Variables=payments),
    )
    watched = [
        validation.function.ref(),
        processing.function.ref(),
        # A function cannot refer to itself.
        suffixed(HEALTH_MONITOR_NAME),
    ]
    health_monitor = build(
        "HealthMonitor",
        HEALTH_MONITOR_NAME,
        "health_monitor",
        read_metrics(),
        publish_to(topic),
        Description="Answers how the system is, and tells when it is not well.",
        MemorySize=256,
        Timeout=60,
        Environment=Environment(
            Variables={
                "ALARM_TOPIC_ARN": topic.ref(),
                "API_NAME": suffixed("payment-api"),
                "API_STAGE": STAGE_NAME,
                "TRANSACTIONS_TABLE": storage.name,
                "FUNCTION_NAMES": Join(",", watched),
                "FAILED_QUEUE_NAME": queues.failed.get_att("QueueName"),
                "DEAD_LETTER_QUEUE_NAME": queues.dead_letter.get_att("QueueName"),
            }
        ),
    )
    schedule = Rule(
        "HealthMonitorSchedule",
        Name=suffixed("health-monitor-schedule"),
        Description="Runs the health monitor.",
        ScheduleExpression=HEALTH_SCHEDULE,
        State="ENABLED",
        Targets=[Target(Id="health-monitor", Arn=health_monitor.function.get_att("Arn"))],
    )
    schedule_permission = Permission(
        "HealthMonitorSchedulePermission",
        Action="lambda:InvokeFunction",
        FunctionName=health_monitor.function.ref(),
        Principal="events.amazonaws.com",
        SourceArn=schedule.get_att("Arn"),
    )
    return Functions(
        validation=validation,
        processing=processing,
        health_monitor=health_monitor,
        health_schedule=schedule,
        health_schedule_permission=schedule_permission,
    )


def _build_function(
    config: StackConfig,
    code: Mapping[str, str],
    prefix: str,
    name: str,
    module: str,
    *grants: Statement,
    **properties: object,
) -> FunctionParts:
    """Build a function with its log group and role; `prefix` starts their logical ids."""
    log_group = build_log_group(config, f"{prefix}LogGroup", suffixed(f"/aws/lambda/{name}"))
    owner = execution_role(prefix, *grants, write_logs(log_group), send_traces())
    function = Function(
        f"{prefix}Function",
        FunctionName=suffixed(name),
        Runtime=config.runtime,
        Architectures=[config.architecture],
        Handler=f"{module}.handler",
        Code=Code(S3Bucket=parameter(ARTIFACT_BUCKET), S3Key=code[module]),
        Role=owner.role.get_att("Arn"),
        LoggingConfig=LoggingConfig(LogGroup=log_group.ref()),
        TracingConfig=TracingConfig(Mode="Active"),
        **properties,
    )
    return FunctionParts(
        function=function, log_group=log_group, role=owner.role, policy=owner.policy
    )
