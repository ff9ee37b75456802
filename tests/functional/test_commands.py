"""What each command does: its output, its exit code, and what it leaves."""

from __future__ import annotations

import codecs
import importlib
import itertools
import json
import re
import shlex
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import pytest

from payment_infra import names
from payment_infra.artifacts import LAYER, Artifact, build_artifacts, code_keys, layer_digest
from payment_infra.cli import COMMANDS, root
from payment_infra.cloud.deploying import release
from payment_infra.config import FIELDS, StackConfig
from payment_infra.place import PLACE
from payment_infra.rendering import read_document
from tests.aws import ACCOUNT, FakeAws, FakeBucket, FakeStack, Refused, event
from tests.functional.conftest import REPOSITORY, Cli, Program, refused
from tests.http import URL, Response, answering
from tests.offline import TINY_LAYER
from tests.settings import APART, OTHER, WITH

STACK = "payment-infra-dev"
DEPLOY = ("deploy", "--suffix", "dev", "--bucket", "zips", "--yes")
ESCAPE = "\x1b["


def deployed(cli: Cli, *flags: str) -> None:
    assert cli(*DEPLOY, *flags).exit_code == 0


# render


def test_render_writes_the_template_to_stdout_and_nothing_else(cli: Cli) -> None:
    result = cli("render")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (REPOSITORY / "templates" / "payment-infra.yaml").read_text()
    assert cli("render", "-o", "-").stdout == result.stdout


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (
            ("--tag", f"Team={'p' * 100}"),
            "aws cloudformation deploy --template-file FILE --s3-bucket BUCKET --stack-name "
            "payment-infra-SUFFIX --capabilities CAPABILITY_IAM --parameter-overrides "
            "EnvironmentSuffix=SUFFIX ArtifactBucket=BUCKET",
        ),
        (
            (
                *("--preset", "production", "--suffix", "dev", "--bucket", "zips"),
                *("--role-prefix", "acme-", "-o", "a b.yaml"),
            ),
            "aws cloudformation deploy --template-file 'a b.yaml' --s3-bucket zips --stack-name "
            "payment-infra-dev --capabilities CAPABILITY_NAMED_IAM --parameter-overrides "
            "EnvironmentSuffix=dev ArtifactBucket=zips",
        ),
    ],
    ids=["to stdout", "to a file"],
)
def test_render_names_the_command_that_takes_a_template_too_large_for_a_request(
    arguments: tuple[str, ...], command: str, cli: Cli, clean: Path
) -> None:
    result = cli("render", *arguments)
    assert result.stderr.splitlines()[-1] == (
        "CloudFormation takes more than 51,200 bytes through a bucket only; the AWS CLI does that: "
        f"{command}"
    )
    assert read_document(result.stdout or (clean / "a b.yaml").read_text())["Resources"]
    assert "CloudFormation takes" not in cli("render", "-o", "small.yaml").stderr


