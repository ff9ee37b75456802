"""Whether the canary would take an update back at once, for what was before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from payment_infra.cloud.events import Caution
from payment_infra.cloud.sdk.errors import translated
from payment_infra.errors import AwsError
from payment_infra.names import (
    CANARY,
    CANARY_ALARMS,
    PROCESSING_ALIAS,
    TRAFFIC_SHIFTING,
    VALIDATION_ALIAS,
)

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.stacks.described import ChangeSet

SHIFTING = frozenset({VALIDATION_ALIAS, PROCESSING_ALIAS})


def tell_fired(
    environment: Environment, change_set: ChangeSet, tell: Tell, *, execute: bool
) -> None:
    """Tell of the canary's alarms that have fired already, where an update shifts traffic.

    CodeDeploy stops for an alarm in ALARM, however long it is (CodeDeploy API, ErrorCode,
    ALARM_ACTIVE): one crash in the minute before would end the whole update.

    Args:
        environment: as it is now.
        change_set: the update.
        tell: is told.
        execute: whether it is to be executed, not only previewed.

    Raises:
        AwsError: the update is to be executed, and would be taken back.
    """
    if not _shifts(change_set):
        return
    try:
        fired = _find_fired(environment)
    except AwsError as error:
        tell(Caution(f"not known whether an alarm would take this update back: {error}"))
        return
    if not fired:
        return
    message = (
        f"an alarm of the canary is in ALARM ({', '.join(fired)}), and would take this update back "
        f"at once; wait until it is OK (`{environment.command('status')}`), or give new versions "
        f"all requests: `{environment.command('deploy --at-once')}`"
    )
    if execute:
        raise AwsError(message)
    tell(Caution(message))


def _shifts(change_set: ChangeSet) -> bool:
    """Whether a change set moves requests to new versions bit by bit."""
    return change_set.parameters.get(TRAFFIC_SHIFTING) == CANARY and any(
        change.action == "Modify" and change.logical_id in SHIFTING for change in change_set.changes
    )


def _find_fired(environment: Environment) -> list[str]:
    """Return the names of the canary's alarms that are in ALARM; the first canary has none yet."""
    names = [environment.resource(alarm) for alarm in CANARY_ALARMS if environment.has(alarm)]
    if not names:
        return []
    with translated("the canary's alarms"):
        answer = environment.client("cloudwatch").describe_alarms(
            AlarmNames=names, StateValue="ALARM"
        )
    return [alarm["AlarmName"] for alarm in answer["MetricAlarms"]]
