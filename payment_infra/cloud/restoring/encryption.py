"""What a copy is encrypted with: no restore leaves that to a default.

The roles of the functions are granted the stack's key, so a copy has that one, whatever table it is
made of. Where the stack has none, it has what its source has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.sdk import keys
from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.sdk.polling import looks
from payment_infra.names import ENCRYPTION_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_dynamodb import DynamoDBClient

    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.sdk.session import Session


@dataclass(frozen=True)
class Encryption:
    """The key of a table: its ARN, "" for one that is DynamoDB's own.

    by_aws is whether it is the one that AWS manages for DynamoDB in the account.
    """

    key: str = ""
    by_aws: bool = False

    def __str__(self) -> str:
        """Return what people call it."""
        return self.key or "a key of DynamoDB's own"

    def specification(self) -> dict[str, Any]:
        """Return it as DynamoDB takes it, which wants no name for the key that AWS manages
        (DynamoDB API, SSESpecification)."""
        if not self.key:
            return {"Enabled": False}
        named = {} if self.by_aws else {"KMSMasterKeyId": self.key}
        return {"Enabled": True, "SSEType": "KMS", **named}

    def job_metadata(self) -> dict[str, str]:
        """Return it as a restore job of AWS Backup takes it, which has a key of DynamoDB's own by
        default (AWS Backup, "Restore a Amazon DynamoDB table")."""
        if not self.key:
            return {"encryptionType": "Default"}
        return {"encryptionType": "KMS", "kmsMasterKeyArn": self.key}

    def encrypts(self, table: Mapping[str, Any]) -> bool:
        """Whether a table is encrypted so, as DescribeTable has it."""
        return keys.of_table(table) == self.key


def wanted(environment: Environment, source: str | None) -> Encryption:
    """Return what a copy is to be encrypted with.

    Args:
        environment: whose copy.
        source: the table that it is made of, None if that is gone.

    Raises:
        AwsError: that key, or its source's, cannot be used, so that no copy can be made.
    """
    session = environment.session
    [of_source] = check_usable(session, [source]) if source else [Encryption()]
    if not environment.has(ENCRYPTION_KEY):
        return of_source
    key_id = environment.resource(ENCRYPTION_KEY)
    if of_source.key.endswith(f"/{key_id}"):
        return of_source
    key = keys.usable(session, key_id)
    return Encryption(key.arn, key.by_aws)


def check_usable(session: Session, names: Iterable[str]) -> list[Encryption]:
    """Return what tables are encrypted with; make sure that they can be read.

    Raises:
        AwsError: the key of one cannot be used; says what makes it usable.
    """
    client, found = session.client("dynamodb"), []
    for name in names:
        with translated(f"table {name}"):
            table: Any = client.describe_table(TableName=name)["Table"]
        arn = keys.of_table(table)
        by_aws = keys.usable(session, arn).by_aws if arn else False
        found.append(Encryption(arn, by_aws))
    return found


def encrypt(
    client: DynamoDBClient, copy: str, encryption: Encryption, sleep: Callable[[float], None]
) -> None:
    """Encrypt a copy as it is to be, if its restore has not, and wait until that is so."""
    asked = False

    def look() -> Any:
        return client.describe_table(TableName=copy)["Table"]

    for table in looks(f"table {copy}", look, sleep):
        if table["TableStatus"] != "ACTIVE":
            continue
        if asked or encryption.encrypts(table):
            return
        with translated(f"table {copy}"):
            specification: Any = encryption.specification()
            client.update_table(TableName=copy, SSESpecification=specification)
        asked = True
