"""What is queued for a payment that failed: the message, its queue, and reading it back.

While a deployment is in progress, and after a rollback, messages are read by other releases than
those that wrote them. A reader therefore takes a message with fields that it does not know, and a
writer gives the body no field that the release before it would refuse: that one took no unknown
field, so the caller travels as an attribute of the SQS message. The version changes only if readers
of the old one must not take the new one.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared.aws import logs, metrics
from handlers.shared.deadline import CALL_SECONDS
from handlers.shared.failures import error_code
from handlers.shared.fields import InvalidField, parse_transaction_id
from handlers.shared.flaws import Unreadable
from handlers.shared.states import VALIDATED
from handlers.shared.transactions import DETAILS, REQUIRED, TYPES, Transaction

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

    from handlers.shared.transactions import Record

SCHEMA_VERSION = 1
# A message is seen only when its sender has let the payment go, or its first receive would be lost.
DELAY_SECONDS = math.ceil(CALL_SECONDS)
# The attribute of the SQS message that names the caller; without it the system itself asks.
CALLER_ATTRIBUTE = "caller"

# The reason of a message by which a pending payment is looked at. The next look at it is in the
# index already.
STILL_PENDING = "still_pending"

Operation = Literal["validate", "process"]
OPERATIONS: tuple[Operation, ...] = ("validate", "process")

# The attributes of a transaction that is just validated, and those that it gets only later.
_RECORD_NAMES = frozenset(REQUIRED)
_LATER_NAMES = TYPES.keys() - _RECORD_NAMES - {"caller", "details_fingerprint", *DETAILS}


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
    first_failed_at is ISO 8601 in UTC. caller is the principal that asked, None for the system.
    """

    operation: Operation
    transaction_id: str
    reason: str
    request_id: str
    first_failed_at: str
    record: Record | None = field(default=None, repr=False)
    caller: str | None = None

    @classmethod
    def from_json(cls, body: str, caller: str | None = None) -> RetryMessage:
        """Return the message of an SQS message's body and caller attribute.

        Fields that it does not know are left out. Raises InvalidMessage for anything that `to_json`
        of this release, or of another one, does not write.
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
        except InvalidField as error:
            raise InvalidMessage("bad_schema", message) from error
        known = {name: message[name] for name in _BODY_FIELDS if name in message}
        parsed = cls(**known, caller=caller)
        if parsed.operation == "validate":
            parsed.transaction()
        elif "record" in message:
            raise InvalidMessage("bad_schema", message)
        return parsed

    def transaction(self) -> Transaction:
        """Return the transaction that the record of a validate message holds.

        Raises InvalidMessage if it holds none, or one that is further than just validated.
        """
        record = self.record
        if not (
            isinstance(record, dict)
            and record.keys() >= _RECORD_NAMES
            and not record.keys() & _LATER_NAMES
            and all(type(value) in {str, int} for value in record.values())
            and record["transaction_id"] == self.transaction_id
            and record["status"] == VALIDATED
        ):
            raise InvalidMessage("bad_record", {"transaction_id": self.transaction_id})
        try:
            transaction = Transaction.from_record(record)
        except Unreadable as error:
            raise InvalidMessage("bad_record", {"transaction_id": self.transaction_id}) from error
        return replace(transaction, caller=self.caller or transaction.caller)

    def more(self) -> Record:
        """Return what the record holds that only a later release knows, to be stored as it is."""
        return {name: value for name, value in (self.record or {}).items() if name not in TYPES}

    def to_json(self) -> str:
        """Return the body of the SQS message, in ASCII, which SQS takes whatever was escaped."""
        message = {
            "version": SCHEMA_VERSION,
            **{name: getattr(self, name) for name in _BODY_FIELDS},
        }
        return json.dumps({name: value for name, value in message.items() if value is not None})


# In the order in which the body has them.
_BODY_FIELDS = tuple(
    attribute.name for attribute in fields(RetryMessage) if attribute.name != CALLER_ATTRIBUTE
)


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
        attributes: dict[str, MessageAttributeValueTypeDef] = {}
        if message.caller:
            attributes[CALLER_ATTRIBUTE] = {"DataType": "String", "StringValue": message.caller}
        try:
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=message.to_json(),
                MessageAttributes=attributes,
                DelaySeconds=DELAY_SECONDS,
            )
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
