"""GET /transactions/{transaction_id}: tell where a payment stands, and change nothing."""

from __future__ import annotations

from typing import Any

from handlers.shared.aws import clients, logs, metrics
from handlers.shared.callers import caller_of
from handlers.shared.clock import utc_now
from handlers.shared.deadline import CALL_SECONDS, Deadline
from handlers.shared.failures import DependencyFailed
from handlers.shared.fields import InvalidField, parse_transaction_id
from handlers.shared.flaws import Unreadable
from handlers.shared.lookups import description
from handlers.shared.requests import Event, InvalidRequest, request_id
from handlers.shared.responses import TRY_AGAIN, Answer, bad_request, not_found, proxy_response

FAILURE = "Lookup failed"
UNREADABLE = "The stored payment cannot be read; somebody has to look after it"
# What is true of a payment now is of no use to whom asks later (RFC 9111, 5.2.2.5).
HEADERS = {"Cache-Control": "no-store"}


def handler(event: Event, context: Any) -> dict[str, Any]:
    """Answer one proxy event of API Gateway; never raises."""
    request = request_id(event, context)
    logs.begin(request_id=request)
    transaction_id = None
    try:
        transaction_id = _parse(event)
        answer = _look_up(transaction_id, event)
    except InvalidRequest as refusal:
        answer = bad_request(refusal)
    except Exception as error:  # noqa: BLE001
        logs.unexpected(error)
        answer = _failed(transaction_id, TRY_AGAIN)
    logs.info("lookup", status=answer.status, transaction_id=transaction_id)
    metrics.end(answer.status)
    return proxy_response(Answer(answer.status, answer.body, HEADERS), request)


def _parse(event: Event) -> str:
    try:
        return parse_transaction_id((event.get("pathParameters") or {}).get("transaction_id"))
    except InvalidField as invalid:
        raise InvalidRequest(f"Invalid {invalid.field}", message=str(invalid)) from invalid


def _look_up(transaction_id: str, event: Event) -> Answer:
    claimant = clients.claimant(caller_of(event))
    try:
        Deadline.of_request(event, utc_now, 0).require(CALL_SECONDS)
        row = clients.store().find(transaction_id)
    except DependencyFailed as failure:
        logs.error(
            "lookup failed",
            transaction_id=transaction_id,
            reason=failure.reason,
            code=failure.code,
        )
        return _failed(transaction_id, TRY_AGAIN)
    if not row or not claimant.may_process(row):
        return not_found(transaction_id)
    try:
        return Answer(200, description(transaction_id, row, utc_now()))
    except Unreadable as flaw:
        metrics.count(metrics.UNREADABLE)
        logs.error(
            "payment unreadable",
            transaction_id=transaction_id,
            reason=flaw.reason,
            attribute=flaw.attribute,
        )
        return _failed(transaction_id, UNREADABLE)


def _failed(transaction_id: str | None, message: str) -> Answer:
    named = {"transaction_id": transaction_id} if transaction_id else {}
    return Answer(500, {"error": FAILURE, "message": message, **named})
