"""How many payments are in flight: begun at the gateway, and not settled since."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from payment_infra.cloud.sdk.errors import translated
from payment_infra.names import IN_FLIGHT_INDEX, IN_FLIGHT_KEYS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# How many rows of each key are counted, so that an index of any size is looked at in one call of
# each. A row of it has keys alone, some 150 bytes: a page could hold 1 MB (DynamoDB API, Query).
LIMIT = 100
# Calls at the same time: the SDK's connections (botocore, Config: max_pool_connections).
AT_ONCE = 10


@dataclass(frozen=True)
class InFlight:
    """A number of payments; more if there may be others besides."""

    number: int
    more: bool


def count_in_flight(client: DynamoDBClient, table: str) -> InFlight:
    """Count the payments of a table that are in process or pending, and those that are set aside.

    An index is read as it was a moment ago: what has begun since is not in it yet.

    Args:
        client: of the table's account and region.
        table: its name.

    Raises:
        AwsError: table or index are not there, or cannot be read.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        counts = list(pool.map(partial(_count, client, table), IN_FLIGHT_KEYS))
    return InFlight(sum(one.number for one in counts), any(one.more for one in counts))


def _count(client: DynamoDBClient, table: str, key: str) -> InFlight:
    with translated(f"index {IN_FLIGHT_INDEX} of table {table}"):
        page = client.query(
            TableName=table,
            IndexName=IN_FLIGHT_INDEX,
            Select="COUNT",
            KeyConditionExpression="in_flight = :key",
            ExpressionAttributeValues={":key": {"S": key}},
            Limit=LIMIT,
        )
    return InFlight(page["Count"], "LastEvaluatedKey" in page)
