"""Looking at an environment: its one screen, the list of all, and what the API says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from payment_infra.local.emulator import Emulator, emulator
from tests.e2e.harness import (
    PAYMENT,
    PROGRAMS,
    Deployed,
    Program,
    aws_variables,
    clean_environment,
    until,
)
from tests.e2e.terminal import CTRL_C, at_terminal

if TYPE_CHECKING:
    from tests.e2e.conftest import Deploy

SUFFIX = ("--suffix", "status-1")
SCHEDULED = {"source": "aws.events", "detail-type": "Scheduled Event"}


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    """One of its own: it raises an alarm by one stack's metric for every other stack, too."""
    with emulator() as running:
        yield running


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy) -> Deployed:
    return deploy(aws, "status-1", authorization="none")


def items(program: Program) -> int:
    """Return how many payments the status counts."""
    found = json.loads(program("status", *SUFFIX, "--output", "json").stdout)
    return int(found["table"]["items"])


def test_a_status_shows_the_stack_and_fails_once_an_alarm_is_raised(
    aws: Emulator, deployed: Deployed, tmp_path: Path
) -> None:
    program = Program(aws.url, tmp_path)
    before = items(program)
    assert deployed.api().call("POST", "validate", PAYMENT).status == 200
    calm = program("status", *SUFFIX, "--output", "json")
    status = json.loads(calm.stdout)
    assert calm.returncode == 0, calm.stderr
    assert status["payments"] == "let in"
    assert status["gateway"] == "simulated"
    assert status["table"]["items"] == before + 1
    assert {one["name"] for one in status["functions"]} == {
        *("payment-validation-status-1", "payment-processing-status-1"),
        *("payment-retry-status-1", "health-monitor-status-1", "payment-lookup-status-1"),
        "payment-cancellation-status-1",
    }
    assert status["unknown"] == {}

    failing = {"Name": "FunctionName", "Value": "payment-processing-status-1"}
    deployed.session.client("cloudwatch").put_metric_data(
        Namespace="AWS/Lambda",
        MetricData=[{"MetricName": "Errors", "Dimensions": [failing], "Value": 50}],
    )
    raised = until(lambda: found if (found := program("status", *SUFFIX)).returncode else None)
    assert "processing-errors-status-1" in raised.stderr
    assert raised.stderr.startswith("Error: in alarm: ")
    assert "ALARM processing-errors-status-1" in raised.stdout
    assert max(map(len, raised.stdout.splitlines())) <= 80
    [processing] = [
        line for line in raised.stdout.splitlines() if line.startswith("payment-processing")
    ]
    assert processing.split()[2] == "50"

    listed = json.loads(program("list", "--output", "json").stdout)
    assert ("payment-infra-status-1", "status-1", "CREATE_COMPLETE") in {
        (one["stack"], one["suffix"], one["status"]) for one in listed
    }
    # The emulator answers with the errors of any function for each of them. A container that was
    # asked before gives its answer for a while, which is that of the last scheduled run.
    deployed.invoke("HealthMonitor", SCHEDULED)
    degraded = until(lambda: found if (found := program("health", *SUFFIX)).returncode else None)
    assert degraded.returncode == 1
    assert degraded.stderr.startswith("Error: degraded: ")


def test_a_status_names_what_somebody_has_switched_off(
    aws: Emulator, deployed: Deployed, tmp_path: Path
) -> None:
    program, session = Program(aws.url, tmp_path), deployed.session
    functions, events = session.client("lambda"), session.client("events")
    retry = {"FunctionName": "payment-retry-status-1"}
    schedule = {"Name": "health-monitor-schedule-status-1"}
    functions.put_function_concurrency(**retry, ReservedConcurrentExecutions=0)
    events.disable_rule(**schedule)
    done = program("status", *SUFFIX, "--output", "json")
    functions.delete_function_concurrency(**retry)
    events.enable_rule(**schedule)
    found = json.loads(done.stdout)["findings"]
    assert (done.returncode, [one["name"] for one in found]) == (1, ["functions", "schedule"])
    assert "payment-retry-status-1 does not run: its reserved concurrency is 0" in done.stderr
    assert json.loads(program("status", *SUFFIX, "--output", "json").stdout)["findings"] == []


