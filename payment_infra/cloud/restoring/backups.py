"""What AWS has of a table that stands or is deleted: its backups, and a copy made from one.

DynamoDB keeps those that it makes itself: on demand, and the one that the deletion of a table with
point-in-time recovery leaves for 35 days (Amazon DynamoDB API, BackupSummary). AWS Backup has the
others, its recovery points. One whose ARN is DynamoDB's is restored by DynamoDB; one whose ARN is
AWS Backup's only by AWS Backup, with a role ("Restoring an Amazon DynamoDB table").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.environment.backed_up import READY, find_backed_up, recovery_points
from payment_infra.cloud.events import Caution
from payment_infra.cloud.restoring import copy as copies
from payment_infra.cloud.sdk import tables
from payment_infra.cloud.sdk.errors import is_unavailable, translated
from payment_infra.cloud.sdk.polling import looks
from payment_infra.errors import AwsError, UsageError
from payment_infra.names import BACKUP_ROLE, TRANSACTIONS_TABLE
from payment_infra.record import read_record

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.restoring.encryption import Encryption
    from payment_infra.cloud.sdk.session import Session

LATEST = "latest"
# One that is still being made. In any other status it can never be restored.
IN_PROGRESS = frozenset({"CREATING"})
# The types that DynamoDB gives what a deletion leaves, and those of AWS Backup.
SYSTEM = "SYSTEM"
AWS_BACKUP = "AWS_BACKUP"
# The role that AWS Backup makes and works with unless told otherwise ("IAM service roles"): for an
# environment that has none of its own.
DEFAULT_ROLE = "service-role/AWSBackupDefaultServiceRole"
# How a restore job of AWS Backup ends if it does not come to a good end (API, DescribeRestoreJob).
ENDED_BADLY = frozenset({"ABORTED", "FAILED"})
MAX_NAMED = 5


@dataclass(frozen=True)
class Backup:
    """A backup of a table.

    table is the table's name, and kind the type that DynamoDB gives it: SYSTEM is what a deletion
    leaves, USER was made on demand, AWS_BACKUP is AWS Backup's. It shows the table at made_at, in
    UTC. size_bytes is None where nothing tells it; vault is AWS Backup's, "" for DynamoDB's own.
    """

    arn: str
    table: str
    kind: str
    made_at: datetime
    status: str
    size_bytes: int | None = None
    vault: str = ""

    @property
    def by_dynamodb(self) -> bool:
        """Whether DynamoDB restores it by itself."""
        return self.arn.split(":")[2] == "dynamodb"


def find_backups(session: Session, table: str, tell: Tell) -> list[Backup]:
    """Return the backups of all tables that have had this name, the newest first.

    Those that can be restored, and those that are still being made. What AWS Backup may not be
    asked for is told, and left out.

    Raises:
        AwsError: the table is just being deleted, so that its last backup may not be there yet.
    """
    client = session.client("dynamodb")
    if tables.status(client, table) == "DELETING":
        raise AwsError(
            f"table {table} is being deleted, and its last backup comes with the end of that; "
            "repeat the command in a minute"
        )
    with translated(f"the backups of {table}"):
        found = {backup.arn: backup for backup in _of_dynamodb(client, table)}
    try:
        with translated(f"the recovery points of {table}"):
            # Some are known to both services.
            found = {backup.arn: backup for backup in _of_aws_backup(session, table)} | found
    except AwsError as error:
        if not is_unavailable(error):
            raise
        tell(Caution(f"AWS Backup is left out, and may have newer backups: {error}"))
    backups = [backup for backup in found.values() if backup.status in READY | IN_PROGRESS]
    return sorted(backups, key=lambda backup: backup.made_at, reverse=True)


def choose(backups: Sequence[Backup], asked: str) -> Backup:
    """Return the backup with an ARN, or the latest.

    Args:
        backups: those of the table, the newest first.
        asked: the ARN, or LATEST.

    Raises:
        UsageError: no backup has this ARN.
        AwsError: there is none at all, or it is still being made. The latest is then not the one
            before it, which lacks payments.
    """
    if not backups:
        raise AwsError(
            "neither DynamoDB nor AWS Backup has a backup of the table; a deletion leaves one for "
            "35 days if the table had point-in-time recovery"
        )
    if asked == LATEST:
        chosen = backups[0]
    else:
        named = {backup.arn: backup for backup in backups}
        if asked not in named:
            newest = ", ".join(backup.arn for backup in backups[:MAX_NAMED])
            raise UsageError(
                f"--from-backup {asked}: no backup of the table has this ARN; the newest are "
                f"{newest} (--from-backup latest)"
            )
        chosen = named[asked]
    if chosen.status not in READY:
        raise AwsError(
            f"backup {chosen.arn} is still {chosen.status}; repeat the command once it can be "
            "restored, or name another"
        )
    return chosen


def begin(
    session: Session,
    backup: Backup,
    copy: str,
    encryption: Encryption,
    sleep: Callable[[float], None],
    role: str = "",
) -> None:
    """Begin to make the copy, once an earlier one that is being deleted is gone.

    AWS Backup works with the role of this ARN, "" for its own.

    Raises:
        AwsError: it cannot be made; there is no copy then.
    """
    client = session.client("dynamodb")
    copies.await_deletion(client, copy, sleep)
    if backup.by_dynamodb:
        specification: Any = encryption.specification()
        with translated(f"table {copy}"):
            client.restore_table_from_backup(
                TargetTableName=copy, BackupArn=backup.arn, SSESpecificationOverride=specification
            )
    else:
        _begin_job(session, backup, copy, encryption, sleep, role or _default_role(session))


def role_of(environment: Environment) -> str:
    """Return the ARN of the stack's own role for AWS Backup, "" if it has none."""
    if not environment.has(BACKUP_ROLE):
        return ""
    name = environment.resource(BACKUP_ROLE)
    with translated(f"role {name}"):
        # It has a path if every role of the account has.
        arn: str = environment.client("iam").get_role(RoleName=name)["Role"]["Arn"]
    return arn


