"""What the template must hold, rule by rule; the golden files hold the rest."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import click
import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from payment_infra.artifacts import GATEWAY_EVENTS, LAYER, code_keys
from payment_infra.cli import root
from payment_infra.config import PRESETS, StackConfig
from payment_infra.difference import compare
from payment_infra.errors import UsageError
from payment_infra.gateway_names import STRIPE_GATEWAY
from payment_infra.groups import api, refusals
from payment_infra.rendering import render
from payment_infra.rules import ARCHITECTURES, MAX_SUFFIX_LENGTH, RETENTION_DAYS, RUNTIMES
from payment_infra.template import build_bootstrap_template
from tests.unit.template import (
    PSEUDO_PARAMETERS,
    Evaluated,
    Json,
    load,
    of_type,
    spelled_out,
    walk,
)

DEVELOPMENT = load()
PRODUCTION = load(**PRESETS["production"])
BOOTSTRAP: Json = json.loads(render(build_bootstrap_template(), "json"))
DEPLOYED = Evaluated(DEVELOPMENT)
OVERRIDDEN = Evaluated(DEVELOPMENT, TransactionsTableOverride="restored")

EVERY_TEMPLATE = pytest.mark.parametrize(
    "template", [DEVELOPMENT, PRODUCTION, BOOTSTRAP], ids=["development", "production", "bootstrap"]
)
EVERY_PRESET = pytest.mark.parametrize(
    "template", [DEVELOPMENT, PRODUCTION], ids=["development", "production"]
)
FUNCTIONS = ("Validation", "Processing", "Lookup", "Cancellation", "Retry", "HealthMonitor")
EVERY_FUNCTION = pytest.mark.parametrize("function", FUNCTIONS)
KEYS = {"EncryptionKey"}
STATEFUL_TYPES = {
    *("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Logs::LogGroup"),
    *("AWS::KMS::Key", "AWS::KMS::Alias"),
}
# Actions for which the service has no resource-level permission (Service Authorization Reference).
WITHOUT_RESOURCES = {
    "backup:CopyFromBackupVault",
    "cloudwatch:GetMetricData",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
}
ALARM_ARN = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:"
API_ARN = "arn:aws:execute-api:eu-central-1:123456789012:<PaymentAPI>/prod"


def only(values: Mapping[str, Json] | list[Json]) -> Json:
    found = list(values.values() if isinstance(values, Mapping) else values)
    assert len(found) == 1
    return found[0]


def deployment_id(template: Json) -> str:
    [name] = of_type(template, "AWS::ApiGateway::Deployment")
    return name


def statements(evaluated: Evaluated, policy: str) -> dict[tuple[str, ...], list[Any]]:
    """Return actions to resources of a managed policy that only allows."""
    document = evaluated.resources[policy]["PolicyDocument"]
    assert document["Version"] == "2012-10-17"
    assert {one["Effect"] for one in document["Statement"]} == {"Allow"}
    assert not any("NotAction" in one or "NotResource" in one for one in document["Statement"])
    granted = {tuple(one["Action"]): one["Resource"] for one in document["Statement"]}
    assert len(granted) == len(document["Statement"])
    return granted


# The reference's settings.


def test_the_table_is_keyed_by_transaction_on_demand_and_recoverable_to_a_point_in_time() -> None:
    table = DEPLOYED.resources["TransactionsTable"]
    assert table["TableName"] == "transactions-dev"
    assert table["KeySchema"] == [{"AttributeName": "transaction_id", "KeyType": "HASH"}]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True


def test_the_in_flight_index_is_sparse_and_sorted_by_the_leases_end() -> None:
    table = DEPLOYED.resources["TransactionsTable"]
    index = only(table["GlobalSecondaryIndexes"])
    assert index["IndexName"] == "in-flight-index"
    assert index["KeySchema"] == [
        {"AttributeName": "in_flight", "KeyType": "HASH"},
        {"AttributeName": "lease_expires_at", "KeyType": "RANGE"},
    ]
    types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    assert types == {"transaction_id": "S", "in_flight": "S", "lease_expires_at": "N"}


def test_a_failed_transaction_is_received_three_times_and_then_kept_for_fourteen_days() -> None:
    failed = DEPLOYED.resources["FailedTransactionsQueue"]
    dead_letter = DEPLOYED.resources["FailedTransactionsDLQ"]
    assert failed["QueueName"] == "failed-transactions-dev"
    assert failed["VisibilityTimeout"] == 300
    assert failed["MessageRetentionPeriod"] < dead_letter["MessageRetentionPeriod"]
    assert failed["RedrivePolicy"] == {
        "deadLetterTargetArn": "<FailedTransactionsDLQ.Arn>",
        "maxReceiveCount": 3,
    }
    assert dead_letter["QueueName"] == "failed-transactions-dlq-dev"
    assert dead_letter["MessageRetentionPeriod"] == 14 * 86_400


def test_the_topic_has_its_display_name() -> None:
    topic = DEPLOYED.resources["AlarmTopic"]
    assert topic["TopicName"] == "payment-alarms-dev"
    assert topic["DisplayName"] == "Payment Processing Alarms"


def test_an_address_is_subscribed_only_if_one_is_given() -> None:
    assert "AlarmEmailSubscription" not in DEPLOYED.resources
    subscribed = Evaluated(DEVELOPMENT, AlarmEmail="ops@example.com")
    assert subscribed.resources["AlarmEmailSubscription"] == {
        "TopicArn": "<AlarmTopic>",
        "Protocol": "email",
        "Endpoint": "ops@example.com",
    }


def test_stripe_needs_a_secret_before_anything_is_deployed() -> None:
    with pytest.raises(UsageError, match=r"gateway stripe: .*--gateway-secret"):
        load(gateway=STRIPE_GATEWAY)
    secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:stripe-AbCdEf"
    template = load(gateway=STRIPE_GATEWAY, gateway_secret=secret)
    variables = template["Resources"]["ProcessingFunction"]["Properties"]["Environment"]
    assert variables["Variables"]["GATEWAY"] == STRIPE_GATEWAY
    assert variables["Variables"]["GATEWAY_SECRET_ARN"] == secret


def test_only_what_asks_a_gateway_is_told_of_it_and_only_what_charges_may_read_its_secret() -> None:
    secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:acme/key-AbCdEf"
    template = load(gateway="handlers.shared.acme:Acme", gateway_secret=secret)
    told = {"GATEWAY": "handlers.shared.acme:Acme", "GATEWAY_SECRET_ARN": secret}
    for function in FUNCTION_SETTINGS:
        variables = template["Resources"][f"{function}Function"]["Properties"]["Environment"]
        policy = template["Resources"][f"{function}Policy"]["Properties"]["PolicyDocument"]
        grants = [one for one in policy["Statement"] if one["Sid"] == "ReadGatewaySecret"]
        if function in {"Processing", "Cancellation", "Retry"}:
            assert variables["Variables"].items() >= told.items()
            [grant] = grants
            assert grant["Action"] == ["secretsmanager:GetSecretValue"]
            assert grant["Resource"] == [secret]
        else:
            known = told.keys() if function == "Validation" else set()
            assert variables["Variables"].keys() & told.keys() == known
            assert not grants


def test_a_policy_keeps_the_description_without_which_an_update_would_replace_it() -> None:
    # AWS::IAM::ManagedPolicy: Description, "Update requires: Replacement".
    policies = of_type(DEVELOPMENT, "AWS::IAM::ManagedPolicy")
    told = {name: policy["Properties"]["Description"] for name, policy in policies.items()}
    assert told == {
        **{f"{name}Policy": f"What the {name} function may do." for name in FUNCTION_SETTINGS},
        "TracingPolicy": "What every function may do.",
        "PaymentCallerPolicy": "Lets those who have it call the payment methods of the API.",
    }


def test_what_reads_payments_is_told_whose_a_caller_may_have_if_not_its_own() -> None:
    template = load(payment_access="account")
    told = {
        function
        for function in FUNCTION_SETTINGS
        if template["Resources"][f"{function}Function"]["Properties"]["Environment"][
            "Variables"
        ].get("PAYMENT_ACCESS")
        == "account"
    }
    assert told == {"Processing", "Lookup", "Cancellation", "Retry"}
    assert "PAYMENT_ACCESS" not in json.dumps(DEVELOPMENT)


SERVICE = {"POWERTOOLS_SERVICE_NAME": "payment-dev"}
RETRY_VARIABLES = SERVICE | {"TRANSACTIONS_TABLE": "<TransactionsTable>"}
PAYMENT_VARIABLES = RETRY_VARIABLES | {"FAILED_QUEUE_URL": "<FailedTransactionsQueue>"}
# Name, entry module, memory in MiB, timeout in seconds, environment.
FUNCTION_SETTINGS: Mapping[str, tuple[str, str, int, int, Mapping[str, str]]] = {
    "Validation": ("payment-validation-dev", "validation", 256, 30, PAYMENT_VARIABLES),
    "Processing": ("payment-processing-dev", "processing", 512, 60, PAYMENT_VARIABLES),
    "Lookup": ("payment-lookup-dev", "lookup", 256, 30, RETRY_VARIABLES),
    "Cancellation": ("payment-cancellation-dev", "cancellation", 512, 30, RETRY_VARIABLES),
    "Retry": ("payment-retry-dev", "retry", 512, 50, RETRY_VARIABLES),
    "HealthMonitor": (
        "health-monitor-dev",
        "health_monitor",
        256,
        60,
        PAYMENT_VARIABLES
        | {
            "ALARM_TOPIC_ARN": "<AlarmTopic>",
            "API_ID": "<PaymentAPI>",
            "API_NAME": "payment-api-dev",
            "API_STAGE": "prod",
            "FUNCTION_NAMES": (
                "<ValidationFunction>,<ProcessingFunction>,<LookupFunction>"
                ",<CancellationFunction>,<RetryFunction>,health-monitor-dev"
            ),
            "FAILED_QUEUE_NAME": "<FailedTransactionsQueue.QueueName>",
            "DEAD_LETTER_QUEUE_NAME": "<FailedTransactionsDLQ.QueueName>",
            "DEGRADED_ALARM_NAME": "health-degraded-dev",
            "LOG_GROUP": "/aws/lambda/health-monitor-dev",
            "RETRY_SOURCE_ID": "<RetryEventSource>",
        },
    ),
}


@EVERY_FUNCTION
def test_a_function_has_its_memory_timeout_and_environment(function: str) -> None:
    name, module, memory, timeout, variables = FUNCTION_SETTINGS[function]
    properties = DEPLOYED.resources[f"{function}Function"]
    assert properties["FunctionName"] == name
    assert properties["Handler"] == f"{module}.handler"
    assert properties["Code"] == {"S3Bucket": "zips", "S3Key": code_keys()[module]}
    assert (properties["MemorySize"], properties["Timeout"]) == (memory, timeout)
    assert properties["Environment"]["Variables"] == variables


@EVERY_FUNCTION
def test_a_function_runs_on_the_chosen_runtime_and_sends_traces(function: str) -> None:
    properties = DEPLOYED.resources[f"{function}Function"]
    assert (properties["Runtime"], properties["Architectures"]) == ("python3.13", ["arm64"])
    assert properties["TracingConfig"] == {"Mode": "Active"}
    other = Evaluated(load(runtime="python3.11", architecture="x86_64"))
    properties = other.resources[f"{function}Function"]
    assert (properties["Runtime"], properties["Architectures"]) == ("python3.11", ["x86_64"])


def test_every_function_is_one_that_has_rules_here() -> None:
    assert set(of_type(DEVELOPMENT, "AWS::Lambda::Function")) == {
        f"{function}Function" for function in FUNCTIONS
    }


@EVERY_PRESET
def test_every_function_has_the_dependencies_from_the_one_layer(template: Json) -> None:
    assert set(of_type(template, "AWS::Lambda::LayerVersion")) == {"DependenciesLayer"}
    evaluated = Evaluated(template)
    for name in of_type(template, "AWS::Lambda::Function"):
        assert evaluated.resources[name]["Layers"] == ["<DependenciesLayer>"]


def test_the_layer_is_the_zip_of_the_requirements_and_fits_every_choice() -> None:
    layer = DEPLOYED.resources["DependenciesLayer"]
    assert layer["LayerName"] == "payment-dependencies-dev"
    assert layer["Content"] == {"S3Bucket": "zips", "S3Key": code_keys()["dependencies"]}
    for runtime in RUNTIMES:
        for architecture in ARCHITECTURES:
            other = Evaluated(load(runtime=runtime, architecture=architecture))
            assert other.resources["DependenciesLayer"] == layer


def test_the_retry_function_takes_one_message_at_a_time_from_the_failed_queue_alone() -> None:
    assert set(of_type(DEVELOPMENT, "AWS::Lambda::EventSourceMapping")) == {"RetryEventSource"}
    source = DEPLOYED.resources["RetryEventSource"]
    assert {key: value for key, value in source.items() if key != "Tags"} == {
        "EventSourceArn": "<FailedTransactionsQueue.Arn>",
        "FunctionName": "<RetryFunction>",
        "BatchSize": 1,
        "ScalingConfig": {"MaximumConcurrency": 5},
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }


def test_the_retry_function_ends_long_before_its_messages_are_seen_again() -> None:
    # Lambda, "Using Lambda with Amazon SQS": six times the function's timeout.
    for evaluated in (DEPLOYED, Evaluated(PRODUCTION)):
        visibility = evaluated.resources["FailedTransactionsQueue"]["VisibilityTimeout"]
        assert visibility >= 6 * evaluated.resources["RetryFunction"]["Timeout"]


def test_the_health_monitor_runs_every_five_minutes() -> None:
    rule = DEPLOYED.resources["HealthMonitorSchedule"]
    assert rule["Name"] == "health-monitor-schedule-dev"
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(5 minutes)", "ENABLED")
    assert only(rule["Targets"])["Arn"] == "<HealthMonitorFunction.Arn>"


def test_each_function_is_invoked_by_its_own_method_and_the_schedule_alone() -> None:
    granted = {
        (one["FunctionName"], one["Principal"], one["SourceArn"])
        for name, one in DEPLOYED.resources.items()
        if DEVELOPMENT["Resources"][name]["Type"] == "AWS::Lambda::Permission"
        and one["Action"] == "lambda:InvokeFunction"
    }
    gateway = "apigateway.amazonaws.com"
    assert granted == {
        ("<ValidationFunction>", gateway, f"{API_ARN}/POST/validate"),
        ("<ProcessingFunction>", gateway, f"{API_ARN}/POST/process"),
        ("<LookupFunction>", gateway, f"{API_ARN}/GET/transactions/*"),
        ("<CancellationFunction>", gateway, f"{API_ARN}/POST/cancel"),
        ("<HealthMonitorFunction>", gateway, f"{API_ARN}/GET/health"),
        ("<HealthMonitorFunction>", "events.amazonaws.com", "<HealthMonitorSchedule.Arn>"),
    }


# The API.


def methods(evaluated: Evaluated, template: Json = DEVELOPMENT) -> dict[tuple[str, str], Json]:
    """Return verb and path to the method's properties."""
    found = {}
    for name in of_type(template, "AWS::ApiGateway::Method"):
        method = evaluated.resources[name]
        assert method["RestApiId"] == "<PaymentAPI>"
        found[(method["HttpMethod"], path_of(evaluated, method["ResourceId"]))] = method
    return found


