"""CloudFormation in memory: stacks, change sets and events, as tests/aws.py answers for them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.aws import FakeBucket

ACCOUNT = "123456789012"
REGION = "eu-central-1"
START = datetime(2026, 11, 22, 21, 27, tzinfo=UTC)
NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a "
    "change set."
)

Answer = dict[str, Any]


class Refused(Exception):
    """An error answer of a service; more is what it holds besides code and message."""

    def __init__(
        self, code: str, message: str = "", status: int = 400, more: Answer | None = None
    ) -> None:
        super().__init__(code)
        self.code, self.message, self.status, self.more = code, message, status, more or {}


@dataclass
class FakeStack:
    """A stack. `timeline` holds what it comes to, step by step, as it is looked at."""

    name: str
    status: str = "CREATE_COMPLETE"
    parameters: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    template: str = ""
    events: list[Answer] = field(default_factory=list)  # newest first
    timeline: deque[tuple[str, list[Answer]]] = field(default_factory=deque)
    changed_at: datetime = START
    protected: bool = False
    policy: str = ""
    role_arn: str = ""
    notification_arns: list[str] = field(default_factory=list)
    resources: dict[str, str] = field(default_factory=dict)  # logical id to status
    # Logical id to physical id, where they differ, and to type, where it matters.
    physical_ids: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    # What makes the outputs of the parameters, if it matters.
    derive: Callable[[Mapping[str, str]], dict[str, str]] | None = None
    # How many stacks have had this name, this one included.
    number: int = 1
    # Template, parameters and outputs, which a rollback brings back.
    before: tuple[str, dict[str, str], dict[str, str]] | None = None

    @property
    def id(self) -> str:
        """The stack's ARN."""
        return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{self.name}/{self.number}"

    def happen(self, status: str, events: Iterable[Answer] = ()) -> None:
        """Come to a status, with these events, oldest first."""
        self.status = status
        if status == "UPDATE_ROLLBACK_COMPLETE" and self.before:
            self.template, self.parameters, self.outputs = self.before
        self.events[:0] = reversed(list(events))


def event(number: int, logical_id: str, status: str, reason: str = "") -> Answer:
    """Return the event of a resource as the API gives it."""
    raw = {
        "StackId": "stack",
        "StackName": "stack",
        "EventId": f"event-{number}",
        "Timestamp": START + timedelta(seconds=number),
        "LogicalResourceId": logical_id,
        "PhysicalResourceId": logical_id,
        "ResourceType": "AWS::SQS::Queue",
        "ResourceStatus": status,
    }
    return raw | ({"ResourceStatusReason": reason} if reason else {})


def own_event(
    stack: FakeStack, number: int, status: str, reason: str = "", token: str = ""
) -> Answer:
    """Return the event of the stack itself."""
    raw = event(number, stack.name, status, reason) | {
        "StackId": stack.id,
        "PhysicalResourceId": stack.id,
        "ResourceType": "AWS::CloudFormation::Stack",
    }
    return raw | ({"ClientRequestToken": token} if token else {})


