"""What AWS throttles is made again: by every name that services have for it, and for minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.retries.standard import ThrottledRetryableChecker

from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.events import Waiting
from payment_infra.cloud.sdk.errors import explain, is_passing, is_throttling
from payment_infra.cloud.sdk.patience import PAUSES
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import AwsError
from payment_infra.sources import resolve
from tests.aws import FakeAws, FakeBucket, Refused
from tests.operators import FakeOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stacks import Answer

NAME = "payment-infra-dev"
SECONDS = 30
# botocore's own list, but for what most services say of a quota.
OF_SDK: Any = ThrottledRetryableChecker
CODES = sorted({*OF_SDK._THROTTLED_ERROR_CODES} - {"LimitExceededException"})
OTHERS = (
    *("KMSThrottlingException", "KMS.ThrottlingException", "KmsThrottled", "Throttled"),
    *("ProvisionedThroughputExceeded", "TooManyRequests", "Throttling.User"),
)
# What the SDK tries again for another reason, or, the third, most services say of a quota.
NO_THROTTLES = {
    *("BadDigest", "IDPCommunicationError", "LimitExceededException", "RequestTimeout"),
    *("ReplicatedWriteConflictException", "RequestTimeoutException"),
}


@dataclass
class ThrottledAws(FakeAws):
    """An account that throttles one operation for a time, from its first call on."""

    throttled: str = ""
    code: str = "Throttling"
    seconds: float = SECONDS
    since: float | None = None
    refusals: int = 0

    def answer(self, service: str, operation: str, params: Answer) -> Answer:
        """Refuse the operation, or answer."""
        if f"{service}:{operation}" == self.throttled:
            self.since = self.slept if self.since is None else self.since
            if self.slept < self.since + self.seconds:
                self.refusals += 1
                raise Refused(self.code, "Rate exceeded", 400)
        return super().answer(service, operation, params)


def account(**options: Any) -> ThrottledAws:
    return ThrottledAws(buckets={"zips": FakeBucket()}, **options)


def deploy(aws: ThrottledAws, operator: FakeOperator | None = None, **flags: object) -> bool:
    session = aws.session()
    stack = Stack(session.client("cloudformation"), NAME, aws.sleep)
    resolved = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
    options = DeployOptions(yes=True, allow=frozenset({"broaden", "replace"}))
    operator = operator or FakeOperator()
    return Deployment(session, stack, resolved, options, operator).run().changed


def operations() -> list[str]:
    """Return every call that a creation, and then an update, makes."""
    aws = account()
    deploy(aws)
    deploy(aws, throttle_rate_limit=5)
    without_bucket = account()
    deploy(without_bucket, bucket=None)
    return sorted({name for name, _ in (*aws.calls, *without_bucket.calls)})


@pytest.mark.parametrize("throttled", operations())
def test_a_throttle_of_half_a_minute_ends_no_deployment(throttled: str) -> None:
    aws = account(throttled=throttled)
    assert deploy(aws)
    assert deploy(aws, throttle_rate_limit=5, bucket=None)
    assert aws.refusals > 0
    assert aws.stacks[NAME].parameters["ThrottleRateLimit"] == "5"


@pytest.mark.parametrize("code", [*CODES, *OTHERS])
def test_every_name_for_it_is_known(code: str) -> None:
    aws = account(throttled="cloudformation:CreateChangeSet", code=code)
    assert deploy(aws)
    assert aws.refusals > 1
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    error = ClientError(answer, "CreateChangeSet")
    assert is_passing(error)
    assert explain(error).startswith("AWS throttles CreateChangeSet; ")


def test_the_sdks_own_table_is_known() -> None:
    """It is what the SDK goes by in mode legacy."""
    codes = set(error_codes(Loader().load_data("_retry")))
    assert "Throttling" in codes
    unknown = {code for code in codes if not is_throttling({"Error": {"Code": code}})}
    assert unknown <= NO_THROTTLES


def error_codes(table: Any) -> Iterator[str]:
    """Yield each code in a table of policies."""
    if isinstance(table, dict):
        if code := table.get("service_error_code"):
            yield code
        for part in table.values():
            yield from error_codes(part)


def test_a_head_that_is_to_slow_down_says_only_its_status() -> None:
    aws = account(throttled="s3:HeadObject", code="503")
    assert deploy(aws)
    assert aws.refusals > 1


@pytest.mark.parametrize("code", ["AccessDenied", "ValidationError", "LimitExceededException", ""])
def test_what_is_no_throttle_is_not_made_again(code: str) -> None:
    aws = account(throttled="cloudformation:CreateChangeSet", code=code)
    with pytest.raises(AwsError):
        deploy(aws)
    assert (aws.refusals, aws.slept < SECONDS) == (1, True)


def test_it_is_told_what_is_waited_for() -> None:
    operator = FakeOperator()
    deploy(account(throttled="cloudformation:ExecuteChangeSet"), operator)
    told = {event.what for event in operator.of(Waiting)}
    assert "AWS throttles ExecuteChangeSet, trying again" in told


def test_a_throttle_that_lasts_is_given_up_after_minutes() -> None:
    aws = account(throttled="sts:GetCallerIdentity", seconds=10**6)
    with pytest.raises(AwsError, match="AWS throttles GetCallerIdentity"):
        deploy(aws)
    assert aws.refusals == len(PAUSES) + 1
    assert 150 < aws.slept < 240


def test_nothing_else_than_a_deployment_waits_so_long() -> None:
    aws = account(throttled="sts:GetCallerIdentity")
    session = aws.session()
    with pytest.raises(AwsError):
        session.account()
    with session.patient(lambda _: None):
        session.account()
    assert aws.refusals > 1


def test_the_sdk_makes_its_own_attempts_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its real endpoint and handlers, whose pauses are random and short."""
    from payment_infra.cloud.sdk.session import Session

    slept = list[float]()
    monkeypatch.setattr("botocore.endpoint.time.sleep", slept.append)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    session = Session.open(None, "eu-central-1", None)
    client, left = session.client("sns"), [429] * 5 + [200]
    client.meta.events.register_last("before-send", lambda **_: _answer(left.pop(0)))
    with session.patient(lambda _: None):
        client.list_topics()
    assert slept[1:] == [*PAUSES[:4]]
    assert slept[0] < 1
    left[:] = [429] * 2
    with pytest.raises(ClientError):
        client.list_topics()
    assert len(slept) == 6


def _answer(status: int) -> Any:
    import io

    from botocore.awsrequest import AWSResponse
    from botocore.compat import HTTPHeaders
    from urllib3 import HTTPResponse

    text = b"<ListTopicsResponse><ListTopicsResult/></ListTopicsResponse>"
    if status != 200:
        text = b"<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>"
    body: Any = HTTPResponse(io.BytesIO(text), preload_content=False)
    return AWSResponse("https://sns", status, HTTPHeaders(), body)
