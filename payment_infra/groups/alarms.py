"""The alarms, all of which notify the topic."""

from dataclasses import dataclass

from troposphere.cloudwatch import Alarm, MetricDimension
from troposphere.sns import Topic

from payment_infra.groups.functions import DEGRADED_ALARM_NAME, SERVICE_NAME, Functions
from payment_infra.groups.queues import Queues
from payment_infra.groups.storage import IN_FLIGHT_INDEX, Storage
from payment_infra.naming import STAGE_NAME, suffixed

PERIOD_SECONDS = 300
# The namespace of the handlers' own metrics.
NAMESPACE = "PaymentInfra"
MAX_LATENCY_MILLISECONDS = 1000
MAX_ERRORS = 10
MAX_THROTTLES = 10
MAX_MESSAGE_AGE_SECONDS = 15 * 60


@dataclass(frozen=True)
class Alarms:
    """Every alarm of the stack."""

    alarms: tuple[Alarm, ...]


def build_alarms(topic: Topic, storage: Storage, queues: Queues, functions: Functions) -> Alarms:
    """Build the alarms: those that bear noise fire on two periods in a row, the others on one."""
    table = {"TableName": storage.name}
    index = table | {"GlobalSecondaryIndexName": IN_FLIGHT_INDEX}
    api = {"ApiName": suffixed("payment-api"), "Stage": STAGE_NAME}
    dead_letters = {"QueueName": queues.dead_letter.get_att("QueueName")}
    failed = {"QueueName": queues.failed.get_att("QueueName")}
    validation = {"FunctionName": functions.validation.function.ref()}
    processing = {"FunctionName": functions.processing.function.ref()}
    retry = {"FunctionName": functions.retry.function.ref()}
    health_monitor = {"FunctionName": functions.health_monitor.function.ref()}
    own = {"service": SERVICE_NAME}

    def alarm(
        title: str,
        name: str,
        description: str,
        metric: str,
        dimensions: dict[str, object],
        threshold: int,
        periods: int = 1,
        statistic: str = "Sum",
        **properties: object,
    ) -> Alarm:
        namespace, _, metric_name = metric.rpartition("/")
        return Alarm(
            title,
            AlarmName=suffixed(name),
            AlarmDescription=description,
            Namespace=namespace,
            MetricName=metric_name,
            Dimensions=[MetricDimension(Name=k, Value=v) for k, v in dimensions.items()],
            Statistic=statistic,
            Period=PERIOD_SECONDS,
            EvaluationPeriods=periods,
            Threshold=threshold,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            # No traffic is no trouble.
            TreatMissingData="notBreaching",
            AlarmActions=[topic.ref()],
            **properties,
        )

    return Alarms(
        (
            alarm(
                "DynamoDBThrottleAlarm",
                "dynamodb-throttle",
                "DynamoDB throttling detected",
                "AWS/DynamoDB/WriteThrottleEvents",
                table,
                MAX_THROTTLES,
                periods=2,
            ),
            alarm(
                "DynamoDBIndexThrottleAlarm",
                "dynamodb-index-throttle",
                "DynamoDB throttling of the in-flight index detected",
                "AWS/DynamoDB/WriteThrottleEvents",
                index,
                MAX_THROTTLES,
                periods=2,
            ),
            alarm(
                "APILatencyAlarm",
                "api-latency",
                "API Gateway latency is high",
                "AWS/ApiGateway/Latency",
                api,
                MAX_LATENCY_MILLISECONDS,
                periods=2,
                statistic="Average",
            ),
            alarm(
                "APIServerErrorAlarm",
                "api-5xx",
                "The API answers with 5XX",
                "AWS/ApiGateway/5XXError",
                api,
                MAX_ERRORS,
            ),
            alarm(
                "ValidationErrorAlarm",
                "validation-errors",
                "Validation function errors detected",
                "AWS/Lambda/Errors",
                validation,
                MAX_ERRORS,
                periods=2,
            ),
            alarm(
                "ProcessingErrorAlarm",
                "processing-errors",
                "Processing function errors detected",
                "AWS/Lambda/Errors",
                processing,
                MAX_ERRORS,
                periods=2,
            ),
            alarm(
                "RetryErrorAlarm",
                "retry-errors",
                "Retry function errors detected",
                "AWS/Lambda/Errors",
                retry,
                1,
            ),
            alarm(
                "HealthMonitorErrorAlarm",
                "health-monitor-errors",
                "Health monitor errors detected",
                "AWS/Lambda/Errors",
                health_monitor,
                1,
            ),
            *(
                alarm(
                    f"{prefix}ThrottleAlarm",
                    f"{name}-throttles",
                    f"{prefix} function is throttled",
                    "AWS/Lambda/Throttles",
                    dimensions,
                    1,
                )
                for prefix, name, dimensions in (
                    ("Validation", "validation", validation),
                    ("Processing", "processing", processing),
                    ("Retry", "retry", retry),
                    ("HealthMonitor", "health-monitor", health_monitor),
                )
            ),
            alarm(
                "DeadLetterAlarm",
                "dead-letters",
                "A failed transaction needs somebody to look after it",
                "AWS/SQS/ApproximateNumberOfMessagesVisible",
                dead_letters,
                1,
                statistic="Maximum",
            ),
            alarm(
                "FailedMessageAgeAlarm",
                "failed-message-age",
                "A failed transaction has waited for 15 minutes",
                "AWS/SQS/ApproximateAgeOfOldestMessage",
                failed,
                MAX_MESSAGE_AGE_SECONDS,
                statistic="Maximum",
            ),
            alarm(
                "PaymentFailureAlarm",
                "payment-failures",
                "Payments are answered with 500",
                f"{NAMESPACE}/Failures",
                own,
                MAX_ERRORS,
            ),
            alarm(
                "RetriesNotQueuedAlarm",
                "retries-not-queued",
                "A failed transaction could not be queued: only its client can repeat it",
                f"{NAMESPACE}/RetriesNotQueued",
                own,
                1,
            ),
            alarm(
                "StuckPaymentAlarm",
                "stuck-payments",
                "A payment is in processing and was recovered as often as it may be",
                f"{NAMESPACE}/PaymentsStuck",
                own,
                1,
                statistic="Maximum",
            ),
            alarm(
                "HealthDegradedAlarm",
                DEGRADED_ALARM_NAME,
                "The health monitor finds the system degraded",
                f"{NAMESPACE}/Degraded",
                own,
                1,
                statistic="Maximum",
                OKActions=[topic.ref()],
            ),
        )
    )
