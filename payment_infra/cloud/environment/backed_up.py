"""Which tables AWS Backup backs up for an environment, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.checks import Check
from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.moments import shown
from payment_infra.names import BACKUP_PLAN

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment

# A backup that can be restored: DynamoDB's, and AWS Backup's.
READY = frozenset({"AVAILABLE", "COMPLETED"})
# How a job ends without one (AWS Backup API, DescribeBackupJob, State); EXPIRED never began.
FAILED = frozenset({"ABORTED", "EXPIRED", "FAILED", "PARTIAL"})
# A backup is made every day, and takes a while.
OVERDUE = timedelta(days=2)


@dataclass(frozen=True)
class Selected:
    """A table that the plan selects: its ARN, and since when, in UTC."""

    arn: str
    since: datetime


def find_backed_up(environment: Environment) -> Mapping[str, Selected] | None:
    """Return the tables that the plan selects, by their names; None for a stack without a plan.

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
        arn.rpartition("/")[2]: Selected(arn, answer["CreationDate"].astimezone(UTC))
        for answer in answers
        for arn in answer["BackupSelection"].get("Resources", [])
    }


def recovery_points(client: Any, arn: str) -> Iterator[Any]:
    """Yield what AWS Backup has of a table with this ARN, as its API describes it."""
    pages = client.get_paginator("list_recovery_points_by_resource").paginate(ResourceArn=arn)
    try:
        for page in pages:
            yield from page["RecoveryPoints"]
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":  # AWS Backup has never had this table
            raise


def find_not_backed_up(environment: Environment, now: datetime) -> list[Check]:
    """Find out whether the active table is left out of the environment's backups, or has been
    selected for them for two days, and has none that is newer than that."""
    tables, table = find_backed_up(environment), environment.table
    if tables is None:
        return []
    if table not in tables:
        message = f"AWS Backup does not back up the table {table}"
        remedy = f"`{environment.command('drift')}` shows what differs from the template"
        return [Check("backups", "warn", message, remedy)]
    selected, client = tables[table], environment.client("backup")
    if now - selected.since <= OVERDUE:
        return []
    with translated(f"the recovery points of {table}"):
        made = [
            point["CreationDate"].astimezone(UTC)
            for point in recovery_points(client, selected.arn)
            if point["Status"] in READY
        ]
    if made and now - max(made) <= OVERDUE:
        return []
    newest = (
        f"the newest backup of the table {table} is of {shown(max(made))}"
        if made
        else f"AWS Backup has no backup of the table {table}, selected at {shown(selected.since)}"
    )
    with translated(f"the backup jobs of {table}"):
        pages = client.get_paginator("list_backup_jobs").paginate(ByResourceArn=selected.arn)
        jobs = [job for page in pages for job in page["BackupJobs"] if job["State"] in FAILED]
    return [_overdue(environment, selected.arn, newest, jobs)]


def _overdue(environment: Environment, arn: str, newest: str, jobs: list[Any]) -> Check:
    """Say that a backup is missing, and why the last job failed, if one has in 30 days, which are
    those that AWS Backup lists."""
    if not jobs:
        listed = environment.session.aws(f"backup list-backup-jobs --by-resource-arn {arn}")
        return Check("backups", "warn", f"{newest}; no job has failed", f"`{listed}` lists all")
    last = max(jobs, key=lambda job: job["CreationDate"])
    words = f"backup describe-backup-job --backup-job-id {last['BackupJobId']}"
    # What AWS Backup says has lines, and a full stop.
    told = " ".join(last.get("StatusMessage", "").split()).rstrip(".")
    why = told or "AWS Backup does not say why"
    message = f"{newest}; the last job that failed is {last['State']}: {why}"
    return Check("backups", "warn", message, f"`{environment.session.aws(words)}` shows it")
