from __future__ import annotations

import sys

import pytest

from handlers import health_monitor, processing, retry
from handlers.shared import clients, logs, metrics
from tests.unit.handlers.harness import Aws, Clock


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
    for service in ("dynamodb", "sqs", "sns", "cloudwatch"):
        monkeypatch.setattr(clients, service, lambda service=service: fakes.client(service))
    for name, value in {
        "TRANSACTIONS_TABLE": "transactions-dev",
        "FAILED_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/failed-dev",
        "ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:payment-alarms-dev",
        "API_NAME": "payment-api-dev",
        "API_STAGE": "prod",
        "FUNCTION_NAMES": "payment-validation-dev,payment-processing-dev",
        "FAILED_QUEUE_NAME": "failed-transactions-dev",
        "DEAD_LETTER_QUEUE_NAME": "failed-transactions-dlq-dev",
        "DEGRADED_ALARM_NAME": "health-degraded-dev",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(health_monitor, "_latest", None)
    monkeypatch.setattr(logs.logger.registered_handler, "stream", _Stdout())
    metrics.flush()
    return fakes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that the processing function sees."""
    clock = Clock()
    monkeypatch.setattr(processing, "utc_now", clock)
    monkeypatch.setattr(retry, "utc_now", clock)
    return clock
