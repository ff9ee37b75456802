"""What a change set would do, and which of it is asked about by a question of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.deploying.options import BROADEN, OPEN, REPLACE
from payment_infra.cloud.events import Preview, PropertyChange
from payment_infra.difference import property_changes
from payment_infra.gateway_names import gateway_name
from payment_infra.grants import broadens, compare_grants
from payment_infra.record import charges_at
from payment_infra.rendering import describe

if TYPE_CHECKING:
    from payment_infra.cloud.events import Change
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.described import ChangeSet
    from payment_infra.cloud.stacks.stack import Stack
    from payment_infra.difference import Difference


def import_preview(
    session: Session, stack: Stack, change_set: ChangeSet, template: Mapping[str, Any]
) -> Preview:
    """Return what a change set does that takes resources into a stack by this template."""
    charging = charges_at(template)
    return Preview(
        stack=stack.name,
        account=session.account(),
        region=session.region,
        change_set=change_set.name,
        creates=change_set.creates,
        changes=change_set.changes,
        gateway=gateway_name(charging.gateway) if charging else "",
    )


def update_preview(
    session: Session,
    stack: Stack,
    change_set: ChangeSet,
    deployed: Mapping[str, Any],
    new: Mapping[str, Any],
    unasked: tuple[PropertyChange, ...] = (),
) -> Preview:
    """Return what a change set does that leads from one template to another.

    unasked is what goes back to its default, by field (see `Preview`).
    """
    details = property_changes(deployed, new)
    return replace(
        import_preview(session, stack, change_set, new),
        changes=tuple(_detailed(change, details) for change in change_set.changes),
        grants=compare_grants(deployed, new),
        unasked=unasked,
    )


def questions(
    preview: Preview, authorization: tuple[str, str], *, completes: bool
) -> list[tuple[str, str]]:
    """Return what has a question of its own: the value of `--allow` that agrees, and what it means.

    Args:
        preview: what is to be executed.
        authorization: the API's as it is, and as it will be.
        completes: whether it makes what an import has left to be made, and has no roles yet.
    """
    found = []
    if not (preview.creates or completes) and broadens(preview.grants):
        found.append((BROADEN, "gives roles more than they have"))
    if authorization == ("iam", "none"):
        found.append((OPEN, "lets everybody call the API, without a signature"))
    if any(change.loses_data for change in preview.changes):
        found.append((REPLACE, "replaces or removes what holds data"))
    return found


def _detailed(change: Change, details: Mapping[str, tuple[Difference, ...]]) -> Change:
    """Return a change with the values that its properties have in the two templates.

    What CloudFormation names beyond those comes from a parameter or from another resource.
    """
    if change.action != "Modify":
        return replace(change, properties=())
    differences = details.get(change.logical_id, ())
    properties = [
        PropertyChange(".".join(difference.path), _shown(difference.old), _shown(difference.new))
        for difference in differences
    ]
    known = {difference.path[0] for difference in differences}
    if differences:
        known |= {"Code", "Content"}
    properties += [changed for changed in change.properties if changed.path not in known]
    return replace(change, properties=tuple(properties))


def _shown(value: object) -> str | None:
    return None if value is None else describe(value)