@dataclass
class FakeCloudFormation:
    """The service: each method answers the API operation of its name."""

    buckets: dict[str, FakeBucket] = field(default_factory=dict)
    stacks: dict[str, FakeStack] = field(default_factory=dict)
    deleted: dict[str, FakeStack] = field(default_factory=dict)
    change_sets: dict[str, Answer] = field(default_factory=dict)
    page_size: int = 100
    # What DescribeChangeSet says before it says that the change set is ready.
    change_set_waits: int = 0
    change_set_failure: str = ""
    # What a change set would do besides what its template says.
    further_changes: list[Answer] = field(default_factory=list)
    # What the next operation on a stack comes to, if not success at the first look.
    timeline: list[tuple[str, list[Answer]]] | None = None

    def page(
        self, items: list[Answer], params: Answer, key: str, token: str = "NextToken"
    ) -> Answer:
        """Return a page of items that are kept newest first, or grow at the front."""
        # A token stands for the place after an item, so that newer items do not move it.
        start = len(items) - int(params.get(token, len(items)))
        page = {key: items[start : start + self.page_size]}
        left = len(items) - start - self.page_size
        return page | ({token: str(left)} if left > 0 else {})

    def find_stack(self, name_or_id: str) -> FakeStack:
        """Return the stack, a deleted one only by its id."""
        for stack in (*self.stacks.values(), *self.deleted.values()):
            if name_or_id == stack.id or (name_or_id == stack.name and stack.name in self.stacks):
                return stack
        raise Refused("ValidationError", f"Stack with id {name_or_id} does not exist")

    def describe_stacks(self, params: Answer) -> Answer:
        if "StackName" not in params:
            every = [self._description(stack) for stack in self.stacks.values()]
            return self.page(every, params, "Stacks")
        stack = self.find_stack(params["StackName"])
        if stack.timeline:
            stack.happen(*stack.timeline.popleft())
        if stack.status == "DELETE_COMPLETE" and self.stacks.get(stack.name) is stack:
            self._bury(stack)
        return {"Stacks": [self._description(stack)]}

    def _bury(self, stack: FakeStack) -> None:
        self.change_sets = {k: v for k, v in self.change_sets.items() if v["stack"] is not stack}
        self.deleted[stack.id] = self.stacks.pop(stack.name)

    def list_stacks(self, params: Answer) -> Answer:
        assert params["StackStatusFilter"] == ["DELETE_COMPLETE"]
        summaries = [
            {
                "StackId": stack.id,
                "StackName": stack.name,
                "CreationTime": START + timedelta(minutes=stack.number),
                "StackStatus": stack.status,
            }
            for stack in self.deleted.values()
        ]
        return self.page(summaries, params, "StackSummaries")

    @staticmethod
    def _description(stack: FakeStack) -> Answer:
        return {
            "StackName": stack.name,
            "StackId": stack.id,
            "StackStatus": stack.status,
            "CreationTime": START,
            "LastUpdatedTime": stack.changed_at,
            "EnableTerminationProtection": stack.protected,
            "NotificationARNs": stack.notification_arns,
            **({"RoleARN": stack.role_arn} if stack.role_arn else {}),
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in stack.parameters.items()
            ],
            "Outputs": [
                {"OutputKey": key, "OutputValue": value} for key, value in stack.outputs.items()
            ],
        }

    def describe_stack_events(self, params: Answer) -> Answer:
        return self.page(self.find_stack(params["StackName"]).events, params, "StackEvents")

    def list_stack_resources(self, params: Answer) -> Answer:
        stack = self.find_stack(params["StackName"])
        summaries = [
            {
                "LogicalResourceId": name,
                "PhysicalResourceId": stack.physical_ids.get(name, name),
                "ResourceType": stack.types.get(name, "AWS::SQS::Queue"),
                "LastUpdatedTimestamp": START,
                "ResourceStatus": status,
            }
            for name, status in stack.resources.items()
        ]
        return self.page(summaries, params, "StackResourceSummaries")

    def describe_stack_resource(self, params: Answer) -> Answer:
        stack, name = self.find_stack(params["StackName"]), params["LogicalResourceId"]
        if name not in stack.resources:
            message = f"Resource {name} does not exist for stack {stack.name}"
            raise Refused("ValidationError", message)
        declared = template(stack.template).get("Resources", {}).get(name, {})
        detail = {
            "LogicalResourceId": name,
            "PhysicalResourceId": stack.physical_ids.get(name, name),
            "ResourceType": stack.types.get(name, "AWS::SQS::Queue"),
            "LastUpdatedTimestamp": START,
            "ResourceStatus": stack.resources[name],
        }
        if "Metadata" in declared:
            detail["Metadata"] = json.dumps(declared["Metadata"])
        return {"StackResourceDetail": detail}

    def get_template(self, params: Answer) -> Answer:
        if "ChangeSetName" in params:
            return {"TemplateBody": self.change_sets[params["ChangeSetName"]]["text"]}
        return {"TemplateBody": self.find_stack(params["StackName"]).template}

    def create_change_set(self, params: Answer) -> Answer:
        name, creates = params["StackName"], params["ChangeSetType"] == "CREATE"
        imports = params["ChangeSetType"] == "IMPORT"
        if (creates or imports) and name not in self.stacks:
            before = sum(one.name == name for one in self.deleted.values())
            new = self.stacks[name] = FakeStack(name, number=before + 1)
            new.happen("REVIEW_IN_PROGRESS", [own_event(new, 0, "REVIEW_IN_PROGRESS")])
        stack = self.stacks.get(name)
        in_review = stack is not None and stack.status == "REVIEW_IN_PROGRESS"
        if stack is None or (in_review and not (creates or imports)):
            raise Refused("ValidationError", f"Stack [{name}] does not exist")
        if creates and not in_review:
            change_set = f"changeSet [{params['ChangeSetName']}]"
            told = f"Stack [{name}] already exists and cannot be created with the {change_set}."
            raise Refused("ValidationError", told)
        if _is_busy(stack):
            told = f"Stack:{stack.id} is in {stack.status} state and can not be updated."
            raise Refused("ValidationError", told)
        if any(
            (one["name"], one["stack"]) == (params["ChangeSetName"], stack)
            for one in self.change_sets.values()
        ):
            told = f"ChangeSet {params['ChangeSetName']} already exists"
            raise Refused("AlreadyExistsException", told)
        if params.get("UsePreviousTemplate"):
            text = stack.template
        else:
            text = params.get("TemplateBody") or self._fetch(params["TemplateURL"])
        parameters = _parameters(template(text), params["Parameters"], stack)
        same = (text, parameters) == (stack.template, stack.parameters)
        change_set_id = (
            f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:changeSet/{params['ChangeSetName']}/1"
        )
        self.change_sets[change_set_id] = {
            "name": params["ChangeSetName"],
            "stack": stack,
            "text": text,
            "parameters": parameters,
            "imports": _imported(params, text, stack.template) if imports else {},
            "failure": self.change_set_failure or (NO_CHANGES if same else ""),
            "waits": self.change_set_waits,
            "role_arn": params.get("RoleARN"),
            "notification_arns": params.get("NotificationARNs"),
        }
        return {"Id": change_set_id, "StackId": stack.id}

    def describe_change_set(self, params: Answer) -> Answer:
        change_set = self._find_change_set(params)
        if change_set["waits"]:
            change_set["waits"] -= 1
            return {"Status": ("CREATE_IN_PROGRESS", "CREATE_PENDING")[change_set["waits"] % 2]}
        if change_set["failure"]:
            return {
                "Status": "FAILED",
                "ExecutionStatus": "UNAVAILABLE",
                "StatusReason": change_set["failure"],
            }
        ready = {
            "StackId": change_set["stack"].id,
            "ChangeSetId": next(k for k, v in self.change_sets.items() if v is change_set),
            "Status": "CREATE_COMPLETE",
            "ExecutionStatus": "AVAILABLE",
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in change_set["parameters"].items()
            ],
        }
        return ready | self.page([*_changes(change_set), *self.further_changes], params, "Changes")

    def list_change_sets(self, params: Answer) -> Answer:
        stack = self.find_stack(params["StackName"])
        summaries = [
            {
                "ChangeSetId": key,
                "ChangeSetName": one["name"],
                "Status": "FAILED" if one["failure"] else "CREATE_COMPLETE",
            }
            for key, one in self.change_sets.items()
            if one["stack"] is stack
        ]
        return self.page(summaries, params, "Summaries")

    def delete_change_set(self, params: Answer) -> Answer:
        change_set = self._find_change_set(params)
        self.change_sets = {k: v for k, v in self.change_sets.items() if v is not change_set}
        return {}

    def execute_change_set(self, params: Answer) -> Answer:
        change_set = self._find_change_set(params)
        stack: FakeStack = change_set["stack"]
        if _is_busy(stack):
            told = "An operation on this ChangeSet is currently in progress."
            raise Refused("InvalidChangeSetStatus", told)
        self.change_sets = {k: v for k, v in self.change_sets.items() if v["stack"] is not stack}
        word = "CREATE" if stack.status == "REVIEW_IN_PROGRESS" else "UPDATE"
        if change_set["imports"]:
            word = "IMPORT"
            stack.resources |= dict.fromkeys(change_set["imports"], "IMPORT_COMPLETE")
            stack.physical_ids |= change_set["imports"]
        if word == "UPDATE":
            stack.changed_at += timedelta(seconds=1)
        stack.before = stack.template, stack.parameters, stack.outputs
        stack.template, stack.parameters = change_set["text"], change_set["parameters"]
        stack.role_arn = change_set["role_arn"] or stack.role_arn
        if change_set["notification_arns"] is not None:
            stack.notification_arns = change_set["notification_arns"]
        names = template(stack.template).get("Outputs", {})
        stack.outputs = {name: f"{name}-{stack.name}".lower() for name in names}
        if stack.derive:
            stack.outputs = stack.derive(stack.parameters)
        if "ArtifactBucketName" in stack.outputs:
            from tests.aws import FakeBucket

            self.buckets.setdefault(stack.outputs["ArtifactBucketName"], FakeBucket())
        self._begin(stack, f"{word}_IN_PROGRESS", params.get("ClientRequestToken", ""))
        return {}

    def delete_stack(self, params: Answer) -> Answer:
        stack = self.find_stack(params["StackName"])
        if stack.protected:
            raise Refused("ValidationError", "TerminationProtection is enabled")
        if _is_busy(stack) and stack.status not in {"CREATE_IN_PROGRESS", "DELETE_IN_PROGRESS"}:
            told = f"Stack [{stack.name}] cannot be deleted while in status {stack.status}"
            raise Refused("ValidationError", told)
        if params.get("RetainResources") and stack.status != "DELETE_FAILED":
            raise Refused("ValidationError", "RetainResources is only for DELETE_FAILED")
        if stack.status == "REVIEW_IN_PROGRESS":
            stack.status = "DELETE_COMPLETE"
            self._bury(stack)
        else:
            self._begin(stack, "DELETE_IN_PROGRESS")
        return {}

    def cancel_update_stack(self, params: Answer) -> Answer:
        stack = self.find_stack(params["StackName"])
        if stack.status != "UPDATE_IN_PROGRESS":
            told = "CancelUpdateStack cannot be called from current stack status"
            raise Refused("ValidationError", told)
        self._begin(stack, "UPDATE_ROLLBACK_IN_PROGRESS")
        return {}

    def rollback_stack(self, params: Answer) -> Answer:
        stack = self.find_stack(params["StackName"])
        if stack.status not in {"CREATE_FAILED", "UPDATE_FAILED"}:
            told = f"Stack:{stack.id} is in {stack.status} state and can not be rolled back."
            raise Refused("ValidationError", told)
        word = "UPDATE_ROLLBACK" if stack.status == "UPDATE_FAILED" else "ROLLBACK"
        self._begin(stack, f"{word}_IN_PROGRESS")
        return {"StackId": stack.id}

    def continue_update_rollback(self, params: Answer) -> Answer:
        stack = self.find_stack(params["StackName"])
        if stack.status != "UPDATE_ROLLBACK_FAILED":
            told = f"Stack:{stack.id} is in {stack.status} state and can not continue a rollback."
            raise Refused("ValidationError", told)
        self._begin(stack, "UPDATE_ROLLBACK_IN_PROGRESS")
        return {}

    def update_termination_protection(self, params: Answer) -> Answer:
        stack = self.find_stack(params["StackName"])
        stack.protected = params["EnableTerminationProtection"]
        return {"StackId": stack.id}

    def set_stack_policy(self, params: Answer) -> Answer:
        self.find_stack(params["StackName"]).policy = params["StackPolicyBody"]
        return {}

    def get_stack_policy(self, params: Answer) -> Answer:
        policy = self.find_stack(params["StackName"]).policy
        return {"StackPolicyBody": policy} if policy else {}

    def validate_template(self, params: Answer) -> Answer:
        return {"Capabilities": ["CAPABILITY_IAM"], "Parameters": []}

    def describe_events(self, params: Answer) -> Answer:
        return {"OperationEvents": []}

    def _find_change_set(self, params: Answer) -> Answer:
        for key, one in self.change_sets.items():
            named = params["ChangeSetName"] == one["name"] and "StackName" in params
            if named or params["ChangeSetName"] == key:
                return one
        raise Refused("ChangeSetNotFound", f"ChangeSet [{params['ChangeSetName']}] does not exist")

    def _fetch(self, url: str) -> str:
        _, bucket, key = urlsplit(url).path.split("/", 2)
        return self.buckets[bucket].objects[key].decode()

    def _begin(self, stack: FakeStack, status: str, token: str = "") -> None:
        number = len(stack.events)
        stack.happen(status, [own_event(stack, number, status, "User Initiated", token)])
        end = status.replace("_IN_PROGRESS", "_COMPLETE")
        done = [own_event(stack, number + 1, end)]
        stack.timeline = deque(self.timeline or [(end, done)])
        self.timeline = None


