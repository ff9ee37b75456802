"""What a stack is at one moment, as DescribeStacks says it, and what differs at a later one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from payment_infra.cloud.stacks.following import REVIEW

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import StackTypeDef


@dataclass(frozen=True)
class StackState:
    """What DescribeStacks says of a stack.

    changed_at is when its last operation began; drift is DRIFTED, IN_SYNC, UNKNOWN or NOT_CHECKED,
    as it was found at drift_checked_at.
    """

    id: str
    status: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    changed_at: datetime
    role_arn: str | None = None
    notification_arns: tuple[str, ...] = ()
    termination_protection: bool = False
    drift: str = "NOT_CHECKED"
    drift_checked_at: datetime | None = None

    @classmethod
    def of(cls, stack: StackTypeDef) -> StackState:
        """Return the state that an answer of DescribeStacks holds."""
        drift = stack.get("DriftInformation", {})
        return cls(
            id=stack["StackId"],
            status=stack["StackStatus"],
            parameters={
                parameter["ParameterKey"]: parameter.get("ParameterValue", "")
                for parameter in stack.get("Parameters", [])
            },
            outputs={
                output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])
            },
            changed_at=stack.get("LastUpdatedTime") or stack["CreationTime"],
            role_arn=stack.get("RoleARN"),
            notification_arns=tuple(stack.get("NotificationARNs", [])),
            termination_protection=stack.get("EnableTerminationProtection", False),
            drift=drift.get("StackDriftStatus", "NOT_CHECKED"),
            drift_checked_at=drift.get("LastCheckTimestamp"),
        )

    @classmethod
    def in_review(cls, stack_id: str) -> StackState:
        """Return the state of a stack that was made for a change set, and has nothing yet."""
        never = datetime.min.replace(tzinfo=UTC)
        return cls(stack_id, REVIEW, parameters={}, outputs={}, changed_at=never)


def change(found: StackState | None, now: StackState | None) -> str:
    """Say what somebody has done to a stack between two looks, as "has deleted it"; "" for nothing.

    That a new stack with nothing in it has the name of one that was not there is nothing: a change
    set for its creation can be made all the same.
    """
    if found is None:
        return "" if now is None or now.status == REVIEW else "has created it"
    if now is None:
        return "has deleted it"
    if now.id != found.id:
        return "has deleted it and made it anew"
    if now.status != found.status or (now.status != REVIEW and now.changed_at != found.changed_at):
        return "works on it" if is_busy(now) else "has changed it"
    return ""


def is_busy(state: StackState) -> bool:
    """Whether an operation of the stack is in progress."""
    return state.status.endswith("_IN_PROGRESS") and state.status != REVIEW
