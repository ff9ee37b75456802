"""payment-retry: takes failed transactions from the queue and repeats what failed.

It does what the API does, with the same code, so a message may come twice, out of order, or long
after the payment was settled. A message that fails goes back to the queue, and after its last
receive to the dead-letter queue.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)

from handlers.shared.aws import clients, logs, metrics
from handlers.shared.aws.store import TransactionExists
from handlers.shared.charging import Attempt, NotSettled
from handlers.shared.clock import utc_now
from handlers.shared.deadline import CALL_SECONDS, MESSAGE_SECONDS, ORDER_SECONDS, Deadline
from handlers.shared.failures import DependencyFailed
from handlers.shared.flaws import Flawed
from handlers.shared.recording import NotRecorded
from handlers.shared.retry_messages import (
    CALLER_ATTRIBUTE,
    STILL_PENDING,
    InvalidMessage,
    RetryMessage,
)
from handlers.shared.states import PENDING, SETTLED

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

# The one key of an order, by which somebody who may invoke the function has it look after one
# payment, or list what the gateway has. An event of SQS has another key, "Records", and what a
# message holds is further in ("Using Lambda with Amazon SQS"), so neither is ever taken for the
# other.
ORDER = "by_hand"


class NotNow(Exception):
    """The message goes back to the queue; the text is a short code for the reason."""


def handler(event: dict[str, Any], context: Any) -> Any:
    """Answer an SQS event with the messages that are to come back, and a person's order with what
    came of it (see `orders.carry_out`)."""
    if event.keys() == {ORDER}:
        return _by_hand(event, context)

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
        # Letting go is all that a failed one needs: it comes back by itself.
        deadline = Deadline.of_invocation(context, utc_now, CALL_SECONDS)
        if context.get_remaining_time_in_millis() < MESSAGE_SECONDS * 1000:
            raise NotNow("no_time_left")
        message = RetryMessage.from_json(record.body, _caller(record))
        logs.add(
            operation=message.operation,
            transaction_id=message.transaction_id,
            original_request_id=message.request_id,
        )
        if message.operation == "validate":
            status = _validate(message)
        else:
            status = _process(message, deadline)
    except NotSettled as unsettled:
        if _is_looked_at_again(message, unsettled):
            failure = unsettled.failure
            logs.error("look failed", reason=failure.reason, code=failure.code)
            metrics.count(metrics.UNANSWERED)
            return
        _failed(unsettled.failure.reason, unsettled.failure.code)
        raise
    except DependencyFailed as failure:
        _failed(failure.reason, failure.code)
        raise
    except InvalidMessage as invalid:
        if invalid.transaction_id:
            logs.add(transaction_id=invalid.transaction_id)
        _failed(str(invalid))
        raise
    except (Flawed, TransactionExists) as refusal:
        _failed(refusal.reason)
        raise
    except NotNow as postponed:
        _failed(str(postponed))
        raise
    except Exception as failure:
        logs.unexpected(failure)
        raise
    metrics.count(metrics.RETRIED)
    logs.info("retried", status=status)


def _by_hand(event: dict[str, Any], context: Any) -> dict[str, object]:
    """Carry out what a person has ordered; that is one log line."""
    from handlers.shared.by_hand import Hand  # which no message needs
    from handlers.shared.orders import carry_out

    logs.begin(request_id=context.aws_request_id)
    deadline = Deadline(utc_now() + timedelta(seconds=ORDER_SECONDS), utc_now, CALL_SECONDS)
    try:
        told = carry_out(event[ORDER], lambda: Hand(clients.store(), clients.gateway(), deadline))
        logs.info("by hand", **_in_short(told))
    finally:
        metrics.flush()
    return {ORDER: told}


def _in_short(told: dict[str, object]) -> dict[str, object]:
    """Return what the log has of an answer: of a list, how long it is."""
    payments = told.get("payments")
    return {"listed": len(payments)} if isinstance(payments, list) else told


def _failed(reason: str, code: str | None = None) -> None:
    logs.error("retry failed", reason=reason, **({} if code is None else {"code": code}))


def _caller(record: SQSRecord) -> str | None:
    attributes: dict[str, dict[str, str]] = record.raw_event.get("messageAttributes") or {}
    return attributes.get(CALLER_ATTRIBUTE, {}).get("stringValue")


def _validate(message: RetryMessage) -> str:
    transaction = message.transaction()
    if clients.store().add(transaction, message.more()).done:
        metrics.count(metrics.VALIDATED)
    return transaction.status


def _is_looked_at_again(message: RetryMessage, unsettled: NotSettled) -> bool:
    """Whether the scheduled run sends another message about the payment in any case.

    A pending one has its next look in the index, and so had one that was to be looked at, if it has
    not ended. But a capture that may not be on record comes back, until it is known to be.
    """
    if isinstance(unsettled.failure, NotRecorded):
        return False
    if unsettled.status is None:
        return message.reason == STILL_PENDING
    return unsettled.status == PENDING


def _process(message: RetryMessage, deadline: Deadline) -> str:
    attempt = Attempt(clients.store(), clients.gateway, clients.gateway_class, deadline)
    standing = attempt.settle(message.transaction_id, clients.claimant(message.caller))
    if standing is None:
        raise NotNow("transaction_not_found")
    if standing.status not in SETTLED and standing.status != PENDING:
        raise NotNow("in_progress_elsewhere")
    return standing.status
