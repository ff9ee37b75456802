"""The Lambda functions: what each may do, and what it is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from troposphere import Condition, Equals, Not
from troposphere.apigateway import RestApi
from troposphere.awslambda import (
    Content,
    DeadLetterConfig,
    EventSourceMapping,
    LayerVersion,
    ScalingConfig,
)
from troposphere.iam import ManagedPolicy
from troposphere.sns import Topic
from troposphere.validators import integer

from payment_infra.config import StackConfig
from payment_infra.gateway_names import SIMULATED_GATEWAY, gateway_variable
from payment_infra.groups.encryption import Encryption
from payment_infra.groups.function_parts import (
    FunctionParts,
    build_function,
    environment,
    reserves,
    snap_start_conditions,
)
from payment_infra.groups.iam import (
    build_tracing_policy,
    claim_and_finish,
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
)
from payment_infra.groups.queues import VISIBILITY_TIMEOUT_SECONDS, Queues
from payment_infra.groups.storage import Storage
from payment_infra.names import (
    ARTIFACT_BUCKET,
    ENVIRONMENT_SUFFIX,
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


class SourceScaling(ScalingConfig):  # type: ignore[misc]
    """How far Lambda scales out for an event source. troposphere 4.11 has two classes of this
    name in one module, and the later one, of another resource, hides the one that is needed."""

    props: ClassVar = {"MaximumConcurrency": (integer, False)}


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
    build = partial(build_function, config, code, encryption, dependencies, tracing, storage)
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
        # Of the secret only the name: for whom a payment is validated.
        Environment=environment(**payments, **gateway, **secret),
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
        Environment=environment(**payments, **chosen),
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
        Environment=environment(TRANSACTIONS_TABLE=storage.name, **access),
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
        Environment=environment(TRANSACTIONS_TABLE=storage.name, **chosen),
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
        Environment=environment(TRANSACTIONS_TABLE=storage.name, **chosen),
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
            Environment=environment(TRANSACTIONS_TABLE=storage.name, **gateway, **secret),
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
        Environment=environment(
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
        conditions={reserves(name): Not(Equals(parameter(name), 0)) for name in config.reserved}
        | (snap_start_conditions() if config.snap_start else {}),
    )
