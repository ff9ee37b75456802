"""How far a restore has come: an item of the operations table, so that any machine can continue it.

It is there before the copy is begun, and stays whatever becomes of the copy, the stack and the
table that payments are in. Earlier releases kept it in tags of the copy, which are still read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.moments import iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.environment.operations_table import Item

# What the items of restores begin with, the copy's name follows.
ITEMS = "restore#"
# What the tags begin with in which earlier releases kept it.
PREFIX = "payment-infra:restore:"
NAME_TIME = "%Y%m%dT%H%M%SZ"
DRILL = "-drill"
# The status of a table that is listed for some minutes more (DynamoDB API, DeleteTable).
DELETING = "DELETING"


class Phase(StrEnum):
    """What was done last."""

    COPYING = "copying"
    VERIFIED = "verified"
    SWITCHING = "switching"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    ABANDONED = "abandoned"


OPEN = frozenset({Phase.COPYING, Phase.VERIFIED, Phase.SWITCHING})
MOVING = frozenset({Phase.SWITCHING, Phase.UNDOING})


@dataclass(frozen=True)
class Journal:
    """A restore: its copy, the table that it was made of, and the moment that it shows.

    discard is whether what is newer is left behind, None before that is settled. stopped_at is when
    payments were stopped, stopped whether the restore has yet to let them in, let_in_at when
    `resume` did so meanwhile. by is who wrote it last; facts are for the report, as JSON has them.
    exists is whether the copy does.
    """

    copy: str
    source: str
    to: datetime
    phase: Phase = Phase.COPYING
    discard: bool | None = None
    stopped_at: datetime | None = None
    stopped: bool = False
    let_in_at: datetime | None = None
    by: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    exists: bool = True

    @property
    def drill(self) -> bool:
        """Whether the copy is only made to see that it can be."""
        return self.copy.endswith(DRILL)

    @property
    def backup(self) -> str | None:
        """The ARN of the backup that the copy is made of; None: of the table's own recovery."""
        arn: str | None = self.facts.get("backup")
        return arn

    @property
    def open(self) -> bool:
        """Whether the restore has begun, and neither come to its end nor been given up."""
        return self.phase in OPEN

    @property
    def stops(self) -> bool:
        """Whether it keeps payments stopped."""
        return self.stopped and self.let_in_at is None

    @property
    def undoing(self) -> bool:
        """Whether payments go back to where they were."""
        return self.phase is Phase.UNDOING

    @property
    def moving(self) -> bool:
        """Whether payments are being moved, and were stopped for that."""
        return self.phase in MOVING

    def texts(self) -> dict[str, str]:
        """Return what is written of it, but for its copy's name."""
        texts = {
            "source": self.source,
            "to": iso(self.to),
            "phase": self.phase.value,
            "stopped": _yes_or_no(self.stopped),
            "by": self.by,
            "facts": json.dumps(self.facts),
        }
        if self.discard is not None:
            texts["discard"] = _yes_or_no(self.discard)
        moments = {"stopped_at": self.stopped_at, "let_in_at": self.let_in_at}
        return texts | {name: iso(at) for name, at in moments.items() if at is not None}


def copy_name(own_table: str, to: datetime, *, drill: bool = False) -> str:
    """Return the name of the copy that shows a moment, in whole seconds of UTC."""
    return f"{own_table}-{to.astimezone(UTC).strftime(NAME_TIME)}{DRILL if drill else ''}"


def find_copies(client: DynamoDBClient, own_table: str) -> list[str]:
    """Return the names of the tables that were restored from a stack's own, drills left out."""
    pattern = re.compile(rf"{re.escape(own_table)}-\d{{8}}T\d{{6}}Z")
    with translated("tables"):
        pages = client.get_paginator("list_tables").paginate()
        return [name for page in pages for name in page["TableNames"] if pattern.fullmatch(name)]


