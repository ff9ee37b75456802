"""`payment-infra deploy` and what it leaves: create, no change, update, destroy."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from payment_infra.cloud.deploying.bootstrap import bootstrap
from payment_infra.cloud.environment.smoke import Answer
from payment_infra.cloud.events import Caution, Event
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.local.emulator import Emulator
from payment_infra.local.stack import open_session
from tests.e2e.conftest import Deploy
from tests.e2e.harness import PAYMENT, aws_variables, checkout, command, run

REQUESTS = 50
WARM_UP_SECONDS = 120.0


def code_of(aws: Emulator, suffix: str) -> dict[str, str]:
    """Return function name to the digest of its code."""
    pages = open_session(aws).client("lambda").get_paginator("list_functions").paginate()
    return {
        function["FunctionName"]: function["CodeSha256"]
        for page in pages
        for function in page["Functions"]
        if function["FunctionName"].endswith(suffix)
    }


def test_deploy_creates_updates_only_what_changed_and_destroys(
    aws: Emulator, tmp_path: Path
) -> None:
    folder = checkout(tmp_path)
    deploy = ("deploy", "--suffix", "dep-1", "--yes", "--output", "json")
    status, out, err = command(aws, folder, *deploy)
    assert status == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert [one["type"] for one in lines if one["type"] != "event"] == [
        *("change_set", "outputs", "result")
    ]
    assert lines[-2]["outputs"]["TransactionsTableName"] == "transactions-dep-1"
    before = code_of(aws, "-dep-1")
    assert len(before) == 6

    status, out, err = command(aws, folder, *deploy)
    outputs, result = (json.loads(line) for line in out.splitlines())
    assert outputs["outputs"]["DashboardName"] == "payment-dashboard-dep-1"
    assert (status, result["changed"]) == (0, False)

    with (folder / "handlers" / "validation.py").open("a") as file:
        file.write("\n# changed\n")
    status, out, err = command(aws, folder, *deploy)
    assert status == 0, err
    after = code_of(aws, "-dep-1")
    assert {name for name in after if after[name] != before[name]} == {"payment-validation-dep-1"}

    status, out, err = command(aws, folder, "destroy", "--suffix", "dep-1", "--yes")
    assert status == 0, err
    assert code_of(aws, "-dep-1") == {}
    status, out, err = command(aws, folder, "outputs", "--suffix", "dep-1")
    assert (status, out) == (1, "")
    assert "there is no stack payment-infra-dep-1" in err


def test_an_update_keeps_the_parameters_that_were_not_given(aws: Emulator, tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    deploy = ("deploy", "--suffix", "dep-2", "--yes")
    first = command(aws, folder, *deploy, "--log-retention-days", "30", "--no-color")
    assert first[0] == 0, first[2]
    second = command(aws, folder, *deploy, "--throttle-rate-limit", "50")
    assert second[0] == 0, second[2]
    client = open_session(aws).client("cloudformation")
    stack = client.describe_stacks(StackName="payment-infra-dep-2")["Stacks"][0]
    values = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    assert values["LogRetentionDays"] == "30"
    assert values["ThrottleRateLimit"] == "50"


def test_a_region_that_has_a_role_for_api_gateway_keeps_it(aws: Emulator, deploy: Deploy) -> None:
    client = open_session(aws).client("apigateway")
    theirs = "arn:aws:iam::000000000000:role/theirs"
    client.update_account(
        patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": theirs}]
    )
    deployed = deploy(aws, "dep-3")
    assert client.get_account()["cloudwatchRoleArn"] == theirs
    assert "PaymentAPICloudWatchRole" not in deployed.stack.physical_ids()
    state = deployed.stack.state()
    assert state is not None
    assert state.parameters["ManageApiGatewayAccount"] == "false"


def test_the_artifact_bucket_is_made_once_and_is_locked_up(aws: Emulator, tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    names = {command(aws, folder, "bootstrap")[1].strip() for _ in range(2)}
    assert len(names) == 1
    client = open_session(aws).client("s3")
    bucket = names.pop()
    assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    blocked = client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    policy = json.loads(client.get_bucket_policy(Bucket=bucket)["Policy"])
    assert policy["Statement"][0]["Effect"] == "Deny"


def test_a_bucket_that_somebody_has_deleted_is_made_anew_with_its_locks(aws: Emulator) -> None:
    session, told = open_session(aws), list[Event]()
    gone, _ = bootstrap(session, told.append)
    client = session.client("s3")
    versions = client.list_object_versions(Bucket=gone)
    for version in (*versions.get("Versions", []), *versions.get("DeleteMarkers", [])):
        client.delete_object(Bucket=gone, Key=version["Key"], VersionId=version["VersionId"])
    client.delete_bucket(Bucket=gone)
    # One that was made a moment ago is looked for some minutes; here without the pauses.
    bucket, changed = bootstrap(session, told.append, sleep=lambda _: None)
    assert changed
    assert [event.message for event in told if isinstance(event, Caution)] == [
        f"bucket {gone} is gone; its stack payment-artifacts is made anew"
    ]
    assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert client.get_bucket_policy(Bucket=bucket)["Policy"]


def test_a_deployment_undoes_no_half_of_a_stop_and_misses_a_deleted_table(
    aws: Emulator, tmp_path: Path
) -> None:
    folder, session = checkout(tmp_path), open_session(aws)
    named, place = ("--suffix", "dep-6"), f"--suffix dep-6 --endpoint-url {aws.url}"
    resume = f"payment-infra resume {place}"
    deploy = ("deploy", *named, "--yes")
    assert command(aws, folder, *deploy)[0] == 0
    stack = Stack(session.client("cloudformation"), "payment-infra-dep-6")
    stage = {"restApiId": stack.physical_ids()["PaymentAPI"], "stageName": "prod"}
    session.client("apigateway").update_stage(
        **stage,
        patchOperations=[
            {"op": "replace", "path": f"/~1process/POST/throttling/{limit}", "value": "0"}
            for limit in ("rateLimit", "burstLimit")
        ],
    )
    status, _, err = command(aws, folder, *deploy)
    assert (status, err.splitlines()[0]) == (
        0,
        f"Warning: payments are stopped: process, and stay so; `{resume}` lets them in",
    )
    status, _, err = command(aws, folder, *deploy, "--throttle-rate-limit", "50")
    assert status == 1
    assert err.splitlines()[-1] == (
        "Error: payments are stopped: process, and this update could let in a part of them, since "
        f"it changes PaymentAPIStage; `{resume}` first"
    )
    session.client("dynamodb").delete_table(TableName="transactions-dep-6")
    told = "the table transactions-dep-6 is gone: no payment is recorded"
    remedy = f"`payment-infra restore --from-backup latest {place}` brings it back from a"
    status, _, err = command(aws, folder, *deploy)
    assert (status, f"Error: {told}; {remedy} backup" in err.splitlines()) == (1, True)
    status, out, err = command(aws, folder, "status", *named)
    assert (status, f"{told}; payments are stopped: process" in err) == (1, True)
    assert remedy in out


def test_fifty_concurrent_calls_charge_a_transaction_once(aws: Emulator, deploy: Deploy) -> None:
    deployed = deploy(aws, "race-1", authorization="none")
    api = deployed.api()
    transaction = str(api.call("POST", "validate", PAYMENT).field("transaction_id"))

    def process(transaction_id: str) -> list[Answer]:
        """Send the requests at the same moment."""
        body = {"transaction_id": transaction_id}
        with ThreadPoolExecutor(REQUESTS) as pool:
            calls = [
                pool.submit(deployed.api().call, "POST", "process", body) for _ in range(REQUESTS)
            ]
            return [call.result() for call in calls]

    # The emulator starts a process for each of them, and so many at once starve this machine.
    deadline = time.monotonic() + WARM_UP_SECONDS
    while {answer.status for answer in process("unknown")} != {404}:
        assert time.monotonic() < deadline

    answers = process(transaction)
    statuses = Counter(answer.status for answer in answers)
    charged = [one for one in answers if one.field("message") == "Payment processed successfully"]
    assert len(charged) == 1
    assert statuses.keys() <= {200, 409}
    assert api.call("POST", "process", {"transaction_id": transaction}).field("message") == (
        "Transaction already processed"
    )
    captures = [line for line in deployed.logged("Processing", "capture") if transaction in line]
    assert len(captures) == 1


def test_destroying_what_does_not_exist_says_so(aws: Emulator, tmp_path: Path) -> None:
    result = run(
        "payment-infra",
        *("destroy", "--suffix", "gone-1", "--yes", "--endpoint-url", aws.url),
        cwd=tmp_path,
        **aws_variables(aws.url),
    )
    assert result.returncode == 0
    assert "nothing to delete" in result.stderr


def test_an_update_goes_on_with_its_preset_and_no_other_ends_the_protection_of_payments(
    aws: Emulator, tmp_path: Path
) -> None:
    folder = checkout(tmp_path)
    status, _, err = command(
        aws, folder, "deploy", "--suffix", "kept-1", "--yes", "--preset", "production"
    )
    assert status == 0, err
    status, _, err = command(aws, folder, "deploy", "--suffix", "kept-1", "--yes")
    assert status == 0, err
    assert "no changes" in err
    development = ("--preset", "development")
    status, _, err = command(aws, folder, "deploy", "--suffix", "kept-1", "--yes", *development)
    assert status == 2
    given = f"--yes --preset development --endpoint-url {aws.url}"
    kept = (
        "--endpoint-type regional --health-access status --retain-data --customer-key "
        "--deletion-protection --replacement-protection"
    )
    assert f"`payment-infra deploy --suffix kept-1 {given} {kept}` keeps them" in err
    table = open_session(aws).client("dynamodb").describe_table(TableName="transactions-kept-1")
    assert table["Table"]["DeletionProtectionEnabled"] is True


def test_a_rule_of_the_template_refuses_fewer_retries_than_the_queue_hands_out(
    aws: Emulator, tmp_path: Path
) -> None:
    folder = checkout(tmp_path)
    deploy = ("deploy", "--suffix", "rule-1", "--yes", "--retry-concurrency")
    status, _, err = command(aws, folder, *deploy, "10")
    assert status == 0, err
    few = ("--parameter", "RetryConcurrency=4")
    status, _, err = command(aws, folder, *deploy, "10", *few)
    assert status == 1
    assert "RetryConcurrency must be 0, or at least 5: as many retries run at once" in err
    assert command(aws, folder, *deploy, "10", "--parameter", "RetryConcurrency=5")[0] == 0