def backed_up_lines(environment: Environment, table: str) -> list[str]:
    """Return what a report says of whether the backups follow payments to a table."""
    try:
        tables = find_backed_up(environment)
    except AwsError as error:
        return [f"Whether AWS Backup backs {table} up could not be read: {error}"]
    if tables is None:
        return []
    if table in tables:
        return [f"AWS Backup backs {table} up from now on."]
    return [f"AWS Backup does not back {table} up: `{environment.command('drift')}` shows why."]


def bring_back_from_template(
    client: DynamoDBClient,
    template: Mapping[str, Any],
    parameters: Mapping[str, str],
    copy: str,
    encryption: Encryption,
    sleep: Callable[[float], None],
) -> None:
    """Give the copy what a restore loses, as the stack's template has it: its source is gone.

    Args:
        client: of the stack's account and region.
        template: the deployed one, with the functions in their long forms.
        parameters: the stack's, name to value.
        copy: the copy's name.
        encryption: what it is to be encrypted with.
        sleep: waits for so many seconds.
    """
    copies.complete(client, copy, settings_of_template(template, parameters), encryption, sleep)


def settings_of_template(
    template: Mapping[str, Any], parameters: Mapping[str, str]
) -> copies.Settings:
    """Return what a restore would lose of the table that a template describes."""
    table = template["Resources"][TRANSACTIONS_TABLE]["Properties"]
    recovery = table.get("PointInTimeRecoverySpecification", {})
    tags = {tag["Key"]: _value(tag["Value"], parameters) for tag in table.get("Tags", [])}
    return copies.Settings(
        recovery_days=recovery.get("RecoveryPeriodInDays"),
        # A "?" stands for what GetTemplate does not answer; no tag has one.
        tags={key: value for key, value in tags.items() if "?" not in key + value},
        protected=read_record(template).values["deletion_protection"] is True,
    )


def _value(value: Any, parameters: Mapping[str, str]) -> str:
    return parameters[value["Ref"]] if isinstance(value, Mapping) else str(value)


def _of_dynamodb(client: DynamoDBClient, table: str) -> Iterator[Backup]:
    for page in client.get_paginator("list_backups").paginate(TableName=table, BackupType="ALL"):
        for summary in page["BackupSummaries"]:
            yield Backup(
                arn=summary["BackupArn"],
                table=table,
                kind=summary["BackupType"],
                made_at=summary["BackupCreationDateTime"].astimezone(UTC),
                status=summary["BackupStatus"],
                size_bytes=summary.get("BackupSizeBytes"),
            )


def _of_aws_backup(session: Session, table: str) -> Iterator[Backup]:
    client = session.client("backup")
    arn = f"arn:{client.meta.partition}:dynamodb:{session.region}:{session.account()}:table/{table}"
    for point in recovery_points(client, arn):
        yield Backup(
            arn=point["RecoveryPointArn"],
            table=table,
            kind=AWS_BACKUP,
            made_at=point["CreationDate"].astimezone(UTC),
            status=point["Status"],
            size_bytes=point.get("BackupSizeBytes"),
            vault=point["BackupVaultName"],
        )


def _default_role(session: Session) -> str:
    partition = session.client("backup").meta.partition
    return f"arn:{partition}:iam::{session.account()}:role/{DEFAULT_ROLE}"


def _begin_job(
    session: Session,
    backup: Backup,
    copy: str,
    encryption: Encryption,
    sleep: Callable[[float], None],
    role: str,
) -> None:
    """Let AWS Backup begin to make the copy, and wait until there is a table.

    A job that a killed run has begun makes the same table; whichever comes second fails.
    """
    client, dynamodb = session.client("backup"), session.client("dynamodb")
    if tables.status(dynamodb, copy) != tables.GONE:
        raise AwsError(f"there is a table {copy} already; it is not made by this restore")
    with translated(f"the restore of {backup.arn}"):
        metadata = client.get_recovery_point_restore_metadata(
            BackupVaultName=backup.vault, RecoveryPointArn=backup.arn
        )["RestoreMetadata"]
        job = client.start_restore_job(
            RecoveryPointArn=backup.arn,
            Metadata={**metadata, **encryption.job_metadata(), "targetTableName": copy},
            IamRoleArn=role,
            ResourceType="DynamoDB",
        )["RestoreJobId"]

    def look() -> Any:
        found = client.describe_restore_job(RestoreJobId=job)
        return {**found, "exists": bool(copies.status_seen(dynamodb, copy))}

    for found in looks(f"restore job {job}", look, sleep):
        if found["exists"]:
            return
        if found["Status"] in ENDED_BADLY:
            told = found.get("StatusMessage") or "AWS Backup does not say why"
            describe = session.aws(f"backup describe-restore-job --restore-job-id {job}")
            raise AwsError(
                f"the restore of {backup.arn} is {found['Status']}: {told.rstrip('.')}; AWS Backup "
                f"works with the role {role}, see `{describe}`"
            )
