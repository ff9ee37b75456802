"""The rows of the active table, read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.errors import translated

if TYPE_CHECKING:
    from payment_infra.cloud.operations.environment import Environment

Row = dict[str, str | int]


def find(environment: Environment, transaction_id: str) -> Row | None:
    """Return a payment's row, None if there is none."""
    table = environment.table
    with translated(f"table {table}"):
        answer = environment.client("dynamodb").get_item(
            TableName=table, Key={"transaction_id": {"S": transaction_id}}, ConsistentRead=True
        )
    return plain(answer["Item"]) if answer.get("Item") else None


def plain(item: Mapping[str, Any]) -> Row:
    """Return an item as plain values; a number that is not whole stays text, exact as it is."""
    return {name: _value(value) for name, value in item.items()}


def _value(value: Mapping[str, Any]) -> Any:
    [(kind, content)] = value.items()
    if kind == "N":
        return int(content) if content.lstrip("-").isdigit() else content
    if kind in {"S", "BOOL"}:
        return content
    return None if kind == "NULL" else str(content)
