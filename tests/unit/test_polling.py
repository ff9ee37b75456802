"""What passes by itself is waited out where giving up is costly; nothing else is."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, NoCredentialsError
from botocore.parsers import ResponseParserError

from payment_infra.cloud.events import Event, Waiting
from payment_infra.cloud.sdk.errors import is_passing, translated
from payment_infra.cloud.sdk.polling import (
    MAX_FAILED_LOOKS,
    PATIENCE_SECONDS,
    looks,
    persistently,
)
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


PASSING = refusal("Throttling")


class Looks:
    """Looks that see these numbers, or fail; one that is missed shows as 0."""

    def __init__(self, *found: int | Exception) -> None:
        self.pauses: list[float] = []
        self._left = iter(found)
        self.seen = looks("thing", self._look, self.pauses.append, (1, 2, 3), missed=lambda _: 0)

    def _look(self) -> int:
        found = next(self._left)
        if isinstance(found, Exception):
            raise found
        return found


def test_looks_go_on_with_growing_pauses_and_those_that_failed_are_told() -> None:
    found = Looks(5, PASSING, PASSING, 6, 7)
    assert list(islice(found.seen, 5)) == [5, 0, 0, 6, 7]
    assert found.pauses == [1, 2, 3, 3]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (refusal("AccessDenied"), "thing: not allowed to call Call"),
        (ResponseParserError("<html>"), "thing: what answers there is not AWS"),
        (AwsError("a decision of our own"), "a decision of our own"),
    ],
    ids=str,
)
def test_a_failure_that_does_not_pass_ends_the_looks(error: Exception, told: str) -> None:
    found = Looks(5, error)
    assert next(found.seen) == 5
    with pytest.raises(AwsError, match=told):
        next(found.seen)
    assert found.pauses == [1]


def test_only_looks_that_fail_in_a_row_are_counted() -> None:
    row = [PASSING] * (MAX_FAILED_LOOKS - 1)
    found = Looks(*row, 1, *row, 2, *row, PASSING)
    number = 3 * len(row) + 2
    assert sum(islice(found.seen, number)) == 3
    with pytest.raises(AwsError, match="thing: AWS throttles Call"):
        next(found.seen)


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
