"""The transactions table: every state change is one conditional write.

A write that its condition refuses returns the row that stood in the way (the DynamoDB API
Reference, "ReturnValuesOnConditionCheckFailure"), so no decision needs a read, and none can race.
The SDK may repeat a call whose answer was lost. Each condition therefore lets its own repetition
pass, or the row shows that the first one took effect.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared.clock import epoch_seconds, timestamp
from handlers.shared.failures import DependencyFailed, error_code
from handlers.shared.transactions import (
    DECLINED,
    IN_FLIGHT_KEYS,
    LEASE_SECONDS,
    MAX_RECOVERIES,
    PROCESSED,
    PROCESSING,
    VALIDATED,
    Record,
    Transaction,
    in_flight_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Item = Mapping[str, AttributeValueTypeDef]

IN_FLIGHT_INDEX = "in-flight-index"
PAGE_SIZE = 100
_HELD = "#status = :processing AND attempt_id = :attempt"


Recovery = Literal["recovered", "stuck", "moved_on"]


class StoreUnavailable(DependencyFailed):
    """DynamoDB failed a call, or a row that must exist is gone."""

    reason = "store_unavailable"


class TransactionExists(Exception):
    """Another transaction has this id; it is not written over."""

    reason = "another_transaction_has_the_id"


class Store:
    """The transactions table. Every method raises StoreUnavailable if DynamoDB fails the call."""

    def __init__(
        self, client: DynamoDBClient, table: str, lease_seconds: int = LEASE_SECONDS
    ) -> None:
        self._client = client
        self._table = table
        self._lease_seconds = lease_seconds

    def add(self, transaction: Transaction) -> bool:
        """Store a new transaction; return False if an earlier request has stored the same one.

        Raises TransactionExists if the id belongs to a transaction with another fingerprint.
        """
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_item(transaction.to_record()),
                ConditionExpression="attribute_not_exists(transaction_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except (BotoCoreError, ClientError) as error:
            existing = _row_in_the_way(error)
            if existing is None or existing.fingerprint != transaction.fingerprint:
                raise TransactionExists from error
            # The SDK's own repetition finds what this very call has stored. Another request with
            # the same key has not begun in the same microsecond.
            return existing.created_at == transaction.created_at
        return True

    def claim(self, transaction_id: str, attempt_id: str, now: datetime) -> Transaction | None:
        """Take the lease on a payment for one attempt, if nobody else holds or ended it.

        Returns the row as it then stands, or None for an unknown transaction. The claim succeeded
        if the row is `held_by(attempt_id)`.
        """
        return self._update(
            transaction_id,
            condition=(
                "#status = :validated"
                " OR (#status = :processing AND lease_expires_at < :now_seconds)"
                " OR attempt_id = :attempt"
            ),
            update=(
                "SET #status = :processing, attempt_id = :attempt, lease_expires_at = :lease_end,"
                " in_flight = :in_flight, updated_at = :now,"
                " first_charge_at = if_not_exists(first_charge_at, :now)"
            ),
            values={
                ":validated": VALIDATED,
                ":processing": PROCESSING,
                ":attempt": attempt_id,
                ":now": timestamp(now),
                ":now_seconds": epoch_seconds(now),
                ":lease_end": epoch_seconds(now) + self._lease_seconds,
                ":in_flight": in_flight_key(transaction_id),
            },
        )

    def finish(self, claimed: Transaction, gateway_reference: str, now: datetime) -> Transaction:
        """Record a charge, if this attempt still holds the lease.

        Returns the row as it then stands, which another attempt may have ended or hold.
        """
        ended = replace(
            claimed,
            status=PROCESSED,
            updated_at=timestamp(now),
            processed_at=timestamp(now),
            gateway_reference=gateway_reference,
        )
        return self._end(
            ended,
            claimed,
            update="processed_at = :now, gateway_reference = :reference",
            values={":reference": gateway_reference},
        )

    def decline(self, claimed: Transaction, reason: str, now: datetime) -> Transaction:
        """Record that the gateway declined, as `finish` records a charge."""
        ended = replace(claimed, status=DECLINED, updated_at=timestamp(now), decline_reason=reason)
        return self._end(
            ended, claimed, update="decline_reason = :reason", values={":reason": reason}
        )

    def let_go(self, claimed: Transaction, now: datetime) -> None:
        """Expire the lease, if this attempt still holds it, so that the next claim gets in."""
        self._update(
            claimed.transaction_id,
            condition=_HELD,
            update="SET lease_expires_at = :expired, updated_at = :now",
            values={
                ":processing": PROCESSING,
                ":attempt": claimed.attempt_id or "",
                ":now": timestamp(now),
                ":expired": _just_expired(now),
            },
        )

    def expired(self, before: int) -> Iterator[tuple[str, int]]:
        """Yield id and lease end of payments whose lease ended before that, in epoch seconds.

        The index is read only here, as far as the caller goes on, and may lag behind the table.
        """
        for key in IN_FLIGHT_KEYS:
            query: dict[str, Any] = {
                "TableName": self._table,
                "IndexName": IN_FLIGHT_INDEX,
                "KeyConditionExpression": "in_flight = :key AND lease_expires_at < :before",
                "ExpressionAttributeValues": _item({":key": key, ":before": before}),
                "Limit": PAGE_SIZE,
            }
            while True:
                try:
                    page = self._client.query(**query)
                except (BotoCoreError, ClientError) as error:
                    raise StoreUnavailable(error_code(error)) from error
                for item in page["Items"]:
                    yield item["transaction_id"]["S"], int(item["lease_expires_at"]["N"])
                if not page.get("LastEvaluatedKey"):
                    break
                query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def recover(self, transaction_id: str, lease_end: int, now: datetime) -> Recovery:
        """Move an expired lease forward to now, so that it can be claimed, and count that.

        A payment is `stuck` once that has been done MAX_RECOVERIES times, and has `moved_on` if
        its lease no longer ended at `lease_end`.
        """
        row = self._update(
            transaction_id,
            condition=(
                "#status = :processing AND lease_expires_at = :lease_end"
                " AND (attribute_not_exists(recoveries) OR recoveries < :max)"
            ),
            update=(
                "SET lease_expires_at = :just_expired, updated_at = :now,"
                " recoveries = if_not_exists(recoveries, :zero) + :one"
            ),
            values={
                ":processing": PROCESSING,
                ":lease_end": lease_end,
                ":max": MAX_RECOVERIES,
                ":just_expired": _just_expired(now),
                ":now": timestamp(now),
                ":zero": 0,
                ":one": 1,
            },
        )
        if row is None or row.status != PROCESSING:
            return "moved_on"
        if row.lease_expires_at == _just_expired(now):
            return "recovered"
        return "stuck" if row.lease_expires_at == lease_end else "moved_on"

    def _end(
        self, ended: Transaction, claimed: Transaction, *, update: str, values: Record
    ) -> Transaction:
        row = self._update(
            claimed.transaction_id,
            condition=_HELD,
            update=(
                f"SET #status = :ended, updated_at = :now, {update}"
                " REMOVE attempt_id, lease_expires_at, in_flight, recoveries"
            ),
            values={
                **values,
                ":ended": ended.status,
                ":now": ended.updated_at,
                ":processing": PROCESSING,
                ":attempt": claimed.attempt_id or "",
            },
            after=replace(ended, attempt_id=None, lease_expires_at=None, recoveries=None),
        )
        if row is None:
            raise StoreUnavailable("RowMissing")
        return row

    def _update(
        self,
        transaction_id: str,
        *,
        condition: str,
        update: str,
        values: Record,
        after: Transaction | None = None,
    ) -> Transaction | None:
        """Update a row, and return it as it then stands; None if there is none.

        `after` is what the row will be where the caller knows, so that nobody has to send it.
        """
        try:
            response = self._client.update_item(
                TableName=self._table,
                Key=_item({"transaction_id": transaction_id}),
                ConditionExpression=condition,
                UpdateExpression=update,
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=_item(values),
                ReturnValues="NONE" if after else "ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except (BotoCoreError, ClientError) as error:
            return _row_in_the_way(error)
        return after or _transaction(response["Attributes"])


def _just_expired(now: datetime) -> int:
    return epoch_seconds(now) - 1


def _row_in_the_way(error: BotoCoreError | ClientError) -> Transaction | None:
    """Return the row that failed a condition, None if there is none; raise for other errors."""
    code = error_code(error)
    if not isinstance(error, ClientError) or code != "ConditionalCheckFailedException":
        raise StoreUnavailable(code) from error
    item = cast("Item | None", error.response.get("Item"))
    return _transaction(item) if item else None


def _item(record: Record) -> dict[str, AttributeValueTypeDef]:
    return {
        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
        for name, value in record.items()
    }


def _transaction(item: Item) -> Transaction:
    return Transaction.from_record(
        {
            name: int(value["N"]) if "N" in value else value.get("S", "")
            for name, value in item.items()
        }
    )
