"""Marking payments that were rewound, so that none is charged before it is looked up.

A row of the table that is moved to shows an earlier moment. Where the table that is left does not
tell what came of the payment since, it may have been charged, and the gateway may have forgotten
its key by the time that somebody processes it. So the row gets `rewound`, the moment that it shows,
and the handlers look it up first.

`updated_at` stays as it is, for it says when the payment changed, and the mark changes nothing of
that. A later one would let the old row win: `carry_over` would take it for newer than what was
settled a moment before it was marked, and an undo would carry it back as if it were news. As no
undo finds the mark by that, each marking looks at the marks of the table that is left, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.restoring.reading import Item, each_segment, read_rows, scan_segment
from payment_infra.cloud.restoring.rows import (
    GATEWAY_ID,
    GATEWAY_MARKS,
    OPEN,
    REWOUND,
    VALIDATED_FOR,
    is_as_validated,
    is_open,
    is_payment,
    made_twice,
    mark_of,
    tells_as_much,
    tells_more,
    text,
)
from payment_infra.cloud.sdk.errors import code_of, translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

IS_OPEN = f"#status IN ({', '.join(f':{status}' for status in OPEN)})"
NAMES = {"#status": "status"}
STATUSES: dict[str, Any] = {f":{status}": {"S": status} for status in OPEN}


@dataclass(frozen=True)
class Marking:
    """How rows are marked. Its methods return the transaction_ids of open rows that are marked.

    Args:
        client: of the account and region of both tables.
        source: the table that is left; what changed in it has been carried over.
        target: the table that is moved to.
        moment: since when the two differ.
        discard: whether what changed since then was left behind.
        lost: whether the source is gone, and with it all that it knew.
    """

    client: DynamoDBClient
    source: str
    target: str
    moment: datetime
    discard: bool
    lost: bool = False

    def mark_all(self) -> set[str]:
        """Mark every open row of the target that the source does not settle.

        Raises:
            AwsError: DynamoDB failed; what was marked stays, and to repeat it all does no harm.
        """

        def of_segment(segment: int) -> set[str]:
            pages = self._scan_open(segment, IS_OPEN)
            return {marked for page in pages for marked in self._mark_page(page)}

        return set().union(*each_segment(of_segment))

    def mark(self, transaction_ids: Sequence[str]) -> set[str]:
        """Mark those of these payments that are open and that the source does not settle."""
        rows = read_rows(self.client, self.target, transaction_ids)
        return set(self._mark_page([row for row in rows.values() if is_open(row)]))

    def find_marked(self) -> set[str]:
        """Find the open rows of the target that are marked, by any run."""

        def of_segment(segment: int) -> set[str]:
            pages = self._scan_open(
                segment,
                f"{IS_OPEN} AND attribute_exists({REWOUND})",
                ProjectionExpression="transaction_id",
            )
            return {text(row, "transaction_id") for page in pages for row in page}

        return set().union(*each_segment(of_segment))

    def _scan_open(self, segment: int, where: str, **request: Any) -> Iterator[Sequence[Item]]:
        return scan_segment(
            self.client,
            self.target,
            segment,
            FilterExpression=where,
            ExpressionAttributeNames=NAMES,
            ExpressionAttributeValues=STATUSES,
            **request,
        )

    def _mark_page(self, rows: Sequence[Item]) -> Iterator[str]:
        ids = [text(row, "transaction_id") for row in rows]
        others = {} if self.lost else read_rows(self.client, self.source, ids)
        for row in rows:
            transaction_id, mark = text(row, "transaction_id"), mark_of(row)
            other = others.get(transaction_id)
            due = self._due(row, other)
            if due is not None and (mark is None or due < mark):
                if self._write(transaction_id, due, _beginning(row, other)):
                    yield transaction_id
            elif mark is not None:
                yield transaction_id

    def _due(self, row: Item, other: Item | None) -> int | None:
        """Return what an open row is to be marked with, None if it needs no mark.

        Of two moments the earlier one counts: since then, neither row tells all. What has the
        gateway's own name of the payment needs none: that says what has become of it. But where the
        other one does not have that name, the gateway may have two.
        """
        if GATEWAY_ID in row and (other is None or row[GATEWAY_ID] == other.get(GATEWAY_ID)):
            return None
        moments = [floor(self.moment.timestamp())] if self._hides(row, other) else []
        if other is not None and (mark := mark_of(other)) is not None:
            moments.append(mark)
        return min(moments, default=None)

    def _hides(self, row: Item, other: Item | None) -> bool:
        """Whether an open row may hide a charge: the other one is lost, no payment, tells of more,
        was made anew, or would have been carried over. One that is older would not have been."""
        if other is None:
            return True
        if tells_as_much(row, other):
            return False
        if not is_payment(other) or tells_more(other, row) or made_twice(other, row):
            return True
        at, other_at = text(row, "updated_at"), text(other, "updated_at")
        return (self.discard and other_at >= at) or (
            not is_as_validated(other) and other_at > at  # and so not carried over
        )

    def _write(self, transaction_id: str, mark: int, beginning: Item) -> bool:
        """Mark a row, unless it is gone, settled, or marked with an earlier moment; return whether
        it was. A repeated call does the same again, as the SDK's may.

        Until when the row is queued goes with it: that message may have been handled since.
        """
        learned = "".join(f", {name} = :{name}" for name in beginning)
        values = {f":{name}": value for name, value in beginning.items()}
        with translated(f"table {self.target}"):
            try:
                self.client.update_item(
                    TableName=self.target,
                    Key={"transaction_id": {"S": transaction_id}},
                    UpdateExpression=f"SET {REWOUND} = :mark{learned} REMOVE queued_until",
                    ConditionExpression=(
                        f"{IS_OPEN} AND (attribute_not_exists({REWOUND}) OR {REWOUND} >= :mark)"
                    ),
                    ExpressionAttributeNames=NAMES,
                    ExpressionAttributeValues={**STATUSES, **values, ":mark": {"N": str(mark)}},
                )
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise
                return False
        return True


def _beginning(row: Item, other: Item | None) -> Item:
    """Return what another row knows, and this does not, of when and where the payment was begun.

    No other gateway may find a payment uncharged, and one may list what was made since then.
    """
    if other is None or not is_payment(other):
        return {}
    learned = {name: other[name] for name in GATEWAY_MARKS if name in other and name not in row}
    if VALIDATED_FOR in other and not _names(other) <= _names(row):
        # With several, as of a payment that was made twice, it is none's that is configured.
        learned[VALIDATED_FOR] = {"S": ", ".join(sorted(_names(row) | _names(other)))}
    if text(other, "created_at") < text(row, "created_at"):
        learned["created_at"] = other["created_at"]
    return learned


def _names(row: Item) -> set[str]:
    """Return for whom a payment was validated, as far as a row says."""
    return set(filter(None, text(row, VALIDATED_FOR).split(", ")))