@pytest.mark.parametrize(
    ("arguments", "starts"),
    [
        (("-o", "out.json"), "{\n"),
        (("-o", "out.yaml"), "AWSTemplateFormatVersion:"),
        (("-o", "out.template"), "AWSTemplateFormatVersion:"),
        (("-o", "out.json", "--format", "yaml"), "AWSTemplateFormatVersion:"),
        (("-o", "out.yaml", "--format", "json"), "{\n"),
    ],
    ids=" ".join,
)
def test_render_takes_the_format_from_the_files_name_unless_told(
    arguments: tuple[str, ...], starts: str, cli: Cli, clean: Path
) -> None:
    result = cli("render", *arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    assert (clean / arguments[1]).read_text().startswith(starts)
    assert [path.name for path in clean.iterdir()] == [arguments[1]]


def test_check_is_content_with_a_fresh_file_and_leaves_it(cli: Cli, clean: Path) -> None:
    cli("render", "-o", "out.yaml", "--suffix", "dev")
    before = (clean / "out.yaml").stat()
    result = cli("render", "--check", "-o", "out.yaml", "--suffix", "dev")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (clean / "out.yaml").stat().st_mtime_ns == before.st_mtime_ns


def test_check_shows_what_is_stale_as_a_diff_and_leaves_it(cli: Cli, clean: Path) -> None:
    cli("render", "-o", "out.yaml", "--suffix", "dev")
    before = (clean / "out.yaml").read_bytes()
    result = cli("render", "--check", "-o", "out.yaml", "--suffix", "prod")
    assert result.exit_code == 1
    assert result.stderr == "Error: out.yaml is stale; render it again without --check\n"
    lines = result.stdout.splitlines()
    assert lines[:2] == ["--- out.yaml", "+++ rendered"]
    changed = [line for line in lines[2:] if line[0] in "+-"]
    assert changed == ["-  Default: dev", "+  Default: prod"]
    assert (clean / "out.yaml").read_bytes() == before


def test_check_refuses_what_is_no_text(cli: Cli, clean: Path) -> None:
    (clean / "out.yaml").write_bytes(b"\xff\xfe")
    result = cli("render", "--check", "-o", "out.yaml")
    assert refused(result, 2) == "out.yaml: is a text in UTF-16; save it in UTF-8"


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_a_template_as_windows_saves_it_is_up_to_date_and_can_be_validated(
    mark: bytes, cli: Cli, clean: Path
) -> None:
    cli("render", "-o", "out.yaml")
    path = clean / "out.yaml"
    path.write_bytes(mark + path.read_bytes().replace(b"\n", b"\r\n"))
    assert cli("render", "--check", "-o", "out.yaml").exit_code == 0
    assert cli("validate", "--strict", "out.yaml").exit_code == 0


def test_a_template_in_utf_16_is_named_as_that(cli: Cli, clean: Path) -> None:
    (clean / "out.yaml").write_text("Resources: {}", encoding="utf-16")
    told = refused(cli("validate", "out.yaml"), 2)
    assert told == "out.yaml: is a text in UTF-16; save it in UTF-8"


def flags(name: str, value: object) -> list[str]:
    """Return the flags that give a setting a value."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, dict):
        return [f"--tag={key}={text}" for key, text in value.items()]
    if isinstance(value, tuple):
        return [f"--{flag}={one}" for one in value]
    return [f"--{flag}={value}"]


def test_every_field_has_a_flag_that_reaches_the_configuration(cli: Cli) -> None:
    together = {name: value for name, value in OTHER.items() if name not in APART}
    for chosen in (together, *({**WITH.get(name, {}), name: OTHER[name]} for name in APART)):
        given = itertools.chain(*(flags(name, value) for name, value in chosen.items()))
        shown = json.loads(cli("config", "--output", "json", *given).stdout)
        assert list(shown) == [*PLACE, *FIELDS]
        found = {name: shown[name]["value"] for name in chosen}
        assert found == json.loads(json.dumps(chosen))
        assert all(shown[name]["source"].startswith("--") for name in chosen)


# config


def test_config_shows_every_field_with_its_value_and_where_it_came_from(
    cli: Cli, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean / "payment-infra.toml").write_text(
        "log_retention_days = 30\n[environments.dev]\nretain_data = true\ntags = {Team = 'a'}\n"
    )
    monkeypatch.setenv("PAYMENT_INFRA_THROTTLE_RATE_LIMIT", "5")
    result = cli("config", "--suffix", "dev")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [re.split(r"  +", line) for line in result.stdout.splitlines()]
    assert rows[0] == ["setting", "value", "source"]
    table = {name: (value, source) for name, value, source in rows[1:]}
    assert list(table) == [*PLACE, *FIELDS]
    assert table["suffix"] == ("dev", "--suffix")
    assert table["bucket"] == ("-", "preset development")
    assert table["throttle_rate_limit"] == ("5", "PAYMENT_INFRA_THROTTLE_RATE_LIMIT")
    assert table["log_retention_days"] == ("30", "payment-infra.toml")
    assert table["retain_data"] == ("true", "payment-infra.toml [environments.dev]")
    assert table["tags"] == ("Team=a", "payment-infra.toml [environments.dev]")
    shown = json.loads(cli("config", "--suffix", "dev", "--output", "json").stdout)
    assert shown["retain_data"] == {
        "value": True,
        "source": "payment-infra.toml [environments.dev]",
    }
    assert list(shown) == [*PLACE, *FIELDS]


# validate


BROKEN = """
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeOut: 30
"""
WITH_WARNING = """
Parameters:
  Unused:
    Type: String
Resources:
  Queue:
    Type: AWS::SQS::Queue
"""


def test_validate_names_the_place_of_an_error_and_fails(cli: Cli, clean: Path) -> None:
    (clean / "broken.yaml").write_text(BROKEN)
    result = cli("validate", "broken.yaml")
    assert result.exit_code == 1
    assert result.stdout.startswith(
        "error  E3002  Resources/Queue/Properties/VisibilityTimeOut  (line 6)\n"
    )
    assert result.stderr == "Error: broken.yaml: 1 errors, 0 warnings\n"


def test_validate_fails_on_a_warning_only_if_asked(cli: Cli, clean: Path) -> None:
    (clean / "warning.yaml").write_text(WITH_WARNING)
    result = cli("validate", "warning.yaml", "--output", "json")
    assert result.exit_code == 0
    [finding] = json.loads(result.stdout)
    assert (finding["level"], finding["path"]) == ("warning", "Parameters/Unused")
    strict = cli("validate", "warning.yaml", "--strict")
    assert (strict.exit_code, strict.stdout.startswith("warning  W2001  Parameters/Unused")) == (
        1,
        True,
    )


def test_validate_refuses_what_is_no_template(cli: Cli, clean: Path) -> None:
    (clean / "text.yaml").write_text("{")
    assert cli("validate", "text.yaml").exit_code == 1


@pytest.mark.parametrize("arguments", [("--preset", "production"), ("--authorization", "none")])
def test_the_rendered_template_has_no_finding_at_all(arguments: tuple[str, ...], cli: Cli) -> None:
    result = cli("validate", "--strict", *arguments)
    assert (result.exit_code, result.stdout) == (0, "")


# package


def test_package_writes_the_zips_into_a_folder_that_it_makes_only_by_default(
    cli: Cli, clean: Path
) -> None:
    result = cli("package")
    assert result.exit_code == 0
    artifacts = [*build_artifacts(), Artifact(LAYER, TINY_LAYER, layer_digest())]
    assert {path.name: path.read_bytes() for path in (clean / "dist").iterdir()} == {
        f"{one.name}.zip": one.body for one in artifacts
    }
    assert result.stdout.splitlines() == [
        f"dist/{one.name}.zip  {len(one.body)} bytes  {one.digest}" for one in artifacts
    ]
    again = cli("package", "-o", clean / "dist")
    assert again.exit_code == 0
    with zipfile.ZipFile(clean / "dist" / "validation.zip") as archive:
        assert archive.testzip() is None


# bootstrap, upload


def test_bootstrap_prints_the_bucket_and_says_when_there_was_nothing_to_do(
    cli: Cli, aws: FakeAws
) -> None:
    first, second = cli("bootstrap"), cli("bootstrap")
    bucket = aws.stacks["payment-artifacts"].outputs["ArtifactBucketName"]
    assert first.stdout == second.stdout == f"{bucket}\n"
    assert "payment-artifacts is up to date" in second.stderr
    assert "up to date" not in first.stderr
    assert (first.exit_code, second.exit_code) == (0, 0)


UPLOAD = ("upload", "--suffix", "dev", "--bucket", "zips")


def test_upload_prints_the_addresses_and_the_command_that_deploys(cli: Cli, aws: FakeAws) -> None:
    result = cli(*UPLOAD)
    assert result.exit_code == 0
    *uris, command = result.stdout.splitlines()
    # The zips go up at the same time, the template after them.
    assert sorted(uris[:-1]) == sorted(
        f"s3://zips/{key}" for key in [*aws.buckets["zips"].objects][:-1]
    )
    assert uris[-1] == f"s3://zips/{[*aws.buckets['zips'].objects][-1]}"
    assert set(code_keys(config=StackConfig()).values()) < set(aws.buckets["zips"].objects)
    assert command.startswith(f"aws s3 cp {uris[-1]} {STACK}.yaml ")
    assert f"&& aws cloudformation deploy --template-file {STACK}.yaml " in command
    assert {name.split(":")[0] for name in aws.changes()} == {"s3"}


def test_upload_neither_sends_nor_builds_again_what_is_there(
    cli: Cli, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cli(*UPLOAD)
    sent = len(aws.changes())
    monkeypatch.delattr(release, "build_layer")
    second = cli(*UPLOAD)
    assert second.exit_code == 0
    assert len(aws.changes()) == sent == 8
    assert second.stdout == first.stdout
    assert second.stderr.count("there already") == 8
    document = json.loads(cli(*UPLOAD, "--output", "json").stdout)
    assert [one["uri"] for one in document["objects"]] == first.stdout.splitlines()[:-1]
    assert [one["new"] for one in document["objects"]] == [False] * 8
    assert (document["bucket"], document["command"]) == ("zips", first.stdout.splitlines()[-1])


def test_upload_without_a_bucket_makes_the_accounts_own(cli: Cli, aws: FakeAws) -> None:
    assert cli("upload", "--suffix", "dev").exit_code == 0
    made = aws.stacks["payment-artifacts"].outputs["ArtifactBucketName"]
    assert len(aws.buckets[made].objects) == 8


# deploy, outputs


def test_deploy_creates_the_stack_and_prints_its_outputs(cli: Cli, aws: FakeAws) -> None:
    result = cli(*DEPLOY)
    assert result.exit_code == 0
    assert aws.stacks[STACK].status == "CREATE_COMPLETE"
    rows = [re.split(r"  +", line) for line in result.stdout.splitlines()]
    assert rows[0] == ["output", "value"]
    assert dict(rows[1:]) == aws.stacks[STACK].outputs
    assert {"APIEndpoint", "CallerPolicyArn"} < set(aws.stacks[STACK].outputs)
    assert re.search(rf"^21:27:0\d  CREATE_COMPLETE +{STACK}  AWS::", result.stderr, re.MULTILINE)


def test_a_first_deployment_names_account_and_region_before_it_makes_the_bucket(
    cli: Cli, aws: FakeAws
) -> None:
    aws.errors["cloudformation:CreateChangeSet"] = Refused("AccessDenied", "no")
    result = cli("deploy", "--suffix", "dev", "--yes")
    assert result.exit_code == 1
    assert "payment-artifacts" not in aws.stacks
    target, refusal = result.stderr.splitlines()
    assert target == f"{STACK}: account 123456789012, eu-central-1"
    assert refusal.startswith("Error: stack payment-artifacts: ")


def test_deploy_updates_what_is_there(cli: Cli, aws: FakeAws) -> None:
    deployed(cli)
    result = cli(*DEPLOY, "--throttle-rate-limit", "5")
    assert result.exit_code == 0
    assert aws.stacks[STACK].status == "UPDATE_COMPLETE"
    assert aws.stacks[STACK].parameters["ThrottleRateLimit"] == "5"
    assert "no changes" not in result.stderr


def test_deploy_of_what_is_there_already_succeeds_and_says_so(cli: Cli, aws: FakeAws) -> None:
    deployed(cli)
    result = cli(*DEPLOY, "--output", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"type": "outputs", "outputs": aws.stacks[STACK].outputs},
        {"type": "result", "stack": STACK, "status": "CREATE_COMPLETE", "changed": False},
    ]
    assert aws.change_sets == {}
    assert cli(*DEPLOY).stderr == f"{STACK}: no changes\n"


def test_deploy_takes_another_stack_name(cli: Cli, aws: FakeAws) -> None:
    assert cli(*DEPLOY, "--stack-name", "mine").exit_code == 0
    assert set(aws.stacks) == {"mine"}


def test_the_command_for_a_change_set_that_is_left_names_its_stack(cli: Cli, aws: FakeAws) -> None:
    result = cli(*DEPLOY, "--stack-name", "mine", "--no-execute")
    assert "`payment-infra deploy --change-set " in result.stderr
    assert "-termination-protection --suffix dev --stack-name mine` executes it" in result.stderr
    assert "--stack-name" not in cli(*DEPLOY, "--no-execute").stderr


def test_a_deployment_that_fails_says_which_resource_and_why_and_exits_3(
    cli: Cli, aws: FakeAws
) -> None:
    aws.timeline = [
        ("ROLLBACK_COMPLETE", [event(5, "AlarmTopic", "CREATE_FAILED", "Name is taken")])
    ]
    result = cli(*DEPLOY)
    assert (result.exit_code, result.stdout) == (3, "")
    *progress, error = result.stderr.splitlines()
    assert error == (
        f"Error: stack {STACK} is ROLLBACK_COMPLETE: AlarmTopic (Resources.AlarmTopic, built in "
        "payment_infra/groups/notifications.py): Name is taken"
    )
    assert progress[-1].endswith("AlarmTopic  AWS::SQS::Queue  Name is taken")


def test_watch_names_the_root_cause_and_its_place_as_deploy_does(cli: Cli, aws: FakeAws) -> None:
    aws.timeline = [
        ("CREATE_IN_PROGRESS", []),
        ("CREATE_IN_PROGRESS", []),
        ("ROLLBACK_COMPLETE", [event(5, "AlarmTopic", "CREATE_FAILED", "Name is taken")]),
    ]
    assert cli(*DEPLOY, "--detach").exit_code == 0
    result = cli("watch", "--suffix", "dev")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1] == (
        f"Error: stack {STACK} is ROLLBACK_COMPLETE: AlarmTopic (Resources.AlarmTopic, built in "
        "payment_infra/groups/notifications.py): Name is taken"
    )


def test_a_failure_in_ndjson_has_a_line_with_its_cause(cli: Cli, aws: FakeAws) -> None:
    aws.timeline = [
        ("ROLLBACK_COMPLETE", [event(5, "AlarmTopic", "CREATE_FAILED", "Topic already exists")])
    ]
    result = cli(*DEPLOY, "--output", "json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert {line["type"] for line in lines} == {"change_set", "event", "error"}
    assert lines[-1]["exit_code"] == result.exit_code == 3
    cause = lines[-1]["cause"]
    assert (cause["logical_id"], cause["template_path"]) == ("AlarmTopic", "Resources.AlarmTopic")
    assert "choose another --suffix" in cause["remedy"]


def test_ctrl_c_in_ndjson_has_a_line_too(
    cli: Cli, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(_: object) -> dict[str, object]:
        raise KeyboardInterrupt

    monkeypatch.setattr(aws, "create_change_set", pressed)
    result = cli(*DEPLOY, "--output", "json")
    assert (result.exit_code, result.stderr) == (130, "Error: interrupted\n")
    [line] = map(json.loads, result.stdout.splitlines())
    assert line == {"type": "error", "message": "interrupted", "exit_code": 130}


def test_a_change_set_that_is_refused_exits_3(cli: Cli, aws: FakeAws) -> None:
    aws.change_set_failure = "Template error"
    result = cli(*DEPLOY)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == f"Error: stack {STACK}: the change set failed: Template error\n"
    assert (aws.stacks, aws.change_sets) == ({}, {})


def test_outputs_prints_them_as_a_table_or_as_json(cli: Cli, aws: FakeAws) -> None:
    deployed(cli)
    arguments = ("outputs", "--suffix", "dev")
    assert "APIEndpoint" in cli(*arguments).stdout
    result = cli(*arguments, "--output", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == aws.stacks[STACK].outputs


def test_on_an_emulator_every_command_tells_the_address_that_health_asks(
    cli: Cli, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--endpoint-url", "http://emulator:4566")
    deployed(cli, *where)
    stack = aws.stacks[STACK]
    stack.resources = {names.REST_API: "CREATE_COMPLETE"}
    aws.answers["apigateway:GetStage"] = {"methodSettings": {}}
    address = "http://emulator:4566/_aws/execute-api/PaymentAPI/prod/"
    expected = {**stack.outputs, "APIEndpoint": address}
    http = answering(monkeypatch)
    report = b'{"overall_status": "healthy", "checks": []}'
    http.answers[f"{address}health"] = Response(200, report)
    assert cli("health", "--suffix", "dev", *where).exit_code == 0
    assert [one.url for one in http.requests] == [f"{address}health"]

    outputs = ("outputs", "--suffix", "dev", *where)
    row = f"APIEndpoint            {address}\n"
    assert json.loads(cli(*outputs, "--output", "json").stdout) == expected
    assert row in cli(*outputs).stdout
    lines = map(json.loads, cli(*DEPLOY, *where, "--output", "json").stdout.splitlines())
    assert [line["outputs"] for line in lines if line["type"] == "outputs"] == [expected]
    assert row in cli(*DEPLOY, *where).stdout


@pytest.mark.parametrize("command", ["outputs", "smoke"])
def test_a_stack_that_is_not_there_is_told_with_how_to_make_it(command: str, cli: Cli) -> None:
    result = cli(command, "--suffix", "dev")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: there is no stack {STACK}; `payment-infra deploy --suffix dev` makes it\n"
    )


def test_smoke_of_a_stack_without_an_api_is_one_line(cli: Cli, aws: FakeAws) -> None:
    parameters = {names.TRANSACTIONS_TABLE_OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev"}
    aws.stacks[STACK] = FakeStack(STACK, parameters=parameters)
    result = cli("smoke", "--suffix", "dev")
    assert (result.exit_code, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "APIEndpoint" in line
    assert "unexpected" not in line


@pytest.mark.parametrize(
    ("gateway", "flags", "charged"),
    [("", (), True), ("acme:Acme", (), False), ("acme:Acme", ("--pay",), True)],
)
def test_smoke_charges_at_the_real_gateway_of_a_stack_only_with_pay(
    gateway: str,
    flags: tuple[str, ...],
    charged: bool,
    cli: Cli,
    aws: FakeAws,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws.stacks[STACK] = FakeStack(
        STACK,
        parameters={names.TRANSACTIONS_TABLE_OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev"},
        outputs={"APIEndpoint": URL},
        resources={"ProcessingFunction": "CREATE_COMPLETE"},
    )
    variables = {"GATEWAY": gateway} if gateway else {}
    aws.answers["lambda:GetFunctionConfiguration"] = {"Environment": {"Variables": variables}}
    http = answering(monkeypatch)
    result = cli("smoke", "--suffix", "dev", *flags)
    assert (result.exit_code, http.processed) == (0, charged)
    assert ("money at acme.py:Acme; " in result.stderr) == (not charged)


def test_health_leads_to_the_logs_of_what_did_not_answer(
    cli: Cli, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(cli)
    aws.stacks[STACK].outputs = {"APIEndpoint": URL}
    answering(monkeypatch).answers["health"] = Response(502, b'{"message": "Bad"}')
    told = f"{URL}health: 502 Bad; see `payment-infra logs health --suffix dev`"
    assert refused(cli("health", "--suffix", "dev"), 1) == told


def invoked(aws: FakeAws, report: dict[str, Any]) -> list[dict[str, Any]]:
    """Let every function answer with a report, and return the calls that will be made."""
    calls: list[dict[str, Any]] = []
    stack = aws.stacks[STACK]
    stack.resources = dict.fromkeys(read_document(stack.template)["Resources"], "CREATE_COMPLETE")

    def invoke(call: dict[str, Any]) -> dict[str, Any]:
        calls.append(call)
        payload = json.dumps({"statusCode": 200, "body": json.dumps(report)}).encode()
        return {"StatusCode": 200, "Payload": BytesIO(payload)}

    aws.answers["lambda:Invoke"] = invoke
    return calls


CHECKED = {
    "overall_status": "healthy",
    "checks": [
        {"status": "healthy", "metric": "latency", "value": 1, "threshold": 2, "resource": "api"}
    ],
}


def test_health_asks_the_function_for_what_the_api_does_not_tell(
    cli: Cli, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(cli)
    aws.stacks[STACK].outputs = {"APIEndpoint": URL}
    answering(monkeypatch)  # whose report has no checks
    calls = invoked(aws, CHECKED)
    result = cli("health", "--suffix", "dev")
    assert (result.exit_code, "latency" in result.stdout) == (0, True)
    assert result.stderr == (
        "the API tells no names, so the checks are from the function behind it\n"
    )
    called = [(call["FunctionName"], call.get("Qualifier")) for call in calls]
    assert called == [("HealthMonitorFunction", None)]


def test_health_asks_the_function_as_live_has_it_where_the_api_is_out_of_reach(
    cli: Cli, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = ("--endpoint-type=private", "--allowed-vpc-endpoints=vpce-0123456789abcdef0")
    deployed(cli, *private, "--versions")
    aws.stacks[STACK].outputs = {"APIEndpoint": URL}
    answering(monkeypatch).answers["health"] = Response(403, b'{"message": "Forbidden"}')
    calls = invoked(aws, CHECKED)
    result = cli("health", "--suffix", "dev")
    assert (result.exit_code, "latency" in result.stdout) == (0, True)
    assert result.stderr == (
        f"Warning: {URL} cannot be reached from here (403 Forbidden), and it is "
        "private: its functions are invoked directly, which tries neither API Gateway nor who may "
        "call\n"
    )
    assert [call["Qualifier"] for call in calls] == ["live"]


def test_an_api_that_restricts_nothing_and_refuses_is_not_gone_around(
    cli: Cli, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(cli)
    aws.stacks[STACK].outputs = {"APIEndpoint": URL}
    answering(monkeypatch).answers["health"] = Response(403, b'{"message": "Forbidden"}')
    assert refused(cli("health", "--suffix", "dev"), 1).startswith(f"{URL}health: 403 Forbidden")


def test_profile_region_and_endpoint_reach_the_session(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--profile", "p", "--region", "eu-west-1", "--endpoint-url", "http://127.0.0.1:1")
    cli("outputs", "--suffix", "dev", *flags)
    cli("outputs", "--suffix", "dev")
    assert cli.connected == [("p", "eu-west-1", "http://127.0.0.1:1"), (None, None, None)]


# destroy


DESTROY = ("destroy", "--suffix", "dev")


@pytest.mark.parametrize(("arguments", "typed"), [(("--yes",), None), (("-y",), None), ((), "y\n")])
def test_destroy_deletes_the_stack_once_it_has_a_yes(
    arguments: tuple[str, ...], typed: str | None, cli: Cli, aws: FakeAws
) -> None:
    deployed(cli)
    result = cli(*DESTROY, *arguments, typed=typed)
    assert result.exit_code == 0
    assert aws.stacks == {}
    assert f"{STACK} is deleted" in result.stderr


@pytest.mark.parametrize("typed", ["n\n", "\n", "", "maybe\nno\n"])
def test_destroy_changes_nothing_without_a_yes_and_exits_130(
    typed: str, cli: Cli, aws: FakeAws
) -> None:
    deployed(cli)
    before = aws.changes()
    result = cli(*DESTROY, typed=typed)
    assert result.exit_code == 130
    assert aws.changes() == before
    assert set(aws.stacks) == {STACK}
    last = result.stderr.splitlines()[-1]
    assert last in {"Error: declined; nothing was changed", "Error: interrupted"}


def test_destroy_names_stack_and_region_in_its_question(cli: Cli) -> None:
    deployed(cli)
    result = cli(*DESTROY, typed="n\n")
    assert f"Delete the stack {STACK} in eu-central-1 with" in result.output


CALLERS = {
    "PolicyRoles": [{"RoleName": "Checkout", "RoleId": "A"}],
    "PolicyUsers": [{"UserName": "ci", "UserId": "B"}],
    "PolicyGroups": [{"GroupName": "partners", "GroupId": "C"}],
}
DETACHING = ["iam:DetachRolePolicy", "iam:DetachUserPolicy", "iam:DetachGroupPolicy"]
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/PaymentCallerPolicy"


def with_callers(aws: FakeAws) -> None:
    """Let principals of each kind have the callers' policy."""
    stack = aws.stacks[STACK]
    stack.resources = {"PaymentCallerPolicy": "CREATE_COMPLETE"}
    stack.physical_ids = {"PaymentCallerPolicy": POLICY}
    aws.answers |= {"iam:ListEntitiesForPolicy": CALLERS, **{name: {} for name in DETACHING}}


@pytest.mark.parametrize(("arguments", "typed"), [(("--yes",), None), ((), "y\n")])
def test_destroy_shows_who_has_the_callers_policy_and_detaches_it_before_the_deletion(
    arguments: tuple[str, ...], typed: str | None, cli: Cli, aws: FakeAws
) -> None:
    deployed(cli)
    with_callers(aws)
    before = len(aws.changes())
    result = cli(*DESTROY, *arguments, typed=typed)
    assert result.exit_code == 0, result.output
    assert aws.changes()[before:] == [*DETACHING, "cloudformation:DeleteStack"]
    assert aws.called("iam:DetachUserPolicy") == [{"PolicyArn": POLICY, "UserName": "ci"}]
    for line in ("role Checkout", "user ci", "group partners"):
        assert f"    {line}\n" in result.stderr
    if typed:
        asked = " ".join(result.output.split())
        assert (
            "eu-central-1 with 1 resource, and detach the callers' policy from 3 principals?"
            in asked
        )


def test_destroy_attaches_the_callers_policy_again_if_the_stack_stays(
    cli: Cli, aws: FakeAws
) -> None:
    deployed(cli)
    with_callers(aws)
    attaching = [name.replace("Detach", "Attach") for name in DETACHING]
    aws.answers |= {name: {} for name in attaching}
    aws.errors["cloudformation:DeleteStack"] = Refused("AccessDenied", "no")
    before = len(aws.changes())
    result = cli(*DESTROY, "--yes")
    assert result.exit_code == 1
    assert aws.changes()[before:] == [*DETACHING, "cloudformation:DeleteStack", *attaching]
    told = "the callers' policy is attached again to role Checkout, user ci, group partners"
    assert told in " ".join(result.stderr.split())


def test_destroy_detaches_nothing_without_a_yes(cli: Cli, aws: FakeAws) -> None:
    deployed(cli)
    with_callers(aws)
    before = aws.changes()
    assert cli(*DESTROY, typed="n\n").exit_code == 130
    assert aws.changes() == before


def test_destroy_of_nothing_succeeds_and_asks_nothing(cli: Cli, aws: FakeAws) -> None:
    result = cli(*DESTROY)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"there is no stack {STACK}; nothing to delete\n"


def test_a_deletion_that_fails_exits_3(cli: Cli, aws: FakeAws) -> None:
    deployed(cli)
    aws.timeline = [("DELETE_FAILED", [event(9, "TransactionsTable", "DELETE_FAILED", "kept")])]
    result = cli(*DESTROY, "--yes")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines()[-1] == (
        f"Error: stack {STACK} is DELETE_FAILED: TransactionsTable: kept"
    )


# list, restore


def test_list_prints_every_environment_past_the_first_page(cli: Cli, aws: FakeAws) -> None:
    for number in range(130):
        parameters = {"TransactionsTableOverride": "", "EnvironmentSuffix": f"e{number}"}
        name = f"payment-infra-e{number:03}"
        aws.stacks[name] = FakeStack(name, parameters=parameters)
    result = cli("list", "--output", "json")
    assert [one["suffix"] for one in json.loads(result.stdout)] == [f"e{n}" for n in range(130)]
    assert len(cli("list").stdout.splitlines()) == 131


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--to", "2026-11-24T10:00:00", "--yes"), "has no time zone; write UTC as"),
        (("--to", "soon", "--yes"), "'soon' is not a time; write latest, 15m or -15m"),
        (("--to", "latest"), "there is no terminal to ask on; add --yes"),
        (("--undo",), "there is no terminal to ask on; add --yes"),
        (("--from-backup", "latest", "--drill"), "--drill goes with --to"),
        ((), "give one of --to TIME, --from-backup ARN and --undo"),
    ],
)
def test_a_restore_that_cannot_begin_is_one_line_and_changes_nothing(
    cli: Cli, aws: FakeAws, arguments: tuple[str, ...], told: str
) -> None:
    parameters = {"TransactionsTableOverride": "", "EnvironmentSuffix": "dev"}
    aws.stacks[STACK] = FakeStack(STACK, parameters=parameters)
    result = cli("restore", "--suffix", "dev", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert aws.changes() == []


# What holds for all.


BAD = ("render", "--suffix", "Dev")


@pytest.mark.parametrize("arguments", [("--debug", *BAD), (*BAD, "--debug")], ids=" ".join)
def test_debug_shows_the_traceback_before_the_same_line(
    arguments: tuple[str, ...], program: Program
) -> None:
    quiet, loud = program(*BAD), program(*arguments)
    assert (quiet.returncode, loud.returncode) == (2, 2)
    assert "Traceback" not in quiet.stderr
    assert loud.stderr.startswith("Traceback (most recent call last):")
    assert loud.stderr.endswith(quiet.stderr)


def test_an_error_that_nobody_foresaw_is_one_line_too(cli: Cli, aws: FakeAws) -> None:
    aws.errors["*"] = RuntimeError("first line\nsecond line")
    result = cli("outputs", "--suffix", "dev")
    assert (result.exit_code, result.stdout) == (1, "")
    expected = "unexpected RuntimeError: first line; --debug shows where it came from"
    assert result.stderr == f"Error: {expected}\n"
    assert "RuntimeError: first line" in cli("--debug", "outputs", "--suffix", "dev").stderr


def test_ctrl_c_exits_130_with_one_line(cli: Cli, aws: FakeAws) -> None:
    class Pressed(FakeAws):
        def answer(self, *_: object) -> dict[str, object]:
            raise KeyboardInterrupt

    cli.aws = Pressed()
    result = cli("outputs", "--suffix", "dev")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Error: interrupted\n")


@pytest.mark.parametrize("arguments", [DEPLOY, BAD, ("config",)], ids=lambda one: one[0])
def test_colour_goes_when_it_is_not_wanted(
    arguments: tuple[str, ...], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.aws = FakeAws(buckets={"zips": FakeBucket()})
    coloured = cli(*arguments, color=True)
    assert ESCAPE in coloured.output
    for plain in (("--no-color", *arguments), (*arguments, "--no-color")):
        cli.aws = FakeAws(buckets={"zips": FakeBucket()})
        assert ESCAPE not in cli(*plain, color=True).output
    monkeypatch.setenv("NO_COLOR", "1")
    cli.aws = FakeAws(buckets={"zips": FakeBucket()})
    assert ESCAPE not in cli(*arguments, color=True).output
    monkeypatch.setenv("NO_COLOR", "")
    cli.aws = FakeAws(buckets={"zips": FakeBucket()})
    assert ESCAPE in cli(*arguments, color=True).output


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_explains_itself_with_an_example(name: str, cli: Cli) -> None:
    command: click.Command = importlib.import_module(f"payment_infra.cli.{name}").command
    assert command.name == name
    assert command.help is not None
    # The list of commands is written apart, so that --help imports none.
    assert command.help.splitlines()[0] == COMMANDS[name]
    result = cli(name, "--help")
    assert result.exit_code == 0
    assert re.search(rf"^ +Example:\n +payment-infra {name}\b", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_is_one_that_it_takes(name: str, cli: Cli) -> None:
    text = cli(name, "--help").stdout
    examples = re.findall(rf"^ +payment-infra {name}(.*)$", text, re.MULTILINE)
    assert examples
    command: click.Command = importlib.import_module(f"payment_infra.cli.{name}").command
    for example in examples:
        assert command.make_context(name, shlex.split(example), parent=click.Context(root))


def test_help_lists_every_command_in_order(cli: Cli) -> None:
    text = cli("--help").stdout
    places = [text.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert sorted(COMMANDS) == sorted(
        path.stem
        for path in (REPOSITORY / "payment_infra" / "cli").glob("*.py")
        if "def command(" in path.read_text() and path.stem != "__init__"
    )


def test_the_installed_program_says_its_version() -> None:
    program = Path(sys.executable).with_name("payment-infra")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"payment-infra, version \d+\.\d+\.\d+\S*\n", done.stdout)


def test_output_that_nobody_reads_any_more_is_no_error() -> None:
    script = f"{sys.executable} -m payment_infra render | head -n 1"
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("AWSTemplateFormatVersion: '2010-09-09'\n", "")
