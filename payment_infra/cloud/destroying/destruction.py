"""What goes with a stack that is deleted, what stays and why, and how that is removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.deploying.bootstrap import BOOTSTRAP_STACK, bootstrapped
from payment_infra.cloud.deploying.consent import continued, repeated, unasked
from payment_infra.cloud.environment.callers import Callers, find_callers
from payment_infra.cloud.environment.journal import find_journals
from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.sdk.queues import read_depth
from payment_infra.cloud.sdk.tables import delete_commands, delete_commands_of
from payment_infra.cloud.stacks.leftovers import (
    GOES_ALONG,
    KEY,
    LOG_GROUP,
    delete,
    removal_command,
    why_shared,
)
from payment_infra.errors import AwsError
from payment_infra.names import (
    CALLER_POLICY,
    DEAD_LETTER_QUEUE,
    FAILED_QUEUE,
    OPERATIONS_TABLE,
    TABLE_OUTPUT,
    TRANSACTIONS_TABLE,
    own_table,
)
from payment_infra.record import Record, read_record

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.sources import Resolved

# What failed to be created may have failed because its name is an earlier stack's.
NOT_THERE = frozenset({"DELETE_COMPLETE", "CREATE_FAILED"})
RETAINED = frozenset({"Retain", "RetainExceptOnCreate"})
RETAIN_DATA = "the stack was deployed to retain its data"
READ_WITH_KEY = "what is kept, and every backup, can be read only with it"


@dataclass(frozen=True)
class Kept:
    """Something that outlives the stack: what it is, why, and the command that removes it."""

    name: str
    resource_type: str
    reason: str
    command: str


@dataclass(frozen=True)
class Destruction:
    """What a deletion of the stack would do.

    goes counts the resources by type; items is DynamoDB's count of the payments that would go, some
    six hours old; messages is queue to how many would go with it; callers are those who would lose
    the callers' policy.
    """

    stack: str
    region: str
    goes: Mapping[str, int]
    table: str
    items: int
    messages: Mapping[str, int]
    protected_by: tuple[str, ...]
    record: Record
    kept: tuple[Kept, ...]
    callers: Callers
    log_groups: tuple[str, ...]


def examine(environment: Environment) -> Destruction:
    """Look at what the stack has, whatever state it is in; nothing is changed."""
    stack, client = environment.stack, environment.client("dynamodb")
    template = stack.template()
    policies = {
        name: resource.get("DeletionPolicy") for name, resource in template["Resources"].items()
    }
    resources = [
        resource for resource in stack.resources() if resource["ResourceStatus"] not in NOT_THERE
    ]
    made = [resource for resource in resources if resource.get("PhysicalResourceId")]
    stays = [
        resource
        for resource in made
        if policies.get(resource["LogicalResourceId"]) in RETAINED
        and resource["ResourceType"] not in GOES_ALONG
    ]
    goes = [resource for resource in made if resource not in stays]
    table = next(
        (resource for resource in made if resource["LogicalResourceId"] == TRANSACTIONS_TABLE), None
    )
    ids = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in goes}
    described = _describe(client, table["PhysicalResourceId"]) if table else {}
    protections = {
        "termination": environment.state.termination_protection,
        "deletion": bool(described.get("DeletionProtectionEnabled")),
    }
    return Destruction(
        stack=stack.name,
        region=environment.session.region,
        goes=Counter(resource["ResourceType"] for resource in goes),
        table=table["PhysicalResourceId"] if table in goes and table else "",
        items=described.get("ItemCount", 0),
        messages=_messages(environment, goes),
        protected_by=tuple(name for name, on in protections.items() if on),
        record=read_record(template),
        kept=(
            *(_kept(environment.session, resource) for resource in stays),
            *_copies(environment),
        ),
        callers=find_callers(environment.client("iam"), ids.get(CALLER_POLICY, "")),
        log_groups=tuple(
            resource["PhysicalResourceId"]
            for resource in goes
            if resource["ResourceType"] == LOG_GROUP
        ),
    )


def check_protection(environment: Environment, found: Destruction, resolved: Resolved) -> None:
    """Make sure that nothing protects the stack.

    Args:
        environment: the stack's.
        found: what protects it.
        resolved: the settings, which a deployment would have too.

    Raises:
        AwsError: something does; names the command that lifts it.
    """
    if found.protected_by:
        update = continued(resolved, found.record, environment.state)
        # What else is kept is to stay: an update without it would be refused.
        kept = unasked(found.record, update, kept=True)
        lifted = {f"{name}_protection": False for name in found.protected_by}
        protections = " and ".join(f"{name} protection" for name in found.protected_by)
        deploy = environment.session.command("deploy")
        raise AwsError(
            f"stack {found.stack} has {protections}; "
            f"`{repeated(deploy, found.stack, update, kept | lifted)}` lifts it"
        )


def delete_late_log_groups(environment: Environment, found: Destruction) -> list[str]:
    """Delete the stack's log groups that a late line has made again; return their names."""
    client, again = environment.client("logs"), []
    for name in found.log_groups:
        with translated(f"log group {name}"):
            pages = client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
            if any(group["logGroupName"] == name for page in pages for group in page["logGroups"]):
                delete(environment.session, environment.stack.sleep, LOG_GROUP, name)
                again.append(name)
    return again


