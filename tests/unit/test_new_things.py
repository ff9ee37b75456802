"""What was made a moment ago is not there for every call at once: nothing ends for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from payment_infra.cloud.deploying.bootstrap import bootstrap
from payment_infra.cloud.deploying.bucket import Bucket
from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.environment.operations_table import OperationsTable
from payment_infra.cloud.events import Caution, Waiting
from payment_infra.cloud.sdk.errors import code_of
from payment_infra.cloud.stacks.stack import Outdated, Stack
from payment_infra.errors import AwsError
from payment_infra.names import OPERATIONS_TABLE
from payment_infra.sources import resolve
from tests.aws import FakeAws, FakeBucket, Refused
from tests.operators import FakeOperator
from tests.tables import FakeTables

if TYPE_CHECKING:
    from tests.stacks import Answer

NAME = "payment-infra-dev"
BOOTSTRAP = "payment-artifacts"
# What S3 answers for a new bucket; HEAD has no body, so that its code is the status.
NEW_BUCKET = [
    ("HeadBucket", Refused("404", "Not Found", 404)),
    ("HeadBucket", Refused("301", "Moved Permanently", 301)),
    ("HeadBucket", Refused("400", "Bad Request", 400)),
    ("HeadObject", Refused("307", "Temporary Redirect", 307)),
    ("PutObject", Refused("NoSuchBucket", "The specified bucket does not exist", 404)),
    ("PutObject", Refused("TemporaryRedirect", "Please re-send this request", 307)),
    ("PutObject", Refused("AuthorizationHeaderMalformed", "the region is wrong", 400)),
    ("PutObject", Refused("OperationAborted", "A conflicting conditional operation", 409)),
]


@dataclass
class Slow(FakeAws):
    """An account whose time passes by pauses: what is new is not there at first."""

    now: float = 0
    # Operation to what it is refused with, and until when.
    late: dict[str, tuple[Exception, float]] = field(default_factory=dict)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def answer(self, service: str, operation: str, params: Answer) -> Answer:
        error, until = self.late.get(operation, (None, 0))
        made = service != "s3" or params["Bucket"] in self.buckets
        if error and made and self.now < until:
            raise error
        return super().answer(service, operation, params)


def deploy(aws: Slow, **flags: object) -> FakeOperator:
    session, operator = aws.session(), FakeOperator()
    stack = Stack(session.client("cloudformation"), NAME, aws.sleep, "--suffix dev")
    resolved = resolve({"suffix": "dev", **flags}, {})
    assert Deployment(session, stack, resolved, DeployOptions(yes=True), operator).run().changed
    return operator


@pytest.mark.parametrize(("operation", "error"), NEW_BUCKET)
def test_a_bucket_that_a_deployment_makes_is_waited_for_at_each_of_its_calls(
    operation: str, error: Refused
) -> None:
    aws = Slow(late={operation: (error, 120)})
    operator = deploy(aws)
    assert aws.now >= 120
    assert set(aws.stacks) == {NAME, BOOTSTRAP}
    [bucket] = aws.buckets
    assert aws.buckets[bucket].objects
    if operation == "HeadBucket":
        assert Waiting(f"S3 does not show the bucket {bucket} yet") in operator.told


def test_a_bucket_that_another_deployment_made_a_moment_ago_is_not_made_anew() -> None:
    aws = Slow()
    bootstrap(aws.session(), lambda _: None, aws.sleep)
    aws.stacks[BOOTSTRAP].changed_at = datetime.now(UTC)
    aws.late = {"HeadBucket": (Refused("404", "Not Found", 404), 120)}
    operator = deploy(aws)
    assert operator.of(Caution) == []
    assert aws.called("cloudformation:DeleteStack") == []


def test_a_bucket_of_ones_own_is_looked_for_some_seconds() -> None:
    aws = Slow(buckets={"zips": FakeBucket()})
    aws.late = {"HeadBucket": (Refused("404", "Not Found", 404), 5)}
    deploy(aws, bucket="zips")
    with pytest.raises(Exception, match="bucket nowhere does not exist; check --bucket"):
        deploy(aws, bucket="nowhere")
    assert 5 < aws.now < 20


def test_a_bucket_that_somebody_deletes_meanwhile_is_told() -> None:
    aws = Slow(buckets={"zips": FakeBucket()})
    bucket = Bucket(aws.session(), "zips", sleep=aws.sleep)
    bucket.check()
    aws.buckets.clear()
    with pytest.raises(AwsError) as raised:
        bucket.put("key", lambda: b"body", "text/plain")
    told = "bucket zips: somebody has deleted it meanwhile; repeat the command"
    assert str(raised.value) == told


def test_two_deployments_that_make_the_bucket_at_once_both_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws = Slow()
    execute: Callable[[Answer], Answer] = aws.execute_change_set
    session = aws.session()

    def first(params: Answer) -> Answer:
        # The other one was there between.
        monkeypatch.setattr(aws, "execute_change_set", execute)
        assert bootstrap(aws.session(), lambda _: None, aws.sleep)[1]
        return execute(params)

    monkeypatch.setattr(aws, "execute_change_set", first)
    bucket, changed = bootstrap(session, lambda _: None, aws.sleep)
    assert (bucket in aws.buckets, changed) == (True, False)
    assert aws.change_sets == {}


def test_a_buckets_stack_that_others_change_again_and_again_is_left_to_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws = Slow()

    def lose(params: Answer) -> Answer:
        raise Refused("ChangeSetNotFound", "ChangeSet [x] does not exist")

    monkeypatch.setattr(aws, "execute_change_set", lose)
    with pytest.raises(Outdated, match="somebody else has deleted or executed the change set"):
        bootstrap(aws.session(), lambda _: None, aws.sleep)
    assert aws.stacks == {}


@pytest.mark.parametrize(
    "message",
    [
        "Role arn:aws:iam::123456789012:role/new is invalid or cannot be assumed",
        "S3 error: The specified bucket does not exist",
    ],
)
def test_a_role_or_a_bucket_that_cloudformation_does_not_see_yet_is_waited_for(
    message: str,
) -> None:
    aws = Slow(buckets={"zips": FakeBucket()})
    aws.late = {"CreateChangeSet": (Refused("ValidationError", message), 5)}
    deploy(aws, bucket="zips")
    aws.late = {"CreateChangeSet": (Refused("ValidationError", message), 500)}
    with pytest.raises(AwsError, match="CreateChangeSet failed: "):
        deploy(aws, bucket="zips", throttle_rate_limit=5)


TABLE = {"Stack": "s", "Item": "i"}
GONE = Refused("ResourceNotFoundException", "Requested resource not found")
TOUCH = {
    "UpdateExpression": "SET #a = :a",
    "ExpressionAttributeNames": {"#a": "a"},
    "ExpressionAttributeValues": {":a": {"S": "x"}},
}


def test_a_bucket_whose_other_region_is_named_is_not_looked_for() -> None:
    """Through an endpoint of a VPC the SDK does not follow what S3 says (HeadBucket)."""
    aws = Slow(buckets={"zips": FakeBucket()})
    answer: Any = {
        "Error": {"Code": "301", "Message": "Moved Permanently"},
        "ResponseMetadata": {
            "HTTPStatusCode": 301,
            "HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"},
        },
    }
    aws.errors["s3:HeadBucket"] = ClientError(answer, "HeadBucket")
    with pytest.raises(AwsError, match="bucket zips is in eu-west-1, and Lambda takes code only"):
        Bucket(aws.session(), "zips", sleep=aws.sleep).check()
    assert aws.now == 0


def test_the_operations_table_is_waited_for_by_the_first_write_and_the_reads_after_it() -> None:
    aws = Slow(operations=FakeTables())
    aws.late = {"UpdateItem": (GONE, 60)}
    table = OperationsTable(aws.session(), aws.sleep)
    assert table.get("s", "i") is None  # which makes none
    assert OPERATIONS_TABLE not in aws.operations.tables
    assert table.update("s", "i", **TOUCH)[0]
    aws.late = {"GetItem": (GONE, aws.now + 5)}
    item = table.get("s", "i")
    assert item is not None
    assert item["a"] == {"S": "x"}


def test_recovery_of_a_new_operations_table_is_switched_on_once_it_is_seen() -> None:
    aws = Slow(operations=FakeTables())
    aws.late = {"UpdateContinuousBackups": (Refused("TableNotFoundException"), 5)}
    OperationsTable(aws.session(), aws.sleep).make()
    assert aws.now >= 5
    assert aws.called("dynamodb:UpdateContinuousBackups")


def test_the_operations_table_that_is_never_there_is_an_error_in_the_end() -> None:
    aws = Slow(operations=FakeTables())
    aws.late = {"UpdateItem": (GONE, 10_000)}
    with pytest.raises(AwsError) as raised:
        OperationsTable(aws.session(), aws.sleep).update("s", "i", **TOUCH)
    cause = raised.value.__cause__
    assert code_of(cause) == GONE.code  # type: ignore[arg-type]
    assert 60 < aws.now < 300


def test_nothing_to_delete_in_a_table_that_is_not_there_is_done() -> None:
    OperationsTable(Slow(operations=FakeTables()).session(), lambda _: None).delete("s", "i")
