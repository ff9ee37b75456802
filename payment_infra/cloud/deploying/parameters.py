"""The values of the template's parameters in a deployment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from payment_infra import names
from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.stacks.change_sets import Request
from payment_infra.names import CONCURRENCIES, PARAMETER_FIELDS

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.stack import StackState
    from payment_infra.sources import Resolved


def parameters(
    session: Session, state: StackState | None, resolved: Resolved, bucket: str
) -> Mapping[str, str | None]:
    """Return name to value of every parameter; None keeps the value that the stack has.

    Args:
        session: asked whether the region has a CloudWatch role for API Gateway already.
        state: the stack that is updated, or None if it is created.
        resolved: the configuration.
        bucket: where the zips are.
    """
    if state is None:
        return _of_create(session, resolved, bucket)
    return _of_update(state, resolved, bucket)


def reserving(resolved: Resolved, values: Mapping[str, str]) -> Resolved:
    """Return the configuration with the concurrency that a stack reserves, unless told otherwise.

    The template has these parameters only where the configuration reserves something: what a stack
    has no parameter for, it does not reserve.

    Args:
        resolved: the configuration.
        values: the stack's parameters.
    """
    kept: dict[str, Any] = {}
    for name in CONCURRENCIES.values():
        field = PARAMETER_FIELDS[name]
        if not resolved.asked_for(field):
            kept[field] = int(values.get(name, "0"))
    return replace(resolved, config=replace(resolved.config, **kept))


def protection_request(state: StackState, given: Collection[str]) -> Request | None:
    """Return what a change set is made of that protects the table of a stack, created as it is.

    Args:
        state: the stack.
        given: the parameters that have the values which somebody wanted.

    Returns:
        None if the table is not to be protected, or is.
    """
    name = names.DELETION_PROTECTION
    if name in given or state.parameters.get(name) != "false":
        return None
    return Request({"UsePreviousTemplate": True}, dict.fromkeys(state.parameters) | {name: "true"})


def _of_create(session: Session, resolved: Resolved, bucket: str) -> Mapping[str, str | None]:
    """Return the template's own values, but for the account's role where the region has one."""
    values = _values(resolved, bucket)
    if resolved.config.deletion_protection:
        # A rollback could not delete a table that is protected.
        values[names.DELETION_PROTECTION] = "false"
    asked = resolved.asked_for("manage_api_gateway_account")
    if not asked and _region_has_api_role(session):
        values[names.MANAGE_API_GATEWAY_ACCOUNT] = "false"
    return values


def _of_update(state: StackState, resolved: Resolved, bucket: str) -> Mapping[str, str | None]:
    """Return what was asked for; what only a preset gives keeps the value that the stack has."""
    values: dict[str, str | None] = dict(_values(resolved, bucket))
    for name in (*PARAMETER_FIELDS, names.TRANSACTIONS_TABLE_OVERRIDE):
        asked = name in PARAMETER_FIELDS and resolved.asked_for(PARAMETER_FIELDS[name])
        if name in state.parameters and not asked:
            values[name] = None
    values[names.ARTIFACT_BUCKET] = bucket
    if resolved.config.deletion_protection:
        values[names.DELETION_PROTECTION] = "true"
    return values


def _values(resolved: Resolved, bucket: str) -> dict[str, str]:
    values = {
        name: _text(getattr(resolved.config, field)) for name, field in PARAMETER_FIELDS.items()
    }
    # What is said of a deployment is kept for none that follows.
    return values | {names.ARTIFACT_BUCKET: bucket, names.TRAFFIC_SHIFTING: names.CANARY}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _region_has_api_role(session: Session) -> bool:
    with translated("API Gateway's account settings"):
        return bool(session.client("apigateway").get_account().get("cloudwatchRoleArn"))
