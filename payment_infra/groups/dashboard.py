"""The dashboard: the services as a payment passes them, the alarms, and the payments."""

import json

from troposphere import Sub
from troposphere.cloudwatch import Dashboard

from payment_infra.groups.alarms import NAMESPACE, Alarms
from payment_infra.groups.functions import SERVICE_NAME, Functions
from payment_infra.groups.queues import Queues
from payment_infra.groups.storage import Storage
from payment_infra.naming import STAGE_NAME, suffixed

PERIOD_SECONDS = 300
# The dashboard's grid is 24 units wide (CloudWatch, "Dashboard body structure and syntax").
WIDGET_WIDTH = 12
WIDGET_HEIGHT = 6


def build_dashboard(
    functions: Functions, storage: Storage, queues: Queues, alarms: Alarms
) -> Dashboard:
    """Build the dashboard: the services on the left, alarms and payments on the right.

    Names reach its JSON as variables of one Fn::Sub.
    """
    visible = "ApproximateNumberOfMessagesVisible"
    graphs = {
        "API Gateway Latency": [
            _metric(
                "AWS/ApiGateway",
                "Latency",
                "Average",
                {"ApiName": "${ApiName}", "Stage": STAGE_NAME},
            ),
        ],
        "Lambda Function Errors": [
            _metric(
                "AWS/Lambda",
                "Errors",
                "Sum",
                {"FunctionName": "${ValidationName}"},
                "Validation Errors",
            ),
            _metric(
                "AWS/Lambda",
                "Errors",
                "Sum",
                {"FunctionName": "${ProcessingName}"},
                "Processing Errors",
            ),
        ],
        "DynamoDB Operations": [
            _metric(
                "AWS/DynamoDB", "ConsumedReadCapacityUnits", "Sum", {"TableName": "${TableName}"}
            ),
            _metric(
                "AWS/DynamoDB", "ConsumedWriteCapacityUnits", "Sum", {"TableName": "${TableName}"}
            ),
        ],
        "SQS Queue Metrics": [
            _metric(
                "AWS/SQS", visible, "Average", {"QueueName": "${QueueName}"}, "Messages in Queue"
            ),
            _metric(
                "AWS/SQS",
                visible,
                "Average",
                {"QueueName": "${DeadLetterQueueName}"},
                "Messages in DLQ",
            ),
        ],
    }
    own = {"service": "${ServiceName}"}
    business = {
        "Payments": [
            _metric(NAMESPACE, f"Payments{what}", "Sum", own, what)
            for what in ("Validated", "Processed", "Declined", "Retried")
        ],
        "Gateway Latency": [
            _metric(NAMESPACE, "GatewayLatency", statistic, own, statistic)
            for statistic in ("Average", "p95")
        ],
    }
    widgets = [
        *(_graph(0, row, *graph) for row, graph in enumerate(graphs.items())),
        _widget("alarm", WIDGET_WIDTH, 0, {"title": "Alarms", "alarms": _arns(alarms)}),
        *(_graph(WIDGET_WIDTH, row, *graph) for row, graph in enumerate(business.items(), start=1)),
    ]
    return Dashboard(
        "PaymentDashboard",
        DashboardName=suffixed("payment-dashboard"),
        DashboardBody=Sub(
            _body(widgets),
            ApiName=suffixed("payment-api"),
            ServiceName=SERVICE_NAME,
            ValidationName=functions.validation.function.ref(),
            ProcessingName=functions.processing.function.ref(),
            TableName=storage.name,
            QueueName=queues.failed.get_att("QueueName"),
            DeadLetterQueueName=queues.dead_letter.get_att("QueueName"),
        ),
    )


def _body(widgets: list[dict[str, object]]) -> str:
    """Return the dashboard's JSON with one widget a line, so that a difference can be read."""
    lines = ",\n".join(json.dumps(widget) for widget in widgets)
    return f'{{"widgets": [\n{lines}\n]}}'


def _graph(x: int, row: int, title: str, metrics: list[list[object]]) -> dict[str, object]:
    properties = {
        "title": title,
        "view": "timeSeries",
        "region": "${AWS::Region}",
        "period": PERIOD_SECONDS,
        "metrics": metrics,
    }
    return _widget("metric", x, row, properties)


def _widget(kind: str, x: int, row: int, properties: dict[str, object]) -> dict[str, object]:
    return {
        "type": kind,
        "x": x,
        "y": row * WIDGET_HEIGHT,
        "width": WIDGET_WIDTH,
        "height": WIDGET_HEIGHT,
        "properties": properties,
    }


def _arns(alarms: Alarms) -> list[str]:
    prefix = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:"
    return [prefix + alarm.AlarmName.data["Fn::Sub"] for alarm in alarms.alarms]


def _metric(
    namespace: str, name: str, statistic: str, dimensions: dict[str, str], label: str | None = None
) -> list[object]:
    """Return one metric in the dashboard's array form."""
    pairs = [text for dimension in dimensions.items() for text in dimension]
    options = {"stat": statistic} | ({"label": label} if label else {})
    return [namespace, name, *pairs, options]
