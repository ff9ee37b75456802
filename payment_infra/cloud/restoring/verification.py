"""Whether a copy is what it should be: its keys, its index, how many payments, a sample of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.restoring.carry_over import CLOCK_MARGIN
from payment_infra.cloud.restoring.encryption import Encryption
from payment_infra.cloud.restoring.reading import each_segment, scan_segment
from payment_infra.cloud.restoring.rows import is_payment, text
from payment_infra.cloud.sdk import keys
from payment_infra.cloud.sdk.errors import translated
from payment_infra.moments import exact, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

SAMPLE_SIZE = 25


@dataclass(frozen=True)
class Verification:
    """How many payments the two tables have, and what is wrong with the copy.

    created_since counts the source's payments that were made after the copy's moment; extra the
    copy's that the source has no more.
    """

    in_source: int
    created_since: int
    in_copy: int
    extra: int
    problems: tuple[str, ...]


def verify(
    client: DynamoDBClient, source: str | None, copy: str, to: datetime, encryption: Encryption
) -> Verification:
    """Compare a copy with the table that it was made of, if that is there; both are read whole.

    The copy is to be encrypted as `encryption` says.

    A payment's creation is dated by the functions' clocks, so those within CLOCK_MARGIN of the
    copy's moment may be in it or not.
    """
    in_copy = sum(each_segment(lambda segment: _count(client, copy, segment)))
    problems = [*_wrong_key(client, copy, encryption), *_bad_sample(client, copy)]
    if source is None:
        return Verification(0, 0, in_copy, 0, tuple(problems))
    problems = [*_differences(client, source, copy), *problems]
    parts = each_segment(lambda segment: _created(client, source, segment, to))
    made = sum(parts, Counter[str]())
    if in_copy < made["early"]:
        problems.append(
            f"it has {in_copy} payments, and {made['early']} of {source} were made before "
            f"{shown(to)}"
        )
    return Verification(
        in_source=made.total(),
        created_since=made["since"] + made["late"],
        in_copy=in_copy,
        extra=max(0, in_copy - (made.total() - made["late"])),
        problems=tuple(problems),
    )


def _differences(client: DynamoDBClient, source: str, copy: str) -> Iterator[str]:
    with translated(f"tables {source} and {copy}"):
        origin: Any = client.describe_table(TableName=source)["Table"]
        restored: Any = client.describe_table(TableName=copy)["Table"]
    if origin["KeySchema"] != restored["KeySchema"]:
        yield f"its key is {restored['KeySchema']}, not {origin['KeySchema']}"
    there = dict(_indexes(restored))
    for name, index in _indexes(origin):
        if there.get(name) != index:
            yield f"its index {name} is {there.get(name, 'missing')}, not {index}"


def _wrong_key(client: DynamoDBClient, copy: str, encryption: Encryption) -> Iterator[str]:
    with translated(f"table {copy}"):
        table: Any = client.describe_table(TableName=copy)["Table"]
    if not encryption.encrypts(table):
        yield f"it is encrypted with {Encryption(keys.of_table(table))}, not {encryption}"


def _indexes(table: Any) -> Iterator[tuple[str, Any]]:
    for index in table.get("GlobalSecondaryIndexes", []):
        yield index["IndexName"], {key: index[key] for key in ("KeySchema", "Projection")}


def _bad_sample(client: DynamoDBClient, copy: str) -> Iterator[str]:
    """Read some rows as the functions do: each must be a payment."""
    with translated(f"table {copy}"):
        schema = client.describe_table(TableName=copy)["Table"]["KeySchema"]
        rows = client.scan(TableName=copy, Limit=SAMPLE_SIZE, ConsistentRead=True)["Items"]
        for row in rows:
            key = {part["AttributeName"]: row[part["AttributeName"]] for part in schema}
            read = client.get_item(TableName=copy, Key=key, ConsistentRead=True).get("Item")
            if read != row or not is_payment(row):
                named = " ".join(str(text) for value in key.values() for text in value.values())
                yield f"its row {named} is not a payment"


def _created(client: DynamoDBClient, table: str, segment: int, to: datetime) -> Counter[str]:
    """Count the payments of a segment by when they were made; no row is kept in memory.

    early and late are before and after `to` whatever the clocks say, since is after it by them.
    """
    early, moment, late = (exact(to + by) for by in (-CLOCK_MARGIN, timedelta(0), CLOCK_MARGIN))
    made = Counter[str]()
    for page in scan_segment(client, table, segment, ProjectionExpression="created_at"):
        for row in page:
            at = text(row, "created_at")
            if at < early:
                made["early"] += 1
            elif at <= moment:
                made["before"] += 1
            elif at <= late:
                made["since"] += 1
            else:
                made["late"] += 1
    return made


def _count(client: DynamoDBClient, table: str, segment: int) -> int:
    pages = scan_segment(client, table, segment, ProjectionExpression="transaction_id")
    return sum(len(page) for page in pages)
