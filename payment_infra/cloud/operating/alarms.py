"""The alarms of an environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from payment_infra.cloud.sdk.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

    from payment_infra.cloud.environment.environment import Environment

RESOURCE_TYPE = "AWS::CloudWatch::Alarm"
# Names that one call takes (CloudWatch API, DescribeAlarms).
MAX_NAMES = 100


@dataclass(frozen=True)
class Alarm:
    """An alarm: OK, ALARM or INSUFFICIENT_DATA, since when, and why."""

    name: str
    state: str
    reason: str
    since: datetime | None


def find_alarms(environment: Environment) -> list[Alarm]:
    """Return the alarms that the stack has made."""
    names = environment.stack.physical_ids_of(RESOURCE_TYPE)
    return describe(environment.client("cloudwatch"), names)


def describe(client: CloudWatchClient, names: Sequence[str]) -> list[Alarm]:
    """Return the alarms with these names; one that does not exist is left out."""
    found = []
    with translated("alarms"):
        for start in range(0, len(names), MAX_NAMES):
            pages = client.get_paginator("describe_alarms").paginate(
                AlarmNames=names[start : start + MAX_NAMES]
            )
            found += [alarm for page in pages for alarm in page["MetricAlarms"]]
    return [
        Alarm(
            name=alarm["AlarmName"],
            state=alarm["StateValue"],
            reason=alarm.get("StateReason", ""),
            since=alarm.get("StateUpdatedTimestamp"),
        )
        for alarm in found
    ]
