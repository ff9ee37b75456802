"""An AWS account in memory, behind real boto3 clients.

Each call passes botocore's own checks and paginators and is answered before anything is sent; so
parameters that the service does not know fail, and errors are the SDK's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any

import boto3
from botocore import xform_name
from botocore.credentials import Credentials
from botocore.hooks import first_non_none_response

from payment_infra.cloud.sdk.session import READING, Session
from payment_infra.names import OPERATIONS_TABLE, TABLE_OUTPUT
from tests.stacks import ACCOUNT, REGION, Answer, FakeCloudFormation, FakeStack, Refused, event
from tests.tables import FakeTables

__all__ = ["ACCOUNT", "REGION", "FakeStack", "Refused", "event"]


def operations() -> FakeTables:
    """Return DynamoDB with the operations table, as if it had been made before."""
    tables = FakeTables()
    tables.add(OPERATIONS_TABLE, indexes=[], key="stack", range_key="item", protected=True)
    return tables


@dataclass
class FakeBucket:
    """A bucket: whose, where, and what is in it."""

    owner: str = ACCOUNT
    region: str = REGION
    objects: dict[str, bytes] = field(default_factory=dict)


@dataclass
class FakeAws(FakeCloudFormation):
    """The account. `calls` notes every call; `errors` holds what calls are refused with."""

    logs: dict[str, list[Answer]] = field(default_factory=dict)
    api_role: str = ""
    errors: dict[str, BaseException] = field(default_factory=dict)
    # What operations of other services are answered with, if not as the account stands: an answer,
    # or what makes one of the parameters.
    answers: dict[str, Answer | Callable[[Answer], Answer]] = field(default_factory=dict)
    calls: list[tuple[str, Answer]] = field(default_factory=list)
    # Keys of AWS KMS by id, ARN or alias.
    keys: dict[str, Answer] = field(default_factory=dict)
    # What IAM's simulator says no to, and what the Date header of every answer says.
    forbidden: set[str] = field(default_factory=set)
    date: str = ""
    # Where the operations table is, already made, and what others a test puts there.
    operations: FakeTables = field(default_factory=operations)

    # Whose it is; an emulator's is 000000000000.
    account: str = ACCOUNT

    # Seconds that were waited, by whoever waits on this account's time.
    slept: float = 0.0

    def sleep(self, seconds: float) -> None:
        """Let the time go by."""
        self.slept += seconds

    def session(self, endpoint_url: str | None = None) -> Session:
        """Return the session that the code under test works with."""
        boto: Any = FakeBoto(self)
        return Session(boto, endpoint_url)

    def called(self, operation: str) -> list[Answer]:
        """Return the parameters of each call of an operation, as `s3:PutObject`."""
        return [params for name, params in self.calls if name == operation]

    def changes(self) -> list[str]:
        """Return the calls that could have changed something, but for those of the lock."""
        names = [name for name, params in self.calls if params.get("TableName") != OPERATIONS_TABLE]
        return [name for name in names if not name.split(":")[1].startswith(READING)]

    def answer(self, service: str, operation: str, params: Answer) -> Answer:
        """Answer one call."""
        name = f"{service}:{operation}"
        self.calls.append((name, params))
        for key in (name, "*"):
            if key in self.errors:
                raise self.errors[key]
        if service == "cloudformation":
            answers: Answer = getattr(self, xform_name(operation))(params)
            return answers
        return self._others(name, params)

    def _others(self, name: str, params: Answer) -> Answer:
        if params.get("TableName") == OPERATIONS_TABLE:
            return self.operations.answers()[name](params)
        if name in self.answers:
            given = self.answers[name]
            return given(params) if callable(given) else given
        answers: Mapping[str, Callable[[Answer], Answer]] = {
            "sts:GetCallerIdentity": lambda _: {
                "Account": self.account,
                "Arn": f"arn:aws:sts::{self.account}:assumed-role/Deployers/alice@example.com",
            },
            "apigateway:GetAccount": lambda _: (
                {"cloudwatchRoleArn": self.api_role} if self.api_role else {}
            ),
            "s3:HeadBucket": self._head_bucket,
            "s3:HeadObject": self._head_object,
            "s3:PutObject": self._put_object,
            "logs:FilterLogEvents": self._filter_log_events,
            "logs:DescribeLogGroups": lambda _: {"logGroups": []},
            "lambda:GetAccountSettings": lambda _: {
                "AccountLimit": {
                    "ConcurrentExecutions": 1000,
                    "UnreservedConcurrentExecutions": 1000,
                }
            },
            "lambda:GetFunctionConcurrency": lambda _: {},
            "dynamodb:ListTables": lambda _: {"TableNames": []},
            "dynamodb:DescribeTable": self._describe_table,
            "dynamodb:Query": self._query,
            "dynamodb:DescribeContinuousBackups": self._nothing("TableNotFoundException"),
            "kms:DescribeKey": self._describe_key,
            "kms:DeleteAlias": lambda _: {},
            "kms:ScheduleKeyDeletion": lambda _: {},
            "sqs:GetQueueUrl": self._nothing("AWS.SimpleQueueService.NonExistentQueue"),
            "lambda:GetFunctionConfiguration": self._nothing("ResourceNotFoundException"),
            "cloudwatch:DescribeAlarms": lambda _: {"MetricAlarms": []},
            "sns:ListSubscriptionsByTopic": self._nothing("NotFound"),
            "iam:GetRole": self._nothing("NoSuchEntity"),
            "iam:ListEntitiesForPolicy": self._nothing("NoSuchEntity"),
            "iam:SimulatePrincipalPolicy": self._simulate_principal_policy,
        }
        return answers[name](params)

    @staticmethod
    def _nothing(code: str) -> Callable[[Answer], Answer]:
        def refuse(_: Answer) -> Answer:
            raise Refused(code)

        return refuse

    def _describe_table(self, params: Answer) -> Answer:
        """Answer for the tables that payments are in, as long as there are stacks."""
        name = params["TableName"]
        if any(one.outputs.get(TABLE_OUTPUT) == name for one in self.stacks.values()):
            return {"Table": {"TableName": name, "TableStatus": "ACTIVE"}}
        raise Refused("ResourceNotFoundException")

    def _query(self, params: Answer) -> Answer:
        """Answer for tables in which nothing is in flight."""
        self._describe_table(params)
        return {"Count": 0}

    def add_key(self, key_id: str, alias: str = "", state: str = "Enabled") -> str:
        """Have a key in the account; return its ARN."""
        arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}"
        described = {"KeyId": key_id, "Arn": arn, "KeyState": state, "KeyManager": "CUSTOMER"}
        self.keys |= dict.fromkeys((key_id, arn, alias), described)
        return arn

    def _describe_key(self, params: Answer) -> Answer:
        if params["KeyId"] not in self.keys:
            raise Refused("NotFoundException")
        return {"KeyMetadata": self.keys[params["KeyId"]]}

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

    def _simulate_principal_policy(self, params: Answer) -> Answer:
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": name,
                    "EvalDecision": "implicitDeny" if name in self.forbidden else "allowed",
                }
                for name in params["ActionNames"]
            ]
        }

    def _filter_log_events(self, params: Answer) -> Answer:
        if params["logGroupName"] not in self.logs:
            raise Refused("ResourceNotFoundException")
        lines = [
            one
            for one in self.logs[params["logGroupName"]]
            if params["startTime"] <= one["timestamp"] < params.get("endTime", one["timestamp"] + 1)
        ]
        return self.page(lines, params, "events", "nextToken")


@cache
def _real_session() -> boto3.Session:
    return boto3.Session("test", "test", region_name=REGION)


_made: dict[tuple[str, str, str | None], Any] = {}


def _new_client(service: str, config: Any, endpoint_url: str | None) -> Any:
    """Return a client with events of its own.

    To make one takes 10 ms, so it is made once for each configuration, and copied. As nothing is
    sent, it looks for no endpoint, and says nothing of who sends: half of what a call takes.
    """
    key = service, repr(config and vars(config)), endpoint_url
    if key not in _made:
        made = _real_session().client(service, config=config, endpoint_url=endpoint_url)
        vars(made).update(_ruleset_resolver=None, _user_agent_creator=_Nobody())
        _made[key] = made
    made = _made[key]
    client = object.__new__(type(made))
    vars(client).update(vars(made), meta=copy(made.meta))
    client.meta.events = copy(client.meta.events)
    return client


class _Nobody:
    def to_string(self) -> str:
        return ""


@dataclass
class FakeBoto:
    """What the code under test takes for a boto3.Session."""

    aws: FakeAws
    region_name: str = REGION

    def client(self, service: str, endpoint_url: str | None = None, config: Any = None) -> Any:
        """Return a real client, whose calls the fake account answers."""
        client = _new_client(service, config, endpoint_url)

        def note(params: Answer, context: Answer, **_: Any) -> None:
            context["params"] = dict(params)

        def attempt(model: Any, context: Answer) -> tuple[Any, Answer]:
            client.meta.events.emit(f"before-send.{service}.{model.name}", request=None)
            headers = {"HTTPHeaders": {"date": self.aws.date}}
            try:
                given = self.aws.answer(service, model.name, context["params"])
                return _Http(200), {**given, "ResponseMetadata": {**headers}}
            except Refused as error:
                body = {"Code": error.code, "Message": error.message}
                return _Http(error.status), {
                    **error.more,
                    "Error": body,
                    "ResponseMetadata": {"HTTPStatusCode": error.status, **headers},
                }

        def answer(model: Any, context: Answer, **_: Any) -> tuple[Any, Answer]:
            """Answer as botocore's endpoint does, whose own attempts are over at once."""
            own = client.meta.config.retries["total_max_attempts"]
            for attempts in count(own):
                response = attempt(model, context)
                pauses = client.meta.events.emit(
                    "needs-retry", response=response, operation=model, attempts=attempts
                )
                pause = first_non_none_response(pauses)
                if pause is None:
                    return response
                self.aws.sleep(pause)
            raise AssertionError

        client.meta.events.register_first("before-parameter-build.*.*", note)
        client.meta.events.register_first("before-call.*.*", answer)
        return client

    certificates = True
    suffixes = (".amazonaws.com",)
    suffix = "amazonaws.com"
    names_endpoints = False

    def get_credentials(self) -> Credentials:
        """Return credentials that open nothing."""
        return Credentials("test", "test")


@dataclass
class _Http:
    status_code: int
