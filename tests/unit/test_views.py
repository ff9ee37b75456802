"""What a person sees of a deployment, at 80 and 120 columns, with colour and without."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from payment_infra.cli.views import progress
from payment_infra.cli.views.ndjson import JsonView
from payment_infra.cli.views.operation import MAX_IN_FLIGHT, Operation, finished, frame
from payment_infra.cli.views.preview import draw, draw_diff
from payment_infra.cli.views.progress import LiveView, PlainView, view
from payment_infra.cli.views.terminal import at_terminal
from payment_infra.cli.views.text import draw_gateway, elapsed
from payment_infra.cloud.events import (
    STACK_TYPE,
    Caution,
    Change,
    Event,
    LastOperation,
    Outputs,
    Preview,
    PropertyChange,
    Result,
    StackEvent,
    Waiting,
)
from payment_infra.cloud.stacks.diagnosis import failure
from payment_infra.config import PRESETS
from payment_infra.difference import compare_all
from payment_infra.errors import UsageError
from payment_infra.grants import GrantChange
from tests import snapshots
from tests.transcripts import screen
from tests.unit.template import load

NAME = "payment-infra-dev"
START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
WIDTHS = pytest.mark.parametrize("width", [80, 120])
COLORS = pytest.mark.parametrize("color", [True, False], ids=["color", "plain"])
LONG = "A" * 200

PREVIEW = Preview(
    stack=NAME,
    account="123456789012",
    region="eu-central-1",
    change_set="payment-infra-1",
    creates=False,
    changes=(
        Change("Add", "RetryThrottleAlarm", "AWS::CloudWatch::Alarm"),
        Change(
            "Modify",
            "ProcessingFunction",
            "AWS::Lambda::Function",
            properties=(
                PropertyChange("code", "0123456789ab", "ba9876543210"),
                PropertyChange("Runtime", "python3.12", "python3.13"),
                PropertyChange("Environment.Variables.GATEWAY", None, LONG),
                PropertyChange("Role", cause="ProcessingRole.Arn"),
            ),
        ),
        Change("Modify", "TransactionsTable", "AWS::DynamoDB::Table", "replaces"),
        Change("Modify", "PaymentAPIStage", "AWS::ApiGateway::Stage", "may replace"),
        Change("Remove", "FailedTransactionsDLQ", "AWS::SQS::Queue"),
    ),
    grants=(
        GrantChange(
            False, "ProcessingRole", "Allow", ("dynamodb:UpdateItem",), ("!Ref TransactionsTable",)
        ),
        GrantChange(
            True,
            "ProcessingRole",
            "Allow",
            ("dynamodb:UpdateItem", "secretsmanager:GetSecretValue"),
            ("arn:aws:secretsmanager:eu-central-1:123456789012:secret:acme/key-AbCdEf",),
            "aws:SourceAccount: 123456789012",
        ),
    ),
    gateway="simulated",
    unasked=(
        PropertyChange("runtime", "python3.12", "python3.13"),
        PropertyChange("tags", LONG, "none"),
    ),
)


def happened(
    seconds: int, logical_id: str, status: str, reason: str = "", kind: str = "AWS::SQS::Queue"
) -> StackEvent:
    moment = START + timedelta(seconds=seconds)
    return StackEvent(f"{logical_id}-{seconds}", moment, logical_id, kind, status, reason)


def of_stack(seconds: int, status: str) -> StackEvent:
    return happened(seconds, NAME, status, kind=STACK_TYPE)


EVENTS = (
    of_stack(0, "UPDATE_IN_PROGRESS"),
    happened(1, "FailedTransactionsQueue", "UPDATE_IN_PROGRESS"),
    happened(2, "TransactionsTable", "UPDATE_IN_PROGRESS"),
    happened(3, "FailedTransactionsQueue", "UPDATE_COMPLETE"),
    happened(4, "ProcessingFunction", "UPDATE_IN_PROGRESS"),
    happened(95, "TransactionsTable", "UPDATE_COMPLETE"),
)


def check_width(text: str, width: int) -> None:
    assert max(len(line) for line in click.unstyle(text).splitlines()) <= width


@WIDTHS
def test_a_preview(width: int) -> None:
    text = draw(PREVIEW, width)
    check_width(text, width)
    snapshots.check(f"preview-{width}", text + "\n")


@WIDTHS
def test_a_preview_of_a_creation(width: int) -> None:
    added = tuple(one for one in PREVIEW.changes if one.action == "Add")
    grants = tuple(one for one in PREVIEW.grants if one.added)
    text = draw(replace(PREVIEW, creates=True, unasked=(), changes=added, grants=grants), width)
    check_width(text, width)
    snapshots.check(f"creation-{width}", text + "\n")


def test_a_preview_warns_of_each_data_that_may_be_lost() -> None:
    warnings = [
        line for line in click.unstyle(draw(PREVIEW, 300)).splitlines() if "Warning" in line
    ]
    assert len(warnings) == 2
    assert "TransactionsTable (AWS::DynamoDB::Table) is replaced" in warnings[0]
    assert "FailedTransactionsDLQ (AWS::SQS::Queue) is removed" in warnings[1]


@WIDTHS
def test_a_diff(width: int) -> None:
    comparison = compare_all(
        load(),
        load(**{**PRESETS["production"], "runtime": "python3.12"}),
        {"LogRetentionDays": "7"},
        {"LogRetentionDays": "365"},
    )
    text = draw_diff(comparison, width)
    check_width(text, width)
    snapshots.check(f"diff-{width}", text + "\n")


def operation(*events: StackEvent, total: int = 5) -> Operation:
    known = Operation(NAME)
    known.total = total
    for one in events:
        known.add(one)
    return known


def rendered(known: Operation, width: int, seconds: int, color: bool) -> str:
    from rich.console import Console

    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        color_system="standard",
        no_color=not color,
        legacy_windows=False,
        highlight=False,
    )
    console.print(frame(known, width, 40, START + timedelta(seconds=seconds)))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@WIDTHS
@COLORS
def test_the_live_view_while_it_goes_on(width: int, color: bool) -> None:
    text = rendered(operation(*EVENTS[:5]), width, 64, color)
    check_width(text, width)
    # Without colours, the bar does not show how much of it is left.
    snapshots.check(f"live-{width}{'' if color else '-plain'}", text)


@WIDTHS
@COLORS
def test_what_is_waited_for_is_told_where_it_is_no_stack(width: int, color: bool) -> None:
    texts = (
        "transactions-prod-eu-20261124T100000Z is CREATING (0:12:45)",
        "requests that have begun may take another 29 s",
        "CloudFormation compares the resources of payment-infra-prod-eu",
        "another detection of payment-infra-prod-eu is in progress",
        "1200 of 5000 moved",
        f"{LONG} is CREATING (0:12:45)",
    )
    frames = []
    for one in texts:
        known = operation()
        known.waits_for = one
        frames.append(rendered(known, width, 64, color))
    check_width("".join(frames), width)
    snapshots.check(f"waiting-{width}", "".join(frames), color=color)


@WIDTHS
def test_what_has_ended_stays_as_a_list(width: int) -> None:
    text = "".join(f"{line}\n" for line in finished(operation(*EVENTS), width))
    check_width(text, width)
    snapshots.check(f"finished-{width}", text)


@WIDTHS
@COLORS
def test_a_rollback_is_told_in_the_live_view(width: int, color: bool) -> None:
    known = operation(
        *EVENTS,
        of_stack(100, "UPDATE_ROLLBACK_IN_PROGRESS"),
        *(happened(101, f"Alarm{number}", "DELETE_IN_PROGRESS") for number in range(10)),
    )
    text = rendered(known, width, 3 * 3600, color)
    check_width(text, width)
    snapshots.check(f"rollback-{width}{'' if color else '-plain'}", text)


def test_many_in_flight_are_counted_and_a_long_name_is_cut() -> None:
    events = [happened(1, f"{LONG}{number}", "CREATE_IN_PROGRESS") for number in range(20)]
    text = rendered(operation(*events, total=20), 80, 2, color=False)
    check_width(text, 80)
    assert f"and {20 - MAX_IN_FLIGHT} more" in text
    assert len(text.splitlines()) == MAX_IN_FLIGHT + 2


def test_a_drawing_is_no_higher_than_its_terminal() -> None:
    from rich.console import Console

    known = operation(
        *(happened(1, f"Alarm{number}", "CREATE_IN_PROGRESS") for number in range(20)), total=20
    )
    heights = {}
    for height in (1, 2, 5, 40):
        console = Console(file=io.StringIO(), width=80, force_terminal=False)
        drawn = console.render_lines(frame(known, 80, height, START), pad=False)
        heights[height] = len(drawn)
    assert heights == {1: 1, 2: 2, 5: 5, 40: MAX_IN_FLIGHT + 2}


def test_nothing_is_counted_before_the_first_event() -> None:
    text = rendered(Operation(NAME), 80, 2, color=False)
    assert "/" not in text
    assert "0 s" in text


def test_a_resource_is_done_or_in_flight_and_the_stack_is_neither() -> None:
    known = operation(*EVENTS)
    assert list(known.done) == ["FailedTransactionsQueue", "TransactionsTable"]
    assert list(known.in_flight) == ["ProcessingFunction"]
    assert known.seconds("TransactionsTable", EVENTS[-1].time) == 93
    # A replaced resource is deleted after it was done.
    known.add(happened(96, "TransactionsTable", "DELETE_IN_PROGRESS"))
    assert list(known.in_flight) == ["ProcessingFunction", "TransactionsTable"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.9, "59 s"), (60, "1 m 0 s"), (3599, "59 m 59 s"), (7500, "2 h 5 m")],
)
def test_durations_are_told_in_words(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text


# Line by line.


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def test_every_event_is_a_line_and_silence_is_broken_after_30_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    view = PlainView(NAME, 80, clock)
    for one in EVENTS[:5]:
        view.tell(one)
    capsys.readouterr()
    for seconds in (29, 30, 59, 90):
        clock.now = START + timedelta(seconds=seconds)
        view.tell(Waiting())
    assert capsys.readouterr().err.splitlines() == [
        "still in progress: TransactionsTable, ProcessingFunction (30 s)",
        "still in progress: TransactionsTable, ProcessingFunction (1 m 30 s)",
    ]


def test_silence_is_broken_by_some_names_and_how_many_more_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    view = PlainView(NAME, 80, clock)
    for number in range(MAX_IN_FLIGHT + 3):
        view.tell(happened(1, f"Alarm{number}", "CREATE_IN_PROGRESS"))
    capsys.readouterr()
    clock.now += timedelta(seconds=31)
    view.tell(Waiting())
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(f"Alarm6, Alarm{MAX_IN_FLIGHT - 1} and 3 more (30 s)")


def test_a_reason_of_several_lines_is_one_line_of_the_event(
    capsys: pytest.CaptureFixture[str],
) -> None:
    PlainView(NAME, 80, lambda: START).tell(happened(1, "Queue", "CREATE_FAILED", "It\nis wrong"))
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("It is wrong")


@COLORS
def test_lines(color: bool, capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView(NAME, 80, lambda: START)
    told: tuple[Event, ...] = (
        *EVENTS,
        happened(96, "Queue", "UPDATE_FAILED", "Queue already exists"),
        Caution("the quota is low"),
        Result(NAME, "UPDATE_COMPLETE", changed=True),
        Result(NAME, "UPDATE_COMPLETE", changed=False),
    )
    with click.Context(click.Command("deploy")) as context:
        context.color = color
        for one in told:
            view.tell(one)
    snapshots.check("lines", capsys.readouterr().err, color=color)


@pytest.mark.parametrize(("ci", "kind"), [("true", PlainView), ("", LiveView)])
def test_continuous_integration_gets_lines_though_it_has_a_terminal(
    ci: str, kind: type[PlainView | LiveView], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[object] = []

    @contextmanager
    def noted(*_: object, terminal: bool) -> Iterator[object]:
        with view("text", NAME, terminal=terminal, width=80) as made:
            shown.append(made)
            yield made

    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "view", noted)
    with at_terminal(NAME, "text"):
        pass
    assert [type(one) for one in shown] == [kind]


# NDJSON.


def test_every_line_of_ndjson_is_an_object_with_its_type(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = JsonView()
    told: tuple[Event, ...] = (
        PREVIEW,
        EVENTS[0],
        Waiting(),
        Caution("careful"),
        Outputs({"A": "1"}),
        Result(NAME, "UPDATE_COMPLETE", changed=True),
    )
    for one in told:
        view.tell(one)
    view.fail(UsageError("no"))
    cause = happened(1, "Queue", "CREATE_FAILED", "already exists")
    view.fail(failure(NAME, "ROLLBACK_COMPLETE", [cause], {"Queue": "queues.py"}, ""))
    captured = capsys.readouterr()
    lines: list[dict[str, Any]] = [json.loads(line) for line in captured.out.splitlines()]
    assert captured.err == ""
    kinds = [one["type"] for one in lines]
    assert kinds == ["change_set", "event", "warning", "outputs", "result", "error", "error"]
    assert lines[0]["changes"][1]["properties"][0] == {
        "path": "code",
        "old": "0123456789ab",
        "new": "ba9876543210",
        "cause": None,
    }
    assert lines[0]["iam"][1]["added"] is True
    assert lines[1]["time"] == "2026-11-24T12:00:00+00:00"
    assert lines[5] == {"type": "error", "message": "no", "exit_code": 2}
    assert lines[6]["cause"]["source"] == "queues.py"


LAST = LastOperation(
    stack=NAME,
    began=START,
    ended=START + timedelta(seconds=90),
    begun="begun by alice of account 123456789012 with payment-infra",
    resources=2,
    failed=(happened(70, "Queue", "UPDATE_FAILED", "Limit\nexceeded"),),
)


def test_the_last_operation_is_told_with_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    PlainView(NAME, 80, lambda: START).tell(LAST)
    assert click.unstyle(capsys.readouterr().err).splitlines() == [
        "the last operation: began 2026-11-24T12:00:00Z, took 1 m 30 s, 2 resources, 1",
        "  failed; begun by alice of account 123456789012 with payment-infra",
        "UPDATE_FAILED  Queue: Limit exceeded",
    ]
    JsonView().tell(LAST)
    line = json.loads(capsys.readouterr().out)
    assert (line["type"], line["began"]) == ("last_operation", "2026-11-24T12:00:00+00:00")
    assert line["failed"][0]["reason"] == "Limit\nexceeded"


# The live view on a terminal.


@WIDTHS
@COLORS
def test_what_stays_on_the_screen_of_a_deployment_that_fails(
    width: int, color: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    reason = (
        'Resource handler returned message: "Queue payment-infra-failed-transactions-dev already '
        'exists (Service: Sqs, Status Code: 400)"'
    )
    failed = happened(96, "FailedTransactionsQueue", "UPDATE_FAILED", reason)
    view = LiveView(NAME, width, lambda: START + timedelta(seconds=96))
    with click.Context(click.Command("deploy")) as context:
        context.color = color
        for one in (*EVENTS, Waiting(), failed, of_stack(97, "UPDATE_ROLLBACK_IN_PROGRESS")):
            view.tell(one)
        view.tell(happened(98, "FailedTransactionsQueue", "UPDATE_COMPLETE"))
        view.tell(Caution("change set payment-infra-1 is kept"))
        error = failure(NAME, "UPDATE_ROLLBACK_COMPLETE", [failed], {}, "")
        view.fail(error)
        click.secho(f"Error: {error}", fg="red", err=True)
    text = screen(capsys.readouterr().err)
    *above, _ = text.splitlines()
    check_width("\n".join(above), width)
    snapshots.check(f"failed-{width}", text, color=color)


def test_the_bar_counts_the_previews_changes_after_another_operation_was_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = LiveView(NAME, 80, lambda: START)
    for one in (EVENTS[1], EVENTS[3], PREVIEW):
        view.tell(one)
    assert view.operation.total == len(PREVIEW.changes)


def test_the_live_view_leaves_the_terminal_as_it_was(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    view = LiveView(NAME, 80, lambda: START)
    for one in EVENTS:
        view.tell(one)
    view.tell(happened(96, "Queue", "UPDATE_FAILED", LONG * 5))
    view.pause()
    view.pause()
    text = capsys.readouterr().err
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert plain.count("UPDATE_FAILED") == 2  # when it happened, and in the list
    check_width(plain.replace("\r", "\n"), 80)
    assert [line.split()[-1] for line in plain.splitlines()[-3:]] == [
        "FailedTransactionsQueue",
        "TransactionsTable",
        "Queue",
    ]


@pytest.mark.parametrize(
    ("gateway", "told"),
    [
        ("simulated", "simulated, which moves no money"),
        ("scripted", "scripted, which moves no money"),
        ("stripe", "stripe"),
        ("acme.py:Acme", "acme.py:Acme"),
        ("", ""),
    ],
)
def test_a_gateway_is_told_with_whether_it_moves_no_money(gateway: str, told: str) -> None:
    assert draw_gateway(gateway) == told
