"""An AWS account in memory, behind real boto3 clients.

Each call passes botocore's own checks and paginators and is answered before anything is sent; so
parameters that the service does not know fail, and errors are the SDK's own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.credentials import Credentials
from cfn_tools import load_yaml

from payment_infra.cloud.session import Session

ACCOUNT = "123456789012"
REGION = "eu-central-1"
START = datetime(2026, 11, 22, 21, 27, tzinfo=UTC)
NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a "
    "change set."
)
READING = ("Describe", "Get", "Head", "List", "Filter")

Answer = dict[str, Any]


class Refused(Exception):
    """An error answer of a service."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


@dataclass
class FakeBucket:
    """A bucket: whose, where, and what is in it."""

    owner: str = ACCOUNT
    region: str = REGION
    objects: dict[str, bytes] = field(default_factory=dict)


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

    @property
    def id(self) -> str:
        """The stack's ARN."""
        return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{self.name}/1"

    def happen(self, status: str, events: Iterable[Answer] = ()) -> None:
        """Come to a status, with these events, oldest first."""
        self.status = status
        self.events[:0] = reversed(list(events))


def event(number: int, logical_id: str, status: str, reason: str = "") -> Answer:
    """Return a stack event as the API gives it."""
    raw = {
        "StackId": "stack",
        "StackName": "stack",
        "EventId": f"event-{number}",
        "Timestamp": START + timedelta(seconds=number),
        "LogicalResourceId": logical_id,
        "ResourceType": "AWS::SQS::Queue",
        "ResourceStatus": status,
    }
    return raw | ({"ResourceStatusReason": reason} if reason else {})


