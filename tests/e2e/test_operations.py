"""Deployments that do not go well: they say why, leave what they promised, and can be repeated."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from payment_infra.local.stack import open_session
from payment_infra.names import OPERATIONS_TABLE
from tests.e2e.harness import (
    COMMAND_SECONDS,
    aws_variables,
    checkout,
    clean_environment,
    command,
)
from tests.e2e.terminal import CTRL_C, Terminal, at_terminal

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator

LAYER = "Layers=[dependencies.ref()]"
NO_LAYER = 'Layers=["arn:aws:lambda:us-east-1:000000000000:layer:none:1"]'
ADD_RESOURCES = "    for output in (\n"
# A resource that is not complete until somebody says so, or until its time is up.
HOLD = """
    from troposphere.cloudformation import WaitCondition, WaitConditionHandle

    handle = template.add_resource(WaitConditionHandle("HoldHandle"))
    template.add_resource(WaitCondition("Hold", Handle=handle.ref(), Timeout="120"))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return checkout(tmp_path)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


@contextmanager
def broken(folder: Path) -> Iterator[None]:
    """Let the functions name a layer that does not exist, while the block lasts."""
    module = folder / "payment_infra" / "groups" / "function_parts.py"
    replace(module, LAYER, NO_LAYER)
    yield
    replace(module, NO_LAYER, LAYER)


def hold(folder: Path) -> None:
    """Let a deployment take as long as a test wants it to."""
    replace(folder / "payment_infra" / "template.py", ADD_RESOURCES, HOLD + ADD_RESOURCES)


def status_of(aws: Emulator, suffix: str) -> str | None:
    client = open_session(aws).client("cloudformation")
    stacks = client.describe_stacks()["Stacks"]
    named = [one for one in stacks if one["StackName"] == f"payment-infra-{suffix}"]
    return str(named[0]["StackStatus"]) if named else None


def change_sets(aws: Emulator, suffix: str) -> list[str]:
    """Return those that could still be executed; AWS deletes the others, the emulator does not."""
    client = open_session(aws).client("cloudformation")
    answer = client.list_change_sets(StackName=f"payment-infra-{suffix}")
    return [
        one["ChangeSetName"] for one in answer["Summaries"] if one["ExecutionStatus"] == "AVAILABLE"
    ]


def test_a_create_that_fails_says_why_and_is_made_again(aws: Emulator, folder: Path) -> None:
    deploy = ("deploy", "--suffix", "op-1", "--yes")
    with broken(folder):
        status, out, err = command(aws, folder, *deploy)
    assert (status, out) == (3, "")
    last = err.splitlines()[-1]
    assert last.startswith("Error: stack payment-infra-op-1 is ROLLBACK_COMPLETE: ")
    assert "built in payment_infra/groups/functions.py" in last
    assert "layer:none:1 does not exist" in last
    assert status_of(aws, "op-1") == "ROLLBACK_COMPLETE"
    status, out, err = command(aws, folder, *deploy)
    assert status == 0, err
    assert status_of(aws, "op-1") == "CREATE_COMPLETE"


def test_an_update_that_fails_is_rolled_back_and_the_next_one_succeeds(
    aws: Emulator, folder: Path
) -> None:
    deploy = ("deploy", "--suffix", "op-2", "--yes")
    assert command(aws, folder, *deploy)[0] == 0
    with broken(folder):
        status, out, _ = command(aws, folder, *deploy, "--output", "json")
    error = json.loads(out.splitlines()[-1])
    assert (status, error["type"], error["exit_code"]) == (3, "error", 3)
    assert error["cause"]["template_path"].startswith("Resources.")
    assert status_of(aws, "op-2") == "UPDATE_ROLLBACK_COMPLETE"
    status, _, err = command(aws, folder, *deploy, "--throttle-rate-limit", "5")
    assert status == 0, err
    assert status_of(aws, "op-2") == "UPDATE_COMPLETE"
    assert change_sets(aws, "op-2") == []


def test_what_is_kept_for_a_look_is_rolled_back_later(aws: Emulator, folder: Path) -> None:
    with broken(folder):
        status, _, err = command(
            aws, folder, "deploy", "--suffix", "op-3", "--yes", "--no-rollback"
        )
    assert status == 3
    assert err.splitlines()[-1].endswith("` undoes it")
    assert status_of(aws, "op-3") == "CREATE_FAILED"
    status, _, err = command(aws, folder, "rollback", "--suffix", "op-3", "--yes")
    assert status == 0, err
    assert status_of(aws, "op-3") == "ROLLBACK_COMPLETE"


def test_a_stack_that_somebody_left_in_review_is_used(aws: Emulator, folder: Path) -> None:
    client = open_session(aws).client("cloudformation")
    client.create_change_set(
        StackName="payment-infra-op-4",
        ChangeSetName="theirs",
        ChangeSetType="CREATE",
        TemplateBody='{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}',
    )
    assert status_of(aws, "op-4") == "REVIEW_IN_PROGRESS"
    status, _, err = command(aws, folder, "deploy", "--suffix", "op-4", "--yes")
    assert status == 0, err
    assert status_of(aws, "op-4") == "CREATE_COMPLETE"


