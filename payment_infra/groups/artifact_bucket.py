"""The bucket that holds zips and templates: a stack of its own, once per account and region."""

from dataclasses import dataclass

from awacs.aws import Action as IamAction
from awacs.aws import Bool, Condition, Deny, PolicyDocument, Principal, Statement
from troposphere import Join
from troposphere.s3 import (
    AbortIncompleteMultipartUpload,
    Bucket,
    BucketEncryption,
    BucketPolicy,
    LifecycleConfiguration,
    LifecycleRule,
    NoncurrentVersionExpiration,
    OwnershipControls,
    OwnershipControlsRule,
    PublicAccessBlockConfiguration,
    ServerSideEncryptionByDefault,
    ServerSideEncryptionRule,
    VersioningConfiguration,
)

from payment_infra.groups.retention import RETAIN

OLD_VERSION_DAYS = 90
BROKEN_UPLOAD_DAYS = 7


@dataclass(frozen=True)
class ArtifactBucket:
    """The bucket and its policy."""

    bucket: Bucket
    policy: BucketPolicy


def build_artifact_bucket() -> ArtifactBucket:
    """Build the bucket: encrypted, versioned, private, reached over TLS only, and retained."""
    bucket = Bucket(
        "ArtifactBucket",
        DeletionPolicy=RETAIN,
        UpdateReplacePolicy=RETAIN,
        BucketEncryption=BucketEncryption(
            ServerSideEncryptionConfiguration=[
                ServerSideEncryptionRule(
                    ServerSideEncryptionByDefault=ServerSideEncryptionByDefault(
                        SSEAlgorithm="AES256"
                    )
                )
            ]
        ),
        VersioningConfiguration=VersioningConfiguration(Status="Enabled"),
        PublicAccessBlockConfiguration=PublicAccessBlockConfiguration(
            BlockPublicAcls=True,
            BlockPublicPolicy=True,
            IgnorePublicAcls=True,
            RestrictPublicBuckets=True,
        ),
        OwnershipControls=OwnershipControls(
            Rules=[OwnershipControlsRule(ObjectOwnership="BucketOwnerEnforced")]
        ),
        LifecycleConfiguration=LifecycleConfiguration(
            Rules=[
                LifecycleRule(
                    Id="expire-old-versions",
                    Status="Enabled",
                    NoncurrentVersionExpiration=NoncurrentVersionExpiration(
                        NoncurrentDays=OLD_VERSION_DAYS
                    ),
                    AbortIncompleteMultipartUpload=AbortIncompleteMultipartUpload(
                        DaysAfterInitiation=BROKEN_UPLOAD_DAYS
                    ),
                )
            ]
        ),
    )
    policy = BucketPolicy(
        "ArtifactBucketPolicy",
        # Without it a retained bucket would be open to plain HTTP.
        DeletionPolicy=RETAIN,
        UpdateReplacePolicy=RETAIN,
        Bucket=bucket.ref(),
        PolicyDocument=PolicyDocument(
            Version="2012-10-17",
            Statement=[
                Statement(
                    Sid="DenyPlainHttp",
                    Effect=Deny,
                    Principal=Principal("*"),
                    # A refusal is meant to hold for every action.
                    Action=[IamAction("s3", "*")],
                    Resource=[
                        bucket.get_att("Arn"),
                        Join("/", [bucket.get_att("Arn"), "*"]),
                    ],
                    Condition=Condition(Bool("aws:SecureTransport", False)),
                )
            ],
        ),
    )
    return ArtifactBucket(bucket=bucket, policy=policy)
