"""What the alarms watch, when each fires, and the command to begin with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from troposphere.sns import Topic

from payment_infra.config import StackConfig
from payment_infra.gateway_names import SIMULATED_GATEWAY
from payment_infra.groups.function_parts import SERVICE_NAME, FunctionParts, reserves
from payment_infra.groups.functions import DEGRADED_ALARM_NAME, Functions
from payment_infra.groups.queues import Queues
from payment_infra.names import CONCURRENCIES, STAGE_NAME
from payment_infra.naming import suffixed

# The namespace of the handlers' own metrics.
NAMESPACE = "PaymentInfra"
MAX_LATENCY_MILLISECONDS = 1000
# Of the slowest hundredth; a client that waits so long may give up, and ask again.
MAX_SLOWEST_MILLISECONDS = 5000
# Of what is reserved for a function; at 100 it is throttled.
MAX_CONCURRENCY_PERCENT = 80
MAX_ERRORS = 10
MAX_THROTTLES = 10
MAX_MESSAGE_AGE_SECONDS = 15 * 60
# Three scheduled runs in a row that failed. Where they are missing, CloudWatch looks further back.
MISSING_RUN_PERIODS = 3
# Half an hour: longer than a restore has payments stopped.
STOPPED_PERIODS = 6
OWN = {"service": SERVICE_NAME}


@dataclass(frozen=True)
class Rule:
    """When an alarm fires, and the command of payment-infra that shows why.

    metric is namespace/name; the threshold is in the metric's unit, or in percent of the parameter
    `share_of`, and is reached in every one of the periods, or what properties say. The alarm is
    there under the condition, if one is named.
    """

    title: str
    name: str
    description: str
    command: str
    metric: str
    dimensions: Mapping[str, object]
    threshold: int
    periods: int = 1
    statistic: str = "Sum"
    share_of: str = ""
    condition: str = ""
    properties: Mapping[str, object] = field(default_factory=dict)


def rules_of(
    config: StackConfig, topic: Topic, queues: Queues, functions: Functions
) -> Iterator[Rule]:
    """Yield every rule: those that bear noise fire on several periods in a row, others on one."""
    yield from _throttle_rules()
    yield from _api_rules()
    yield from _function_rules(config, functions)
    yield from _queue_rules(queues)
    yield from _payment_rules()
    if config.gateway != SIMULATED_GATEWAY:
        yield from _pending_rules()
    yield from _run_rules(topic)
    if config.latency_alarms:
        yield from _slowest_rules()
    if config.concurrency_alarms:
        yield from _concurrency_rules(config, functions)


def _errors_in(function: str = "") -> str:
    """Return the command that shows the errors of a function, or of all."""
    return " ".join(["logs", *filter(None, [function]), "--since 1h --level error"])


def _throttle_rules() -> Iterator[Rule]:
    """What the scheduled run has read of DynamoDB's metrics. CloudWatch would leave an alarm on
    these as it is when data stops, whatever it says of missing data (PutMetricAlarm)."""
    for prefix, name, what in (("", "", ""), ("Index", "index-", " of the in-flight index")):
        yield Rule(
            f"DynamoDB{prefix}ThrottleAlarm",
            f"dynamodb-{name}throttle",
            f"DynamoDB throttling{what} detected",
            _errors_in(),
            f"{NAMESPACE}/{prefix}WriteThrottleEvents",
            OWN,
            MAX_THROTTLES,
            periods=2,
            # A run that is repeated reads the same throttles again.
            statistic="Maximum",
        )


def _api_rules() -> Iterator[Rule]:
    api = {"ApiName": suffixed("payment-api"), "Stage": STAGE_NAME}
    for title, name, description, command, method in (
        ("API", "api", "API Gateway latency is high", "metrics --since 1h", {}),
        (
            "Validate",
            "validate",
            "POST /validate is slow",
            "logs validation --since 1h",
            {"Method": "POST", "Resource": "/validate"},
        ),
        (
            "Process",
            "process",
            "POST /process is slow",
            "metrics --since 1h",
            {"Method": "POST", "Resource": "/process"},
        ),
    ):
        yield Rule(
            f"{title}LatencyAlarm",
            f"{name}-latency",
            description,
            command,
            "AWS/ApiGateway/Latency",
            api | method,
            MAX_LATENCY_MILLISECONDS,
            periods=2,
            statistic="Average",
        )
    yield Rule(
        "APIServerErrorAlarm",
        "api-5xx",
        "The API answers with 5XX",
        _errors_in("api"),
        "AWS/ApiGateway/5XXError",
        api,
        MAX_ERRORS,
    )


def _function_rules(config: StackConfig, functions: Functions) -> Iterator[Rule]:
    """Yield what watches each function itself.

    What is throttled, or fails behind the API, has another alarm: the API's 5XX, the age of the
    oldest message, or the missing run. Where not all is watched, these are left out, but the errors
    that the reference watches are not: the development template has to fit into one request.
    """
    rows: list[tuple[str, str, str, FunctionParts, int, int]] = [
        ("Validation", "validation", "validation", functions.validation, MAX_ERRORS, 2),
        ("Processing", "processing", "processing", functions.processing, MAX_ERRORS, 2),
        ("Lookup", "lookup", "lookup", functions.lookup, MAX_ERRORS, 2),
        ("Cancellation", "cancellation", "cancellation", functions.cancellation, MAX_ERRORS, 2),
        ("Retry", "retry", "retry", functions.retry, 1, 1),
        ("Health monitor", "health-monitor", "health", functions.health_monitor, 1, 1),
    ]
    if functions.gateway_events:
        name = "gateway-events"
        rows.append(("Gateway events", name, name, functions.gateway_events, MAX_ERRORS, 2))
    for what, name, log, parts, threshold, periods in rows:
        if parts in (functions.lookup, functions.cancellation) and not config.concurrency_alarms:
            continue
        yield Rule(
            parts.function.title.replace("Function", "ErrorAlarm"),
            f"{name}-errors",
            f"{what} function errors detected",
            _errors_in(log),
            "AWS/Lambda/Errors",
            {"FunctionName": parts.function.ref()},
            threshold,
            periods,
        )
    for what, name, _, parts, _, _ in rows if config.concurrency_alarms else ():
        yield Rule(
            parts.function.title.replace("Function", "ThrottleAlarm"),
            f"{name}-throttles",
            f"{what} function is throttled; raise the account's concurrency",
            "status",
            "AWS/Lambda/Throttles",
            {"FunctionName": parts.function.ref()},
            1,
        )


def _queue_rules(queues: Queues) -> Iterator[Rule]:
    yield Rule(
        "DeadLetterAlarm",
        "dead-letters",
        "A failed transaction needs somebody to look after it",
        "failed list",
        "AWS/SQS/ApproximateNumberOfMessagesVisible",
        {"QueueName": queues.dead_letter.get_att("QueueName")},
        1,
        statistic="Maximum",
    )
    yield Rule(
        "FailedMessageAgeAlarm",
        "failed-message-age",
        "A failed transaction has waited for 15 minutes",
        _errors_in("retry"),
        "AWS/SQS/ApproximateAgeOfOldestMessage",
        {"QueueName": queues.failed.get_att("QueueName")},
        MAX_MESSAGE_AGE_SECONDS,
        statistic="Maximum",
    )
    if queues.failed_runs:
        yield Rule(
            "FailedRunAlarm",
            "failed-runs",
            "A scheduled run failed three times",
            _errors_in("health"),
            # One that is there already is told once.
            "AWS/SQS/NumberOfMessagesSent",
            {"QueueName": queues.failed_runs.get_att("QueueName")},
            1,
        )


def _payment_rules() -> Iterator[Rule]:
    for title, name, description, metric, threshold, statistic in (
        (
            "PaymentFailureAlarm",
            "payment-failures",
            "Payments are answered with 500",
            "Failures",
            MAX_ERRORS,
            "Sum",
        ),
        (
            "RetriesNotQueuedAlarm",
            "retries-not-queued",
            "A failed transaction could not be queued: its client repeats it",
            "RetriesNotQueued",
            1,
            "Sum",
        ),
        (
            "StuckPaymentAlarm",
            "stuck-payments",
            "A payment is given up",
            "PaymentsStuck",
            1,
            "Maximum",
        ),
        (
            "MismatchedPaymentAlarm",
            "mismatched-payments",
            "A payment is not what was validated",
            "PaymentsMismatched",
            1,
            "Maximum",
        ),
        (
            "UnreadablePaymentAlarm",
            "unreadable-payments",
            "A payment cannot be read",
            "PaymentsUnreadable",
            1,
            "Maximum",
        ),
    ):
        yield Rule(
            title,
            name,
            description,
            _errors_in(),
            f"{NAMESPACE}/{metric}",
            OWN,
            threshold,
            statistic=statistic,
        )
    yield Rule(
        "ContradictedCaptureAlarm",
        "contradicted-captures",
        "A capture is not the one on record: see contradicting_reference",
        "export",
        f"{NAMESPACE}/CapturesContradicted",
        OWN,
        1,
    )


def _pending_rules() -> Iterator[Rule]:
    """Yield what watches payments that wait for a customer, as they do at a real gateway."""
    yield Rule(
        "OverduePaymentAlarm",
        "overdue-payments",
        "A payment has been pending for longer than a day",
        _errors_in(),
        f"{NAMESPACE}/PaymentsOverdue",
        OWN,
        1,
        statistic="Maximum",
    )


def _run_rules(topic: Topic) -> Iterator[Rule]:
    yield Rule(
        "HealthDegradedAlarm",
        DEGRADED_ALARM_NAME,
        "The health monitor finds the system degraded",
        "health",
        f"{NAMESPACE}/Degraded",
        OWN,
        1,
        statistic="Maximum",
        properties={"OKActions": [topic.ref()]},
    )
    yield Rule(
        "ScheduledRunAlarm",
        "scheduled-run",
        "The scheduled run fails or is missing: nothing is recovered",
        _errors_in("health"),
        f"{NAMESPACE}/ScheduledRuns",
        OWN,
        1,
        MISSING_RUN_PERIODS,
        properties={
            "ComparisonOperator": "LessThanThreshold",
            # No run is the trouble.
            "TreatMissingData": "breaching",
        },
    )
    yield Rule(
        "PaymentsStoppedAlarm",
        "payments-stopped",
        "Payments are stopped for 30 minutes",
        "status",
        f"{NAMESPACE}/PaymentsStopped",
        OWN,
        1,
        STOPPED_PERIODS,
        "Maximum",
    )


def _slowest_rules() -> Iterator[Rule]:
    api = {"ApiName": suffixed("payment-api"), "Stage": STAGE_NAME}
    for title, verb, path in (
        ("Validate", "POST", "/validate"),
        ("Process", "POST", "/process"),
        ("Lookup", "GET", "/transactions/{transaction_id}"),
        ("Cancel", "POST", "/cancel"),
    ):
        yield Rule(
            f"{title}SlowestAlarm",
            f"{title.lower()}-slowest",
            f"One in a hundred {verb} {path} is very slow",
            "metrics --since 1h",
            "AWS/ApiGateway/Latency",
            api | {"Method": verb, "Resource": path},
            MAX_SLOWEST_MILLISECONDS,
            periods=3,
            statistic="p99",
            # Of fewer than 1,000 requests CloudWatch can leave the alarm as it is, in ALARM too
            # ("Percentile-based alarms and low data samples"): a million payments a month are 116
            # in a period. So all count, and the slow request of one period alone fires nothing.
            properties={"EvaluateLowSampleCountPercentile": "evaluate", "DatapointsToAlarm": 2},
        )


def _concurrency_rules(config: StackConfig, functions: Functions) -> Iterator[Rule]:
    """A function is throttled next that comes near what is reserved for it."""
    for name, parts in (
        ("validation", functions.validation),
        ("processing", functions.processing),
        ("lookup", functions.lookup),
        ("cancellation", functions.cancellation),
        ("gateway-events", functions.gateway_events),
        ("retry", functions.retry),
        ("health-monitor", functions.health_monitor),
    ):
        parameter = CONCURRENCIES[parts.function.title] if parts else ""
        if parts and parameter in config.reserved:
            yield Rule(
                parts.function.title.replace("Function", "ConcurrencyAlarm"),
                f"{name}-concurrency",
                f"The function {name} nears its reserved concurrency: raise {parameter}",
                "status",
                "AWS/Lambda/ConcurrentExecutions",
                {"FunctionName": parts.function.ref()},
                MAX_CONCURRENCY_PERCENT,
                periods=2,
                statistic="Maximum",
                share_of=parameter,
                # Where nothing is reserved, there is nothing to divide by.
                condition=reserves(parameter),
            )
