"""Which tables AWS Backup backs up for an environment, by what its plan really selects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from payment_infra.checks import Check
from payment_infra.cloud.sdk.errors import translated
from payment_infra.names import BACKUP_PLAN

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment


def find_backed_up(environment: Environment) -> set[str] | None:
    """Return the names of the tables that the plan selects, None for a stack without one.

    Raises:
        AwsError: they cannot be read.
    """
    if not environment.has(BACKUP_PLAN):
        return None
    client, plan = environment.client("backup"), environment.resource(BACKUP_PLAN)
    with translated(f"backup plan {plan}"):
        pages = client.get_paginator("list_backup_selections").paginate(BackupPlanId=plan)
        ids = [found["SelectionId"] for page in pages for found in page["BackupSelectionsList"]]
        answers: list[Any] = [
            client.get_backup_selection(BackupPlanId=plan, SelectionId=selection)
            for selection in ids
        ]
    return {
        arn.rpartition("/")[2]
        for answer in answers
        for arn in answer["BackupSelection"].get("Resources", [])
    }


def find_not_backed_up(environment: Environment) -> list[Check]:
    """Find out whether the active table is left out of the environment's backups."""
    tables = find_backed_up(environment)
    if tables is None or environment.table in tables:
        return []
    message = f"AWS Backup does not back up the table {environment.table}"
    remedy = f"`{environment.command('drift')}` shows what differs from the template"
    return [Check("backups", "warn", message, remedy)]
