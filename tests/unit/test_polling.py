"""What passes by itself is waited out where giving up is costly; nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, NoCredentialsError

from payment_infra.cloud.events import Event, Waiting
from payment_infra.cloud.sdk.errors import is_passing, translated
from payment_infra.cloud.sdk.polling import PATIENCE_SECONDS, persistently
from payment_infra.errors import AwsError


def refusal(code: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Call")


@pytest.mark.parametrize(
    "error",
    [
        *(
            refusal(code)
            for code in (
                *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled"),
                *("RequestThrottledException", "RequestLimitExceeded", "SlowDown"),
                *("TooManyRequestsException", "ProvisionedThroughputExceededException"),
                *("BandwidthLimitExceeded", "EC2ThrottledException", "RequestTimeout"),
            )
        ),
        refusal("LimitExceededException", 429),
        refusal("InternalFailure", 500),
        refusal("ServiceUnavailable", 503),
        ConnectTimeoutError(endpoint_url="https://example.com"),
    ],
    ids=str,
)
def test_what_may_go_better_a_little_later_passes(error: ClientError | BotoCoreError) -> None:
    assert is_passing(error)
    with pytest.raises(AwsError) as raised, translated("thing"):
        raise error
    assert is_passing(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        *map(refusal, ("AccessDenied", "ValidationException", "LimitExceededException")),
        NoCredentialsError(),
        AwsError("a decision of our own"),
        None,
    ],
    ids=str,
)
def test_what_will_be_the_same_does_not(error: Exception | None) -> None:
    assert not is_passing(error)


class Calls:
    """Calls that fail so many times."""

    def __init__(self, error: ClientError, times: int) -> None:
        self.error, self.left, self.made = error, times, 0

    def __call__(self) -> str:
        self.made += 1
        with translated("stage"):
            if self.left:
                self.left -= 1
                raise self.error
        return "done"


def test_a_call_is_made_again_while_what_it_fails_by_passes() -> None:
    told: list[Event] = []
    pauses: list[float] = []
    call = Calls(refusal("Throttling"), 5)
    assert persistently(call, pauses.append, told.append) == "done"
    assert (call.made, pauses) == (6, [1, 2, 4, 8, 15])
    assert told == [Waiting("stage: AWS throttles Call, trying again")] * 5


def test_another_failure_is_told_at_once() -> None:
    call = Calls(refusal("AccessDenied"), 1)
    with pytest.raises(AwsError, match="not allowed to call Call"):
        persistently(call, lambda _: None, lambda _: None)
    assert call.made == 1


def test_it_ends_after_ten_minutes() -> None:
    pauses: list[float] = []
    call = Calls(refusal("Throttling"), 1000)
    with pytest.raises(AwsError, match="AWS throttles Call; wait a little"):
        persistently(call, pauses.append, lambda _: None)
    assert (sum(pauses), call.made) == (600, len(PATIENCE_SECONDS) + 1)
