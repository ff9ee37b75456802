"""What a stack can leave behind, and how each kind of that is removed.

What a cancelled creation has made would be in the way of the next one. DeleteStack keeps what the
template retains, also of a stack that never came to be. A rollback would not, but none can be asked
for then.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from payment_infra.cloud.sdk import tables
from payment_infra.cloud.sdk.errors import MISSING, code_of, translated
from payment_infra.cloud.sdk.polling import looks
from payment_infra.cloud.sdk.queues import read_depth
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from payment_infra.cloud.events import StackEvent
    from payment_infra.cloud.sdk.session import Session

Sleep = Callable[[float], None]
LOG_GROUP = "AWS::Logs::LogGroup"
KEY = "AWS::KMS::Key"
# What goes with another resource, whatever its own policy says: a version with its function (Lambda
# API, DeleteFunction).
GOES_ALONG = frozenset({"AWS::Lambda::Version"})


@dataclass(frozen=True)
class Removal:
    """How a kind of resource is removed.

    commands are those of the AWS CLI, with {} for the physical id. remove deletes one that is
    empty, and returns whether it was; None for what serves every API of the region, as shared says:
    it has no name that another stack wants.
    """

    commands: tuple[str, ...]
    remove: Callable[[Session, str, Sleep], bool] | None = None
    shared: str = ""


def remove(
    session: Session, sleep: Sleep, kept: Sequence[StackEvent], made: Collection[str]
) -> list[StackEvent]:
    """Delete tables and queues that are empty, and log groups; return what stays in the way.

    A key goes last, and only if nothing stays that could be encrypted with it.

    Args:
        session: whose account.
        sleep: waits between two looks at a table that changes.
        kept: the events that say what the deletion has skipped.
        made: the logical ids of what the creation itself has made. What has the name of another is
            perhaps an earlier stack's, and is left as it is.
    """
    wanted = [
        event
        for event in kept
        if event.physical_id
        and not why_shared(event.resource_type)
        and event.resource_type not in GOES_ALONG
    ]
    stays: list[StackEvent] = []
    for event in sorted(wanted, key=lambda event: event.resource_type == KEY):
        needed = event.resource_type == KEY and stays
        if needed or event.logical_id not in made or not _removed(session, event, sleep):
            stays.append(event)
    return stays


def delete(session: Session, sleep: Sleep, resource_type: str, physical_id: str) -> bool:
    """Delete a resource that is empty, if its kind is known; return whether it was deleted.

    Raises:
        AwsError: it could not be looked at, or be deleted.
    """
    removal = REMOVALS.get(resource_type)
    if removal is None or removal.remove is None:
        return False
    return removal.remove(session, physical_id, sleep)


def _removed(session: Session, event: StackEvent, sleep: Sleep) -> bool:
    try:
        return delete(session, sleep, event.resource_type, event.physical_id)
    except AwsError as error:  # it is gone already; or a person has to see why it is not
        cause = error.__cause__
        return isinstance(cause, ClientError) and code_of(cause) in MISSING


def _remove_table(session: Session, name: str, sleep: Sleep) -> bool:
    client = session.client("dynamodb")
    for table in looks(f"table {name}", lambda: client.describe_table(TableName=name), sleep):
        if table["Table"]["TableStatus"] == "ACTIVE":
            break
    with translated(f"table {name}"):
        if client.scan(TableName=name, Limit=1, ConsistentRead=True)["Items"]:
            return False
    tables.delete(client, name, sleep)
    return True


def _remove_queue(session: Session, url: str, _: Sleep) -> bool:
    client = session.client("sqs")
    if read_depth(client, url).total:
        return False
    with translated(f"queue {url}"):
        client.delete_queue(QueueUrl=url)
    return True


def _remove_vault(session: Session, name: str, _: Sleep) -> bool:
    client = session.client("backup")
    with translated(f"backup vault {name}"):
        if client.describe_backup_vault(BackupVaultName=name)["NumberOfRecoveryPoints"]:
            return False
        client.delete_backup_vault(BackupVaultName=name)
    return True


def _remove_log_group(session: Session, name: str, _: Sleep) -> bool:
    with translated(f"log group {name}"):
        session.client("logs").delete_log_group(logGroupName=name)
    return True


def _remove_alias(session: Session, name: str, _: Sleep) -> bool:
    with translated(f"key {name}"):
        session.client("kms").delete_alias(AliasName=name)
    return True


def _remove_key(session: Session, key_id: str, _: Sleep) -> bool:
    with translated(f"key {key_id}"):
        session.client("kms").schedule_key_deletion(KeyId=key_id)
    return True


REMOVALS: Mapping[str, Removal] = {
    "AWS::DynamoDB::Table": Removal((tables.DELETE,), _remove_table),
    "AWS::SQS::Queue": Removal(("sqs delete-queue --queue-url {}",), _remove_queue),
    "AWS::Backup::BackupVault": Removal(
        ("backup delete-backup-vault --backup-vault-name {}",), _remove_vault
    ),
    LOG_GROUP: Removal(("logs delete-log-group --log-group-name {}",), _remove_log_group),
    KEY: Removal(("kms schedule-key-deletion --key-id {}",), _remove_key),
    "AWS::KMS::Alias": Removal(("kms delete-alias --alias-name {}",), _remove_alias),
    "AWS::ApiGateway::Account": Removal(
        ("apigateway update-account --patch-operations op=replace,path=/cloudwatchRoleArn,value=",),
        shared="it serves every API of the region",
    ),
    "AWS::IAM::Role": Removal(
        (
            "iam detach-role-policy --role-name {} --policy-arn arn:{partition}:iam::aws:policy/"
            "service-role/AmazonAPIGatewayPushToCloudWatchLogs",
            "iam delete-role --role-name {}",
        ),
        shared="every API of the region may log with it",
    ),
}


def removal_command(session: Session, resource_type: str, physical_id: str) -> str:
    """Return the AWS CLI's command that removes a resource, "" for a kind that is not known."""
    removal = REMOVALS.get(resource_type)
    if removal is None:
        return ""
    name = shlex.quote(physical_id)
    partition = session.client("cloudformation").meta.partition
    return session.aws(*(command.format(name, partition=partition) for command in removal.commands))


def why_shared(resource_type: str) -> str:
    """Return what a kind of resource does for others than its stack, "" if nothing."""
    removal = REMOVALS.get(resource_type)
    return removal.shared if removal else ""
