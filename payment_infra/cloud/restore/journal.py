"""How far a restore has come: tags of the copy, so that any machine can go on from there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.errors import code_of, translated
from payment_infra.cloud.polling import looks

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Letters, digits, spaces and + - = . _ : / @ are what a tag can hold (DynamoDB, "Tagging
# restrictions").
PREFIX = "payment-infra:restore:"
NAME_TIME = "%Y%m%dT%H%M%SZ"
DRILL = "-drill"
# The status of a table that is listed for some minutes more (DynamoDB API, DeleteTable).
DELETING = "DELETING"


class Phase(StrEnum):
    """What was done last. A copy that has no tags yet is COPYING."""

    COPYING = "copying"
    VERIFIED = "verified"
    SWITCHING = "switching"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    ABANDONED = "abandoned"


OPEN = frozenset({Phase.COPYING, Phase.VERIFIED, Phase.SWITCHING})


@dataclass(frozen=True)
class Journal:
    """A restore: its copy, the table that it was made of, and the moment that it shows.

    stopped_at is when payments were stopped last; writes is what they are to be let in by, None
    while they are not stopped.
    """

    copy: str
    source: str
    to: datetime
    phase: Phase = Phase.COPYING
    stopped_at: datetime | None = None
    writes: str | None = None

    @property
    def drill(self) -> bool:
        """Whether the copy is only made to see that it can be."""
        return self.copy.endswith(DRILL)

    @property
    def open(self) -> bool:
        """Whether the restore has begun, and neither come to its end nor been given up."""
        return self.phase in OPEN

    def tags(self) -> dict[str, str]:
        """Return the tags that hold it."""
        tags = {"source": self.source, "phase": self.phase.value}
        if self.stopped_at:
            tags["stopped-at"] = self.stopped_at.isoformat()
        if self.writes:
            tags["writes"] = self.writes
        return {PREFIX + name: value for name, value in tags.items()}


def copy_name(own_table: str, to: datetime, *, drill: bool = False) -> str:
    """Return the name of the copy that shows a moment, in whole seconds of UTC."""
    return f"{own_table}-{to.astimezone(UTC).strftime(NAME_TIME)}{DRILL if drill else ''}"


def find_journals(client: DynamoDBClient, own_table: str, active_table: str) -> list[Journal]:
    """Return every restore whose copy exists and stays, the newest moment last.

    Args:
        client: of the stack's account and region.
        own_table: the stack's own table, whose name every copy's begins with.
        active_table: what a copy is made of that does not say it yet.
    """
    pattern = re.compile(rf"{re.escape(own_table)}-(\d{{8}}T\d{{6}}Z)({DRILL})?")
    with translated("tables"):
        pages = client.get_paginator("list_tables").paginate()
        matches = [pattern.fullmatch(name) for page in pages for name in page["TableNames"]]
    journals = [
        _read(client, match[0], datetime.strptime(match[1], NAME_TIME), active_table)
        for match in sorted(filter(None, matches), key=lambda match: match[0])
    ]
    return [one for one in journals if one is not None]


def write(client: DynamoDBClient, journal: Journal, sleep: Callable[[float], None]) -> None:
    """Keep the journal, and wait until whoever goes on from here would read it.

    For some seconds DynamoDB may give the tags that were before (DynamoDB API, TagResource).
    """
    tags, ended = journal.tags(), f"{PREFIX}writes"
    with translated(f"table {journal.copy}"):
        arn = client.describe_table(TableName=journal.copy)["Table"]["TableArn"]
        # First: a phase that ends the journal is the last that is written of it.
        if journal.writes is None:
            client.untag_resource(ResourceArn=arn, TagKeys=[ended])
        client.tag_resource(
            ResourceArn=arn, Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
        )
    for seen in looks(f"tags of {arn}", lambda: _tags(client, arn), sleep):
        if tags.items() <= seen.items() and (ended in tags) == (ended in seen):
            break


def tags_of(client: DynamoDBClient, arn: str) -> Mapping[str, str]:
    """Return the tags of a table, key to value."""
    with translated(f"tags of {arn}"):
        return _tags(client, arn)


def _tags(client: DynamoDBClient, arn: str) -> dict[str, str]:
    pages = client.get_paginator("list_tags_of_resource").paginate(ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def _read(client: DynamoDBClient, name: str, to: datetime, active_table: str) -> Journal | None:
    with translated(f"table {name}"):
        try:
            table: Any = client.describe_table(TableName=name)["Table"]
        except ClientError as error:
            if code_of(error) == "ResourceNotFoundException":
                return None
            raise
    if table["TableStatus"] == DELETING:
        return None
    tags = {
        key.removeprefix(PREFIX): value for key, value in tags_of(client, table["TableArn"]).items()
    }
    made_of = table.get("RestoreSummary", {}).get("SourceTableArn", "").rpartition("/")[2]
    stopped = tags.get("stopped-at")
    return Journal(
        copy=name,
        source=tags.get("source") or made_of or active_table,
        to=to.replace(tzinfo=UTC),
        phase=Phase(tags.get("phase", Phase.COPYING)),
        stopped_at=datetime.fromisoformat(stopped) if stopped else None,
        writes=tags.get("writes"),
    )
