"""The artifact bucket: made once, checked, and filled with what is not there yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MISSING = {"404", "NoSuchBucket", "NotFound", "NoSuchKey"}


class Bucket:
    """A bucket in the session's region that belongs to the session's account."""

    def __init__(self, client: S3Client, name: str, account: str) -> None:
        self.name = name
        self._client = client
        self._account = account

    def exists(self) -> bool:
        """Whether the bucket exists, be it another account's."""
        with translated(f"bucket {self.name}"):
            try:
                self._client.head_bucket(Bucket=self.name, ExpectedBucketOwner=self._account)
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
                answer = self._client.head_bucket(
                    Bucket=self.name, ExpectedBucketOwner=self._account
                )
            except ClientError as error:
                if code_of(error) in MISSING:
                    raise AwsError(f"{subject} does not exist; check --bucket") from error
                if code_of(error) in {"403", "AccessDenied"}:
                    raise AwsError(
                        f"{subject} is not open to account {self._account}: another account's, "
                        "or not allowed; give a bucket of your own"
                    ) from error
                raise
        region = answer.get("BucketRegion") or self._client.meta.region_name
        if region != self._client.meta.region_name:
            raise AwsError(
                f"{subject} is in {region}, and Lambda takes code only from its own region, "
                f"{self._client.meta.region_name}; give a bucket there"
            )

    def put(self, key: str, body: Callable[[], bytes], content_type: str) -> bool:
        """Put an object whose key names its content; return False if it was there already.

        `body` is called only if it was not.
        """
        with translated(f"s3://{self.name}/{key}"):
            if self._has(key):
                return False
            self._client.put_object(
                Bucket=self.name,
                Key=key,
                Body=body(),
                ContentType=content_type,
                ChecksumAlgorithm="SHA256",
                ExpectedBucketOwner=self._account,
            )
        return True

    def uri(self, key: str) -> str:
        """Return the object's address for people and for the AWS CLI."""
        return f"s3://{self.name}/{key}"

    def url(self, key: str) -> str:
        """Return the object's address for CloudFormation's TemplateURL."""
        return f"{self._client.meta.endpoint_url}/{self.name}/{key}"

    def _has(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self.name, Key=key, ExpectedBucketOwner=self._account)
        except ClientError as error:
            if code_of(error) in MISSING:
                return False
            raise
        return True
