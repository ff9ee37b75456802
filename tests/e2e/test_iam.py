"""IAM for real: the functions run under their own roles, and every grant is necessary.

The grants for a function's own log and traces are not shown here: the emulator writes both by
itself. Where it asks for another action or resource than AWS does, a test gives the statement those
(AS_ASKED), and so shows that the call needs it, but not that it names the right resource.
"""

import json
import time
from functools import partial
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from payment_infra.cloud.environment.smoke import Api, run
from payment_infra.local.emulator import Emulator
from payment_infra.names import ALARM_TOPIC
from tests.e2e.conftest import Deploy
from tests.e2e.grants import (
    GET,
    QUEUES,
    SCHEDULED,
    SECRET,
    UNAVAILABLE,
    as_asked,
    as_if_by_tls,
    change_row,
    keep_secret,
    make_degraded,
    pending,
    sqs_record,
    start_anew,
    take_requests_without_tls,
    tell_of,
    validated,
    without,
    without_action,
)
from tests.e2e.harness import PAYMENT, Deployed, unsigned

HEALTH_ALERT = "Payment System Health Alert"
WAIT_SECONDS = 10.0


@pytest.fixture(scope="module")
def deployed(enforcing_aws: Emulator, deploy: Deploy) -> Deployed:
    deployed = deploy(enforcing_aws, "iam-1")
    take_requests_without_tls(deployed)
    return deployed


@pytest.fixture(scope="module")
def api(deployed: Deployed) -> Api:
    """Return the API as the account's owner calls it: signed."""
    api = deployed.api()
    api.find_authorization()
    return api


@pytest.fixture(scope="module")
def notified(enforcing_aws: Emulator, deploy: Deploy) -> Deployed:
    """Return a stack whose gateway has a secret, and notifies."""
    secret = keep_secret(enforcing_aws, "iam-2", SECRET)
    return deploy(
        *(enforcing_aws, "iam-2"),
        gateway="scripted",
        gateway_secret=secret,
        gateway_events=True,
        authorization="none",
    )


def new_caller(deployed: Deployed, name: str) -> Api:
    """Return the API as a new IAM user without any policy calls it."""
    iam = deployed.session.client("iam")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    api = deployed.api(lambda: Credentials(key["AccessKeyId"], key["SecretAccessKey"]))
    api.find_authorization()
    return api


@pytest.mark.parametrize("queue", QUEUES)
def test_a_queue_takes_no_request_without_tls(
    enforcing_aws: Emulator, deploy: Deploy, queue: str
) -> None:
    deployed = deploy(enforcing_aws, "tls-1")
    message = {"QueueUrl": deployed.stack.physical_ids()[queue], "MessageBody": "a message"}
    with pytest.raises(ClientError, match="AccessDenied"):
        deployed.session.client("sqs").send_message(**message)
    as_if_by_tls(deployed, "sqs").send_message(**message)


def test_the_topic_takes_no_request_without_tls(enforcing_aws: Emulator, deploy: Deploy) -> None:
    deployed = deploy(enforcing_aws, "tls-1")
    message = {"TopicArn": deployed.stack.physical_ids()[ALARM_TOPIC], "Message": "a message"}
    with pytest.raises(ClientError, match="AuthorizationError"):
        deployed.session.client("sns").publish(**message)
    as_if_by_tls(deployed, "sns").publish(**message)


def test_every_check_passes_under_the_functions_own_roles(deployed: Deployed) -> None:
    *checks, health = run(deployed.api(), charge=True)
    assert [check.name for check in checks if not check.passed] == []
    # Whether the system is well depends on what other tests have done to it.
    assert health.answer.status == 200
    _, report = deployed.invoke("HealthMonitor", SCHEDULED)
    assert "unknown" not in {one["status"] for one in report["checks"]}


@pytest.mark.parametrize("path", ["validate", "process", "cancel"])
def test_an_unsigned_payment_is_refused_in_the_shape_of_every_answer(
    deployed: Deployed, path: str
) -> None:
    status, body = unsigned(deployed.api(), "POST", path, PAYMENT)
    assert status == 403
    assert body.keys() == {"error", "message"}


