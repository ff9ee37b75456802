"""payment-retry: takes failed transactions from the queue and repeats what failed.

It does what the API does, with the same code, so a message may come twice, out of order, or long
after the payment was settled. A message that fails goes back to the queue, and after its last
receive to the dead-letter queue.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)

from handlers.shared import clients, logs, metrics
from handlers.shared.charging import let_go, settle
from handlers.shared.clock import utc_now
from handlers.shared.failures import DependencyFailed
from handlers.shared.retry_messages import InvalidMessage, RetryMessage
from handlers.shared.store import TransactionExists
from handlers.shared.transactions import DECLINED, PROCESSED

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

    from handlers.shared.transactions import Transaction

# The longest that one message may take: the secret, claim, charge, finish and let go (the budget in
# clients.py), with a second to spare.
MESSAGE_SECONDS = 24


class NotNow(Exception):
    """The message goes back to the queue; the text is a short code for the reason."""


def handler(event: dict[str, Any], context: Any) -> Any:
    """Answer an SQS event with the messages that are to come back."""

    def retry(record: SQSRecord) -> None:
        _retry(record, context)

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    try:
        return process_partial_response(
            event=event, record_handler=retry, processor=processor, context=context
        )
    finally:
        metrics.flush()


def _retry(record: SQSRecord, context: Any) -> None:
    """Repeat one message; raise if it is to come back. Each message is one log line."""
    logs.begin(request_id=context.aws_request_id, message_id=record.message_id)
    try:
        if context.get_remaining_time_in_millis() < MESSAGE_SECONDS * 1000:
            raise NotNow("no_time_left")
        message = RetryMessage.from_json(record.body)
        logs.add(
            operation=message.operation,
            transaction_id=message.transaction_id,
            original_request_id=message.request_id,
        )
        status = _validate(message) if message.operation == "validate" else _process(message)
    except DependencyFailed as failure:
        logs.error("retry failed", reason=failure.reason, code=failure.code)
        raise
    except InvalidMessage as invalid:
        if invalid.transaction_id:
            logs.add(transaction_id=invalid.transaction_id)
        logs.error("retry failed", reason=str(invalid))
        raise
    except TransactionExists as conflict:
        logs.error("retry failed", reason=conflict.reason)
        raise
    except NotNow as postponed:
        logs.error("retry failed", reason=str(postponed))
        raise
    except Exception as failure:
        logs.unexpected(failure)
        raise
    metrics.count(metrics.RETRIED)
    logs.info("retried", status=status)


def _validate(message: RetryMessage) -> str:
    transaction = message.transaction()
    if clients.store().add(transaction):
        metrics.count(metrics.VALIDATED)
    return transaction.status


def _process(message: RetryMessage) -> str:
    store = clients.store()
    attempt_id = str(uuid.uuid4())
    row = store.claim(message.transaction_id, attempt_id, utc_now())
    if row is None:
        raise NotNow("transaction_not_found")
    if row.held_by(attempt_id):
        row = _charge(row)
    if row.status not in {PROCESSED, DECLINED}:
        raise NotNow("in_progress_elsewhere")
    return row.status


def _charge(claimed: Transaction) -> Transaction:
    store = clients.store()
    try:
        return settle(claimed, store, clients.gateway(), utc_now)
    except DependencyFailed:
        let_go(claimed, store, utc_now())
        raise
