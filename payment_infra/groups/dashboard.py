"""The dashboard: the services as a payment passes them, the alarms, and the payments."""

import json
from itertools import pairwise

from troposphere import Sub
from troposphere.cloudwatch import Dashboard

from payment_infra.groups.alarms import NAMESPACE, Alarms
from payment_infra.groups.functions import Functions
from payment_infra.groups.queues import Queues
from payment_infra.groups.storage import Storage
from payment_infra.names import STAGE_NAME
from payment_infra.naming import filled, suffixed

PERIOD_SECONDS = 300
# The dashboard's grid is 24 units wide (CloudWatch, "Dashboard body structure and syntax").
WIDGET_WIDTH = 12
WIDGET_HEIGHT = 6
SIZE = {"width": WIDGET_WIDTH, "height": WIDGET_HEIGHT}
# What each graph says of itself.
SETTINGS = {"view": "timeSeries", "region": "${AWS::Region}", "period": PERIOD_SECONDS}


def build_dashboard(
    functions: Functions, storage: Storage, queues: Queues, alarms: Alarms
) -> Dashboard:
    """Build the dashboard: the services on the left, alarms and payments on the right.

    Names reach its JSON through one Fn::Sub. What it repeats does so as variables: what every
    graph says (G), the size of a widget (W), what an alarm's ARN begins with (A), and the suffix
    (S). The template has to fit into one request to CloudFormation.
    """
    visible = "ApproximateNumberOfMessagesVisible"
    graphs = {
        "API Gateway Latency": [
            _metric(
                "AWS/ApiGateway",
                "Latency",
                "Average",
                {"ApiName": "payment-api${S}", "Stage": STAGE_NAME},
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
    own = {"service": "payment${S}"}
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
        DashboardBody=filled(
            _body(widgets),
            G=Sub(_text(SETTINGS)[1:-1]),
            W=_text(SIZE)[1:-1],
            A=Sub("arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:"),
            S=suffixed(""),
            ValidationName=functions.validation.function.ref(),
            ProcessingName=functions.processing.function.ref(),
            TableName=storage.name,
            QueueName=queues.failed.get_att("QueueName"),
            DeadLetterQueueName=queues.dead_letter.get_att("QueueName"),
        ),
    )


def _body(widgets: list[dict[str, object]]) -> str:
    """Return the dashboard's JSON with one widget a line, so that a difference can be read."""
    lines = ",\n".join(_text(widget) for widget in widgets)
    # What no JSON can hold, a variable inside of an object, stands here as a member.
    body = f'{{"widgets":[\n{lines}\n]}}'
    return body.replace('"graph":"${G}"', "${G}").replace('"size":"${W}"', "${W}")


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _graph(x: int, row: int, title: str, metrics: list[list[object]]) -> dict[str, object]:
    short = [metrics[0], *(_shorthand(*pair) for pair in pairwise(metrics))]
    return _widget("metric", x, row, {"title": title, "graph": "${G}", "metrics": short})


def _shorthand(above: list[object], metric: list[object]) -> list[object]:
    """Return the metric with "." for what stands above it (CloudWatch, "Dashboard body structure
    and syntax")."""
    *names, options = metric
    pairs = zip(names, above[:-1], strict=True)
    return [*("." if name == other else name for name, other in pairs), options]


def _widget(kind: str, x: int, row: int, properties: dict[str, object]) -> dict[str, object]:
    return {
        "type": kind,
        "x": x,
        "y": row * WIDGET_HEIGHT,
        "size": "${W}",
        "properties": properties,
    }


def _arns(alarms: Alarms) -> list[str]:
    names = [alarm.AlarmName.data["Fn::Sub"] for alarm in alarms.alarms]
    ending = suffixed("").data["Fn::Sub"]
    return ["${A}" + name.removesuffix(ending) + "${S}" for name in names]


def _metric(
    namespace: str, name: str, statistic: str, dimensions: dict[str, str], label: str | None = None
) -> list[object]:
    """Return one metric in the dashboard's array form."""
    pairs = [text for dimension in dimensions.items() for text in dimension]
    options = {"stat": statistic} | ({"label": label} if label else {})
    return [namespace, name, *pairs, options]
