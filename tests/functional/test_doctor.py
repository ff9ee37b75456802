"""What `payment-infra doctor` tells, and how it ends, whatever is wrong."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError

from payment_infra import __version__
from tests.aws import FakeAws, Refused
from tests.gateways import GATEWAY, gateway

if TYPE_CHECKING:
    from tests.functional.conftest import Cli, Program

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAKEY", "AWS_SECRET_ACCESS_KEY": "wJalrXUtn"}
NOWHERE = "http://127.0.0.1:9"


def failures(found: list[dict[str, Any]]) -> dict[str, str]:
    return {one["name"]: one["message"] for one in found if one["level"] == "fail"}


def failed(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return what a real run found wrong, having checked how it ends."""
    found = failures(json.loads(done.stdout))
    assert done.returncode == 1
    assert done.stderr == f"Error: failed: {', '.join(found)}\n"
    return found


def test_where_nothing_fails_it_exits_0_and_has_changed_nothing(cli: Cli, aws: FakeAws) -> None:
    result = cli("doctor", "--suffix", "dev")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"ok    payment-infra   {__version__}, with Python 3.")
    assert "ok    settings        dev, preset development, no payment-infra.toml" in lines
    assert "ok    gateway         the simulated one, which moves no money" in lines
    assert "ok    dynamodb        DescribeTable, GetItem" in lines
    assert aws.changes() == []
    assert aws.called("dynamodb:DescribeTable") == [{"TableName": "transactions-dev"}]


def test_json_is_one_document_of_checks(cli: Cli, aws: FakeAws) -> None:
    aws.errors["sqs:GetQueueUrl"] = Refused("AccessDenied", "no")
    result = cli("doctor", "--output", "json")
    found = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert all(list(one) == ["name", "level", "message", "remedy"] for one in found)
    [queues] = [one for one in found if one["name"] == "sqs"]
    assert queues == {
        "name": "sqs",
        "level": "warn",
        "message": "not allowed to call GetQueueUrl (no)",
        "remedy": "allow sqs:GetQueueUrl; needed by `deploy`",
    }


def test_a_failure_exits_1_and_names_what_failed(cli: Cli, aws: FakeAws) -> None:
    aws.errors["*"] = Refused("ExpiredToken", "The security token is expired", 403)
    result = cli("doctor")
    assert result.exit_code == 1
    assert result.stderr == "Error: failed: credentials\n"
    assert "fail  credentials     " in result.stdout
    assert "fix: sign in again" in result.stdout


def test_the_clock_is_compared_with_now(cli: Cli, aws: FakeAws) -> None:
    aws.date = format_datetime(datetime.now(UTC) - timedelta(hours=2), usegmt=True)
    result = cli("doctor")
    assert result.exit_code == 1
    assert "120 minutes ahead of AWS's" in result.stdout


def test_a_dead_network_is_one_failure(cli: Cli, aws: FakeAws) -> None:
    aws.errors["*"] = EndpointConnectionError(endpoint_url="https://x.example")
    result = cli("doctor", "--output", "json")
    assert list(failures(json.loads(result.stdout))) == ["endpoint"]
    assert len(aws.calls) == 1


def test_the_configured_bucket_is_the_one_that_is_looked_at(
    cli: Cli, aws: FakeAws, clean: Path
) -> None:
    (clean / "payment-infra.toml").write_text("[environments.dev]\nbucket = 'lost'\n")
    result = cli("doctor", "--suffix", "dev")
    assert "bucket lost does not exist" in result.stdout
    assert cli("doctor").exit_code == 0


@pytest.mark.parametrize("output", ["text", "json"])
def test_settings_that_are_not_valid_are_a_failure_and_all_else_is_still_checked(
    output: str, cli: Cli, aws: FakeAws
) -> None:
    result = cli("doctor", "--suffix", "Dev", "--output", output)
    assert (result.exit_code, result.stderr) == (1, "Error: failed: settings\n")
    assert "--suffix: 'Dev' is not allowed" in result.stdout
    assert aws.called("dynamodb:DescribeTable")


