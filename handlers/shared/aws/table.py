"""The transactions table as DynamoDB has it: conditional writes that show the row, and the index.

A write that its condition refuses returns the row that stood in the way (the DynamoDB API
Reference, "ReturnValuesOnConditionCheckFailure"), so no decision needs a read, and none can race.
Only what tells a client of a row, and decides nothing, reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, cast

from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared.failures import DependencyFailed, error_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from handlers.shared.transactions import Record

    Item = Mapping[str, AttributeValueTypeDef]

IN_FLIGHT_INDEX = "in-flight-index"
PAGE_SIZE = 100


class StoreUnavailable(DependencyFailed):
    """DynamoDB failed a call, or a row that must exist is gone."""

    reason = "store_unavailable"


@dataclass(frozen=True)
class Write:
    """Whether a conditional write was made, and the row: the one that refused it, or as much of it
    as was asked for. It is empty if there is none."""

    done: bool
    row: Mapping[str, object] = field(default_factory=dict)


class Table:
    """One table with the index in-flight-index. Every method raises StoreUnavailable if DynamoDB
    fails the call.

    `status` is a reserved word of expressions, in which it is `#status` therefore.
    """

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client = client
        self._name = name

    def get(self, transaction_id: str, attributes: Sequence[str]) -> Mapping[str, object]:
        """Return these attributes of a row as it is now, what was just written included; nothing
        if there is none."""
        names = {f"#{name}": name for name in attributes}
        try:
            answer = self._client.get_item(
                TableName=self._name,
                Key=_item({"transaction_id": transaction_id}),
                ConsistentRead=True,
                ProjectionExpression=", ".join(names),
                ExpressionAttributeNames=names,
            )
        except (BotoCoreError, ClientError) as error:
            raise StoreUnavailable(error_code(error)) from error
        return _row(answer.get("Item") or {})

    def put(self, record: Record) -> Write:
        """Put a row, unless there is one with its transaction_id."""
        try:
            self._client.put_item(
                TableName=self._name,
                Item=_item(record),
                ConditionExpression="attribute_not_exists(transaction_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except (BotoCoreError, ClientError) as error:
            return Write(False, _row_in_the_way(error))
        return Write(True)

    def update(
        self,
        transaction_id: str,
        *,
        condition: str,
        update: str,
        values: Record,
        returns: Literal["NONE", "ALL_OLD", "ALL_NEW"] = "NONE",
    ) -> Write:
        """Update a row; what comes back of it, if that is done, is as it was before, or is now."""
        params: dict[str, Any] = {
            "TableName": self._name,
            "Key": _item({"transaction_id": transaction_id}),
            "ConditionExpression": condition,
            "UpdateExpression": update,
            "ExpressionAttributeValues": _item(values),
            "ReturnValues": returns,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if "#status" in condition:
            params["ExpressionAttributeNames"] = {"#status": "status"}
        try:
            response = self._client.update_item(**params)
        except (BotoCoreError, ClientError) as error:
            return Write(False, _row_in_the_way(error))
        return Write(True, _row(response.get("Attributes") or {}))

    def in_index(
        self, key: str, *, before: int | None = None, after: int | None = None
    ) -> Iterator[tuple[str, Decimal]]:
        """Yield id and lease end of the rows under a key of the index, the oldest first.

        Only those whose lease ends before that, or after, in epoch seconds. A lease end that
        something else has written need not be whole. The index may lag behind the table, and is
        read as far as the caller iterates.
        """
        values: Record = {":key": key}
        condition = "in_flight = :key"
        if before is not None:
            values[":before"] = before
            condition += " AND lease_expires_at < :before"
        if after is not None:
            values[":after"] = after
            condition += " AND lease_expires_at > :after"
        query: dict[str, Any] = {
            "TableName": self._name,
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
                yield item["transaction_id"]["S"], Decimal(item["lease_expires_at"]["N"])
            if not page.get("LastEvaluatedKey"):
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def segment(
        self, number: int, total: int, *, condition: str, values: Record
    ) -> Iterator[list[str]]:
        """Yield the ids of the rows in one segment of the table that fit a condition.

        They come by the pages in which DynamoDB reads it, 1 MB each, whatever fits (the DynamoDB
        API Reference, "Scan"). The segment may lag behind what was written.
        """
        scan: dict[str, Any] = {
            "TableName": self._name,
            "Segment": number,
            "TotalSegments": total,
            "FilterExpression": condition,
            "ProjectionExpression": "transaction_id",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": _item(values),
        }
        while True:
            try:
                page = self._client.scan(**scan)
            except (BotoCoreError, ClientError) as error:
                raise StoreUnavailable(error_code(error)) from error
            yield [item["transaction_id"]["S"] for item in page["Items"]]
            if not page.get("LastEvaluatedKey"):
                return
            scan["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _row_in_the_way(error: BotoCoreError | ClientError) -> Mapping[str, object]:
    """Return the row that failed a condition, empty if there is none; raise for other errors."""
    code = error_code(error)
    if not isinstance(error, ClientError) or code != "ConditionalCheckFailedException":
        raise StoreUnavailable(code) from error
    return _row(cast("Item", error.response.get("Item") or {}))


def _item(record: Record) -> dict[str, AttributeValueTypeDef]:
    return {
        name: {"S": value} if isinstance(value, str) else {"N": str(value)}
        for name, value in record.items()
    }


def _row(item: Item) -> dict[str, object]:
    """Return an item's values: texts and numbers, anything else as DynamoDB wrote it."""
    return {name: _plain(value) for name, value in item.items()}


def _plain(value: AttributeValueTypeDef) -> object:
    if "S" in value:
        return value["S"]
    if "N" in value:
        number = Decimal(value["N"])
        whole = int(number)
        return whole if whole == number else number
    return value
