"""POST /cancel: end a payment that has not been charged, so that it never will be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.shared.aws import clients, logs, metrics
from handlers.shared.callers import caller_of
from handlers.shared.canceling import Cancellation
from handlers.shared.charging import report
from handlers.shared.clock import utc_now
from handlers.shared.deadline import Deadline
from handlers.shared.failures import DependencyFailed
from handlers.shared.flaws import Flawed
from handlers.shared.requests import (
    Event,
    InvalidRequest,
    named_transaction,
    request_id,
)
from handlers.shared.responses import (
    TRY_AGAIN,
    Answer,
    bad_request,
    in_progress,
    located,
    not_found,
    proxy_response,
)
from handlers.shared.states import CANCELED, DECLINED, PROCESSED, PROCESSING

if TYPE_CHECKING:
    from datetime import datetime

    from handlers.shared.standings import Standing

FAILURE = "Cancellation failed"
FLAWED = "The payment cannot be canceled; somebody has to look after it"
# What a payment has come to that is not canceled.
ENDS = {PROCESSED: "Transaction already processed", DECLINED: "Payment declined"}


def handler(event: Event, context: Any) -> dict[str, Any]:
    """Answer one proxy event of API Gateway; never raises."""
    request = request_id(event, context)
    logs.begin(request_id=request)
    transaction_id = None
    try:
        transaction_id = named_transaction(event)
        answer = _cancel(transaction_id, event)
    except InvalidRequest as refusal:
        answer = bad_request(refusal)
    except Exception as error:  # noqa: BLE001
        logs.unexpected(error)
        answer = _failed(transaction_id, TRY_AGAIN)
    logs.info("cancel", status=answer.status, transaction_id=transaction_id)
    metrics.end(answer.status)
    return proxy_response(located(answer, event, transaction_id), request)


def _cancel(transaction_id: str, event: Event) -> Answer:
    deadline = Deadline.of_request(event, utc_now, 0)
    cancellation = Cancellation(clients.store(), clients.gateway, deadline)
    try:
        standing = cancellation.cancel(transaction_id, clients.claimant(caller_of(event)))
    except DependencyFailed as failure:
        logs.error(
            "cancel failed",
            transaction_id=transaction_id,
            reason=failure.reason,
            code=failure.code,
        )
        return _failed(transaction_id, TRY_AGAIN)
    except Flawed as flaw:
        report(transaction_id, flaw, "payment not canceled")
        return _failed(transaction_id, FLAWED)
    if standing is None:
        return not_found(transaction_id)
    return _answer(standing, utc_now())


def _answer(standing: Standing, now: datetime) -> Answer:
    transaction = {"transaction_id": standing.transaction_id, "status": standing.status}
    if standing.status == CANCELED:
        return Answer(200, {"message": "Payment canceled", **transaction})
    if standing.status in ENDS:
        return Answer(409, {"error": ENDS[standing.status], **transaction})
    if standing.status == PROCESSING:
        return in_progress(standing, now)
    return Answer(409, {"error": "Payment cannot be canceled now", **transaction})


def _failed(transaction_id: str | None, message: str) -> Answer:
    named = {"transaction_id": transaction_id} if transaction_id else {}
    return Answer(500, {"error": FAILURE, "message": message, **named})
