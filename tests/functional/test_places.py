"""Where commands go: what the file says of each environment, and what is stronger and weaker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from payment_infra.cli import COMMANDS, root
from tests.functional.conftest import Cli, Program, refused

if TYPE_CHECKING:
    from tests.aws import FakeAws

FILE = """
profile = "payments-dev"
region = "eu-central-1"

[environments.prod]
profile = "payments-prod"
region = "eu-west-1"
stack_name = "acme-payments"
"""
PROD = ("payments-prod", "eu-west-1", None)
# What a command needs besides.
NEEDED = {
    "restore": ("--to", "latest"),
    "subscribe": ("--list",),
    "failed show": ("5f0c954e-9f3a-4c8b-8a41-9e3d3c1f0a11",),
    **dict.fromkeys(("payment show", "payment settle", "payment cancel"), ("a-transaction",)),
    "failed purge": ("--export", "dead-letters.jsonl"),
}


def _commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command that calls AWS."""
    for name in COMMANDS:
        command = root.get_command(click.Context(root), name)
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        for sub, one in inner.items():
            if one is not None and any(param.name == "endpoint_url" for param in one.params):
                yield (name, sub) if sub else (name,)


@pytest.fixture(autouse=True)
def file(clean: Path) -> Path:
    path = clean / "payment-infra.toml"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize("words", list(_commands()), ids=" ".join)
def test_every_command_goes_where_the_section_of_its_environment_says(
    words: tuple[str, ...], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "elsewhere")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    cli(*words, "--suffix", "prod", *NEEDED.get(" ".join(words), ()))
    assert cli.connected == [PROD]


@pytest.mark.parametrize("command", ["list", "bootstrap"])
def test_a_command_about_no_environment_goes_where_the_top_level_says(
    command: str, cli: Cli, file: Path
) -> None:
    cli(command)
    file.write_text(f"suffix = 'prod'\n{FILE}")
    cli(command)
    other = file.rename(file.with_name("other.toml"))
    cli(command, "--config", other)
    assert cli.connected == [("payments-dev", "eu-central-1", None), PROD, PROD]