def test_a_change_of_iam_is_shown_and_needs_its_own_consent(aws: Emulator, folder: Path) -> None:
    deploy = ("deploy", "--suffix", "op-5", "--yes")
    assert command(aws, folder, *deploy)[0] == 0
    replace(
        folder / "payment_infra" / "groups" / "iam.py",
        "[dynamodb.PutItem]",
        "[dynamodb.PutItem, dynamodb.GetItem]",
    )
    status, out, _ = command(aws, folder, "diff", "--suffix", "op-5", "--fail", "--output", "json")
    comparison = json.loads(out)
    assert (status, comparison["same"]) == (4, False)
    added = {(one["role"], *one["actions"]) for one in comparison["iam"] if one["added"]}
    assert ("ValidationRole", "dynamodb:GetItem", "dynamodb:PutItem") in added
    status, _, err = command(aws, folder, *deploy)
    assert status == 2
    assert "--allow broaden" in err.splitlines()[-1]
    assert "+ Allow ValidationRole\n    dynamodb:GetItem" in err
    assert change_sets(aws, "op-5") == []
    status, _, err = command(aws, folder, *deploy, "--allow", "broaden")
    assert status == 0, err
    assert command(aws, folder, "diff", "--suffix", "op-5", "--fail")[:2] == (
        0,
        "There are no differences.\n",
    )


def test_a_change_set_is_left_and_executed_later(aws: Emulator, folder: Path) -> None:
    deploy = ("deploy", "--suffix", "op-6", "--yes")
    status, _, err = command(aws, folder, *deploy, "--no-execute")
    assert status == 0, err
    [name] = change_sets(aws, "op-6")
    assert f"--change-set {name}" in err
    assert status_of(aws, "op-6") == "REVIEW_IN_PROGRESS"
    status, _, err = command(aws, folder, *deploy, "--change-set", name)
    assert status == 0, err
    assert status_of(aws, "op-6") == "CREATE_COMPLETE"


def test_a_production_stack_is_protected_until_that_is_lifted(aws: Emulator, folder: Path) -> None:
    deploy = ("deploy", "--suffix", "op-7", "--yes", "--preset", "production")
    assert command(aws, folder, *deploy)[0] == 0
    destroy = ("destroy", "--suffix", "op-7", "--yes")
    status, _, err = command(aws, folder, *destroy)
    assert status == 1
    assert "has termination protection" in err
    status, _, err = command(
        aws,
        folder,
        *deploy,
        *("--no-termination-protection", "--no-deletion-protection", "--no-retain-data"),
    )
    assert status == 0, err
    status, _, err = command(aws, folder, *destroy)
    assert status == 0, err
    assert status_of(aws, "op-7") is None


def test_two_at_once_and_one_that_is_cancelled(aws: Emulator, folder: Path) -> None:
    hold(folder)
    deploy = ("deploy", "--suffix", "op-8", "--yes")
    status, _, err = command(aws, folder, *deploy, "--detach")
    assert status == 0, err
    assert status_of(aws, "op-8") == "CREATE_IN_PROGRESS"
    status, _, err = command(aws, folder, *deploy, "--no-wait")
    assert status == 1
    assert "is busy: CREATE_IN_PROGRESS since" in err
    assert "begun by" in err
    status, _, err = command(aws, folder, "cancel", "--suffix", "op-8", "--yes")
    assert status == 0, err
    assert err.splitlines()[-1] == "payment-infra-op-8: DELETE_COMPLETE"
    assert status_of(aws, "op-8") is None


def test_an_operation_that_takes_too_long_is_cancelled(aws: Emulator, folder: Path) -> None:
    hold(folder)
    status, _, err = command(
        aws, folder, "deploy", "--suffix", "op-9", "--yes", "--timeout", "0.01"
    )
    assert status == 3
    assert "was not done after 1 s, and was cancelled" in err.splitlines()[-1]
    assert status_of(aws, "op-9") is None


@contextmanager
def deploying(aws: Emulator, folder: Path, suffix: str, *options: str) -> Iterator[Terminal]:
    """Deploy at a terminal."""
    program = [sys.executable, "-m", "payment_infra", "deploy", "--suffix", suffix]
    variables = clean_environment(folder) | aws_variables(aws.url) | {"PYTHONPATH": str(folder)}
    with at_terminal([*program, *options], folder, variables) as terminal:
        yield terminal


@pytest.mark.parametrize("keys", [CTRL_C, "n\n"])
def test_a_no_at_the_question_leaves_nothing_behind(keys: str, aws: Emulator, folder: Path) -> None:
    with deploying(aws, folder, "op-10") as terminal:
        terminal.until("Create the stack payment-infra-op-10 in us-east-1: ")
        terminal.press(keys)
        assert terminal.end() == 130
    assert "Traceback" not in terminal.text
    assert status_of(aws, "op-10") is None


