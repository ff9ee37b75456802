"""Whether payments come in, as the scheduled run finds out and puts it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from handlers.health_monitor import handler
from handlers.shared.aws.intake import STOPPED_VARIABLE
from tests.unit.handlers.fakes import client_error
from tests.unit.handlers.harness import Aws, LambdaContext, Output, load_event

Capture = pytest.CaptureFixture[str]
ZERO = {"throttlingRateLimit": 0.0, "throttlingBurstLimit": 0}
LIMITED = {"throttlingRateLimit": 10.0, "throttlingBurstLimit": 20}
# What API Gateway says of settings that have no throttle.
UNLIMITED = {"throttlingRateLimit": -1.0, "throttlingBurstLimit": -1}


def stopped(capsys: Capture) -> list[float] | None:
    """Make the scheduled run; return what it put, or None."""
    handler(load_event("scheduled"), LambdaContext())
    return Output.read(capsys).metrics.get("PaymentsStopped")


def test_the_stage_and_the_event_source_of_the_stack_are_asked(aws: Aws, capsys: Capture) -> None:
    assert stopped(capsys) == [0]
    assert aws.apigateway.called("GetStage") == [{"restApiId": "a1b2c3d4e5", "stageName": "prod"}]
    assert aws.aws_lambda.called("GetEventSourceMapping") == [
        {"UUID": "14e0db71-5d35-4eb5-b481-8945cf9d10c2"}
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 0),
        ({"*/*": LIMITED, "health/GET": ZERO}, 0),
        ({"*/*": UNLIMITED, "validate/POST": UNLIMITED, "process/POST": LIMITED}, 0),
        ({"validate/POST": {"loggingLevel": "INFO"}}, 0),
        ({"*/*": ZERO}, 1),
        ({"*/*": LIMITED, "validate/POST": ZERO, "process/POST": ZERO}, 1),
        ({"*/*": LIMITED, "process/POST": ZERO}, 1),
        # The other ways in which API Gateway writes the same key.
        ({"*/*": LIMITED, "~1process/POST": ZERO}, 1),
        ({"*/*": LIMITED, "/validate/POST": ZERO}, 1),
        ({"*/*": LIMITED | {"throttlingRateLimit": 0.0}}, 1),
        ({"*/*": LIMITED, "validate/POST": LIMITED | {"throttlingBurstLimit": 0}}, 1),
    ],
)
def test_a_throttle_of_zero_on_a_payment_method_stops_payments(
    aws: Aws, capsys: Capture, settings: dict[str, dict[str, Any]], expected: int
) -> None:
    aws.apigateway.settings = settings
    assert stopped(capsys) == [expected]


@pytest.mark.parametrize(
    ("settings", "variables", "expected"),
    [
        ({"*/*": LIMITED, "~1gateway-events/POST": LIMITED}, {STOPPED_VARIABLE: "true"}, 1),
        ({"*/*": LIMITED, "gateway-events/POST": LIMITED}, {STOPPED_VARIABLE: "true"}, 1),
        ({"*/*": LIMITED, "gateway-events/POST": LIMITED}, {"other": "true"}, 0),
        # Where nothing takes notifications, nothing is stopped by that.
        ({"*/*": LIMITED}, {STOPPED_VARIABLE: "true"}, 0),
    ],
)
def test_payments_are_stopped_while_what_the_gateway_tells_is_not_taken(
    aws: Aws,
    capsys: Capture,
    settings: dict[str, dict[str, Any]],
    variables: dict[str, str],
    expected: int,
) -> None:
    aws.apigateway.settings, aws.apigateway.variables = settings, variables
    assert stopped(capsys) == [expected]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        *(("Enabled", 0), ("Enabling", 0), ("Updating", 0), ("Creating", 0)),
        *(("Disabling", 1), ("Disabled", 1)),
    ],
)
def test_payments_are_stopped_while_the_retry_takes_no_messages(
    aws: Aws, capsys: Capture, state: str, expected: int
) -> None:
    aws.aws_lambda.state = state
    assert stopped(capsys) == [expected]


@pytest.mark.parametrize(
    "error", [client_error("AccessDenied"), ReadTimeoutError(endpoint_url="https://canary")]
)
@pytest.mark.parametrize(
    ("service", "operation", "message"),
    [
        ("apigateway", "GetStage", "throttles unknown"),
        ("aws_lambda", "GetEventSourceMapping", "event source unknown"),
    ],
)
def test_what_cannot_be_read_is_logged_and_not_put_and_the_run_goes_on_but_counts_as_none(
    aws: Aws, capsys: Capture, service: str, operation: str, message: str, error: Exception
) -> None:
    getattr(aws, service).fail(operation, error)
    handler(load_event("scheduled"), LambdaContext())
    output = Output.read(capsys)
    assert "PaymentsStopped" not in output.metrics
    assert output.metrics["ScheduledRuns"] == output.metrics["Degraded"] == [0]
    [line] = output.of(message)
    assert line["level"] == "ERROR"
    assert line["code"] in {"AccessDenied", "ReadTimeoutError"}
    assert "canary" not in output.text


def test_one_way_that_is_closed_is_enough_though_the_other_is_not_known(
    aws: Aws, capsys: Capture
) -> None:
    aws.apigateway.fail("GetStage")
    aws.aws_lambda.state = "Disabled"
    assert stopped(capsys) == [1]
    aws.apigateway.errors.clear()
    aws.aws_lambda.fail("GetEventSourceMapping")
    aws.apigateway.settings = {"*/*": ZERO}
    assert stopped(capsys) == [1]
