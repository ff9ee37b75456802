"""What --discard-newer leaves behind, and what it says and asks before."""

from __future__ import annotations

from typing import Any

import pytest

from payment_infra.cloud.events import Caution, Report
from payment_infra.errors import UsageError
from tests.restoring import MINUTE, OWN, TO, World, payment


def cautions(world: World) -> list[str]:
    return [caution.message for caution in world.operator.of(Caution)]


def rows(report: Report) -> dict[str, tuple[str, str | None, str]]:
    found: Any = report.document["rows"]
    return {row["transaction_id"]: (row["before"], row["after"], row["action"]) for row in found}


def test_what_is_left_behind_is_told_once(world: World) -> None:
    report = world.restore(discard_newer=True, confirm_discard=True)
    listed: Any = report.document["rows"]
    names = [row["transaction_id"] for row in listed]
    assert len(names) == len(set(names)) == 4


def test_discarding_asks_once_more_and_ends_before_payments_are_stopped(world: World) -> None:
    with pytest.raises(UsageError, match="--confirm-discard"):
        world.restore(discard_newer=True)
    assert world.aws.called("apigateway:UpdateStage") == []
    assert world.active == OWN
    assert world.operator.asked == [
        "At least 3 will be open again, and charged only if the gateway is certain that it "
        "never did. Leave them behind?"
    ]
    listed = world.operator.of(Report)[-1]
    assert listed.lines[0] == "4 payments changed since 2026-11-24T11:45:00Z:"
    assert "  since-0  processed (there: validated), left" in listed.lines


def test_what_is_discarded_is_not_copied_and_stays_in_the_report(world: World) -> None:
    world.pay("charged-since", ("validated", MINUTE), ("processing", 2 * MINUTE))
    report = world.restore(discard_newer=True, confirm_discard=True)
    assert world.aws.called("dynamodb:PutItem") == []
    assert world.statuses(world.active)["since-0"] == "validated"
    assert rows(report)["since-0"] == ("processed", "validated", "left")
    assert rows(report)["charged-since"] == ("processing", None, "left")
    assert cautions(world) == [
        f"1 row not in {world.active}, and could be charged again if validated again; see the "
        "report",
        f"3 open payments of {world.active} marked as rewound; see the report",
    ]
    assert "- compare the 1 that could be charged again with the gateway's records" in report.lines


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (("processed",), "1 will be missing, and could be charged again if validated again. "),
        (("processing",), "1 will be missing, and could be charged again if validated again. "),
        (("validated",), ""),
        ((), ""),
    ],
)
def test_the_second_question_says_what_a_yes_does(
    world: World, missing: tuple[str, ...], told: str
) -> None:
    for name in list(world.own.rows()):
        world.own.write(TO + 3 * MINUTE, name, None)
    for status in missing:
        world.pay("missing", (status, MINUTE))
    with pytest.raises(UsageError, match="--confirm-discard"):
        world.restore(discard_newer=True)
    assert world.operator.asked == [f"{told}Leave them behind?"]


def test_an_undo_needs_its_second_consent_too(world: World) -> None:
    world.restore()
    now = world.tables.now
    world.tables.tables[world.active].write(now, "open", payment("open", "processed", now, TO))
    copy, stops = world.active, len(world.aws.called("apigateway:UpdateStage"))
    with pytest.raises(UsageError, match="--confirm-discard"):
        world.undo(discard_newer=True)
    assert (world.active, len(world.aws.called("apigateway:UpdateStage"))) == (copy, stops)
    report = world.undo(discard_newer=True, confirm_discard=True)
    assert rows(report)["open"] == ("processed", "validated", "left")
    assert world.statuses(OWN)["open"] == "validated"
