from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from handlers import (
    cancellation,
    gateway_events,
    health_monitor,
    lookup,
    processing,
    retry,
    validation,
)
from handlers.shared.aws import clients, logs, metrics
from tests.unit.handlers.harness import SERVICE, Aws, Clock, CountingGateway

if TYPE_CHECKING:
    from handlers.shared.gateway import Gateway


class _Stdout:
    """Whatever stdout is at the time of writing: pytest replaces it for each test."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    """The fake services, behind the accessors that the handlers get their clients from."""
    fakes = Aws()
    for service in (
        *("dynamodb", "sqs", "sns", "cloudwatch"),
        *("cloudwatch_logs", "apigateway", "aws_lambda"),
    ):
        monkeypatch.setattr(clients, service, lambda service=service: fakes.client(service))
    for name, value in {
        "TRANSACTIONS_TABLE": "transactions-dev",
        "FAILED_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/failed-dev",
        "ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:payment-alarms-dev",
        "API_ID": "a1b2c3d4e5",
        "API_NAME": "payment-api-dev",
        "API_STAGE": "prod",
        "FUNCTION_NAMES": "payment-validation-dev,payment-processing-dev",
        "FAILED_QUEUE_NAME": "failed-transactions-dev",
        "DEAD_LETTER_QUEUE_NAME": "failed-transactions-dlq-dev",
        "DEGRADED_ALARM_NAME": "health-degraded-dev",
        "LOG_GROUP": "/aws/lambda/health-monitor-dev",
        "RETRY_SOURCE_ID": "14e0db71-5d35-4eb5-b481-8945cf9d10c2",
        "POWERTOOLS_SERVICE_NAME": SERVICE,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(health_monitor, "_latest", None)
    monkeypatch.setattr(logs.logger.registered_handler, "stream", _Stdout())
    # What POWERTOOLS_SERVICE_NAME decides, which Powertools reads when it is imported.
    monkeypatch.setattr(metrics._metrics.provider, "service", SERVICE)
    monkeypatch.setitem(logs.logger._default_log_keys, "service", SERVICE)
    metrics._metrics.provider.clear_metrics()
    return fakes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that the functions see."""
    clock = Clock()
    every = (validation, processing, lookup, cancellation, retry, health_monitor, gateway_events)
    for function in every:
        monkeypatch.setattr(function, "utc_now", clock)
    return clock


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> CountingGateway:
    """The one gateway that processing and retry charge."""
    gateway = CountingGateway()
    use: Gateway = gateway
    monkeypatch.setattr(clients, "gateway", lambda: use)
    return gateway