def path_of(evaluated: Evaluated, resource_id: str) -> str:
    """Return the path of a resource of the API, from the root on."""
    if resource_id == "<PaymentAPI.RootResourceId>":
        return ""
    resource = evaluated.resources[resource_id.strip("<>")]
    assert resource["RestApiId"] == "<PaymentAPI>"
    return f"{path_of(evaluated, resource['ParentId'])}/{resource['PathPart']}"


LOOK_UP = ("GET", "/transactions/{transaction_id}")


def test_the_api_has_the_references_name_and_description() -> None:
    rest_api = DEPLOYED.resources["PaymentAPI"]
    assert rest_api["Name"] == "payment-api-dev"
    assert rest_api["Description"] == "Payment Processing API with disaster recovery"


@pytest.mark.parametrize(
    ("endpoint", "function"),
    [
        (("POST", "/validate"), "Validation"),
        (("POST", "/process"), "Processing"),
        (LOOK_UP, "Lookup"),
        (("POST", "/cancel"), "Cancellation"),
        (("GET", "/health"), "HealthMonitor"),
    ],
)
def test_an_endpoint_is_a_proxy_of_its_function(endpoint: tuple[str, str], function: str) -> None:
    assert set(methods(DEPLOYED)) == {
        ("POST", "/validate"),
        ("POST", "/process"),
        LOOK_UP,
        ("POST", "/cancel"),
        ("GET", "/health"),
    }
    integration = methods(DEPLOYED)[endpoint]["Integration"]
    assert (integration["Type"], integration["IntegrationHttpMethod"]) == ("AWS_PROXY", "POST")
    # Not named, it is 29 seconds.
    assert "TimeoutInMillis" not in integration
    assert integration["Uri"] == (
        "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions"
        f"/<{function}Function.Arn>/invocations"
    )


@pytest.mark.parametrize(
    ("authorization", "expected"), [({}, "AWS_IAM"), ({"authorization": "none"}, "NONE")]
)
def test_the_payment_methods_are_signed_unless_asked_otherwise_and_health_is_open(
    authorization: dict[str, str], expected: str
) -> None:
    template = load(**authorization)
    types = {
        key: one["AuthorizationType"] for key, one in methods(Evaluated(template), template).items()
    }
    assert types == {
        ("POST", "/validate"): expected,
        ("POST", "/process"): expected,
        LOOK_UP: expected,
        ("POST", "/cancel"): expected,
        ("GET", "/health"): "NONE",
    }


