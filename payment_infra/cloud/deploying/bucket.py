"""The artifact bucket: made once, checked, and filled with what is not there yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.events import Waiting
from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.cloud.sdk.polling import POLL_SECONDS
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.sdk.session import Session

Sleep = Callable[[float], None]

MISSING = {"404", "NoSuchBucket", "NotFound", "NoSuchKey"}
# What S3 says besides while not all of it knows a new bucket: its region is not known yet ("Request
# routing": redirects, and 400), or an earlier bucket of the name is still being deleted.
NOT_YET = MISSING | {
    *("301", "307", "400", "409", "TemporaryRedirect", "PermanentRedirect"),
    *("AuthorizationHeaderMalformed", "OperationAborted"),
}
# Looks until a bucket that is not there is taken for missing, some ten seconds of them; and until
# one is that was made a moment ago, some minutes ("Amazon S3 data consistency model": a change of
# a bucket is seen by and by).
MAX_LOOKS, MAX_LOOKS_AT_NEW = 8, 45


class Bucket:
    """A bucket in the session's region that belongs to the session's account.

    max_looks is how often it is looked for (MAX_LOOKS, or MAX_LOOKS_AT_NEW for one that was made a
    moment ago), with pauses by `sleep`; `tell` is told of them.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        *,
        max_looks: int = MAX_LOOKS,
        sleep: Sleep = time.sleep,
        tell: Tell = lambda _: None,
    ) -> None:
        self.name = name
        self._session = session
        self._client: S3Client = session.client("s3")
        self._account = session.account()
        self._max_looks = max_looks
        self._sleep = sleep
        self._tell = tell

    def exists(self) -> bool:
        """Whether the bucket exists, be it another account's."""
        with translated(f"bucket {self.name}"):
            try:
                self._patiently(self._head)
            except ClientError as error:
                return code_of(error) not in MISSING
        return True

    def check(self) -> None:
        """Make sure that the bucket can take what Lambda and CloudFormation will read.

        Raises:
            AwsError: the bucket is missing, in another region, or not this account's.
        """
        subject = f"bucket {self.name}"
        with translated(subject):
            try:
                answer = self._patiently(self._head)
            except ClientError as error:
                if code_of(error) in MISSING:
                    raise AwsError(f"{subject} does not exist; check --bucket") from error
                if code_of(error) in {"403", "AccessDenied"}:
                    raise AwsError(
                        f"{subject} is not open to account {self._account}: another account's, "
                        "or not allowed; give a bucket of your own"
                    ) from error
                raise
        self._check_region(answer.get("BucketRegion"))

    def put(self, key: str, body: Callable[[], bytes], content_type: str) -> bool:
        """Put an object whose key names its content; return False if it was there already.

        `body` is called only if it was not.
        """
        with translated(f"s3://{self.name}/{key}"):
            if self._patiently(lambda: self._has(key)):
                return False
            content = body()
            try:
                self._patiently(
                    lambda: self._client.put_object(
                        Bucket=self.name,
                        Key=key,
                        Body=content,
                        ContentType=content_type,
                        ChecksumAlgorithm="SHA256",
                        ExpectedBucketOwner=self._account,
                    )
                )
            except ClientError as error:
                if code_of(error) not in MISSING:
                    raise
                raise AwsError(
                    f"bucket {self.name}: somebody has deleted it meanwhile; repeat the command"
                ) from error
        return True

    def uri(self, key: str) -> str:
        """Return the object's address for people and for the AWS CLI."""
        return f"s3://{self.name}/{key}"

    def url(self, key: str) -> str:
        """Return the object's address for CloudFormation's TemplateURL."""
        return f"{self._session.s3_for_cloudformation}/{self.name}/{key}"

    def _head(self) -> Any:
        return self._client.head_bucket(Bucket=self.name, ExpectedBucketOwner=self._account)

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """Return what `call` returns; while it does not find the bucket, make it again."""
        for number in range(self._max_looks - 1):
            try:
                return call()
            except ClientError as error:
                if code_of(error) not in NOT_YET:
                    raise
                self._check_region(_region(error))
            self._tell(Waiting(f"S3 does not show the bucket {self.name} yet"))
            self._sleep(POLL_SECONDS[min(number, len(POLL_SECONDS) - 1)])
        return call()

    def _check_region(self, region: str | None) -> None:
        """Refuse a bucket in another region; None: that is not known."""
        if region and region != self._session.region:
            raise AwsError(
                f"bucket {self.name} is in {region}, and Lambda takes code only from its own "
                f"region, {self._session.region}; give a bucket there"
            )

    def _has(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self.name, Key=key, ExpectedBucketOwner=self._account)
        except ClientError as error:
            if code_of(error) in MISSING:
                return False
            raise
        return True


def _region(error: ClientError) -> str | None:
    """Return the region that a refusal names (Amazon S3 API, HeadBucket: x-amz-bucket-region)."""
    answer: Any = error.response.get("ResponseMetadata", {})
    region: str | None = answer.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return region
