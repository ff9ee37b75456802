"""The queue of failed transactions and its dead-letter queue."""

from dataclasses import dataclass

from awacs.aws import Action, PolicyDocument
from troposphere.sqs import Queue, QueuePolicy, RedrivePolicy

from payment_infra.config import StackConfig
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


@dataclass(frozen=True)
class Queues:
    """Where a failed transaction waits for its retry, and where it ends after the last one."""

    failed: Queue
    dead_letter: Queue
    policy: QueuePolicy


def build_queues(config: StackConfig) -> Queues:
    """Build both queues; a message moves to the second after three receives, and back to no other
    than the first. Both take no request without TLS."""
    dead_letter = Queue(
        "FailedTransactionsDLQ",
        **stateful(config),
        QueueName=suffixed(DEAD_LETTERS),
        MessageRetentionPeriod=DEAD_LETTER_RETENTION_SECONDS,
        SqsManagedSseEnabled=True,
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
        SqsManagedSseEnabled=True,
    )
    policy = QueuePolicy(
        "QueuesPolicy",
        Queues=[failed.ref(), dead_letter.ref()],
        PolicyDocument=PolicyDocument(
            Version="2012-10-17", Statement=[require_tls(Action("sqs", "*"), "*")]
        ),
    )
    return Queues(failed=failed, dead_letter=dead_letter, policy=policy)
