"""A stack that is gone over what it has kept: how it was configured, and the import of that.

An import is an operation of its own, which changes nothing else; an update makes the rest. (The
import that CloudFormation makes along with other changes takes no names that depend on parameters,
and no queues: "Import AWS resources into a CloudFormation stack automatically".)
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from payment_infra import names
from payment_infra.cloud.deploying.consent import on_recorded_preset
from payment_infra.cloud.deploying.existing import FINDERS, find_existing
from payment_infra.cloud.deploying.parameters import reserving
from payment_infra.cloud.environment.journal import find_copies
from payment_infra.cloud.environment.ownership import is_ours
from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.stacks.change_sets import Existing, Request
from payment_infra.cloud.stacks.following import REVIEW
from payment_infra.cloud.stacks.stack import Stack, StackState
from payment_infra.errors import UsageError
from payment_infra.gateway_names import SIMULATED_GATEWAY
from payment_infra.names import CONCURRENCIES, PARAMETER_FIELDS
from payment_infra.record import Record, read_record

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.release import Plan, Release
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.sources import Resolved

FLAG = "--import-existing-resources"
OVERRIDE = names.TRANSACTIONS_TABLE_OVERRIDE
# What a new stack decides anew: where its code is, and whether the region has a CloudWatch role.
DECIDED_ANEW = frozenset(
    {names.ENVIRONMENT_SUFFIX, names.ARTIFACT_BUCKET, names.MANAGE_API_GATEWAY_ACCOUNT}
)
# What the stack's own events say once it has worked, and what they say of its beginning. One that
# only began was never created, or only ever looked at as a change set; events are kept for 90 days,
# so one without either is older.
WORKED = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE"})
BEGAN = frozenset(
    {
        *(REVIEW, "CREATE_IN_PROGRESS", "CREATE_FAILED"),
        *("ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"),
    }
)


@dataclass(frozen=True)
class Gone:
    """The stack that had this name before, as it was when it was deleted, and what it records."""

    state: StackState
    record: Record


def is_incomplete(deployed: Mapping[str, Any]) -> bool:
    """Whether a template, {} for none, has not come further than to import what there was."""
    return all(resource["Type"] in FINDERS for resource in deployed.get("Resources", {}).values())


def find_gone(stack: Stack, suffix: str) -> Gone | None:
    """Return the last environment that had this stack's name.

    CloudFormation knows a deleted stack for 90 days (API, ListStacks and GetTemplate).
    """
    client = stack.client
    with translated(f"the deleted stacks named {stack.name}"):
        pages = client.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
        deleted = [
            (summary["CreationTime"], summary["StackId"])
            for page in pages
            for summary in page["StackSummaries"]
            if summary["StackName"] == stack.name
        ]
        for _, stack_id in sorted(deleted, reverse=True):
            state = StackState.of(client.describe_stacks(StackName=stack_id)["Stacks"][0])
            same = is_ours(state) and state.parameters.get(names.ENVIRONMENT_SUFFIX) == suffix
            if not same or not _has_worked(stack, stack_id):
                continue
            template = Stack(client, stack_id).template()
            if not (template and is_incomplete(template)):
                return Gone(state, read_record(template))
    return None


def _has_worked(stack: Stack, stack_id: str) -> bool:
    pages = stack.client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    told = {
        event.get("ResourceStatus", "")
        for page in pages
        for event in page["StackEvents"]
        if event.get("PhysicalResourceId") == stack_id
    }
    return bool(told & WORKED) or not told & BEGAN


def configuration(
    stack: Stack, gone: Gone | None, resolved: Resolved, given: Mapping[str, str]
) -> tuple[Resolved, Record, Mapping[str, str]]:
    """Return how the environment is to be made anew: its settings, its record, parameters to set.

    It is configured like the stack that is gone, unless another value is given.

    Args:
        stack: the new stack.
        gone: the one before it, if CloudFormation still knows it.
        resolved: what is asked for.
        given: the parameters that are given by name.

    Raises:
        UsageError: it is unknown how it was configured, and not said either.
    """
    if gone is not None:
        resolved = reserving(on_recorded_preset(resolved, gone.record), gone.state.parameters)
        kept = {
            name: value
            for name, value in gone.state.parameters.items()
            if name in {*PARAMETER_FIELDS, OVERRIDE} - DECIDED_ANEW
            and not (name in PARAMETER_FIELDS and resolved.asked_for(PARAMETER_FIELDS[name]))
            and (name not in CONCURRENCIES.values() or name in resolved.config.reserved)
        }
        return resolved, gone.record, {**kept, **_protected(resolved), **given}
    if not resolved.preset_chosen:
        raise UsageError(
            f"{FLAG}: CloudFormation no longer knows how {stack.name} was configured; say "
            "it by --preset, and by what was set besides"
        )
    return resolved, Record(), {**_protected(resolved), **given}


def _protected(resolved: Resolved) -> dict[str, str]:
    """Return the parameter of a table that is to be protected: it is not created, but kept."""
    return {names.DELETION_PROTECTION: "true"} if resolved.config.deletion_protection else {}


def check_gateway_known(name: str, record: Record, resolved: Resolved, session: Session) -> None:
    """Make sure that payments which were kept get the simulated gateway only if that is asked for.

    Raises:
        UsageError: it is unknown which gateway they had, and none is named.
    """
    known = "gateway" in record.values or resolved.asked_for("gateway")
    if known or session.embedded:
        return
    if resolved.config.gateway == SIMULATED_GATEWAY:
        raise UsageError(
            f"stack {name}: CloudFormation no longer knows which payment gateway the kept "
            "payments had; name it by --gateway, or ask for the simulated one, which moves no "
            "money, by --gateway simulated"
        )


def check_copies(session: Session, planned: Plan, gone: Gone | None) -> None:
    """Make sure that it is known which table payments were in: the stack's own, or a restored one.

    Raises:
        UsageError: there are restored tables, and it is unknown which one was in use.
    """
    if gone is not None or planned.parameters.get(OVERRIDE) is not None:
        return
    own = names.own_table(planned.config.suffix)
    copies = find_copies(session.client("dynamodb"), own)
    if copies:
        raise UsageError(
            f"{FLAG}: payments were in {own}, or in what was restored of it ({', '.join(copies)}); "
            f"say in which by --parameter {OVERRIDE}=NAME, and by {OVERRIDE}= for {own}"
        )


def find_missing(
    session: Session, planned: Plan, deployed: Mapping[str, Any]
) -> tuple[list[Existing], list[Existing]]:
    """Return what exists of the plan's resources, and what of that the stack does not have yet.

    Raises:
        AwsError: that cannot be found out.
    """
    existing, unknown = find_existing(session, planned)
    if unknown:
        raise unknown[0]
    has = deployed.get("Resources", {})
    return existing, [resource for resource in existing if resource.logical_id not in has]


def request(
    session: Session,
    release: Release,
    existing: Collection[Existing],
    missing: Collection[Existing],
    role_arn: str | None,
    notification_arns: tuple[str, ...] | None,
) -> Request:
    """Return what the change set of the import is made of."""
    logical_ids = [resource.logical_id for resource in existing]
    body = json.dumps(import_template(release.plan.template, logical_ids))
    parameters = {**release.parameters, **_protection(session, release, existing, missing)}
    return Request(
        {"TemplateBody": body},
        parameters,
        role_arn,
        notification_arns,
        imports=tuple(missing),
    )


def _protection(
    session: Session,
    release: Release,
    existing: Collection[Existing],
    missing: Collection[Existing],
) -> dict[str, str | None]:
    """Return the parameter that protects the table, as the table or the stack has it.

    An import changes no property, it takes what the template says for what there is ("Resolve drift
    with an import operation"). If that said that an unprotected table is protected, no later update
    would see a difference.
    """
    name = names.DELETION_PROTECTION
    tables = [found for found in existing if found.logical_id == names.TRANSACTIONS_TABLE]
    if name not in release.parameters or not tables:
        return {}
    [table] = tables
    if table not in missing:
        return {name: None}
    with translated(f"table {table.name}"):
        described = session.client("dynamodb").describe_table(TableName=table.name)["Table"]
    return {name: str(described.get("DeletionProtectionEnabled", False)).lower()}


def import_template(template: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return a template of nothing but these resources, as the whole one has them.

    A property that refers to another resource is left to the update that makes that, and so is the
    order in which resources are made.
    """
    known = {*names, *template["Parameters"]}
    resources = {
        name: {
            **{key: of for key, of in template["Resources"][name].items() if key != "DependsOn"},
            "Properties": {
                key: value
                for key, value in template["Resources"][name]["Properties"].items()
                if all(ref in known or ref.startswith("AWS::") for ref in _references(value))
            },
        }
        for name in names
    }
    kept = ("AWSTemplateFormatVersion", "Description", "Parameters", "Conditions")
    return {**{key: template[key] for key in kept if key in template}, "Resources": resources}


def _references(value: Any) -> Iterator[str]:
    """Yield the parameters and logical ids that a value refers to."""
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "Ref":
                yield inner
            elif key == "Fn::GetAtt":
                yield inner[0] if isinstance(inner, list) else inner.partition(".")[0]
            elif key == "Fn::Sub":
                text, variables = inner if isinstance(inner, list) else (inner, {})
                names = set(re.findall(r"\$\{([^!}]+)\}", text)) - set(variables)
                yield from sorted(name.partition(".")[0] for name in names)
                yield from _references(variables)
            else:
                yield from _references(inner)