def _is_busy(stack: FakeStack) -> bool:
    return stack.status.endswith("_IN_PROGRESS") and stack.status != "REVIEW_IN_PROGRESS"


def _changes(change_set: Answer) -> list[Answer]:
    """Return the changes of a change set, by comparing resources whole."""
    old = template(change_set["stack"].template or "{}").get("Resources", {})
    new = template(change_set["text"]).get("Resources", {})
    changes = []
    for name in (*new, *(name for name in old if name not in new)):
        if old.get(name) == new.get(name):
            continue
        action = "Modify" if name in old and name in new else "Add" if name in new else "Remove"
        action = "Import" if name in change_set["imports"] else action
        kind = (new.get(name) or old[name])["Type"]
        change = {"Action": action, "LogicalResourceId": name, "ResourceType": kind, "Details": []}
        replaces = {"Replacement": "False"} if action == "Modify" else {}
        changes.append({"Type": "Resource", "ResourceChange": change | replaces})
    return changes


def _imported(params: Answer, text: str, deployed: str) -> dict[str, str]:
    """Return the physical id of each resource to import, by its logical id.

    As CloudFormation does, refuse what imports and does something else ("Import operations").
    """
    content = template(text)
    given = {one["LogicalResourceId"]: one for one in params["ResourcesToImport"]}
    for name, one in given.items():
        resource = content["Resources"][name]
        assert resource["Type"] == one["ResourceType"]
        if "DeletionPolicy" not in resource:
            raise Refused("ValidationError", f"{name} must have DeletionPolicy attribute")
    has = template(deployed or "{}").get("Resources", {})
    if content["Resources"].keys() - has.keys() != given.keys():
        raise Refused("ValidationError", "Resources are missing from ResourceToImport list")
    if "Outputs" in content:
        raise Refused("ValidationError", "As part of the import operation, you cannot add Outputs")
    return {name: next(iter(one["ResourceIdentifier"].values())) for name, one in given.items()}


@cache
def template(text: str) -> Any:
    """Return a template's content."""
    try:
        return json.loads(text)
    except ValueError:
        from payment_infra.rendering import read_document  # only here, to see what else loads YAML

        return read_document(text)


def _parameters(content: Any, given: list[Answer], stack: FakeStack) -> dict[str, str]:
    """Return the parameters as CloudFormation puts them together."""
    declared = content.get("Parameters", {})
    values = {name: str(one["Default"]) for name, one in declared.items() if "Default" in one}
    for one in given:
        name = one["ParameterKey"]
        if name not in declared:
            raise Refused("ValidationError", f"Parameters: [{name}] do not exist in the template")
        previous = one.get("UsePreviousValue")
        values[name] = stack.parameters[name] if previous else one["ParameterValue"]
    missing = set(declared) - set(values)
    if missing:
        raise Refused("ValidationError", f"Parameters: {sorted(missing)} must have values")
    return values
