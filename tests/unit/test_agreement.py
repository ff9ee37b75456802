"""What handlers and template must agree on, since neither may import the other.

A name or a number that changes on one side only fails here.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from handlers import retry
from handlers.shared import by_hand as handlers_by_hand
from handlers.shared import (
    charging,
    deadline,
    flaws,
    known,
    listing,
    orders,
    recovery,
    retry_messages,
    states,
    transactions,
)
from handlers.shared.aws import clients, intake, latest_report, metrics, table
from handlers.shared.money import Money
from payment_infra import names
from payment_infra.artifacts import HANDLERS, check_handlers
from payment_infra.cli.payment import STATUSES
from payment_infra.cloud.environment.intake import EVERY_METHOD, METHODS
from payment_infra.cloud.operating import by_hand, payment_list
from payment_infra.cloud.operating.queue_export import HIDDEN_SECONDS
from payment_infra.cloud.restoring import rows
from payment_infra.cloud.sdk import configuration
from payment_infra.config import PRESETS, StackConfig
from tests.items import IN_FLIGHT
from tests.unit.template import Evaluated, Json, load, of_type, spelled_out

NOW = datetime(2026, 11, 24, tzinfo=UTC)
REPOSITORY = Path(__file__).parents[2]
TEMPLATES = {preset: load(**PRESETS[preset]) for preset in PRESETS}
# Where a payment can be pending, which the simulated gateway leaves none.
TEMPLATES["real"] = load(gateway="handlers.shared.acme:Acme")
EVERY_PRESET = pytest.mark.parametrize("preset", PRESETS)
# What the handlers take from the environment if it is there, for tests that cannot wait.
OPTIONAL_VARIABLES = {"LEASE_SECONDS", "RECOVER_AFTER_SECONDS"}
# What Lambda gives each function.
OF_LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_EXECUTION_ENV"}
# What a function has only where the configuration says otherwise than by default.
CHOSEN_VARIABLES = {"GATEWAY", "GATEWAY_SECRET_ARN", "PAYMENT_ACCESS", "HEALTH_ACCESS"}

# Namespace, name, dimensions.
Metric = tuple[str, str, frozenset[tuple[str, str]]]


@cache
def deployed(preset: str = "development") -> Evaluated:
    return Evaluated(TEMPLATES[preset])


def resources(kind: str, preset: str = "development") -> dict[str, Json]:
    return {name: deployed(preset).resources[name] for name in of_type(TEMPLATES[preset], kind)}


# Metrics.


def metric_names() -> set[str]:
    """Return what the handlers call their metrics."""
    return {
        value
        for name, value in vars(metrics).items()
        if name.isupper() and isinstance(value, str) and name != "NAMESPACE"
    }


EMIT = """
import sys
from handlers.shared.aws import metrics
for name in sys.argv[1:]:
    metrics.count(name)
metrics.flush()
"""


@cache
def emitted() -> set[Metric]:
    """Return the metrics as CloudWatch gets them from a function of the stack."""
    [service] = {
        one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        for one in resources("AWS::Lambda::Function").values()
    }
    done = subprocess.run(
        [sys.executable, "-c", EMIT, *sorted(metric_names())],
        env={"PYTHONPATH": str(REPOSITORY), "POWERTOOLS_SERVICE_NAME": service},
        capture_output=True,
        text=True,
        check=True,
    )
    line = json.loads(done.stdout)
    return {
        (directive["Namespace"], metric["Name"], frozenset((key, line[key]) for key in keys))
        for directive in line["_aws"]["CloudWatchMetrics"]
        for keys in directive["Dimensions"]
        for metric in directive["Metrics"]
    }


def alarmed() -> set[Metric]:
    return {
        (
            one["Namespace"],
            one["MetricName"],
            frozenset((each["Name"], each["Value"]) for each in one["Dimensions"]),
        )
        for one in resources("AWS::CloudWatch::Alarm", "real").values()
    }


def shown() -> set[Metric]:
    body = json.loads(deployed("real").resources["PaymentDashboard"]["DashboardBody"])
    return {
        (namespace, name, frozenset(zip(pairs[::2], pairs[1::2], strict=True)))
        for widget in body["widgets"]
        for namespace, name, *pairs, _ in spelled_out(widget["properties"])
    }


def own(found: set[Metric]) -> set[Metric]:
    """Return those that are not a service's of AWS."""
    return {metric for metric in found if not metric[0].startswith("AWS/")}