def test_the_scheduled_run_finds_payments_stopped_as_a_restore_stops_them(
    deployed: Deployed,
) -> None:
    def put() -> list[object]:
        error, _ = deployed.invoke("HealthMonitor", SCHEDULED)
        assert error is None
        lines = map(json.loads, deployed.logged("HealthMonitor", "PaymentsStopped"))
        return [line["PaymentsStopped"] for line in lines if "_aws" in line][-1:]

    resources = deployed.stack.physical_ids()
    stage = {"restApiId": resources["PaymentAPI"], "stageName": "prod"}
    gateway, functions = (deployed.session.client(name) for name in ("apigateway", "lambda"))
    assert put() == [[0]]
    gateway.update_stage(
        **stage,
        patchOperations=[
            {"op": "replace", "path": f"/~1process/POST/throttling/{limit}", "value": "0"}
            for limit in ("rateLimit", "burstLimit")
        ],
    )
    assert put() == [[1]]
    gateway.update_stage(**stage, patchOperations=[{"op": "remove", "path": "/~1process/POST"}])
    assert put() == [[0]]
    source = {"UUID": resources["RetryEventSource"]}
    functions.update_event_source_mapping(**source, Enabled=False)
    assert put() == [[1]]
    functions.update_event_source_mapping(**source, Enabled=True)
    assert put() == [[0]]


def test_the_health_is_the_report_that_the_scheduled_run_has_logged(
    aws: Emulator, deployed: Deployed, tmp_path: Path
) -> None:
    _, report = deployed.invoke("HealthMonitor", SCHEDULED)
    logged = [json.loads(line) for line in deployed.logged("HealthMonitor", "health report")]
    assert logged[-1]["report"] == report
    assert logged[-1].keys() >= {"level", "message", "timestamp", "service"}
    assert deployed.api().call("GET", "health").body["timestamp"] == report["timestamp"]
    shown = Program(aws.url, tmp_path)("logs", "health", *SUFFIX)
    assert "health report" in shown.stdout
    # Its checks are for programs.
    assert "threshold" not in shown.stdout


def test_metrics_are_those_of_the_deployed_dashboard(
    aws: Emulator, deployed: Deployed, tmp_path: Path
) -> None:
    deployed.session.client("cloudwatch").put_metric_data(
        Namespace="PaymentInfra",
        MetricData=[
            {
                "MetricName": "PaymentsValidated",
                "Dimensions": [{"Name": "service", "Value": "payment-status-1"}],
                "Value": 7,
            }
        ],
    )
    program = Program(aws.url, tmp_path, SUFFIX)
    widgets = {one["title"]: one for one in program.json("metrics", "--since", "1h")}
    dashboard = deployed.session.client("cloudwatch").get_dashboard(
        DashboardName="payment-dashboard-status-1"
    )
    drawn = json.loads(dashboard["DashboardBody"])["widgets"]
    assert widgets.keys() == {one["properties"]["title"] for one in drawn}
    [validated] = [one for one in widgets["Payments"]["series"] if one["label"] == "Validated"]
    assert [point["value"] for point in validated["points"]] == [7]
    assert len(widgets["Alarms"]["alarms"]) == 21
    [line] = [
        line for line in program("metrics").stdout.splitlines() if line.startswith("Validated ")
    ]
    assert line.endswith("last 7, max 7")


def test_the_doctor_finds_nothing_to_mend_where_the_stack_is_deployed(
    aws: Emulator, deployed: Deployed, tmp_path: Path
) -> None:
    done = Program(aws.url, tmp_path)("doctor", *SUFFIX, "--output", "json")
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert (done.returncode, done.stderr) == (0, "")
    # The emulator's caller is the root user, whom IAM does not simulate.
    assert [name for name, one in found.items() if one["level"] != "ok"] == ["changes"]
    assert found["endpoint"]["message"] == aws.url
    assert found["bucket"]["message"] in {
        one["Name"] for one in deployed.session.client("s3").list_buckets()["Buckets"]
    }


def test_a_terminal_shows_the_status_anew_until_ctrl_c(
    aws: Emulator, deployed: Deployed, tmp_path: Path
) -> None:
    variables = clean_environment(tmp_path) | aws_variables(aws.url)
    program = str(PROGRAMS / "payment-infra")
    arguments = [program, "status", *SUFFIX, "--watch", "--interval", "1"]
    before = items(Program(aws.url, tmp_path))
    with at_terminal(arguments, tmp_path, variables) as terminal:
        terminal.until("function")
        assert deployed.api().call("POST", "validate", PAYMENT).status == 200
        terminal.until(f"about {before + 1} items")
        terminal.press(CTRL_C)
        assert terminal.end() == 130
