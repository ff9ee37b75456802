"""What an environment is like whatever is deployed to it: its table lost, its payments stopped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from payment_infra.cloud.environment.findings import (
    STOPPED_BY,
    find_idle_functions,
    find_stops,
    functions_of,
    lost_table,
)
from payment_infra.cloud.events import Caution
from payment_infra.cloud.sdk import tables
from payment_infra.errors import AwsError
from payment_infra.names import REST_API, TABLE_OUTPUT

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import Change, Tell


def find_lost_table(environment: Environment, tell: Tell) -> str:
    """Say that the active table is lost, and what brings it back; "" if it is there.

    CloudFormation takes a resource for there that it has made, whatever became of it since.
    """
    if not (name := environment.state.outputs.get(TABLE_OUTPUT)):
        return ""
    try:
        told = lost_table(name, tables.status(environment.client("dynamodb"), name))
    except AwsError as error:
        tell(Caution(f"not known whether payments have their table: {error}"))
        return ""
    restore = environment.stack.command("restore --from-backup latest")
    return told and f"{told}; `{restore}` brings it back from a backup"


def tell_stopped(
    environment: Environment, tell: Tell, changes: Iterable[Change] = (), *, execute: bool = True
) -> None:
    """Tell that payments are stopped, and stay so whatever is deployed.

    Args:
        environment: as it is now.
        tell: is told.
        changes: what an update would change.
        execute: whether it is to be executed, not only previewed.

    Raises:
        AwsError: the update changes what stops them, and could let in a part of them.
    """
    _tell_idle(environment, tell)
    try:
        # An API that was never made stops nothing.
        stops = find_stops(environment) if environment.has(REST_API) else []
    except AwsError as error:
        tell(Caution(f"not known whether payments are stopped: {error}"))
        return
    if not stops:
        return
    told, resume = stops[0].message, environment.stack.command("resume")
    touched = [change.logical_id for change in changes if change.logical_id in STOPPED_BY]
    if not touched:
        tell(Caution(f"{told}, and stay so; `{resume}` lets them in"))
        return
    message = (
        f"{told}, and this update could let in a part of them, since it changes "
        f"{', '.join(touched)}; `{resume}` first"
    )
    if execute:
        raise AwsError(message)
    tell(Caution(message))


def _tell_idle(environment: Environment, tell: Tell) -> None:
    """Tell which functions may not run, whatever is deployed."""
    try:
        made = all(map(environment.has, functions_of(environment)))
        idle = find_idle_functions(environment) if made else []
    except AwsError as error:
        tell(Caution(f"not known whether the functions may run: {error}"))
        return
    for check in idle:
        tell(Caution(f"{check.message}, and stays so; {check.remedy} lets it run"))