def test_variables_are_stronger_than_the_file_and_flags_than_these(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYMENT_INFRA_PROFILE", "mine")
    monkeypatch.setenv("PAYMENT_INFRA_REGION", "eu-north-1")
    cli("list", "--suffix", "prod")
    cli("list", "--suffix", "prod", "--profile", "given", "--region", "eu-south-1")
    assert cli.connected == [("mine", "eu-north-1", None), ("given", "eu-south-1", None)]


def test_an_empty_variable_leaves_the_credentials_to_the_aws_configuration(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYMENT_INFRA_PROFILE", "")
    cli("list", "--suffix", "prod")
    assert cli.connected == [(None, "eu-west-1", None)]


def test_a_section_leaves_the_top_levels_profile_out(cli: Cli, file: Path) -> None:
    file.write_text(f"{FILE}[environments.local]\nprofile = ''\nregion = 'us-east-1'")
    cli("list", "--suffix", "local", "--endpoint-url", "http://127.0.0.1:9")
    assert cli.connected == [(None, "us-east-1", "http://127.0.0.1:9")]


def test_the_stack_is_the_one_that_the_section_names(cli: Cli, aws: FakeAws) -> None:
    deploy = ("deploy", "--suffix", "prod", "--bucket", "zips", "--yes")
    assert cli(*deploy).exit_code == 0
    assert list(aws.stacks) == ["acme-payments"]
    assert cli(*deploy, "--stack-name", "another").exit_code == 0
    assert list(aws.stacks) == ["acme-payments", "another"]


def test_an_advised_command_leads_to_the_same_place_without_the_file(cli: Cli) -> None:
    line = refused(cli("outputs", "--suffix", "prod"), 1)
    assert (
        "--suffix prod --stack-name acme-payments --profile payments-prod --region eu-west-1`"
        in line
    )


def test_the_template_is_the_same_wherever_it_goes(cli: Cli, file: Path) -> None:
    placed = cli("render", "--suffix", "prod").stdout
    file.unlink()
    assert placed == cli("render", "--suffix", "prod").stdout


def test_a_profile_that_does_not_exist_is_told_with_what_asks_for_it(program: Program) -> None:
    line = program("outputs", "--suffix", "prod").stderr
    assert line == (
        "Error: payment-infra.toml [environments.prod]: The config profile (payments-prod) could "
        "not be found; see `aws configure list-profiles`\n"
    )
    line = program("list", PAYMENT_INFRA_PROFILE="nobody").stderr
    assert line.startswith("Error: PAYMENT_INFRA_PROFILE: The config profile (nobody) could not be")


def test_a_region_that_does_not_exist_is_told_with_what_asks_for_it(
    program: Program, file: Path
) -> None:
    file.write_text("region = 'us-esat-1'")
    done = program("list")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: payment-infra.toml: region 'us-esat-1' is unknown to")


def test_what_is_no_place_is_refused(cli: Cli, file: Path) -> None:
    for content, problem in (
        ("regoin = 'x'", "payment-infra.toml: regoin: unknown key; did you mean region?"),
        ("region = 'eu west'", "payment-infra.toml: region: 'eu west' is not allowed: it must be"),
        ("stack_name = '1'", "payment-infra.toml: stack_name: '1' is not allowed: it must be 1 to"),
        ("[environments.dev]\nprofile = 1", "payment-infra.toml [environments.dev]: profile: 1 is"),
    ):
        file.write_text(content)
        assert refused(cli("list"), 2).startswith(problem)


def test_config_shows_the_place_and_its_sources(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(*arguments: str) -> list[tuple[str, str]]:
        every = json.loads(cli("config", "--output", "json", *arguments).stdout)
        names = ("profile", "region", "stack_name")
        return [(every[name]["value"], every[name]["source"]) for name in names]

    section = "payment-infra.toml [environments.prod]"
    assert shown("--suffix", "prod") == [
        ("payments-prod", section),
        ("eu-west-1", section),
        ("acme-payments", section),
    ]
    monkeypatch.setenv("PAYMENT_INFRA_PROFILE", "")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert shown("--suffix", "dev") == [
        ("mine", "AWS_PROFILE"),
        ("eu-central-1", "payment-infra.toml"),
        ("payment-infra-dev", "default"),
    ]
    Path("payment-infra.toml").unlink()
    monkeypatch.delenv("AWS_PROFILE")
    assert shown() == [("", "AWS configuration"), ("", "AWS configuration"), ("", "default")]


def test_the_profile_of_the_file_gives_the_credentials_whatever_the_shell_exports(
    program: Program, clean: Path
) -> None:
    """As the AWS SDK has it of a profile that is asked for."""
    aws = clean / "config"
    aws.write_text("[profile payments-prod]\n")  # which has no credentials
    done = program(
        "list",
        *("--suffix", "prod"),
        AWS_CONFIG_FILE=str(aws),
        AWS_ACCESS_KEY_ID="AKIAELSEWHERE",
        AWS_SECRET_ACCESS_KEY="elsewhere",
    )
    assert done.returncode == 1
    assert "no AWS credentials; set --profile or AWS_PROFILE" in done.stderr


UNCONDITIONAL = """
Resources:
  Function:
    Type: AWS::Lambda::Function
    Properties:
      Code: {S3Bucket: zips, S3Key: code.zip}
      Handler: code.handler
      Role: !Sub arn:${AWS::Partition}:iam::123456789012:role/function
      Runtime: python3.13
      SnapStart: {ApplyOn: PublishedVersions}
"""


def test_validate_checks_for_the_region_in_use(
    cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("template.yaml").write_text(UNCONDITIONAL)
    assert cli("validate", "template.yaml", "--suffix", "prod").exit_code == 0
    file.write_text("region = 'us-gov-west-1'")
    result = cli("validate", "template.yaml")
    assert result.exit_code == 1
    assert "E2530  Resources/Function/Properties/SnapStart" in result.stdout
    assert "not supported in ['us-gov-west-1']" in result.stdout
    assert cli("validate", "template.yaml", "--region", "eu-west-1").exit_code == 0
    file.unlink()
    told = cli("validate", "template.yaml").stderr
    assert told == "template.yaml: no errors, 1 warnings in eu-central-1\n"  # the session's


def test_what_a_condition_keeps_out_of_a_region_is_no_error_there(cli: Cli) -> None:
    """The production template has SnapStart where there is any."""
    arguments = ("--suffix", "prod", "--preset", "production", "--region", "us-gov-west-1")
    result = cli("validate", "--strict", *arguments)
    assert (result.exit_code, result.stdout) == (0, "")


def test_validate_needs_no_profile_and_no_region_that_cfn_lint_knows(
    program: Program, file: Path
) -> None:
    Path("template.yaml").write_text(UNCONDITIONAL)
    file.write_text("profile = 'nobody'")
    assert program("validate", AWS_REGION="us-esat-1", PAYMENT_INFRA_PROFILE="").returncode == 2
    assert program("validate", AWS_RETRY_MODE="foo", PAYMENT_INFRA_PROFILE="").returncode == 0
    for arguments, problem in (
        ((), "payment-infra.toml: The config profile (nobody) could not be found; see `aws"),
        (("--region", "nz-north-1"), "cfn-lint does not know nz-north-1; the template is checked"),
    ):
        done = program("validate", "template.yaml", *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith(problem)
        assert done.stderr.endswith("no errors, 1 warnings in us-east-1\n")