def remains(environment: Environment, found: Destruction) -> list[Kept]:
    """Return all that there is left after the deletion, what environments share included."""
    session, left = environment.session, [*found.kept]
    if bucket := bootstrapped(session):
        left.append(
            Kept(
                name=bucket,
                resource_type="AWS::S3::Bucket",
                reason=f"it serves every environment of the region, as the stack {BOOTSTRAP_STACK}",
                command=session.command("payment-infra bootstrap --destroy"),
            )
        )
    commands = delete_commands_of(session, OPERATIONS_TABLE, protected=True)
    left.append(
        Kept(
            name=OPERATIONS_TABLE,
            resource_type="AWS::DynamoDB::Table",
            reason="it holds the lock of every environment of the region",
            command=" && ".join(commands),
        )
    )
    return left


def _copies(environment: Environment) -> Iterator[Kept]:
    """Yield the tables that restores have made; payments may be in one of them."""
    own = own_table(environment.suffix)
    active = environment.state.outputs.get(TABLE_OUTPUT)
    for journal in find_journals(environment, own):
        if not journal.exists:
            continue
        now = "payments are in it now" if journal.copy == active else "payments are not in it"
        yield Kept(
            name=journal.copy,
            resource_type="AWS::DynamoDB::Table",
            reason=f"a restore made it outside the stack; {now}",
            command=" && ".join(delete_commands(environment.session, journal.copy)),
        )


def _describe(client: Any, table: str) -> Any:
    try:
        with translated(f"table {table}"):
            return client.describe_table(TableName=table)["Table"]
    except AwsError:  # it is gone already, or may not be read: the deletion tells
        return {}


def _messages(environment: Environment, goes: list[Any]) -> dict[str, int]:
    """Return how many messages each queue that goes has."""
    found = {}
    for resource in goes:
        if resource["LogicalResourceId"] not in {FAILED_QUEUE, DEAD_LETTER_QUEUE}:
            continue
        try:
            depth = read_depth(environment.client("sqs"), resource["PhysicalResourceId"])
        except AwsError:
            continue
        if depth.total:
            found[depth.name] = depth.total
    return found


def _kept(session: Session, resource: Any) -> Kept:
    kind, name = resource["ResourceType"], resource["PhysicalResourceId"]
    reason = why_shared(kind) or (READ_WITH_KEY if kind == KEY else RETAIN_DATA)
    return Kept(name, kind, reason, removal_command(session, kind, name))


def kinds(goes: Mapping[str, int]) -> Iterator[str]:
    """Yield how many resources of each type go, the most first, as `19 AWS::CloudWatch::Alarm`."""
    for kind, number in sorted(goes.items(), key=lambda item: (-item[1], item[0])):
        yield f"{number} {kind}"
