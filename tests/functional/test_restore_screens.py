"""What a person sees of a restore, a drill and an undo, at 80 columns."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

import pytest

from payment_infra.cloud.restoring import work
from tests.functional.conftest import Cli, refused
from tests.restoring import OWN, World
from tests.stacks import Answer, event
from tests.transcripts import Transcript, at_terminal

WIDTH = 80
COLORS = pytest.mark.parametrize("color", [True, False], ids=["color", "plain"])
RESTORE = ("restore", "--suffix", "dev", "--no-smoke")
TO = ("--to", "2026-11-24T11:45:00Z")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    made.aws.further_changes = [
        {
            "Type": "Resource",
            "ResourceChange": {
                "Action": "Modify",
                "LogicalResourceId": name,
                "ResourceType": "AWS::Lambda::Function",
                "Replacement": "False",
                "Details": [
                    {
                        "Target": {"Attribute": "Properties", "Name": "Environment"},
                        "ChangeSource": "ParameterReference",
                        "CausingEntity": "TransactionsTableOverride",
                    }
                ],
            },
        }
        for name in ("ValidationFunction", "ProcessingFunction", "RetryFunction")
    ]
    monkeypatch.setattr(
        work, "Work", partial(work.Work, sleep=made.sleep, clock=lambda: made.tables.now)
    )
    return made


def terminal(
    world: World, color: bool, monkeypatch: pytest.MonkeyPatch, *, live: bool = True
) -> Transcript:
    """Return a terminal whose clock is the world's."""
    at_terminal(monkeypatch, WIDTH, lambda: world.tables.now, live=live, sleep=world.sleep)
    return Transcript(Cli(world.aws), WIDTH, color)


@COLORS
def test_a_restore_shows_plan_steps_and_report_and_so_does_its_undoing(
    color: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal(world, color, monkeypatch)
    assert shown(*RESTORE, *TO, typed="n\n") == 130
    assert shown(*RESTORE, *TO, typed="y\n") == 0
    assert shown(*RESTORE, *TO, typed="y\n") == 2
    assert shown(*RESTORE, "--undo", typed="n\n") == 130
    assert shown(*RESTORE, "--undo", typed="y\n") == 0
    assert shown(*RESTORE, "--undo", typed="y\n") == 1
    shown.check("restore")


@COLORS
def test_a_drill_reports_that_its_copy_is_gone(
    color: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal(world, color, monkeypatch)
    assert shown(*RESTORE, "--to", "latest", "--drill", typed="y\n") == 0
    shown.check("restore-drill")


@COLORS
def test_what_a_restore_leaves_behind_is_listed_before_the_second_question(
    color: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal(world, color, monkeypatch)
    assert shown(*RESTORE, *TO, "--discard-newer", typed="y\nn\n") == 130
    assert shown(*RESTORE, *TO, "--discard-newer", typed="y\ny\n") == 0
    shown.check("restore-discarding")


@COLORS
def test_a_restore_that_is_broken_off_warns_that_payments_are_stopped(
    color: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal(world, color, monkeypatch)
    update = world.aws.answers["apigateway:UpdateStage"]

    def pressed(_: Answer) -> Answer:
        world.aws.answers["apigateway:UpdateStage"] = update
        raise KeyboardInterrupt

    world.aws.answers["apigateway:UpdateStage"] = pressed
    assert shown(*RESTORE, *TO, "--yes") == 130
    world.aws.timeline = [
        ("UPDATE_IN_PROGRESS", [event(5, "ProcessingFunction", "UPDATE_IN_PROGRESS")]),
        ("UPDATE_ROLLBACK_COMPLETE", [event(9, "ProcessingFunction", "UPDATE_FAILED", "busy")]),
    ]
    assert shown(*RESTORE, *TO, "--yes") == 3
    assert shown(*RESTORE, "--undo", "--yes") == 0
    shown.check("restore-broken-off")


def test_what_a_restore_waits_for_is_a_line_where_nothing_can_be_drawn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal(world, True, monkeypatch, live=False)
    world.tables.creation_looks = 20
    assert shown(*RESTORE, *TO, "--yes") == 0
    shown.check("restore-lines", log=True)


def test_a_report_that_cannot_be_written_is_told_before_anything_is_changed(
    world: World, clean: Path
) -> None:
    (clean / "loop").symlink_to("loop")
    for name in ("loop", "missing/report.json"):
        result = Cli(world.aws)(*RESTORE, *TO, "--yes", "--report", name)
        assert refused(result, 2).startswith(f"{name}: ")
    assert world.aws.changes() == []


def test_a_report_that_cannot_be_written_in_the_end_fails_what_is_done(
    world: World, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        result = Cli(world.aws)(*RESTORE, *TO, "--yes", "--report", "report.json")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "Error: report.json: cannot be written (No space left on device); all else is done, and "
        "the report stands above"
    )
    assert world.active != OWN
    assert list(clean.iterdir()) == []
