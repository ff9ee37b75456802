"""Who has the callers' managed policy: IAM deletes none that somebody has (API, DeletePolicy)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from payment_infra.cloud.errors import code_of, translated
from payment_infra.errors import AwsError

# The logical id of the policy.
POLICY = "PaymentCallerPolicy"
GONE = "NoSuchEntity"
# By the kind of principal: in the answer, the key of the names in it, the call that detaches.
KINDS = {
    "role": ("PolicyRoles", "RoleName", "detach_role_policy"),
    "user": ("PolicyUsers", "UserName", "detach_user_policy"),
    "group": ("PolicyGroups", "GroupName", "detach_group_policy"),
}


@dataclass(frozen=True)
class Principal:
    """Who can have a policy; kind is role, user or group."""

    kind: str
    name: str


@dataclass(frozen=True)
class Callers:
    """Who has the policy with this ARN ("" for none); unknown says why nobody can tell."""

    policy: str = ""
    principals: tuple[Principal, ...] = ()
    unknown: str = ""


def find_callers(client: Any, policy: str) -> Callers:
    """Return who has a managed policy.

    Args:
        client: IAM's.
        policy: its ARN, "" for none.
    """
    if not policy:
        return Callers()
    try:
        return Callers(policy, _principals(client, policy))
    except AwsError as error:
        return Callers(policy, unknown=str(error))


def detach(client: Any, shown: Callers) -> None:
    """Detach the policy from those who were shown to have it.

    Raises:
        AwsError: others have it by now, and nothing was changed; or IAM refuses.
    """
    if not shown.principals:
        return
    found = _principals(client, shown.policy)
    if others := [f"{one.kind} {one.name}" for one in found if one not in shown.principals]:
        raise AwsError(
            f"policy {shown.policy} was attached to {', '.join(others)} after the question; "
            "nothing was deleted; repeat the command"
        )
    for one in found:
        _, name, call = KINDS[one.kind]
        with translated(f"{one.kind} {one.name}"):
            try:
                getattr(client, call)(PolicyArn=shown.policy, **{name: one.name})
            except ClientError as error:
                if code_of(error) != GONE:
                    raise


def _principals(client: Any, policy: str) -> tuple[Principal, ...]:
    pages = client.get_paginator("list_entities_for_policy").paginate(
        PolicyArn=policy, PolicyUsageFilter="PermissionsPolicy"
    )
    with translated(f"policy {policy}"):
        try:
            answers = list(pages)
        except ClientError as error:
            if code_of(error) == GONE:
                return ()
            raise
    return tuple(
        Principal(kind, one[name])
        for kind, (members, name, _) in KINDS.items()
        for answer in answers
        for one in answer.get(members, [])
    )
