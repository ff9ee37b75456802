"""The commands that change an environment, while somebody else works on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from payment_infra import names
from payment_infra.cli import COMMANDS as COMMAND_NAMES
from payment_infra.cli import root
from payment_infra.cloud.environment import locking
from payment_infra.cloud.environment.locking import Lock
from payment_infra.cloud.sdk.session import Session
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.names import OPERATIONS_TABLE
from tests.aws import FakeAws, FakeStack, Refused
from tests.functional.conftest import refused
from tests.queues import FakeQueues

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.expressions import Item
    from tests.functional.conftest import Cli

NAME = "payment-infra-dev"
TEMPLATE = '{"Resources": {}}'
COMMANDS = {
    "destroy": ("destroy", "--suffix", "dev", "--yes"),
    "rollback": ("rollback", "--suffix", "dev", "--yes"),
    "failed redrive --all": ("failed", "redrive", "--suffix", "dev", "--all", "--yes"),
    "failed redrive --id": ("failed", "redrive", "--suffix", "dev", "--id", "1", "--yes"),
    "failed purge": ("failed", "purge", "--suffix", "dev", "--export", "a b.jsonl", "--yes"),
    "payment settle": ("payment", "settle", "--suffix", "dev", "t-1", "--yes"),
    "payment cancel": ("payment", "cancel", "--suffix", "dev", "t-1", "--yes"),
    "deploy": ("deploy", "--suffix", "dev", "--bucket", "zips", "--no-wait", "--yes"),
}
ALL = pytest.mark.parametrize("operation", COMMANDS)


@pytest.fixture
def stack() -> FakeStack:
    return FakeStack(
        NAME,
        "UPDATE_FAILED",
        parameters={names.TRANSACTIONS_TABLE_OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev"},
        outputs={"TransactionsTableName": "TransactionsTable"},
        template=TEMPLATE,
        resources=dict.fromkeys(
            ("FailedTransactionsQueue", "FailedTransactionsDLQ"), "CREATE_COMPLETE"
        ),
    )


@pytest.fixture
def aws(stack: FakeStack) -> FakeAws:
    return FakeAws(stacks={NAME: stack}, answers={**FakeQueues().answers()})


def acquire(aws: FakeAws, operation: str = "restore") -> Lock:
    session = aws.session()
    stack = Stack(session.client("cloudformation"), NAME, lambda _: None, "--suffix dev")
    return Lock.acquire(session, stack, operation, lambda _: None)


def table_of(aws: FakeAws) -> list[Item]:
    return list(aws.operations.tables[OPERATIONS_TABLE].rows().values())


@ALL
@pytest.mark.parametrize("given", [(), ("--take-over", "99"), ("--take-over=99",)], ids=str)
def test_it_is_refused_in_one_line_with_the_whole_command_that_takes_over(
    given: tuple[str, ...], operation: str, cli: Cli, aws: FakeAws
) -> None:
    acquire(aws)
    aws.calls.clear()
    line = refused(cli(*COMMANDS[operation], *given), 1)
    assert line.startswith(f"{NAME} is held by arn:aws:sts::123456789012:assumed-role/Deployers/")
    assert "): restore since " in line
    entered = " ".join(COMMANDS[operation]).replace("a b.jsonl", "'a b.jsonl'")
    assert line.endswith(f"`payment-infra {entered} --take-over 1`")
    assert aws.changes() == []
    assert not Path("a b.jsonl").exists()


@ALL
def test_it_takes_over_what_it_is_told_to_and_yes_alone_does_not(
    operation: str, cli: Cli, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "ANSWER_SECONDS", 0)
    monkeypatch.setattr(Session, "attempt_seconds", 0)
    lock = acquire(aws)
    cli(*COMMANDS[operation], "--take-over", "2")
    lock.check()
    result = cli(*COMMANDS[operation], "--take-over", "1")
    assert "Warning: took the lock of payment-infra-dev over from arn:aws:sts::" in result.stderr
    [item] = table_of(aws)
    assert item == {"stack": {"S": NAME}, "item": {"S": "lock"}, "generation": {"N": "2"}}


@ALL
@pytest.mark.parametrize("generation", ["0", "-1", "x"])
def test_a_generation_is_a_whole_number_from_1_on(
    generation: str, operation: str, cli: Cli, aws: FakeAws
) -> None:
    assert "--take-over" in refused(cli(*COMMANDS[operation], "--take-over", generation), 2)
    assert aws.calls == []


@ALL
def test_without_permission_for_the_lock_nothing_is_done(
    operation: str, cli: Cli, aws: FakeAws
) -> None:
    aws.errors["dynamodb:UpdateItem"] = Refused("AccessDeniedException")
    line = refused(cli(*COMMANDS[operation]), 1)
    statement = json.loads(line.partition("; let your policy hold ")[2])
    assert "dynamodb:UpdateItem" in statement["Action"]
    assert statement["Resource"].endswith(":table/payment-infra-operations")
    assert aws.changes() == []


def test_the_cancelling_of_a_redrive_takes_no_lock_and_so_none_over(cli: Cli, aws: FakeAws) -> None:
    cancel = ("failed", "redrive", "--suffix", "dev", "--cancel")
    line = refused(cli(*cancel, "--take-over", "1"), 2)
    assert line == "--take-over goes with --all and --id: --cancel takes no lock"
    assert "no message move task is in progress" in refused(cli(*cancel), 1)
    assert table_of(aws) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("failed", "list", "--suffix", "dev"),
        ("watch", "--suffix", "dev"),
        ("list",),
        ("outputs", "--suffix", "dev"),
        ("diff", "--suffix", "dev"),
        ("destroy", "--suffix", "other", "--yes"),
    ],
    ids=" ".join,
)
def test_what_only_looks_or_finds_nothing_to_do_takes_no_lock(
    arguments: tuple[str, ...], cli: Cli, aws: FakeAws
) -> None:
    cli(*arguments)
    assert table_of(aws) == []
    assert not [name for name, params in aws.calls if params.get("TableName") == OPERATIONS_TABLE]


def asking() -> Iterator[tuple[str, click.Command]]:
    """Yield each command that asks before it changes something, by its name."""
    for name in COMMAND_NAMES:
        command = root.get_command(click.Context(root), name)
        assert command is not None
        subcommands = command.commands if isinstance(command, click.Group) else {"": command}
        for part, one in subcommands.items():
            if any(option.name == "yes" for option in one.params):
                yield f"{name} {part}".rstrip(), one


def test_every_command_that_asks_takes_the_lock_or_loses_nothing_without() -> None:
    """Who is told of alarms is in no table, the bucket goes only where no stack is left, and
    `gateway check` pays at a sandbox, and changes no environment."""
    without = {
        name
        for name, command in asking()
        if not any(option.name == "take_over" for option in command.params)
    }
    assert without == {"bootstrap", "cancel", "gateway check", "subscribe"}


def test_cancel_acts_on_the_operation_whoever_holds_the_lock(
    cli: Cli, aws: FakeAws, stack: FakeStack
) -> None:
    acquire(aws, "deploy")
    stack.status = "UPDATE_IN_PROGRESS"
    result = cli("cancel", "--suffix", "dev", "--yes")
    assert result.exit_code == 0, result.stderr
    assert stack.status == "UPDATE_ROLLBACK_COMPLETE"


def test_status_shows_who_works_on_it_and_its_exit_code_does_not_change(
    cli: Cli, aws: FakeAws
) -> None:
    free = cli("status", "--suffix", "dev", "--output", "json")
    assert json.loads(free.stdout)["lock"] is None
    assert "\nlock " not in cli("status", "--suffix", "dev").stdout
    with acquire(aws, "destroy") as lock:
        result = cli("status", "--suffix", "dev", "--output", "json")
        assert "\nlock       destroy, begun " in cli("status", "--suffix", "dev").stdout
    shown = json.loads(result.stdout)["lock"]
    assert (shown["operation"], shown["generation"], shown["stack_id"]) == ("destroy", 1, "")
    assert shown["since"] == shown["renewed_at"]
    assert result.exit_code == free.exit_code
    assert lock.generation == 1


def test_status_says_that_the_lock_may_not_be_read(cli: Cli, aws: FakeAws) -> None:
    aws.errors["dynamodb:GetItem"] = Refused("AccessDeniedException")
    result = cli("status", "--suffix", "dev", "--output", "json")
    unknown = json.loads(result.stdout)["unknown"]["lock"]
    assert unknown.startswith(f"table {OPERATIONS_TABLE}: not allowed to call GetItem")
