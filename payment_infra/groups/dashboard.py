"""The dashboard: the services as a payment passes them, the alarms, and the payments."""

import json
from itertools import pairwise, zip_longest

from troposphere import Sub
from troposphere.cloudwatch import Dashboard

from payment_infra.config import StackConfig
from payment_infra.gateway_names import SIMULATED_GATEWAY
from payment_infra.groups.alarm_rules import NAMESPACE
from payment_infra.groups.alarms import Alarms
from payment_infra.groups.functions import Functions
from payment_infra.groups.queues import Queues
from payment_infra.groups.storage import Storage
from payment_infra.names import IN_FLIGHT_INDEX, STAGE_NAME
from payment_infra.naming import filled, suffixed

PERIOD_SECONDS = 300
# The dashboard's grid is 24 units wide (CloudWatch, "Dashboard body structure and syntax").
WIDGET_WIDTH = 12
WIDGET_HEIGHT = 6
SIZE = {"width": WIDGET_WIDTH, "height": WIDGET_HEIGHT}
# What the ARN of an alarm begins with.
ALARM = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:"
# What each graph says of itself; a metric without a statistic of its own is summed.
SETTINGS = {
    "view": "timeSeries",
    "region": "${AWS::Region}",
    "period": PERIOD_SECONDS,
    "stat": "Sum",
}


def build_dashboard(
    config: StackConfig, functions: Functions, storage: Storage, queues: Queues, alarms: Alarms
) -> Dashboard:
    """Build the dashboard: the services on the left, alarms and payments on the right.

    Names reach its JSON through one Fn::Sub. What it repeats does so as variables: how every graph
    begins (G), what an alarm's ARN begins with (A), the suffix (S), what is between two alarms (N),
    and the table (T). The template has to fit into one request to CloudFormation.

    A metric has data only under dimensions that its service publishes it with. An index of DynamoDB
    has its own, beside its table's, whose numbers leave it out ("DynamoDB Metrics and dimensions").
    """
    table = {"TableName": "${T}"}
    index = table | {"GlobalSecondaryIndexName": IN_FLIGHT_INDEX}
    watched = {
        "Validation": functions.validation,
        "Processing": functions.processing,
        "Lookup": functions.lookup,
        "Cancellation": functions.cancellation,
        "Retry": functions.retry,
        "Health Monitor": functions.health_monitor,
    }
    if functions.gateway_events:
        watched["Gateway Events"] = functions.gateway_events
    waiting = {"Messages in Queue": queues.failed, "Messages in DLQ": queues.dead_letter}
    if queues.failed_runs:
        waiting["Failed Runs"] = queues.failed_runs
    names = {part.function.title: part.function.ref() for part in watched.values()}
    names |= {queue.title: queue.get_att("QueueName") for queue in waiting.values()}
    visible = "ApproximateNumberOfMessagesVisible"
    api = {"ApiName": "payment-api${S}", "Stage": STAGE_NAME}
    graphs = {
        "API Gateway Latency": [_metric("AWS/ApiGateway", "Latency", "Average", api)],
        "Lambda Function Errors": [
            _metric(
                "AWS/Lambda",
                "Errors",
                "Sum",
                {"FunctionName": f"${{{part.function.title}}}"},
                f"{what} Errors",
            )
            for what, part in watched.items()
        ],
        # What reads the table are look-ups and the sweep, and the index the recovery.
        "DynamoDB Operations": [
            _metric("AWS/DynamoDB", "ConsumedReadCapacityUnits", "Sum", table),
            _metric("AWS/DynamoDB", "ConsumedWriteCapacityUnits", "Sum", table),
            _metric("AWS/DynamoDB", "ConsumedWriteCapacityUnits", "Sum", index, "Index Writes"),
            _metric("AWS/DynamoDB", "ConsumedReadCapacityUnits", "Sum", index, "Index Reads"),
        ],
        "SQS Queue Metrics": [
            _metric("AWS/SQS", visible, "Average", {"QueueName": f"${{{queue.title}}}"}, what)
            for what, queue in waiting.items()
        ],
    }
    own = {"service": "payment${S}"}
    pending = () if config.gateway == SIMULATED_GATEWAY else ("Pending", "Unanswered")
    business = {
        "Payments": [
            _metric(NAMESPACE, f"Payments{what}", "Sum", own, what)
            for what in ("Validated", "Processed", "Declined", "Canceled", "Retried", *pending)
        ],
        "Gateway Latency": [
            _metric(NAMESPACE, "GatewayLatency", statistic, own, statistic)
            for statistic in ("Average", "p95")
        ],
    }
    widgets = [
        *(_graph(0, row, *graph) for row, graph in enumerate(graphs.items())),
        _text(
            {"type": "alarm", "x": WIDGET_WIDTH, "y": 0}
            | SIZE
            | {"properties": {"title": "Alarms", "alarms": _arns(alarms)}}
        ).replace('${S}","${A}', "${N}"),
        *(_graph(WIDGET_WIDTH, row, *graph) for row, graph in enumerate(business.items(), start=1)),
    ]
    # One widget a line, so that a difference can be read.
    lines = ",\n".join(widgets)
    return Dashboard(
        "PaymentDashboard",
        DashboardName=suffixed("payment-dashboard"),
        DashboardBody=filled(
            f'{{"widgets":[\n{lines}\n]}}',
            G=Sub(_text({"type": "metric"} | SIZE | {"properties": SETTINGS})[1:-2]),
            A=Sub(ALARM),
            S=suffixed(""),
            N=Sub(f'{suffixed("").data["Fn::Sub"]}","{ALARM}'),
            T=storage.name,
            **names,
        ),
    )


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _graph(x: int, row: int, title: str, metrics: list[list[object]]) -> str:
    """Return a graph's JSON. Its `${G}` opens the properties, which no object can say."""
    short = [metrics[0], *(_shorthand(*pair) for pair in pairwise(metrics))]
    properties = _text(
        {"title": title, "metrics": [[part for part in metric if part] for metric in short]}
    )[1:]
    return f'{{"x":{x},"y":{row * WIDGET_HEIGHT},${{G}},{properties}}}'


def _shorthand(above: list[object], metric: list[object]) -> list[object]:
    """Return the metric with "." for what stands above it (CloudWatch, "Dashboard body structure
    and syntax")."""
    *names, options = metric
    pairs = zip_longest(names, above[: len(names)])
    return [*("." if name == other else name for name, other in pairs), options]


def _arns(alarms: Alarms) -> list[str]:
    names = [alarm.AlarmName.data["Fn::Sub"] for alarm in alarms.alarms]
    ending = suffixed("").data["Fn::Sub"]
    return ["${A}" + name.removesuffix(ending) + "${S}" for name in names]


def _metric(
    namespace: str, name: str, statistic: str, dimensions: dict[str, str], label: str | None = None
) -> list[object]:
    """Return one metric in the dashboard's array form, with its options, if only {}, at the end."""
    pairs = [text for dimension in dimensions.items() for text in dimension]
    options = {"stat": statistic} if statistic != SETTINGS["stat"] else {}
    options |= {"label": label} if label else {}
    return [namespace, name, *pairs, options]