def test_ctrl_c_while_it_goes_on_leaves_it_going(aws: Emulator, folder: Path) -> None:
    hold(folder)
    with deploying(aws, folder, "op-11") as terminal:
        terminal.until("[y/N]: ")
        terminal.press("y\n")
        terminal.until("CREATE_IN_PROGRESS    Hold")
        terminal.press(CTRL_C)
        assert terminal.end() == 130
    assert "payment-infra watch --suffix op-11" in terminal.text
    assert "Traceback" not in terminal.text
    assert terminal.raw.rfind("\x1b[?25h") > terminal.raw.rfind("\x1b[?25l")
    assert status_of(aws, "op-11") == "CREATE_IN_PROGRESS"
    with deploying(aws, folder, "op-11", "--wait") as waiting:
        waiting.until("CREATE_IN_PROGRESS    Hold")
        waiting.press(CTRL_C)
        waiting.until("stops it")
        waiting.press(CTRL_C)
        assert waiting.end() in {130, -signal.SIGINT}
    assert "Traceback" not in waiting.text
    assert status_of(aws, "op-11") == "CREATE_IN_PROGRESS"
    assert command(aws, folder, "cancel", "--suffix", "op-11", "--yes")[0] == 0


def test_a_deployment_at_a_terminal_ends_with_its_list_and_outputs(
    aws: Emulator, folder: Path
) -> None:
    with deploying(aws, folder, "op-12") as terminal:
        terminal.until("[y/N]: ")
        terminal.press("y\n")
        assert terminal.end() == 0
    assert max(map(len, terminal.text.rpartition("[y/N]: y")[0].split("\n"))) <= 80
    assert "TransactionsTable" in terminal.text
    assert terminal.text.rstrip().endswith("payment-infra-op-12: CREATE_COMPLETE")


def test_a_foreign_stack_is_left_alone(aws: Emulator, folder: Path) -> None:
    client = open_session(aws).client("cloudformation")
    client.create_stack(
        StackName="payment-infra-op-13",
        TemplateBody='{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}',
    )
    client.get_waiter("stack_create_complete").wait(StackName="payment-infra-op-13")
    status, _, err = command(aws, folder, "deploy", "--suffix", "op-13", "--yes")
    assert status == 1
    assert "was not made by payment-infra" in err


def started(aws: Emulator, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a command and do not wait for it."""
    return subprocess.Popen(
        [sys.executable, "-m", "payment_infra", *arguments, "--endpoint-url", aws.url],
        cwd=folder,
        env=clean_environment(folder) | {"PYTHONPATH": str(folder)} | aws_variables(aws.url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def item_of_the_lock(aws: Emulator, suffix: str) -> dict[str, dict[str, str]]:
    answer = (
        open_session(aws)
        .client("dynamodb")
        .get_item(
            TableName=OPERATIONS_TABLE,
            Key={"stack": {"S": f"payment-infra-{suffix}"}, "item": {"S": "lock"}},
            ConsistentRead=True,
        )
    )
    return dict(answer["Item"])


@pytest.mark.parametrize("wait", ["--wait", "--no-wait"])
def test_of_two_deployments_at_once_one_waits_or_is_refused_and_both_end_well(
    wait: str, aws: Emulator, folder: Path
) -> None:
    suffix = f"op-two{wait[1:]}"
    deploy = ("deploy", "--suffix", suffix, "--yes", wait)
    running = [
        started(aws, folder, *deploy, "--throttle-rate-limit", limit) for limit in ("5", "6")
    ]
    errors = [one.communicate(timeout=COMMAND_SECONDS)[1] for one in running]
    codes = [one.returncode for one in running]
    assert status_of(aws, suffix) in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
    assert change_sets(aws, suffix) == []
    assert item_of_the_lock(aws, suffix).keys() == {"stack", "item", "generation"}
    if wait == "--wait":
        assert codes == [0, 0], errors
        assert item_of_the_lock(aws, suffix)["generation"] == {"N": "2"}
        return
    assert set(codes) <= {0, 1}
    assert 0 in codes, errors
    for code, error in zip(codes, errors, strict=True):
        if code:
            line = error.splitlines()[-1]
            assert "is held by" in line or "is busy" in line
            assert command(aws, folder, *deploy)[0] == 0


def test_a_deployment_that_was_killed_is_taken_over(aws: Emulator, folder: Path) -> None:
    suffix = ("--suffix", "op-killed")
    hold(folder)
    killed = started(aws, folder, "deploy", *suffix, "--yes")
    while (status_of(aws, "op-killed") or "REVIEW_IN_PROGRESS") != "CREATE_IN_PROGRESS":
        assert killed.poll() is None
    killed.kill()
    killed.communicate(timeout=COMMAND_SECONDS)
    assert command(aws, folder, "cancel", *suffix, "--yes")[0] == 0
    status, _, err = command(aws, folder, "deploy", *suffix, "--yes", "--no-wait")
    [line] = err.splitlines()
    assert (status, "deploy since" in line) == (1, True)
    [generation] = re.findall(r"--take-over (\d+)`$", line)
    assert item_of_the_lock(aws, "op-killed")["generation"] == {"N": generation}
