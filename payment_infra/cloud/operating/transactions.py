"""The rows of the active table, read."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.sdk.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from payment_infra.cloud.environment.environment import Environment

Row = dict[str, Any]

# Keys that one call takes (DynamoDB API, BatchGetItem).
BATCH = 100

# What lets whoever has it pay, or act for the customer: neither shown nor exported.
CAPABILITIES = frozenset({"payment_method", "next_action"})


def find(environment: Environment, transaction_id: str) -> Row | None:
    """Return a payment's row, None if there is none."""
    table = environment.table
    with translated(f"table {table}"):
        answer = environment.client("dynamodb").get_item(
            TableName=table, Key={"transaction_id": {"S": transaction_id}}, ConsistentRead=True
        )
    return plain(answer["Item"]) if answer.get("Item") else None


def find_all(
    client: DynamoDBClient, table: str, names: Sequence[str], attributes: Sequence[str]
) -> Iterator[Row]:
    """Yield these attributes of the rows with these transaction_ids, BATCH at most, as they are
    now; in no order."""
    asked: Any = {
        table: {
            "Keys": [{"transaction_id": {"S": name}} for name in names],
            "ConsistentRead": True,
            **projection(attributes),
        }
    }
    while asked:
        answer = client.batch_get_item(RequestItems=asked)
        yield from map(plain, answer["Responses"].get(table, []))
        asked = answer.get("UnprocessedKeys")


def projection(attributes: Sequence[str]) -> dict[str, Any]:
    """Return what asks a read for these attributes alone."""
    names = {f"#{name}": name for name in attributes}
    return {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}


def plain(item: Mapping[str, Any]) -> Row:
    """Return an item as values that JSON takes; none of a kind that a payment has not is lost.

    A number that is not whole stays text, exact as it is; what is binary becomes base64; a set
    becomes a list in order.
    """
    return {name: _value(value) for name, value in item.items()}


def _value(value: Mapping[str, Any]) -> Any:
    [(kind, content)] = value.items()
    if kind == "N":
        return int(content) if content.lstrip("-").isdigit() else content
    if kind in {"NS", "SS", "BS"}:
        return sorted((_value({kind[0]: item}) for item in content), key=str)
    if kind == "L":
        return [_value(item) for item in content]
    if kind == "M":
        return plain(content)
    if kind == "B":
        return b64encode(content).decode()
    return None if kind == "NULL" else content
