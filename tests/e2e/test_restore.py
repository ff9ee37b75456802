"""A restore on the embedded AWS: real payments, killed after each step, resumed, undone.

The emulator restores what the table holds now, whatever the moment; that of a real point in time is
shown in tests/unit/restore.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.restore.reconciliation import RowChange, changes
from tests.e2e.harness import (
    PAYMENT,
    PROGRAMS,
    Deployed,
    Program,
    aws_variables,
    clean_environment,
)

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator
    from tests.e2e.conftest import Deploy

OWN = "transactions-restore-1"
RESTORE = ("restore", "--suffix", "restore-1", "--yes", "--drain", "0")
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


def validate(deployed: Deployed) -> str:
    answer = deployed.api().call("POST", "validate", PAYMENT)
    assert answer.status == 200, answer
    return str(answer.field("transaction_id"))


def process(deployed: Deployed, transaction_id: str) -> object:
    answer = deployed.api().call("POST", "process", {"transaction_id": transaction_id})
    assert answer.status == 200, answer
    return answer.field("message")


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
    assert not [name for name in stage["methodSettings"] if "POST" in name]


def report(program: Program) -> dict[str, Any]:
    [file] = program.folder.glob("*.json")
    document: dict[str, Any] = json.loads(file.read_text())
    file.unlink()
    return document


def test_payments_go_on_in_the_copy_and_back_again(deployed: Deployed, program: Program) -> None:
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
    result = program(*TO_LATEST, "--no-smoke")
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
    result = program(*UNDO, "--no-smoke")
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
    result = program(*UNDO)
    assert result.returncode == 0, result.stderr
    assert active(deployed) == before
    assert_open_for_payments(deployed)
    assert process(deployed, transaction_id) == "Payment processed successfully"


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


NOW = datetime.now(UTC)
EARLIER, LATER = (NOW + timedelta(seconds=seconds) for seconds in (1, 2))


def payment(status: str, moment: datetime, **more: Any) -> dict[str, Any]:
    texts = dict.fromkeys(("amount", "currency", "customer_id", "fingerprint"), "x")
    text = moment.isoformat(timespec="microseconds")
    texts |= {"status": status, "created_at": text, "updated_at": text, **more}
    return {name: {"S": value} for name, value in texts.items()} | {"amount_minor": {"N": "1"}}


@pytest.fixture
def two_tables(deployed: Deployed, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    client = deployed.session.client("dynamodb")
    names = ("left", "moved-to")
    for name in names:
        client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "transaction_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "transaction_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    yield names
    for name in names:
        with suppress(client.exceptions.ResourceNotFoundException):
            client.delete_table(TableName=name)


def put(deployed: Deployed, table: str, transaction_id: str, item: Mapping[str, Any]) -> None:
    deployed.session.client("dynamodb").put_item(
        TableName=table, Item={"transaction_id": {"S": transaction_id}, **item}
    )


def reconcile(
    deployed: Deployed, names: tuple[str, str], *, write: bool = True
) -> dict[str, RowChange]:
    client = deployed.session.client("dynamodb")
    found = changes(client, *names, NOW, write=write)
    return {one.transaction_id: one for one in found}


STATUSES = ("validated", "processing", "processed", "declined")
FURTHER = {
    "validated": {"validated"},
    **{name: {"validated", "processing"} for name in ("processing", "processed", "declined")},
}


def test_no_payment_is_moved_back(deployed: Deployed, two_tables: tuple[str, str]) -> None:
    left, target = two_tables
    expected = {}
    for before in STATUSES:
        for after in STATUSES:
            for newer in (True, False):
                name = f"{before}-{after}-{newer}"
                here, there = (LATER, EARLIER) if newer else (EARLIER, LATER)
                put(deployed, left, name, payment(before, here))
                put(deployed, target, name, payment(after, there))
                expected[name] = before if newer and after in FURTHER[before] else after
        put(deployed, left, f"{before}-new", payment(before, LATER))
        expected[f"{before}-new"] = before
    found = reconcile(deployed, two_tables)
    result = {name: row(deployed, target, name)["status"]["S"] for name in expected}
    assert result == expected
    assert {name for name, one in found.items() if one.action == "copied"} == {
        name for name in expected if row(deployed, target, name) == row(deployed, left, name)
    }
    again = reconcile(deployed, two_tables)
    assert {one.action for one in again.values()} == {"kept"}


def test_what_changed_long_before_or_is_no_payment_is_not_copied(
    deployed: Deployed, two_tables: tuple[str, str]
) -> None:
    left, target = two_tables
    put(deployed, left, "old", payment("processed", NOW - timedelta(minutes=6)))
    put(deployed, left, "clock", payment("processed", NOW - timedelta(minutes=4)))
    put(deployed, left, "status", payment("refunded", LATER))
    put(deployed, left, "amount", payment("validated", LATER) | {"amount_minor": {"S": "1"}})
    found = reconcile(deployed, two_tables)
    assert {name: one.action for name, one in found.items()} == {
        "clock": "copied",
        "status": "foreign",
        "amount": "foreign",
    }
    assert not row(deployed, target, "status")


def test_every_page_is_carried_over(deployed: Deployed, two_tables: tuple[str, str]) -> None:
    left, target = two_tables
    for number in range(40):
        put(deployed, left, f"n-{number}", payment("processed", LATER, decline_reason="x" * 60_000))
    found = reconcile(deployed, two_tables, write=False)
    assert sum(one.rewound for one in found.values()) == len(found) == 40
    assert not row(deployed, target, "n-0")
    reconcile(deployed, two_tables)
    assert all(row(deployed, target, f"n-{number}") for number in range(40))
    assert reconcile(deployed, two_tables) == {}
