"""Drift, and failed transactions that a gateway refused, on the embedded AWS."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from handlers.shared.money import Money
from handlers.shared.transactions import fingerprint
from tests.e2e.harness import PAYMENT, Deployed, Program, aws_variables, run, until

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator
    from tests.e2e.conftest import Deploy

SUFFIX = "operating-1"


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy) -> Deployed:
    return deploy(aws, SUFFIX, authorization="none")


@pytest.fixture
def program(aws: Emulator, deployed: Deployed, tmp_path: Path) -> Program:
    return Program(aws.url, tmp_path, ("--suffix", SUFFIX))


@pytest.fixture
def hide_failed(deployed: Deployed) -> Iterator[Callable[[int], None]]:
    """Changes for how many seconds the failed messages are hidden, and takes it back."""
    client = deployed.session.client("sqs")
    url = deployed.stack.physical_ids()["FailedTransactionsQueue"]
    name = "VisibilityTimeout"
    declared = client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"]

    def change(seconds: int) -> None:
        client.set_queue_attributes(QueueUrl=url, Attributes={name: str(seconds)})

    yield change
    change(int(declared[name]))


def test_a_change_from_outside_is_found(
    program: Program, hide_failed: Callable[[int], None]
) -> None:
    assert program("drift", "--fail").returncode == 0
    hide_failed(1)
    [drifted] = program.json("drift")["resources"]
    assert drifted["logical_id"] == "FailedTransactionsQueue"
    assert [one["path"] for one in drifted["properties"]] == ["VisibilityTimeout"]
    result = program("drift", "--fail")
    assert result.returncode == 4
    assert result.stdout.splitlines()[-1].startswith("DRIFTED: 1 drifted of ")
    # The emulator shows errors of any stack's functions in its alarms, for which status may fail.
    status = json.loads(program("status", "--output", "json").stdout)
    assert status["drift"] == "DRIFTED"


def fail(deployed: Deployed, customer_id: str) -> str:
    """Make a payment that the gateway stays away from; return its id."""
    api = deployed.api()
    answer = api.call("POST", "validate", {**PAYMENT, "customer_id": customer_id})
    transaction_id = str(answer.field("transaction_id"))
    assert api.call("POST", "process", {"transaction_id": transaction_id}).status == 500
    return transaction_id


def dead(program: Program) -> dict[str, str]:
    """Return transaction to message of what is in the dead-letter queue."""
    found = program.json("failed", "list")["dead_letters"]
    return {one["transaction_id"]: one["id"] for one in found}


def waiting(deployed: Deployed) -> int:
    """Return how many messages wait in the dead-letter queue."""
    name = "ApproximateNumberOfMessages"
    answer = deployed.session.client("sqs").get_queue_attributes(
        QueueUrl=deployed.stack.physical_ids()["FailedTransactionsDLQ"], AttributeNames=[name]
    )
    return int(answer["Attributes"][name])


def heal(deployed: Deployed, transaction_id: str) -> None:
    """Let the gateway take a payment, as if it had been validated for another customer."""
    fitting = fingerprint(Money(10050, "USD"), "cust-1")
    deployed.session.client("dynamodb").update_item(
        TableName=f"transactions-{SUFFIX}",
        Key={"transaction_id": {"S": transaction_id}},
        UpdateExpression="SET customer_id = :customer, fingerprint = :fitting",
        ExpressionAttributeValues={":customer": {"S": "cust-1"}, ":fitting": {"S": fitting}},
    )


def captured(deployed: Deployed) -> list[str]:
    """Return the payments that payment-retry has captured, in order."""
    lines = deployed.logged("Retry", '"message":"captured"')
    return [json.loads(line)["transaction_id"] for line in lines]


def test_failed_payments_are_listed_shown_repeated_and_removed(
    deployed: Deployed, program: Program, hide_failed: Callable[[int], None]
) -> None:
    hide_failed(1)  # so that nobody waits for the next try
    first, second, third = (fail(deployed, "sim-unavailable") for _ in range(3))
    until(lambda: waiting(deployed) == 3)
    letters = dead(program)
    assert letters.keys() == {first, second, third}
    listed = program("failed", "list")
    assert first in listed.stdout
    assert "sim-unavailable" not in listed.stdout
    assert max(map(len, listed.stdout.splitlines())) <= 80
    shown = program.json("failed", "show", first)
    assert shown["row"]["status"] == "processing"
    assert shown["row"]["customer_id"] == "s…e"
    assert shown["message"]["body"]["transaction_id"] == first
    assert program("failed", "show", "nothing").returncode == 1

    assert program("failed", "purge", "--yes").returncode == 2
    file = program.folder / "dead.jsonl"
    file.write_text("mine")
    purge = ("failed", "purge", "--yes", "--export", "dead.jsonl", "--id", letters[third])
    taken = program(*purge)
    assert (taken.returncode, file.read_text()) == (2, "mine")
    file.unlink()
    assert program.json(*purge) == {"deleted": 1, "left": 0}
    [line] = file.read_text().splitlines()
    assert json.loads(json.loads(line)["body"])["transaction_id"] == third
    assert file.stat().st_mode & 0o777 == 0o600

    for payment in (first, second):
        heal(deployed, payment)
    assert program("failed", "redrive", "--id", letters[first]).returncode == 2
    moved = program.json("failed", "redrive", "--id", letters[first], "--yes")
    assert moved == {"moved": 1, "left": 0}
    until(lambda: captured(deployed) == [first])
    again = deployed.api().call("POST", "process", {"transaction_id": first})
    assert again.field("message") == "Transaction already processed"
    # All at once, one by one: the emulator has no move tasks.
    every = program.json("failed", "redrive", "--all", "--yes", "--max-rate", "50")
    assert every == {"moved": 1, "left": 0}
    until(lambda: captured(deployed) == [first, second])
    assert dead(program) == {}


# Kills itself when a page is written, and neither on the disk for sure nor counted as there.
KILLED_EXPORT = """
import os, signal, sys
from payment_infra.cli import main