def test_every_metric_of_the_handlers_is_one_that_an_alarm_or_the_dashboard_uses() -> None:
    assert emitted() == own(alarmed() | shown())


def test_the_metrics_have_the_namespace_and_the_stacks_service_as_their_only_dimension() -> None:
    service = frozenset({("service", "payment-dev")})
    assert emitted() == {(metrics.NAMESPACE, name, service) for name in metric_names()}


def test_what_needs_somebody_is_an_alarm_and_what_is_business_is_on_the_dashboard() -> None:
    needs_somebody = {
        *(metrics.FAILURES, metrics.RETRIES_NOT_QUEUED, metrics.STUCK, metrics.DEGRADED),
        *(metrics.MISMATCHED, metrics.UNREADABLE, metrics.CONTRADICTED, metrics.OVERDUE),
        *(metrics.SCHEDULED_RUNS, metrics.PAYMENTS_STOPPED),
        *(metrics.WRITE_THROTTLES, metrics.INDEX_WRITE_THROTTLES),
    }
    assert {name for _, name, _ in own(alarmed())} == needs_somebody
    assert {name for _, name, _ in own(shown())} == metric_names() - needs_somebody


# Names.


@EVERY_PRESET
def test_the_index_that_is_queried_is_the_tables(preset: str) -> None:
    [index] = deployed(preset).resources["TransactionsTable"]["GlobalSecondaryIndexes"]
    assert index["IndexName"] == table.IN_FLIGHT_INDEX == names.IN_FLIGHT_INDEX
    # What a recovery reads besides its key: the table's own, which every index holds.
    assert index == IN_FLIGHT  # as the tests' DynamoDB has it, too


def test_payments_in_flight_are_counted_under_every_key_of_the_index() -> None:
    keys = {*states.IN_FLIGHT_KEYS, *states.PENDING_KEYS, states.OVERDUE}
    assert keys | {*states.ASIDE_KEYS} == set(names.IN_FLIGHT_KEYS)
    assert len(set(names.IN_FLIGHT_KEYS)) == len(names.IN_FLIGHT_KEYS)


def test_the_health_monitor_may_query_that_index_alone() -> None:
    document = deployed().resources["HealthMonitorPolicy"]["PolicyDocument"]
    [granted] = [
        one["Resource"] for one in document["Statement"] if one["Action"] == ["dynamodb:Query"]
    ]
    assert granted == [f"<TransactionsTable.Arn>/index/{table.IN_FLIGHT_INDEX}"]


@EVERY_PRESET
def test_the_health_monitor_looks_at_the_alarm_on_its_own_metric(preset: str) -> None:
    [alarm] = [
        one
        for one in resources("AWS::CloudWatch::Alarm", preset).values()
        if one.get("MetricName") == metrics.DEGRADED
    ]
    monitor = deployed(preset).resources["HealthMonitorFunction"]
    name = monitor["Environment"]["Variables"]["DEGRADED_ALARM_NAME"]
    assert name == alarm["AlarmName"]


@EVERY_PRESET
def test_the_health_monitor_reads_the_stream_of_its_own_log_that_it_writes(preset: str) -> None:
    monitor = deployed(preset).resources["HealthMonitorFunction"]
    name = deployed(preset).resources["HealthMonitorLogGroup"]["LogGroupName"]
    assert monitor["Environment"]["Variables"]["LOG_GROUP"] == name
    document = deployed(preset).resources["HealthMonitorPolicy"]["PolicyDocument"]
    [resources] = [
        one["Resource"] for one in document["Statement"] if one["Action"] == ["logs:GetLogEvents"]
    ]
    [arn] = resources
    assert arn.endswith(f":log-group:{name}:log-stream:{latest_report.STREAM}")