def test_without_settings_the_gateway_is_not_looked_at(cli: Cli) -> None:
    found = json.loads(cli("doctor", "--suffix", "Dev", "--output", "json").stdout)
    assert "not checked: gateway" in [check["message"] for check in found]
    assert "gateway" not in [check["name"] for check in found]


def test_profile_region_and_endpoint_reach_the_session(cli: Cli) -> None:
    cli("doctor", "--profile", "p", "--region", "eu-west-1", "--endpoint-url", NOWHERE)
    assert cli.connected == [("p", "eu-west-1", NOWHERE)]


# As the real program, whose session is opened.


JSON = ("doctor", "--output", "json")


@pytest.mark.parametrize(
    ("content", "level", "message", "remedy"),
    [
        (gateway(), "ok", f"{GATEWAY} can be imported, and has what a gateway has", ""),
        (
            gateway("import click"),
            "fail",
            f"{GATEWAY}: {{}}/shared/acme.py:2: ModuleNotFoundError: No module named 'click'",
            "pin what it imports in {}/requirements.txt, with its hash",
        ),
    ],
)
def test_the_gateway_that_the_settings_name_is_imported(
    content: str, level: str, message: str, remedy: str, program: Program, source: Path, clean: Path
) -> None:
    (source / "handlers" / "shared" / "acme.py").write_text(content)
    (clean / "payment-infra.toml").write_text(f"[environments.dev]\ngateway = '{GATEWAY}'\n")
    done = program(*JSON, "--suffix", "dev", source=source)
    [found] = [check for check in json.loads(done.stdout) if check["name"] == "gateway"]
    handlers = str(source / "handlers")
    assert found == {
        "name": "gateway",
        "level": level,
        "message": message.format(handlers),
        "remedy": remedy.format(handlers),
    }
    assert ("gateway" in done.stderr) == (level == "fail")


def test_without_credentials_it_is_said_how_to_get_them(program: Program) -> None:
    assert list(failed(program(*JSON))) == ["credentials"]


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("AWS_MAX_ATTEMPTS", "x", "AWS configuration"),
        ("HTTPS_PROXY", "http://alice:sec/ret@proxy", "endpoint"),
    ],
)
def test_a_value_of_the_aws_configuration_that_is_wrong_is_a_failure(
    variable: str, value: str, name: str, program: Program
) -> None:
    found = failed(program(*JSON, "--region", "eu-west-1", **CREDENTIALS, **{variable: value}))
    assert list(found) == [name]
    assert found[name].startswith(variable)
    assert "sec" not in found[name]


@pytest.mark.parametrize(
    ("arguments", "name", "message"),
    [
        (("--profile", "nobody"), "profile", "(nobody)"),
        (("--region", "us-east-11"), "region", "'us-east-11' is unknown to boto3 "),
        (("--endpoint-url", "nowhere"), "endpoint", "nowhere"),
        (("--endpoint-url", NOWHERE), "endpoint", "127.0.0.1:9 refuses the connection"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else None,
)
def test_a_session_that_cannot_be_opened_or_used_is_a_failure(
    arguments: tuple[str, ...], name: str, message: str, program: Program
) -> None:
    done = program(*JSON, *arguments, **CREDENTIALS)
    found = failed(done)
    assert list(found) == [name]
    assert message in found[name]
    assert json.loads(done.stdout)[-1]["message"].startswith("not checked: ")


def test_secrets_are_never_shown(program: Program) -> None:
    done = program("--debug", "doctor", "--endpoint-url", NOWHERE, **CREDENTIALS)
    assert not [one for one in CREDENTIALS.values() if one in done.stdout + done.stderr]


def test_a_library_that_cannot_be_imported_ends_no_check_of_the_machine(
    program: Program, source: Path
) -> None:
    (source / "botocore.py").write_text("raise ImportError('no botocore here')")
    done = program(*JSON, source=source, **CREDENTIALS)
    assert failed(done) == {"imports": "no botocore here"}
    assert json.loads(done.stdout)[-1]["message"] == "not checked: what needs AWS"
