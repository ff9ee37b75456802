"""A restore on the embedded AWS: real payments, killed after each step, resumed, undone.

The emulator restores what the table holds now, whatever the moment; that of a real point in time is
shown in tests/unit/restoring.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.harness import (
    PROGRAMS,
    Deployed,
    Program,
    aws_variables,
    clean_environment,
    process,
    validate,
)

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator
    from tests.e2e.conftest import Deploy

OWN = "transactions-restore-1"
REPORT = "report.json"
RESTORE = (
    *("restore", "--suffix", "restore-1", "--yes", "--drain", "0"),
    *("--report", REPORT),
)
TO_LATEST = (*RESTORE, "--to", "latest")
UNDO = (*RESTORE, "--undo")


def kill_at(program: Program, step: int, *arguments: str) -> None:
    """Run a command that is killed as soon as it says that it has begun a step."""
    process = subprocess.Popen(
        [PROGRAMS / "payment-infra", *arguments, "--output", "json"],
        cwd=program.folder,
        env=clean_environment(program.folder) | aws_variables(program.url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            document = json.loads(line)
            if document["type"] == "step" and document["number"] == step:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL


def take_over(program: Program, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command after another was killed: it says what to add, and then goes on."""
    refused = program(*arguments)
    assert refused.returncode == 1
    named = re.search(r"--take-over \d+", refused.stderr)
    assert named, refused.stderr
    return program(*arguments, *named[0].split())


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy) -> Deployed:
    deployed = deploy(aws, "restore-1", authorization="none")
    # The emulator takes this from no template.
    deployed.session.client("dynamodb").update_continuous_backups(
        TableName=OWN, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    return deployed


@pytest.fixture
def program(aws: Emulator, tmp_path: Path) -> Program:
    return Program(aws.url, tmp_path)


def active(deployed: Deployed) -> str:
    return deployed.stack.outputs()["TransactionsTableName"]


def tables(deployed: Deployed) -> set[str]:
    names = deployed.session.client("dynamodb").list_tables()["TableNames"]
    return {name for name in names if name.startswith(f"{OWN}-")}


def row(deployed: Deployed, table: str, transaction_id: str) -> Mapping[str, Any]:
    answer = deployed.session.client("dynamodb").get_item(
        TableName=table, Key={"transaction_id": {"S": transaction_id}}
    )
    item: Mapping[str, Any] = answer.get("Item", {})
    return item


def assert_open_for_payments(deployed: Deployed) -> None:
    """Payments come in as the template says, and nothing is left of having stopped them."""
    ids = deployed.stack.physical_ids()
    source = deployed.session.client("lambda").get_event_source_mapping(
        UUID=ids["RetryEventSource"]
    )
    assert source["State"] == "Enabled"
    stage = deployed.session.client("apigateway").get_stage(
        restApiId=ids["PaymentAPI"], stageName="prod"
    )
    settings = stage["methodSettings"]
    own = {name for name in settings if "POST" in name}
    # The template gives this one settings of its own; the embedded AWS keeps them apart from those
    # of an update of the stage, whose path it decodes.
    assert own <= {"/~1cancel/POST", "/cancel/POST"}
    assert all(throttle(settings[name]) == throttle(settings["*/*"]) for name in own)


def throttle(settings: Mapping[str, Any]) -> tuple[float, float]:
    return settings["throttlingRateLimit"], settings["throttlingBurstLimit"]


def report(program: Program) -> dict[str, Any]:
    file = program.folder / REPORT
    document: dict[str, Any] = json.loads(file.read_text())
    file.unlink()
    return document


def come_home(deployed: Deployed, program: Program) -> None:
    """Bring payments back into the stack's own table, wherever other tests have left them."""
    while active(deployed) != OWN:
        undone = program(*UNDO, "--no-smoke")
        assert undone.returncode == 0, undone.stderr
        report(program)


def test_payments_go_on_in_the_copy_and_back_again(deployed: Deployed, program: Program) -> None:
    come_home(deployed, program)
    validated, processed = validate(deployed), validate(deployed)
    process(deployed, processed)

    result = program(*TO_LATEST)
    assert result.returncode == 0, result.stderr
    copy = active(deployed)
    assert copy in tables(deployed)
    assert report(program)["copy"] == copy
    assert f"Payments are in {copy}." in result.stdout
    assert process(deployed, processed) == "Transaction already processed"
    assert process(deployed, validated) == "Payment processed successfully"
    assert row(deployed, OWN, validated)["status"] == {"S": "validated"}
    new = validate(deployed)
    assert row(deployed, copy, new)
    assert not row(deployed, OWN, new)
    assert_open_for_payments(deployed)
    client = deployed.session.client("dynamodb")
    backups = client.describe_continuous_backups(TableName=copy)["ContinuousBackupsDescription"]
    recovery = backups["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
    arn = client.describe_table(TableName=copy)["Table"]["TableArn"]
    assert {"Key": "Environment", "Value": "restore-1"} in client.list_tags_of_resource(
        ResourceArn=arn
    )["Tags"]

    result = program(*UNDO)
    assert result.returncode == 0, result.stderr
    assert active(deployed) == OWN
    assert {one["transaction_id"] for one in report(program)["rows"]} >= {validated, new}
    assert process(deployed, validated) == "Transaction already processed"
    assert process(deployed, new) == "Payment processed successfully"
    assert_open_for_payments(deployed)

    result = program(*UNDO)
    assert result.returncode == 1
    assert result.stderr.strip().endswith("to undo: payments are in transactions-restore-1")


@pytest.mark.parametrize("step", range(2, 10))
def test_a_restore_that_is_killed_goes_on_with_the_same_command(
    deployed: Deployed, program: Program, step: int
) -> None:
    transaction_id, before = validate(deployed), tables(deployed)
    kill_at(program, step, *TO_LATEST, "--no-smoke")
    result = take_over(program, *TO_LATEST, "--no-smoke")
    assert result.returncode == 0, result.stderr
    [copy] = tables(deployed) - before
    assert active(deployed) == copy
    assert process(deployed, transaction_id) == "Payment processed successfully"
    assert_open_for_payments(deployed)


@pytest.mark.parametrize("step", range(1, 5))
def test_an_undo_that_is_killed_goes_on_with_the_same_command(
    deployed: Deployed, program: Program, step: int
) -> None:
    before = active(deployed)
    assert program(*TO_LATEST, "--no-smoke").returncode == 0
    transaction_id = validate(deployed)
    kill_at(program, step, *UNDO, "--no-smoke")
    result = take_over(program, *UNDO, "--no-smoke")
    assert result.returncode == 0, result.stderr
    assert active(deployed) == before
    assert process(deployed, transaction_id) == "Payment processed successfully"
    assert_open_for_payments(deployed)


def test_a_restore_that_was_killed_with_payments_stopped_can_be_ended_instead(
    deployed: Deployed, program: Program
) -> None:
    transaction_id, before = validate(deployed), active(deployed)
    kill_at(program, 6, *TO_LATEST)
    stopped = deployed.api().call("POST", "process", {"transaction_id": transaction_id})
    assert (stopped.status, stopped.field("error")) == (429, "Too many requests")
    result = take_over(program, *UNDO)
    assert result.returncode == 0, result.stderr
    assert active(deployed) == before
    assert_open_for_payments(deployed)
    assert process(deployed, transaction_id) == "Payment processed successfully"


def test_payments_are_let_in_meanwhile_and_the_restore_goes_on_later(
    deployed: Deployed, program: Program
) -> None:
    earlier, before = validate(deployed), active(deployed)
    kill_at(program, 7, *TO_LATEST, "--no-smoke")
    shown = program("status", "--suffix", "restore-1")
    assert shown.returncode == 1
    assert "payments are stopped: validate, process, cancel, retries" in shown.stdout
    assert "is half done (switching), by arn:aws:" in shown.stdout
    result = take_over(program, "resume", "--suffix", "restore-1", "--yes")
    assert result.returncode == 0, result.stderr
    assert f"Payments are let in to {before}." in result.stdout
    assert_open_for_payments(deployed)
    process(deployed, earlier)
    meanwhile = validate(deployed)
    result = program(*TO_LATEST, "--no-smoke")
    assert result.returncode == 0, result.stderr
    assert active(deployed) != before
    assert {one["transaction_id"] for one in report(program)["rows"]} >= {earlier, meanwhile}
    assert process(deployed, earlier) == "Transaction already processed"
    assert process(deployed, meanwhile) == "Payment processed successfully"
    assert_open_for_payments(deployed)
    again = program("resume", "--suffix", "restore-1", "--yes")
    assert (again.returncode, "Payments were not stopped." in again.stdout) == (0, True)


def test_a_drill_leaves_nothing_but_its_report(deployed: Deployed, program: Program) -> None:
    before, table = tables(deployed), active(deployed)
    result = program(*TO_LATEST, "--drill")
    assert result.returncode == 0, result.stderr
    assert (tables(deployed), active(deployed)) == (before, table)
    document = report(program)
    assert [one["step"].split()[0] for one in document["steps"]] == [
        *("Restore", "Bring", "Verify", "Delete")
    ]
    assert document["verification"]["problems"] == []
    assert document["newest_restorable"] == document["to"]
    assert document["recovery_time_seconds"] >= 0


def test_discarding_what_is_newer_needs_a_second_consent(
    deployed: Deployed, program: Program
) -> None:
    before = active(deployed)
    assert program(*TO_LATEST, "--no-smoke").returncode == 0
    transaction_id = validate(deployed)
    process(deployed, transaction_id)
    discard = (*UNDO, "--discard-newer", "--no-smoke")
    result = program(*discard)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].endswith("add --confirm-discard to go ahead")
    assert active(deployed) != before
    assert process(deployed, transaction_id) == "Transaction already processed"
    result = program(*discard, "--confirm-discard")
    assert result.returncode == 0, result.stderr
    assert "could be charged again" in result.stderr
    assert active(deployed) == before
    assert not row(deployed, before, transaction_id)


def delete(deployed: Deployed, table: str, transaction_id: str) -> None:
    deployed.session.client("dynamodb").delete_item(
        TableName=table, Key={"transaction_id": {"S": transaction_id}}
    )


def test_a_restore_and_its_undo_mark_open_payments_whose_rows_are_lost(
    deployed: Deployed, program: Program
) -> None:
    lost, same, settled = (validate(deployed) for _ in range(3))
    process(deployed, settled)
    before, had = active(deployed), tables(deployed)
    kill_at(program, 5, *TO_LATEST, "--no-smoke")  # the copy is made, and has them all
    for name in (lost, settled):
        delete(deployed, before, name)
    result = take_over(program, *TO_LATEST, "--no-smoke")
    assert result.returncode == 0, result.stderr
    [copy] = tables(deployed) - had
    moment = datetime.strptime(copy.rpartition("-")[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    marked = row(deployed, copy, lost)
    assert marked["rewound"] == {"N": str(int(moment.timestamp()))}
    assert (marked["status"], marked["updated_at"]) == ({"S": "validated"}, marked["created_at"])
    assert "rewound" not in row(deployed, copy, settled)
    assert row(deployed, copy, same) == row(deployed, before, same)
    assert "rewound" not in row(deployed, copy, same)
    listed = report(program)["marked"]
    assert (lost in listed, same in listed) == (True, False)
    assert f"of {copy} marked as rewound; see the report" in result.stderr

    new = validate(deployed)
    delete(deployed, copy, same)
    result = program(*UNDO, "--no-smoke")
    assert result.returncode == 0, result.stderr
    assert active(deployed) == before
    assert int(row(deployed, before, same)["rewound"]["N"]) >= moment.timestamp()
    assert row(deployed, before, lost) == marked
    assert "rewound" not in row(deployed, before, new)
    listed = report(program)["marked"]
    assert (same in listed, new in listed) == (True, False)
    assert "marked as rewound (the JSON report lists them):" in result.stdout
