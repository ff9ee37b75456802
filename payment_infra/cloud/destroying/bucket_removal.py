"""Removing the artifact bucket with its stack, once nothing needs it any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.deploying.bootstrap import BOOTSTRAP_STACK, bootstrapped
from payment_infra.cloud.deploying.bucket import MISSING
from payment_infra.cloud.environment.listing import find_stacks
from payment_infra.cloud.events import Waiting
from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import AwsError
from payment_infra.names import naming_flags

if TYPE_CHECKING:
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.sdk.session import Session

# Objects that one call deletes (S3 API, DeleteObjects).
BATCH_SIZE = 1000


@dataclass(frozen=True)
class Contents:
    """The bucket, how many versions of objects it has, and their bytes."""

    bucket: str
    versions: int
    size_bytes: int


def examine(session: Session) -> Contents | None:
    """Look at the account's own bucket in the region; None if there is none.

    Raises:
        AwsError: environments are left whose code is in it.
    """
    bucket = bootstrapped(session)
    if bucket is None:
        return None
    if left := find_stacks(session.client("cloudformation")):
        names = ", ".join(found.stack for found in left)
        named = (naming_flags(found.suffix, found.stack) for found in left)
        first = ", ".join(
            f"`{session.command(f'payment-infra destroy {flags}')}`" for flags in named
        )
        raise AwsError(
            f"the bucket {bucket} holds the code of {names}; delete those first: {first}"
        )
    sizes = [version.get("Size", 0) for page in _versions(session, bucket) for version in page]
    return Contents(bucket, len(sizes), sum(sizes))


def remove(session: Session, contents: Contents, tell: Tell) -> None:
    """Delete every version of every object, the bucket, and the stack that has made it.

    The stack goes last: until then, it tells an interrupted run's repetition the bucket's name.

    Args:
        session: whose account.
        contents: what `examine` has found.
        tell: is told how many versions are gone, and the events of the stack.

    Raises:
        AwsError: something could not be deleted; repeat it.
    """
    client, gone = session.client("s3"), 0
    for page in _versions(session, contents.bucket):
        for start in range(0, len(page), BATCH_SIZE):
            objects = [
                {"Key": version["Key"], "VersionId": version["VersionId"]}
                for version in page[start : start + BATCH_SIZE]
            ]
            with translated(f"bucket {contents.bucket}"):
                answer = client.delete_objects(
                    Bucket=contents.bucket,
                    Delete={"Objects": objects, "Quiet": True},
                    ExpectedBucketOwner=session.account(),
                )
            if errors := answer.get("Errors"):
                raise AwsError(
                    f"bucket {contents.bucket}: {errors[0].get('Key')} could not be deleted "
                    f"({errors[0].get('Message') or errors[0].get('Code')})"
                )
            gone += len(objects)
            tell(Waiting(f"{gone} of {contents.versions} versions are deleted"))
    with translated(f"bucket {contents.bucket}"):
        try:
            client.delete_bucket(Bucket=contents.bucket, ExpectedBucketOwner=session.account())
        except ClientError as error:
            if code_of(error) == "BucketNotEmpty":
                raise AwsError(
                    f"bucket {contents.bucket}: somebody has put something into it meanwhile; "
                    "repeat the command"
                ) from error
            if code_of(error) not in MISSING:
                raise
    stack = Stack(session.client("cloudformation"), BOOTSTRAP_STACK)
    state = stack.state()
    if state is not None:
        for event in stack.delete(state):
            tell(event)


def _versions(session: Session, bucket: str) -> Iterator[list[Any]]:
    """Yield pages of versions and delete markers; none for a bucket that is gone already."""
    pages = session.client("s3").get_paginator("list_object_versions")
    with translated(f"bucket {bucket}"):
        try:
            for page in pages.paginate(Bucket=bucket, ExpectedBucketOwner=session.account()):
                yield [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        except ClientError as error:
            if code_of(error) not in MISSING:
                raise
