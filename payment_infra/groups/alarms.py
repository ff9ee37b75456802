"""The alarms, all of which notify the topic."""

from dataclasses import dataclass

from troposphere.cloudwatch import Alarm, MetricDimension
from troposphere.sns import Topic

from payment_infra.groups.functions import Functions
from payment_infra.groups.storage import IN_FLIGHT_INDEX, Storage
from payment_infra.naming import STAGE_NAME, suffixed

PERIOD_SECONDS = 300
EVALUATION_PERIODS = 2
MAX_LATENCY_MILLISECONDS = 1000
MAX_ERRORS = 10
MAX_THROTTLES = 10


@dataclass(frozen=True)
class Alarms:
    """Every alarm of the stack."""

    table_throttle: Alarm
    index_throttle: Alarm
    api_latency: Alarm
    validation_errors: Alarm
    processing_errors: Alarm


def build_alarms(topic: Topic, storage: Storage, functions: Functions) -> Alarms:
    """Build the alarms; each fires when its threshold is reached in two periods in a row."""
    table = MetricDimension(Name="TableName", Value=storage.name)
    index = MetricDimension(Name="GlobalSecondaryIndexName", Value=IN_FLIGHT_INDEX)
    return Alarms(
        table_throttle=_build_alarm(
            "DynamoDBThrottleAlarm",
            topic,
            AlarmName=suffixed("dynamodb-throttle"),
            AlarmDescription="DynamoDB throttling detected",
            Namespace="AWS/DynamoDB",
            MetricName="WriteThrottleEvents",
            Dimensions=[table],
            Statistic="Sum",
            Threshold=MAX_THROTTLES,
        ),
        index_throttle=_build_alarm(
            "DynamoDBIndexThrottleAlarm",
            topic,
            AlarmName=suffixed("dynamodb-index-throttle"),
            AlarmDescription="DynamoDB throttling of the in-flight index detected",
            Namespace="AWS/DynamoDB",
            MetricName="WriteThrottleEvents",
            Dimensions=[table, index],
            Statistic="Sum",
            Threshold=MAX_THROTTLES,
        ),
        api_latency=_build_alarm(
            "APILatencyAlarm",
            topic,
            AlarmName=suffixed("api-latency"),
            AlarmDescription="API Gateway latency is high",
            Namespace="AWS/ApiGateway",
            MetricName="Latency",
            Dimensions=[
                MetricDimension(Name="ApiName", Value=suffixed("payment-api")),
                MetricDimension(Name="Stage", Value=STAGE_NAME),
            ],
            Statistic="Average",
            Threshold=MAX_LATENCY_MILLISECONDS,
        ),
        validation_errors=_build_alarm(
            "ValidationErrorAlarm",
            topic,
            AlarmName=suffixed("validation-errors"),
            AlarmDescription="Validation function errors detected",
            Namespace="AWS/Lambda",
            MetricName="Errors",
            Dimensions=[
                MetricDimension(Name="FunctionName", Value=functions.validation.function.ref())
            ],
            Statistic="Sum",
            Threshold=MAX_ERRORS,
        ),
        processing_errors=_build_alarm(
            "ProcessingErrorAlarm",
            topic,
            AlarmName=suffixed("processing-errors"),
            AlarmDescription="Processing function errors detected",
            Namespace="AWS/Lambda",
            MetricName="Errors",
            Dimensions=[
                MetricDimension(Name="FunctionName", Value=functions.processing.function.ref())
            ],
            Statistic="Sum",
            Threshold=MAX_ERRORS,
        ),
    )


def _build_alarm(title: str, topic: Topic, **properties: object) -> Alarm:
    return Alarm(
        title,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        Period=PERIOD_SECONDS,
        EvaluationPeriods=EVALUATION_PERIODS,
        # No traffic is no trouble.
        TreatMissingData="notBreaching",
        AlarmActions=[topic.ref()],
        **properties,
    )
