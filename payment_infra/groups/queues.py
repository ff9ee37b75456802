"""The queue of failed transactions and its dead-letter queue."""

from dataclasses import dataclass

from awacs.aws import Action, PolicyDocument
from troposphere import AWSHelperFn
from troposphere.sqs import Queue, QueuePolicy, RedrivePolicy

from payment_infra.config import StackConfig
from payment_infra.groups.encryption import Encryption
from payment_infra.groups.iam import require_tls
from payment_infra.groups.retention import stateful
from payment_infra.names import DEAD_LETTERS, FAILED_TRANSACTIONS
from payment_infra.naming import arn_of, suffixed

VISIBILITY_TIMEOUT_SECONDS = 300
MAX_RECEIVES = 3
# A message that nobody could take for so long still has days left in the dead-letter queue.
RETENTION_SECONDS = 10 * 24 * 60 * 60
# SQS keeps a message for 14 days at most; one that moves to the dead-letter queue keeps its age.
DEAD_LETTER_RETENTION_SECONDS = 14 * 24 * 60 * 60
# How long SQS uses a data key before it asks for another one, from a minute to a day: each asking
# costs (Amazon SQS, "Key management", "Estimating AWS KMS costs").
DATA_KEY_REUSE_SECONDS = 60 * 60


@dataclass(frozen=True)
class Queues:
    """Where a failed transaction waits for its retry, and where it ends after the last one.

    failed_arn is the ARN of the first for those who are granted something there. In failed_runs
    Lambda puts the events of scheduled runs that failed, if they are kept.
    """

    failed: Queue
    dead_letter: Queue
    policy: QueuePolicy
    failed_arn: AWSHelperFn
    failed_runs: Queue | None


def build_queues(config: StackConfig, encryption: Encryption) -> Queues:
    """Build the queues; a message moves from the first to the second after three receives, and back
    to no other. None takes a request without TLS."""
    encrypted: dict[str, object] = {"SqsManagedSseEnabled": True}
    if by_key := encryption.by("KmsMasterKeyId"):
        # A queue has one of the two (SQS API, SetQueueAttributes).
        encrypted = {**by_key, "KmsDataKeyReusePeriodSeconds": DATA_KEY_REUSE_SECONDS}
    dead_letter = Queue(
        "FailedTransactionsDLQ",
        **stateful(config),
        QueueName=suffixed(DEAD_LETTERS),
        MessageRetentionPeriod=DEAD_LETTER_RETENTION_SECONDS,
        **encrypted,
        # By its name: the queue itself refers to this one.
        RedriveAllowPolicy={
            "redrivePermission": "byQueue",
            "sourceQueueArns": [arn_of("sqs", FAILED_TRANSACTIONS)],
        },
    )
    failed = Queue(
        "FailedTransactionsQueue",
        **stateful(config),
        QueueName=suffixed(FAILED_TRANSACTIONS),
        VisibilityTimeout=VISIBILITY_TIMEOUT_SECONDS,
        MessageRetentionPeriod=RETENTION_SECONDS,
        RedrivePolicy=RedrivePolicy(
            deadLetterTargetArn=dead_letter.get_att("Arn"), maxReceiveCount=MAX_RECEIVES
        ),
        **encrypted,
    )
    failed_runs = Queue(
        "FailedRunsQueue",
        **stateful(config),
        QueueName=suffixed("failed-scheduled-runs"),
        MessageRetentionPeriod=DEAD_LETTER_RETENTION_SECONDS,
        **encrypted,
    )
    kept = [failed_runs] if config.failed_runs else []
    policy = QueuePolicy(
        "QueuesPolicy",
        Queues=[queue.ref() for queue in (failed, dead_letter, *kept)],
        PolicyDocument=PolicyDocument(
            Version="2012-10-17", Statement=[require_tls(Action("sqs", "*"), "*")]
        ),
    )
    return Queues(
        failed=failed,
        dead_letter=dead_letter,
        policy=policy,
        # By its name where grants have to be there before the queue changes (see `template.py`).
        failed_arn=(
            arn_of("sqs", FAILED_TRANSACTIONS) if encryption.key else failed.get_att("Arn")
        ),
        failed_runs=failed_runs if config.failed_runs else None,
    )
