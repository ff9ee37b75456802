"""The business metrics, written by Powertools as log lines that CloudWatch turns into metrics.

The only dimension is the service, which POWERTOOLS_SERVICE_NAME names: one for a stack. But a
failure of a published version is counted once more with that as well, since a canary watches a new
version alone; they are few, and cost next to nothing.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from aws_lambda_powertools.metrics import Metrics, MetricUnit, single_metric

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "PaymentInfra"
VALIDATED = "PaymentsValidated"
PROCESSED = "PaymentsProcessed"
DECLINED = "PaymentsDeclined"
PENDING = "PaymentsPending"
CANCELED = "PaymentsCanceled"
RETRIED = "PaymentsRetried"
UNANSWERED = "PaymentsUnanswered"
STUCK = "PaymentsStuck"
MISMATCHED = "PaymentsMismatched"
UNREADABLE = "PaymentsUnreadable"
OVERDUE = "PaymentsOverdue"
CONTRADICTED = "CapturesContradicted"
FAILURES = "Failures"
RETRIES_NOT_QUEUED = "RetriesNotQueued"
DEGRADED = "Degraded"
GATEWAY_LATENCY = "GatewayLatency"
SCHEDULED_RUNS = "ScheduledRuns"
PAYMENTS_STOPPED = "PaymentsStopped"
WRITE_THROTTLES = "WriteThrottleEvents"
INDEX_WRITE_THROTTLES = "IndexWriteThrottleEvents"

_metrics = Metrics(namespace=NAMESPACE)


def count(name: str, value: float = 1) -> None:
    """Add to a metric of this invocation."""
    _metrics.add_metric(name, MetricUnit.Count, value)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Measure the milliseconds that the block takes, whether it fails or not."""
    start = perf_counter()
    try:
        yield
    finally:
        _metrics.add_metric(name, MetricUnit.Milliseconds, (perf_counter() - start) * 1000)


def end(status: int, *, failed: bool = False) -> None:
    """Count an answer of 500, or another that tells of a failure, which Lambda does not see as an
    error, and flush."""
    if failed or status == 500:
        count(FAILURES)
        _count_for_version()
    flush()


def _count_for_version() -> None:
    """Count a failure of the published version that this is, if it is one (Lambda, "Defined runtime
    environment variables")."""
    version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
    if version != "$LATEST":
        named = f"{os.environ.get('AWS_LAMBDA_FUNCTION_NAME')}:{version}"
        with single_metric(FAILURES, MetricUnit.Count, 1, namespace=NAMESPACE) as metric:
            metric.add_dimension("version", named)


def flush() -> None:
    """Write what was added since the last flush, if anything was."""
    if _metrics.metric_set:
        _metrics.flush_metrics()
