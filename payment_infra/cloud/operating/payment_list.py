"""The payments with a status, one after the other, whatever their number.

Those in processing and pending are found in the index of what is in flight, which holds nothing
else; others by a scan of the table, which reads all of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from payment_infra.cloud.operating.transactions import BATCH, Row, find_all, plain, projection
from payment_infra.cloud.sdk.errors import translated
from payment_infra.names import IN_FLIGHT_INDEX, IN_FLIGHT_KEYS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from payment_infra.cloud.environment.environment import Environment

# Statuses that the index has, with the keys under which it has them; what is set aside may be of
# either.
ASIDE = ("stuck", "mismatched", "unreadable")
KEYS = {
    "processing": tuple(key for key in IN_FLIGHT_KEYS if key.startswith("processing#")),
    "pending": (*(key for key in IN_FLIGHT_KEYS if key.startswith("pending#")), "overdue"),
}
# What a person is shown of a payment.
ATTRIBUTES = (
    *("transaction_id", "status", "amount", "currency", "reference", "created_at", "updated_at"),
    *("decline_reason", "in_flight", "lease_expires_at"),
)


@dataclass(frozen=True)
class Wanted:
    """Which payments: of these statuses, changed from a moment on and before another (ISO 8601 in
    UTC, as rows have it), None for no such limit."""

    statuses: Collection[str]
    since: str | None = None
    until: str | None = None

    @property
    def in_index(self) -> bool:
        """Whether the index has all of them."""
        return set(self.statuses) <= KEYS.keys()

    def has(self, row: Row) -> bool:
        """Whether a row is one of them."""
        changed = str(row.get("updated_at", ""))
        return (
            row.get("status") in self.statuses
            and (self.since is None or changed >= self.since)
            and (self.until is None or changed < self.until)
        )


def find(environment: Environment, wanted: Wanted) -> Iterator[Row]:
    """Yield ATTRIBUTES of the payments that are wanted, read as far as the caller iterates.

    Those of the index come by the end of their lease, or next look, the oldest first; others in the
    order of the table, which is none.

    Raises:
        AwsError: the table cannot be read.
    """
    client, table = environment.client("dynamodb"), environment.table
    rows = _of_index(client, table, wanted) if wanted.in_index else _of_table(client, table, wanted)
    with translated(f"table {table}"):
        yield from rows


def _of_index(client: DynamoDBClient, table: str, wanted: Wanted) -> Iterator[Row]:
    keys = [*(key for status in wanted.statuses for key in KEYS[status]), *ASIDE]
    found = heapq.merge(*(_under(client, table, key) for key in keys))
    while batch := [transaction_id for _, transaction_id in islice(found, BATCH)]:
        rows = {row["transaction_id"]: row for row in find_all(client, table, batch, ATTRIBUTES)}
        # The index may lag behind the table.
        yield from (rows[name] for name in batch if name in rows and wanted.has(rows[name]))


def _under(client: DynamoDBClient, table: str, key: str) -> Iterator[tuple[float, str]]:
    """Yield end of lease and id of the rows under a key of the index, the oldest first."""
    pages = client.get_paginator("query").paginate(
        TableName=table,
        IndexName=IN_FLIGHT_INDEX,
        KeyConditionExpression="in_flight = :key",
        ExpressionAttributeValues={":key": {"S": key}},
        PaginationConfig={"PageSize": BATCH},
    )
    for page in pages:
        for item in page["Items"]:
            yield float(item["lease_expires_at"]["N"]), item["transaction_id"]["S"]


def _of_table(client: DynamoDBClient, table: str, wanted: Wanted) -> Iterator[Row]:
    values = {f":status{number}": {"S": name} for number, name in enumerate(wanted.statuses)}
    conditions = [f"#status IN ({', '.join(values)})"]
    for name, moment, operator in ((":since", wanted.since, ">="), (":until", wanted.until, "<")):
        if moment is not None:
            conditions.append(f"updated_at {operator} {name}")
            values[name] = {"S": moment}
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        ConsistentRead=True,
        FilterExpression=" AND ".join(conditions),
        ExpressionAttributeValues=values,
        **projection(ATTRIBUTES),
    )
    for page in pages:
        yield from map(plain, page["Items"])
