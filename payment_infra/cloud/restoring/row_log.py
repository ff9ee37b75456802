"""What a restore or an undo has done about each payment, for its report, all its runs together.

It is written down before a payment is written, in items of the operations table, and deleted once
the report is told. No guard is asked about the calls of that table, so it is asked here: a run that
was taken over changes nothing of it.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING

from payment_infra.cloud.restoring.carry_over import RowChange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.environment.journal import Journal

# An item holds 400 KB at most (DynamoDB, "Service quotas"), a payment takes up to some 200 bytes.
ROWS_AN_ITEM = 1000


def note(environment: Environment, journal: Journal, rows: Sequence[RowChange]) -> None:
    """Write down what is done about some payments."""
    for start in range(0, len(rows), ROWS_AN_ITEM):
        environment.session.check()
        text = json.dumps([asdict(row) for row in rows[start : start + ROWS_AN_ITEM]])
        environment.operations.update(
            environment.stack.name,
            f"{_items(journal)}{uuid.uuid4().hex}",
            UpdateExpression="SET #rows = :rows",
            ExpressionAttributeNames={"#rows": "rows"},
            ExpressionAttributeValues={":rows": {"S": text}},
        )


def noted(environment: Environment, journal: Journal) -> list[RowChange]:
    """Return what was done, each payment's change once, by its id."""
    found: dict[tuple[str, str], RowChange] = {}
    for item in environment.operations.items(environment.stack.name, _items(journal)):
        for fields in json.loads(item["rows"]["S"]):
            row = RowChange(**fields)
            key = row.transaction_id, row.updated_at
            # That it was to be copied was written down before it was found to be kept.
            if key not in found or found[key].action == "copied":
                found[key] = row
    return [found[key] for key in sorted(found)]


def clear(environment: Environment, journal: Journal) -> None:
    """Delete what was written down, of the restore and of its undo."""
    for item in environment.operations.items(environment.stack.name, f"rows#{journal.copy}#"):
        environment.session.check()
        environment.operations.delete(environment.stack.name, item["item"]["S"])


def _items(journal: Journal) -> str:
    return f"rows#{journal.copy}#{journal.phase}#"
