"""POST /validate: check a payment and store it as a validated transaction."""

from __future__ import annotations

from typing import Any

from handlers.shared.aws import clients, logs, metrics
from handlers.shared.aws.store import TransactionExists
from handlers.shared.callers import caller_of
from handlers.shared.clock import timestamp, utc_now
from handlers.shared.deadline import CALL_SECONDS, Deadline
from handlers.shared.failures import DependencyFailed, is_failure
from handlers.shared.fields import (
    InvalidField,
    parse_customer_id,
    parse_payment_method,
    parse_reference,
    parse_return_url,
)
from handlers.shared.idempotency import REPLAYED_HEADER, transaction_id_for
from handlers.shared.money import Money
from handlers.shared.needs import missing, units
from handlers.shared.requests import Event, InvalidRequest, json_object, request_id
from handlers.shared.responses import Answer, bad_request, failed, proxy_response
from handlers.shared.retry_messages import RetryMessage
from handlers.shared.transactions import Transaction

REQUIRED_FIELDS = ("amount", "currency", "customer_id")
OPTIONAL_FIELDS = {
    "payment_method": parse_payment_method,
    "reference": parse_reference,
    "return_url": parse_return_url,
}
FAILURE = "Validation failed"


def handler(event: Event, context: Any) -> dict[str, Any]:
    """Answer one proxy event of API Gateway; never raises."""
    request = request_id(event, context)
    logs.begin(request_id=request)
    transaction_id = None
    try:
        money, customer_id, details = _parse(event)
        transaction_id = transaction_id_for(event)
        caller = caller_of(event)
        transaction = Transaction.validated(
            transaction_id, money, customer_id, utc_now(), caller, details
        )
        answer = _validate(transaction, Deadline.of_request(event, utc_now, CALL_SECONDS), request)
    except InvalidRequest as refusal:
        answer = bad_request(refusal)
    except BaseException as error:
        if not is_failure(error):
            raise
        logs.unexpected(error)
        answer = failed(FAILURE, transaction_id, queued=False)
    logs.info("validate", status=answer.status, transaction_id=transaction_id)
    metrics.end(answer.status)
    return proxy_response(answer, request)


def _parse(event: Event) -> tuple[Money, str, dict[str, str]]:
    """Return the money, the customer_id, and what was sent of OPTIONAL_FIELDS.

    What the gateway needs is required too; its class says so, which needs no secret.
    """
    body = json_object(event)
    gateway = clients.gateway_class()
    lacking = [name for name in REQUIRED_FIELDS if name not in body] + missing(gateway, body)
    if lacking:
        raise InvalidRequest(FAILURE, missing_fields=lacking)
    try:
        money = Money.parse(body["amount"], body["currency"])
        customer_id = parse_customer_id(body["customer_id"])
        details = {
            name: parse(body[name]) for name, parse in OPTIONAL_FIELDS.items() if name in body
        }
        units(gateway, money)
        return money, customer_id, details
    except InvalidField as invalid:
        raise InvalidRequest(f"Invalid {invalid.field}", message=str(invalid)) from invalid


def _validate(transaction: Transaction, deadline: Deadline, request: str) -> Answer:
    try:
        deadline.require(CALL_SECONDS)
        write = clients.store().add(transaction)
    except TransactionExists:
        return Answer(
            422,
            {
                "error": "Idempotency key reused",
                "message": "The Idempotency-Key belongs to another payment; use a new key",
            },
        )
    except DependencyFailed as failure:
        logs.error("validate failed", reason=failure.reason, code=failure.code)
        record = transaction.to_record()
        # The caller travels beside the body, which the release before this one has to read.
        record.pop("caller", None)
        message = RetryMessage(
            operation="validate",
            transaction_id=transaction.transaction_id,
            record=record,
            reason=failure.reason,
            request_id=request,
            first_failed_at=timestamp(utc_now()),
            caller=transaction.caller,
        )
        queued = clients.retry_queue().send(message)
        return failed(FAILURE, transaction.transaction_id, queued=queued)
    if write.done:
        metrics.count(metrics.VALIDATED)
    # What this request has stored itself, in a call that the SDK repeated, is no replay.
    replayed = not write.done and write.row.get("created_at") != transaction.created_at
    return Answer(
        200,
        {
            "message": "Payment validated successfully",
            "transaction_id": transaction.transaction_id,
            "status": transaction.status,
        },
        {REPLAYED_HEADER: "true"} if replayed else {},
    )
