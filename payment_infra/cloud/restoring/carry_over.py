"""Carrying payments over to the table that is moved to, none of them backwards.

Every row of the table that is left is compared with the one where it goes. When it was written does
not tell: a restore and an undo write rows as they are, with dates of long before. A payment that is
charged again would cost its customer twice, so each row is written on the condition that it takes
back nothing that is settled there, or newer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import floor
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from payment_infra.cloud.restoring.reading import Item, each_segment, read_rows, scan_segment
from payment_infra.cloud.restoring.rows import (
    BEGUN_AT,
    CONTRADICTED,
    OPEN,
    OVERWRITES,
    REWOUND,
    contradicts,
    is_as_validated,
    is_open,
    is_payment,
    is_settled,
    made_twice,
    mark_of,
    supersedes,
    tells_as_much,
    tells_more,
    text,
    with_mark,
)
from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.moments import exact

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Action = Literal["copied", "kept", "left", "foreign", "mismatched"]

Note = Callable[[Sequence["RowChange"]], None]

# How far the functions' clocks may be from DynamoDB's, with the time that a request takes.
CLOCK_MARGIN = timedelta(minutes=5)


@dataclass(frozen=True)
class RowChange:
    """A payment that differs in the two tables, and what is done about it.

    before and after are its statuses where it was read and where it goes, after None if it is not
    there. It is "copied", "kept" (what is there is settled, or as new), "left" (nothing was to be
    written), "foreign" (no payment that this system can have made), or "mismatched": it is not what
    was validated. These two are left, too.
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
        missing = self.after is None and self.action in {"left", "kept", "mismatched"}
        return missing and self.before != OPEN[0]


def changes(
    client: DynamoDBClient,
    source: str,
    target: str,
    moment: datetime,
    *,
    write: bool,
    mismatched: bool = False,
    since: datetime | None = None,
    note: Note = lambda _: None,
) -> list[RowChange]:
    """Return every payment of the source that the target does not tell as much of.

    Args:
        client: of the account and region of both tables.
        source: the table that is left.
        target: the table that is moved to.
        moment: when the two were the same.
        write: whether they are copied.
        mismatched: whether those, too, that are not what was validated.
        since: look only at what has changed since, for a second look; a margin for clocks is added
            here.
        note: is told what is done about payments, before it is, and again where it came otherwise.

    Raises:
        AwsError: DynamoDB failed; what was copied stays, and to repeat it all does no harm.
    """
    request: dict[str, Any] = {}
    if since is not None:
        after = exact(since - CLOCK_MARGIN)
        request = {
            "FilterExpression": "updated_at >= :after",
            "ExpressionAttributeValues": {":after": {"S": after}},
        }

    def of_page(rows: Sequence[Item]) -> list[RowChange]:
        return _page_changes(
            client, target, rows, moment, write=write, mismatched=mismatched, note=note
        )

    def of_segment(segment: int) -> list[RowChange]:
        return [
            change
            for page in scan_segment(client, source, segment, **request)
            for change in of_page(page)
        ]

    return [change for found in each_segment(of_segment) for change in found]


def _page_changes(
    client: DynamoDBClient,
    target: str,
    rows: Sequence[Item],
    moment: datetime,
    *,
    write: bool,
    mismatched: bool,
    note: Note,
) -> list[RowChange]:
    there = read_rows(client, target, [text(row, "transaction_id") for row in rows])
    found: list[RowChange] = []
    to_copy: list[tuple[RowChange, Item]] = []
    for row in rows:
        present = there.get(text(row, "transaction_id"))
        action = _action(row, present, write=write, mismatched=mismatched)
        if action is None:
            continue
        change = RowChange(
            transaction_id=text(row, "transaction_id"),
            before=text(row, "status"),
            after=text(present, "status") if present else None,
            updated_at=text(row, "updated_at"),
            action=action,
        )
        found.append(change)
        if action == "copied":
            to_copy.append((change, _as_known_there(row, present, moment)))
    note(found)
    kept = {change for change, row in to_copy if not _copy(client, target, row)}
    note([replace(change, action="kept") for change in kept])
    return [replace(change, action="kept") if change in kept else change for change in found]


def _action(row: Item, present: Item | None, *, write: bool, mismatched: bool) -> Action | None:
    """Return what is to be done about a row, None if the target tells as much."""
    if present is not None and tells_as_much(present, row):
        return None
    if not is_payment(row):
        return "foreign"
    if present is None or supersedes(row, present):
        if not mismatched and not is_as_validated(row):
            return "mismatched"
        return "copied" if write else "left"
    # What differs though it is dated alike was changed by something else: as restored, it stays.
    as_new = text(row, "updated_at") >= text(present, "updated_at")
    hidden = is_open(present) and tells_more(row, present)
    return "kept" if as_new or hidden or contradicts(row, present) else None


def _as_known_there(row: Item, present: Item | None, moment: datetime) -> Item:
    """Return a row with the mark of the one that it is written over, if it lacks that.

    That a row was never marked does not prove that it tells of every charge: one that was lost and
    validated anew with the same Idempotency-Key has the same id, and knows nothing of the time
    before. If it shows that by its date, it is marked with the moment since which the two differ,
    and gets the earlier date, for a gateway may list what was made since then. A mark too many
    costs a look-up, one too few a second charge. What is settled is not charged any more, and needs
    none.
    """
    if present is None or not is_open(row):
        return row
    marks = [mark for version in (row, present) if (mark := mark_of(version)) is not None]
    if made_twice(row, present):
        marks.append(floor(moment.timestamp()))
        made = min(filter(None, (text(version, "created_at") for version in (row, present))))
        row = {**row, "created_at": {"S": made}}
    return with_mark(row, min(marks)) if marks else row


def _copy(client: DynamoDBClient, target: str, row: Item) -> bool:
    """Write a row, unless what is there is settled, further, newer, was begun elsewhere, or has an
    older mark than it; return whether it was."""
    values: dict[str, Any] = {
        f":open{number}": {"S": status}
        for number, status in enumerate(OVERWRITES[text(row, "status")])
    }
    overwritten = f"#status IN ({', '.join(values)})"
    if is_settled(row):
        if CONTRADICTED in row:
            values[":status"] = row["status"]
            overwritten += f" OR (#status = :status AND attribute_not_exists({CONTRADICTED}))"
    else:
        values[":updated"] = row["updated_at"]
        unmarked = f"attribute_not_exists({REWOUND})"
        if REWOUND in row:
            values[":mark"] = row[REWOUND]
            unmarked += f" OR {REWOUND} >= :mark"
        kept = [unmarked, *(f"attribute_not_exists({name})" for name in BEGUN_AT)]
        for number, name in enumerate(BEGUN_AT, start=1):
            if name in row:
                values[f":{name}"] = row[name]
                kept[number] += f" OR {name} = :{name}"
        conditions = " AND ".join(f"({part})" for part in kept)
        overwritten = f"{overwritten} AND updated_at <= :updated AND {conditions}"
    with translated(f"table {target}"):
        try:
            client.put_item(
                TableName=target,
                Item=row,
                ConditionExpression=f"attribute_not_exists(transaction_id) OR ({overwritten})",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=values,
            )
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            return False
    return True
