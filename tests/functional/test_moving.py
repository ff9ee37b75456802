"""Another gateway while payments are in flight, at the command line: one line that says it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from payment_infra.names import IN_FLIGHT_INDEX
from tests.aws import FakeAws, Refused, event
from tests.functional.conftest import refused
from tests.stacks import Answer, own_event, template

if TYPE_CHECKING:
    from pathlib import Path

    from tests.functional.conftest import Cli

STACK = "payment-infra-dev"
DEPLOY = ("deploy", "--suffix", "dev", "--bucket", "zips", "--yes")
ACME = "acme.py:Acme"
CLASS = """
from datetime import timedelta


class Acme:
    KEY_RETENTION = timedelta(hours=24)

    def __init__(self, secret):
        pass

    def charge(self, transaction, idempotency_key):
        pass

    def find(self, idempotency_key):
        pass
"""


def in_flight(asked: Answer) -> Answer:
    """Answer for a table in which one payment is in process."""
    assert asked["IndexName"] == IN_FLIGHT_INDEX
    [key] = asked["ExpressionAttributeValues"].values()
    return {"Count": int(key == {"S": "processing#5"})}


@pytest.fixture
def environment(cli: Cli, aws: FakeAws, clean: Path, cache_with_layer: Path) -> tuple[Cli, FakeAws]:
    """An environment with the simulated gateway, and a payment in flight there."""
    assert cli(*DEPLOY).exit_code == 0
    (clean / "acme.py").write_text(CLASS)
    aws.answers["dynamodb:Query"] = in_flight
    return cli, aws


def test_deploy_refuses_it_in_one_line_and_does_it_when_it_is_named(
    environment: tuple[Cli, FakeAws],
) -> None:
    cli, aws = environment
    before = aws.stacks[STACK].template
    line = refused(cli(*DEPLOY, "--gateway", ACME), 1)
    assert line.startswith(
        f"stack {STACK}: this update changes the gateway from simulated to {ACME}, and 1 "
        "payment is in flight: "
    )
    assert line.endswith("--allow gateway`")
    assert aws.stacks[STACK].template == before
    result = cli(*DEPLOY, "--gateway", ACME, "--allow", "gateway")
    assert result.exit_code == 0
    functions = template(aws.stacks[STACK].template)["Resources"]
    variables = functions["RetryFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["GATEWAY"] == "acme:Acme"
    assert "1 payment is in flight" in result.stderr


def test_deploy_names_every_word_that_allow_takes(cli: Cli) -> None:
    result = cli(*DEPLOY, "--allow", "gateways")
    assert result.exit_code == 2
    assert "'gateways' is not one of broaden, open, replace, gateway" in result.stderr


def test_diff_tells_that_deploy_would_refuse_it(environment: tuple[Cli, FakeAws]) -> None:
    cli, _ = environment
    result = cli("diff", "--suffix", "dev", "--bucket", "zips", "--gateway", ACME)
    assert result.exit_code == 0
    assert "`payment-infra deploy --suffix dev` would refuse this: " in result.stderr
    assert "1 payment is in flight" in result.stderr


@pytest.mark.parametrize(
    ("command", "status"), [("rollback", "UPDATE_FAILED"), ("cancel", "UPDATE_IN_PROGRESS")]
)
def test_what_takes_an_update_back_refuses_it_and_does_it_when_it_is_named(
    environment: tuple[Cli, FakeAws], command: str, status: str
) -> None:
    cli, aws = environment
    stack = aws.stacks[STACK]
    stack.before = stack.template, stack.parameters, stack.outputs
    stack.resources["ProcessingFunction"] = "UPDATE_COMPLETE"
    had = {"ResourceProperties": json.dumps({"Environment": {"Variables": {"GATEWAY": "acme:A"}}})}
    stack.events = []
    stack.happen(
        status,
        [
            event(1000, "ProcessingFunction", "CREATE_COMPLETE") | had,
            own_event(stack, 1001, "UPDATE_IN_PROGRESS"),
            event(1002, "ProcessingFunction", "UPDATE_COMPLETE"),
        ],
    )
    aws.answers["lambda:GetFunctionConfiguration"] = {"Environment": {"Variables": {}}}
    line = refused(cli(command, "--suffix", "dev", "--yes"), 1)
    assert line.startswith(
        f"stack {STACK}: the rollback changes the gateway from simulated to acme.py:A, and 1 "
        "payment is in flight: "
    )
    assert line.endswith(f"`payment-infra {command} --suffix dev --yes --allow gateway`")
    assert stack.status == status
    result = cli(command, "--suffix", "dev", "--yes", "--allow", "gateway")
    assert result.exit_code == 0
    assert stack.status == "UPDATE_ROLLBACK_COMPLETE"


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_an_index_that_cannot_be_read_is_one_line_too(
    environment: tuple[Cli, FakeAws], code: str
) -> None:
    cli, aws = environment
    aws.errors["dynamodb:Query"] = Refused(code, "no")
    line = refused(cli(*DEPLOY, "--gateway", ACME), 1)
    assert "it is not known whether payments are in flight: index" in line