def test_an_unsigned_look_up_is_refused(deployed: Deployed) -> None:
    assert unsigned(deployed.api(), "GET", "transactions/t")[0] == 403


def test_health_is_open(deployed: Deployed) -> None:
    assert unsigned(deployed.api(), "GET", "health")[0] == 200


def test_the_caller_policy_is_what_lets_a_caller_in(deployed: Deployed) -> None:
    caller = new_caller(deployed, "shop")
    assert caller.call("POST", "validate", PAYMENT).status == 403
    deployed.session.client("iam").attach_user_policy(
        UserName="shop", PolicyArn=deployed.stack.outputs()["CallerPolicyArn"]
    )
    transaction = validated(caller, PAYMENT)
    path = f"transactions/{transaction['transaction_id']}"
    assert caller.call("GET", path).field("status") == "validated"
    assert caller.call("POST", "process", transaction).field("status") == "processed"
    canceled = validated(caller, PAYMENT)
    other = new_caller(deployed, "shop-next-door")
    assert other.call("GET", path).status == 403
    deployed.session.client("iam").attach_user_policy(
        UserName="shop-next-door", PolicyArn=deployed.stack.outputs()["CallerPolicyArn"]
    )
    assert other.call("GET", path).status == 404
    assert other.call("POST", "cancel", canceled).status == 404
    assert caller.call("POST", "cancel", canceled).field("status") == "canceled"


def test_validation_needs_its_grant_to_record_payments(deployed: Deployed, api: Api) -> None:
    with without(deployed, "Validation", "RecordPayments"):
        answer = api.call("POST", "validate", PAYMENT)
    assert (answer.status, answer.field("retry")) == (500, "queued")


def test_validation_needs_its_grant_to_queue_failures(deployed: Deployed, api: Api) -> None:
    with without(deployed, "Validation", "RecordPayments", "QueueFailedTransactions"):
        answer = api.call("POST", "validate", PAYMENT)
    assert (answer.status, answer.field("retry")) == (500, "not queued")


def test_processing_needs_its_grant_to_claim(deployed: Deployed, api: Api) -> None:
    transaction = validated(api, PAYMENT)
    with without(deployed, "Processing", "ClaimAndFinishPayments"):
        answer = api.call("POST", "process", transaction)
    assert (answer.status, answer.field("retry")) == (500, "queued")
    assert api.call("POST", "process", transaction).field("status") == "processed"


def test_a_lookup_needs_its_grant_to_read(deployed: Deployed, api: Api) -> None:
    path = f"transactions/{validated(api, PAYMENT)['transaction_id']}"
    with without(deployed, "Lookup", "LookUpPayments"):
        answer = api.call("GET", path)
    assert (answer.status, answer.field("error")) == (500, "Lookup failed")
    assert api.call("GET", path).field("status") == "validated"


def test_a_cancellation_needs_its_grant_to_write(deployed: Deployed, api: Api) -> None:
    transaction = validated(api, PAYMENT)
    with without(deployed, "Cancellation", "ClaimAndFinishPayments"):
        answer = api.call("POST", "cancel", transaction)
    assert (answer.status, answer.field("error")) == (500, "Cancellation failed")
    assert api.call("POST", "cancel", transaction).field("status") == "canceled"


@pytest.mark.parametrize("sid", ["ReadGatewaySecret", "ClaimAndFinishPayments"])
def test_notifications_need_the_grants_to_read_the_secret_and_to_settle(
    notified: Deployed, sid: str
) -> None:
    api = notified.api()
    transaction = pending(api, 0)
    start_anew(notified, "GatewayEvents")  # one that runs has the secret for minutes
    with without(notified, "GatewayEvents", sid):
        assert tell_of(notified, transaction) == 503
    path = f"transactions/{transaction['transaction_id']}"
    assert api.call("GET", path).field("status") == "pending"
    assert tell_of(notified, transaction) == 200
    assert api.call("GET", path).field("status") == "processed"


