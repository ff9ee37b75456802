"""The time budget: one deadline for a request, and the seconds that each step of it takes at most.

API Gateway gives up INTEGRATION_SECONDS after it got the request ("Amazon API Gateway quotas":
integration timeout). By then the request must be answered, and a payment that failed must be queued
for a retry and let go. One call to AWS lasts at most

    2 attempts x (0.5 s to connect + 1.5 s to read) + 1 s between them = CALL_SECONDS = 5 s

("Retry behavior" in the AWS SDKs and Tools Reference Guide: standard mode waits up to 1 s before
the second attempt). So the longest way through processing is

    secret 2 s + claim 5 s + charge 6 s + finish 5 s + send 5 s + let go 5 s = 28 s

and through a notification, with 5 s kept for noting a capture that its row contradicts,

    secret 2 s + fetch 6 s + read 5 s + write 5 s + note 5 s = 23 s

and the longest way through canceling, which queues nothing,

    write 5 s + secret 2 s + fetch 6 s + cancel 6 s + write 5 s = 24 s

A step begins only if all that it may lead to ends before the deadline: what there is no time for
is queued instead. So is a charge after a look-up at the gateway that was slow, and the second of
two steps after a first one that was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from handlers.shared.failures import DependencyFailed
from handlers.shared.gateway import GATEWAY_TIMEOUT_SECONDS

INTEGRATION_SECONDS = 29
# For making the answer, and its way back.
ANSWER_SECONDS = 1

TOTAL_ATTEMPTS = 2
CONNECT_TIMEOUT_SECONDS = 0.5
READ_TIMEOUT_SECONDS = 1.5
MAX_BACKOFF_SECONDS = 1.0

CALL_SECONDS = (
    TOTAL_ATTEMPTS * (CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS)
    + (TOTAL_ATTEMPTS - 1) * MAX_BACKOFF_SECONDS
)
# The gateway's secret is fetched in one attempt.
FETCH_SECONDS = CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS

# What is left for the end of a request that fails: to send a message, and to let a payment go.
SEND_AND_LET_GO_SECONDS = 2 * CALL_SECONDS
# From the start of a call to the gateway to the end of writing down what it came to.
CHARGE_SECONDS = GATEWAY_TIMEOUT_SECONDS + CALL_SECONDS
# One message of the queue: claim, secret, charge, let go, and a second to spare. It sends nothing.
MESSAGE_SECONDS = CALL_SECONDS + FETCH_SECONDS + CHARGE_SECONDS + CALL_SECONDS + 1
# What a person orders, who waits for the answer of one call, which the function's start delays.
ORDER_SECONDS = 25
# How far the clocks of two machines may be apart, each 60 s from the true time.
CLOCK_SKEW_SECONDS = 2 * 60
# The whole of a request, which is what a deadline gives it.
REQUEST_SECONDS = INTEGRATION_SECONDS - ANSWER_SECONDS


class OutOfTime(DependencyFailed):
    """A step was not begun, since it might not have ended before the deadline."""

    reason = "no_time_left"


@dataclass(frozen=True)
class Deadline:
    """When everything must be over; the last reserved_seconds are for the end of what failed."""

    ends_at: datetime
    clock: Callable[[], datetime]
    reserved_seconds: float = 0

    @classmethod
    def of_request(
        cls, event: Mapping[str, Any], clock: Callable[[], datetime], reserved_seconds: float
    ) -> Deadline:
        """Return the deadline of a proxy event, counted from when API Gateway received it.

        A time of receipt that is not within the last INTEGRATION_SECONDS says nothing about this
        invocation (another clock, an event that somebody sends by hand): then it counts from now.
        """
        now = clock()
        received = _received_at(event)
        waited = now - received if received else timedelta()
        if not timedelta() <= waited < timedelta(seconds=INTEGRATION_SECONDS):
            waited = timedelta()
        ends_at = now - waited + timedelta(seconds=REQUEST_SECONDS)
        return cls(ends_at, clock, reserved_seconds)

    @classmethod
    def of_invocation(
        cls, context: Any, clock: Callable[[], datetime], reserved_seconds: float
    ) -> Deadline:
        """Return the deadline of an invocation that nobody waits for: the function's timeout."""
        left = timedelta(milliseconds=context.get_remaining_time_in_millis())
        return cls(clock() + left, clock, reserved_seconds)

    def require(self, seconds: float) -> None:
        """Raise OutOfTime unless a step of so many seconds ends in time."""
        if self.clock() + timedelta(seconds=seconds + self.reserved_seconds) > self.ends_at:
            raise OutOfTime


def _received_at(event: Mapping[str, Any]) -> datetime | None:
    milliseconds = (event.get("requestContext") or {}).get("requestTimeEpoch")
    try:
        return datetime.fromtimestamp(float(milliseconds or "") / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
