"""An environment whose stack is deleted over what it keeps, and the one command that mends that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.stacks.stack import Stack
from payment_infra.local.stack import open_session
from tests.e2e.harness import PAYMENT, Deployed, Program, until

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator

SUFFIX = "gone-1"
NAME, TABLE = f"payment-infra-{SUFFIX}", f"transactions-{SUFFIX}"
COMMAND = ("deploy", "--suffix", SUFFIX, "--yes", "--import-existing-resources")


@pytest.fixture
def program(aws: Emulator, tmp_path: Path) -> Program:
    return Program(aws.url, tmp_path)


@pytest.fixture
def deployed(aws: Emulator, program: Program) -> Deployed:
    """A production stack; the emulator takes deletion protection from no template."""
    first = program(
        *("deploy", "--suffix", SUFFIX, "--yes", "--preset", "production"),
        *("--gateway", "simulated", "--authorization", "none", "--throttle-rate-limit", "77"),
    )
    assert first.returncode == 0, first.stderr
    session = open_session(aws)
    return Deployed(session, Stack(session.client("cloudformation"), NAME))


def pay(deployed: Deployed, path: str, body: dict[str, Any]) -> Any:
    answer = deployed.api().call("POST", path, body)
    assert answer.status == 200, answer
    return answer


def delete_by_force(deployed: Deployed) -> None:
    """Delete the stack with the protection lifted from it, and from nothing else."""
    client = deployed.session.client("cloudformation")
    client.update_termination_protection(StackName=NAME, EnableTerminationProtection=False)
    client.delete_stack(StackName=NAME)
    client.get_waiter("stack_delete_complete").wait(
        StackName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


def rows(deployed: Deployed) -> dict[str, str]:
    """Return the status of every payment that the table holds."""
    pages = deployed.session.client("dynamodb").get_paginator("scan").paginate(TableName=TABLE)
    return {
        one["transaction_id"]["S"]: one["status"]["S"] for page in pages for one in page["Items"]
    }


def test_one_command_brings_an_environment_back_over_what_its_stack_has_kept(
    deployed: Deployed, program: Program
) -> None:
    ids = [pay(deployed, "validate", PAYMENT).field("transaction_id") for _ in range(3)]
    done, opened, queued = (str(one) for one in ids)
    pay(deployed, "process", {"transaction_id": done})
    queue = deployed.stack.physical_ids()["FailedTransactionsQueue"]
    delete_by_force(deployed)
    message = {
        **{"version": 1, "operation": "process", "transaction_id": queued},
        **{"reason": "gateway_unavailable", "request_id": "request-1"},
        "first_failed_at": "2026-11-22T23:27:40.547000+00:00",
    }
    deployed.session.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(message))

    told = f"`payment-infra deploy --import-existing-resources --suffix {SUFFIX}`"
    for refused in (
        program("status", "--suffix", SUFFIX),
        program("restore", "--suffix", SUFFIX, "--to", "latest", "--yes"),
    ):
        assert refused.returncode == 1
        assert f"there is no stack {NAME}, and its table {TABLE} is still there; {told}" in (
            refused.stderr
        )
    taken = program("deploy", "--suffix", SUFFIX, "--yes")
    assert taken.returncode == 1
    for kept in (TABLE, f"failed-transactions-{SUFFIX}", f"failed-transactions-dlq-{SUFFIX}"):
        assert f" {kept}," in taken.stderr
    assert f"`payment-infra deploy --suffix {SUFFIX} --yes --import-existing-resources`" in (
        taken.stderr
    )
    assert rows(deployed).keys() == {done, opened, queued}

    # What nobody names goes on as it was, and what access hangs on goes back to no default.
    forgotten = program(*COMMAND)
    assert forgotten.returncode == 2
    entered = f"`payment-infra {' '.join(COMMAND)} "
    assert f"authorization from none to iam; {entered}" in forgotten.stderr
    back = program(*COMMAND, "--authorization", "none", "--gateway", "simulated")
    assert back.returncode == 0, back.stderr
    assert "< TransactionsTable" in back.stderr
    state = deployed.stack.state()
    assert state is not None
    assert (state.status, state.termination_protection) == ("UPDATE_COMPLETE", True)
    assert (state.parameters["ThrottleRateLimit"], state.parameters["LogRetentionDays"]) == (
        *("77", "365"),
    )
    assert pay(deployed, "process", {"transaction_id": done}).field("message") == (
        "Transaction already processed"
    )
    pay(deployed, "process", {"transaction_id": opened})
    until(lambda: rows(deployed)[queued] == "processed")
    assert rows(deployed) == dict.fromkeys((done, opened, queued), "processed")

    again = program(*COMMAND, "--authorization", "none", "--gateway", "simulated")
    assert again.returncode == 0, again.stderr
    assert "no changes" in again.stderr
