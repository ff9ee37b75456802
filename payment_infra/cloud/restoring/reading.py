"""Reading the tables of payments whole, by segments, or by keys; always consistently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from payment_infra.cloud.sdk.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = Mapping[str, Any]
Found = TypeVar("Found")

# Parts of a table that are read at the same time.
SEGMENTS = 4
# Keys of one BatchGetItem (DynamoDB API).
BATCH_SIZE = 100


def scan_segment(
    client: DynamoDBClient, table: str, segment: int, **request: Any
) -> Iterator[Sequence[Item]]:
    """Yield the rows of one of the SEGMENTS of a table, a page at a time.

    Args:
        client: of the table's account and region.
        table: its name.
        segment: counted from 0.
        request: what else Scan is to be asked, such as a FilterExpression.
    """
    with translated(f"table {table}"):
        pages = client.get_paginator("scan").paginate(
            TableName=table,
            Segment=segment,
            TotalSegments=SEGMENTS,
            ConsistentRead=True,
            **request,
        )
        for page in pages:
            yield page["Items"]


def each_segment(of_segment: Callable[[int], Found]) -> list[Found]:
    """Return what a function makes of each segment's number; they run at the same time."""
    with ThreadPoolExecutor(SEGMENTS) as pool:
        return list(pool.map(of_segment, range(SEGMENTS)))


def read_rows(
    client: DynamoDBClient, table: str, transaction_ids: Sequence[str]
) -> dict[str, Item]:
    """Return the rows with these keys, each given once, by transaction_id."""
    found: dict[str, Item] = {}
    for start in range(0, len(transaction_ids), BATCH_SIZE):
        batch = transaction_ids[start : start + BATCH_SIZE]
        wanted: Any = {
            table: {
                "Keys": [{"transaction_id": {"S": key}} for key in batch],
                "ConsistentRead": True,
            }
        }
        while wanted:
            with translated(f"table {table}"):
                answer = client.batch_get_item(RequestItems=wanted)
            for row in answer["Responses"].get(table, []):
                found[row["transaction_id"]["S"]] = row
            wanted = answer.get("UnprocessedKeys")
    return found
