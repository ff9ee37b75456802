"""Deleting an environment, and at last the artifact bucket, in an account of their own."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from payment_infra.local.emulator import Emulator, emulator
from payment_infra.names import OPERATIONS_TABLE
from tests.e2e.harness import PAYMENT, Program, aws_variables, run

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from tests.e2e.conftest import Deploy

PRODUCTION = {"preset": "production", "authorization": "none"}


@pytest.fixture
def account() -> Iterator[Emulator]:
    with emulator() as running:
        yield running


@pytest.fixture
def program(account: Emulator, tmp_path: Path) -> Program:
    return Program(account.url, tmp_path)


def tables(session: Session) -> list[str]:
    names: list[str] = session.client("dynamodb").list_tables()["TableNames"]
    return names


def test_payments_are_saved_and_the_last_stack_takes_the_bucket_with_it(
    account: Emulator, deploy: Deploy, program: Program
) -> None:
    deployed = deploy(account, "gone-1", authorization="none")
    session = deployed.session
    transaction_id = deployed.api().call("POST", "validate", PAYMENT).field("transaction_id")
    session.client("sqs").send_message(
        QueueUrl=deployed.stack.physical_ids()["FailedTransactionsDLQ"],
        MessageBody="{}",
        MessageAttributes={"raw": {"DataType": "Binary", "BinaryValue": b"\xff"}},
    )
    iam, caller = session.client("iam"), {"UserName": "checkout"}
    iam.create_user(**caller)
    policy = deployed.stack.outputs()["CallerPolicyArn"]
    iam.attach_user_policy(**caller, PolicyArn=policy)
    destroy = ("destroy", "--suffix", "gone-1", "--yes", "--drain", "0", "--export")
    (program.folder / "taken").write_text("")
    refused = program(*destroy, "taken")
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    assert "transactions-gone-1" in tables(session)
    left = program("bootstrap", "--destroy", "--yes")
    assert left.returncode == 1
    assert "holds the code of payment-infra-gone-1" in left.stderr

    log_groups = [one for one in deployed.stack.physical_ids().values() if "/aws/" in one]
    done = program(*destroy, "saved.jsonl", "--output", "json")
    assert done.returncode == 0, done.stderr
    assert "table transactions-gone-1, payments: about 1" in done.stderr
    assert "queue failed-transactions-dlq-gone-1, messages not handled yet: 1" in done.stderr
    lines = (program.folder / "saved.jsonl").read_text().splitlines()
    saved = [json.loads(line) for line in lines]
    assert [one["transaction_id"] for one in saved] == [transaction_id]
    [dead] = (program.folder / "saved.dead-letters.jsonl").read_text().splitlines()
    assert json.loads(dead)["body"] == "{}"
    assert json.loads(dead)["attributes"]["raw"]["BinaryValue"] == "/w=="
    assert (program.folder / "saved.queued.jsonl").read_text() == ""
    assert json.loads(done.stdout)["saved"] == {
        "saved.jsonl": 1,
        "saved.queued.jsonl": 0,
        "saved.dead-letters.jsonl": 1,
    }
    assert tables(session) == [OPERATIONS_TABLE]
    assert "    user checkout\n" in done.stderr
    assert iam.list_attached_user_policies(**caller)["AttachedPolicies"] == []
    groups = session.client("logs").describe_log_groups()["logGroups"]
    assert not {one["logGroupName"] for one in groups} & set(log_groups)
    remains = {one["resource_type"]: one for one in json.loads(done.stdout)["remains"]}
    assert remains.keys() == {
        *("AWS::IAM::Role", "AWS::ApiGateway::Account", "AWS::S3::Bucket"),
        "AWS::DynamoDB::Table",
    }
    assert remains["AWS::DynamoDB::Table"]["name"] == OPERATIONS_TABLE

    bucket, client = remains["AWS::S3::Bucket"]["name"], session.client("s3")
    for number in range(1010):
        client.put_object(Bucket=bucket, Key=f"more/{number}", Body=b"x")
    client.delete_object(Bucket=bucket, Key="more/0")  # leaves a marker, and a version
    assert program("bootstrap", "--destroy").returncode == 2
    command = shlex.split(remains["AWS::S3::Bucket"]["command"])
    removed = program(*command[1:], "--yes")
    assert removed.returncode == 0, removed.stderr
    found = re.search(r"(\d+) versions of objects", removed.stderr)
    assert found is not None
    assert int(found[1]) > 1011
    assert client.list_buckets()["Buckets"] == []
    stacks = session.client("cloudformation").describe_stacks()["Stacks"]
    assert [one for one in stacks if one["StackStatus"] != "DELETE_COMPLETE"] == []
    assert program("bootstrap", "--destroy", "--yes").returncode == 0


def test_a_production_stack_says_what_lifts_its_protection_and_keeps_its_payments(
    account: Emulator, deploy: Deploy, program: Program
) -> None:
    deployed = deploy(account, "kept-1", **PRODUCTION)
    session = deployed.session
    session.client("dynamodb").update_table(
        TableName="transactions-kept-1", DeletionProtectionEnabled=True
    )
    destroy = ("destroy", "--suffix", "kept-1", "--yes")
    refused = program(*destroy)
    assert refused.returncode == 1
    told = refused.stderr.splitlines()[-1]
    assert "has termination protection and deletion protection" in told
    [command] = re.findall(r"`payment-infra ([^`]*)`", told)
    lifted = program(*shlex.split(command), "--yes")
    assert lifted.returncode == 0, lifted.stderr
    # The emulator does not pass this change of a template on.
    session.client("dynamodb").update_table(
        TableName="transactions-kept-1", DeletionProtectionEnabled=False
    )
    done = program(*destroy)
    assert done.returncode == 0, done.stderr
    assert "transactions-kept-1" in tables(session)
    for text in (
        "AWS::DynamoDB::Table transactions-kept-1",
        "the stack was deployed to retain its data",
        "aws dynamodb delete-table --table-name transactions-kept-1 --region us-east-1",
        "what is kept, and every backup, can be read only with it",
        "aws kms schedule-key-deletion --key-id ",
        "aws kms delete-alias --alias-name alias/payment-infra-kept-1 --region us-east-1",
    ):
        assert text in done.stderr
    commands = re.findall(r"^    (aws (?:dynamodb|sqs|logs) .*)$", done.stderr, re.MULTILINE)
    assert len(commands) > 3
    for one in " && ".join(commands).split(" && "):
        program_name, *arguments = shlex.split(one)
        variables = aws_variables(program.url)
        del variables["AWS_ENDPOINT_URL"]  # the command says it
        result = run(program_name, *arguments, cwd=program.folder, **variables)
        assert result.returncode == 0, result.stderr
    assert tables(session) == []
