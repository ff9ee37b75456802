"""POST /process: claim a validated transaction, charge it and record the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.shared.aws import clients, logs, metrics
from handlers.shared.callers import caller_of
from handlers.shared.charging import Attempt, NotSettled
from handlers.shared.clock import timestamp, utc_now
from handlers.shared.deadline import SEND_AND_LET_GO_SECONDS, Deadline
from handlers.shared.flaws import Flawed, OtherGateway, OtherPayment
from handlers.shared.requests import Event, InvalidRequest, named_transaction, request_id
from handlers.shared.responses import (
    NOT_CHARGED,
    OUTCOME_UNKNOWN,
    Answer,
    bad_request,
    failed,
    in_progress,
    located,
    not_found,
    proxy_response,
)
from handlers.shared.retry_messages import RetryMessage
from handlers.shared.states import CANCELED, DECLINED, PENDING, PROCESSED

if TYPE_CHECKING:
    from datetime import datetime

    from handlers.shared.failures import DependencyFailed
    from handlers.shared.standings import Standing

FAILURE = "Processing failed"


def handler(event: Event, context: Any) -> dict[str, Any]:
    """Answer one proxy event of API Gateway; never raises."""
    request = request_id(event, context)
    logs.begin(request_id=request)
    transaction_id = None
    try:
        transaction_id = named_transaction(event)
        answer = _process(transaction_id, event, request)
    except InvalidRequest as refusal:
        answer = bad_request(refusal)
    except Exception as error:  # noqa: BLE001
        logs.unexpected(error)
        answer = failed(FAILURE, transaction_id, queued=False, unqueued=OUTCOME_UNKNOWN)
    logs.info("process", status=answer.status, transaction_id=transaction_id)
    metrics.end(answer.status)
    return proxy_response(located(answer, event, transaction_id), request)


def _process(transaction_id: str, event: Event, request: str) -> Answer:
    caller = caller_of(event)

    def send(failure: DependencyFailed) -> bool:
        message = RetryMessage(
            operation="process",
            transaction_id=transaction_id,
            reason=failure.reason,
            request_id=request,
            first_failed_at=timestamp(utc_now()),
            caller=caller,
        )
        return clients.retry_queue().send(message)

    deadline = Deadline.of_request(event, utc_now, SEND_AND_LET_GO_SECONDS)
    attempt = Attempt(clients.store(), clients.gateway, clients.gateway_class, deadline, send)
    try:
        standing = attempt.settle(transaction_id, clients.claimant(caller))
    except NotSettled as unsettled:
        failure = unsettled.failure
        logs.error(
            "process failed",
            transaction_id=transaction_id,
            reason=failure.reason,
            code=failure.code,
        )
        return failed(FAILURE, transaction_id, queued=unsettled.queued, unqueued=OUTCOME_UNKNOWN)
    except Flawed as flaw:
        # What another gateway has, or this one has otherwise, may be charged all the same.
        elsewhere = isinstance(flaw, OtherGateway | OtherPayment)
        unqueued = OUTCOME_UNKNOWN if elsewhere else NOT_CHARGED
        return failed(FAILURE, transaction_id, queued=False, unqueued=unqueued)
    if standing is None:
        return not_found(transaction_id)
    return _answer(standing, utc_now())


def _answer(standing: Standing, now: datetime) -> Answer:
    transaction = {"transaction_id": standing.transaction_id, "status": standing.status}
    if standing.status == PROCESSED and standing.charged:
        message = "Payment processed successfully"
        return Answer(
            200, {"message": message, **transaction, "processed_at": standing.processed_at}
        )
    if standing.status == PROCESSED:
        return Answer(200, {"message": "Transaction already processed", **transaction})
    if standing.status == DECLINED:
        return Answer(
            402,
            {
                "error": "Payment declined",
                "transaction_id": standing.transaction_id,
                "reason": standing.decline_reason,
                **({"another_method": True} if standing.another_method else {}),
            },
        )
    if standing.status == PENDING:
        action = {"next_action": standing.next_action} if standing.next_action else {}
        return Answer(202, {"message": "Payment pending", **transaction, **action})
    if standing.status == CANCELED:
        return Answer(409, {"error": "Payment canceled", "transaction_id": standing.transaction_id})
    return in_progress(standing, now)
