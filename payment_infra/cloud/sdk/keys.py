"""Keys of AWS KMS: which one encrypts a table, and whether it can be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.sdk.errors import translated
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session

ENABLED = "Enabled"
PENDING_DELETION = "PendingDeletion"
# Statuses of a table's encryption under which a key of the account is in use (DynamoDB API,
# SSEDescription).
IN_USE = frozenset({"ENABLING", "ENABLED", "UPDATING"})


@dataclass(frozen=True)
class Key:
    """A key: its ARN, its state as AWS KMS has it, whether AWS manages it for a service."""

    arn: str
    state: str
    by_aws: bool


def of_table(table: Mapping[str, Any]) -> str:
    """Return the ARN of the key that encrypts a table as DescribeTable has it, "" for one that is
    DynamoDB's own."""
    found = table.get("SSEDescription", {})
    return str(found.get("KMSMasterKeyArn", "")) if found.get("Status") in IN_USE else ""


def change_command(session: Session, table: str, key: str) -> str:
    """Return the AWS CLI's command that encrypts a table with a key (its id, ARN or alias), "" for
    one that is DynamoDB's own; the table can be read and written meanwhile."""
    wanted = f"Enabled=true,SSEType=KMS,KMSMasterKeyId={key}" if key else "Enabled=false"
    return session.aws(f"dynamodb update-table --table-name {table} --sse-specification {wanted}")


def usable(session: Session, key: str) -> Key:
    """Return a key that can be used.

    Args:
        session: of its account and region.
        key: its id, ARN or alias.

    Raises:
        AwsError: it cannot be used, or be looked at; says what makes it usable.
    """
    with translated(f"key {key}"):
        found: Any = session.client("kms").describe_key(KeyId=key)["KeyMetadata"]
    arn, state = found["Arn"], found["KeyState"]
    if state != ENABLED:
        words = [f"kms enable-key --key-id {arn}"]
        if state == PENDING_DELETION:
            words.insert(0, f"kms cancel-key-deletion --key-id {arn}")
        mend = " && ".join(map(session.aws, words))
        raise AwsError(
            f"key {arn} is {state}, and what it encrypts cannot be read or restored; `{mend}` "
            "makes it usable"
        )
    return Key(arn, state, found.get("KeyManager") == "AWS")
