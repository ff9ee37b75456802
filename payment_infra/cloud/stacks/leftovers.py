"""What a cancelled creation has made and CloudFormation keeps: it would be in the way of the next.

DeleteStack keeps what the template retains, also of a stack that never came to be. A rollback would
not, but nobody can ask for one then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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

# They serve every API of the region, and have no name that another attempt wants.
SHARED = frozenset({"AWS::ApiGateway::Account", "AWS::IAM::Role"})


def remove(
    session: Session, sleep: Sleep, kept: Sequence[StackEvent], made: Collection[str]
) -> list[StackEvent]:
    """Delete tables and queues that are empty, and log groups; return what stays in the way.

    Args:
        session: whose account.
        sleep: waits between two looks at a table that changes.
        kept: the events that say what the deletion has skipped.
        made: the logical ids of what the creation itself has made. What has the name of another is
            perhaps an earlier stack's, and is left as it is.
    """
    wanted = [one for one in kept if one.physical_id and one.resource_type not in SHARED]
    return [
        one for one in wanted if one.logical_id not in made or not _removed(session, one, sleep)
    ]


def _removed(session: Session, one: StackEvent, sleep: Sleep) -> bool:
    remover = REMOVERS.get(one.resource_type)
    try:
        return remover is not None and remover(session, one.physical_id, sleep)
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


def _remove_log_group(session: Session, name: str, _: Sleep) -> bool:
    with translated(f"log group {name}"):
        session.client("logs").delete_log_group(logGroupName=name)
    return True


REMOVERS: Mapping[str, Callable[[Session, str, Sleep], bool]] = {
    "AWS::DynamoDB::Table": _remove_table,
    "AWS::SQS::Queue": _remove_queue,
    "AWS::Logs::LogGroup": _remove_log_group,
}
