"""What is queued for a payment that failed: the message and its queue."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared import logs
from handlers.shared.failures import error_code

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from handlers.shared.transactions import Record

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RetryMessage:
    """An operation to repeat.

    record is the whole validated record of a payment that has no row yet, for validate, and None
    for process. reason is a short code; first_failed_at is ISO 8601 in UTC.
    """

    operation: Literal["validate", "process"]
    transaction_id: str
    reason: str
    request_id: str
    first_failed_at: str
    record: Record | None = field(default=None, repr=False)

    def to_json(self) -> str:
        """Return the body of the SQS message, in ASCII, which SQS takes whatever was escaped."""
        message = {"version": SCHEMA_VERSION, **asdict(self)}
        return json.dumps({name: value for name, value in message.items() if value is not None})


class RetryQueue:
    """The queue of failed transactions."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, message: RetryMessage) -> bool:
        """Queue a message; return whether SQS took it, and log it if not."""
        try:
            self._client.send_message(QueueUrl=self._url, MessageBody=message.to_json())
        except (BotoCoreError, ClientError) as error:
            logs.error(
                "retry not queued",
                transaction_id=message.transaction_id,
                reason=message.reason,
                code=error_code(error),
            )
            return False
        return True
