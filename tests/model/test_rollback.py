"""A rollback to handlers that know gateways in one step alone, and the way forward again."""

from __future__ import annotations

import pytest

from handlers.shared.aws import metrics
from tests.model.faults import Fault
from tests.model.gateway import Finds
from tests.model.hands import rewind
from tests.model.invariants import check, violations
from tests.model.invocations import Container
from tests.model.made import PENDING_CUSTOMER
from tests.model.outcomes import left_to_a_person
from tests.model.release import CURRENT, Release, last_release, one_step_release
from tests.model.steps import fail_once, validated
from tests.model.world import World

EARLIER = (last_release(), one_step_release())
earlier_releases = pytest.mark.parametrize("earlier", EARLIER, ids=["0.1.0", "one step"])
# What a payment in two steps may have come to before a rollback, and which call is killed for it.
LEFT = {"not prepared": "prepare", "prepared": "confirm", "confirmed": "", "pending": ""}


def begun(world: World, left: str) -> str:
    """Return a payment that was left like that by an attempt in two steps."""
    payment = validated(
        world, customer_id=PENDING_CUSTOMER if left in {"pending", "canceled"} else "customer"
    )
    if left == "confirmed":
        fail_once(world, "confirm", Fault.KILLED_AFTER)
    elif LEFT[left]:
        fail_once(world, LEFT[left], Fault.KILLED_BEFORE)
    world.process(payment)
    return payment


def rolled_back(world: World, earlier: Release, payment: str) -> None:
    """Have the earlier handlers do what they can about a payment: messages, requests, schedule."""
    world.place = lambda: Container(earlier)
    for _ in range(5):
        world.advance(3600)
        world.scheduled_run()
        world.process(payment)
        while world.retry():
            world.advance(300)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(lambda _: None, releases=(CURRENT, *EARLIER), two_steps=True)
    world.install(monkeypatch)
    return world


@earlier_releases
def test_for_whom_a_payment_was_validated_changes_nothing_for_an_earlier_release(
    world: World, earlier: Release
) -> None:
    payment = validated(world)
    rewind(world, payment, 0)
    other = {"validated_for": {"S": "acme:Other"}}
    world.table.change_by_hand(payment, lambda item: item | other)
    world.place = lambda: Container(earlier)
    world.one_step.finds = lambda _: Finds.CERTAIN
    answer = world.process(payment)
    assert answer
    assert answer.status == 200
    assert world.table.items[payment]["validated_for"] == other["validated_for"]


@earlier_releases
@pytest.mark.parametrize("left", LEFT)
def test_a_payment_in_two_steps_is_left_alone_by_a_release_that_knows_one(
    world: World, left: str, earlier: Release
) -> None:
    payment = begun(world, left)
    before = world.table.items[payment]
    captures = len(world.gateway.captures)
    rolled_back(world, earlier, payment)
    after = world.table.items[payment]
    moved = {
        "attempt_id",
        "in_flight",
        "lease_expires_at",
        "queued_until",
        "updated_at",
        "recoveries",
    }
    assert {name: value for name, value in after.items() if name not in moved} == {
        name: value for name, value in before.items() if name not in moved
    }
    assert world.network.called["charge"] == 0
    assert len(world.gateway.captures) == captures


@earlier_releases
@pytest.mark.parametrize("left", LEFT)
def test_a_payment_in_two_steps_is_found_again_after_a_rollback(
    world: World, left: str, earlier: Release
) -> None:
    """What the earlier handlers have set aside is counted; what they have not goes on by itself."""
    payment = begun(world, left)
    rolled_back(world, earlier, payment)
    world.place = Container
    world.two_step.act(payment, pays=True)
    world.drain()
    row = world.table.items[payment]
    assert row["status"] == {"S": "processed"} or payment in left_to_a_person(world)
    world.queue.redrive()
    world.process(payment)
    world.drain()
    if left != "pending":
        assert world.table.items[payment]["status"] == {"S": "processed"}
    assert len(world.gateway.captures) == 1


@earlier_releases
def test_an_earlier_release_does_nothing_to_a_canceled_payment(
    world: World, earlier: Release
) -> None:
    payment = validated(world)
    world.table.change_by_hand(
        payment, lambda item: item | {"status": {"S": "canceled"}, "canceled_at": {"S": "now"}}
    )
    before = world.table.items[payment]
    rolled_back(world, earlier, payment)
    assert world.table.items[payment] == before
    assert not world.gateway.captures


@earlier_releases
def test_a_payment_that_an_earlier_release_has_begun_is_not_prepared_in_two_steps(
    world: World, earlier: Release
) -> None:
    payment = validated(world)
    world.place = lambda: Container(earlier)
    fail_once(world, "charge", Fault.LOST_ANSWER)
    world.process(payment)
    world.place = Container
    world.advance(3600)
    world.drain()
    world.process(payment)
    assert world.network.called["prepare"] == 0
    assert len(world.gateway.captures) == 1
    assert payment in left_to_a_person(world)
    assert world.journal.metrics[metrics.STUCK] > 0
    world.place = lambda: Container(earlier)
    world.process(payment)
    assert world.table.items[payment]["status"] == {"S": "processed"}
    check([problem for problem in violations(world) if "told" not in problem.rule])
