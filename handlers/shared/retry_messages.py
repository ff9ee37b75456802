"""What is queued for a payment that failed: the message, its queue, and reading it back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared import logs, metrics
from handlers.shared.failures import error_code
from handlers.shared.fields import InvalidField, parse_transaction_id
from handlers.shared.transactions import VALIDATED, Transaction

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from handlers.shared.transactions import Record

SCHEMA_VERSION = 1

Operation = Literal["validate", "process"]
OPERATIONS: tuple[Operation, ...] = ("validate", "process")

# What a transaction that is just validated consists of.
_RECORD_TYPES = {
    **dict.fromkeys(
        (
            *("transaction_id", "amount", "currency", "customer_id"),
            *("status", "fingerprint", "created_at", "updated_at"),
        ),
        str,
    ),
    "amount_minor": int,
}


class InvalidMessage(ValueError):
    """A message that can never succeed; the text is a short code, and never what it holds.

    transaction_id is the one that the message names, None if it names none.
    """

    def __init__(self, reason: str, message: object = None) -> None:
        super().__init__(reason)
        self.transaction_id = _named_transaction(message)


@dataclass(frozen=True, kw_only=True)
class RetryMessage:
    """An operation to repeat.

    record is the whole validated record of a payment that has no row yet, for validate, and None
    for process. reason is a short code; request_id is the request's that failed first;
    first_failed_at is ISO 8601 in UTC.
    """

    operation: Operation
    transaction_id: str
    reason: str
    request_id: str
    first_failed_at: str
    record: Record | None = field(default=None, repr=False)

    @classmethod
    def from_json(cls, body: str) -> RetryMessage:
        """Return the message that an SQS message's body holds.

        Raises InvalidMessage for anything that `to_json` does not write.
        """
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidMessage("not_json") from error
        version = message.pop("version", None) if isinstance(message, dict) else None
        if type(version) is not int or version != SCHEMA_VERSION:
            raise InvalidMessage("unknown_version", message)
        if message.get("operation") not in OPERATIONS:
            raise InvalidMessage("unknown_operation", message)
        _check_strings(message, "transaction_id", "reason", "request_id", "first_failed_at")
        try:
            parse_transaction_id(message["transaction_id"])
            parsed = cls(**message)
        except (InvalidField, TypeError) as error:
            raise InvalidMessage("bad_schema", message) from error
        if parsed.operation == "validate":
            parsed.transaction()
        elif "record" in message:
            raise InvalidMessage("bad_schema", message)
        return parsed

    def transaction(self) -> Transaction:
        """Return the transaction that the record of a validate message holds.

        Raises InvalidMessage if it holds none, or more than a transaction that is just validated.
        """
        record = self.record
        if not (
            isinstance(record, dict)
            and record.keys() == _RECORD_TYPES.keys()
            and all(type(value) is _RECORD_TYPES[name] for name, value in record.items())
            and record["transaction_id"] == self.transaction_id
            and record["status"] == VALIDATED
        ):
            raise InvalidMessage("bad_record", {"transaction_id": self.transaction_id})
        return Transaction.from_record(record)

    def to_json(self) -> str:
        """Return the body of the SQS message, in ASCII, which SQS takes whatever was escaped."""
        message = {"version": SCHEMA_VERSION, **asdict(self)}
        return json.dumps({name: value for name, value in message.items() if value is not None})


def _check_strings(message: dict[str, Any], *names: str) -> None:
    if not all(isinstance(message.get(name), str) for name in names):
        raise InvalidMessage("bad_schema", message)


def _named_transaction(message: object) -> str | None:
    try:
        return parse_transaction_id(
            message.get("transaction_id") if isinstance(message, dict) else None
        )
    except InvalidField:
        return None


class RetryQueue:
    """The queue of failed transactions."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, message: RetryMessage) -> bool:
        """Queue a message; return whether SQS took it, and log and count it if not."""
        try:
            self._client.send_message(QueueUrl=self._url, MessageBody=message.to_json())
        except (BotoCoreError, ClientError) as error:
            metrics.count(metrics.RETRIES_NOT_QUEUED)
            logs.error(
                "retry not queued",
                transaction_id=message.transaction_id,
                reason=message.reason,
                code=error_code(error),
            )
            return False
        return True
