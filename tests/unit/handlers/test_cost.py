"""What a payment and a scheduled run use, by which docs/cost.md reckons."""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest

from handlers import health_monitor
from payment_infra.groups.stage import ACCESS_LOG_FIELDS
from tests import costs
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    LambdaContext,
    load_event,
    process,
    validated,
)

if TYPE_CHECKING:
    from tests.expressions import Item

TRACE = "1-6740f2a4-0123456789abcdef01234567"
# What API Gateway puts for a variable of the access log, where it is longer than a number.
LOGGED = {
    "$context.requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
    "$context.requestTime": "22/Nov/2026:21:27:00 +0000",
    "$context.httpMethod": "POST",
    "$context.resourcePath": "/validate",
    "$context.error.responseType": "-",
    "$context.identity.userArn": "arn:aws:sts::123456789012:assumed-role/checkout/checkout",
    "$context.identity.sourceIp": "203.0.113.107",
    "$context.xrayTraceId": TRACE,
}
FUNCTIONS = (
    *("payment-validation", "payment-processing", "payment-lookup"),
    "payment-cancellation",
    *("payment-retry", "health-monitor"),
)


@pytest.fixture(autouse=True)
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampled request of a whole stack."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root={TRACE};Parent=0123456789abcdef;Sampled=1")
    monkeypatch.setenv("FUNCTION_NAMES", ",".join(f"{name}-dev" for name in FUNCTIONS))


def ingested(text: str) -> int:
    """Return the bytes that CloudWatch Logs counts of these lines."""
    return sum(len(line.encode()) + costs.EVENT_BYTES for line in text.splitlines())


def stored(item: Item) -> int:
    """Return an item's bytes (DynamoDB, "DynamoDB item sizes and formats")."""
    return sum(len(name) + _size(value) for name, value in item.items())


def _size(value: dict[str, Any]) -> int:
    [(kind, content)] = value.items()
    return len(content.encode()) if kind == "S" else math.ceil(len(content) / 2) + 1


def close(measured: float, told: float) -> bool:
    """Whether what is told is what was measured, or up to a tenth more."""
    return measured <= told <= 1.1 * measured


def test_the_bytes_that_the_handlers_log_of_a_payment_are_those_of_the_cost(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    assert process(validated()).status == 200
    assert close(ingested(capsys.readouterr().out), costs.MEASURED.handler_log_bytes)


def test_the_bytes_of_the_access_log_are_those_of_the_cost() -> None:
    text = json.dumps(ACCESS_LOG_FIELDS, separators=(",", ":"))
    line = re.sub(r"\$context\.[\w.]+", lambda found: LOGGED.get(found[0], "200"), text)
    assert close(2 * ingested(line), costs.MEASURED.access_log_bytes)


def test_a_payment_writes_reads_and_stores_what_the_cost_says(aws: Aws) -> None:
    table = aws.dynamodb
    states: list[dict[str, Item]] = []
    table.before_put = table.before_update = lambda: states.append(copy.deepcopy(table.items))
    transaction_id = validated()
    assert process(transaction_id).status == 200
    states.append(table.items)
    assert {name for name, _ in table.calls} == {"PutItem", "UpdateItem"}
    units = 0
    for before, after in itertools.pairwise(states):
        old, new = (rows.get(transaction_id, {}) for rows in (before, after))
        units += math.ceil(max(stored(old), stored(new)) / 1024)
        # DynamoDB, "Using Global Secondary Indexes": one unit for an entry that comes or goes.
        keys = [[row.get(name) for name in ("in_flight", "lease_expires_at")] for row in (old, new)]
        if keys[0] != keys[1]:
            units += sum(all(entry) for entry in keys)
    assert units == costs.MEASURED.write_units
    # A hundred bytes are added to each item for its storage.
    assert close(stored(table.items[transaction_id]) + 100, costs.MEASURED.row_bytes)
    assert costs.MEASURED.read_units == 0
    assert not aws.sqs.calls


def test_a_scheduled_run_asks_writes_and_logs_what_the_cost_says(
    aws: Aws, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    # Within a minute in which it does not look at the whole table, as nearly all.
    health_monitor.handler(load_event("scheduled"), LambdaContext())
    asked = [params["MetricDataQueries"] for params in aws.cloudwatch.called("GetMetricData")]
    assert [len(queries) for queries in asked] == [costs.RUN_METRICS]
    assert len(aws.dynamodb.called("Query")) == costs.RUN_QUERIES
    logged = capsys.readouterr().out
    counted = {
        metric["Name"]
        for line in map(json.loads, logged.splitlines())
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", [])
        for metric in directive["Metrics"]
    }
    assert len(counted) == costs.RUN_OWN_METRICS
    report = "".join(
        event["message"]
        for params in aws.cloudwatch_logs.called("PutLogEvents")
        for event in params["logEvents"]
    )
    assert close(ingested(logged) + ingested(report), costs.RUN_LOG_BYTES)