@EVERY_PRESET
def test_a_report_is_given_out_until_the_next_run_has_made_one_and_not_much_longer(
    preset: str,
) -> None:
    schedule = deployed(preset).resources["HealthMonitorSchedule"]["ScheduleExpression"]
    assert schedule == "rate(5 minutes)"
    assert 5 * 60 < latest_report.MAX_AGE_SECONDS < 2 * 5 * 60


def test_payments_are_stopped_at_the_methods_that_a_restore_stops() -> None:
    stopped = {f"{method}/POST" for method in METHODS}
    assert set(intake.PAYMENT_SETTINGS) == {EVERY_METHOD, *stopped}


def variables_read() -> tuple[set[str], set[str]]:
    """Return the environment variables that the handlers need, and those that they may have."""
    needed: set[Any] = set()
    optional: set[Any] = set()
    for path in HANDLERS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Subscript(
                    value=ast.Attribute(attr="environ"), slice=ast.Constant(value=name)
                ):
                    needed.add(name)
                case ast.Call(
                    func=ast.Attribute(value=ast.Attribute(attr="environ"), attr="get"),
                    args=[ast.Constant(value=name), *_],
                ):
                    optional.add(name)
                case ast.Attribute(attr="getenv"):
                    raise AssertionError(f"{path} reads the environment in another way")
    return needed, optional


def test_the_functions_have_the_variables_that_the_handlers_read_and_no_other() -> None:
    needed, optional = variables_read()
    given: set[str] = set()
    for one in resources("AWS::Lambda::Function").values():
        given |= set(one["Environment"]["Variables"])
    assert given == needed | {"POWERTOOLS_SERVICE_NAME"}
    assert optional == OPTIONAL_VARIABLES | CHOSEN_VARIABLES | OF_LAMBDA


def test_the_default_gateway_is_the_one_that_the_handlers_take_without_a_variable() -> None:
    assert StackConfig().gateway == clients.SIMULATED
    check_handlers(StackConfig(gateway=clients.SIMULATED))


# Times.


def timeouts(preset: str) -> dict[str, Any]:
    functions = resources("AWS::Lambda::Function", preset)
    return {name: one["Timeout"] for name, one in functions.items()}


@EVERY_PRESET
def test_a_lease_outlasts_every_function(preset: str) -> None:
    for timeout in timeouts(preset).values():
        assert timeout < transactions.LEASE_SECONDS


@EVERY_PRESET
def test_a_payment_is_recovered_only_when_the_queue_is_done_with_it(preset: str) -> None:
    queue = deployed(preset).resources["FailedTransactionsQueue"]
    receives = queue["RedrivePolicy"]["maxReceiveCount"]
    retries = receives * queue["VisibilityTimeout"]
    assert retries + retry_messages.DELAY_SECONDS == charging.QUEUE_RETRY_SECONDS
    assert charging.QUEUE_RETRY_SECONDS < recovery.RECOVER_AFTER_SECONDS


@EVERY_PRESET
def test_a_message_that_is_begun_can_be_ended_before_the_retry_function_is_stopped(
    preset: str,
) -> None:
    [source] = resources("AWS::Lambda::EventSourceMapping", preset).values()
    batch = source["BatchSize"] * deadline.MESSAGE_SECONDS
    assert timeouts(preset)["RetryFunction"] > batch  # so none is handed back untried
    queue = deployed(preset).resources["FailedTransactionsQueue"]
    assert queue["VisibilityTimeout"] >= 6 * timeouts(preset)["RetryFunction"]


@EVERY_PRESET
def test_a_lease_that_was_not_let_go_has_expired_when_its_message_comes_again(preset: str) -> None:
    queue = deployed(preset).resources["FailedTransactionsQueue"]
    assert queue["VisibilityTimeout"] > transactions.LEASE_SECONDS


# What a restore knows of a row.


