"""The committed template, deployed with the real AWS CLI and nothing of ours but the zips."""

import json
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from payment_infra.local.emulator import Emulator
from tests.e2e.harness import TEMPLATE, aws_variables, clean_environment, run


@pytest.fixture(scope="module")
def bucket(aws: Emulator, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bucket")
    made = run("aws", "s3", "mb", "s3://their-own-zips", cwd=folder, **aws_variables(aws.url))
    assert made.returncode == 0, made.stderr
    return "their-own-zips"


def test_the_committed_template_deploys_and_takes_payments(
    aws: Emulator, bucket: str, tmp_path: Path
) -> None:
    variables = aws_variables(aws.url)
    uploaded = run(
        "payment-infra",
        *("upload", "--suffix", "cli-1", "--bucket", bucket, "--endpoint-url", aws.url),
        cwd=tmp_path,
        **variables,
    )
    assert uploaded.returncode == 0, uploaded.stderr
    deployed = run(
        "aws",
        *("cloudformation", "deploy", "--template-file", TEMPLATE, "--stack-name", "plain-cli-1"),
        *("--capabilities", "CAPABILITY_IAM", "--parameter-overrides"),
        *("EnvironmentSuffix=cli-1", f"ArtifactBucket={bucket}", "LogRetentionDays=30"),
        cwd=tmp_path,
        **variables,
    )
    assert deployed.returncode == 0, deployed.stderr
    smoke = run(
        "payment-infra",
        *("smoke", "--suffix", "cli-1", "--stack-name", "plain-cli-1", "--output", "json"),
        *("--endpoint-url", aws.url),
        cwd=tmp_path,
        **variables,
    )
    assert smoke.returncode == 0, smoke.stderr
    checks = json.loads(smoke.stdout)
    assert [check["got"] for check in checks] == [
        "200 validated",
        "200 processed",
        "200 already processed",
        "200 processed",
        "409 already processed",
        "400 Invalid amount",
        "404 Transaction not found",
        "200 healthy",
    ]
    difference = run(
        "payment-infra",
        *("diff", "--suffix", "cli-1", "--stack-name", "plain-cli-1", "--fail"),
        *("--endpoint-url", aws.url),
        cwd=tmp_path,
        **variables,
    )
    assert (difference.returncode, difference.stdout) == (0, "There are no differences.\n")
    groups = run(
        "aws",
        *("logs", "describe-log-groups", "--log-group-name-prefix"),
        "/aws/lambda/payment-validation-cli-1",
        cwd=tmp_path,
        **variables,
    )
    assert json.loads(groups.stdout)["logGroups"][0]["retentionInDays"] == 30


@pytest.mark.parametrize(
    ("preset", "suffix", "through_bucket"),
    [("development", "cli-2", False), ("production", "cli-3", True)],
)
def test_the_command_that_upload_prints_deploys_what_was_uploaded(
    aws: Emulator, bucket: str, tmp_path: Path, preset: str, suffix: str, through_bucket: bool
) -> None:
    variables = aws_variables(aws.url)
    arguments = (
        *("upload", "--suffix", suffix, "--bucket", bucket, "--preset", preset),
        *("--endpoint-url", aws.url),
    )
    uploaded = run("payment-infra", *arguments, "--output", "json", cwd=tmp_path, **variables)
    printed = json.loads(uploaded.stdout)
    assert all(one["uri"].startswith(f"s3://{bucket}/") for one in printed["objects"])
    assert (f"--s3-bucket {bucket}" in printed["command"]) is through_bucket
    done = subprocess.run(
        ["sh", "-c", printed["command"]],
        cwd=tmp_path,
        env=clean_environment(tmp_path) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    outputs = run(
        "payment-infra",
        *("outputs", "--suffix", suffix, "--output", "json", "--endpoint-url", aws.url),
        cwd=tmp_path,
        **variables,
    )
    assert json.loads(outputs.stdout)["TransactionsTableName"] == f"transactions-{suffix}"
    again = run("payment-infra", *arguments, "--output", "json", cwd=tmp_path, **variables)
    assert not any(one["new"] for one in json.loads(again.stdout)["objects"])


def test_the_command_that_render_prints_deploys_a_template_too_large_for_a_request(
    aws: Emulator, bucket: str, tmp_path: Path
) -> None:
    variables = aws_variables(aws.url)
    tags = ("Team=Zürich", *(f"CostCenter{number}=payments-of-the-shop" for number in range(6)))
    named = ("--suffix", "cli-6", "--bucket", bucket, *(f"--tag={tag}" for tag in tags))
    uploaded = run(
        "payment-infra", "upload", *named, "--endpoint-url", aws.url, cwd=tmp_path, **variables
    )
    assert uploaded.returncode == 0, uploaded.stderr
    rendered = run("payment-infra", "render", *named, "-o", "t.yaml", cwd=tmp_path, **variables)
    _, command = rendered.stderr.splitlines()
    done = subprocess.run(
        ["sh", "-c", command.partition("does that: ")[2]],
        cwd=tmp_path,
        env=clean_environment(tmp_path) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    difference = run(
        "payment-infra",
        *("diff", *named, "--fail", "--endpoint-url", aws.url),
        cwd=tmp_path,
        **variables,
    )
    assert (difference.returncode, difference.stdout) == (0, "There are no differences.\n")


def test_the_command_that_upload_prints_brings_a_key_by_two_updates(
    aws: Emulator, bucket: str, tmp_path: Path
) -> None:
    variables = aws_variables(aws.url)
    named = ("--suffix", "cli-5", "--bucket", bucket, "--endpoint-url", aws.url)
    for setting in ((), ("--customer-key",)):
        uploaded = run(
            "payment-infra",
            *("upload", *named, *setting, "--output", "json"),
            cwd=tmp_path,
            **variables,
        )
        command = json.loads(uploaded.stdout)["command"]
        for step in command.split(" && "):
            # It names its change sets by the second, and here an update takes less.
            begun = int(time.time())
            while int(time.time()) == begun:
                time.sleep(0.01)
            done = subprocess.run(
                ["sh", "-c", step],
                cwd=tmp_path,
                env=clean_environment(tmp_path) | variables,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
    assert command.count("aws cloudformation deploy") == 2
    events = run(
        "aws",
        *("cloudformation", "describe-stack-events", "--stack-name", "payment-infra-cli-5"),
        cwd=tmp_path,
        **variables,
    )
    ended = [
        one["LogicalResourceId"]
        for one in reversed(json.loads(events.stdout)["StackEvents"])
        if one["ResourceStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
    ]
    assert ended.count("payment-infra-cli-5") == 3
    difference = run(
        "payment-infra",
        *("diff", *named, "--customer-key", "--fail"),
        cwd=tmp_path,
        **variables,
    )
    assert (difference.returncode, difference.stdout) == (0, "There are no differences.\n")


def test_the_production_template_goes_through_a_bucket(
    aws: Emulator, bucket: str, tmp_path: Path
) -> None:
    variables = aws_variables(aws.url)
    named = ("--preset", "production", "--suffix", "cli-4", "--bucket", bucket)
    endpoint = ("--endpoint-url", aws.url)
    template = tmp_path / "production.yaml"
    for arguments in (("render", "-o", str(template)), ("upload", *endpoint)):
        made = run("payment-infra", *arguments, *named, cwd=tmp_path, **variables)
        assert made.returncode == 0, made.stderr
    deploy = (
        *("cloudformation", "deploy", "--template-file", template),
        *("--stack-name", "plain-cli-4", "--capabilities", "CAPABILITY_IAM"),
    )
    refused = run("aws", *deploy, cwd=tmp_path, **variables)
    assert "must be deployed via an S3 Bucket" in refused.stderr
    deployed = run("aws", *deploy, "--s3-bucket", bucket, cwd=tmp_path, **variables)
    assert deployed.returncode == 0, deployed.stderr
    smoke = run(
        "payment-infra",
        *("smoke", "--suffix", "cli-4", "--stack-name", "plain-cli-4", *endpoint),
        cwd=tmp_path,
        **variables,
    )
    assert smoke.returncode == 0, smoke.stderr


def test_smoke_fails_when_the_api_is_gone(aws: Emulator, bucket: str, tmp_path: Path) -> None:
    result = run(
        "payment-infra",
        *shlex.split("smoke --suffix nowhere --endpoint-url"),
        aws.url,
        cwd=tmp_path,
        **aws_variables(aws.url),
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Error: there is no stack payment-infra-nowhere")
