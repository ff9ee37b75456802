"""What a stack records of its configuration: that alone is an update, and the next knows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.stacks.stack import Stack
from payment_infra.config import PRESETS, StackConfig
from payment_infra.local.stack import open_session
from payment_infra.record import RECORD_HOLDER, Record, read_record
from tests.e2e.harness import Program

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator

NAMED = ("--no-retain-data", "--no-deletion-protection", "--no-termination-protection")
# What else the preset gives goes back to its default.
DEFAULTS = tuple(
    f"--no-{name.replace('_', '-')}"
    if value is True
    else f"--{name.replace('_', '-')}={getattr(StackConfig(), name)}"
    for name, value in PRESETS["production"].items()
)


@pytest.fixture
def program(aws: Emulator, tmp_path: Path) -> Program:
    return Program(aws.url, tmp_path)


def recorded(aws: Emulator, suffix: str) -> Record:
    """Return what the template records, which the resource alone says as well."""
    stack = Stack(open_session(aws).client("cloudformation"), f"payment-infra-{suffix}")
    template = stack.template()
    declared = template["Resources"][RECORD_HOLDER]["Metadata"]
    assert stack.metadata(RECORD_HOLDER) == declared
    return read_record(template)


def test_the_record_alone_makes_a_change_set(aws: Emulator, program: Program) -> None:
    deploy = ("deploy", "--suffix", "rec-1", "--yes")
    first = program(*deploy)
    assert first.returncode == 0, first.stderr
    preset = ("--preset", "production", *DEFAULTS)
    second = program(*deploy, *preset, "--output", "json")
    assert second.returncode == 0, second.stderr
    lines = [json.loads(line) for line in second.stdout.splitlines()]
    [preview] = [one for one in lines if one["type"] == "change_set"]
    assert [(one["action"], one["logical_id"]) for one in preview["changes"]] == [
        ("Modify", "AlarmTopic")
    ]
    assert (preview["gateway"], preview["back_to_default"]) == ("simulated", [])
    assert (lines[-1]["changed"], lines[-1]["status"]) == (True, "UPDATE_COMPLETE")
    assert recorded(aws, "rec-1").preset == "production"
    third = program(*deploy, *DEFAULTS)
    assert third.returncode == 0, third.stderr
    assert "no changes" in third.stderr
    assert recorded(aws, "rec-1").preset == "production"


def test_a_forgotten_flag_takes_no_access_away(aws: Emulator, program: Program) -> None:
    deploy = ("deploy", "--suffix", "rec-2", "--yes")
    first = program(*deploy, "--authorization", "none", "--runtime", "python3.12")
    assert first.returncode == 0, first.stderr
    forgotten = program(*deploy)
    assert forgotten.returncode == 2
    assert "authorization from none to iam; `payment-infra deploy --suffix rec-2 " in (
        forgotten.stderr
    )
    assert recorded(aws, "rec-2").values["authorization"] == "none"
    closed = program(*deploy, "--authorization", "iam")
    assert closed.returncode == 0, closed.stderr
    assert "Back to the default" in closed.stderr
    assert "runtime: python3.12 → python3.13" in closed.stderr
    opened = program(*deploy, "--authorization", "none")
    assert opened.returncode == 2
    assert "--allow open" in opened.stderr
    assert recorded(aws, "rec-2").values["authorization"] == "iam"
