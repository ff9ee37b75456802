"""What became of a table, its recovery, and deleting one, which may be protected from that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.cloud.sdk.polling import looks

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from payment_infra.cloud.sdk.session import Session

# The words of the AWS CLI that delete the table of that name.
DELETE = "dynamodb delete-table --table-name {}"
# What a table that is not there has in place of a status of DynamoDB's.
GONE = "GONE"
# A table that was just made may not take the setting yet (DynamoDB API,
# UpdateContinuousBackups).
NOT_YET = "ContinuousBackupsUnavailableException"
# Statuses of a table whose rows will not come back by themselves (DynamoDB API, TableDescription).
LOST = frozenset({GONE, "DELETING", "ARCHIVING", "ARCHIVED"})


def status(client: DynamoDBClient, name: str) -> str:
    """Return DynamoDB's status of a table, or GONE."""
    with translated(f"table {name}"):
        try:
            return client.describe_table(TableName=name)["Table"]["TableStatus"]
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            return GONE


def enable_recovery(client: DynamoDBClient, name: str, days: int | None = None) -> bool:
    """Switch point-in-time recovery on; return False while a table is too new for that.

    Args:
        client: of the table's account and region; failures are botocore's.
        name: the table's.
        days: how far back it reaches; None: as far as DynamoDB says.
    """
    wanted: Any = {"PointInTimeRecoveryEnabled": True}
    if days is not None:
        wanted["RecoveryPeriodInDays"] = days
    try:
        client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=wanted)
    except ClientError as error:
        if code_of(error) == NOT_YET:
            return False
        raise
    return True


def unfit(client: DynamoDBClient, name: str, properties: Mapping[str, Any]) -> str:
    """Say why a table cannot stand in for one of a stack, "" if it can.

    Args:
        client: of the stack's account and region.
        name: the table's.
        properties: those of the stack's table in the template.
    """
    with translated(f"table {name}"):
        try:
            table: Any = client.describe_table(TableName=name)["Table"]
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            return f"there is no table {name} in {client.meta.region_name}"
    if table["TableStatus"] != "ACTIVE":
        return f"table {name} is {table['TableStatus']}, and not ACTIVE"
    return next(
        (f"table {name} {difference}" for difference in _differences(table, properties)), ""
    )


def _differences(table: Any, properties: Mapping[str, Any]) -> Iterator[str]:
    wanted = {
        attribute["AttributeName"]: attribute["AttributeType"]
        for attribute in properties["AttributeDefinitions"]
    }
    types = {
        attribute["AttributeName"]: attribute["AttributeType"]
        for attribute in table["AttributeDefinitions"]
    }
    if (key := _key(table, types)) != _key(properties, wanted):
        yield f"has the key {key}, and not {_key(properties, wanted)}"
    indexes = {index["IndexName"]: index for index in table.get("GlobalSecondaryIndexes", [])}
    for index in properties["GlobalSecondaryIndexes"]:
        name, there = index["IndexName"], indexes.get(index["IndexName"])
        if there is None:
            yield f"has no index {name}"
        elif (key := _key(there, types)) != _key(index, wanted):
            yield f"has an index {name} with the key {key}, and not {_key(index, wanted)}"
        elif (seen := there.get("IndexStatus", "ACTIVE")) != "ACTIVE":
            yield f"has an index {name} that is {seen}, and not ACTIVE"


def _key(described: Any, types: Mapping[str, str]) -> str:
    """Return a key as text: its attributes in their order, with type and role."""
    parts = [(part["AttributeName"], part["KeyType"]) for part in described["KeySchema"]]
    return ", ".join(f"{name} ({types.get(name)}, {role})" for name, role in parts)


def delete(client: DynamoDBClient, name: str, sleep: Callable[[float], None]) -> None:
    """Delete a table, protected or not, once it is at rest."""

    def look() -> Any:
        return client.describe_table(TableName=name)["Table"]

    # While its settings change, a table cannot be deleted (DynamoDB API, DeleteTable).
    for table in looks(f"table {name}", look, sleep):
        if table["TableStatus"] != "ACTIVE":
            continue
        with translated(f"table {name}"):
            if not table.get("DeletionProtectionEnabled"):
                client.delete_table(TableName=name)
                return
            client.update_table(TableName=name, DeletionProtectionEnabled=False)


def delete_commands(session: Session, name: str) -> list[str]:
    """Return the AWS CLI's commands that delete a table, protected or not."""
    with translated(f"table {name}"):
        described: Any = session.client("dynamodb").describe_table(TableName=name)["Table"]
    protected = described.get("DeletionProtectionEnabled", False)
    return delete_commands_of(session, name, protected=protected)


def delete_commands_of(session: Session, name: str, *, protected: bool) -> list[str]:
    """Return the AWS CLI's commands that delete a table of which that much is known."""
    lift = [
        f"dynamodb update-table --no-deletion-protection-enabled --table-name {name}",
        f"dynamodb wait table-exists --table-name {name}",
    ]
    return [session.aws(words) for words in (*(lift if protected else ()), DELETE.format(name))]
