"""What API Gateway's proxy events hold: a request id, and a body that nobody has checked yet."""

from __future__ import annotations

import base64
import binascii
import json
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

from handlers.shared.fields import InvalidField, parse_transaction_id

MAX_BODY_BYTES = 16 * 1024

Event = dict[str, Any]


class InvalidRequest(ValueError):
    """A request that the client has to change: the body of its 400."""

    def __init__(self, error: str, **details: object) -> None:
        super().__init__(error)
        self.body = {"error": error, **details}


def request_id(event: Event, context: Any) -> str:
    """Return API Gateway's id of the request, else the invocation's own."""
    request_context = event.get("requestContext")
    named = request_context.get("requestId") if isinstance(request_context, dict) else None
    return str(named or getattr(context, "aws_request_id", ""))


def named_transaction(event: Event) -> str:
    """Return the transaction_id in the body. Raises InvalidRequest if there is no valid one."""
    transaction_id = json_object(event).get("transaction_id")
    if transaction_id is None or transaction_id == "":
        raise InvalidRequest("Missing transaction_id")
    try:
        return parse_transaction_id(transaction_id)
    except InvalidField as invalid:
        raise InvalidRequest(f"Invalid {invalid.field}", message=str(invalid)) from invalid


def location(event: Event, transaction_id: str) -> str:
    """Return where a payment can be looked up, beside the endpoint that was called: a path, with
    the stage's name in front where the client's request has it, and without behind a domain name
    that leads to the stage (API Gateway, "Input format of a Lambda function for proxy integration":
    requestContext.path)."""
    request_context = event.get("requestContext")
    path = request_context.get("path") if isinstance(request_context, dict) else None
    called = str(path or "")
    above = called.rstrip("/").rpartition("/")[0]
    return f"{above}/transactions/{quote(transaction_id, safe='')}"


def json_object(event: Event) -> dict[str, object]:
    """Return the JSON object in the body, each number in it as a Decimal.

    Stricter than the json module where RFC 8259 leaves the meaning open: no duplicate names, no
    byte order mark, no NaN or Infinity. Raises InvalidRequest for everything that is not a JSON
    object in valid UTF-8 of at most MAX_BODY_BYTES.
    """
    content = raw_body(event, MAX_BODY_BYTES)
    try:
        value = json.loads(
            content.decode("utf-8"),
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique_names,
        )
    except UnicodeError as error:
        raise _invalid_body("The body is not valid UTF-8") from error
    except json.JSONDecodeError as error:
        raise _invalid_body("The body is not valid JSON") from error
    except RecursionError as error:
        raise _invalid_body("The body is nested too deeply") from error
    except InvalidOperation as error:
        raise _invalid_body("The body holds a number that is out of range") from error
    if not isinstance(value, dict):
        raise _invalid_body("The body must be a JSON object")
    return value


def raw_body(event: Event, max_bytes: int) -> bytes:
    """Return the body as it was sent. Raises InvalidRequest if there is none, or it is too long."""
    body = event.get("body")
    if not isinstance(body, str):
        raise _invalid_body("The body must be a JSON object")
    try:
        content = body.encode("utf-8")
        if event.get("isBase64Encoded"):
            content = base64.b64decode(content, validate=True)
    except UnicodeError as error:
        raise _invalid_body("The body is not valid UTF-8") from error
    except binascii.Error as error:
        raise _invalid_body("The body is not valid base64") from error
    if len(content) > max_bytes:
        raise _invalid_body(f"The body is over {max_bytes} bytes")
    return content


def _unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _invalid_body("The body holds a name twice in one object")
    return value


def _refuse_constant(_: str) -> None:
    raise _invalid_body("The body holds a number that JSON does not have")


def _invalid_body(message: str) -> InvalidRequest:
    return InvalidRequest("Invalid body", message=message)
