"""Payments that are left behind, while something else is in the way of the scheduled run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from handlers.shared import recovery
from handlers.shared.aws import metrics, table
from handlers.shared.charging import QUEUE_RETRY_SECONDS
from handlers.shared.states import MISMATCHED, STUCK, UNREADABLE
from tests.model.faults import Call, Fault
from tests.model.hands import lose, spoil, tamper
from tests.model.invariants import check, unended, violations
from tests.model.machine import PAST_RECOVERY
from tests.model.outcomes import indexed, settled, under
from tests.model.rows import LOSSES, SPOILINGS, TAMPERINGS, flaw
from tests.model.steps import fail_once, leave_behind, validated

if TYPE_CHECKING:
    from tests.model.world import World

# Under these keys, and what counts the payments there.
METRICS = {
    STUCK: metrics.STUCK,
    MISMATCHED: metrics.MISMATCHED,
    UNREADABLE: metrics.UNREADABLE,
}
# What a condition cannot see in a row, or does not look at.
CLAIMED = {
    "amount_minor in fractions",
    "recoveries as text",
    "rewound as text",
    "first_charge_at as a number",
    "first_charge_at without a time",
    "first_charge_at without an offset",
}


@pytest.fixture(autouse=True)
def small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "MAX_PAYMENTS_A_RUN", 5)
    monkeypatch.setattr(table, "PAGE_SIZE", 2)


def test_recoveries_that_nobody_could_queue_do_not_count(world: World) -> None:
    payments = leave_behind(world, 20)
    for _ in range(10):
        world.advance(PAST_RECOVERY)
        assert world.scheduled_run(frozenset({"SendMessage"}))
        assert world.latest_run.counted[metrics.STUCK] == 0
    assert not any("recoveries" in row for row in world.table.items.values())
    world.drain()
    assert settled(world) == payments
    check(violations(world) + unended(world))


def test_payments_that_are_stuck_do_not_hide_the_others(world: World) -> None:
    """They are written once, to be set aside, and only counted after that."""
    stuck = leave_behind(world, 20)
    give_up(world, stuck)
    writes = {payment: world.ledger.writes[payment] for payment in stuck}
    others = leave_behind(world, 20)
    for number in range(1, 5):
        world.advance(PAST_RECOVERY)
        world.scheduled_run()
        while world.retry():
            pass
        assert len(settled(world) & others) == 5 * number
        assert world.latest_run.counted[metrics.STUCK] == len(stuck)
    assert {payment: world.ledger.writes[payment] for payment in stuck} == writes
    check(violations(world) + unended(world))


def give_up(world: World, payments: set[str]) -> None:
    """Let the gateway be away for three recoveries of each, and for the retries of each."""
    world.network.decide = lambda call: Fault.THROTTLED if call.site == "charge" else None
    for _ in range(4 * len(payments) // 5):
        world.advance(PAST_RECOVERY)
        world.scheduled_run()
        while world.retry():
            pass
    world.network.decide = lambda _: None
    assert under(world, STUCK) == payments


@pytest.mark.parametrize("name", [*TAMPERINGS, *SPOILINGS])
def test_a_row_that_must_not_be_charged_does_not_hide_the_others(world: World, name: str) -> None:
    """It comes first in the index, and is told from the others in every run."""
    (changed,) = leave_behind(world, 1)
    world.advance(1)
    others = leave_behind(world, 8)
    tamper(world, changed, name) if name in TAMPERINGS else spoil(world, changed, name)
    world.drain()
    assert settled(world) == others
    assert not world.table.items[changed].get("gateway_reference")
    if changed in indexed(world):
        assert world.table.items[changed]["in_flight"] == {"S": flaw(name)}
        assert world.latest_run.counted[METRICS[flaw(name)]] == 1
    check(violations(world) + unended(world))


@pytest.mark.parametrize("name", LOSSES)
def test_payments_that_the_index_has_lost_are_found_and_settled(world: World, name: str) -> None:
    """Also while the index, and a scan, show what was before."""
    lost = leave_behind(world, 8)
    world.table.stale = dict(world.table.items)
    for payment in lost:
        lose(world, payment, name)
    world.scheduled_run()
    world.drain()
    assert settled(world) == lost
    assert len(world.gateway.captures) == len(lost)
    check(violations(world) + unended(world))


@pytest.mark.parametrize("name", [*TAMPERINGS, *SPOILINGS])
def test_a_validated_row_that_must_not_be_charged_is_counted_when_somebody_asks(
    world: World, name: str
) -> None:
    payment = validated(world)
    tamper(world, payment, name) if name in TAMPERINGS else spoil(world, payment, name)
    answer = world.process(payment)
    assert answer
    assert answer.outcome == "not charged"
    assert answer.body["retry"] == "not queued"
    assert world.journal.metrics[METRICS[flaw(name)]] == 1
    if payment in indexed(world):
        assert world.table.items[payment]["in_flight"] == {"S": flaw(name)}
    assert not world.gateway.asked
    assert not world.queue.sent


@pytest.mark.parametrize("name", sorted(SPOILINGS.keys() - CLAIMED))
def test_a_row_that_lacks_what_a_payment_has_is_not_even_claimed(world: World, name: str) -> None:
    payment = validated(world)
    spoil(world, payment, name)
    before = world.table.items[payment]
    world.process(payment)
    assert world.table.items[payment] == before


def test_a_claim_whose_answer_is_lost_is_let_go(world: World) -> None:
    """So the first retry, which comes at once, need not wait for the end of the lease."""
    payment = validated(world)
    fail_once(world, "UpdateItem", Fault.LOST_ANSWER)
    world.process(payment)
    world.retry()
    assert settled(world) == {payment}


def test_clients_that_repeat_during_an_outage_queue_one_message(world: World) -> None:
    """Until the queue's own retries must be over."""
    payment = validated(world)
    world.network.decide = lambda call: Fault.RESET if call.site == "charge" else None
    answers = [world.process(payment) for _ in range(10)]
    assert {answer and answer.outcome for answer in answers} == {"queued"}
    assert len(world.queue.sent) == 1
    world.advance(QUEUE_RETRY_SECONDS + 1)
    world.process(payment)
    world.process(payment)
    assert len(world.queue.sent) == 2


