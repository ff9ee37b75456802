"""What is encrypted by whose key, who may use that, and what takes nothing without TLS."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from payment_infra.config import PRESETS
from tests.unit.template import (
    PSEUDO_PARAMETERS,
    Evaluated,
    load,
    load_before_encryption,
    of_type,
)

EVERY_PRESET = pytest.mark.parametrize("preset", PRESETS)


def evaluated(preset: str) -> Evaluated:
    return Evaluated(load(**PRESETS[preset]))


def denied_without_tls(action: str, resource: str) -> dict[str, Any]:
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": [action],
        "Resource": [resource],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


@EVERY_PRESET
def test_every_queue_refuses_all_requests_without_tls_and_allows_nothing_by_that(
    preset: str,
) -> None:
    template = load(**PRESETS[preset])
    policy = Evaluated(template).resources["QueuesPolicy"]
    queues = of_type(template, "AWS::SQS::Queue")
    assert {"FailedTransactionsQueue", "FailedTransactionsDLQ"} <= queues.keys()
    assert policy["Queues"] == [f"<{queue}>" for queue in queues]
    assert policy["PolicyDocument"]["Statement"] == [denied_without_tls("sqs:*", "*")]


@EVERY_PRESET
def test_the_topic_refuses_to_publish_without_tls_and_admits_alarms_as_before(preset: str) -> None:
    policy = evaluated(preset).resources["AlarmTopicPolicy"]
    alarms, without_tls = policy["PolicyDocument"]["Statement"]
    assert without_tls == denied_without_tls("sns:Publish", "<AlarmTopic>")
    assert (alarms["Effect"], alarms["Principal"]) == (
        "Allow",
        {"Service": "cloudwatch.amazonaws.com"},
    )


@EVERY_PRESET
def test_the_dead_letter_queue_takes_messages_of_the_failed_queue_alone(preset: str) -> None:
    resources = evaluated(preset).resources
    name = resources["FailedTransactionsQueue"]["QueueName"]
    assert resources["FailedTransactionsDLQ"]["RedriveAllowPolicy"] == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [f"arn:aws:sqs:eu-central-1:123456789012:{name}"],
    }


class Key:
    """Whom the key's own policy lets do what with it (IAM, "Policy evaluation logic").

    A statement that names the account lets nobody in by itself: the caller's own policy has to
    allow the same.
    """

    def __init__(self, resources: dict[str, Any]) -> None:
        self._statements = resources["EncryptionKey"]["KeyPolicy"]["Statement"]
        self.principals = {
            (kind, name)
            for statement in self._statements
            for kind, name in statement["Principal"].items()
        }

    def allows(self, principal: tuple[str, str], action: str, **context: object) -> bool:
        """Whether a principal may, in a context whose keys have _ for -, and __ for the colon."""
        given = {name.replace("__", ":"): value for name, value in context.items()}
        return any(
            statement["Effect"] == "Allow"
            and tuple(*statement["Principal"].items()) == principal
            and action in statement["Action"]
            and matches(statement.get("Condition", {}), given)
            for statement in self._statements
        )


def matches(condition: dict[str, Any], given: dict[str, object]) -> bool:
    return all(
        name in given and any(COMPARE[operator](given[name], one) for one in as_list(wanted))
        for operator, keys in condition.items()
        for name, wanted in keys.items()
    )


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "StringEquals": lambda given, wanted: given == wanted,
    "Bool": lambda given, wanted: str(given).lower() == wanted,
    "ArnLike": fnmatchcase,
}
ENCRYPTED = Evaluated(load(customer_key=True, retain_data=True))
KEY = Key(ENCRYPTED.resources)
ACCOUNT = ("AWS", f"arn:aws:iam::{PSEUDO_PARAMETERS['AWS::AccountId']}:root")
CLOUDWATCH = ("Service", "cloudwatch.amazonaws.com")
LOGS = ("Service", "logs.eu-central-1.amazonaws.com")
ALARM = {
    "aws__SourceAccount": "123456789012",
    "aws__SourceArn": "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:stuck-payments-dev",
}
# What a service does with a key for data.
DATA = (
    *("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"),
    *("kms:ReEncryptFrom", "kms:ReEncryptTo"),
)
EVERY_DATA_ACTION = pytest.mark.parametrize("action", DATA)


def via(service: str, account: str = "123456789012") -> dict[str, str]:
    return {
        "kms__CallerAccount": account,
        "kms__ViaService": f"{service}.eu-central-1.amazonaws.com",
    }


def test_the_key_knows_the_account_and_two_services_and_never_a_role() -> None:
    assert KEY.principals == {ACCOUNT, CLOUDWATCH, LOGS}


@pytest.mark.parametrize("action", ["kms:GenerateDataKey", "kms:Decrypt"])
def test_an_alarm_of_this_account_can_publish_to_the_encrypted_topic(action: str) -> None:
    assert ENCRYPTED.resources["AlarmTopic"]["KmsMasterKeyId"] == "<EncryptionKey.Arn>"
    assert KEY.allows(CLOUDWATCH, action, **ALARM)


@pytest.mark.parametrize(
    "changed",
    [
        {"aws__SourceAccount": "210987654321"},
        {"aws__SourceArn": "arn:aws:cloudwatch:eu-central-1:210987654321:alarm:stuck-payments-dev"},
        {"aws__SourceArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:stuck-payments-dev"},
        {"aws__SourceArn": "arn:aws:events:eu-central-1:123456789012:rule/every-minute"},
    ],
)
def test_what_is_no_alarm_of_this_account_and_region_cannot_use_the_key(
    changed: dict[str, str],
) -> None:
    assert not KEY.allows(CLOUDWATCH, "kms:GenerateDataKey", **ALARM | changed)


@pytest.mark.parametrize("missing", ALARM)
def test_an_alarm_that_does_not_say_whose_it_is_cannot_use_the_key(missing: str) -> None:
    said = {name: value for name, value in ALARM.items() if name != missing}
    assert not KEY.allows(CLOUDWATCH, "kms:GenerateDataKey", **said)


LOG_GROUPS = {
    name: group
    for name, group in ENCRYPTED.resources.items()
    if "LogGroupName" in group and "RetentionInDays" in group
}


def context_of(log_group: str, account: str = "123456789012") -> dict[str, str]:
    arn = f"arn:aws:logs:eu-central-1:{account}:log-group:{log_group}"
    return {"kms__EncryptionContext__aws__logs__arn": arn}


@pytest.mark.parametrize("name", LOG_GROUPS)
def test_the_logs_of_the_stack_are_encrypted_with_the_key_and_cloudwatch_logs_may_use_it_for_them(
    name: str,
) -> None:
    assert LOG_GROUPS[name]["KmsKeyId"] == "<EncryptionKey.Arn>"
    context = context_of(LOG_GROUPS[name]["LogGroupName"])
    assert all(KEY.allows(LOGS, action, **context) for action in (*DATA, "kms:DescribeKey"))


@EVERY_DATA_ACTION
def test_cloudwatch_logs_cannot_use_the_key_for_logs_that_are_not_of_the_stack(
    action: str,
) -> None:
    own = "/aws/lambda/payment-validation-dev"
    assert not KEY.allows(LOGS, action, **context_of("/aws/lambda/payment-validation-other-dev"))
    assert not KEY.allows(LOGS, action, **context_of(own, account="210987654321"))
    assert not KEY.allows(LOGS, action)


@EVERY_DATA_ACTION
@pytest.mark.parametrize("service", ["dynamodb", "sqs", "sns", "lambda"])
def test_the_account_can_let_its_principals_use_the_key_through_the_services_that_store(
    service: str, action: str
) -> None:
    assert KEY.allows(ACCOUNT, action, **via(service))
    assert not KEY.allows(ACCOUNT, action, **via(service, account="210987654321"))


@EVERY_DATA_ACTION
def test_nobody_uses_the_key_by_itself_or_through_another_service(action: str) -> None:
    assert not KEY.allows(ACCOUNT, action, kms__CallerAccount="123456789012")
    assert not KEY.allows(ACCOUNT, action, **via("s3"))


def test_a_grant_on_the_key_is_for_a_service_that_keeps_using_it() -> None:
    action, for_aws = "kms:CreateGrant", {"kms__GrantIsForAWSResource": True}
    for service in ("dynamodb", "lambda"):
        assert KEY.allows(ACCOUNT, action, **via(service), **for_aws)
        assert not KEY.allows(ACCOUNT, action, **via(service))
    assert not KEY.allows(ACCOUNT, action, kms__CallerAccount="123456789012", **for_aws)


@pytest.mark.parametrize(
    "action",
    [
        *("PutKeyPolicy", "GetKeyPolicy", "DescribeKey", "EnableKey", "DisableKey", "UpdateAlias"),
        *("ScheduleKeyDeletion", "CancelKeyDeletion", "EnableKeyRotation", "RevokeGrant"),
        *("ListGrants", "TagResource", "CreateAlias", "DeleteAlias", "GetKeyRotationStatus"),
    ],
)
def test_the_accounts_administrators_always_can_manage_the_key(action: str) -> None:
    assert KEY.allows(ACCOUNT, f"kms:{action}")


def test_the_key_is_rotated_and_its_deletion_can_be_cancelled_for_thirty_days() -> None:
    key = ENCRYPTED.resources["EncryptionKey"]
    assert (key["EnableKeyRotation"], key["PendingWindowInDays"]) == (True, 30)
    assert ENCRYPTED.resources["EncryptionKeyAlias"] == {
        "AliasName": "alias/payment-infra-dev",
        "TargetKeyId": "<EncryptionKey>",
    }


def test_the_key_encrypts_table_queues_and_the_variables_of_every_function() -> None:
    resources, arn = ENCRYPTED.resources, "<EncryptionKey.Arn>"
    assert resources["TransactionsTable"]["SSESpecification"] == {
        "SSEEnabled": True,
        "SSEType": "KMS",
        "KMSMasterKeyId": arn,
    }
    for queue in ("FailedTransactionsQueue", "FailedTransactionsDLQ"):
        assert resources[queue]["KmsMasterKeyId"] == arn
        # SQS takes one kind of encryption, and a reuse of 60 s to a day.
        assert "SqsManagedSseEnabled" not in resources[queue]
        assert resources[queue]["KmsDataKeyReusePeriodSeconds"] == 3600
    functions = [one for one in resources.values() if "FunctionName" in one and "Handler" in one]
    assert len(functions) == 6
    assert {function["KmsKeyArn"] for function in functions} == {arn}


def test_without_the_setting_there_is_no_key_and_queues_have_those_of_sqs() -> None:
    template = load(retain_data=True)
    assert "kms" not in json.dumps(template).lower()
    for queue in ("FailedTransactionsQueue", "FailedTransactionsDLQ"):
        assert template["Resources"][queue]["Properties"]["SqsManagedSseEnabled"] is True


EVERYTHING = ("kms:DescribeKey", *DATA)
SEND = ("kms:Decrypt", "kms:GenerateDataKey")
# Function to what its role may do with the key, by the service that it does that through.
ROLES = {
    "Validation": {"dynamodb": EVERYTHING, "sqs": SEND, "lambda": ("kms:Decrypt",)},
    "Processing": {"dynamodb": EVERYTHING, "sqs": SEND, "lambda": ("kms:Decrypt",)},
    "Lookup": {"dynamodb": EVERYTHING, "lambda": ("kms:Decrypt",)},
    "Cancellation": {"dynamodb": EVERYTHING, "lambda": ("kms:Decrypt",)},
    "Retry": {"dynamodb": EVERYTHING, "sqs": ("kms:Decrypt",), "lambda": ("kms:Decrypt",)},
    "HealthMonitor": {
        "dynamodb": EVERYTHING,
        "sqs": SEND,
        "sns": SEND,
        "lambda": ("kms:Decrypt",),
    },
}


@pytest.mark.parametrize("function", ROLES)
def test_a_role_is_granted_the_key_for_what_its_function_does_and_through_that_service_only(
    function: str,
) -> None:
    document = ENCRYPTED.resources[f"{function}Policy"]["PolicyDocument"]
    found = {}
    for statement in document["Statement"]:
        if any(action.startswith("kms:") for action in statement["Action"]):
            assert statement["Resource"] == ["<EncryptionKey.Arn>"]
            assert statement["Condition"].keys() == {"StringEquals"}
            [(name, service)] = statement["Condition"]["StringEquals"].items()
            assert name == "kms:ViaService"
            found[service.removesuffix(".eu-central-1.amazonaws.com")] = statement["Action"]
            # The key's own policy lets the account grant that.
            assert all(
                KEY.allows(ACCOUNT, one, kms__CallerAccount="123456789012", kms__ViaService=service)
                for one in statement["Action"]
            )
    assert {service: sorted(actions) for service, actions in found.items()} == {
        service: sorted(actions) for service, actions in ROLES[function].items()
    }


def test_those_who_take_payments_have_the_key_before_table_and_queue_are_encrypted_with_it() -> (
    None
):
    template = load(customer_key=True)
    paying = [
        *("ValidationPolicy", "ProcessingPolicy", "LookupPolicy"),
        *("CancellationPolicy", "RetryPolicy"),
    ]
    for waiting in ("TransactionsTable", "FailedTransactionsQueue"):
        assert template["Resources"][waiting]["DependsOn"] == paying
    for policy in paying:
        named = json.dumps(template["Resources"][policy])
        assert 'TransactionsTable"' not in named
        assert "FailedTransactionsQueue" not in named


def test_the_key_comes_to_a_stack_without_replacing_anything() -> None:
    """No property that changes is one that CloudFormation replaces a resource for."""
    before, after = load()["Resources"], load(customer_key=True)["Resources"]
    assert after.keys() - before.keys() == {"EncryptionKey", "EncryptionKeyAlias"}
    assert not before.keys() - after.keys()
    for name, resource in before.items():
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource["Type"]).schema
        fixed = {path.split("/")[2] for path in schema.get("createOnlyProperties", [])}
        old, new = resource["Properties"], after[name]["Properties"]
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        assert not changed & fixed, name


# The two updates that bring the key to a stack.

# What encrypts, by type.
ENCRYPTING = {
    "AWS::DynamoDB::Table": {"SSESpecification"},
    "AWS::SQS::Queue": {"KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"},
    "AWS::SNS::Topic": {"KmsMasterKeyId"},
    "AWS::Logs::LogGroup": {"KmsKeyId"},
    "AWS::Lambda::Function": {"KmsKeyArn"},
}
EVERYTHING_WITH_A_KEY = pytest.mark.parametrize(
    "fields", [{"customer_key": True}, PRESETS["production"]], ids=["the key alone", "production"]
)


def renamed(template: Any) -> Any:
    """Return a template whose versions have the same logical ids whatever they publish."""
    return json.loads(re.sub(r"(\w+Version)[0-9a-f]{12}", r"\1", json.dumps(template)))


@EVERYTHING_WITH_A_KEY
def test_before_it_encrypts_the_key_is_there_with_its_alias_and_all_who_may_use_it(
    fields: dict[str, Any],
) -> None:
    staged, full = load_before_encryption(**fields)["Resources"], load(**fields)["Resources"]
    granting = [
        name
        for name, resource in full.items()
        if resource["Type"] == "AWS::IAM::ManagedPolicy" and '"kms:' in json.dumps(resource)
    ]
    assert len(granting) >= len(ROLES)
    for name in ("EncryptionKey", "EncryptionKeyAlias", *granting):
        assert staged[name] == full[name]


@EVERYTHING_WITH_A_KEY
def test_before_it_encrypts_nothing_refers_to_the_key_but_who_may_use_it_and_a_new_vault(
    fields: dict[str, Any],
) -> None:
    referring = {
        resource["Type"]
        for resource in load_before_encryption(**fields)["Resources"].values()
        if '"EncryptionKey"' in json.dumps(resource)
    }
    assert "AWS::IAM::ManagedPolicy" in referring
    others = {"AWS::KMS::Alias", "AWS::IAM::ManagedPolicy", "AWS::Backup::BackupVault"}
    assert referring <= others


@EVERYTHING_WITH_A_KEY
def test_what_the_second_update_changes_is_what_the_key_encrypts_and_replaces_nothing(
    fields: dict[str, Any],
) -> None:
    staged, full = renamed(load_before_encryption(**fields)), renamed(load(**fields))
    old, new = staged.pop("Resources"), full.pop("Resources")
    assert staged == full
    assert old.keys() == new.keys()
    changed = set()
    for name, before in old.items():
        after, kind = new[name], before["Type"]
        names = before["Properties"].keys() | after["Properties"].keys()
        differ = {
            key for key in names if before["Properties"].get(key) != after["Properties"].get(key)
        }
        assert differ <= ENCRYPTING.get(kind, set()), name
        assert {**before, "Properties": 0} == {**after, "Properties": 0}
        changed |= {kind} if differ else set()
    assert changed == ENCRYPTING.keys()


def test_a_version_is_published_of_what_the_key_encrypts() -> None:
    production = PRESETS["production"]
    staged, full = (
        of_type(template, "AWS::Lambda::Version").keys()
        for template in (load_before_encryption(**production), load(**production))
    )
    assert len(staged) == len(full) > 0
    assert not staged & full


def test_without_a_key_there_is_nothing_to_wait_for() -> None:
    assert load_before_encryption() == load()


def test_no_log_group_is_of_the_class_that_extracts_no_metrics() -> None:
    for preset in PRESETS.values():
        for group in of_type(load(**preset), "AWS::Logs::LogGroup").values():
            assert group["Properties"].get("LogGroupClass", "STANDARD") == "STANDARD"


@pytest.mark.parametrize(
    ("region", "partition", "ending"),
    [
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
    ],
)
def test_the_key_knows_the_services_of_every_partition(
    region: str, partition: str, ending: str
) -> None:
    place = {"AWS::Region": region, "AWS::Partition": partition, "AWS::URLSuffix": ending}
    evaluated = Evaluated(load(customer_key=True), **place)
    key, account = Key(evaluated.resources), ("AWS", f"arn:{partition}:iam::123456789012:root")
    service = f"dynamodb.{region}.{ending}"
    context = {"kms__CallerAccount": "123456789012", "kms__ViaService": service}
    assert key.allows(account, "kms:Decrypt", **context)
    assert ("Service", f"logs.{region}.{ending}") in key.principals
