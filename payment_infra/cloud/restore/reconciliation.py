"""Carrying payments that changed since a moment over to another table, none of them backwards.

A restore rewinds what was settled since, and a payment that is charged again would cost its
customer twice. So each row that changed is written to the other table on the condition that it does
not take back what is settled there, or newer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from payment_infra.cloud.errors import code_of, translated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = Mapping[str, Any]
Action = Literal["copied", "kept", "left", "foreign"]

# How far the functions' clocks may be from DynamoDB's, with the time that a request takes.
CLOCK_MARGIN = timedelta(minutes=5)
# Parts of the table that are read at the same time.
SEGMENTS = 4
# Keys of one BatchGetItem (DynamoDB API).
BATCH_SIZE = 100
SETTLED = frozenset({"processed", "declined"})
# Nothing goes back to validated.
OVERWRITES: Mapping[str, tuple[str, ...]] = {
    "validated": ("validated",),
    "processing": ("validated", "processing"),
    "processed": ("validated", "processing"),
    "declined": ("validated", "processing"),
}
# What every row has, with DynamoDB's types.
ATTRIBUTES = {
    **dict.fromkeys(
        (
            *("transaction_id", "amount", "currency", "customer_id", "status", "fingerprint"),
            *("created_at", "updated_at"),
        ),
        "S",
    ),
    "amount_minor": "N",
}


@dataclass(frozen=True)
class RowChange:
    """A payment that differs in the two tables, and what is done about it.

    before and after are its statuses where it was read and where it goes, after None if it is not
    there. It is "copied", "kept" (what is there is settled, or newer), "left" (nothing was to be
    written), or "foreign": no payment that this system can have made, and so not copied.
    """

    transaction_id: str
    before: str
    after: str | None
    updated_at: str
    action: Action

    @property
    def rewound(self) -> bool:
        """Whether the payment is settled where it was read, and open, or unknown, where it is not
        copied to: it could be charged again."""
        return (
            self.before in SETTLED and self.after not in SETTLED and self.action in {"left", "kept"}
        )


def changes(
    client: DynamoDBClient, source: str, target: str, since: datetime, *, write: bool
) -> list[RowChange]:
    """Return every payment that changed in the source since, and differs in the target.

    Args:
        client: of the account and region of both tables.
        source: the table that is left.
        target: the table that is moved to.
        since: whose margin for clocks is added here.
        write: whether they are copied.

    Raises:
        AwsError: DynamoDB failed; what was copied stays, and to repeat it all does no harm.
    """
    after = (since.astimezone(UTC) - CLOCK_MARGIN).isoformat(timespec="microseconds")

    def of_segment(segment: int) -> list[RowChange]:
        return [
            change
            for page in scan_segment(client, source, segment, "updated_at >= :after", after)
            for change in _page_changes(client, target, page, write=write)
        ]

    with ThreadPoolExecutor(SEGMENTS) as pool:
        return [one for found in pool.map(of_segment, range(SEGMENTS)) for one in found]


def scan_segment(
    client: DynamoDBClient,
    table: str,
    segment: int,
    condition: str = "",
    after: str = "",
    **more: Any,
) -> Iterator[Sequence[Item]]:
    """Yield the rows of one of the SEGMENTS of a table that fulfil a condition on `:after`."""
    where: dict[str, Any] = {}
    if condition:
        values = {":after": {"S": after}}
        where = {"FilterExpression": condition, "ExpressionAttributeValues": values}
    with translated(f"table {table}"):
        pages = client.get_paginator("scan").paginate(
            TableName=table,
            Segment=segment,
            TotalSegments=SEGMENTS,
            ConsistentRead=True,
            **where,
            **more,
        )
        for page in pages:
            yield page["Items"]


def is_payment(row: Item) -> bool:
    """Whether a row has what every payment has."""
    return (
        all(kind in row.get(name, {}) for name, kind in ATTRIBUTES.items())
        and row["status"]["S"] in OVERWRITES
    )


def _page_changes(
    client: DynamoDBClient, target: str, rows: Collection[Item], *, write: bool
) -> Iterator[RowChange]:
    there = _rows(client, target, [row["transaction_id"] for row in rows])
    for row in rows:
        present = there.get(row["transaction_id"]["S"])
        if row == present:
            continue
        action: Action = "left"
        if not is_payment(row):
            action = "foreign"
        elif write:
            action = "copied" if _copy(client, target, row) else "kept"
        yield RowChange(
            transaction_id=row["transaction_id"]["S"],
            before=row.get("status", {}).get("S", ""),
            after=present.get("status", {}).get("S", "") if present else None,
            updated_at=row["updated_at"]["S"],
            action=action,
        )


def _copy(client: DynamoDBClient, target: str, row: Item) -> bool:
    """Write a row, unless what is there is settled, further, or newer; return whether it was."""
    open_statuses = OVERWRITES[row["status"]["S"]]
    names = [f":open{number}" for number in range(len(open_statuses))]
    with translated(f"table {target}"):
        try:
            client.put_item(
                TableName=target,
                Item=row,
                ConditionExpression=(
                    "attribute_not_exists(transaction_id)"
                    f" OR (#status IN ({', '.join(names)}) AND updated_at <= :updated)"
                ),
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    ":updated": row["updated_at"],
                    **{
                        name: {"S": status}
                        for name, status in zip(names, open_statuses, strict=True)
                    },
                },
            )
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            return False
    return True


def _rows(client: DynamoDBClient, table: str, keys: list[Item]) -> dict[str, Item]:
    """Return the rows with these keys, by transaction_id."""
    found: dict[str, Item] = {}
    for start in range(0, len(keys), BATCH_SIZE):
        wanted: Any = {
            table: {
                "Keys": [{"transaction_id": key} for key in keys[start : start + BATCH_SIZE]],
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
