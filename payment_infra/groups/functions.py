"""The Lambda functions with their log groups and roles."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from awacs.aws import Statement
from troposphere import And, Condition, Equals, GetAtt, If, Not, NoValue, Ref, Region
from troposphere.apigateway import RestApi
from troposphere.awslambda import (
    Code,
    Content,
    DeadLetterConfig,
    Environment,
    EventSourceMapping,
    Function,
    LayerVersion,
    LoggingConfig,
    ScalingConfig,
    SnapStart,
    TracingConfig,
    VPCConfig,
)
from troposphere.iam import ManagedPolicy, Role
from troposphere.logs import LogGroup
from troposphere.sns import Topic
from troposphere.validators import integer

from payment_infra.config import StackConfig
from payment_infra.gateway_names import SIMULATED_GATEWAY, gateway_variable
from payment_infra.groups.encryption import Encryption
from payment_infra.groups.iam import (
    build_tracing_policy,
    claim_and_finish,
    execution_role,
    find_in_flight,
    keep_failed_runs,
    look_up_payments,
    publish_to,
    read_alarm,
    read_event_source,
    read_log_stream,
    read_metrics,
    read_secret,
    read_stage,
    receive_from,
    record_and_finish,
    record_payments,
    recover_payments,
    send_to,
    use_key,
    use_network_interfaces,
    write_logs,
)
from payment_infra.groups.logs import build_log_group
from payment_infra.groups.queues import VISIBILITY_TIMEOUT_SECONDS, Queues
from payment_infra.groups.storage import Storage
from payment_infra.groups.tls import COMMERCIAL
from payment_infra.groups.versions import Release, build_release
from payment_infra.names import (
    ARTIFACT_BUCKET,
    CONCURRENCIES,
    ENVIRONMENT_SUFFIX,
    PARAMETER_FIELDS,
    STAGE_NAME,
)
from payment_infra.naming import filled, parameter, suffixed
from payment_infra.rules import RETRIES_AT_ONCE

HEALTH_MONITOR_NAME = "health-monitor"
HEALTH_LOG_GROUP = f"/aws/lambda/{HEALTH_MONITOR_NAME}"
# The handlers' name for the stream that holds the latest health report.
REPORT_STREAM = "latest-report"
DEGRADED_ALARM_NAME = "health-degraded"
# A sixth of the queue's visibility timeout at most (Lambda, "Using Lambda with Amazon SQS").
RETRY_TIMEOUT_SECONDS = VISIBILITY_TIMEOUT_SECONDS // 6
# One message an invocation, so that none is handed back untried, which would cost it a receive: at
# a slow gateway a message takes half of the function's timeout.
RETRY_BATCH_SIZE = 1
# Whether the region has SnapStart: each commercial one but Asia Pacific (Taipei) and (New Zealand)
# does, and no other partition (Lambda, "Improving startup performance with Lambda SnapStart",
# Supported Regions).
SNAP_STARTS = "HasSnapStart"
WITHOUT_SNAP_START = ("ap-east-2", "ap-southeast-6")
# Powertools: the only dimension of the stack's own metrics.
SERVICE_NAME = suffixed("payment")


class SourceScaling(ScalingConfig):  # type: ignore[misc]
    """How far Lambda scales out for an event source. troposphere 4.11 has two classes of this
    name in one module, and the later one, of another resource, hides the one that is needed."""

    props: ClassVar = {"MaximumConcurrency": (integer, False)}


class FunctionLogging(LoggingConfig):  # type: ignore[misc]
    """Where and how a function logs; hidden by a class of the same name, as above."""

    props: ClassVar = {**LoggingConfig.props, "LogFormat": (str, False)}


@dataclass(frozen=True)
class FunctionParts:
    """A function and what belongs to it alone; release is None if none is published."""

    function: Function
    log_group: LogGroup
    role: Role
    policy: ManagedPolicy
    release: Release | None = None

    @property
    def invoked(self) -> Ref:
        """What is invoked: the alias's ARN, or the function's name."""
        return self.release.alias.ref() if self.release else self.function.ref()

    @property
    def invoked_arn(self) -> Ref | GetAtt:
        """The ARN of what is invoked."""
        return self.release.alias.ref() if self.release else self.function.get_att("Arn")


@dataclass(frozen=True)
class Functions:
    """The functions, what they share, and what gives the retries their messages.

    gateway_events is there only with a gateway that notifies.
    """

    dependencies: LayerVersion
    tracing: ManagedPolicy
    validation: FunctionParts
    processing: FunctionParts
    lookup: FunctionParts
    cancellation: FunctionParts
    retry: FunctionParts
    retry_source: EventSourceMapping
    health_monitor: FunctionParts
    gateway_events: FunctionParts | None
    conditions: dict[str, Condition]


def build_functions(
    config: StackConfig,
    code: Mapping[str, str],
    encryption: Encryption,
    storage: Storage,
    queues: Queues,
    topic: Topic,
    rest_api: RestApi,
) -> Functions:
    """Build the functions.

    Args:
        config: gives runtime, architecture, gateway and access.
        code: entry module of handlers/ ("validation"), or "dependencies", to the S3 key of its zip.
        encryption: whose key, if there is one, encrypts what they work on.
        storage: whose active table they work on.
        queues: where failed transactions go, and what the health monitor watches.
        topic: where the health monitor publishes.
        rest_api: whose stage the health monitor looks at.
    """
    dependencies = LayerVersion(
        "DependenciesLayer",
        LayerName=suffixed("payment-dependencies"),
        Description="What handlers/requirements.txt pins.",
        # Pure Python: it fits every runtime and architecture, and so it names none.
        Content=Content(S3Bucket=parameter(ARTIFACT_BUCKET), S3Key=code["dependencies"]),
    )
    tracing = build_tracing_policy()
    build = partial(_build_function, config, code, encryption, dependencies, tracing, storage)
    payments = {"TRANSACTIONS_TABLE": storage.name, "FAILED_QUEUE_URL": queues.failed.ref()}
    charging = []
    access = {}
    if config.payment_access != "caller":
        access["PAYMENT_ACCESS"] = config.payment_access
    gateway = {}
    if config.gateway != SIMULATED_GATEWAY:
        gateway["GATEWAY"] = gateway_variable(config.gateway)
    secret = {}
    if config.gateway_secret:
        secret["GATEWAY_SECRET_ARN"] = config.gateway_secret
        charging.append(read_secret(config.gateway_secret))
    chosen = access | gateway | secret
    validation = build(
        "Validation",
        "payment-validation",
        "validation",
        record_payments(storage),
        send_to(queues.failed_arn),
        *use_key(encryption, "Table", "Sending"),
        Description="Checks a payment and records it.",
        MemorySize=256,
        Timeout=30,
        Environment=_environment(**payments, **gateway),
    )
    processing = build(
        "Processing",
        "payment-processing",
        "processing",
        claim_and_finish(storage),
        *charging,
        send_to(queues.failed_arn),
        *use_key(encryption, "Table", "Sending"),
        Description="Charges a recorded payment, once.",
        MemorySize=512,
        Timeout=60,
        Environment=_environment(**payments, **chosen),
    )
    lookup = build(
        "Lookup",
        "payment-lookup",
        "lookup",
        look_up_payments(storage),
        *use_key(encryption, "Table"),
        Description="Tells where a payment stands.",
        MemorySize=256,
        Timeout=30,
        Environment=_environment(TRANSACTIONS_TABLE=storage.name, **access),
    )
    cancellation = build(
        "Cancellation",
        "payment-cancellation",
        "cancellation",
        claim_and_finish(storage),
        *charging,
        *use_key(encryption, "Table"),
        Description="Cancels a payment that is not charged.",
        MemorySize=512,
        Timeout=30,
        Environment=_environment(TRANSACTIONS_TABLE=storage.name, **chosen),
    )
    retry = build(
        "Retry",
        "payment-retry",
        "retry",
        receive_from(queues.failed_arn),
        record_and_finish(storage),
        *charging,
        *use_key(encryption, "Table", "Receiving"),
        Description="Repeats what failed, from the queue.",
        MemorySize=512,
        Timeout=RETRY_TIMEOUT_SECONDS,
        Environment=_environment(TRANSACTIONS_TABLE=storage.name, **chosen),
    )
    gateway_events = None
    if config.gateway_events:
        gateway_events = build(
            "GatewayEvents",
            "payment-gateway-events",
            "gateway_events",
            claim_and_finish(storage),
            *charging,
            *use_key(encryption, "Table"),
            Description="Settles the payments that the gateway tells of.",
            MemorySize=256,
            Timeout=30,
            Environment=_environment(TRANSACTIONS_TABLE=storage.name, **gateway, **secret),
        )
    retry_source = EventSourceMapping(
        "RetryEventSource",
        EventSourceArn=queues.failed.get_att("Arn"),
        FunctionName=retry.invoked,
        BatchSize=RETRY_BATCH_SIZE,
        ScalingConfig=SourceScaling(MaximumConcurrency=RETRIES_AT_ONCE),
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    others = {"V": validation, "P": processing, "L": lookup, "C": cancellation, "R": retry}
    if gateway_events:
        others["G"] = gateway_events
    watched = filled(
        # A function cannot refer to itself.
        f"{','.join(f'${{{name}}}' for name in others)},"
        f"{HEALTH_MONITOR_NAME}-${{{ENVIRONMENT_SUFFIX}}}",
        **{name: parts.function.ref() for name, parts in others.items()},
    )
    health_monitor = build(
        "HealthMonitor",
        HEALTH_MONITOR_NAME,
        "health_monitor",
        read_metrics(),
        read_alarm(DEGRADED_ALARM_NAME),
        read_stage(rest_api),
        read_event_source(retry_source),
        read_log_stream(HEALTH_LOG_GROUP, REPORT_STREAM),
        publish_to(topic),
        find_in_flight(storage),
        recover_payments(storage),
        send_to(queues.failed_arn),
        *use_key(encryption, "Table", "Sending", "Publishing"),
        *([keep_failed_runs(queues.failed_runs)] if queues.failed_runs else []),
        Description="Answers how the system is, and tells when it is not well.",
        MemorySize=256,
        Timeout=60,
        Environment=_environment(
            ALARM_TOPIC_ARN=topic.ref(),
            API_ID=rest_api.ref(),
            API_NAME=suffixed("payment-api"),
            API_STAGE=STAGE_NAME,
            TRANSACTIONS_TABLE=storage.name,
            FUNCTION_NAMES=watched,
            FAILED_QUEUE_NAME=queues.failed.get_att("QueueName"),
            FAILED_QUEUE_URL=queues.failed.ref(),
            DEAD_LETTER_QUEUE_NAME=queues.dead_letter.get_att("QueueName"),
            DEGRADED_ALARM_NAME=suffixed(DEGRADED_ALARM_NAME),
            LOG_GROUP=suffixed(HEALTH_LOG_GROUP),
            RETRY_SOURCE_ID=retry_source.ref(),
            **({"HEALTH_ACCESS": "status"} if config.health_access == "status" else {}),
        ),
        **(
            {"DeadLetterConfig": DeadLetterConfig(TargetArn=queues.failed_runs.get_att("Arn"))}
            if queues.failed_runs
            else {}
        ),
    )
    return Functions(
        dependencies=dependencies,
        tracing=tracing,
        validation=validation,
        processing=processing,
        lookup=lookup,
        cancellation=cancellation,
        retry=retry,
        retry_source=retry_source,
        health_monitor=health_monitor,
        gateway_events=gateway_events,
        conditions={
            reserves(name): Not(Equals(parameter(name), 0))
            for name in CONCURRENCIES.values()
            if getattr(config, PARAMETER_FIELDS[name])
        }
        | (_snap_start_conditions() if config.snap_start else {}),
    )


def reserves(name: str) -> str:
    """Return the condition that a parameter of reserved concurrency is not 0."""
    return f"Has{name}"


def _reserved(config: StackConfig, function: str) -> dict[str, object]:
    """Return the reserved concurrency of the function with this logical id, as its parameter says.

    Lambda's own 0 would keep the function from running (Lambda API, PutFunctionConcurrency).
    """
    name = CONCURRENCIES.get(function)
    if name is None or not getattr(config, PARAMETER_FIELDS[name]):
        return {}
    return {"ReservedConcurrentExecutions": If(reserves(name), parameter(name), NoValue)}


def _build_function(
    config: StackConfig,
    code: Mapping[str, str],
    encryption: Encryption,
    dependencies: LayerVersion,
    tracing: ManagedPolicy,
    storage: Storage,
    prefix: str,
    name: str,
    module: str,
    *grants: Statement,
    **properties: object,
) -> FunctionParts:
    """Build a function with its log group and role; `prefix` starts their logical ids."""
    log_group = build_log_group(
        config, encryption, f"{prefix}LogGroup", suffixed(f"/aws/lambda/{name}")
    )
    network = _network(config)
    owner = execution_role(
        prefix,
        *grants,
        write_logs(log_group),
        *use_key(encryption, "Variables"),
        *(use_network_interfaces(name) if network else ()),
        shared=[tracing],
    )
    function = Function(
        f"{prefix}Function",
        FunctionName=suffixed(name),
        Runtime=config.runtime,
        Architectures=[config.architecture],
        Handler=f"{module}.handler",
        Code=Code(S3Bucket=parameter(ARTIFACT_BUCKET), S3Key=code[module]),
        Layers=[dependencies.ref()],
        Role=owner.role.get_att("Arn"),
        TracingConfig=TracingConfig(Mode="Active"),
        **_logging(config, log_group),
        **(_snap_start() if config.snap_start else {}),
        **_reserved(config, f"{prefix}Function"),
        **encryption.by("KmsKeyArn"),
        **network,
        **properties,
    )
    return FunctionParts(
        function=function,
        log_group=log_group,
        role=owner.role,
        policy=owner.policy,
        release=(
            build_release(config, prefix, function, dependencies, storage)
            if config.versions
            else None
        ),
    )


def _logging(config: StackConfig, log_group: LogGroup) -> dict[str, object]:
    """Return how a function logs, where that is not by default: to the group of its own name
    (AWS::Lambda::Function, LoggingConfig), which is there before it, as its role names that.

    Lambda has levels for its own lines only with the format JSON, which leaves what is JSON
    already, as the handlers' lines are, as it is (Lambda, "Log-level filtering", "Configuring JSON
    and plain text log formats").
    """
    if config.platform_logs == "info":
        return {}
    return {
        "LoggingConfig": FunctionLogging(
            LogGroup=log_group.ref(),
            LogFormat="JSON",
            SystemLogLevel=config.platform_logs.upper(),
        )
    }


def _snap_start_conditions() -> dict[str, Condition]:
    elsewhere = [Not(Equals(Region, region)) for region in WITHOUT_SNAP_START]
    return {SNAP_STARTS: And(Condition(COMMERCIAL), *elsewhere)}


def _network(config: StackConfig) -> dict[str, object]:
    """Return the VPC that the functions are connected to, if any."""
    if not config.subnets:
        return {}
    network = VPCConfig(
        SubnetIds=list(config.subnets), SecurityGroupIds=list(config.security_groups)
    )
    return {"VpcConfig": network}


def _snap_start() -> dict[str, object]:
    applied = SnapStart(ApplyOn="PublishedVersions")
    return {"SnapStart": If(SNAP_STARTS, applied, NoValue)}


def _environment(**variables: object) -> Environment:
    return Environment(Variables={"POWERTOOLS_SERVICE_NAME": SERVICE_NAME, **variables})
