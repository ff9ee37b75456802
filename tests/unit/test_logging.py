"""What is logged and measured by whom, and how a line of Lambda's own is read."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from handlers.shared.aws import logs, metrics
from payment_infra.cli.views.logs import entry
from payment_infra.cloud.sdk.logs import LogLine
from payment_infra.config import PRESETS
from tests.unit.template import Evaluated, Json, load, of_type, spelled_out

DEVELOPMENT, PRODUCTION = load(), load(**PRESETS["production"])
LOOKUP = "/transactions/{transaction_id}"
EVERY_PRESET = pytest.mark.parametrize(
    "template", [DEVELOPMENT, PRODUCTION], ids=["development", "production"]
)


def settings(template: Json) -> Json:
    return template["Resources"]["PaymentAPIStage"]["Properties"]["MethodSettings"]


@pytest.mark.parametrize("level", ["info", "error", "off"])
def test_api_gateway_logs_each_methods_execution_at_the_level_that_is_set(level: str) -> None:
    found = settings(load(execution_log_level=level))
    assert [one["LoggingLevel"] for one in found] == [level.upper()] * 4
    assert [one["DataTraceEnabled"] for one in found] == [False] * 4


def test_production_logs_what_fails_and_development_each_request() -> None:
    assert {one["LoggingLevel"] for one in settings(PRODUCTION)} == {"ERROR"}
    assert {one["LoggingLevel"] for one in settings(DEVELOPMENT)} == {"INFO"}


def test_lambda_logs_of_its_own_what_fails_in_production_and_each_call_in_development() -> None:
    for name, function in of_type(PRODUCTION, "AWS::Lambda::Function").items():
        # Lambda API, LoggingConfig: levels are for the format JSON alone; the application's stays
        # at its default, INFO, at which the handlers log and write their metrics.
        assert function["Properties"]["LoggingConfig"] == {
            "LogGroup": {"Ref": name.replace("Function", "LogGroup")},
            "LogFormat": "JSON",
            "SystemLogLevel": "WARN",
        }
    for function in of_type(DEVELOPMENT, "AWS::Lambda::Function").values():
        assert "LoggingConfig" not in function["Properties"]


def test_a_line_of_the_handlers_has_a_time_as_rfc_3339_has_it() -> None:
    # "If you don't supply a valid timestamp, Lambda will assign the log the level INFO" (Lambda,
    # "Log-level filtering").
    record = logging.LogRecord("payment", logging.ERROR, "", 1, "text", (), None)
    line = json.loads(logs.logger.registered_formatter.format(record))
    assert line["level"] == "ERROR"
    assert "T" in line["timestamp"]
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() is not None


def test_a_line_of_the_handlers_names_its_trace_whether_that_is_recorded_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = "1-6740f2a4-0123456789abcdef01234567"
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root={trace};Parent=0123456789abcdef;Sampled=0")
    record = logging.LogRecord("payment", logging.ERROR, "", 1, "text", (), None)
    line = json.loads(logs.logger.registered_formatter.format(record))
    assert line["xray_trace_id"] == trace


def line(fields: Mapping[str, Any]) -> LogLine:
    return LogLine(milliseconds=0, group="g", stream="s", text=json.dumps(fields))


@pytest.mark.parametrize(
    ("fields", "level", "message", "platform"),
    [
        (
            {"type": "platform.report", "record": {"status": "timeout"}},
            *("ERROR", "platform.report: timeout", False),
        ),
        (
            {"type": "platform.report", "record": {"status": "success"}},
            *("INFO", "platform.report: success", True),
        ),
        (
            {"type": "platform.start", "record": {"requestId": "1"}},
            *("INFO", "platform.start: success", True),
        ),
        ({"type": "platform.start", "record": "?"}, "INFO", "platform.start: success", True),
        (
            {"log_level": "ERROR", "errorMessage": "no module", "errorType": "ImportError"},
            *("ERROR", "no module", False),
        ),
        ({"level": "WARNING", "message": "m", "type": "sale"}, "WARNING", "m", False),
    ],
)
def test_a_line_that_lambda_wrote_as_json_is_read_as_one_that_it_wrote_as_text(
    fields: dict[str, Any], level: str, message: str, platform: bool
) -> None:
    found = entry(line(fields), "validation")
    assert (found.level, found.message, found.platform) == (level, message, platform)


def test_nothing_is_masked_unless_asked_for() -> None:
    for template in (DEVELOPMENT, PRODUCTION):
        groups = of_type(template, "AWS::Logs::LogGroup").values()
        assert not [one for one in groups if "DataProtectionPolicy" in one["Properties"]]


def test_masking_is_for_every_log_group_and_counts_what_it_finds() -> None:
    template = load(**{**PRESETS["production"], "mask_logs": True})
    evaluated = Evaluated(template)
    groups = of_type(template, "AWS::Logs::LogGroup")
    assert len(groups) == len(of_type(PRODUCTION, "AWS::Logs::LogGroup"))
    for name in groups:
        policy = evaluated.resources[name]["DataProtectionPolicy"]
        assert policy["Version"] == "2021-06-01"
        audit, mask = policy["Statement"]
        assert audit["Operation"] == {"Audit": {"FindingsDestination": {}}}
        assert mask["Operation"] == {"Deidentify": {"MaskConfig": {}}}
        # CloudWatch Logs refuses a policy whose statements have other identifiers.
        assert audit["DataIdentifier"] == mask["DataIdentifier"]
        assert (
            "arn:aws:dataprotection::aws:data-identifier/CreditCardNumber"
            in (mask["DataIdentifier"])
        )
        # CloudWatch Logs, "Help protect sensitive log data with masking".
        assert len(json.dumps(policy)) <= 30_720


# No metric that nothing reads: each costs 0.30 USD a month.


def read(template: Json) -> set[tuple[str, str, str]]:
    """Return namespace, name and method of every metric that an alarm or the dashboard reads."""
    evaluated = Evaluated(template)
    found = set()
    for name in of_type(template, "AWS::CloudWatch::Alarm"):
        alarm = evaluated.resources[name]
        if "MetricName" in alarm:
            dimensions = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
            path = dimensions.get("Resource", "")
            found.add((alarm["Namespace"], alarm["MetricName"], path))
    body = json.loads(evaluated.resources["PaymentDashboard"]["DashboardBody"])
    for widget in body["widgets"]:
        for row in spelled_out(widget["properties"]):
            found.add((row[0], row[1], ""))
    return found


@EVERY_PRESET
def test_every_metric_that_the_handlers_count_is_read(template: Json) -> None:
    counted = {
        value
        for name, value in vars(metrics).items()
        if name.isupper() and isinstance(value, str) and name != "NAMESPACE"
    }
    own = {name for namespace, name, _ in read(template) if namespace == metrics.NAMESPACE}
    # No payment is ever pending at the simulated gateway.
    assert counted - {metrics.PENDING, metrics.OVERDUE, metrics.UNANSWERED} == own


@EVERY_PRESET
def test_a_method_has_metrics_of_its_own_only_where_an_alarm_reads_them(template: Json) -> None:
    parts = {
        title: resource["Properties"]["PathPart"]
        for title, resource in of_type(template, "AWS::ApiGateway::Resource").items()
    }
    measured = {
        "/" + ("transactions/" if parts[title] == "{transaction_id}" else "") + parts[title]
        for title in (
            method["Properties"]["ResourceId"]["Ref"]
            for method in of_type(template, "AWS::ApiGateway::Method").values()
        )
    }
    measured -= {
        one["ResourcePath"].removeprefix("/").replace("~1", "/")
        for one in settings(template)
        if not one["MetricsEnabled"]
    }
    paths = {path for namespace, _, path in read(template) if namespace == "AWS/ApiGateway"}
    assert measured == paths - {""}
    assert measured == {"/validate", "/process"} | (
        {LOOKUP, "/cancel"} if template is PRODUCTION else set()
    )
