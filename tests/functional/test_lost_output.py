"""Commands that change an environment, and whose stdout is lost: each goes on to its last word."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import pytest

from payment_infra import names
from payment_infra.cli import COMMANDS, root, streams, subscribe
from payment_infra.cli.app import App
from tests.aws import FakeAws, FakeBucket, FakeStack, Refused
from tests.queues import DEAD_LETTERS, QUEUE, FakeQueues

NAME = "payment-infra-dev"
ENVIRONMENT = ("--suffix", "dev")
JSON = ("--output", "json")
ARN = "arn:aws:sns:::1"
# What a command does, said by what it has called at last; and what it says on stderr then.
CASES: dict[tuple[str, ...], tuple[str, str]] = {
    ("destroy", *ENVIRONMENT, "--yes"): (
        "cloudformation:DeleteStack",
        "payment-infra-dev is deleted",
    ),
    ("bootstrap",): ("cloudformation:ExecuteChangeSet", ""),
    ("bootstrap", "--destroy", "--yes"): ("s3:DeleteBucket", "is deleted"),
    ("upload", *ENVIRONMENT, "--bucket", "zips"): ("s3:PutObject", ""),
    ("deploy", *ENVIRONMENT, "--bucket", "zips", "--yes"): ("cloudformation:ExecuteChangeSet", ""),
    ("subscribe", *ENVIRONMENT, "--email", "new@example.com", "--yes"): (
        "sns:Subscribe",
        "new@example.com gets a link",
    ),
    ("subscribe", *ENVIRONMENT, "--remove", "old@example.com", "--yes"): (
        "sns:Unsubscribe",
        "old@example.com is no longer told",
    ),
    ("failed", "redrive", *ENVIRONMENT, "--all", "--yes"): ("sqs:SendMessage", ""),
    ("failed", "redrive", *ENVIRONMENT, "--id", "m-0", "--yes"): ("sqs:SendMessage", ""),
    ("failed", "redrive", *ENVIRONMENT, "--cancel"): ("sqs:CancelMessageMoveTask", ""),
    ("failed", "purge", *ENVIRONMENT, "--export", "letters", "--yes"): (
        "sqs:DeleteMessageBatch",
        "letters: 1 message",
    ),
}
ALL = pytest.mark.parametrize("arguments", CASES, ids=" ".join)
NOBODY = "stdout: nobody reads it any more; what was begun goes on to its end"
FULL = "stdout: No space left on device; what was begun goes on to its end"


@pytest.fixture
def queues() -> FakeQueues:
    queues = FakeQueues()
    queues.put("m-0", "{}")
    return queues


@pytest.fixture
def aws(queues: FakeQueues, monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    monkeypatch.setattr("time.sleep", lambda _: None)
    aws = FakeAws(buckets={"zips": FakeBucket()})
    subscription = {"SubscriptionArn": ARN, "Protocol": "email", "Endpoint": "old@example.com"}
    aws.answers = {
        **queues.answers(),
        "sns:ListSubscriptionsByTopic": {"Subscriptions": [subscription]},
        "sns:Subscribe": {"SubscriptionArn": "pending confirmation"},
        "sns:Unsubscribe": {},
        "sqs:ListMessageMoveTasks": {"Results": [{"Status": "RUNNING", "TaskHandle": "1"}]},
        "sqs:CancelMessageMoveTask": {"ApproximateNumberOfMessagesMoved": 3},
        "s3:ListObjectVersions": {},
        "s3:DeleteBucket": {},
    }
    aws.errors["sqs:StartMessageMoveTask"] = Refused("InvalidAction")
    return aws


def deployed() -> FakeStack:
    return FakeStack(
        NAME,
        parameters={names.TRANSACTIONS_TABLE_OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev"},
        outputs={"TransactionsTableName": "TransactionsTable"},
        template='{"Resources": {}}',
        resources=dict.fromkeys((QUEUE, DEAD_LETTERS, "AlarmTopic"), "CREATE_COMPLETE"),
    )


@contextmanager
def stdout(descriptor: int) -> Iterator[None]:
    """Have an open file as the stdout of this process."""
    kept, stream = os.dup(streams.STDOUT), sys.stdout
    os.dup2(descriptor, streams.STDOUT)
    try:
        sys.stdout = streams.Text(streams.Output(streams.STDOUT, absent=False), "utf-8")
        yield
    finally:
        sys.stdout = stream
        os.dup2(kept, streams.STDOUT)
        os.close(kept)


@pytest.fixture
def run(aws: FakeAws) -> Callable[[tuple[str, ...], int], Any]:
    """Runs a command with an open file as its stdout; returns its exit code."""

    def run(arguments: tuple[str, ...], descriptor: int) -> Any:
        app = App(lambda *_: aws.session())
        if "--destroy" in arguments:
            root.main(["bootstrap"], obj=app, standalone_mode=False)
        elif arguments[0] not in {"bootstrap", "upload", "deploy"}:
            aws.stacks[NAME] = deployed()
        aws.calls.clear()
        with stdout(descriptor), pytest.raises(SystemExit) as ended:
            root.main([*arguments, *JSON], obj=app)
        return ended.value.code

    return run


@ALL
def test_it_ends_as_if_it_had_been_read_where_its_reader_has_left(
    arguments: tuple[str, ...],
    run: Callable[[tuple[str, ...], int], int],
    aws: FakeAws,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code = run(arguments, writer)
    finally:
        os.close(writer)
    operation, told = CASES[arguments]
    stderr = capsys.readouterr().err
    assert (code, NOBODY in stderr.splitlines(), told in stderr) == (0, True, True), stderr
    assert aws.called(operation)


@ALL
def test_it_says_that_what_was_begun_is_done_where_its_output_is_full(
    arguments: tuple[str, ...],
    run: Callable[[tuple[str, ...], int], int],
    aws: FakeAws,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(descriptor: int, _: object) -> int:
        assert descriptor == streams.STDOUT
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    descriptor = os.open(os.devnull, os.O_WRONLY)
    try:
        code = run(arguments, descriptor)
    finally:
        os.close(descriptor)
    *_, full, last = capsys.readouterr().err.splitlines()
    assert code == 1
    assert last == (
        "Error: stdout: No space left on device; it has not got all, but what was begun is done"
    )
    assert full == FULL
    assert aws.called(CASES[arguments][0])


def test_what_is_left_of_a_redrive_is_told_where_its_reader_has_left(
    run: Callable[[tuple[str, ...], int], int],
    aws: FakeAws,
    queues: FakeQueues,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queues.put("m-1", "{}")
    queues.hide(DEAD_LETTERS, ["m-1"], 10_000)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code = run(("failed", "redrive", *ENVIRONMENT, "--all", "--yes"), writer)
    finally:
        os.close(writer)
    assert code == 1
    assert "about 1 message held by another" in capsys.readouterr().err.splitlines()[-1]


SHELTERED = streams.sheltered()(lambda: None).__code__


def is_sheltered(function: Any) -> bool:
    while function is not None:
        if function.__code__ is SHELTERED:
            return True
        function = getattr(function, "__wrapped__", None)
    return False


def commands() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        command = root.get_command(click.Context(root), name)
        assert command is not None
        parts = command.commands if isinstance(command, click.Group) else {"": command}
        yield from ((f"{name} {part}".rstrip(), one) for part, one in parts.items())


def test_every_command_that_changes_an_environment_is_sheltered() -> None:
    """It is known by asking; `upload` changes what nobody has to be asked about, `subscribe` shows
    with one of its options, and `gateway check` asks because it pays at a sandbox."""
    asking = {name for name, one in commands() if any(o.name == "yes" for o in one.params)}
    sheltered = {name for name, one in commands() if is_sheltered(one.callback)}
    assert sheltered == asking - {"gateway check", "subscribe"} | {"upload"}
    assert all(map(is_sheltered, (subscribe._add, subscribe._remove)))