@dataclass
class FakeAws:
    """The account. `calls` notes every call; `errors` holds what calls are refused with."""

    buckets: dict[str, FakeBucket] = field(default_factory=dict)
    stacks: dict[str, FakeStack] = field(default_factory=dict)
    deleted: dict[str, FakeStack] = field(default_factory=dict)
    change_sets: dict[str, Answer] = field(default_factory=dict)
    logs: dict[str, list[Answer]] = field(default_factory=dict)
    api_role: str = ""
    page_size: int = 100
    errors: dict[str, Exception] = field(default_factory=dict)
    calls: list[tuple[str, Answer]] = field(default_factory=list)
    # What DescribeChangeSet says before it says that the change set is ready.
    change_set_waits: int = 0
    change_set_failure: str = ""
    # What the next operation on a stack comes to, if not success at the first look.
    timeline: list[tuple[str, list[Answer]]] | None = None

    def session(self) -> Session:
        """Return the session that the code under test works with."""
        boto: Any = FakeBoto(self)
        return Session(boto)

    def called(self, operation: str) -> list[Answer]:
        """Return the parameters of each call of an operation, as `s3:PutObject`."""
        return [params for name, params in self.calls if name == operation]

    def changes(self) -> list[str]:
        """Return the calls that could have changed something."""
        names = [name for name, _ in self.calls]
        return [name for name in names if not name.split(":")[1].startswith(READING)]

    def answer(self, service: str, operation: str, params: Answer) -> Answer:
        """Answer one call."""
        name = f"{service}:{operation}"
        self.calls.append((name, params))
        for key in (name, "*"):
            if key in self.errors:
                raise self.errors[key]
        answers: Mapping[str, Callable[[Answer], Answer]] = {
            "sts:GetCallerIdentity": lambda _: {"Account": ACCOUNT},
            "apigateway:GetAccount": lambda _: (
                {"cloudwatchRoleArn": self.api_role} if self.api_role else {}
            ),
            "s3:HeadBucket": self._head_bucket,
            "s3:HeadObject": self._head_object,
            "s3:PutObject": self._put_object,
            "cloudformation:DescribeStacks": self._describe_stacks,
            "cloudformation:DescribeStackEvents": self._describe_events,
            "cloudformation:GetTemplate": lambda params: {
                "TemplateBody": self._find(params["StackName"]).template
            },
            "cloudformation:CreateChangeSet": self._create_change_set,
            "cloudformation:DescribeChangeSet": self._describe_change_set,
            "cloudformation:DeleteChangeSet": self._delete_change_set,
            "cloudformation:ExecuteChangeSet": self._execute_change_set,
            "cloudformation:DeleteStack": self._delete_stack,
            "logs:FilterLogEvents": self._filter_log_events,
        }
        return answers[name](params)

    def _bucket(self, params: Answer) -> FakeBucket:
        bucket = self.buckets.get(params["Bucket"])
        if bucket is None:
            raise Refused("404", "Not Found", 404)
        if bucket.owner != params["ExpectedBucketOwner"]:
            raise Refused("403", "Forbidden", 403)
        return bucket

    def _head_bucket(self, params: Answer) -> Answer:
        return {"BucketRegion": self._bucket(params).region}

    def _head_object(self, params: Answer) -> Answer:
        if params["Key"] not in self._bucket(params).objects:
            raise Refused("404", "Not Found", 404)
        return {}

    def _put_object(self, params: Answer) -> Answer:
        self._bucket(params).objects[params["Key"]] = params["Body"]
        return {}

    def _find(self, name_or_id: str) -> FakeStack:
        for stack in (*self.stacks.values(), *self.deleted.values()):
            if name_or_id == stack.id or (name_or_id == stack.name and stack.name in self.stacks):
                return stack
        raise Refused("ValidationError", f"Stack with id {name_or_id} does not exist")

    def _describe_stacks(self, params: Answer) -> Answer:
        stack = self._find(params["StackName"])
        if stack.timeline:
            stack.happen(*stack.timeline.popleft())
        if stack.status == "DELETE_COMPLETE" and stack.name in self.stacks:
            self.deleted[stack.name] = self.stacks.pop(stack.name)
        return {
            "Stacks": [
                {
                    "StackName": stack.name,
                    "StackId": stack.id,
                    "StackStatus": stack.status,
                    "Parameters": [
                        {"ParameterKey": key, "ParameterValue": value}
                        for key, value in stack.parameters.items()
                    ],
                    "Outputs": [
                        {"OutputKey": key, "OutputValue": value}
                        for key, value in stack.outputs.items()
                    ],
                }
            ]
        }

    def _describe_events(self, params: Answer) -> Answer:
        return self._page(self._find(params["StackName"]).events, params, "StackEvents")

    def _page(
        self, items: list[Answer], params: Answer, key: str, token: str = "NextToken"
    ) -> Answer:
        # A token stands for the place after an item, so that newer items do not move it.
        start = len(items) - int(params.get(token, len(items)))
        page = {key: items[start : start + self.page_size]}
        left = len(items) - start - self.page_size
        return page | ({token: str(left)} if left > 0 else {})

    def _create_change_set(self, params: Answer) -> Answer:
        name, creates = params["StackName"], params["ChangeSetType"] == "CREATE"
        if creates and name not in self.stacks:
            self.deleted.pop(name, None)
            self.stacks[name] = FakeStack(name)
            self.stacks[name].happen("REVIEW_IN_PROGRESS", [event(0, name, "REVIEW_IN_PROGRESS")])
        stack = self._find(name)
        if creates != (stack.status == "REVIEW_IN_PROGRESS"):
            raise Refused("ValidationError", f"Stack [{name}] cannot be changed so")
        text = params.get("TemplateBody") or self._fetch(params["TemplateURL"])
        parameters = _parameters(template(text), params["Parameters"], stack)
        same = (text, parameters) == (stack.template, stack.parameters)
        failure = self.change_set_failure or (NO_CHANGES if same else "")
        change_set_id = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:changeSet/{len(self.calls)}"
        self.change_sets[change_set_id] = {
            "stack": stack,
            "text": text,
            "parameters": parameters,
            "failure": failure,
            "waits": self.change_set_waits,
        }
        return {"Id": change_set_id, "StackId": stack.id}

    def _fetch(self, url: str) -> str:
        _, bucket, key = urlsplit(url).path.split("/", 2)
        return self.buckets[bucket].objects[key].decode()

    def _describe_change_set(self, params: Answer) -> Answer:
        change_set = self.change_sets[params["ChangeSetName"]]
        if change_set["waits"]:
            change_set["waits"] -= 1
            return {"Status": ("CREATE_IN_PROGRESS", "CREATE_PENDING")[change_set["waits"] % 2]}
        if change_set["failure"]:
            return {"Status": "FAILED", "StatusReason": change_set["failure"]}
        return {"Status": "CREATE_COMPLETE", "ExecutionStatus": "AVAILABLE"}

    def _delete_change_set(self, params: Answer) -> Answer:
        del self.change_sets[params["ChangeSetName"]]
        return {}

    def _execute_change_set(self, params: Answer) -> Answer:
        change_set = self.change_sets.pop(params["ChangeSetName"])
        stack: FakeStack = change_set["stack"]
        word = "CREATE" if stack.status == "REVIEW_IN_PROGRESS" else "UPDATE"
        stack.template, stack.parameters = change_set["text"], change_set["parameters"]
        stack.outputs = {
            name: f"{name}-{stack.name}".lower() for name in template(stack.template)["Outputs"]
        }
        if "ArtifactBucketName" in stack.outputs:
            self.buckets.setdefault(stack.outputs["ArtifactBucketName"], FakeBucket())
        self._begin(stack, word)
        return {}

    def _delete_stack(self, params: Answer) -> Answer:
        stack = self._find(params["StackName"])
        if stack.status == "REVIEW_IN_PROGRESS":
            del self.stacks[stack.name]
        else:
            self._begin(stack, "DELETE")
        return {}

    def _begin(self, stack: FakeStack, word: str) -> None:
        number = len(stack.events)
        stack.happen(
            f"{word}_IN_PROGRESS", [event(number, stack.name, f"{word}_IN_PROGRESS", "by user")]
        )
        done = [event(number + 1, stack.name, f"{word}_COMPLETE")]
        stack.timeline = deque(self.timeline or [(f"{word}_COMPLETE", done)])

    def _filter_log_events(self, params: Answer) -> Answer:
        lines = [
            one
            for one in self.logs[params["logGroupName"]]
            if one["timestamp"] >= params["startTime"]
        ]
        return self._page(lines, params, "events", "nextToken")


@cache
def template(text: str) -> Any:
    """Return a template's content."""
    return load_yaml(text)


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


@cache
def _real_session() -> boto3.Session:
    return boto3.Session("test", "test", region_name=REGION)


@dataclass
class FakeBoto:
    """What the code under test takes for a boto3.Session."""

    aws: FakeAws
    region_name: str = REGION

    def client(self, service: str, endpoint_url: str | None = None, config: Any = None) -> Any:
        """Return a real client, whose calls the fake account answers."""
        client = _real_session().client(service, config=config)

        def note(params: Answer, context: Answer, **_: Any) -> None:
            context["params"] = dict(params)

        def answer(model: Any, context: Answer, **_: Any) -> tuple[Any, Answer]:
            try:
                return _Http(200), self.aws.answer(service, model.name, context["params"])
            except Refused as error:
                body = {"Code": error.code, "Message": error.message}
                return _Http(error.status), {"Error": body, "ResponseMetadata": {}}

        client.meta.events.register_first("before-parameter-build.*.*", note)
        client.meta.events.register_first("before-call.*.*", answer)
        return client

    def get_credentials(self) -> Credentials:
        """Return credentials that open nothing."""
        return Credentials("test", "test")


@dataclass
class _Http:
    status_code: int