def test_a_cancellation_needs_its_grant_to_read_the_secret_where_the_gateway_is_asked(
    notified: Deployed,
) -> None:
    api = notified.api()
    transaction = pending(api, 3000)
    with without(notified, "Cancellation", "ReadGatewaySecret"):
        answer = api.call("POST", "cancel", transaction)
        assert (answer.status, answer.field("error")) == (500, "Cancellation failed")
        # No gateway has this one.
        untouched = validated(api, PAYMENT | {"payment_method": "paid"})
        assert api.call("POST", "cancel", untouched).field("status") == "canceled"
    assert api.call("POST", "cancel", transaction).field("status") == "canceled"


def test_processing_needs_its_grant_to_queue_failures(deployed: Deployed, api: Api) -> None:
    first, second = (validated(api, UNAVAILABLE) for _ in range(2))
    assert api.call("POST", "process", first).field("retry") == "queued"
    with without(deployed, "Processing", "QueueFailedTransactions"):
        answer = api.call("POST", "process", second)
    assert (answer.status, answer.field("retry")) == (500, "not queued")


def test_the_health_monitor_needs_its_grant_to_read_metrics(deployed: Deployed) -> None:
    with without(deployed, "HealthMonitor", "ReadMetrics"):
        _, report = deployed.invoke("HealthMonitor", SCHEDULED)
    assert {check["status"] for check in report["checks"]} == {"unknown"}
    assert report["overall_status"] == "degraded"


def test_the_health_monitor_needs_its_grant_to_publish(deployed: Deployed) -> None:
    inbox = subscribe(deployed, "alerts")
    make_degraded(deployed)
    with without(deployed, "HealthMonitor", "PublishAlerts"):
        error, _ = deployed.invoke("HealthMonitor", SCHEDULED)
    assert error is not None
    assert received(deployed, inbox, HEALTH_ALERT) == []
    error, report = deployed.invoke("HealthMonitor", SCHEDULED)
    assert (error, report["overall_status"]) == (None, "degraded")
    [alert] = received(deployed, inbox, HEALTH_ALERT, WAIT_SECONDS)
    assert json.loads(alert["Message"])["overall_status"] == "degraded"


def test_the_health_monitor_needs_its_grant_to_read_alarms(deployed: Deployed) -> None:
    make_degraded(deployed)
    unknown = partial(deployed.logged, "HealthMonitor", "alarm state unknown")
    before = len(unknown())
    with as_asked(deployed, "HealthMonitor", "ReadAlarms"):
        deployed.invoke("HealthMonitor", SCHEDULED)
    assert len(unknown()) == before
    with without(deployed, "HealthMonitor", "ReadAlarms"):
        deployed.invoke("HealthMonitor", SCHEDULED)
    assert len(unknown()) == before + 1


@pytest.mark.parametrize(
    ("sid", "outcome"),
    [("ReadStage", "throttles unknown"), ("ReadEventSource", "event source unknown")],
)
def test_the_health_monitor_needs_its_grants_to_see_whether_payments_are_stopped(
    deployed: Deployed, sid: str, outcome: str
) -> None:
    unknown = partial(deployed.logged, "HealthMonitor", outcome)
    before = len(unknown())
    with as_asked(deployed, "HealthMonitor", "ReadEventSource"):
        assert deployed.invoke("HealthMonitor", SCHEDULED)[0] is None
    assert len(unknown()) == before
    with without(deployed, "HealthMonitor", sid):
        assert deployed.invoke("HealthMonitor", SCHEDULED)[0] is None
    assert len(unknown()) == before + 1


def test_the_health_monitor_needs_its_grants_to_share_a_report(deployed: Deployed) -> None:
    unknown = partial(deployed.logged, "HealthMonitor", "latest report unknown")
    lost = partial(deployed.logged, "HealthMonitor", "report not stored")
    before = (len(unknown()), len(lost()))
    with as_asked(deployed, "HealthMonitor", "WriteLogs", "ReadLatestReport"):
        _, report = deployed.invoke("HealthMonitor", SCHEDULED)
        start_anew(deployed, "HealthMonitor")
        _, answer = deployed.invoke("HealthMonitor", GET)
    assert json.loads(answer["body"]) == report
    assert (len(unknown()), len(lost())) == before
    start_anew(deployed, "HealthMonitor")
    with without(deployed, "HealthMonitor", "WriteLogs", "ReadLatestReport"):
        _, answer = deployed.invoke("HealthMonitor", GET)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["timestamp"] > report["timestamp"]
    assert (len(unknown()), len(lost())) == (before[0] + 1, before[1] + 1)


