"""The transactions table: every state change is one conditional write.

A write that its condition refuses returns the row that stood in the way (the DynamoDB API
Reference, "ReturnValuesOnConditionCheckFailure"), so no decision needs a read, and none can race.
The SDK may repeat a call whose answer was lost. Each condition therefore lets its own repetition
pass, or the row shows that the first one took effect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared.clock import epoch_seconds, timestamp
from handlers.shared.failures import DependencyFailed, error_code
from handlers.shared.transactions import (
    DECLINED,
    LEASE_SECONDS,
    PROCESSED,
    PROCESSING,
    REQUIRED,
    TYPES,
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

    from handlers.shared.callers import Claimant

    Item = Mapping[str, AttributeValueTypeDef]

IN_FLIGHT_INDEX = "in-flight-index"
PAGE_SIZE = 100

_HELD = "#status = :processing AND attempt_id = :attempt"
_IN_INDEX = "in_flight = :key AND lease_expires_at = :lease_end"
_FREE = (
    "#status = :validated OR attempt_id = :attempt"
    " OR (#status = :processing AND lease_expires_at < :now_seconds)"
)
# DynamoDB's names of the types that a payment's attributes have.
_TYPE_NAMES = {str: (":text", "S"), int: (":number", "N")}
# What a row must have to be claimed: it is refused before it is written, if it is not a payment's.
_PAYABLE = " AND ".join(
    f"attribute_type({'#status' if name == 'status' else name}, {_TYPE_NAMES[TYPES[name]][0]})"
    for name in REQUIRED
    if name != "transaction_id"
)


class StoreUnavailable(DependencyFailed):
    """DynamoDB failed a call, or a row that must exist is gone."""

    reason = "store_unavailable"


class TransactionExists(Exception):
    """Another transaction has this id; it is not written over."""

    reason = "another_transaction_has_the_id"


@dataclass(frozen=True)
class Write:
    """Whether a conditional write was made, and what the row holds then; empty if there is none."""

    done: bool
    row: Mapping[str, object] = field(default_factory=dict)


class Store:
    """The transactions table. Every method raises StoreUnavailable if DynamoDB fails the call."""

    def __init__(
        self, client: DynamoDBClient, table: str, lease_seconds: int = LEASE_SECONDS
    ) -> None:
        self._client = client
        self._table = table
        self._lease_seconds = lease_seconds

    def add(self, transaction: Transaction, more: Record | None = None) -> Write:
        """Store a new transaction, unless an earlier request, or this call's first try, has.

        `more` are attributes of a later release, which are stored as they are. Raises
        TransactionExists if the id belongs to a transaction with another fingerprint.
        """
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_item({**(more or {}), **transaction.to_record()}),
                ConditionExpression="attribute_not_exists(transaction_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except (BotoCoreError, ClientError) as error:
            existing = _row_in_the_way(error)
            if existing.get("fingerprint") != transaction.fingerprint:
                raise TransactionExists from error
            return Write(False, existing)
        return Write(True)

    def claim(
        self, transaction_id: str, attempt_id: str, claimant: Claimant, now: datetime
    ) -> Write:
        """Take the lease on a payment for one attempt.

        It is refused if another attempt holds or ended it, if the claimant may not have it, and if
        the row lacks what a payment has.
        """
        parts = [_FREE, claimant.condition]
        return self._update(
            transaction_id,
            condition=" AND ".join([_PAYABLE, *(f"({part})" for part in parts if part)]),
            update=(
                "SET #status = :processing, attempt_id = :attempt, lease_expires_at = :lease_end,"
                " in_flight = :in_flight, updated_at = :now,"
                " first_charge_at = if_not_exists(first_charge_at, :now)"
            ),
            values={
                **claimant.values,
                **dict(_TYPE_NAMES.values()),
                ":validated": VALIDATED,
                ":processing": PROCESSING,
                ":attempt": attempt_id,
                ":now": timestamp(now),
                ":now_seconds": epoch_seconds(now),
                ":lease_end": epoch_seconds(now) + self._lease_seconds,
                ":in_flight": in_flight_key(transaction_id),
            },
            wants_row=True,
        )

    def finish(self, claimed: Transaction, gateway_reference: str, now: datetime) -> Write:
        """Record a charge, if this attempt still holds the lease."""
        update = "processed_at = :now, gateway_reference = :reference"
        return self._end(claimed, PROCESSED, now, update, {":reference": gateway_reference})

    def decline(self, claimed: Transaction, reason: str, now: datetime) -> Write:
        """Record that the gateway declined, if this attempt still holds the lease."""
        return self._end(claimed, DECLINED, now, "decline_reason = :reason", {":reason": reason})

    def let_go(
        self,
        transaction_id: str,
        attempt_id: str,
        now: datetime,
        *,
        queued_until: int | None = None,
        key: str | None = None,
    ) -> None:
        """Expire the lease, if this attempt holds it, so that the next claim gets in.

        Args:
            transaction_id: of the payment, which need not exist.
            attempt_id: that may have claimed it.
            now: the present moment.
            queued_until: until when the queue retries it, in epoch seconds; None leaves that.
            key: of the index under which it is set aside; None leaves that.
        """
        changes: Record = {":expired": _just_expired(now), ":now": timestamp(now)}
        update = "SET lease_expires_at = :expired, updated_at = :now"
        if queued_until is not None:
            changes[":until"] = queued_until
            update += ", queued_until = :until"
        if key is not None:
            changes[":key"] = key
            update += ", in_flight = :key"
        held: Record = {":processing": PROCESSING, ":attempt": attempt_id}
        self._update(transaction_id, condition=_HELD, update=update, values=held | changes)

    def note_capture(self, transaction_id: str, gateway_reference: str, now: datetime) -> Write:
        """Write beside what a settled row says that there is a capture which contradicts it."""
        return self._update(
            transaction_id,
            condition="#status IN (:processed, :declined)",
            update="SET contradicting_reference = :reference, updated_at = :now",
            values={
                ":processed": PROCESSED,
                ":declined": DECLINED,
                ":reference": gateway_reference,
                ":now": timestamp(now),
            },
        )

    def in_index(self, key: str, before: int | None = None) -> Iterator[tuple[str, int]]:
        """Yield id and lease end of the payments under a key of the index, the oldest first.

        Only those whose lease ended before that, in epoch seconds. The index may lag behind the
        table, and is read as far as the caller goes on.
        """
        values: Record = {":key": key}
        condition = "in_flight = :key"
        if before is not None:
            values[":before"] = before
            condition += " AND lease_expires_at < :before"
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": IN_FLIGHT_INDEX,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": _item(values),
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
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def look_at(self, transaction_id: str, key: str, lease_end: int) -> Write:
        """Return the row that the index showed, if it still stands there.

        It is a write that changes nothing: no function may read the table (its role has no
        GetItem), and a write's condition sees the row as it is.
        """
        return self._update(
            transaction_id,
            condition=_IN_INDEX,
            update="SET in_flight = :key",
            values={":key": key, ":lease_end": lease_end},
            wants_row=True,
        )

    def count_recovery(
        self, transaction_id: str, key: str, lease_end: int, queued_until: int, now: datetime
    ) -> None:
        """Count that a payment was queued again, and let its lease have expired just now."""
        self._update(
            transaction_id,
            condition=f"#status = :processing AND {_IN_INDEX}",
            update=(
                "SET lease_expires_at = :just_expired, updated_at = :now, queued_until = :until,"
                " recoveries = if_not_exists(recoveries, :zero) + :one"
            ),
            values={
                ":processing": PROCESSING,
                ":key": key,
                ":lease_end": lease_end,
                ":just_expired": _just_expired(now),
                ":now": timestamp(now),
                ":until": queued_until,
                ":zero": 0,
                ":one": 1,
            },
        )

    def set_aside(self, transaction_id: str, key: str, lease_end: int, aside: str) -> None:
        """Move a row to another key of the index, where no recovery takes it up."""
        self._update(
            transaction_id,
            condition=_IN_INDEX,
            update="SET in_flight = :aside",
            values={":key": key, ":lease_end": lease_end, ":aside": aside},
        )

    def _end(
        self, claimed: Transaction, status: str, now: datetime, update: str, values: Record
    ) -> Write:
        return self._update(
            claimed.transaction_id,
            condition=_HELD,
            update=(
                f"SET #status = :ended, updated_at = :now, {update}"
                " REMOVE attempt_id, lease_expires_at, in_flight, recoveries, queued_until"
            ),
            values={
                **values,
                ":ended": status,
                ":now": timestamp(now),
                ":processing": PROCESSING,
                ":attempt": claimed.attempt_id or "",
            },
        )

    def _update(
        self,
        transaction_id: str,
        *,
        condition: str,
        update: str,
        values: Record,
        wants_row: bool = False,
    ) -> Write:
        """Update a row; the row itself comes back if it was refused, or is wanted."""
        params: dict[str, Any] = {
            "TableName": self._table,
            "Key": _item({"transaction_id": transaction_id}),
            "ConditionExpression": condition,
            "UpdateExpression": update,
            "ExpressionAttributeValues": _item(values),
            "ReturnValues": "ALL_NEW" if wants_row else "NONE",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if "#status" in condition:
            params["ExpressionAttributeNames"] = {"#status": "status"}
        try:
            response = self._client.update_item(**params)
        except (BotoCoreError, ClientError) as error:
            return Write(False, _row_in_the_way(error))
        return Write(True, _row(response["Attributes"]) if wants_row else {})


def _just_expired(now: datetime) -> int:
    return epoch_seconds(now) - 1


def _row_in_the_way(error: BotoCoreError | ClientError) -> Mapping[str, object]:
    """Return the row that failed a condition, empty if there is none; raise for other errors."""
    code = error_code(error)
    if not isinstance(error, ClientError) or code != "ConditionalCheckFailedException":
        raise StoreUnavailable(code) from error
    return _row(cast("Item", error.response.get("Item") or {}))


def _item(record: Record) -> dict[str, AttributeValueTypeDef]:
    return {
        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
        for name, value in record.items()
    }


def _row(item: Item) -> dict[str, object]:
    """Return an item's values: texts and whole numbers, anything else as DynamoDB wrote it."""
    return {name: _plain(value) for name, value in item.items()}


def _plain(value: AttributeValueTypeDef) -> object:
    if "S" in value:
        return value["S"]
    if "N" in value:
        try:
            return int(value["N"])
        except ValueError:
            pass
    return value
