"""The table of who works on which environment: made once per account and region, and kept.

No stack makes it, so that it is there before the first stack and after the last. An item belongs to
a stack, by its name, and says what it is: the lock, for example.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError

from payment_infra.cloud.sdk.configuration import CONNECT_SECONDS
from payment_infra.cloud.sdk.errors import DENIED, code_of, translated
from payment_infra.cloud.sdk.polling import POLL_SECONDS, looks
from payment_infra.cloud.sdk.tables import enable_recovery
from payment_infra.errors import AwsError
from payment_infra.names import OPERATIONS_TABLE

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session

# Attribute to value, each as DynamoDB writes it.
Item = Mapping[str, Mapping[str, str]]

HASH_KEY, RANGE_KEY = "stack", "item"
# What an operator needs of this table.
ACTIONS = (
    *("dynamodb:CreateTable", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:TagResource"),
    *("dynamodb:DeleteItem", "dynamodb:Query"),
    *("dynamodb:UpdateContinuousBackups", "dynamodb:UpdateItem"),
)
# An answer that says whether a change may be made has to be fresh.
ANSWER_SECONDS = 5
CONFIG = Config(connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS)
TAGS = {"ManagedBy": "payment-infra"}
MISSING = "ResourceNotFoundException"
# What UpdateContinuousBackups says of a table that it does not see yet.
UNSEEN = "TableNotFoundException"
# Tries of a first write, besides those of the first ten seconds: some two minutes of them.
MORE_TRIES = 20


class OperationsTable:
    """The table, whether it exists yet or not; no guard is asked about its calls."""

    def __init__(self, session: Session, sleep: Callable[[float], None]) -> None:
        self._session = session
        self._client = session.unguarded(CONFIG).client("dynamodb")
        self._sleep = sleep
        self._there = False  # whether it was written to

    def get(self, stack: str, item: str) -> Item | None:
        """Return an item as it is now; None if there is none, or no table yet."""
        # A table that was just written to is not missing: it is new, and not there for every call.
        pauses = iter(POLL_SECONDS if self._there else ())
        while True:
            with self.allowed():
                try:
                    answer = self._client.get_item(
                        TableName=OPERATIONS_TABLE, Key=_key(stack, item), ConsistentRead=True
                    )
                except ClientError as error:
                    if code_of(error) != MISSING:
                        raise
                else:
                    found: Item | None = answer.get("Item")
                    return found
            if (pause := next(pauses, None)) is None:
                return None
            self._sleep(pause)

    def update(self, stack: str, item: str, **update: Any) -> tuple[bool, Item]:
        """Update an item on a condition; the table is made if there is none yet.

        Args:
            stack: the stack's name.
            item: which of its items.
            update: UpdateExpression, ConditionExpression, and the names and values of both.

        Returns:
            True and the item as it is from now on; or False, and the item that the condition did
            not hold for, empty if there is none.
        """
        call = {
            "TableName": OPERATIONS_TABLE,
            "Key": _key(stack, item),
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **update,
        }
        with self.allowed():
            for pause in (*POLL_SECONDS, *(POLL_SECONDS[-1],) * MORE_TRIES, None):
                try:
                    written = self._client.update_item(**call)["Attributes"]
                except ClientError as error:
                    if code_of(error) == "ConditionalCheckFailedException":
                        answer: Any = error.response
                        return False, answer.get("Item", {})
                    if code_of(error) != MISSING or pause is None:
                        raise
                else:
                    self._there = True
                    return True, written
                self.make()
                # It is made, and not yet there for every call.
                self._sleep(pause)
            raise AssertionError

    def items(self, stack: str, prefix: str) -> list[Item]:
        """Return the items of a stack whose names begin so, as they are now."""
        with self.allowed():
            try:
                pages = self._client.get_paginator("query").paginate(
                    TableName=OPERATIONS_TABLE,
                    KeyConditionExpression="#stack = :stack AND begins_with(#item, :prefix)",
                    ExpressionAttributeNames={f"#{name}": name for name in (HASH_KEY, RANGE_KEY)},
                    ExpressionAttributeValues={":stack": {"S": stack}, ":prefix": {"S": prefix}},
                    ConsistentRead=True,
                )
                return [item for page in pages for item in page["Items"]]
            except ClientError as error:
                if code_of(error) == MISSING:
                    return []
                raise

    def delete(self, stack: str, item: str) -> None:
        """Delete an item, if there is one."""
        with self.allowed():
            try:
                self._client.delete_item(TableName=OPERATIONS_TABLE, Key=_key(stack, item))
            except ClientError as error:
                if code_of(error) != MISSING:
                    raise

    def make(self) -> None:
        """Make the table, if there is none, and wait until it can be used.

        Two runs that do this at once both succeed.
        """
        with self.allowed():
            for ready in looks(f"table {OPERATIONS_TABLE}", self._is_ready, self._sleep):
                if ready:
                    return

    def _is_ready(self) -> bool:
        """Whether the table can be used; what it still lacks is done."""
        try:
            table = self._client.describe_table(TableName=OPERATIONS_TABLE)["Table"]
            if table["TableStatus"] != "ACTIVE":
                return False
            return enable_recovery(self._client, OPERATIONS_TABLE)
        except ClientError as error:
            if code_of(error) not in {MISSING, UNSEEN}:
                raise
            if code_of(error) == MISSING:
                self._create()
            return False

    def _create(self) -> None:
        try:
            self._client.create_table(
                TableName=OPERATIONS_TABLE,
                AttributeDefinitions=[
                    {"AttributeName": name, "AttributeType": "S"} for name in (HASH_KEY, RANGE_KEY)
                ],
                KeySchema=[
                    {"AttributeName": HASH_KEY, "KeyType": "HASH"},
                    {"AttributeName": RANGE_KEY, "KeyType": "RANGE"},
                ],
                BillingMode="PAY_PER_REQUEST",
                DeletionProtectionEnabled=True,
                Tags=[{"Key": key, "Value": value} for key, value in TAGS.items()],
            )
        except ClientError as error:
            # Another makes it; or it is made, and not seen yet (DynamoDB API, DescribeTable).
            if code_of(error) != "ResourceInUseException":
                raise

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Turn what the block's calls raise into an AwsError; a refusal says what to allow."""
        try:
            with translated(f"table {OPERATIONS_TABLE}"):
                yield
        except AwsError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and code_of(cause) in DENIED:
                raise AwsError(
                    f"table {OPERATIONS_TABLE}: not allowed to call {cause.operation_name}, and "
                    "without the lock in it nothing is changed; let your policy hold "
                    f"{json.dumps(self._statement(), separators=(',', ':'))}"
                ) from cause
            raise

    def _statement(self) -> Mapping[str, object]:
        partition = self._session.principal().split(":")[1]
        place = f"{self._session.region}:{self._session.account()}"
        return {
            "Effect": "Allow",
            "Action": list(ACTIONS),
            "Resource": f"arn:{partition}:dynamodb:{place}:table/{OPERATIONS_TABLE}",
        }


def _key(stack: str, item: str) -> Any:
    return {HASH_KEY: {"S": stack}, RANGE_KEY: {"S": item}}
