"""What a person or a script gets wrong: one line that says so, and nothing changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from payment_infra.cloud.deploying import bucket as buckets
from tests.aws import ACCOUNT, FakeAws, FakeBucket, FakeStack, Refused
from tests.functional.conftest import REPOSITORY, Cli, Program, refused
from tests.gateways import GATEWAY, gateway

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
# Nothing listens there: a call that is made is an error of its own.
NOWHERE = "http://127.0.0.1:9"
SUFFIX_COMMANDS = (
    "render",
    "validate",
    "config",
    "upload",
    "deploy",
    "outputs",
    "smoke",
    "destroy",
)


def failed(done: subprocess.CompletedProcess[str], exit_code: int) -> str:
    """Return the one line on stderr of a real run."""
    assert done.returncode == exit_code, done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


@pytest.mark.parametrize("command", SUFFIX_COMMANDS)
@pytest.mark.parametrize(
    ("suffix", "reason"),
    [
        ("", "must not be empty"),
        ("a" * 31, "has 31 characters, at most 30 are allowed"),
        ("Dev", "must be lower-case letters and digits"),
        ("dev-", "must be lower-case letters and digits"),
    ],
)
def test_a_bad_suffix_is_refused_by_every_command(
    suffix: str, reason: str, command: str, cli: Cli, aws: FakeAws
) -> None:
    line = refused(cli(command, "--suffix", suffix), 2)
    assert line.startswith(f"--suffix: {suffix!r} is not allowed: it {reason}")
    assert aws.calls == []


@pytest.mark.parametrize("command", ["upload", "deploy", "outputs", "smoke", "destroy"])
def test_a_command_for_an_environment_asks_which(command: str, cli: Cli, aws: FakeAws) -> None:
    line = refused(cli(command), 2)
    assert line.startswith("no environment: give --suffix, PAYMENT_INFRA_SUFFIX, or suffix in ")
    assert aws.calls == []


@pytest.mark.parametrize("command", ["render", "validate", "config", "upload", "deploy"])
def test_an_unknown_preset_is_refused(command: str, cli: Cli, aws: FakeAws) -> None:
    line = refused(cli(command, "--suffix", "dev", "--preset", "staging"), 2)
    assert line == "--preset: 'staging' is not a preset; use development or production"
    assert aws.calls == []


def test_a_file_that_is_nested_too_deeply_is_refused(cli: Cli, aws: FakeAws, clean: Path) -> None:
    (clean / "payment-infra.toml").write_text("a = " + "[" * 100_000)
    line = refused(cli("render"), 2)
    assert line == "payment-infra.toml: not valid TOML: it is nested too deeply"
    (clean / "payment-infra.toml").unlink()
    (clean / "policy.json").write_text("[" * 100_000)
    line = refused(cli("deploy", "--suffix", "dev", "--stack-policy", "policy.json"), 2)
    assert "policy.json: not valid JSON: it is nested too deeply" in line
    assert aws.calls == []


@pytest.mark.parametrize("command", ["render", "deploy"])
def test_a_toml_syntax_error_is_refused(command: str, cli: Cli, aws: FakeAws, clean: Path) -> None:
    (clean / "payment-infra.toml").write_text("suffix = ")
    line = refused(cli(command), 2)
    assert line.startswith("payment-infra.toml: not valid TOML: ")
    assert aws.calls == []


def test_a_missing_configuration_file_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "missing.toml: there is no such file; check --config"
    assert refused(cli("render", "--config", "missing.toml"), 2) == expected
    monkeypatch.setenv("PAYMENT_INFRA_CONFIG", "missing.toml")
    assert refused(cli("render"), 2) == expected


def test_an_unknown_variable_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENT_INFRA_SUFIX", "dev")
    assert "did you mean suffix?" in refused(cli("render"), 2)


OUTPUT_COMMANDS = {"render": "out.yaml", "package": "", "openapi": "out.json"}


@pytest.mark.parametrize("command", OUTPUT_COMMANDS)
def test_an_output_directory_that_does_not_exist_is_refused_and_not_made(
    command: str, program: Program, clean: Path
) -> None:
    target = clean / "missing" / OUTPUT_COMMANDS[command]
    line = failed(program(command, "-o", target), 1)
    assert f"there is no directory {clean / 'missing'}; make it first" in line
    assert list(clean.iterdir()) == []


@pytest.mark.parametrize("command", OUTPUT_COMMANDS)
def test_an_output_that_cannot_be_written_is_refused(
    command: str, program: Program, clean: Path
) -> None:
    # Root, too, cannot make it, whom no mode would stop.
    target = clean / ("n" * 300)
    line = failed(program(command, "-o", target), 1)
    assert line.startswith(str(target))
    assert line.endswith(": cannot be written (File name too long)")
    assert list(clean.iterdir()) == []


def test_an_output_that_is_a_directory_is_refused(program: Program, clean: Path) -> None:
    line = failed(program("render", "-o", clean), 1)
    assert line == f"{clean}: is a directory; name a file in it"
    assert list(clean.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("render", "-o"),
        ("openapi", "-o"),
        ("export", "--suffix", "dev", "-o"),
        ("destroy", "--suffix", "dev", "--export"),
        ("restore", "--suffix", "dev", "--undo", "--report"),
        ("failed", "purge", "--suffix", "dev", "--export"),
    ],
)
def test_a_name_with_a_slash_at_its_end_is_no_file(
    arguments: tuple[str, ...], cli: Cli, clean: Path
) -> None:
    line = refused(cli(*arguments, "new/"), 2)
    assert "new/ is a directory; name a file in it (see " in line
    assert list(clean.iterdir()) == []
    assert cli.connected == []


def test_dependencies_that_cannot_be_downloaded_are_named_and_rendering_needs_none(
    program: Program, clean: Path, tmp_path: Path
) -> None:
    offline = {
        "XDG_CACHE_HOME": str(tmp_path / "empty"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": NOWHERE,
        "PIP_RETRIES": "0",
    }
    line = failed(program("package", **offline), 1)
    assert line.startswith("aws-lambda-powertools==")
    assert " cannot be had for the dependency layer: " in line
    assert line.endswith("`payment-infra render` needs none of this")
    assert list(clean.iterdir()) == []
    assert program("render", **offline).returncode == 0


def test_a_directory_of_zips_that_is_a_file_is_refused(cli: Cli, clean: Path) -> None:
    (clean / "dist").write_text("old")
    assert "dist" in refused(cli("package"), 1)
    assert "file" in refused(cli("package", "-o", "file"), 1)
    assert [(path.name, path.read_text()) for path in clean.iterdir()] == [("dist", "old")]


@pytest.mark.parametrize("arguments", [("render",), ("config",), ("render", "-o", "out.yaml")])
def test_a_disk_that_takes_no_more_is_told(arguments: tuple[str, ...], clean: Path) -> None:
    # A limit on files is what every system has: no byte of this one can be written.
    with (clean / "stdout").open("w") as limited:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_SPACE, *arguments],
            cwd=clean,
            env={"PYTHONPATH": str(REPOSITORY)},
            stdout=limited,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "File too large" in line
    assert [(path.name, path.stat().st_size) for path in clean.iterdir()] == [("stdout", 0)]


WITHOUT_SPACE = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from payment_infra.cli import main
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("deploy", "--suffix", "dev"),
        ("upload", "--suffix", "dev"),
        ("bootstrap",),
        ("outputs", "--suffix", "dev"),
        ("destroy", "--suffix", "dev", "--yes"),
        ("smoke", "--suffix", "dev"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_without_credentials_it_is_said_how_to_get_them(
    arguments: tuple[str, ...], program: Program
) -> None:
    line = failed(program(*arguments), 1)
    assert line.endswith("no AWS credentials; set --profile or AWS_PROFILE, or run `aws configure`")


EVERY_REMOTE_COMMAND = pytest.mark.parametrize(
    "arguments",
    [
        ("deploy", "--suffix", "dev", "--bucket", "zips"),
        ("upload", "--suffix", "dev", "--bucket", "zips"),
        ("bootstrap",),
        ("outputs", "--suffix", "dev"),
        ("destroy", "--suffix", "dev", "--yes"),
        ("smoke", "--suffix", "dev"),
    ],
    ids=lambda arguments: arguments[0],
)


@EVERY_REMOTE_COMMAND
def test_expired_credentials_are_told_with_what_to_do(
    arguments: tuple[str, ...], cli: Cli, aws: FakeAws
) -> None:
    aws.errors["*"] = Refused("ExpiredToken", "The security token is expired", 403)
    line = refused(cli(*arguments), 1)
    assert "the AWS credentials have expired; sign in again" in line
    assert len(aws.calls) == 1


def test_a_region_that_does_not_exist_is_refused_with_the_likely_one(program: Program) -> None:
    arguments = ("outputs", "--suffix", "dev")
    for done in (
        program(*arguments, "--region", "us-east-11", **CREDENTIALS),
        program(*arguments, AWS_REGION="us-east-11", **CREDENTIALS),
    ):
        line = failed(done, 2)
        assert line.startswith("region 'us-east-11' is unknown to boto3 ")
        assert line.endswith("did you mean us-east-1?")


def test_a_profile_that_does_not_exist_is_named(program: Program) -> None:
    line = failed(program("outputs", "--suffix", "dev", "--profile", "nobody"), 1)
    assert "(nobody)" in line


@pytest.mark.parametrize("url", ["http://127.0.0.1:bad", "nowhere"])
def test_an_endpoint_that_is_no_address_is_named(url: str, program: Program) -> None:
    arguments = ("outputs", "--suffix", "dev", "--endpoint-url", url)
    assert "; check --endpoint-url, AWS_END" in failed(program(*arguments, **CREDENTIALS), 1)


@EVERY_REMOTE_COMMAND
def test_a_network_that_is_not_there_is_told(
    arguments: tuple[str, ...], cli: Cli, aws: FakeAws
) -> None:
    aws.errors["*"] = EndpointConnectionError(endpoint_url="https://x.example")
    line = refused(cli(*arguments), 1)
    assert line.endswith("check the network, --region and --endpoint-url")


@pytest.mark.parametrize("command", ["upload", "deploy"])
@pytest.mark.parametrize(
    ("bucket", "complaint"),
    [
        (None, "bucket zips does not exist; check --bucket"),
        (FakeBucket(owner="999999999999"), f"bucket zips is not open to account {ACCOUNT}: "),
        (FakeBucket(region="us-west-2"), "bucket zips is in us-west-2, and Lambda takes code only"),
    ],
    ids=["missing", "of another account", "in another region"],
)
def test_a_bucket_that_cannot_be_used_is_refused(
    bucket: FakeBucket | None,
    complaint: str,
    command: str,
    cli: Cli,
    aws: FakeAws,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buckets, "POLL_SECONDS", (0,))
    aws.buckets = {"zips": bucket} if bucket else {}
    line = refused(cli(command, "--suffix", "dev", "--bucket", "zips"), 1)
    assert line.startswith(complaint)
    assert aws.changes() == []


@pytest.mark.parametrize(
    "arguments",
    [("deploy", "--bucket", "zips"), ("destroy", "--yes")],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "ROLLBACK_COMPLETE"])
def test_a_stack_of_something_else_is_left_alone(
    status: str, arguments: tuple[str, ...], cli: Cli, aws: FakeAws
) -> None:
    aws.stacks["payment-infra-dev"] = FakeStack("payment-infra-dev", status, {"Vpc": "vpc-1"})
    line = refused(cli(*arguments, "--suffix", "dev"), 1)
    assert line.startswith("a stack named payment-infra-dev exists and was not made by payment-")
    assert aws.changes() == []


@pytest.mark.parametrize(
    ("command", "status"), [("cancel", "CREATE_IN_PROGRESS"), ("rollback", "CREATE_FAILED")]
)
def test_an_operation_of_something_else_is_left_alone(
    command: str, status: str, cli: Cli, aws: FakeAws
) -> None:
    aws.stacks["network"] = FakeStack("network", status, {"Vpc": "vpc-1"})
    line = refused(cli(command, "--stack-name", "network", "--yes"), 1)
    assert line.startswith("a stack named network exists and was not made by payment-infra")
    assert aws.changes() == []


@pytest.mark.parametrize("outputs", [{}, {"VpcId": "vpc-1"}])
@pytest.mark.parametrize(
    "arguments",
    [("bootstrap",), ("upload", "--suffix", "dev"), ("deploy", "--suffix", "dev")],
    ids=lambda arguments: arguments[0],
)
def test_a_stack_of_something_else_is_not_made_the_buckets(
    arguments: tuple[str, ...], outputs: dict[str, str], cli: Cli, aws: FakeAws
) -> None:
    aws.stacks["payment-artifacts"] = FakeStack("payment-artifacts", outputs=outputs)
    line = refused(cli(*arguments), 1)
    assert line.startswith("a stack named payment-artifacts exists and was not made by payment-")
    assert aws.changes() == []


@pytest.mark.parametrize("command", ["deploy", "destroy"])
def test_the_stack_of_another_environment_is_left_alone(
    command: str, cli: Cli, aws: FakeAws
) -> None:
    assert cli("deploy", "--suffix", "dev", "--bucket", "zips", "--yes").exit_code == 0
    before = aws.changes()
    arguments = ("--suffix", "prod", "--stack-name", "payment-infra-dev")
    extra = ("--bucket", "zips") if command == "deploy" else ("--yes",)
    line = refused(cli(command, *arguments, *extra), 1)
    assert line.startswith("stack payment-infra-dev is the environment 'dev', not 'prod'")
    assert aws.changes() == before


@pytest.mark.parametrize("name", ["1dev", "dev_1", "a" * 129, "", "dev\n"])
def test_a_stack_name_that_aws_would_refuse_is_refused(name: str, cli: Cli, aws: FakeAws) -> None:
    line = refused(cli("outputs", "--suffix", "dev", "--stack-name", name), 2)
    assert "must be 1 to 128 letters, digits and dashes, the first a letter" in line
    assert aws.calls == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("package", "-o", "."),
        ("package",),
        ("upload", "--suffix", "dev", "--endpoint-url", NOWHERE),
        ("deploy", "--suffix", "dev", "--endpoint-url", NOWHERE),
    ],
    ids=" ".join,
)
def test_a_handler_with_a_syntax_error_is_refused_with_file_and_line_before_anything_is_done(
    arguments: tuple[str, ...], program: Program, source: Path, clean: Path
) -> None:
    broken = source / "handlers" / "processing.py"
    broken.write_text("import os\n\ndef handler(event, context:\n    pass\n")
    line = failed(program(*arguments, source=source, **CREDENTIALS), 1)
    assert line.startswith(f"{broken}:3: ")
    assert line.endswith("processing was not packaged, mend the file first")
    assert list(clean.iterdir()) == []


GATEWAY_COMMANDS = (
    ("package", "-o", "."),
    ("package",),
    ("upload", "--suffix", "dev", "--endpoint-url", NOWHERE),
    ("deploy", "--suffix", "dev", "--endpoint-url", NOWHERE),
)


@pytest.mark.parametrize("arguments", GATEWAY_COMMANDS, ids=" ".join)
def test_a_gateway_that_the_functions_cannot_import_is_refused_before_anything_is_done(
    arguments: tuple[str, ...], program: Program, source: Path, clean: Path
) -> None:
    acme = source / "handlers" / "shared" / "acme.py"
    acme.write_text(gateway("import click"))
    line = failed(program(*arguments, "--gateway", GATEWAY, source=source, **CREDENTIALS), 1)
    assert line == (
        f"gateway {GATEWAY}: {acme}:2: ModuleNotFoundError: No module named 'click'; "
        f"pin what it imports in {source}/handlers/requirements.txt, with its hash"
    )
    assert list(clean.iterdir()) == []


@pytest.mark.parametrize("arguments", GATEWAY_COMMANDS, ids=" ".join)
def test_a_gateway_without_a_class_is_refused_as_a_setting(
    arguments: tuple[str, ...], program: Program, source: Path, clean: Path
) -> None:
    (source / "handlers" / "shared" / "acme.py").write_text(f"{gateway()}Acme = None\n")
    line = failed(program(*arguments, "--gateway", GATEWAY, source=source, **CREDENTIALS), 2)
    assert line.endswith("acme.py: Acme is no class; name a class of that module")
    assert list(clean.iterdir()) == []


def test_package_looks_at_the_gateway_of_the_environment_that_it_is_told(
    program: Program, source: Path, clean: Path
) -> None:
    (source / "handlers" / "shared" / "acme.py").write_text(gateway(find=""))
    (clean / "payment-infra.toml").write_text(f"[environments.dev]\ngateway = '{GATEWAY}'\n")
    line = failed(program("package", "--suffix", "dev", source=source), 1)
    assert "acme.py:3: Acme has no method find; " in line
    assert program("package", "--suffix", "test", source=source).returncode == 0
    (source / "handlers" / "shared" / "acme.py").write_text(gateway())
    assert program("package", "--suffix", "dev", source=source).returncode == 0


def test_where_nobody_can_be_asked_nothing_is_deleted(cli: Cli, aws: FakeAws) -> None:
    assert cli("deploy", "--suffix", "dev", "--bucket", "zips", "--yes").exit_code == 0
    before = aws.changes()
    line = refused(cli("destroy", "--suffix", "dev"), 2)
    assert line == "there is no terminal to ask on; add --yes to go ahead"
    assert aws.changes() == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("deplyo",), "No such command 'deplyo'. Did you mean 'deploy'?"),
        (("failed", "redirve"), "No such command 'redirve'. Did you mean 'redrive'?"),
        (("synthesize",), "No such command 'synthesize'. (see "),
        (("render", "--sufix", "dev"), "No such option"),
        (("render", "--format", "toml"), "'toml' is not one of 'yaml', 'json'"),
        (("render", "--tag", "Team"), "must be KEY=VALUE"),
        (("render", "--check"), "--check compares with a file; name it with -o FILE"),
        (("local", "--port", "70000"), "70000 is not in the range"),
        (("--sufix", "dev"), "No such option '--sufix'. (see `root --help`)"),
        (("render", "--suffix"), "requires an argument. (see `root render --help`)"),
    ],
    ids=" ".join,
)
def test_a_slip_on_the_command_line_is_one_line(
    arguments: tuple[str, ...], complaint: str, cli: Cli
) -> None:
    assert complaint in refused(cli(*arguments), 2)


@pytest.mark.parametrize("arguments", [(), ("failed",)], ids=["program", "failed"])
def test_a_group_without_a_command_shows_its_help(arguments: tuple[str, ...], cli: Cli) -> None:
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == cli(*arguments, "--help").stdout


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--no-execute", "--change-set", "one"), "--no-execute leaves a change set"),
        (
            ("--change-set", "one", "--parameter", "LogRetentionDays=14"),
            "--change-set: a change set has its parameters, role and topics already",
        ),
        (
            ("--change-set", "one", "--role-arn", "arn:aws:iam::1:role/r"),
            "--change-set: a change set has its parameters, role and topics already",
        ),
        (
            ("--import-existing-resources", "--no-execute"),
            "--import-existing-resources takes an import and an update",
        ),
        (
            ("--import-existing-resources", "--change-set", "one"),
            "--import-existing-resources takes an import and an update",
        ),
        (("--detach", "--timeout", "5"), "--timeout cancels a deployment that is followed"),
    ],
    ids=" ".join,
)
def test_options_of_a_deployment_that_exclude_each_other_are_refused(
    options: tuple[str, ...], complaint: str, cli: Cli, aws: FakeAws
) -> None:
    line = refused(cli("deploy", "--suffix", "dev", "--yes", *options), 2)
    assert line.startswith(complaint)
    assert aws.calls == []


@pytest.mark.parametrize("option", ["--check", "--validate"])
def test_a_file_that_cannot_be_read_is_named(option: str, cli: Cli) -> None:
    arguments = ("render", "--check", "-o") if option == "--check" else ("validate",)
    line = refused(cli(*arguments, "missing.yaml"), 1)
    assert line == "missing.yaml: cannot be read (No such file or directory)"


@pytest.mark.parametrize(
    ("option", "command"), [("--interval", ("status", "--watch")), ("--timeout", ("deploy",))]
)
@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e400", "0", "1e9"])
def test_a_time_that_nobody_can_wait_is_refused(
    option: str, command: tuple[str, ...], number: str, cli: Cli
) -> None:
    line = refused(cli(*command, "--suffix", "dev", option, number), 2)
    assert line.startswith(f"Invalid value for '{option}': ")
    assert cli.connected == []
