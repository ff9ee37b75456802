"""What became of a table, and deleting one, which may be protected from that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.errors import code_of, translated
from payment_infra.cloud.polling import looks

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


# What a table that is not there has in place of a status of DynamoDB's.
GONE = "GONE"
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


def lost(name: str, status: str) -> str:
    """Say that a table's rows are lost, "" if its status does not."""
    if status not in LOST:
        return ""
    return f"the table {name} is {status if status != GONE else 'gone'}: no payment is recorded"


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


def delete_commands(client: DynamoDBClient, name: str) -> list[str]:
    """Return the AWS CLI's commands that delete a table, protected or not."""
    with translated(f"table {name}"):
        described: Any = client.describe_table(TableName=name)["Table"]
    protected = described.get("DeletionProtectionEnabled", False)
    return delete_commands_of(name, client.meta.region_name, protected=protected)


def delete_commands_of(name: str, region: str, *, protected: bool) -> list[str]:
    """Return the AWS CLI's commands that delete a table of which that much is known."""
    named = f"--table-name {name} --region {region}"
    lift = [
        f"aws dynamodb update-table --no-deletion-protection-enabled {named}",
        f"aws dynamodb wait table-exists {named}",
    ]
    return [*(lift if protected else []), f"aws dynamodb delete-table {named}"]
