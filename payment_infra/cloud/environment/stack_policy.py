"""The stack policy that keeps every update from replacing or deleting what holds data.

A stack has one policy at most, and none can be taken away again, so that a policy which allows
everything stands for none ("Prevent updates to stack resources"). A change set cannot carry one for
its own operation, as UpdateStack can: where a person agrees to a replacement, the policy is lifted
for that, and is back afterwards. The operations table holds what is to be put back meanwhile, so
that the next command does it if this one was killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.events import STATEFUL_TYPES, Caution
from payment_infra.cloud.stacks.settling import Step, step_of
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from payment_infra.cloud.environment.operations_table import OperationsTable
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.stacks.stack import Stack

ITEM = "stack-policy"
ALLOW = {"Effect": "Allow", "Principal": "*", "Action": "Update:*", "Resource": "*"}
DENY = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": ["Update:Replace", "Update:Delete"],
    "Resource": "*",
    "Condition": {"StringEquals": {"ResourceType": sorted(STATEFUL_TYPES)}},
}


def _text(*statements: object) -> str:
    return json.dumps({"Statement": statements}, separators=(",", ":"))


POLICY = _text(ALLOW, DENY)
LIFTED = _text(ALLOW)


def is_missing(body: str) -> bool:
    """Whether a stack with this policy, "" for none, may replace and delete everything."""
    return not body or _same(body, LIFTED)


def wanted(body: str, *, protects: bool) -> str | None:
    """Return the policy that a stack is to get, None if it keeps the one that it has.

    Args:
        body: the one that it has, "" for none. What somebody else has written stays.
        protects: whether updates are to be kept from replacing what holds data.
    """
    if protects:
        return POLICY if is_missing(body) else None
    return LIFTED if _same(body, POLICY) else None


def lift(table: OperationsTable, stack: Stack, stack_id: str) -> bool:
    """Let an update do everything, and note what is to be put back; return whether that is needed.

    Args:
        table: keeps the note.
        stack: the stack.
        stack_id: its ARN.
    """
    body = stack.policy()
    if is_missing(body):
        return False
    noted = {"policy": body, "stack_id": stack_id}
    table.update(
        stack.name,
        ITEM,
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in noted),
        ExpressionAttributeNames={f"#{name}": name for name in noted},
        ExpressionAttributeValues={f":{name}": {"S": text} for name, text in noted.items()},
    )
    stack.set_policy(stack_id, LIFTED)
    return True


@contextmanager
def lifted(table: OperationsTable, stack: Stack, stack_id: str, tell: Tell) -> Iterator[None]:
    """Lift the policy for the block; it is back after that, whatever ends it."""
    try:
        lift(table, stack, stack_id)
        yield
    finally:
        try:
            _put_back(table, stack)
        except AwsError as error:
            tell(
                Caution(
                    f"the stack policy of {stack.name} is lifted, and could not be put back "
                    f"({error}); the next command that changes something does it"
                )
            )


def put_back(table: OperationsTable, stack: Stack, tell: Tell) -> None:
    """Put a policy back that an earlier command has lifted, once its operation has ended.

    Raises:
        AwsError: it cannot be read whether one is, or it cannot be put back.
    """
    if table.get(stack.name, ITEM) is None or step_of(stack.state()) is Step.WAIT:
        return
    if _put_back(table, stack):
        tell(Caution(f"the stack policy of {stack.name}, lifted for an earlier update, is back"))


def _put_back(table: OperationsTable, stack: Stack) -> bool:
    """Put the policy back that is noted, unless its stack is gone; return whether that was done."""
    item: Any = table.get(stack.name, ITEM)
    if item is None:
        return False
    state = stack.state()
    same = state is not None and state.id == item["stack_id"]["S"]
    if same:
        stack.set_policy(item["stack_id"]["S"], item["policy"]["S"])
    table.delete(stack.name, ITEM)
    return same


def _same(body: str, other: str) -> bool:
    try:
        return bool(json.loads(body) == json.loads(other))
    except ValueError:
        return False