def test_authorization_none_changes_four_methods_the_deployment_and_the_record_alone() -> None:
    signed, unsigned = DEVELOPMENT, load(authorization="none")
    assert deployment_id(signed) != deployment_id(unsigned)
    renamed = json.dumps(unsigned).replace(deployment_id(unsigned), deployment_id(signed))
    after = dict(walk(json.loads(renamed)))
    before = dict(walk(signed))
    recorded = ("Resources", "AlarmTopic", "Metadata", "PaymentInfra", "authorization")
    assert set(after) - set(before) == {recorded}
    changed = {
        path
        for path in before
        if before[path] != after[path] and not isinstance(before[path], dict)
    }
    assert changed == {
        ("Resources", "ValidateMethod", "Properties", "AuthorizationType"),
        ("Resources", "ProcessMethod", "Properties", "AuthorizationType"),
        ("Resources", "LookupMethod", "Properties", "AuthorizationType"),
        ("Resources", "CancelMethod", "Properties", "AuthorizationType"),
    }


def test_the_post_methods_take_json_objects_only() -> None:
    for (verb, _), method in methods(DEPLOYED).items():
        if verb == "POST":
            assert method["RequestValidatorId"] == "<PaymentAPIBodyValidator>"
            # Whatever the content type says.
            assert method["RequestModels"] == {"$default": "<PaymentAPIJSONObject>"}
    assert DEPLOYED.resources["PaymentAPIBodyValidator"]["ValidateRequestBody"] is True
    model = DEPLOYED.resources["PaymentAPIJSONObject"]
    assert model["ContentType"] == "application/json"
    # An object, as CDK's CfnInclude wants it.
    assert model["Schema"] == {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
    }


def test_the_stage_is_prod_throttled_logged_measured_and_without_data_trace() -> None:
    stage = DEPLOYED.resources["PaymentAPIStage"]
    assert stage["StageName"] == "prod"
    assert stage["DeploymentId"] == f"<{deployment_id(DEVELOPMENT)}>"
    assert stage["TracingEnabled"] is True
    every = {"LoggingLevel": "INFO", "DataTraceEnabled": False}
    assert stage["MethodSettings"] == [
        every
        | {"ResourcePath": "/*", "HttpMethod": "*", "MetricsEnabled": True}
        | {"ThrottlingRateLimit": 1000, "ThrottlingBurstLimit": 2000},
        every
        | {"ResourcePath": "/~1health", "HttpMethod": "GET", "MetricsEnabled": False}
        | {"ThrottlingRateLimit": 10, "ThrottlingBurstLimit": 20},
        every
        | {"ResourcePath": "/~1transactions~1{transaction_id}", "HttpMethod": "GET"}
        | {"ThrottlingRateLimit": 1000, "ThrottlingBurstLimit": 2000, "MetricsEnabled": False},
        every
        | {"ResourcePath": "/~1cancel", "HttpMethod": "POST", "MetricsEnabled": False}
        | {"ThrottlingRateLimit": 1000, "ThrottlingBurstLimit": 2000},
    ]


def test_the_throttle_follows_the_parameters() -> None:
    evaluated = Evaluated(DEVELOPMENT, ThrottleRateLimit=7, ThrottleBurstLimit=9)
    settings = evaluated.resources["PaymentAPIStage"]["MethodSettings"]
    assert [(one["ThrottlingRateLimit"], one["ThrottlingBurstLimit"]) for one in settings] == [
        (7, 9),
        (10, 20),
        (7, 9),
        (7, 9),
    ]


def test_the_access_log_is_json_and_holds_no_body_no_query_and_no_header() -> None:
    setting = DEPLOYED.resources["PaymentAPIStage"]["AccessLogSetting"]
    # As API Gateway stores it, without the ":*" of the log group's own attribute.
    assert setting["DestinationArn"] == (
        "arn:aws:logs:eu-central-1:123456789012:log-group:<PaymentAPIAccessLogGroup>"
    )
    fields = json.loads(setting["Format"])
    assert {"$context.requestId", "$context.status"} <= set(fields.values())
    for field in fields.values():
        assert re.fullmatch(r"\$context\.[\w.]+", field)
        assert not re.search(r"(?i)body|query|header|authorizer|payload", field)


def test_the_execution_log_group_is_there_before_the_stage_can_write_to_it() -> None:
    group = DEPLOYED.resources["PaymentAPIExecutionLogGroup"]
    assert group["LogGroupName"] == "API-Gateway-Execution-Logs_<PaymentAPI>/prod"
    assert DEVELOPMENT["Resources"]["PaymentAPIStage"]["DependsOn"] == "PaymentAPIExecutionLogGroup"


