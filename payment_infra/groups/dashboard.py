"""The dashboard: one graph below the other, in the order in which a payment passes."""

import json

from troposphere import Sub
from troposphere.cloudwatch import Dashboard

from payment_infra.groups.functions import Functions
from payment_infra.groups.queues import Queues
from payment_infra.groups.storage import Storage
from payment_infra.naming import STAGE_NAME, suffixed

PERIOD_SECONDS = 300
# The dashboard's grid is 24 units wide (CloudWatch, "Dashboard body structure and syntax").
WIDGET_WIDTH = 12
WIDGET_HEIGHT = 6


def build_dashboard(functions: Functions, storage: Storage, queues: Queues) -> Dashboard:
    """Build the dashboard; names reach its JSON as variables of one Fn::Sub."""
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
    widgets = [
        {
            "type": "metric",
            "x": 0,
            "y": row * WIDGET_HEIGHT,
            "width": WIDGET_WIDTH,
            "height": WIDGET_HEIGHT,
            "properties": {
                "title": title,
                "view": "timeSeries",
                "region": "${AWS::Region}",
                "period": PERIOD_SECONDS,
                "metrics": metrics,
            },
        }
        for row, (title, metrics) in enumerate(graphs.items())
    ]
    return Dashboard(
        "PaymentDashboard",
        DashboardName=suffixed("payment-dashboard"),
        DashboardBody=Sub(
            _body(widgets),
            ApiName=suffixed("payment-api"),
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


def _metric(
    namespace: str, name: str, statistic: str, dimensions: dict[str, str], label: str | None = None
) -> list[object]:
    """Return one metric in the dashboard's array form."""
    pairs = [text for dimension in dimensions.items() for text in dimension]
    options = {"stat": statistic} | ({"label": label} if label else {})
    return [namespace, name, *pairs, options]
