"""What a template grants: every statement of its policies, and how two templates differ in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from payment_infra.rendering import describe


@dataclass(frozen=True)
class GrantChange:
    """A statement that comes or goes, as a row of the IAM table.

    role is the logical id of the role that gets it, or of the resource whose policy it is. Actions
    and resources are text, the functions in their short forms; for a trust policy, the resources
    are the principals.
    """

    added: bool
    role: str
    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: str = ""


# Resources whose policy grants something to others, and the property that holds it.
RESOURCE_POLICIES = {
    "AWS::SNS::TopicPolicy": "PolicyDocument",
    "AWS::SQS::QueuePolicy": "PolicyDocument",
    "AWS::S3::BucketPolicy": "PolicyDocument",
    "AWS::KMS::Key": "KeyPolicy",
}

# Role, effect, actions, resources, condition.
Grant = tuple[str, str, tuple[str, ...], tuple[str, ...], str]


def compare_grants(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[GrantChange, ...]:
    """Return by role, in the template's order, the statements that go and those that come.

    A statement that changes is one of each. The order of actions and resources does not matter.
    """
    before, after = list(_grants(old)), list(_grants(new))
    changes = [
        GrantChange(added, *grant)
        for added, grants, others in ((False, before, after), (True, after, before))
        for grant in dict.fromkeys(grants)
        if grant not in others
    ]
    roles = list(dict.fromkeys(role for role, *_ in after + before))
    return tuple(sorted(changes, key=lambda change: roles.index(change.role)))


def broadens(changes: tuple[GrantChange, ...]) -> tuple[GrantChange, ...]:
    """Return those that give more than before: a Deny that goes, an Allow that comes.

    An Allow that comes does not count if one that goes from the same role, for the same resources
    and under the same condition, allowed all of its actions.
    """
    gone = [change for change in changes if not change.added and change.effect == "Allow"]
    return tuple(
        change
        for change in changes
        if (
            change.added
            and change.effect == "Allow"
            and not any(_covers(old, change) for old in gone)
        )
        or (not change.added and change.effect == "Deny")
    )


def _covers(old: GrantChange, new: GrantChange) -> bool:
    return (
        old.role == new.role
        and old.condition == new.condition
        and set(old.resources) >= set(new.resources)
        and set(old.actions) >= set(new.actions)
    )


def _grants(template: Mapping[str, Any]) -> Iterator[Grant]:
    resources = template.get("Resources", {})
    holders = _holders(resources)
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        match resource.get("Type"):
            case "AWS::IAM::ManagedPolicy" | "AWS::IAM::Policy":
                named = [describe(role) for role in properties.get("Roles", [])]
                for holder in [*holders.get(name, []), *named] or [name]:
                    yield from _statements(holder, properties.get("PolicyDocument"))
            case "AWS::IAM::Role":
                yield from _of_role(name, properties, resources)
            case "AWS::Lambda::Permission":
                condition = {
                    key: properties[key]
                    for key in ("SourceArn", "SourceAccount")
                    if key in properties
                }
                yield (
                    name,
                    "Allow",
                    _texts(properties.get("Action")),
                    _texts(properties.get("FunctionName")),
                    _condition({"Principal": properties.get("Principal"), **condition}),
                )
            case kind if kind in RESOURCE_POLICIES:
                yield from _statements(name, properties.get(RESOURCE_POLICIES[kind]))


def _holders(resources: Mapping[str, Any]) -> Mapping[str, list[str]]:
    """Return the logical ids of managed policies, and of the roles that hold each."""
    holders: dict[str, list[str]] = {}
    for name, resource in resources.items():
        if resource.get("Type") == "AWS::IAM::Role":
            for arn in resource.get("Properties", {}).get("ManagedPolicyArns", []):
                if isinstance(arn, Mapping) and "Ref" in arn:
                    holders.setdefault(arn["Ref"], []).append(name)
    return holders


def _of_role(
    name: str, properties: Mapping[str, Any], resources: Mapping[str, Any]
) -> Iterator[Grant]:
    yield from _statements(name, properties.get("AssumeRolePolicyDocument"))
    for policy in properties.get("Policies", []):
        yield from _statements(name, policy.get("PolicyDocument"))
    for arn in properties.get("ManagedPolicyArns", []):
        if not (isinstance(arn, Mapping) and arn.get("Ref") in resources):
            yield (name, "Allow", (describe(arn),), ("managed policy",), "")


def _statements(name: str, document: Any) -> Iterator[Grant]:
    statements = (document or {}).get("Statement", [])
    for statement in [statements] if isinstance(statements, Mapping) else statements:
        about = statement.get("Resource", statement.get("NotResource", statement.get("Principal")))
        beyond = {
            key: statement[key]
            for key in ("Condition", "NotResource", "NotAction")
            if key in statement
        }
        if "Resource" in statement and "Principal" in statement:
            beyond["Principal"] = statement["Principal"]
        actions = _texts(statement.get("Action", statement.get("NotAction")))
        yield (name, statement.get("Effect", ""), actions, _texts(about), _condition(beyond))


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping) and set(value) <= {"Service", "AWS", "Federated", "Canonical"}:
        value = [item for each in value.values() for item in (each if _is_list(each) else [each])]
    return tuple(sorted(describe(item) for item in (value if _is_list(value) else [value])))


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _condition(parts: Mapping[str, Any]) -> str:
    if list(parts) == ["Condition"]:
        parts = parts["Condition"]
    return ", ".join(f"{name}: {describe(value)}" for name, value in sorted(parts.items()))
