"""The commands about failed transactions: foreign messages, and messages that others hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra import names
from payment_infra.cloud.operating.dead_letters import VISIBILITY_SECONDS
from payment_infra.foreign import escaped
from tests.aws import FakeAws, FakeStack, Refused
from tests.functional.conftest import refused
from tests.queues import DEAD_LETTERS, QUEUE, FakeQueues

if TYPE_CHECKING:
    from tests.functional.conftest import Cli

ENVIRONMENT = ("--suffix", "dev")
REDRIVE = ("failed", "redrive", *ENVIRONMENT, "--yes")
PURGE = ("failed", "purge", *ENVIRONMENT, "--yes", "--export", "letters.jsonl")
FOREIGN = {
    "escape": '{"transaction_id": "t\\u001b[2J", "operation": "\\u202epay", "reason": "\\u009b"}',
    "surrogate": '{"reason":"\\ud800", "\\ud801": ["\\udfff"]}',
    "raw": "\x1b[31m\x85\u2066",
    "deep": "[" * 900 + "]" * 900,
    "not-a-number": '{"amount": NaN}',
}
HELD = re.compile(
    r"about (\d+) messages? held by another or a killed run, until \d\d:\d\d:\d\d UTC at most; "
    r"repeat the command then, or with --wait"
)


@pytest.fixture
def queues() -> FakeQueues:
    return FakeQueues()


@pytest.fixture
def aws(queues: FakeQueues, monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    def sleep(seconds: float) -> None:
        queues.now += seconds

    monkeypatch.setattr("time.sleep", sleep)
    stack = FakeStack(
        "payment-infra-dev",
        parameters={names.TRANSACTIONS_TABLE_OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev"},
        outputs={"TransactionsTableName": "TransactionsTable"},
        resources=dict.fromkeys((QUEUE, DEAD_LETTERS), "CREATE_COMPLETE"),
    )
    aws = FakeAws(stacks={stack.name: stack})
    aws.answers |= queues.answers()
    aws.answers["dynamodb:GetItem"] = {}
    aws.errors["sqs:StartMessageMoveTask"] = Refused("InvalidAction")
    return aws


@pytest.fixture
def foreign(aws: FakeAws, queues: FakeQueues) -> FakeQueues:
    for name, body in FOREIGN.items():
        attribute = {"DataType": "Binary", "BinaryValue": b"\xff"}
        queues.put(name, body, attributes={"raw": attribute})
    queues.put("ours", '{"transaction_id": "t-1", "operation": "process", "reason": "timeout"}')
    return queues


def test_foreign_messages_are_listed_and_shown_escaped_and_hide_no_other(
    cli: Cli, foreign: FakeQueues
) -> None:
    listed = cli("failed", "list", *ENVIRONMENT)
    assert listed.exit_code == 0
    assert r"t\x1b[2J" in listed.stdout
    assert r"\u202epay" in listed.stdout
    assert r"message surrogate  \ud800" in listed.stdout
    assert "message ours  timeout" in listed.stdout
    text = listed.stdout
    for name in [*FOREIGN, "ours"]:
        shown = cli("failed", "show", name, *ENVIRONMENT)
        assert shown.exit_code == 0, (name, shown.output)
        text += shown.stdout
    assert text == escaped(text, keep="\n")
    assert r"\x1b[31m\x85\u2066" in text


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def test_foreign_messages_are_json_as_they_are(cli: Cli, foreign: FakeQueues) -> None:
    listed = strict(cli("failed", "list", *ENVIRONMENT, "--output", "json").stdout)
    reasons = {one["id"]: one["reason"] for one in listed["dead_letters"]}
    assert reasons["escape"] == "\x9b"
    assert reasons["surrogate"] == "\ud800"
    assert (listed["held_elsewhere"], listed["not_read"]) == (0, 0)
    for name in FOREIGN:
        shown = cli("failed", "show", name, *ENVIRONMENT, "--output", "json")
        assert strict(shown.stdout)["message"]["attributes"]["raw"]["BinaryValue"] == "/w=="


def test_foreign_messages_are_saved_whole_and_purged_and_what_is_ours_too(
    cli: Cli, foreign: FakeQueues
) -> None:
    assert cli(*PURGE).exit_code == 0
    saved = {one["id"]: one for one in map(strict, Path("letters.jsonl").read_text().splitlines())}
    assert {name: saved[name]["body"] for name in FOREIGN} == FOREIGN
    assert saved["raw"]["attributes"] == {"raw": {"DataType": "Binary", "BinaryValue": "/w=="}}
    assert foreign.waiting() == foreign.hidden() == {}


def test_foreign_messages_are_sent_back_as_they_were(cli: Cli, foreign: FakeQueues) -> None:
    result = cli(*REDRIVE, "--all", "--output", "json")
    assert json.loads(result.stdout) == {"moved": 6, "left": 0}
    assert set(FOREIGN.values()) < {one.body for one in foreign.waiting(QUEUE).values()}


def test_all_are_redriven_by_sqs_without_reading_the_queue(
    cli: Cli, aws: FakeAws, queues: FakeQueues
) -> None:
    for number in range(3):
        queues.put(f"m-{number}", "{}")
    del aws.errors["sqs:StartMessageMoveTask"]
    aws.answers["sqs:StartMessageMoveTask"] = {"TaskHandle": "1"}
    done = {"Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 3}
    aws.answers["sqs:ListMessageMoveTasks"] = {"Results": [done]}
    result = cli(*REDRIVE, "--all", "--output", "json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"moved": 3, "left": 0}
    assert aws.called("sqs:ReceiveMessage") == []


@pytest.mark.parametrize("command", [(*REDRIVE, "--all"), PURGE])
@pytest.mark.parametrize("free", [0, 2])
def test_what_a_killed_run_holds_is_told_and_is_no_success(
    cli: Cli, queues: FakeQueues, command: tuple[str, ...], free: int
) -> None:
    for number in range(7):
        queues.put(f"m-{number}", "{}")
    held = [f"m-{number}" for number in range(free, 7)]
    queues.hide(DEAD_LETTERS, held, VISIBILITY_SECONDS)
    result = cli(*command)
    assert result.exit_code == 1
    told = HELD.search(result.stderr)
    assert told is not None
    assert int(told[1]) == len(held)
    assert "nothing was done" not in result.stderr
    assert set(queues.hidden()) == set(held)
    assert Path("letters.jsonl").exists() == (free > 0 and "purge" in command)


@pytest.mark.parametrize("command", [(*REDRIVE, "--all"), (*REDRIVE, "--id", "m-0"), PURGE])
def test_what_is_held_is_waited_for(cli: Cli, queues: FakeQueues, command: tuple[str, ...]) -> None:
    queues.put("m-0", "{}")
    queues.hide(DEAD_LETTERS, ["m-0"], VISIBILITY_SECONDS)
    assert cli(*command, "--wait").exit_code == 0
    assert queues.waiting() == queues.hidden() == {}


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [((*REDRIVE, "--id", "m-0"), 2), ((*PURGE, "--id", "m-0"), 2), (("failed", "show", "m-0"), 1)],
)
def test_a_message_that_somebody_holds_is_not_said_to_be_missing(
    cli: Cli, queues: FakeQueues, command: tuple[str, ...], exit_code: int
) -> None:
    queues.put("m-0", "{}")
    queues.hide(DEAD_LETTERS, ["m-0"], VISIBILITY_SECONDS)
    line = refused(cli(*command, *ENVIRONMENT), exit_code)
    assert line.startswith("no message m-0 could be read: about 1 message held by another or")
    assert cli("failed", "list", *ENVIRONMENT).stderr.splitlines()[-1].startswith("about 1 message")


@pytest.mark.parametrize("full", [(), ("--full",)], ids=str)
@pytest.mark.parametrize("output", ["text", "json"])
def test_no_token_or_address_of_a_customer_is_shown(
    cli: Cli, aws: FakeAws, queues: FakeQueues, full: tuple[str, ...], output: str
) -> None:
    secrets = {"payment_method": "canary-1", "next_action": "canary-2", "return_url": "canary-3"}
    message = {"transaction_id": "t-1", "operation": "validate", "record": secrets}
    queues.put("ours", json.dumps(message))
    aws.answers["dynamodb:GetItem"] = {
        "Item": {name: {"S": text} for name, text in secrets.items()}
    }
    result = cli("failed", "show", "ours", *ENVIRONMENT, *full, "--output", output)
    assert result.exit_code == 0
    assert "canary" not in result.output
    assert "payment_method" in result.stdout
