"""How the resources of a stack differ from its template, as CloudFormation finds it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.events import Waiting
from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.sdk.polling import looks
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment

# What CloudFormation says while another detection is in progress; it has no error code for it.
IN_PROGRESS = "already in progress"
DRIFTED = frozenset({"MODIFIED", "DELETED"})


@dataclass(frozen=True)
class PropertyDrift:
    """A property that differs: its path, and its two values; kind is ADD, REMOVE or NOT_EQUAL."""

    path: str
    expected: object
    actual: object
    kind: str


@dataclass(frozen=True)
class ResourceDrift:
    """A resource that was MODIFIED or DELETED outside of CloudFormation."""

    logical_id: str
    resource_type: str
    status: str
    properties: tuple[PropertyDrift, ...] = ()


@dataclass(frozen=True)
class Drift:
    """What a detection found.

    status is DRIFTED or IN_SYNC, or UNKNOWN if it did not complete, for the given reason.
    not_checked counts the resources whose drift CloudFormation cannot detect.
    """

    status: str
    checked: int
    not_checked: int
    resources: tuple[ResourceDrift, ...]
    reason: str = ""


def detect(
    environment: Environment, sleep: Callable[[float], None], tell: Callable[[Waiting], None]
) -> Drift:
    """Let CloudFormation compare the stack with its template, and wait for that.

    Raises:
        AwsError: it cannot begin.
    """
    stack = environment.stack
    detection = _begin(environment, sleep, tell)

    def look() -> Any:
        return stack.client.describe_stack_drift_detection_status(StackDriftDetectionId=detection)

    status: Any = {}
    for status in looks(f"drift of {stack.name}", look, sleep):
        if status["DetectionStatus"] != "DETECTION_IN_PROGRESS":
            break
        tell(Waiting(f"CloudFormation compares the resources of {stack.name}"))
    found = list(_resources(environment))
    drifted = tuple(
        _drift(resource) for resource in found if resource["StackResourceDriftStatus"] in DRIFTED
    )
    unchecked = sum(resource["StackResourceDriftStatus"] == "NOT_CHECKED" for resource in found)
    failed = status["DetectionStatus"] == "DETECTION_FAILED"
    whole = "UNKNOWN" if failed and not drifted else status.get("StackDriftStatus", "UNKNOWN")
    return Drift(
        status="DRIFTED" if drifted else whole,
        checked=len(found) - unchecked,
        not_checked=len(environment.stack.physical_ids()) - (len(found) - unchecked),
        resources=drifted,
        reason=status.get("DetectionStatusReason", "") if failed else "",
    )


def _begin(
    environment: Environment, sleep: Callable[[float], None], tell: Callable[[Waiting], None]
) -> str:
    """Begin a detection, after the one in progress, if there is one; return its id."""
    stack = environment.stack

    def start() -> str | None:
        try:
            answer = stack.client.detect_stack_drift(StackName=stack.name)
        except ClientError as error:
            if IN_PROGRESS in str(error):
                return None
            raise
        return answer["StackDriftDetectionId"]

    for detection in looks(f"drift of {stack.name}", start, sleep):
        if detection is not None:
            return detection
        tell(Waiting(f"another detection of {stack.name} is in progress"))
    raise AwsError(f"drift of {stack.name}: the detection could not begin")


def _resources(environment: Environment) -> Iterator[Any]:
    stack = environment.stack
    token: Any = {}
    while True:
        with translated(f"drift of {stack.name}"):
            page: Any = stack.client.describe_stack_resource_drifts(StackName=stack.name, **token)
        yield from page["StackResourceDrifts"]
        if not page.get("NextToken"):
            return
        token = {"NextToken": page["NextToken"]}


def _drift(raw: Any) -> ResourceDrift:
    return ResourceDrift(
        logical_id=raw["LogicalResourceId"],
        resource_type=raw["ResourceType"],
        status=raw["StackResourceDriftStatus"],
        properties=tuple(
            PropertyDrift(
                path=difference["PropertyPath"].strip("/").replace("/", "."),
                expected=_value(difference["ExpectedValue"]),
                actual=_value(difference["ActualValue"]),
                kind=difference["DifferenceType"],
            )
            for difference in raw.get("PropertyDifferences", [])
        ),
    )


def _value(text: str) -> object:
    """Return a value that CloudFormation gives as text: JSON, or the text itself."""
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value
