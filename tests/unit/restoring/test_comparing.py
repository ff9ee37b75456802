"""The end of a restore: where the gateway's list and the rows differ is told, and ends nothing."""

from __future__ import annotations

from typing import Any

import pytest

from payment_infra.cloud.events import Caution
from payment_infra.moments import exact
from tests.restoring import MINUTE, TO, World
from tests.stacks import Refused

COMMAND = "`payment-infra reconcile --since 2026-11-23T11:45:00Z --suffix dev`"


def captured(name: str, number: int = 1) -> dict[str, Any]:
    return {
        **{"id": f"pay_{number}", "reference": f"ch_{number}", "transaction_id": name},
        **{"outcome": "charged", "amount": 1, "amount_minor": 1, "currency": "EUR"},
        "created_at": exact(TO + MINUTE),
    }


def cautions(world: World) -> list[str]:
    return [one.message for one in world.operator.told if isinstance(one, Caution)]


def test_a_gateway_that_does_not_list_is_not_spoken_of() -> None:
    world = World()
    report = world.restore()
    assert report.document["reconciled"] is None
    assert "reconcile" not in "\n".join(report.lines)
    assert len(world.aws.called("lambda:Invoke")) == 1


def test_where_rows_and_gateway_agree_the_document_says_so() -> None:
    world = World()
    world.listed = [captured(f"since-{number}", number) for number in range(3)]
    for number in range(3):
        row = world.own.rows()[f"since-{number}"]
        reference = {"gateway_reference": {"S": f"ch_{number}"}, "gateway": {"S": "acme:Acme"}}
        world.own.write(TO + 2 * MINUTE, f"since-{number}", {**row, **reference})
    report = world.restore()
    reconciled: Any = report.document["reconciled"]
    assert (reconciled["differences"], reconciled["first"]) == ({}, [])
    assert reconciled["since"] == "2026-11-23T11:45:00+00:00"
    assert cautions(world) == []


def test_a_capture_of_a_payment_that_was_lost_or_taken_back_is_told_with_the_command() -> None:
    world = World()
    world.listed = [captured("since-0"), captured("gone", 2)]
    report = world.restore(discard_newer=True, confirm_discard=True)
    [caution] = [one for one in cautions(world) if "between rows and the gateway" in one]
    assert caution.endswith(f"{COMMAND} shows them")
    assert f"- {caution}, and --fix mends 1" in report.lines
    reconciled: Any = report.document["reconciled"]
    told = [(one["kind"], one["transaction_id"]) for one in reconciled["first"]]
    assert ("no_row", "gone") in told
    assert ("captured_not_settled", "since-0") in told
    assert reconciled["differences"]["no_row"] == 1
    assert world.journal.phase == "done"


@pytest.mark.parametrize("fault", ["refused", "denied", "interrupted"])
def test_what_keeps_it_from_being_compared_is_told_and_the_restore_is_done(fault: str) -> None:
    world = World()
    if fault == "denied":
        world.aws.errors["lambda:Invoke"] = Refused("AccessDeniedException")
    elif fault == "interrupted":
        world.aws.errors["lambda:Invoke"] = KeyboardInterrupt()
    else:
        world.listed = "gateway_timeout"
    report = world.restore()
    [line] = [line for line in report.lines if "were not compared" in line]
    assert line.endswith(f"; {COMMAND} does it")
    assert world.journal.phase == "done"
    assert world.active != "TransactionsTable"


def test_a_drill_compares_nothing() -> None:
    world = World()
    world.restore(drill=True)
    assert world.aws.called("lambda:Invoke") == []
