"""The commands that look at an environment, where what they look at cannot be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from payment_infra import names
from tests.aws import FakeAws, FakeStack, Refused, event

if TYPE_CHECKING:
    from tests.functional.conftest import Cli


@pytest.fixture
def aws() -> FakeAws:
    parameters = {names.TRANSACTIONS_TABLE_OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev"}
    stack = FakeStack("payment-infra-dev", parameters=parameters, template="{}")
    return FakeAws(stacks={stack.name: stack})


def test_a_status_whose_alarms_cannot_be_read_is_no_success(cli: Cli, aws: FakeAws) -> None:
    aws.errors["cloudformation:ListStackResources"] = Refused("AccessDenied", "not yours")
    result = cli("status", "--suffix", "dev")
    assert result.exit_code == 1
    assert "alarms     unknown" in result.stdout
    [line] = result.stderr.splitlines()
    assert line.startswith(
        "Error: alarms, payments, concurrency, schedule, restores cannot be read: stack "
        "payment-infra-dev: not allowed to call ListStackResources"
    )


@pytest.mark.parametrize("holder", [True, False], ids=["recorded", "older"])
def test_a_status_says_the_version_that_the_record_says_or_else_the_template(
    cli: Cli, aws: FakeAws, holder: bool
) -> None:
    stack = aws.stacks["payment-infra-dev"]
    resources = {names.ALARM_TOPIC: {"Metadata": {"PaymentInfra": {"version": "7.7.7"}}}}
    stack.resources = {names.ALARM_TOPIC: "CREATE_COMPLETE"} if holder else {}
    section = {"PaymentInfra": {"Version": "6.6.6"}}
    stack.template = json.dumps({"Metadata": section, "Resources": resources if holder else {}})
    result = cli("status", "--suffix", "dev")
    assert f"payment-infra {'7.7.7' if holder else '6.6.6'}" in result.stdout


def test_a_cancelled_creation_takes_with_it_what_it_made_to_be_kept(cli: Cli, aws: FakeAws) -> None:
    stack = aws.stacks["payment-infra-dev"]
    stack.status, stack.resources = "CREATE_IN_PROGRESS", {"RetryLogGroup": "CREATE_COMPLETE"}
    made = event(1, "RetryLogGroup", "DELETE_SKIPPED") | {"ResourceType": "AWS::Logs::LogGroup"}
    aws.timeline = [("DELETE_COMPLETE", [made])]
    aws.answers["logs:DeleteLogGroup"] = {}
    result = cli("cancel", "--suffix", "dev", "--yes")
    assert result.exit_code == 0, result.stderr
    assert aws.called("logs:DeleteLogGroup") == [{"logGroupName": "RetryLogGroup"}]
    assert "Warning" not in result.stderr


def test_a_cancelled_creation_leaves_what_was_in_its_way(cli: Cli, aws: FakeAws) -> None:
    stack = aws.stacks["payment-infra-dev"]
    stack.status, stack.resources = "CREATE_IN_PROGRESS", {"RetryLogGroup": "CREATE_FAILED"}
    other = event(1, "RetryLogGroup", "DELETE_SKIPPED") | {"ResourceType": "AWS::Logs::LogGroup"}
    aws.timeline = [("DELETE_COMPLETE", [other])]
    result = cli("cancel", "--suffix", "dev", "--yes")
    assert result.exit_code == 0, result.stderr
    assert aws.called("logs:DeleteLogGroup") == []
    assert "Warning: RetryLogGroup: kept" in result.stderr


def test_the_log_of_notifications_that_a_stack_does_not_take_is_none_to_complete(
    cli: Cli, aws: FakeAws
) -> None:
    aws.stacks["payment-infra-dev"].resources = {"RetryLogGroup": "CREATE_COMPLETE"}
    result = cli("logs", "gateway-events", "--suffix", "dev")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: stack payment-infra-dev takes nothing that its gateway tells by itself; "
        "`payment-infra deploy --suffix dev --gateway-events` changes that\n",
    )
