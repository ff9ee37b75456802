"""What a change set would do, as DescribeChangeSet says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from payment_infra.cloud.events import Action, Change, PropertyChange, Replacement

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

    from payment_infra.cloud.stacks.state import StackState

REPLACEMENTS: Mapping[str, Replacement] = {"True": "replaces", "Conditional": "may replace"}


@dataclass(frozen=True)
class ChangeSet:
    """A change set that is ready to be executed.

    creates if the stack has nothing yet; imports if it does nothing but take resources into it;
    parameters holds the values that are given, and not those that the stack keeps. found is what
    the stack was when the change set was made.
    """

    id: str
    name: str
    stack_id: str
    creates: bool
    changes: tuple[Change, ...]
    parameters: Mapping[str, str]
    imports: bool = False
    found: StackState | None = field(default=None, compare=False, repr=False)


def describe(client: CloudFormationClient, **which: str) -> Any:
    """Return a change set's description, with the changes of all its pages; fails as the SDK."""
    page: Any = client.describe_change_set(**which)  # type: ignore[arg-type]
    answer, changes = page, [*page.get("Changes", [])]
    while page.get("NextToken"):
        page = client.describe_change_set(
            ChangeSetName=answer["ChangeSetId"], NextToken=page["NextToken"]
        )
        changes += page.get("Changes", [])
    return {**answer, "Changes": changes}


def change_set_of(answer: Any, name: str, found: StackState, creates: bool) -> ChangeSet:
    """Return the change set that an answer describes; see `ChangeSet` for the rest."""
    parameters = {
        parameter["ParameterKey"]: parameter.get("ParameterValue", "")
        for parameter in answer.get("Parameters", [])
    }
    changes = _changes(answer)
    return ChangeSet(
        answer["ChangeSetId"], name, found.id, creates, changes, parameters, found=found
    )


def _changes(answer: Any) -> tuple[Change, ...]:
    raw = (change["ResourceChange"] for change in answer["Changes"] if "ResourceChange" in change)
    return tuple(map(_change, raw))


def _change(raw: Mapping[str, Any]) -> Change:
    named: dict[str, PropertyChange] = {}
    for detail in raw.get("Details", []):
        target = detail["Target"]
        path = target.get("Name") or target["Attribute"]
        named.setdefault(path, PropertyChange(path, cause=detail.get("CausingEntity")))
    return Change(
        action=cast("Action", raw["Action"]),
        logical_id=raw["LogicalResourceId"],
        resource_type=raw["ResourceType"],
        replacement=REPLACEMENTS.get(raw.get("Replacement", ""), "no"),
        properties=tuple(named.values()),
    )
