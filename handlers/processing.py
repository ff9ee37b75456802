"""POST /process: claim a validated transaction, charge it and record the result."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from handlers.shared import clients, logs, metrics
from handlers.shared.charging import let_go, settle
from handlers.shared.clock import timestamp, utc_now
from handlers.shared.failures import DependencyFailed
from handlers.shared.fields import InvalidField, parse_transaction_id
from handlers.shared.requests import Event, InvalidRequest, json_object, request_id
from handlers.shared.responses import Answer, bad_request, failed, proxy_response
from handlers.shared.retry_messages import RetryMessage
from handlers.shared.transactions import DECLINED, PROCESSED

if TYPE_CHECKING:
    from datetime import datetime

    from handlers.shared.transactions import Transaction

FAILURE = "Processing failed"


def handler(event: Event, context: Any) -> dict[str, Any]:
    """Answer one proxy event of API Gateway; never raises."""
    request = request_id(event, context)
    logs.begin(request_id=request)
    transaction_id = None
    try:
        transaction_id = _parse(event)
        answer = _process(transaction_id, request)
    except InvalidRequest as refusal:
        answer = bad_request(refusal)
    except Exception as error:  # noqa: BLE001
        logs.unexpected(error)
        answer = failed(FAILURE, transaction_id, queued=False)
    logs.info("process", status=answer.status, transaction_id=transaction_id)
    metrics.end(answer.status)
    return proxy_response(answer, request)


def _parse(event: Event) -> str:
    transaction_id = json_object(event).get("transaction_id")
    if transaction_id is None or transaction_id == "":
        raise InvalidRequest("Missing transaction_id")
    try:
        return parse_transaction_id(transaction_id)
    except InvalidField as invalid:
        raise InvalidRequest(f"Invalid {invalid.field}", message=str(invalid)) from invalid


def _process(transaction_id: str, request: str) -> Answer:
    store = clients.store()
    attempt_id = str(uuid.uuid4())
    claimed = None
    try:
        row = store.claim(transaction_id, attempt_id, utc_now())
        if row is None:
            return Answer(404, {"error": "Transaction not found", "transaction_id": transaction_id})
        if not row.held_by(attempt_id):
            return _answer(row, utc_now())
        claimed = row
        return _answer(settle(claimed, store, clients.gateway(), utc_now), utc_now(), charged=True)
    except DependencyFailed as failure:
        logs.error(
            "process failed",
            transaction_id=transaction_id,
            reason=failure.reason,
            code=failure.code,
        )
        message = RetryMessage(
            operation="process",
            transaction_id=transaction_id,
            reason=failure.reason,
            request_id=request,
            first_failed_at=timestamp(utc_now()),
        )
        queued = clients.retry_queue().send(message)
        if claimed:
            let_go(claimed, store, utc_now())
        return failed(FAILURE, transaction_id, queued=queued)


def _answer(row: Transaction, now: datetime, *, charged: bool = False) -> Answer:
    transaction = {"transaction_id": row.transaction_id, "status": row.status}
    if row.status == PROCESSED and charged:
        message = "Payment processed successfully"
        return Answer(200, {"message": message, **transaction, "processed_at": row.processed_at})
    if row.status == PROCESSED:
        return Answer(200, {"message": "Transaction already processed", **transaction})
    if row.status == DECLINED:
        return Answer(
            402,
            {
                "error": "Payment declined",
                "transaction_id": row.transaction_id,
                "reason": row.decline_reason,
            },
        )
    return Answer(
        409,
        {"error": "Transaction in progress", "transaction_id": row.transaction_id},
        {"Retry-After": str(row.lease_seconds_left(now))},
    )