def test_a_row_that_cannot_be_written_does_not_hide_the_others(world: World) -> None:
    payments = leave_behind(world, 4)
    (throttled, *_) = sorted(payments)
    world.advance(PAST_RECOVERY)
    world.network.decide = lambda call: (
        Fault.THROTTLED if call == Call("UpdateItem", throttled) else None
    )
    assert not world.scheduled_run()
    assert {message.about[1] for message in world.queue.sent} == payments - {throttled}
    world.drain()
    assert settled(world) == payments
    check(violations(world) + unended(world))


def test_a_recovery_leaves_alone_who_claimed_while_the_index_lagged(world: World) -> None:
    leave_behind(world, 1)
    world.advance(PAST_RECOVERY)
    world.table.stale = dict(world.table.items)
    fail_once(world, "charge", Fault.KILLED_BEFORE)
    world.process(next(iter(world.table.items)))
    assert world.scheduled_run()
    check(violations(world))
    assert not world.queue.sent


def test_a_recovery_whose_count_is_lost_is_made_again(world: World) -> None:
    """Then there are two messages, and one charge."""
    (payment,) = leave_behind(world, 1)
    world.advance(PAST_RECOVERY)
    looked = False

    def decide(call: Call) -> Fault | None:
        nonlocal looked
        if call.site != "UpdateItem":
            return None
        looked, before = True, looked
        return Fault.THROTTLED if before else None

    world.network.decide = decide
    assert not world.scheduled_run()
    world.drain()
    assert settled(world) == {payment}
    assert len(world.gateway.captures) == 1
    check(violations(world) + unended(world))