def test_a_restore_knows_the_rows_that_the_handlers_write() -> None:
    kinds = {"S": str, "N": int}
    assert {name: kinds[kind] for name, kind in rows.ATTRIBUTES.items()} == {
        name: transactions.TYPES[name] for name in transactions.REQUIRED
    }
    assert {rows.REWOUND, "queued_until"} <= transactions.TYPES.keys()
    assert rows.OPEN == (states.VALIDATED, states.PROCESSING, states.PENDING)
    assert rows.SETTLED == states.SETTLED


def test_an_export_of_the_queues_waits_until_what_a_function_took_comes_back() -> None:
    queues = resources("AWS::SQS::Queue").values()
    timeouts = [one.get("VisibilityTimeout", 30) for one in queues]
    assert max(timeouts) == HIDDEN_SECONDS


@EVERY_PRESET
def test_what_lets_payments_in_again_is_what_the_template_says(preset: str) -> None:
    [stage] = resources("AWS::ApiGateway::Stage", preset).values()
    limits = {
        one["ResourcePath"]: (one["ThrottlingRateLimit"], one["ThrottlingBurstLimit"])
        for one in stage["MethodSettings"]
    }
    for method in METHODS:
        assert limits.get(f"/~1{method}", limits["/*"]) == limits["/*"]
    [source] = resources("AWS::Lambda::EventSourceMapping", preset).values()
    assert source.get("Enabled", True)


@pytest.mark.parametrize(("minor", "currency"), [(1, "EUR"), (1050, "EUR"), (5, "JPY"), (7, "BHD")])
def test_a_restore_takes_for_validated_what_the_handlers_charge(minor: int, currency: str) -> None:
    made = transactions.Transaction.validated("t-1", Money(minor, currency), "c-1", NOW)
    row = {
        name: {"N": str(value)} if isinstance(value, int) else {"S": str(value)}
        for name, value in made.to_record().items()
    }
    assert rows.is_as_validated(row)
    for name in ("amount", "currency", "customer_id", "fingerprint"):
        assert not rows.is_as_validated({**row, name: {"S": f"{row[name]['S']}0"}})
    assert not rows.is_as_validated({**row, "amount_minor": {"N": str(minor * 10)}})


# Orders about one payment.


def test_the_command_line_gives_orders_that_the_function_takes_and_waits_for_their_answer() -> None:
    assert by_hand.ORDER == retry.ORDER
    # What the function's start may take before.
    assert deadline.ORDER_SECONDS + 4 <= configuration.READ_SECONDS


def test_every_refusal_of_an_order_is_told_in_words() -> None:
    sources = (inspect.getsource(module) for module in (handlers_by_hand, known, listing, orders))
    codes = {
        call.args[0].value
        for source in sources
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "NotDone"
        and isinstance(call.args[0], ast.Constant)
    }
    reasons = {flaw.reason for flaw in flaws.Flawed.__subclasses__()}
    # A row that was changed is told beside what the gateway says.
    assert by_hand.REFUSALS.keys() == (codes | reasons) - {"row_mismatched"}


def test_the_settled_and_other_statuses_are_the_handlers() -> None:
    assert set(STATUSES) == {
        value
        for name, value in vars(states).items()
        if name in {"VALIDATED", "PROCESSING", "PENDING", "PROCESSED", "DECLINED", "CANCELED"}
    }
    in_index = [*states.IN_FLIGHT_KEYS, *states.PENDING_KEYS, states.OVERDUE]
    assert [key for keys in payment_list.KEYS.values() for key in keys] == in_index
    assert payment_list.ASIDE == states.ASIDE_KEYS


def test_that_payments_are_stopped_is_told_to_what_takes_notifications() -> None:
    assert intake.STOPPED_VARIABLE == names.STOPPED_VARIABLE
    assert f"{names.GATEWAY_EVENTS_PATH}/POST" == intake.NOTIFICATION_SETTING
    # API Gateway, "Use stage variables for a REST API": letters, digits and underscores.
    assert re.fullmatch(r"\w+", names.STOPPED_VARIABLE, re.ASCII)
