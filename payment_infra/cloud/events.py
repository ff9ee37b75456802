"""What an operation tells, as values: a preview, stack events, steps, cautions, the end.

Whatever works on an environment (a deployment, a restore, a redrive, the lock) tells them in the
order in which they happen; what shows them knows no more of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from payment_infra.grants import GrantChange

Action = Literal["Add", "Modify", "Remove", "Import", "Dynamic"]
Replacement = Literal["no", "may replace", "replaces"]

VERBS = {"Add": "add", "Modify": "modify", "Remove": "remove"}

STACK_TYPE = "AWS::CloudFormation::Stack"
# What holds data that nothing can make again.
STATEFUL_TYPES = frozenset(
    {
        *("AWS::Backup::BackupVault", "AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::S3::Bucket"),
        "AWS::SQS::Queue",
    }
)


@dataclass(frozen=True)
class PropertyChange:
    """A property that changes: its path below Properties, as `Environment.Variables.NAME`.

    old and new are short text for people; None where there is none, or where it is not known. cause
    is what it comes from, if not from the template: a parameter, or an attribute of a resource.
    """

    path: str
    old: str | None = None
    new: str | None = None
    cause: str | None = None


@dataclass(frozen=True)
class Change:
    """What a change set would do to one resource."""

    action: Action
    logical_id: str
    resource_type: str
    replacement: Replacement = "no"
    properties: tuple[PropertyChange, ...] = ()

    @property
    def loses_data(self) -> bool:
        """Whether what holds data is replaced, perhaps replaced, or removed."""
        goes = self.action == "Remove" or self.replacement != "no"
        return goes and self.resource_type in STATEFUL_TYPES


@dataclass(frozen=True)
class Target:
    """Where a stack is about to be worked on."""

    stack: str
    account: str
    region: str


@dataclass(frozen=True)
class Preview:
    """A change set before it is executed.

    gateway is the payment gateway that it leads to; unasked holds, by field, what goes back to its
    default since the stack's value is not asked for.
    """

    stack: str
    account: str
    region: str
    change_set: str
    creates: bool
    changes: tuple[Change, ...]
    grants: tuple[GrantChange, ...] = ()
    gateway: str = ""
    unasked: tuple[PropertyChange, ...] = ()

    @property
    def counts(self) -> str:
        """How many resources it adds, modifies and so on: `3 to add, 1 to modify`."""
        verbs = Counter(VERBS.get(change.action, change.action.lower()) for change in self.changes)
        told = ", ".join(f"{number} to {verb}" for verb, number in verbs.items())
        return told or "no resources"


@dataclass(frozen=True)
class Diagnosis:
    """The root cause of a failed operation.

    template_path is the resource's place in the template, and source the module that built it; both
    are None for the stack itself. remedy is None for a cause that is not known.
    """

    logical_id: str
    resource_type: str
    status: str
    reason: str
    template_path: str | None
    source: str | None
    remedy: str | None

    def __str__(self) -> str:
        """Return it on one line: what, where, why, and what to do."""
        place = f" ({self.template_path}, built in {self.source})" if self.source else ""
        reason = " ".join((self.reason or self.status).split()).rstrip(".")
        return f"{self.logical_id}{place}: {reason}" + (f"; {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class StackEvent:
    """One event of a stack: what happened to which resource, when, and why.

    token is the ClientRequestToken of the call that began the operation; physical_id is "" while
    the resource has none.
    """

    id: str
    time: datetime
    logical_id: str
    resource_type: str
    status: str
    reason: str
    token: str = ""
    physical_id: str = ""

    @property
    def failed(self) -> bool:
        """Whether the resource could not be brought to its new state."""
        return self.status.endswith("_FAILED")

    @property
    def in_progress(self) -> bool:
        """Whether an operation on the resource is in progress."""
        return self.status.endswith("_IN_PROGRESS")


@dataclass(frozen=True)
class Waiting:
    """The operation is in progress, and nothing has happened since the last look.

    what says what is waited for, where that is not the stack.
    """

    what: str = ""


@dataclass(frozen=True)
class StepBegun:
    """A step of a longer work has begun: which, of how many, and what it does."""

    number: int
    of: int
    text: str


@dataclass(frozen=True)
class Caution:
    """Something that a person should know, and that stops nothing."""

    message: str


@dataclass(frozen=True)
class Outputs:
    """The outputs of the stack, after it has been deployed."""

    values: Mapping[str, str]


@dataclass(frozen=True)
class Result:
    """The end. status is the stack's; changed says whether this run changed anything."""

    stack: str
    status: str
    changed: bool


@dataclass(frozen=True)
class LastOperation:
    """An operation on a stack that has ended, as its events tell it.

    begun says by whom or how, "" if nobody can tell; resources is how many it was about; failed are
    the events of those that failed, oldest first.
    """

    stack: str
    began: datetime
    ended: datetime
    begun: str
    resources: int
    failed: tuple[StackEvent, ...]


@dataclass(frozen=True)
class Report:
    """What a work will do, or has come to: for people its lines, for programs its document.

    final says that it is what the command was called for.
    """

    lines: tuple[str, ...]
    document: Mapping[str, object]
    final: bool = False


Told = Caution | Outputs | Report | Result
Event = Target | Preview | StackEvent | LastOperation | Waiting | StepBegun | Told
Tell = Callable[[Event], None]
