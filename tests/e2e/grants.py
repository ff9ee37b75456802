"""What the tests of grants do to a deployed stack: they take grants away, and bring its functions
to the calls that need them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from handlers.shared.clock import utc_now
from handlers.shared.scripted_notification import signed
from payment_infra.cloud.environment.smoke import Api
from payment_infra.local.emulator import Emulator
from payment_infra.local.isolation import ACCESS_KEY
from payment_infra.local.stack import open_session
from payment_infra.names import ALARM_TOPIC, DEAD_LETTER_QUEUE, FAILED_QUEUE, TABLE_OUTPUT
from tests.e2e.harness import PAYMENT, Deployed, notify

SCHEDULED = {"source": "aws.events", "detail-type": "Scheduled Event"}
AS_ASKED: dict[str, dict[str, Any]] = {
    "ReadAlarms": {"Resource": ["*"]},
    "ReadEventSource": {"Action": ["lambda:ListEventSourceMappings"]},
    # It asks for the log group, whichever stream of it is meant.
    "ReadLatestReport": {"Resource": ["*"]},
    "WriteLogs": {"Resource": ["*"]},
}
GET = {"httpMethod": "GET", "path": "/health", "requestContext": {"requestId": "get"}}
UNAVAILABLE = PAYMENT | {"customer_id": "sim-unavailable"}
QUEUES = (FAILED_QUEUE, DEAD_LETTER_QUEUE)
# With what the scripted gateway signs where SECRET is its own: not with what it does without one.
SIGNING_SECRET = "only-the-secret-says-this"
SECRET = json.dumps({"signing_secrets": [SIGNING_SECRET]})


def take_requests_without_tls(deployed: Deployed) -> None:
    """Let queues and topic take requests without TLS, which the emulator lacks."""
    ids, sns = deployed.stack.physical_ids(), as_if_by_tls(deployed, "sns")
    for queue in QUEUES:
        as_if_by_tls(deployed, "sqs").set_queue_attributes(
            QueueUrl=ids[queue], Attributes={"Policy": ""}
        )
    policy = json.loads(sns.get_topic_attributes(TopicArn=ids[ALARM_TOPIC])["Attributes"]["Policy"])
    allowed = [statement for statement in policy["Statement"] if statement["Effect"] == "Allow"]
    sns.set_topic_attributes(
        TopicArn=ids[ALARM_TOPIC],
        AttributeName="Policy",
        AttributeValue=json.dumps(policy | {"Statement": allowed}),
    )


def as_if_by_tls(deployed: Deployed, service: str) -> Any:
    """Return a client that the emulator takes for one behind a proxy that ends TLS."""
    session = deployed.session
    client = boto3.client(
        service,
        endpoint_url=session.endpoint_url,
        region_name=session.region,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
    )

    def add_header(request: Any, **_: object) -> None:
        request.headers["X-Forwarded-Proto"] = "https"

    client.meta.events.register("before-send", add_header)
    return client


@contextmanager
def without(deployed: Deployed, function: str, *sids: str) -> Iterator[None]:
    """Take statements out of a function's policy while the block lasts."""
    iam = deployed.session.client("iam")
    arn = deployed.stack.physical_ids()[f"{function}Policy"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    stored = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
    original = stored["Document"]
    kept = [one for one in original["Statement"] if one["Sid"] not in sids]
    assert len(kept) == len(original["Statement"]) - len(sids)
    replace_policy(deployed, arn, original | {"Statement": kept})
    try:
        yield
    finally:
        replace_policy(deployed, arn, original)


@contextmanager
def without_action(deployed: Deployed, function: str, sid: str, action: str) -> Iterator[None]:
    """Take one action out of a statement of a function's policy while the block lasts."""
    with changed(deployed, function, lambda one: kept(one, action) if one["Sid"] == sid else one):
        yield


def kept(statement: dict[str, Any], action: str) -> dict[str, Any]:
    assert action in statement["Action"]
    return statement | {"Action": [one for one in statement["Action"] if one != action]}


@contextmanager
def as_asked(deployed: Deployed, function: str, *sids: str) -> Iterator[None]:
    """Change statements of a function's policy into what the emulator asks for."""
    with changed(
        deployed, function, lambda one: one | AS_ASKED[one["Sid"]] if one["Sid"] in sids else one
    ):
        yield


@contextmanager
def changed(
    deployed: Deployed, function: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> Iterator[None]:
    """Change each statement of a function's policy while the block lasts."""
    iam = deployed.session.client("iam")
    arn = deployed.stack.physical_ids()[f"{function}Policy"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    stored = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
    original = stored["Document"]
    statements = [change(one) for one in original["Statement"]]
    replace_policy(deployed, arn, original | {"Statement": statements})
    try:
        yield
    finally:
        replace_policy(deployed, arn, original)


def replace_policy(deployed: Deployed, arn: str, document: dict[str, Any]) -> None:
    """Make the document the policy's only version but for the one it replaces."""
    iam = deployed.session.client("iam")
    for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not version["IsDefaultVersion"]:
            iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=True)


def validated(api: Api, payment: dict[str, object]) -> dict[str, object]:
    return {"transaction_id": api.call("POST", "validate", payment).field("transaction_id")}


def keep_secret(running: Emulator, name: str, text: str) -> str:
    """Give Secrets Manager the gateway's secret; return its ARN."""
    secrets = open_session(running).client("secretsmanager")
    return str(secrets.create_secret(Name=name, SecretString=text)["ARN"])


def pending(api: Api, seconds: int) -> dict[str, object]:
    """Process a payment that waits for its customer, who pays after so many seconds."""
    transaction = validated(api, PAYMENT | {"payment_method": f"redirect-paid:{seconds}"})
    assert api.call("POST", "process", transaction).field("status") == "pending"
    return transaction


def tell_of(deployed: Deployed, transaction: dict[str, object]) -> int:
    """Tell of a payment as the scripted gateway with SECRET does; return the answer's status."""
    row = deployed.session.client("dynamodb").get_item(
        TableName=deployed.stack.outputs()[TABLE_OUTPUT],
        Key={"transaction_id": {"S": str(transaction["transaction_id"])}},
    )["Item"]
    return notify(deployed, *signed(row["gateway_id"]["S"], utc_now(), secret=SIGNING_SECRET))


def change_row(
    deployed: Deployed, transaction: dict[str, object], name: str, value: dict[str, str]
) -> None:
    """Change an attribute of a payment's row by hand."""
    deployed.session.client("dynamodb").update_item(
        TableName=deployed.stack.outputs()[TABLE_OUTPUT],
        Key={"transaction_id": {"S": str(transaction["transaction_id"])}},
        UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": name},
        ExpressionAttributeValues={":value": value},
    )


def start_anew(deployed: Deployed, function: str) -> None:
    """Let the next invocation find a container that remembers nothing, by other settings."""
    client = deployed.session.client("lambda")
    name = deployed.stack.physical_ids()[f"{function}Function"]
    variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    container = str(int(variables.get("CONTAINER", "0")) + 1)
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": variables | {"CONTAINER": container}}
    )


def sqs_record(body: str) -> dict[str, object]:
    return {
        "messageId": "message-1",
        "receiptHandle": "handle",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:failed-transactions-iam-1",
        "awsRegion": "us-east-1",
    }


def make_degraded(deployed: Deployed) -> None:
    """Publish errors of the validation function, as Lambda would."""
    function = deployed.stack.physical_ids()["ValidationFunction"]
    deployed.session.client("cloudwatch").put_metric_data(
        Namespace="AWS/Lambda",
        MetricData=[
            {
                "MetricName": "Errors",
                "Dimensions": [{"Name": "FunctionName", "Value": function}],
                "Value": 10,
            }
        ],
    )