def find_journals(environment: Environment, own_table: str) -> list[Journal]:
    """Return every restore that is not over, or whose copy is there, the newest moment last.

    Args:
        environment: whose restores.
        own_table: the stack's own table, whose name every copy's begins with.

    Raises:
        AwsError: they cannot be read.
    """
    client, stack = environment.client("dynamodb"), environment.stack
    pattern = re.compile(rf"{re.escape(own_table)}-(\d{{8}}T\d{{6}}Z)({DRILL})?")
    with translated("tables"):
        pages = client.get_paginator("list_tables").paginate()
        names = {name for page in pages for name in page["TableNames"] if pattern.fullmatch(name)}
    there = {name: table for name in names if (table := _describe(client, name)) is not None}
    found = {
        item["item"]["S"].removeprefix(ITEMS): item
        for item in environment.operations.items(stack.name, ITEMS)
    }
    noted = [_of_item(copy, item, exists=copy in there) for copy, item in found.items()]
    tagged = [
        _of_tags(client, name, table, own_table)
        for name, table in there.items()
        if name not in found
    ]
    every = [
        journal for journal in (*noted, *tagged) if journal.exists or journal.open or journal.moving
    ]
    return sorted(every, key=lambda journal: journal.copy)


def write(environment: Environment, journal: Journal, generation: int) -> bool:
    """Keep the journal, unless a holder of the lock of a later generation has; return whether it
    was."""
    texts = journal.texts()
    unset = [name for name in ("discard", "stopped_at", "let_in_at") if name not in texts]
    names = {f"#{name}": name for name in (*texts, *unset, "generation")}
    update = "SET " + ", ".join(f"#{name} = :{name}" for name in (*texts, "generation"))
    if unset:
        update += " REMOVE " + ", ".join(f"#{name}" for name in unset)
    written, _ = environment.operations.update(
        environment.stack.name,
        ITEMS + journal.copy,
        UpdateExpression=update,
        ConditionExpression="attribute_not_exists(#generation) OR #generation <= :generation",
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={
            **{f":{name}": {"S": text} for name, text in texts.items()},
            ":generation": {"N": str(generation)},
        },
    )
    return written


def tags_of(client: DynamoDBClient, arn: str) -> Mapping[str, str]:
    """Return the tags of a table, key to value."""
    with translated(f"tags of {arn}"):
        pages = client.get_paginator("list_tags_of_resource").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def _of_item(copy: str, item: Item, *, exists: bool) -> Journal:
    texts = {name: value["S"] for name, value in item.items() if "S" in value}
    return Journal(
        copy=copy,
        source=texts["source"],
        to=datetime.fromisoformat(texts["to"]),
        phase=Phase(texts["phase"]),
        discard=texts["discard"] == "yes" if "discard" in texts else None,
        stopped_at=_moment(texts.get("stopped_at")),
        stopped=texts["stopped"] == "yes",
        let_in_at=_moment(texts.get("let_in_at")),
        by=texts["by"],
        facts=json.loads(texts["facts"]),
        exists=exists,
    )


def _of_tags(client: DynamoDBClient, name: str, table: Any, own_table: str) -> Journal:
    tags = {
        key.removeprefix(PREFIX): value for key, value in tags_of(client, table["TableArn"]).items()
    }
    made_of = table.get("RestoreSummary", {}).get("SourceTableArn", "").rpartition("/")[2]
    moment = name.removeprefix(f"{own_table}-").removesuffix(DRILL)
    return Journal(
        copy=name,
        source=tags.get("source") or made_of or own_table,
        to=datetime.strptime(moment, NAME_TIME).replace(tzinfo=UTC),
        phase=Phase(tags.get("phase", Phase.COPYING)),
        stopped_at=_moment(tags.get("stopped-at")),
        stopped="writes" in tags,
    )


def _describe(client: DynamoDBClient, name: str) -> Any:
    """Return a table, None if it is gone or going."""
    with translated(f"table {name}"):
        try:
            table: Any = client.describe_table(TableName=name)["Table"]
        except ClientError as error:
            if code_of(error) == "ResourceNotFoundException":
                return None
            raise
    return None if table["TableStatus"] == DELETING else table


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"
