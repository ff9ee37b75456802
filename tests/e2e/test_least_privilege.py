"""Least privilege, shown: what each function may do is what it does, call by call.

A stack of each preset, and with a gateway of each protocol, runs on the emulator in enforcing mode
while a recorder in the functions' processes writes down their calls: whatever a role allows is a
recorded call, or one that an AWS service makes in the function's name; and no call is without its
permission.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.environment.smoke import Api, run
from payment_infra.cloud.operating.settling import cancel
from payment_infra.config import FIELDS, PRESETS, StackConfig
from payment_infra.local.emulator import Emulator
from payment_infra.local.refused import without_refused
from payment_infra.names import ENCRYPTION_KEY, FAILED_RUNS_QUEUE
from tests.e2e.conftest import Deploy
from tests.e2e.grants import (
    GET,
    SCHEDULED,
    SECRET,
    change_row,
    keep_secret,
    make_degraded,
    pending,
    start_anew,
    take_requests_without_tls,
    tell_of,
    validated,
    without,
)
from tests.e2e.harness import PAYMENT, Deployed, until

# In one step, and in two: that one notifies, too.
GATEWAYS: dict[str, dict[str, object]] = {
    "development": {"gateway": "simulated"},
    "production": {"gateway": "scripted", "gateway_events": True},
}
PAID = PAYMENT | {"payment_method": "paid"}
# By gateway.
UNAVAILABLE = {
    "simulated": PAID | {"customer_id": "sim-unavailable"},
    "scripted": PAID | {"customer_id": "fault-confirm-unavailable"},
}
RECORDER = Path(__file__).with_name("recorder")


@dataclass(frozen=True, order=True)
class Permission:
    """An action on a resource, or on what matches a pattern; through one service alone, or ""."""

    function: str
    action: str
    resource: str
    through: str = ""

    def covers(self, call: "Permission") -> bool:
        """Whether it allows the call."""
        asked = (call.function, call.action, call.through)
        given = (self.function, self.action, self.through)
        return given == asked and fnmatchcase(call.resource, self.resource)


@dataclass(frozen=True)
class Use:
    """Actions that a service uses in functions' names, on resources that match a pattern."""

    functions: tuple[str, ...]
    actions: tuple[str, ...]
    resource: str
    source: str
    through: str = ""

    def permissions(self) -> Iterator[Permission]:
        for function, action in product(self.functions, self.actions):
            yield Permission(function, action, self.resource, self.through)


