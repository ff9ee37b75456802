"""The deployed functions: the handlers of today's release and of earlier ones, in containers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from handlers.shared import sweep
from handlers.shared.aws import clients as clients_edge
from handlers.shared.gateway import GatewayUnavailable
from tests.model.faults import Killed
from tests.model.invocations import Container, Invocation, Journal, run, running

if TYPE_CHECKING:
    import pytest

    from tests.model.gateway import Recorder, RecordingGateway
    from tests.model.principals import Access
    from tests.model.release import Release

ENVIRONMENT = {
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
    "RETRY_SOURCE_ID": "retry-source",
    "POWERTOOLS_SERVICE_NAME": "payment-dev",
}


@dataclass
class LambdaContext:
    remaining_ms: int = 60_000
    aws_request_id: str = "invocation"

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


class Functions:
    """Runs the handlers, each invocation with its container's release and clock."""

    def __init__(
        self, clock: Callable[[], datetime], journal: Journal, releases: Sequence[Release]
    ) -> None:
        # All that have ever run.
        self.containers: set[Container] = set()
        self._clock = clock
        self._journal = journal
        self._releases = releases

    def install(
        self,
        patch: pytest.MonkeyPatch,
        clients: dict[str, object],
        one_step: RecordingGateway,
        gateway: Callable[[], Recorder],
        access: Access,
    ) -> None:
        """Put these where the handlers look for AWS, the gateway, time, logs and metrics."""
        for release in self._releases:
            release.install(patch, clients, one_step, self.container_time, self._journal)
        patch.setattr(clients_edge, "gateway", lambda: _opened(gateway()))
        patch.setattr(clients_edge, "gateway_class", lambda: type(gateway()))
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("PAYMENT_ACCESS", access)
        patch.setattr(sweep, "SEGMENTS", 2)  # or a day's runs would be needed to see every row
        # Where a payment stands in the index hangs on its id, and a run that is repeated must be
        # the same.
        random = Random(0)
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=random.getrandbits(128), version=4))

    def container_time(self) -> datetime:
        return self._clock() + timedelta(seconds=running().container.clock_seconds)

    def invoke(
        self, invocation: Invocation, entry: str, event: dict[str, Any], remaining_ms: int = 60_000
    ) -> Any:
        """Run a handler; None if the process was killed, and nobody will see what it counted."""
        self.containers.add(invocation.container)
        handler = invocation.container.release.module(entry).handler
        with run(invocation):
            try:
                response = handler(event, LambdaContext(remaining_ms))
            except Killed:
                return None
            except Exception:
                self._journal.publish(invocation)
                raise
        self._journal.publish(invocation)
        return response


def _opened(gateway: Recorder) -> Recorder:
    """Return a gateway, unless its secret is away."""
    if gateway.is_away:
        raise GatewayUnavailable("SecretAway")
    return gateway