def test_the_regions_role_is_made_before_the_stage_and_kept() -> None:
    role = DEPLOYED.resources["PaymentAPICloudWatchRole"]
    assert only(role["AssumeRolePolicyDocument"]["Statement"])["Principal"] == {
        "Service": ["apigateway.amazonaws.com"]
    }
    assert role["ManagedPolicyArns"] == [
        "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    ]
    account = DEPLOYED.resources["PaymentAPIAccount"]
    assert account == {"CloudWatchRoleArn": "<PaymentAPICloudWatchRole.Arn>"}
    assert "<PaymentAPIAccount>" in json.dumps(DEPLOYED.resources["PaymentAPIStage"])
    for name in ("PaymentAPICloudWatchRole", "PaymentAPIAccount"):
        assert DEVELOPMENT["Resources"][name]["DeletionPolicy"] == "Retain"


def test_without_managing_the_account_nothing_of_it_is_made_or_named() -> None:
    evaluated = Evaluated(DEVELOPMENT, ManageApiGatewayAccount="false")
    assert set(DEPLOYED.resources) - set(evaluated.resources) == {
        "PaymentAPICloudWatchRole",
        "PaymentAPIAccount",
    }


def responses() -> dict[str, Json]:
    return {
        one["ResponseType"]: one
        for name, one in DEPLOYED.resources.items()
        if DEVELOPMENT["Resources"][name]["Type"] == "AWS::ApiGateway::GatewayResponse"
    }


def test_the_gateway_answers_for_itself_in_all_the_cases_that_a_client_may_meet() -> None:
    statuses = {kind: one.get("StatusCode") for kind, one in responses().items()}
    assert statuses == {
        "BAD_REQUEST_BODY": "400",
        "MISSING_AUTHENTICATION_TOKEN": "403",
        "THROTTLED": "429",
        "INTEGRATION_TIMEOUT": "504",
        # All others, each with the status that it has.
        "DEFAULT_4XX": None,
        "DEFAULT_5XX": None,
    }
    for kind in ("DEFAULT_4XX", "DEFAULT_5XX"):
        assert "$context.error.messageString" in str(responses()[kind]["ResponseTemplates"])


@pytest.mark.parametrize("kind", responses())
def test_what_the_gateway_answers_has_error_and_message(kind: str) -> None:
    response = responses()[kind]
    [(content_type, text)] = response["ResponseTemplates"].items()
    assert content_type == "application/json"
    # messageString comes with its quotes, as API Gateway documents; any other variable does not.
    said = 'it was "refused"\n'
    text = text.replace("$context.error.messageString", json.dumps(said))
    assert "$context" not in text
    body = json.loads(text)
    assert set(body) == {"error", "message"}
    assert all(isinstance(value, str) and value.strip() for value in body.values())
    assert response["ResponseParameters"]["gatewayresponse.header.X-Request-Id"] == (
        "context.requestId"
    )


def test_a_throttled_client_is_told_when_to_come_back() -> None:
    throttled = responses()["THROTTLED"]
    assert throttled["StatusCode"] == "429"
    assert throttled["ResponseParameters"]["gatewayresponse.header.Retry-After"] == "'1'"


def test_the_deployment_is_made_after_everything_that_it_is_a_snapshot_of() -> None:
    deployment = DEVELOPMENT["Resources"][deployment_id(DEVELOPMENT)]
    assert set(deployment["DependsOn"]) == {
        *of_type(DEVELOPMENT, "AWS::ApiGateway::Method"),
        *of_type(DEVELOPMENT, "AWS::ApiGateway::GatewayResponse"),
    }


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Method", {"ApiKeyRequired": True}),
        ("Resource", {"PathPart": "elsewhere"}),
        ("Model", {"Schema": {"type": "array"}}),
        ("RequestValidator", {"ValidateRequestParameters": True}),
        ("GatewayResponse", {"StatusCode": "418"}),
        ("Integration", {"TimeoutInMillis": 1000}),
    ],
)
def test_the_deployment_gets_another_id_when_what_it_is_a_snapshot_of_changes(
    kind: str, change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = refusals if kind == "GatewayResponse" else api
    made = getattr(module, kind)
    monkeypatch.setattr(module, kind, lambda *title, **given: made(*title, **(given | change)))
    assert deployment_id(load()) != deployment_id(DEVELOPMENT)


@pytest.mark.parametrize(
    "fields",
    [
        {"throttle_rate_limit": 5, "throttle_burst_limit": 6},
        {"suffix": "other", "bucket": "other"},
        {"log_retention_days": 30},
        {"alarm_email": "ops@example.com"},
        {"tags": {"Team": "payments"}},
        {"retain_data": True, "deletion_protection": True},
        {"runtime": "python3.12", "architecture": "x86_64"},
        {"manage_api_gateway_account": False},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_the_deployment_keeps_its_id_when_the_methods_stay_the_same(fields: dict[str, Any]) -> None:
    assert deployment_id(load(**fields)) == deployment_id(DEVELOPMENT)


# Who may do what.


GRANTS: Mapping[str, Mapping[tuple[str, ...], list[str]]] = {
    "Validation": {
        ("dynamodb:PutItem",): ["<TransactionsTable.Arn>"],
        ("sqs:SendMessage",): ["<FailedTransactionsQueue.Arn>"],
    },
    "Processing": {
        ("dynamodb:UpdateItem",): ["<TransactionsTable.Arn>"],
        ("sqs:SendMessage",): ["<FailedTransactionsQueue.Arn>"],
    },
    "Lookup": {("dynamodb:GetItem",): ["<TransactionsTable.Arn>"]},
    "Cancellation": {("dynamodb:UpdateItem",): ["<TransactionsTable.Arn>"]},
    "Retry": {
        ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"): [
            "<FailedTransactionsQueue.Arn>"
        ],
        ("dynamodb:PutItem", "dynamodb:UpdateItem"): ["<TransactionsTable.Arn>"],
    },
    "HealthMonitor": {
        ("cloudwatch:GetMetricData",): ["*"],
        ("cloudwatch:DescribeAlarms",): [f"{ALARM_ARN}health-degraded-dev"],
        ("apigateway:GET",): [
            "arn:aws:apigateway:eu-central-1::/restapis/<PaymentAPI>/stages/prod"
        ],
        ("lambda:GetEventSourceMapping",): ["<RetryEventSource.EventSourceMappingArn>"],
        ("logs:GetLogEvents",): [
            "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/health-monitor-dev"
            ":log-stream:latest-report"
        ],
        ("sns:Publish",): ["<AlarmTopic>"],
        ("dynamodb:Query",): ["<TransactionsTable.Arn>/index/in-flight-index"],
        ("dynamodb:Scan", "dynamodb:UpdateItem"): ["<TransactionsTable.Arn>"],
        ("sqs:SendMessage",): ["<FailedTransactionsQueue.Arn>"],
    },
}


@EVERY_FUNCTION
def test_a_function_may_do_what_it_does_and_write_its_own_log_and_traces(function: str) -> None:
    assert statements(DEPLOYED, f"{function}Policy") == {
        **GRANTS[function],
        ("logs:CreateLogStream", "logs:PutLogEvents"): [f"<{function}LogGroup.Arn>"],
    }
    assert statements(DEPLOYED, "TracingPolicy") == {
        ("xray:PutTraceSegments", "xray:PutTelemetryRecords"): ["*"]
    }
    policies = DEPLOYED.resources[f"{function}Role"]["ManagedPolicyArns"]
    assert policies == [f"<{function}Policy>", "<TracingPolicy>"]


@EVERY_FUNCTION
def test_a_function_logs_to_the_group_that_has_its_name(function: str) -> None:
    properties = DEPLOYED.resources[f"{function}Function"]
    # By default (AWS::Lambda::Function, LoggingConfig). The group is made before the function, or
    # Lambda might make it: the function needs its role, and that the policy that names the group.
    assert "LoggingConfig" not in properties
    name = DEPLOYED.resources[f"{function}LogGroup"]["LogGroupName"]
    assert name == f"/aws/lambda/{properties['FunctionName']}"
    document = DEPLOYED.resources[f"{function}Policy"]["PolicyDocument"]
    assert [f"<{function}LogGroup.Arn>"] in [one["Resource"] for one in document["Statement"]]


@EVERY_FUNCTION
def test_a_function_has_a_role_of_its_own_that_only_lambda_assumes(function: str) -> None:
    functions = of_type(DEVELOPMENT, "AWS::Lambda::Function")
    roles = Counter(DEPLOYED.resources[name]["Role"] for name in functions)
    role = DEPLOYED.resources[f"{function}Function"]["Role"]
    assert role == f"<{function}Role.Arn>"
    assert roles[role] == 1
    properties = DEPLOYED.resources[f"{function}Role"]
    assert "Policies" not in properties
    assert only(properties["AssumeRolePolicyDocument"]["Statement"]) == {
        "Effect": "Allow",
        "Principal": {"Service": ["lambda.amazonaws.com"]},
        "Action": ["sts:AssumeRole"],
    }


def as_list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def allows(template: Json) -> list[Json]:
    """Return every statement of the template that allows something, wherever it stands."""
    return [
        value
        for _, value in walk(template)
        if isinstance(value, dict) and value.get("Effect") == "Allow"
    ]


def without_keys(template: Json) -> Json:
    """Return the template without keys, in whose policies * is the key itself."""
    kept = {name: one for name, one in template["Resources"].items() if name not in KEYS}
    return {**template, "Resources": kept}


@EVERY_TEMPLATE
def test_no_action_that_is_allowed_has_a_wildcard(template: Json) -> None:
    for statement in allows(template):
        assert "NotAction" not in statement
        assert not [one for one in as_list(statement["Action"]) if "*" in one]


@EVERY_TEMPLATE
def test_only_what_has_no_resource_level_permission_is_allowed_on_every_resource(
    template: Json,
) -> None:
    for statement in allows(without_keys(template)):
        resources = as_list(statement.get("Resource", []))
        # In the place of a path's parameter it stands for what a caller may ask for.
        resources = [one for one in resources if "/GET/transactions/*" not in json.dumps(one)]
        if "*" in json.dumps(resources):
            assert resources == ["*"]
            assert set(as_list(statement["Action"])) <= WITHOUT_RESOURCES


def test_the_callers_policy_grants_the_payment_methods_and_nothing_else() -> None:
    assert statements(DEPLOYED, "PaymentCallerPolicy") == {
        ("execute-api:Invoke",): [
            *(f"{API_ARN}/POST/validate", f"{API_ARN}/POST/process"),
            *(f"{API_ARN}/GET/transactions/*", f"{API_ARN}/POST/cancel"),
        ]
    }


# Backups.

BACKUP_ARN = "arn:aws:backup:eu-west-1:123456789012:backup-vault:payments"
TABLES = "arn:aws:dynamodb:eu-central-1:123456789012:table"


def test_the_active_table_is_backed_up_every_day_and_kept_as_long_as_is_asked_for() -> None:
    assert not [one for one in DEVELOPMENT["Resources"].values() if "Backup" in one["Type"]]
    resources = Evaluated(load(backup=True, backup_days=90)).resources
    [rule] = resources["BackupPlan"]["BackupPlan"]["BackupPlanRule"]
    assert rule == {
        "RuleName": "daily",
        "TargetBackupVault": "<BackupVault>",
        "ScheduleExpression": "cron(0 3 * * ? *)",
        "StartWindowMinutes": 60,
        "Lifecycle": {"DeleteAfterDays": 90},
    }
    assert resources["BackupPlan"]["BackupPlanTags"] == {"Environment": "dev"}
    selection = resources["PaymentBackupSelection"]
    assert selection["BackupPlanId"] == "<BackupPlan>"
    assert selection["BackupSelection"]["Resources"] == ["<TransactionsTable.Arn>"]
    assert selection["BackupSelection"]["IamRoleArn"] == "<BackupRole.Arn>"
    with_key = Evaluated(load(backup=True, customer_key=True)).resources["PaymentBackupSelection"]
    assert with_key["BackupSelection"]["Resources"] == ["<TransactionsTable.Arn>"]


def test_the_backups_and_their_role_follow_a_restored_table() -> None:
    copy = "transactions-dev-20261124T114500Z"
    moved = Evaluated(load(backup=True), TransactionsTableOverride=copy)
    selected = moved.resources["PaymentBackupSelection"]["BackupSelection"]["Resources"]
    assert selected == [f"{TABLES}/{copy}"]
    granted = statements(moved, "BackupPolicy")
    assert granted[
        ("dynamodb:DescribeTable", "dynamodb:ListTagsOfResource", "dynamodb:StartAwsBackupJob")
    ] == [f"{TABLES}/{copy}"]
    [restoring] = [of for actions, of in granted.items() if "dynamodb:Scan" in actions]
    assert restoring == [f"{TABLES}/transactions-dev-????????T??????Z"]
    assert len(copy.removeprefix("transactions-dev-")) == len("????????T??????Z")


def test_the_vault_is_kept_whatever_becomes_of_the_stack_and_is_in_nobodys_way() -> None:
    template = load(backup=True)
    vault = template["Resources"]["BackupVault"]
    assert (vault["DeletionPolicy"], vault["UpdateReplacePolicy"]) == (
        *("RetainExceptOnCreate", "Retain"),
    )
    assert "LockConfiguration" not in vault["Properties"]
    name = json.dumps(vault["Properties"]["BackupVaultName"])
    assert ("AWS::StackId" in name, "backups-${EnvironmentSuffix}" in name) == (True, True)
    # AWS Backup API, CreateBackupVault; the stack's id gives eight characters.
    assert len("backups-") + MAX_SUFFIX_LENGTH + len("-01234567") <= 50
    locked = load(backup=True, backup_lock_days=30)["Resources"]["BackupVault"]["Properties"]
    assert locked["LockConfiguration"] == {"MinRetentionDays": 30}


def test_a_vault_has_the_key_of_the_stack_and_the_role_may_use_it() -> None:
    found = Evaluated(load(backup=True, customer_key=True))
    vault = found.resources["BackupVault"]
    assert vault["EncryptionKeyArn"] == "<EncryptionKey.Arn>"
    plain = load(backup=True)["Resources"]["BackupVault"]["Properties"]
    assert "EncryptionKeyArn" not in plain
    # A vault with another key is another vault, which needs a name of its own.
    names = load(backup=True, customer_key=True)["Resources"]["BackupVault"]["Properties"]
    assert names["BackupVaultName"] != plain["BackupVaultName"]
    granted = {
        one["Sid"]: one for one in found.resources["BackupPolicy"]["PolicyDocument"]["Statement"]
    }
    # AWS Backup's own policies have no condition for what tells of a key.
    assert granted["DescribeKey"] == {
        "Sid": "DescribeKey",
        "Effect": "Allow",
        "Action": ["kms:DescribeKey"],
        "Resource": ["<EncryptionKey.Arn>"],
    }
    assert granted["UseKey"]["Action"] == [
        *("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"),
        *("kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"),
    ]
    assert granted["UseKey"]["Resource"] == ["<EncryptionKey.Arn>"]
    assert granted["UseKey"]["Condition"] == {
        "StringEquals": {
            "kms:ViaService": [
                "backup.eu-central-1.amazonaws.com",
                "dynamodb.eu-central-1.amazonaws.com",
            ]
        }
    }
    assert granted["GrantKeyToServices"]["Condition"] == {
        "Bool": {"kms:GrantIsForAWSResource": "true"}
    }


def test_backups_are_copied_to_a_vault_that_is_named() -> None:
    found = Evaluated(load(backup=True, backup_copy_vault=BACKUP_ARN))
    [rule] = found.resources["BackupPlan"]["BackupPlan"]["BackupPlanRule"]
    assert rule["CopyActions"] == [
        {"DestinationBackupVaultArn": BACKUP_ARN, "Lifecycle": {"DeleteAfterDays": 35}}
    ]
    policy = found.resources["BackupPolicy"]["PolicyDocument"]["Statement"]
    of = {one["Sid"]: one for one in policy}
    assert of["CopyBackupsInto"]["Action"] == ["backup:CopyIntoBackupVault"]
    assert of["CopyBackupsInto"]["Resource"] == [BACKUP_ARN]
    assert of["CopyBackupsFrom"]["Action"] == ["backup:CopyFromBackupVault"]
    assert of["CopyBackupsFrom"]["Resource"] == ["*"]
    assert of["ReadVaults"]["Action"] == ["backup:DescribeBackupVault"]
    assert of["ReadVaults"]["Resource"] == ["<BackupVault.BackupVaultArn>", BACKUP_ARN]
    # The key of the other vault, which makes the copy its own.
    keys = ["arn:aws:kms:eu-west-1:123456789012:key/*"]
    assert of["DescribeKeyOfCopies"]["Resource"] == keys
    grant = of["GrantKeyOfCopiesToServices"]
    assert (grant["Action"], grant["Resource"]) == (["kms:CreateGrant"], keys)
    assert grant["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    # The key of the vault here, where that is AWS Backup's.
    own = of["DescribeKeyOfAWSBackup"]
    assert own["Action"] == ["kms:DescribeKey"]
    assert own["Resource"] == ["arn:aws:kms:eu-central-1:123456789012:key/*"]
    assert own["Condition"] == {
        "ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/aws/backup"}
    }
    with_key = Evaluated(load(backup=True, customer_key=True, backup_copy_vault=BACKUP_ARN))
    sids = {one["Sid"] for one in with_key.resources["BackupPolicy"]["PolicyDocument"]["Statement"]}
    assert {"DescribeKey", "DescribeKeyOfCopies"} <= sids
    assert "DescribeKeyOfAWSBackup" not in sids


def test_a_backup_gets_the_tags_of_the_table_and_its_copy_too() -> None:
    point = "recovery-point:1EB3B5E7-9EB0-435A-A80B-108B488B0D45"  # as in AWS Backup's API
    for vault, places in (
        ("", ["eu-central-1:123456789012"]),
        (BACKUP_ARN, ["eu-central-1:123456789012", "eu-west-1:123456789012"]),
    ):
        found = Evaluated(load(backup=True, backup_copy_vault=vault))
        assert found.resources["TransactionsTable"]["Tags"]
        policy = found.resources["BackupPolicy"]["PolicyDocument"]["Statement"]
        [patterns] = [one["Resource"] for one in policy if one["Action"] == ["backup:TagResource"]]
        assert len(patterns) == len(places)
        for pattern, place in zip(patterns, places, strict=True):
            assert fnmatchcase(f"arn:aws:backup:{place}:{point}", pattern)
            assert not fnmatchcase(f"arn:aws:backup:{place}:backup-vault:payments", pattern)


def test_only_aws_backup_has_the_backups_role_without_a_condition_that_it_may_not_meet() -> None:
    role = Evaluated(load(backup=True)).resources["BackupRole"]
    assert role["AssumeRolePolicyDocument"]["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "backup.amazonaws.com"},
            "Action": ["sts:AssumeRole"],
        }
    ]


# Data.


@pytest.mark.parametrize(
    ("template", "policy"),
    [(DEVELOPMENT, "Delete"), (PRODUCTION, "RetainExceptOnCreate")],
    ids=["development", "production"],
)
def test_what_holds_data_says_what_becomes_of_it(template: Json, policy: str) -> None:
    stateful = [one for one in template["Resources"].values() if one["Type"] in STATEFUL_TYPES]
    assert len(stateful) >= 3 + len(FUNCTIONS)
    for resource in stateful:
        assert resource["DeletionPolicy"] == policy
        assert resource["UpdateReplacePolicy"] == "Retain"


@EVERY_TEMPLATE
def test_a_replacement_always_retains(template: Json) -> None:
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Version":
            continue  # it holds no data
        assert ("DeletionPolicy" in resource) == ("UpdateReplacePolicy" in resource)
        assert resource.get("UpdateReplacePolicy", "Retain") == "Retain"


def test_development_goes_completely_but_for_what_serves_the_whole_region() -> None:
    kept = {
        name
        for name, one in DEVELOPMENT["Resources"].items()
        if one.get("DeletionPolicy", "Delete") != "Delete"
    }
    assert kept == {"PaymentAPICloudWatchRole", "PaymentAPIAccount"}
    assert not DEPLOYED.resources["TransactionsTable"]["DeletionProtectionEnabled"]


def test_production_protects_its_table_but_for_its_creation_which_could_not_be_undone() -> None:
    for value, protected in (("false", False), ("true", True)):
        found = Evaluated(PRODUCTION, DeletionProtection=value).resources["TransactionsTable"]
        assert found["DeletionProtectionEnabled"] is protected
    assert PRODUCTION["Parameters"]["DeletionProtection"]["Default"] == "false"
    assert "DeletionProtection" not in DEVELOPMENT["Parameters"]


@pytest.mark.parametrize("days", [35, 7])
def test_the_recovery_reaches_back_as_far_as_is_asked_for(days: int) -> None:
    table = load(recovery_days=days)["Resources"]["TransactionsTable"]["Properties"]
    recovery = table["PointInTimeRecoverySpecification"]
    assert recovery == {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": days}


def test_every_log_is_kept_for_the_time_that_the_parameter_says() -> None:
    evaluated = Evaluated(DEVELOPMENT, LogRetentionDays=30)
    groups = of_type(DEVELOPMENT, "AWS::Logs::LogGroup")
    assert {evaluated.resources[name]["RetentionInDays"] for name in groups} == {30}
    assert len(groups) == len(FUNCTIONS) + 2


def places(evaluated: Evaluated, pattern: str) -> set[tuple[Any, ...]]:
    """Return where a text stands, but for the table itself."""
    whole = {"Resources": evaluated.resources, "Outputs": evaluated.outputs}
    return {
        path
        for path, value in walk(whole)
        if isinstance(value, str)
        and re.search(pattern, value)
        and path[:2] != ("Resources", "TransactionsTable")
    }


OWN_TABLE = r"<TransactionsTable\b|(?<!failed-)transactions-dev"


def test_everything_that_names_the_table_names_the_restored_one_instead() -> None:
    assert places(OVERRIDDEN, OWN_TABLE) == set()
    assert places(OVERRIDDEN, "restored") == places(DEPLOYED, OWN_TABLE)
    assert {path[1] for path in places(DEPLOYED, OWN_TABLE)} == {
        *(f"{function}Function" for function in FUNCTIONS),
        *(f"{function}Policy" for function in FUNCTIONS),
        *("PaymentDashboard", "TransactionsTableName"),
    }


def test_a_restored_table_is_named_by_name_or_by_its_full_arn() -> None:
    arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/restored"
    for function, actions in (
        ("Validation", ("dynamodb:PutItem",)),
        ("Processing", ("dynamodb:UpdateItem",)),
        ("Lookup", ("dynamodb:GetItem",)),
        ("Cancellation", ("dynamodb:UpdateItem",)),
        ("Retry", ("dynamodb:PutItem", "dynamodb:UpdateItem")),
    ):
        assert statements(OVERRIDDEN, f"{function}Policy")[actions] == [arn]
    recovery = statements(OVERRIDDEN, "HealthMonitorPolicy")
    assert recovery["dynamodb:Scan", "dynamodb:UpdateItem"] == [arn]
    query = statements(OVERRIDDEN, "HealthMonitorPolicy")[("dynamodb:Query",)]
    assert query == [f"{arn}/index/in-flight-index"]
    assert OVERRIDDEN.outputs["TransactionsTableName"] == "restored"
    assert set(OVERRIDDEN.resources) == set(DEPLOYED.resources)


# Alarms and dashboard.

API = {"ApiName": "payment-api-dev", "Stage": "prod"}
OWN = {"service": "payment-dev"}
# Name, namespace, metric, dimensions, statistic, threshold, periods of five minutes.
ALARMS: Mapping[str, tuple[str, str, str, Mapping[str, str], str, int, int]] = {
    "DynamoDBThrottleAlarm": (
        *("dynamodb-throttle-dev", "PaymentInfra", "WriteThrottleEvents", OWN, "Maximum", 10, 2),
    ),
    "DynamoDBIndexThrottleAlarm": (
        *("dynamodb-index-throttle-dev", "PaymentInfra", "IndexWriteThrottleEvents"),
        *(OWN, "Maximum", 10, 2),
    ),
    "APILatencyAlarm": ("api-latency-dev", "AWS/ApiGateway", "Latency", API, "Average", 1000, 2),
    **{
        f"{method}LatencyAlarm": (
            *(f"{method.lower()}-latency-dev", "AWS/ApiGateway", "Latency"),
            *(API | {"Method": "POST", "Resource": f"/{method.lower()}"}, "Average", 1000, 2),
        )
        for method in ("Validate", "Process")
    },
    "APIServerErrorAlarm": ("api-5xx-dev", "AWS/ApiGateway", "5XXError", API, "Sum", 10, 1),
    **{
        f"{function}ErrorAlarm": (
            *(f"{name}-errors-dev", "AWS/Lambda", "Errors"),
            *({"FunctionName": f"<{function}Function>"}, "Sum", threshold, periods),
        )
        for function, name, threshold, periods in (
            ("Validation", "validation", 10, 2),
            ("Processing", "processing", 10, 2),
            ("Retry", "retry", 1, 1),
            ("HealthMonitor", "health-monitor", 1, 1),
        )
    },
    "DeadLetterAlarm": (
        *("dead-letters-dev", "AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        *({"QueueName": "<FailedTransactionsDLQ.QueueName>"}, "Maximum", 1, 1),
    ),
    "FailedMessageAgeAlarm": (
        *("failed-message-age-dev", "AWS/SQS", "ApproximateAgeOfOldestMessage"),
        *({"QueueName": "<FailedTransactionsQueue.QueueName>"}, "Maximum", 900, 1),
    ),
    "PaymentFailureAlarm": (
        *("payment-failures-dev", "PaymentInfra", "Failures", OWN, "Sum", 10, 1),
    ),
    "RetriesNotQueuedAlarm": (
        *("retries-not-queued-dev", "PaymentInfra", "RetriesNotQueued", OWN, "Sum", 1, 1),
    ),
    "StuckPaymentAlarm": (
        *("stuck-payments-dev", "PaymentInfra", "PaymentsStuck", OWN, "Maximum", 1, 1),
    ),
    "MismatchedPaymentAlarm": (
        *("mismatched-payments-dev", "PaymentInfra", "PaymentsMismatched", OWN, "Maximum", 1, 1),
    ),
    "UnreadablePaymentAlarm": (
        *("unreadable-payments-dev", "PaymentInfra", "PaymentsUnreadable", OWN, "Maximum", 1, 1),
    ),
    "ContradictedCaptureAlarm": (
        *("contradicted-captures-dev", "PaymentInfra", "CapturesContradicted", OWN, "Sum", 1, 1),
    ),
    "HealthDegradedAlarm": (
        *("health-degraded-dev", "PaymentInfra", "Degraded", OWN, "Maximum", 1, 1),
    ),
    "ScheduledRunAlarm": ("scheduled-run-dev", "PaymentInfra", "ScheduledRuns", OWN, "Sum", 1, 3),
    "PaymentsStoppedAlarm": (
        *("payments-stopped-dev", "PaymentInfra", "PaymentsStopped", OWN, "Maximum", 1, 6),
    ),
}
# The reference's.
DESCRIPTIONS = {
    "APILatencyAlarm": "API Gateway latency is high",
    "DynamoDBThrottleAlarm": "DynamoDB throttling detected",
    "ProcessingErrorAlarm": "Processing function errors detected",
    "ValidationErrorAlarm": "Validation function errors detected",
}


def test_there_is_no_alarm_without_a_rule_here() -> None:
    assert set(of_type(DEVELOPMENT, "AWS::CloudWatch::Alarm")) == set(ALARMS)


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_watches_its_metric_and_tells_the_topic(alarm: str) -> None:
    name, namespace, metric, dimensions, statistic, threshold, periods = ALARMS[alarm]
    properties = DEPLOYED.resources[alarm]
    found = {one["Name"]: one["Value"] for one in properties["Dimensions"]}
    assert found == dimensions
    apart = {"Dimensions", "Tags", "AlarmDescription", "OKActions"}
    heartbeat = alarm == "ScheduledRunAlarm"
    assert {key: value for key, value in properties.items() if key not in apart} == {
        "AlarmName": name,
        "Namespace": namespace,
        "MetricName": metric,
        "Statistic": statistic,
        "Threshold": threshold,
        "ComparisonOperator": (
            "LessThanThreshold" if heartbeat else "GreaterThanOrEqualToThreshold"
        ),
        "Period": 300,
        "EvaluationPeriods": periods,
        "TreatMissingData": "breaching" if heartbeat else "notBreaching",
        "AlarmActions": ["<AlarmTopic>"],
    }


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_says_what_it_is_and_ends_with_a_command_that_there_is(alarm: str) -> None:
    description = DEPLOYED.resources[alarm]["AlarmDescription"]
    what, told, command = description.partition(". Run payment-infra ")
    assert what
    assert told
    assert what == DESCRIPTIONS.get(alarm, what)
    # Which environment is told by the alarm's name.
    parsed(root, [*shlex.split(command), "--suffix", "dev"])


def parsed(command: click.Command, arguments: list[str]) -> None:
    """Let click parse a command line, without running it; raise if it does not take it."""
    context = click.Context(command)
    if isinstance(command, click.Group):
        _, found, rest = command.resolve_command(context, arguments)
        assert found is not None
        parsed(found, rest)
    else:
        command.make_parser(context).parse_args(arguments)


def test_no_alarm_is_on_a_metric_of_dynamodb() -> None:
    # "Alarms that evaluate metrics in the AWS/DynamoDB namespace always ignore missing data even
    # if you choose a different option for TreatMissingData" (CloudWatch API, PutMetricAlarm): one
    # that has fired would stay in ALARM, since DynamoDB has no data of no throttles.
    namespaces = {DEPLOYED.resources[alarm]["Namespace"] for alarm in ALARMS}
    assert namespaces == {"AWS/ApiGateway", "AWS/Lambda", "AWS/SQS", "PaymentInfra"}


def test_that_the_system_is_well_again_is_told_too_and_of_no_other_alarm() -> None:
    told = {
        name: one["OKActions"] for name, one in DEPLOYED.resources.items() if "OKActions" in one
    }
    assert told == {"HealthDegradedAlarm": ["<AlarmTopic>"]}


def test_every_function_has_an_alarm_on_its_errors_and_on_its_throttles() -> None:
    # In development the API's 5XX, the messages' age and the missing run tell what comes of these.
    unwatched = Counter(
        [
            *(("Throttles", f"<{name}Function>") for name in FUNCTIONS),
            *(("Errors", f"<{name}Function>") for name in ("Lookup", "Cancellation")),
        ]
    )
    production: Counter[tuple[str, str]] = Counter()
    for evaluated, without in ((DEPLOYED, unwatched), (Evaluated(PRODUCTION), production)):
        watched = Counter(
            (one["MetricName"], only(one["Dimensions"])["Value"])
            for name, one in evaluated.resources.items()
            if name.endswith(("ErrorAlarm", "ThrottleAlarm")) and one["Namespace"] == "AWS/Lambda"
            if "Canary" not in name
        )
        every = Counter(
            (metric, f"<{name}>")
            for metric in ("Errors", "Throttles")
            for name in of_type(DEVELOPMENT, "AWS::Lambda::Function")
        )
        assert watched == every - without


VISIBLE = "ApproximateNumberOfMessagesVisible"
TABLE = "<TransactionsTable>"
IN_FLIGHT = ("GlobalSecondaryIndexName", "in-flight-index")
WIDGETS: Mapping[str, list[list[object]]] = {
    "API Gateway Latency": [
        [
            "AWS/ApiGateway",
            "Latency",
            "ApiName",
            "payment-api-dev",
            "Stage",
            "prod",
            "Average",
            None,
        ]
    ],
    "Lambda Function Errors": [
        ["AWS/Lambda", "Errors", "FunctionName", f"<{name}Function>", "Sum", f"{what} Errors"]
        for name, what in (
            ("Validation", "Validation"),
            ("Processing", "Processing"),
            ("Lookup", "Lookup"),
            ("Cancellation", "Cancellation"),
            ("Retry", "Retry"),
            ("HealthMonitor", "Health Monitor"),
        )
    ],
    "DynamoDB Operations": [
        ["AWS/DynamoDB", f"Consumed{kind}CapacityUnits", "TableName", TABLE, *index, "Sum", label]
        for kind, index, label in (
            ("Read", (), None),
            ("Write", (), None),
            ("Write", IN_FLIGHT, "Index Writes"),
            ("Read", IN_FLIGHT, "Index Reads"),
        )
    ],
    "SQS Queue Metrics": [
        ["AWS/SQS", VISIBLE, "QueueName", f"<{name}.QueueName>", "Average", label]
        for name, label in (
            ("FailedTransactionsQueue", "Messages in Queue"),
            ("FailedTransactionsDLQ", "Messages in DLQ"),
        )
    ],
}


# The right column, below the alarms.
BUSINESS: Mapping[str, list[list[object]]] = {
    "Payments": [
        ["PaymentInfra", f"Payments{what}", "service", "payment-dev", "Sum", what]
        for what in ("Validated", "Processed", "Declined", "Canceled", "Retried")
    ],
    "Gateway Latency": [
        ["PaymentInfra", "GatewayLatency", "service", "payment-dev", statistic, statistic]
        for statistic in ("Average", "p95")
    ],
}


def widgets(x: int, evaluated: Evaluated = DEPLOYED) -> list[Json]:
    """Return the dashboard's widgets in the column that begins there, from top to bottom."""
    body = json.loads(evaluated.resources["PaymentDashboard"]["DashboardBody"])
    return sorted((one for one in body["widgets"] if one["x"] == x), key=lambda one: one["y"])


def graphs(found: list[Json]) -> dict[str, list[list[object]]]:
    """Return title to metrics."""
    assert {one["type"] for one in found} == {"metric"}
    return {
        one["properties"]["title"]: [
            [*names, options["stat"], options.get("label")]
            for *names, options in spelled_out(one["properties"])
        ]
        for one in found
    }


def test_the_dashboard_has_two_columns_without_a_gap_or_an_overlap() -> None:
    dashboard = DEPLOYED.resources["PaymentDashboard"]
    assert dashboard["DashboardName"] == "payment-dashboard-dev"
    every = json.loads(dashboard["DashboardBody"])["widgets"]
    assert Counter((one["x"], one["y"]) for one in every) == Counter(
        [*((0, 6 * row) for row in range(4)), *((12, 6 * row) for row in range(3))]
    )
    assert {(one["width"], one["height"]) for one in every} == {(12, 6)}


def test_the_dashboard_shows_the_references_four_graphs_one_below_the_other() -> None:
    found = graphs(widgets(0))
    assert found == WIDGETS
    assert list(found) == list(WIDGETS)


def test_every_graph_of_the_dashboard_has_the_stacks_region_and_five_minutes() -> None:
    for one in (*widgets(0), *widgets(12)[1:]):
        assert (one["properties"]["period"], one["properties"]["region"]) == (300, "eu-central-1")
        assert one["properties"]["view"] == "timeSeries"


def test_the_dashboard_shows_on_the_right_the_payments_and_how_long_the_gateway_takes() -> None:
    found = graphs(widgets(12)[1:])
    assert found == BUSINESS
    assert list(found) == list(BUSINESS)


# Of each service, its metrics by the names of the dimensions that it publishes them with: what has
# others is a line that stays empty.
PUBLISHED = {
    # Amazon API Gateway dimensions and metrics: ApiName, Stage.
    ("AWS/ApiGateway", ("ApiName", "Stage")): {"Latency", "IntegrationLatency", "Count"},
    # Types of metrics for Lambda functions: FunctionName is all versions and aliases together.
    ("AWS/Lambda", ("FunctionName",)): {"Errors", "Invocations", "Throttles", "Duration"},
    # DynamoDB Metrics and dimensions: what requests took or returned needs Operation besides.
    ("AWS/DynamoDB", ("TableName",)): {"ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"},
    ("AWS/DynamoDB", ("TableName", "GlobalSecondaryIndexName")): {
        *("ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"),
    },
    # Available CloudWatch metrics for Amazon SQS.
    ("AWS/SQS", ("QueueName",)): {VISIBLE, "ApproximateAgeOfOldestMessage", "NumberOfMessagesSent"},
    # handlers/shared/aws/metrics.py, which tests/unit/test_agreement.py compares.
    ("PaymentInfra", ("service",)): {
        *(
            f"Payments{what}"
            for what in ("Validated", "Processed", "Declined", "Canceled", "Retried")
        ),
        "GatewayLatency",
    },
}


@EVERY_PRESET
def test_every_line_of_the_dashboard_is_a_metric_as_its_service_publishes_it(
    template: Json,
) -> None:
    evaluated = Evaluated(template)
    lines = [
        line
        for widget in (*widgets(0, evaluated), *widgets(12, evaluated))
        for line in spelled_out(widget["properties"])
    ]
    assert len(lines) >= 17
    for namespace, metric, *pairs, options in lines:
        assert metric in PUBLISHED[namespace, tuple(pairs[::2])]
        assert options["stat"] in {"Sum", "Average", "p95"}


@EVERY_PRESET
def test_the_dashboard_has_every_functions_errors_every_queue_and_every_index(
    template: Json,
) -> None:
    evaluated = Evaluated(template)
    shown = {
        tuple(line[2:-1])
        for widget in widgets(0, evaluated)
        for line in spelled_out(widget["properties"])
    }
    for name in of_type(template, "AWS::Lambda::Function"):
        assert ("FunctionName", f"<{name}>") in shown
    for name in of_type(template, "AWS::SQS::Queue"):
        assert ("QueueName", f"<{name}.QueueName>") in shown
    for index in evaluated.resources["TransactionsTable"]["GlobalSecondaryIndexes"]:
        named = ("GlobalSecondaryIndexName", index["IndexName"])
        assert ("TableName", TABLE, *named) in shown


@EVERY_PRESET
def test_the_dashboard_shows_every_alarm_that_tells_people_and_no_other(template: Json) -> None:
    evaluated = Evaluated(template)
    names = [
        evaluated.resources[name]["AlarmName"]
        for name in of_type(template, "AWS::CloudWatch::Alarm")
        if "AlarmActions" in evaluated.resources[name]
    ]
    first = widgets(12, evaluated)[0]
    assert first["type"] == "alarm"
    assert first["properties"] == {
        "title": "Alarms",
        "alarms": [f"{ALARM_ARN}{name}" for name in names],
    }
    # CloudWatch, "Dashboard body structure and syntax": the most that the widget takes.
    assert len(names) <= 100


# The whole template.


def test_the_outputs_are_the_references_and_the_callers_policy() -> None:
    assert DEPLOYED.outputs == {
        "APIEndpoint": "https://<PaymentAPI>.execute-api.eu-central-1.amazonaws.com/prod/",
        "TransactionsTableName": "<TransactionsTable>",
        "AlarmTopicArn": "<AlarmTopic>",
        "DashboardName": "<PaymentDashboard>",
        "CallerPolicyArn": "<PaymentCallerPolicy>",
    }
    assert all(one["Description"] for one in DEVELOPMENT["Outputs"].values())


def takes_tags(kind: str) -> bool:
    """Whether CloudFormation's own schema of the type has tags, as cfn-lint bundles it."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    return "Tags" in schema["properties"]


@EVERY_PRESET
def test_every_resource_that_takes_tags_has_the_environment(template: Json) -> None:
    tagged = {name for name, one in template["Resources"].items() if "Tags" in one["Properties"]}
    assert tagged == {
        name for name, one in template["Resources"].items() if takes_tags(one["Type"])
    }
    evaluated = Evaluated(template)
    for name in tagged:
        assert evaluated.resources[name]["Tags"] == [{"Key": "Environment", "Value": "dev"}]


def test_the_suffix_has_the_key_that_an_organization_asks_for() -> None:
    before = load(tags={"Team": "a"}, **PRESETS["production"])
    after = load(environment_tag="environment", tags={"Team": "a"}, **PRESETS["production"])
    changed = compare(before, after)
    # Nothing but tags and the record says so: nothing is replaced.
    assert {change.path[2:4] for change in changed} == {
        *(("Properties", "Tags"), ("Properties", "BackupPlanTags")),
        *(("Properties", "BackupVaultTags"), ("Metadata", "PaymentInfra")),
    }
    tags = [change for change in changed if change.path[2] == "Properties"]
    assert {change.path[4] for change in tags} == {"Environment", "environment"}
    evaluated = Evaluated(after).resources
    for name, resource in evaluated.items():
        if "Tags" in resource:
            tag, *_ = resource["Tags"]
            assert tag == {"Key": "environment", "Value": "dev"}, name
    assert evaluated["BackupPlan"]["BackupPlanTags"] == {"environment": "dev", "Team": "a"}


def test_the_users_tags_join_the_environment_everywhere() -> None:
    template = load(tags={"Team": "payments", "Cost": "7"})
    tags = [
        one["Properties"]["Tags"]
        for one in template["Resources"].values()
        if "Tags" in one["Properties"]
    ]
    assert len(tags) > 20
    for one in tags:
        assert {tag["Key"]: tag["Value"] for tag in one} == {
            "Environment": {"Ref": "EnvironmentSuffix"},
            "Team": "payments",
            "Cost": "7",
        }


@EVERY_PRESET
def test_a_sub_names_what_the_template_has_or_its_own_variables(template: Json) -> None:
    known = {*template["Parameters"], *PSEUDO_PARAMETERS, *template["Resources"]}
    for _, value in walk(template):
        if isinstance(value, dict) and "Fn::Sub" in value:
            sub = value["Fn::Sub"]
            text, variables = (sub, {}) if isinstance(sub, str) else sub
            names = {name.partition(".")[0] for name in re.findall(r"\$\{([^}]+)\}", text)}
            assert names <= known | set(variables)
            assert all(f"${{{name}}}" in text for name in variables)


@EVERY_PRESET
def test_every_parameter_and_condition_is_used(template: Json) -> None:
    body = json.dumps({key: template[key] for key in ("Conditions", "Resources", "Outputs")})
    for name in template["Parameters"]:
        assert f'{{"Ref": "{name}"}}' in body or f"${{{name}}}" in body
    for name in template["Conditions"]:
        assert f'{{"Fn::If": ["{name}",' in body or f'"Condition": "{name}"' in body


PARAMETER_DEFAULTS = {
    "AlarmEmail": "",
    "ThrottleRateLimit": 1000,
    "ThrottleBurstLimit": 2000,
    "LogRetentionDays": 7,
    "TransactionsTableOverride": "",
    "ManageApiGatewayAccount": "true",
}


def test_the_parameters_are_the_designs_with_their_defaults() -> None:
    parameters = DEVELOPMENT["Parameters"]
    assert set(parameters) == {"EnvironmentSuffix", "ArtifactBucket", *PARAMETER_DEFAULTS}
    defaults = {name: one["Default"] for name, one in parameters.items() if "Default" in one}
    assert defaults == PARAMETER_DEFAULTS


@pytest.mark.parametrize("name", DEVELOPMENT["Parameters"])
def test_a_parameter_is_described_constrained_and_in_one_group_of_the_console(name: str) -> None:
    one = DEVELOPMENT["Parameters"][name]
    assert one["Description"].endswith(".")
    assert {"AllowedPattern", "AllowedValues", "MinValue"} & set(one)
    assert "AllowedPattern" not in one or one["ConstraintDescription"]
    interface = DEVELOPMENT["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    groups = Counter(parameter for group in interface for parameter in group["Parameters"])
    assert groups[name] == 1
    assert set(groups) == set(DEVELOPMENT["Parameters"])


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("EnvironmentSuffix", ["dev", "dev-001", "0"], ["", "Dev", "dev-", "-dev", "a--b", "a_b"]),
        ("ArtifactBucket", ["abc", "a.b-c", "a" * 63], ["", "ab", "A" * 5, "-abc", "a" * 64]),
        (
            "AlarmEmail",
            ["", "a@b.c", "first.last+tag@example.co.uk"],
            ["a", "a@b", "a @b.c", "@b.c"],
        ),
        ("TransactionsTableOverride", ["", "abc", "Restored_1.a-b"], ["ab", "a b c", "a" * 256]),
    ],
)
def test_a_pattern_takes_what_is_right_and_refuses_what_is_not(
    name: str, taken: list[str], refused: list[str]
) -> None:
    pattern = re.compile(DEVELOPMENT["Parameters"][name]["AllowedPattern"])
    assert all(pattern.fullmatch(value) for value in taken)
    assert not any(pattern.fullmatch(value) for value in refused)


def test_a_parameter_of_fixed_choices_offers_them() -> None:
    parameters = DEVELOPMENT["Parameters"]
    assert parameters["EnvironmentSuffix"]["MaxLength"] == 30
    assert parameters["LogRetentionDays"]["AllowedValues"] == list(RETENTION_DAYS)
    assert parameters["ManageApiGatewayAccount"]["AllowedValues"] == ["true", "false"]
    for name in ("ThrottleRateLimit", "ThrottleBurstLimit"):
        assert (parameters[name]["Type"], parameters[name]["MinValue"]) == ("Number", 1)


def test_the_days_of_retention_are_those_that_cloudformation_knows() -> None:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", "AWS::Logs::LogGroup").schema
    assert list(RETENTION_DAYS) == sorted(schema["properties"]["RetentionInDays"]["enum"])


def test_what_differs_between_deployments_becomes_a_default_and_changes_nothing_else() -> None:
    changed = load(
        suffix="dev-001",
        bucket="my-zips",
        alarm_email="ops@example.com",
        throttle_rate_limit=5,
        throttle_burst_limit=6,
        log_retention_days=30,
        manage_api_gateway_account=False,
    )
    defaults = {name: one["Default"] for name, one in changed["Parameters"].items()}
    assert defaults == {
        "EnvironmentSuffix": "dev-001",
        "ArtifactBucket": "my-zips",
        "AlarmEmail": "ops@example.com",
        "ThrottleRateLimit": 5,
        "ThrottleBurstLimit": 6,
        "LogRetentionDays": 30,
        "TransactionsTableOverride": "",
        "ManageApiGatewayAccount": "false",
    }
    assert {key: value for key, value in changed.items() if key != "Parameters"} == {
        key: value for key, value in DEVELOPMENT.items() if key != "Parameters"
    }


def test_every_function_runs_the_zip_of_its_entry_module() -> None:
    functions = of_type(DEVELOPMENT, "AWS::Lambda::Function")
    keys = {
        one["Properties"]["Handler"].removesuffix(".handler"): one["Properties"]["Code"]["S3Key"]
        for one in functions.values()
    }
    apart = {LAYER, GATEWAY_EVENTS}
    assert keys == {name: key for name, key in code_keys().items() if name not in apart}
    assert len(functions) == len(keys)


def test_the_artifact_bucket_is_encrypted_versioned_private_and_kept() -> None:
    bucket = BOOTSTRAP["Resources"]["ArtifactBucket"]
    properties = bucket["Properties"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert "BucketName" not in properties
    rule = only(properties["BucketEncryption"]["ServerSideEncryptionConfiguration"])
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    life = only(properties["LifecycleConfiguration"]["Rules"])
    assert life["Status"] == "Enabled"
    # Only old versions expire: a stack may still need what is current.
    assert life["NoncurrentVersionExpiration"]["NoncurrentDays"] > 0
    assert not [key for key in life if key.startswith("Expiration")]


def test_the_artifact_bucket_refuses_plain_http_for_itself_and_its_objects() -> None:
    policy = BOOTSTRAP["Resources"]["ArtifactBucketPolicy"]
    statement = only(policy["Properties"]["PolicyDocument"]["Statement"])
    arn = {"Fn::GetAtt": ["ArtifactBucket", "Arn"]}
    assert policy["Properties"]["Bucket"] == {"Ref": "ArtifactBucket"}
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Action"] == ["s3:*"]
    assert statement["Resource"] == [arn, {"Fn::Join": ["/", [arn, "*"]]}]
    [(condition, values)] = statement["Condition"].items()
    assert condition == "Bool"
    assert str(values["aws:SecureTransport"]).lower() == "false"
    assert BOOTSTRAP["Outputs"] == {
        "ArtifactBucketName": {
            "Description": "Artifact bucket",
            "Value": {"Ref": "ArtifactBucket"},
        }
    }


def test_a_config_without_a_name_for_it_has_no_default_suffix_and_bucket() -> None:
    assert StackConfig().suffix == StackConfig().bucket == ""
    for name in ("EnvironmentSuffix", "ArtifactBucket"):
        assert "Default" not in DEVELOPMENT["Parameters"][name]
