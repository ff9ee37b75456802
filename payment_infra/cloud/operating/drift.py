"""How the resources of a stack differ from its template, as CloudFormation finds it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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
# How API Gateway stores a resource of the API's policy that is written as execute-api:/... (API
# Gateway, "Access policy language overview for Amazon API Gateway").
OWN_API = "arn:[^:]*:execute-api:[^:]*:[^:]*:{}/"
# How the ARN of a log group ends as its own attribute; API Gateway stores it without. Templates of
# earlier releases have it.
LOG_STREAMS = re.compile(r"(arn:.*:log-group:.*):\*")


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
    told = [resource for resource in found if resource["StackResourceDriftStatus"] in DRIFTED]
    drifted = tuple(drift for resource in told if (drift := _by_hand(resource)))
    unchecked = sum(resource["StackResourceDriftStatus"] == "NOT_CHECKED" for resource in found)
    failed = status["DetectionStatus"] == "DETECTION_FAILED"
    whole = "IN_SYNC" if told else status.get("StackDriftStatus", "UNKNOWN")
    return Drift(
        status="DRIFTED" if drifted else "UNKNOWN" if failed else whole,
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


def _by_hand(raw: Any) -> ResourceDrift | None:
    """Return what of a difference somebody has made, None if the service has made all of it."""
    drift, own_id = _drift(raw), raw.get("PhysicalResourceId", "")
    if not drift.properties:
        return drift
    properties = tuple(
        difference
        for difference in drift.properties
        if _stored(difference.expected, own_id) != _stored(difference.actual, own_id)
        and not _is_unread(drift.resource_type, difference)
    )
    return replace(drift, properties=properties) if properties else None


def _stored(value: Any, own_id: str) -> Any:
    """Return a value in the shortest form in which API Gateway takes it."""
    match value:
        case dict():
            return {key: _stored(inner, own_id) for key, inner in value.items()}
        case list():
            return [_stored(inner, own_id) for inner in value]
        case str():
            short = LOG_STREAMS.fullmatch(value)
            whole = short[1] if short else value
            return re.sub(OWN_API.format(re.escape(own_id)), "execute-api:/", whole)
    return value


def _is_unread(resource_type: str, difference: PropertyDrift) -> bool:
    """Whether CloudFormation does not read a property: all tags of a stage are missing to it
    (CloudFormation's roadmap, "False-positive drift results caused by resource-level tags on
    AWS::ApiGateway::Stage not being recognised")."""
    whole = difference.path == "Tags" and difference.kind == "REMOVE"
    return whole and resource_type == "AWS::ApiGateway::Stage"


def _value(text: str) -> object:
    """Return a value that CloudFormation gives as text: JSON, or the text itself."""
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value