def test_the_health_monitor_needs_its_grant_to_find_payments(deployed: Deployed) -> None:
    assert deployed.invoke("HealthMonitor", SCHEDULED)[0] is None
    with without(deployed, "HealthMonitor", "FindPaymentsInFlight"):
        assert deployed.invoke("HealthMonitor", SCHEDULED)[0] is not None


def test_the_health_monitor_needs_its_grant_to_sweep_the_table(deployed: Deployed) -> None:
    with without_action(deployed, "HealthMonitor", "RecoverPayments", "dynamodb:Scan"):
        error, _ = deployed.invoke("HealthMonitor", SCHEDULED)
    assert error is not None
    assert deployed.invoke("HealthMonitor", SCHEDULED)[0] is None


@pytest.mark.parametrize(
    ("sid", "outcome"),
    [
        ("RecoverPayments", "unexpected failure"),
        ("QueueFailedTransactions", "retry not queued"),
    ],
)
def test_the_health_monitor_needs_its_grants_to_recover_a_payment(
    deployed: Deployed, api: Api, sid: str, outcome: str
) -> None:
    transaction = validated(api, UNAVAILABLE)
    with without(deployed, "Processing", "QueueFailedTransactions"):
        api.call("POST", "process", transaction)
    change_row(deployed, transaction, "lease_expires_at", {"N": "1"})
    before = len(deployed.logged("HealthMonitor", outcome))
    with without(deployed, "HealthMonitor", sid):
        deployed.invoke("HealthMonitor", SCHEDULED)
    assert len(deployed.logged("HealthMonitor", outcome)) > before


@pytest.mark.parametrize("operation", ["validate", "process"])
def test_the_retry_needs_its_grant_to_repeat_what_failed(
    deployed: Deployed, api: Api, operation: str
) -> None:
    transaction_id = str(validated(api, PAYMENT)["transaction_id"])
    record = deployed.session.client("dynamodb").get_item(
        TableName="transactions-iam-1", Key={"transaction_id": {"S": transaction_id}}
    )["Item"]
    plain = {name: next(iter(value.values())) for name, value in record.items()}
    message: dict[str, Any] = {
        "version": 1,
        "operation": operation,
        "transaction_id": transaction_id,
        "reason": "store_unavailable",
        "request_id": "first",
        "first_failed_at": "2026-11-22T21:27:00.000000+00:00",
    }
    if operation == "validate":
        message["record"] = plain | {"amount_minor": int(plain["amount_minor"])}
    event = {"Records": [sqs_record(json.dumps(message))]}
    action = "dynamodb:PutItem" if operation == "validate" else "dynamodb:UpdateItem"
    with without_action(deployed, "Retry", "RecordAndFinishPayments", action):
        _, refused = deployed.invoke("Retry", event)
    assert refused == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    assert deployed.invoke("Retry", event)[1] == {"batchItemFailures": []}


def test_an_alarm_may_publish_to_the_topic(deployed: Deployed) -> None:
    inbox = subscribe(deployed, "alarms")
    deployed.session.client("cloudwatch").set_alarm_state(
        AlarmName="api-latency-iam-1", StateValue="ALARM", StateReason="test"
    )
    [message] = received(deployed, inbox, "api-latency-iam-1", WAIT_SECONDS)
    description = json.loads(message["Message"])["AlarmDescription"]
    assert description == "API Gateway latency is high. Run payment-infra metrics --since 1h"


def subscribe(deployed: Deployed, name: str) -> str:
    """Subscribe a new queue to the alarm topic and return its URL."""
    sqs = deployed.session.client("sqs")
    topic = deployed.stack.outputs()["AlarmTopicArn"]
    url = str(sqs.create_queue(QueueName=name)["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    deployed.session.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def received(deployed: Deployed, url: str, subject: str, seconds: float = 0) -> list[Any]:
    """Return the messages with this in their subject, waiting for the first as long as that."""
    sqs = deployed.session.client("sqs")
    deadline = time.monotonic() + seconds
    while True:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        found = [body for body in bodies if subject in body["Subject"]]
        if found or time.monotonic() >= deadline:
            return found