left = {pages}
fsync = os.fsync

def kill(file):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    fsync(file)

os.fsync = kill
sys.argv[1:] = ["export", "--suffix", "{suffix}", "-o", "all.jsonl", "--since", "52w"]
main()
"""


def test_an_export_that_is_killed_goes_on_and_has_every_payment_once(
    deployed: Deployed, program: Program
) -> None:
    table, client = f"transactions-{SUFFIX}", deployed.session.client("dynamodb")
    names = [f"export-{number:03}" for number in range(120)]
    for name in names:  # 3.6 MB, which are four pages
        item = {"transaction_id": name, "updated_at": "2026-11-24T10:00:00.000000+00:00"}
        filler = {"customer_id": {"S": "x" * 30_000}, "amount_minor": {"N": "9007199254740993"}}
        client.put_item(TableName=table, Item={k: {"S": v} for k, v in item.items()} | filler)
    file, part = (program.folder / name for name in ("all.jsonl", "all.jsonl.part"))
    for pages_until_kill in (1, 2):
        script = KILLED_EXPORT.format(pages=pages_until_kill, suffix=SUFFIX)
        killed = run("python", "-c", script, cwd=program.folder, **aws_variables(program.url))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not file.exists()
    with part.open("ab") as torn:
        torn.write(b'{"transaction_id": "tor')
    result = program("export", "-o", "all.jsonl", "--since", "1w")
    assert result.returncode == 2
    assert "is of another export" in result.stderr
    assert program.json("export", "-o", "all.jsonl", "--since", "52w")["rows"] >= len(names)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    exported = [one["transaction_id"] for one in rows]
    assert len(exported) == len(set(exported))
    assert set(names) <= set(exported)
    assert {one["amount_minor"] for one in rows if one["transaction_id"] == names[0]} == {
        9007199254740993
    }
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in program.folder.glob("all*")] == ["all.jsonl"]
    assert program("export", "-o", "all.jsonl").returncode == 2
    recent = program("export", "--since", "2026-11-24T10:00:00.000001Z").stdout.splitlines()
    assert not set(names) & {json.loads(line)["transaction_id"] for line in recent}


def test_those_who_are_told_of_alarms_are_listed_added_and_removed(
    deployed: Deployed, program: Program
) -> None:
    assert program.json("subscribe", "--list") == []
    assert program("subscribe", "--email", "ops@example.com").returncode == 2  # nobody to ask
    program.json("subscribe", "--email", "ops@example.com", "--yes")
    [one] = program.json("subscribe", "--list")
    assert (one["protocol"], one["endpoint"]) == ("email", "ops@example.com")
    assert program("subscribe", "--email", "nonsense", "--yes").returncode == 2
    assert program("subscribe", "--https", "http://example.com", "--yes").returncode == 2
    assert program("subscribe").returncode == 2
    assert program("subscribe", "--remove", "other@example.com", "--yes").returncode == 2
