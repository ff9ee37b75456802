"""POST /gateway-events: take a notification of the gateway, and settle the payment it is about.

It is open, since a gateway does not sign as AWS has it: what is not signed by the gateway's own
secret is refused before anybody is asked of anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from handlers.shared.aws import clients, logs, metrics
from handlers.shared.aws.intake import STOPPED_VARIABLE
from handlers.shared.clock import utc_now
from handlers.shared.deadline import CALL_SECONDS, Deadline
from handlers.shared.failures import DependencyFailed, is_failure
from handlers.shared.hints import Hints
from handlers.shared.notifications import InvalidNotification, Notification
from handlers.shared.requests import Event, InvalidRequest, raw_body, request_id
from handlers.shared.responses import Answer, bad_request, proxy_response

if TYPE_CHECKING:
    from handlers.shared.gateway import NotifyingGateway

# Beyond what a notification of a payment has, whose every field a gateway limits.
MAX_BODY_BYTES = 256 * 1024
RETRY_AFTER_SECONDS = 60
TAKEN = Answer(200, {"message": "Notification taken"})
LATER = Answer(
    503,
    {
        "error": "Notification not taken",
        "message": "It could not be followed now; please send it again",
    },
    {"Retry-After": str(RETRY_AFTER_SECONDS)},
)
INVALID = "Invalid notification"


def handler(event: Event, context: Any) -> dict[str, Any]:
    """Answer one proxy event of API Gateway; never raises."""
    request = request_id(event, context)
    logs.begin(request_id=request)
    failed = False
    try:
        answer = LATER if _stopped(event) else _take(event)
    except InvalidRequest as refusal:
        answer = bad_request(refusal)
    except DependencyFailed as failure:
        logs.error("notification not followed", reason=failure.reason, code=failure.code)
        answer, failed = LATER, True
    except BaseException as error:
        if not is_failure(error):
            raise
        logs.unexpected(error)
        answer, failed = LATER, True
    logs.info("notification", status=answer.status)
    metrics.end(answer.status, failed=failed)
    return proxy_response(answer, request)


def _stopped(event: Event) -> bool:
    """Whether payments are stopped: API Gateway itself could only answer 429 then, after which not
    every gateway sends again (API Gateway, "Using stage variables")."""
    return STOPPED_VARIABLE in (event.get("stageVariables") or {})


def _take(event: Event) -> Answer:
    body = raw_body(event, MAX_BODY_BYTES)
    headers = {
        str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()
    }
    deadline = Deadline.of_request(event, utc_now, CALL_SECONDS)
    gateway = cast("NotifyingGateway", clients.gateway())
    try:
        notification = gateway.notification(headers, body, utc_now())
    except InvalidNotification as invalid:
        logs.error("notification refused", reason=invalid.code)
        raise InvalidRequest(
            INVALID, message="It is not signed by the payment gateway, or not of these minutes"
        ) from invalid
    if notification is None:
        return TAKEN
    if not isinstance(notification, Notification):
        raise TypeError("a notification is a Notification, or None")
    _check_account(notification, gateway)
    transaction_id = Hints(gateway, clients.store(), deadline).follow(notification.payment_id)
    if transaction_id is None:
        logs.info("payment of others")
    else:
        logs.add(transaction_id=transaction_id)
    return TAKEN


def _check_account(notification: Notification, gateway: NotifyingGateway) -> None:
    """Make sure that the payment is of the account that the gateway is asked for."""
    told = {"account": notification.account, "mode": notification.mode}
    for name, value in told.items():
        if value is not None and value != getattr(gateway, name):
            logs.error("notification refused", reason=f"other_{name}")
            raise InvalidRequest(
                INVALID, message=f"It is of another {name} than this API's payments"
            )
