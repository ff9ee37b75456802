"""The environments of an account and region."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from payment_infra import names
from payment_infra.cloud.environment.ownership import is_ours
from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.stacks.stack import StackState

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient


@dataclass(frozen=True)
class Listed:
    """One environment: its stack's name and status, its suffix, when it changed last."""

    stack: str
    suffix: str
    status: str
    changed_at: datetime


def find_stacks(client: CloudFormationClient) -> list[Listed]:
    """Return every stack of this tool, in any state, by name."""
    with translated("stacks"):
        pages = client.get_paginator("describe_stacks").paginate()
        found = [
            (stack["StackName"], state)
            for page in pages
            for stack in page["Stacks"]
            if is_ours(state := StackState.of(stack)) and state.status != "DELETE_COMPLETE"
        ]
    return sorted(
        (
            Listed(
                name,
                state.parameters.get(names.ENVIRONMENT_SUFFIX, ""),
                state.status,
                state.changed_at,
            )
            for name, state in found
        ),
        key=lambda listed: listed.stack,
    )
