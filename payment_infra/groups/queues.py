"""The queue of failed transactions and its dead-letter queue."""

from dataclasses import dataclass

from troposphere.sqs import Queue, RedrivePolicy

from payment_infra.config import StackConfig
from payment_infra.groups.retention import stateful
from payment_infra.naming import suffixed

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


def build_queues(config: StackConfig) -> Queues:
    """Build both queues; a message moves to the second after three receives."""
    dead_letter = Queue(
        "FailedTransactionsDLQ",
        **stateful(config),
        QueueName=suffixed("failed-transactions-dlq"),
        MessageRetentionPeriod=DEAD_LETTER_RETENTION_SECONDS,
        SqsManagedSseEnabled=True,
    )
    failed = Queue(
        "FailedTransactionsQueue",
        **stateful(config),
        QueueName=suffixed("failed-transactions"),
        VisibilityTimeout=VISIBILITY_TIMEOUT_SECONDS,
        MessageRetentionPeriod=RETENTION_SECONDS,
        RedrivePolicy=RedrivePolicy(
            deadLetterTargetArn=dead_letter.get_att("Arn"), maxReceiveCount=MAX_RECEIVES
        ),
        SqsManagedSseEnabled=True,
    )
    return Queues(failed=failed, dead_letter=dead_letter)
