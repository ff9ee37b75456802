"""The table of an earlier moment: made, waited for, and given back what a restore loses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.environment.journal import DELETING, PREFIX, tags_of
from payment_infra.cloud.events import Waiting
from payment_infra.cloud.restoring.encryption import Encryption, encrypt
from payment_infra.cloud.sdk import tables
from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.cloud.sdk.polling import looks
from payment_infra.errors import AwsError, UsageError
from payment_infra.moments import shown

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from payment_infra.cloud.sdk.session import Session

Sleep = Callable[[float], None]

# Looks at a new table that may not find it yet (DynamoDB API, DescribeTable).
MAX_UNSEEN = 10


@dataclass(frozen=True)
class Window:
    """The moments to which a table can be restored, in whole seconds."""

    earliest: datetime
    latest: datetime


@dataclass(frozen=True)
class Settings:
    """What a restore loses of a table, whose point-in-time recovery it is to have in any case.

    recovery_days is how far back that goes; None: as far as DynamoDB has it by itself, 35 days.
    """

    recovery_days: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    protected: bool = False


def window(session: Session, table: str, from_backup: str) -> Window:
    """Return the window of a table's point-in-time recovery.

    Args:
        session: whose account.
        table: its name.
        from_backup: the command that brings a table back from its backup.

    Raises:
        AwsError: the table is gone, or its point-in-time recovery is off.
    """
    try:
        with translated(f"table {table}"):
            answer = session.client("dynamodb").describe_continuous_backups(TableName=table)
    except AwsError as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and code_of(cause).endswith("TableNotFoundException"):
            raise AwsError(
                f"there is no table {table}; `{from_backup}` brings it back: DynamoDB keeps a "
                "backup of a deleted table for 35 days"
            ) from error
        raise
    found: Any = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if found.get("PointInTimeRecoveryStatus") != "ENABLED":
        switch_on = session.aws(
            f"dynamodb update-continuous-backups --table-name {table} "
            "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        )
        raise AwsError(
            f"the point-in-time recovery of {table} is off, so there is nothing to restore from; "
            f"`{switch_on}` switches it on for what comes"
        )
    earliest, latest = found["EarliestRestorableDateTime"], found["LatestRestorableDateTime"]
    up = timedelta(seconds=1) if earliest.microsecond else timedelta()
    return Window(whole(earliest) + up, whole(latest))


def moment(asked: datetime | None, found: Window) -> datetime:
    """Return the moment to restore to, in whole seconds, as DynamoDB keeps them.

    Args:
        asked: with an offset; None asks for the latest.
        found: the table's window.

    Raises:
        UsageError: it is outside of the window.
    """
    to = found.latest if asked is None else whole(asked)
    if not found.earliest <= to <= found.latest:
        raise UsageError(
            f"--to {shown(to)}: the table can be restored to moments from "
            f"{shown(found.earliest)} to {shown(found.latest)} (--to latest)"
        )
    return to


def whole(moment: datetime) -> datetime:
    """Return the second of a moment, in UTC."""
    return moment.astimezone(UTC).replace(microsecond=0)


def begin(
    client: DynamoDBClient,
    source: str,
    copy: str,
    to: datetime,
    encryption: Encryption,
    sleep: Sleep,
) -> None:
    """Begin to make the copy, once an earlier one that is being deleted is gone."""
    await_deletion(client, copy, sleep)
    specification: Any = encryption.specification()
    with translated(f"table {copy}"):
        client.restore_table_to_point_in_time(
            SourceTableName=source,
            TargetTableName=copy,
            RestoreDateTime=to,
            SSESpecificationOverride=specification,
        )


def await_deletion(client: DynamoDBClient, copy: str, sleep: Sleep) -> None:
    """Wait until a table of the copy's name that is being deleted is gone."""
    for status in looks(f"table {copy}", lambda: status_seen(client, copy), sleep):
        if status != DELETING:
            return


def status_seen(client: DynamoDBClient, copy: str) -> str:
    """Return what one look sees of a table: its status, "" if it is not there.

    Raises:
        ClientError: as the SDK does; for `looks`.
    """
    try:
        return client.describe_table(TableName=copy)["Table"]["TableStatus"]
    except ClientError as error:
        if code_of(error) == "ResourceNotFoundException":
            return ""
        raise


def wait(
    client: DynamoDBClient, copy: str, sleep: Sleep, clock: Callable[[], datetime]
) -> Iterator[Waiting]:
    """Wait until the copy and its indexes can be used; yield after each look that it cannot yet.

    Raises:
        AwsError: the copy is gone: the restore was given up.
    """
    began = clock()
    unseen = iter(range(MAX_UNSEEN))

    def look() -> Any:
        try:
            return client.describe_table(TableName=copy)["Table"]
        except ClientError as error:
            if code_of(error) == "ResourceNotFoundException" and next(unseen, None) is not None:
                return {"TableStatus": "CREATING"}
            raise

    for table in looks(f"table {copy}", look, sleep):
        indexes = table.get("GlobalSecondaryIndexes", [])
        statuses = {
            table["TableStatus"],
            *(index.get("IndexStatus", "ACTIVE") for index in indexes),
        }
        if statuses == {"ACTIVE"}:
            return
        passed = timedelta(seconds=int((clock() - began).total_seconds()))
        yield Waiting(f"{copy} is {table['TableStatus']} ({passed})")


def bring_back(
    client: DynamoDBClient, source: str, copy: str, encryption: Encryption, sleep: Sleep
) -> None:
    """Give the copy what a restore loses, as its source has it."""
    complete(client, copy, settings_of(client, source), encryption, sleep)


def settings_of(client: DynamoDBClient, table: str) -> Settings:
    """Return what a restore of a table would lose."""
    with translated(f"table {table}"):
        found: Any = client.describe_table(TableName=table)["Table"]
        answer: Any = client.describe_continuous_backups(TableName=table)
    backups = answer["ContinuousBackupsDescription"]
    return Settings(
        recovery_days=backups.get("PointInTimeRecoveryDescription", {}).get("RecoveryPeriodInDays"),
        tags=tags_of(client, found["TableArn"]),
        protected=found.get("DeletionProtectionEnabled", False),
    )


def complete(
    client: DynamoDBClient,
    copy: str,
    settings: Settings,
    encryption: Encryption,
    sleep: Sleep,
) -> None:
    """Give the copy what a restore loses; done again, it changes nothing more.

    Indexes and billing mode come with the data (DynamoDB, "Point-in-time recovery: How it works"),
    and its encryption was asked for; what has not heard that gets it now.
    """
    encrypt(client, copy, encryption, sleep)
    with translated(f"table {copy}"):
        of_copy: Any = client.describe_table(TableName=copy)["Table"]
    days = settings.recovery_days
    for done in looks(f"table {copy}", lambda: tables.enable_recovery(client, copy, days), sleep):
        if done:
            break
    lost = [
        {"Key": key, "Value": value}
        for key, value in settings.tags.items()
        if not key.startswith(("aws:", PREFIX))
    ]
    with translated(f"table {copy}"):
        if lost:
            client.tag_resource(ResourceArn=of_copy["TableArn"], Tags=lost)  # type: ignore[arg-type]
        if settings.protected != of_copy.get("DeletionProtectionEnabled", False):
            client.update_table(TableName=copy, DeletionProtectionEnabled=settings.protected)