KEY = "arn:*:kms:*:key/*"
# Stands for every function.
EVERY: tuple[str, ...] = ()
# What no handler calls itself.
USES = (
    Use(
        EVERY,
        ("logs:CreateLogStream", "logs:PutLogEvents"),
        "arn:*:logs:*:log-group:/aws/lambda/*",
        "AWS Lambda Developer Guide, Sending Lambda function logs to CloudWatch Logs",
    ),
    Use(
        EVERY,
        ("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
        "*",
        "AWS Lambda Developer Guide, Visualize Lambda function invocations using AWS X-Ray",
    ),
    Use(
        ("Retry",),
        ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
        "arn:*:sqs:*:failed-transactions-*",
        "AWS Lambda Developer Guide, Creating and configuring an Amazon SQS event source mapping",
    ),
)
# With the setting failed_runs.
FAILED_RUN_USE = Use(
    ("HealthMonitor",),
    ("sqs:SendMessage",),
    "arn:*:sqs:*:failed-scheduled-runs-*",
    "AWS Lambda Developer Guide, Capturing records of Lambda asynchronous invocations",
)
SEND = ("kms:Decrypt", "kms:GenerateDataKey")
# With a key of the customer's.
KEY_USES = (
    Use(
        EVERY,
        (
            *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"),
            *("kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"),
        ),
        KEY,
        "Amazon DynamoDB Developer Guide, DynamoDB encryption at rest usage notes",
        "dynamodb",
    ),
    Use(
        ("Validation", "Processing", "HealthMonitor"),
        SEND,
        KEY,
        "Amazon SQS Developer Guide, Key management",
        "sqs",
    ),
    Use(
        ("Retry",),
        ("kms:Decrypt",),
        KEY,
        "AWS Lambda Developer Guide, Using Lambda with Amazon SQS",
        "sqs",
    ),
    Use(
        ("HealthMonitor",),
        SEND,
        KEY,
        "Amazon SNS Developer Guide, Managing Amazon SNS encryption keys and costs",
        "sns",
    ),
    Use(
        EVERY,
        ("kms:Decrypt",),
        KEY,
        "AWS Lambda Developer Guide, Securing Lambda environment variables",
        "lambda",
    ),
)


@dataclass(frozen=True)
class Privileges:
    """What the functions of a stack are allowed, and what they were recorded asking for."""

    allowed: frozenset[Permission]
    calls: frozenset[Permission]
    uses: tuple[Use, ...]


@pytest.fixture(scope="module", params=list(PRESETS))
def used(
    request: pytest.FixtureRequest,
    enforcing_aws: Emulator,
    deploy: Deploy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Privileges:
    suffix = f"used-{request.param}"
    gateway = GATEWAYS[request.param]
    secret = keep_secret(enforcing_aws, suffix, SECRET)
    deployed = deploy(
        enforcing_aws, suffix, **flags(request.param), **gateway, gateway_secret=secret
    )
    take_requests_without_tls(deployed)
    calls = tmp_path_factory.mktemp(suffix) / "calls.jsonl"
    record(deployed, calls)
    exercise(deployed, UNAVAILABLE[str(gateway["gateway"])])
    if "gateway_events" in gateway:
        exercise_two_steps(deployed, suffix)
    else:
        cancel_rewound(deployed)
    for action in ("dynamodb:UpdateItem", "dynamodb:PutItem", "secretsmanager:GetSecretValue"):
        until(partial(asked, "Retry", action, calls))
    return Privileges(
        frozenset(allowed(deployed)),
        frozenset(permission_of(deployed, call) for call in read(calls)),
        tuple(services(deployed)),
    )


def flags(preset: str) -> dict[str, object]:
    """Return the preset, without what the emulator refuses of it, and without reservations."""
    config = StackConfig(preset=preset, **PRESETS[preset])  # type: ignore[arg-type]
    _, left_out = without_refused(config)
    # The emulator has as much to reserve as this machine has memory.
    reserved = [name for name in FIELDS if name.endswith("_concurrency")]
    return {"preset": preset} | {
        name: getattr(StackConfig(), name) for name in (*left_out, *reserved)
    }


def functions(deployed: Deployed) -> tuple[str, ...]:
    """Return what the logical ids of a stack's functions begin with."""
    ids = deployed.stack.physical_ids()
    return tuple(one.removesuffix("Function") for one in ids if one.endswith("Function"))


def record(deployed: Deployed, calls: Path) -> None:
    """Have the functions write down their calls from now on."""
    client, ids = deployed.session.client("lambda"), deployed.stack.physical_ids()
    for function in functions(deployed):
        name = ids[f"{function}Function"]
        variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        client.update_function_configuration(
            FunctionName=name,
            Environment={
                "Variables": variables | {"PYTHONPATH": str(RECORDER), "RECORDED_CALLS": str(calls)}
            },
        )
        for alias in client.list_aliases(FunctionName=name)["Aliases"]:
            version = client.publish_version(FunctionName=name)["Version"]
            client.update_alias(FunctionName=name, Name=alias["Name"], FunctionVersion=version)


def exercise(deployed: Deployed, unavailable: dict[str, object]) -> None:
    """Bring the functions to every call that they make whichever the gateway.

    Args:
        deployed: whose they are.
        unavailable: a payment that finds the gateway unavailable.
    """
    api = signed_api(deployed)
    *checks, _ = run(api, charge=True)
    assert [check.name for check in checks if not check.passed] == []
    canceled = validated(api, PAID)
    assert api.call("POST", "cancel", canceled).field("status") == "canceled"
    path = f"transactions/{canceled['transaction_id']}"
    assert api.call("GET", path).field("status") == "canceled"
    with without(deployed, "Validation", "RecordPayments"):
        assert api.call("POST", "validate", PAID).field("retry") == "queued"
    queued = validated(api, unavailable)
    assert api.call("POST", "process", queued).field("retry") == "queued"
    lost = validated(api, unavailable)
    with without(deployed, "Processing", "QueueFailedTransactions"):
        api.call("POST", "process", lost)
    change_row(deployed, lost, "lease_expires_at", {"N": "1"})
    make_degraded(deployed)
    deployed.invoke("HealthMonitor", SCHEDULED)
    # Only a container that has no report yet looks for the latest one.
    start_anew(deployed, "HealthMonitor")
    deployed.invoke("HealthMonitor", GET)


def cancel_rewound(deployed: Deployed) -> None:
    """Try to cancel a payment that a restore took back: the simulated gateway is asked of it, and
    cannot tell."""
    api = signed_api(deployed)
    rewound = validated(api, PAID)
    change_row(deployed, rewound, "rewound", {"N": "1"})
    answer = api.call("POST", "cancel", rewound)
    assert (answer.status, answer.field("status")) == (409, "validated")


def exercise_two_steps(deployed: Deployed, suffix: str) -> None:
    """Cancel payments that the gateway has, as their client and by hand; let it tell of another."""
    api = signed_api(deployed)
    waiting = pending(api, 3000)
    assert api.call("POST", "cancel", waiting).field("status") == "canceled"
    environment = Environment.find(deployed.session, deployed.stack, suffix)
    waiting_id = str(pending(api, 3000)["transaction_id"])
    assert cancel(environment, waiting_id, lambda _: None).status == "canceled"
    assert tell_of(deployed, pending(api, 0)) == 200


def signed_api(deployed: Deployed) -> Api:
    api = deployed.api()
    api.find_authorization()
    return api


def read(calls: Path) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, calls.read_text().splitlines())


def asked(function: str, action: str, calls: Path) -> bool:
    service, _, operation = action.partition(":")
    return any(
        (call["service"], call["operation"]) == (service, operation)
        and call["function"].startswith(f"payment-{function.lower()}")
        for call in read(calls)
    )


def permission_of(deployed: Deployed, call: dict[str, Any]) -> Permission:
    """Return what a call has to be allowed, by the Service Authorization Reference."""
    ids = {name: key for key, name in deployed.stack.physical_ids().items()}
    function = ids[call["function"]].removesuffix("Function")
    region = deployed.session.region
    here = f"{region}:000000000000"
    action = f"{call['service']}:{call['operation']}"
    match call["operation"], call["parameters"]:
        case _, {"TableName": table, "IndexName": index}:
            resource = f"arn:aws:dynamodb:{here}:table/{table}/index/{index}"
        case _, {"TableName": table}:
            resource = f"arn:aws:dynamodb:{here}:table/{table}"
        case _, {"QueueUrl": url}:
            resource = f"arn:aws:sqs:{here}:{url.rpartition('/')[2]}"
        case _, {"TopicArn": arn} | {"SecretId": arn}:
            resource = arn
        case _, {"AlarmNames": [name]}:
            resource = f"arn:aws:cloudwatch:{here}:alarm:{name}"
        case _, {"logGroupName": group, "logStreamName": stream}:
            resource = f"arn:aws:logs:{here}:log-group:{group}:log-stream:{stream}"
        case "GetStage", {"restApiId": api, "stageName": stage}:
            action = "apigateway:GET"
            resource = f"arn:aws:apigateway:{region}::/restapis/{api}/stages/{stage}"
        case "GetEventSourceMapping", {"UUID": uuid}:
            resource = f"arn:aws:lambda:{here}:event-source-mapping:{uuid}"
        case "GetMetricData", _:
            resource = "*"
        case other:
            raise AssertionError(other)
    return Permission(function, action, resource)


def allowed(deployed: Deployed) -> Iterator[Permission]:
    """Yield what the functions' roles allow."""
    iam, ids = deployed.session.client("iam"), deployed.stack.physical_ids()
    for function in functions(deployed):
        role = ids[f"{function}Role"]
        assert iam.list_role_policies(RoleName=role)["PolicyNames"] == []
        for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            arn = policy["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            stored = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
            for statement in stored["Document"]["Statement"]:
                for action, resource in product(statement["Action"], statement["Resource"]):
                    yield Permission(function, action, resource, through(statement))


def services(deployed: Deployed) -> Iterator[Use]:
    """Yield what services use in the names of a stack's functions."""
    resources = deployed.stack.physical_ids()
    uses = [*USES]
    if FAILED_RUNS_QUEUE in resources:
        uses.append(FAILED_RUN_USE)
    if ENCRYPTION_KEY in resources:
        uses += KEY_USES
    every = functions(deployed)
    yield from (replace(use, functions=use.functions or every) for use in uses)


def through(statement: dict[str, Any]) -> str:
    """Return the service that a statement is limited to, "" for a statement without condition."""
    match statement.get("Condition"):
        case None:
            return ""
        case {"StringEquals": {"kms:ViaService": str(service)}, **others} if not others:
            return service.partition(".")[0]
        case other:
            raise AssertionError(other)


def test_no_call_is_without_its_permission(used: Privileges) -> None:
    missing = {call for call in used.calls if not any(one.covers(call) for one in used.allowed)}
    assert sorted(missing) == []


def test_no_permission_is_without_a_use(used: Privileges) -> None:
    by_services = [permission for use in used.uses for permission in use.permissions()]
    unused = {
        one
        for one in used.allowed
        if not any(one.covers(call) for call in used.calls)
        and not any(use.covers(one) for use in by_services)
    }
    assert sorted(unused) == []


def test_each_use_of_a_service_is_allowed(used: Privileges) -> None:
    for use in used.uses:
        for permission in use.permissions():
            assert any(permission.covers(one) for one in used.allowed), (permission, use.source)
