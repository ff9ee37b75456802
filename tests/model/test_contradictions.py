"""Captures that a settled row contradicts: somebody settled it while the charge went on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from handlers.shared import metrics
from tests.model.faults import Call, Fault
from tests.model.machine import KEY_RETENTION_SECONDS
from tests.model.outcomes import settled
from tests.model.steps import fail_once, meanwhile, validated

if TYPE_CHECKING:
    from tests.model.expressions import Item
    from tests.model.world import World

LEASE = ("attempt_id", "lease_expires_at", "in_flight")


def settled_by_hand(**attributes: str) -> Callable[[Item], Item]:
    def change(item: Item) -> Item:
        kept = {name: value for name, value in item.items() if name not in LEASE}
        return kept | {name: {"S": value} for name, value in attributes.items()}

    return change


DECLINED = settled_by_hand(status="declined", decline_reason="by_hand")
PROCESSED = settled_by_hand(status="processed", gateway_reference="capture-by-hand")


@pytest.mark.parametrize("settle", [DECLINED, PROCESSED])
def test_a_capture_that_the_row_contradicts_is_counted_and_noted(
    world: World, settle: Callable[[Item], Item]
) -> None:
    payment = validated(world)
    meanwhile(world, "charge", lambda: world.table.change_by_hand(payment, settle))
    world.process(payment)
    (capture,) = world.gateway.captures
    row = world.table.items[payment]
    assert row["contradicting_reference"] == {"S": capture.reference}
    assert {name: row[name] for name in settle(row)} == settle(row)
    assert world.journal.metrics[metrics.CONTRADICTED] == 1
    assert not world.ledger.rewritten


def test_a_late_capture_under_a_forgotten_key_is_counted_and_noted(world: World) -> None:
    """An attempt stalls before its charge for so long that another capture is on record then."""
    payment = validated(world)

    def stall() -> None:
        world.advance(KEY_RETENTION_SECONDS / 2)
        world.process(payment)
        world.advance(KEY_RETENTION_SECONDS + 1)

    meanwhile(world, "charge", stall)
    world.process(payment)
    first, second = world.gateway.captures
    row = world.table.items[payment]
    assert row["gateway_reference"] == {"S": first.reference}
    assert row["contradicting_reference"] == {"S": second.reference}
    assert world.journal.metrics[metrics.CONTRADICTED] == 1


def test_a_capture_that_cannot_be_noted_is_counted(world: World) -> None:
    payment = validated(world)

    def settle_and_fail_the_note() -> None:
        world.table.change_by_hand(payment, DECLINED)
        updates = 0

        def decide(call: Call) -> Fault | None:
            nonlocal updates
            updates += call.site == "UpdateItem"
            return Fault.THROTTLED if updates == 2 else None

        world.network.decide = decide

    meanwhile(world, "charge", settle_and_fail_the_note)
    answer = world.process(payment)
    assert answer
    assert answer.status == 402
    assert "contradicting_reference" not in world.table.items[payment]
    assert world.journal.metrics[metrics.CONTRADICTED] == 1


def test_a_capture_that_another_attempt_has_recorded_contradicts_nothing(world: World) -> None:
    payment = validated(world)
    fail_once(world, "charge", Fault.LOST_ANSWER)
    world.process(payment)
    meanwhile(world, "charge", world.retry)
    world.process(payment)
    assert settled(world) == {payment}
    assert world.journal.metrics[metrics.CONTRADICTED] == 0
    assert "contradicting_reference" not in world.table.items[payment]
