"""A key of one's own on the embedded AWS: it comes to a stack with payments, and goes along.

The emulator's own services do not ask AWS KMS for what they encrypt; whom the key's policy lets
use it is shown in tests/unit/test_encryption.py, and here as far as calls of AWS KMS itself go.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from payment_infra.cloud.deploying import completing
from payment_infra.cloud.deploying.release import UploadedObject, encrypting
from payment_infra.cloud.stacks.failure import DeploymentFailed
from tests.e2e.harness import PAYMENT, Deployed, Program, until

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.release import Release
    from payment_infra.local.emulator import Emulator
    from tests.e2e.conftest import Deploy

SUFFIX = "key-1"
OWN = f"transactions-{SUFFIX}"
RESTORE = ("restore", "--yes", "--drain", "0", "--to", "latest")
UNAVAILABLE = {**PAYMENT, "customer_id": "sim-unavailable"}


@pytest.fixture(scope="module")
def validated(aws: Emulator, deploy: Deploy) -> str:
    """The id of a payment of the time before there was a key."""
    deployed = deploy(aws, SUFFIX, authorization="none")
    answer = deployed.api().call("POST", "validate", PAYMENT)
    return str(answer.field("transaction_id"))


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy, validated: str) -> Deployed:
    """The same stack with a key."""
    deployed = deploy(aws, SUFFIX, authorization="none", customer_key=True)
    # The emulator takes this from no template.
    deployed.session.client("dynamodb").update_continuous_backups(
        TableName=OWN, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    return deployed


@pytest.fixture
def program(aws: Emulator, deployed: Deployed, tmp_path: Path) -> Program:
    return Program(aws.url, tmp_path, ("--suffix", SUFFIX))


def key_of(deployed: Deployed) -> str:
    found = deployed.session.client("kms").describe_key(KeyId=f"alias/payment-infra-{SUFFIX}")
    return str(found["KeyMetadata"]["Arn"])


def dead(program: Program) -> Any:
    return program.json("failed", "list")["dead_letters"]


def encryption(deployed: Deployed, table: str) -> Any:
    return (
        deployed.session.client("dynamodb")
        .describe_table(TableName=table)["Table"]
        .get("SSEDescription", {})
    )


def test_a_key_comes_to_a_stack_with_payments_and_replaces_nothing(
    deployed: Deployed, validated: str
) -> None:
    client, ids, arn = deployed.session.client, deployed.stack.physical_ids(), key_of(deployed)
    assert encryption(deployed, OWN)["KMSMasterKeyArn"] == arn
    for queue in ("FailedTransactionsQueue", "FailedTransactionsDLQ"):
        attributes = client("sqs").get_queue_attributes(QueueUrl=ids[queue], AttributeNames=["All"])
        assert attributes["Attributes"]["KmsMasterKeyId"] == arn
    answer = deployed.api().call("POST", "process", {"transaction_id": validated})
    assert answer.field("status") == "processed"


def test_an_update_that_encrypts_and_fails_leaves_the_key_and_every_payment_readable(
    aws: Emulator, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed = deploy(aws, "keys-3", authorization="none")
    answer = deployed.api().call("POST", "validate", PAYMENT)
    payment, client = answer.field("transaction_id"), deployed.session.client
    dead_letters = deployed.stack.physical_ids()["FailedTransactionsDLQ"]
    client("sqs").send_message(QueueUrl=dead_letters, MessageBody="before")

    monkeypatch.setattr(completing, "encrypting", broken)
    with pytest.raises(DeploymentFailed, match=r"ROLLBACK_COMPLETE: .*the update before stands"):
        deploy(aws, "keys-3", authorization="none", customer_key=True)
    key = deployed.stack.physical_ids()["EncryptionKey"]
    assert client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
    roles = [name for name in deployed.stack.physical_ids() if name.endswith("Policy")]
    assert {"ValidationPolicy", "ProcessingPolicy", "RetryPolicy"} <= set(roles)
    told = deployed.api().call("POST", "process", {"transaction_id": payment})
    assert told.field("status") == "processed"
    received = client("sqs").receive_message(QueueUrl=dead_letters, VisibilityTimeout=0)
    assert [message["Body"] for message in received["Messages"]] == ["before"]

    monkeypatch.undo()
    deploy(aws, "keys-3", authorization="none", customer_key=True)
    assert deployed.stack.physical_ids()["EncryptionKey"] == key
    arn = client("kms").describe_key(KeyId=key)["KeyMetadata"]["Arn"]
    assert encryption(deployed, "transactions-keys-3")["KMSMasterKeyArn"] == arn
    again = deployed.api().call("POST", "process", {"transaction_id": payment})
    assert again.field("message") == "Transaction already processed"


def broken(first: Release) -> Release:
    """Put a template that encrypts and then fails into the place of that of the second update."""
    release = encrypting(first)
    resources = release.plan.template["Resources"]
    function = resources["ValidationFunction"]["Properties"]
    missing = ["arn:aws:lambda:us-east-1:000000000000:layer:none:1"]
    fails = {
        "Type": "AWS::Lambda::Function",
        "DependsOn": ["TransactionsTable", "FailedTransactionsQueue", "FailedTransactionsDLQ"],
        "Properties": {**function, "FunctionName": "broken-keys", "Layers": missing},
    }
    template = {**release.plan.template, "Resources": {**resources, "Broken": fails}}
    key = "payment-infra/template/broken-keys.json"
    release.bucket.put(key, json.dumps(template).encode, "application/json")
    return replace(release, template=UploadedObject(key, release.bucket.uri(key), True))


def test_a_failed_payment_is_retried_from_the_encrypted_queue_and_handed_back_or_deleted(
    deployed: Deployed, program: Program
) -> None:
    queue = deployed.stack.physical_ids()["FailedTransactionsDLQ"]
    answer = deployed.api().call("POST", "validate", PAYMENT)
    message = {
        **{"version": 1, "operation": "process"},
        **{"transaction_id": answer.field("transaction_id"), "request_id": "request-1"},
        **{"reason": "gateway_unavailable"},
        "first_failed_at": "2026-11-22T23:27:40.547000+00:00",
    }
    client = deployed.session.client("sqs")
    client.send_message(QueueUrl=queue, MessageBody=json.dumps(message))
    assert [one["transaction_id"] for one in dead(program)] == [message["transaction_id"]]
    handed = program("failed", "redrive", "--all", "--yes")
    assert handed.returncode == 0, handed.stderr

    def processed() -> bool:
        told = deployed.api().call("POST", "process", {"transaction_id": message["transaction_id"]})
        return bool(told.field("message") == "Transaction already processed")

    until(processed)
    client.send_message(QueueUrl=queue, MessageBody=json.dumps(message))
    deleted = program("failed", "purge", "--yes", "--export", "purged.jsonl")
    assert deleted.returncode == 0, deleted.stderr
    assert dead(program) == []


def test_a_copy_has_the_key_and_a_disabled_one_is_refused_while_payments_go_on(
    deployed: Deployed, program: Program
) -> None:
    kms, arn = deployed.session.client("kms"), key_of(deployed)
    kms.disable_key(KeyId=arn)
    try:
        refused = program(*RESTORE)
    finally:
        kms.enable_key(KeyId=arn)
    assert refused.returncode == 1
    assert f"key {arn} is Disabled" in refused.stderr
    assert f"aws kms enable-key --key-id {arn}" in refused.stderr
    assert deployed.stack.outputs()["TransactionsTableName"] == OWN
    assert deployed.api().call("POST", "validate", PAYMENT).status == 200

    restored = program(*RESTORE)
    assert restored.returncode == 0, restored.stderr
    copy = deployed.stack.outputs()["TransactionsTableName"]
    assert copy != OWN
    assert encryption(deployed, copy)["KMSMasterKeyArn"] == arn
    undone = program("restore", "--undo", "--yes", "--drain", "0")
    assert undone.returncode == 0, undone.stderr


def test_the_keys_policy_lets_nobody_use_the_key_directly(
    enforcing_aws: Emulator, deploy: Deploy
) -> None:
    """Enforced by the emulator: of all policies of AWS KMS it asks those for direct calls."""
    deployed = deploy(enforcing_aws, "key-2", customer_key=True)
    iam, key_id = deployed.session.client("iam"), deployed.stack.physical_ids()["EncryptionKey"]
    iam.create_user(UserName="reader")
    everything = {"Effect": "Allow", "Action": ["kms:*"], "Resource": ["*"]}
    iam.put_user_policy(
        UserName="reader",
        PolicyName="all-of-kms",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
    )
    made = iam.create_access_key(UserName="reader")["AccessKey"]
    kms = boto3.client(
        "kms",
        endpoint_url=deployed.session.endpoint_url,
        region_name=deployed.session.region,
        aws_access_key_id=made["AccessKeyId"],
        aws_secret_access_key=made["SecretAccessKey"],
    )
    assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"] == "Enabled"
    with pytest.raises(ClientError, match="AccessDenied"):
        kms.encrypt(KeyId=key_id, Plaintext=b"a secret")
    with pytest.raises(ClientError, match="AccessDenied"):
        kms.generate_data_key(KeyId=key_id, KeySpec="AES_256")
