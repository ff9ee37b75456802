"""Carrying payments that changed since a moment over to another table, none of them backwards.

A restore rewinds what was settled since, and a payment that is charged again would cost its
customer twice. So each row that changed is written to the other table on the condition that it does
not take back what is settled there, or newer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from payment_infra.cloud.errors import code_of, translated
from payment_infra.cloud.restore.reading import Item, each_segment, read_rows, scan_segment
from payment_infra.cloud.restore.rows import (
    OVERWRITES,
    REWOUND,
    SETTLED,
    is_open,
    is_payment,
    mark_of,
    text,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Action = Literal["copied", "kept", "left", "foreign"]

# How far the functions' clocks may be from DynamoDB's, with the time that a request takes.
CLOCK_MARGIN = timedelta(minutes=5)
# In these, a payment may have been charged.
BEGUN = SETTLED | {"processing"}


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
    def unknown(self) -> bool:
        """Whether it may have been charged, and where it was to go there is no row to mark: if its
        client validates it again, it could be charged again."""
        return self.before in BEGUN and self.after is None and self.action in {"left", "kept"}


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
    request = {
        "FilterExpression": "updated_at >= :after",
        "ExpressionAttributeValues": {":after": {"S": after}},
    }

    def of_segment(segment: int) -> list[RowChange]:
        return [
            change
            for page in scan_segment(client, source, segment, **request)
            for change in _page_changes(client, target, page, write=write)
        ]

    return [change for found in each_segment(of_segment) for change in found]


def _page_changes(
    client: DynamoDBClient, target: str, rows: Sequence[Item], *, write: bool
) -> Iterator[RowChange]:
    there = read_rows(client, target, [row["transaction_id"]["S"] for row in rows])
    for row in rows:
        present = there.get(row["transaction_id"]["S"])
        merged = _with_older_mark(row, present)
        if merged == present:
            continue
        action: Action = "left"
        if not is_payment(row):
            action = "foreign"
        elif write:
            action = "copied" if _copy(client, target, merged) else "kept"
        yield RowChange(
            transaction_id=row["transaction_id"]["S"],
            before=text(row, "status"),
            after=text(present, "status") if present else None,
            updated_at=row["updated_at"]["S"],
            action=action,
        )


def _with_older_mark(row: Item, present: Item | None) -> Item:
    """Return a row with the mark of the one that it is written over, if it lacks that.

    That a row was never marked does not prove that it tells of every charge: one that was lost and
    validated anew with the same Idempotency-Key has the same id, and knows nothing of the time
    before. A mark too many costs a look-up, one too few a second charge. What is settled is not
    charged any more, and needs none.
    """
    there, own = mark_of(present or {}), mark_of(row)
    if there is None or not is_open(row) or (own is not None and own <= there):
        return row
    return {**row, REWOUND: {"N": str(there)}}


def _copy(client: DynamoDBClient, target: str, row: Item) -> bool:
    """Write a row, unless what is there is settled, further, newer, or has an older mark than it;
    return whether it was."""
    open_statuses = OVERWRITES[row["status"]["S"]]
    values: dict[str, Any] = {
        ":updated": row["updated_at"],
        **{f":open{number}": {"S": status} for number, status in enumerate(open_statuses)},
    }
    names = [name for name in values if name.startswith(":open")]
    unmarked = ""
    if is_open(row):
        unmarked = f" AND (attribute_not_exists({REWOUND})"
        if REWOUND in row:
            values[":mark"] = row[REWOUND]
            unmarked += f" OR {REWOUND} >= :mark"
        unmarked += ")"
    with translated(f"table {target}"):
        try:
            client.put_item(
                TableName=target,
                Item=row,
                ConditionExpression=(
                    "attribute_not_exists(transaction_id)"
                    f" OR (#status IN ({', '.join(names)}) AND updated_at <= :updated{unmarked})"
                ),
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=values,
            )
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            return False
    return True
