"""Containers whose clocks are off; the gateway, SQS and DynamoDB's index go by the true time.

Up to a minute off is what the handlers allow for. The test of ten minutes holds the documents to
what happens then.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from handlers.shared.transactions import LEASE_SECONDS
from tests.model.faults import Call, Fault
from tests.model.invariants import check, unended, violations
from tests.model.invocations import Container
from tests.model.machine import KEY_RETENTION_SECONDS
from tests.model.outcomes import settled
from tests.model.release import CURRENT
from tests.model.steps import fail_once, meanwhile, validated

if TYPE_CHECKING:
    from tests.model.world import World

SKEWS = list(product((-60, 0, 60), repeat=2))
# Before the gateway forgets the key: the lease, both clocks, and what a call takes.
BEFORE = [0, 1, 6, 59, 61, 90, 120, 150, 209, 210, 211, 269, 271, 330, 400]


def run_at(world: World, clock_seconds: int) -> None:
    """Let what follows run in a container with that clock."""
    world.place = lambda: Container(CURRENT, clock_seconds)


def charge_again(world: World, first: int, second: int, seconds_before: int) -> None:
    """Charge, unheard, and again by another clock, shortly before the gateway forgets the key."""
    run_at(world, first)
    payment = validated(world)
    fail_once(world, "charge", Fault.LOST_ANSWER)
    world.process(payment)
    world.advance(KEY_RETENTION_SECONDS - seconds_before)

    def slow(call: Call) -> Fault | None:
        world.clock.advance(6 if call.site in {"charge", "find"} else 0)
        return None

    world.network.decide = slow
    run_at(world, second)
    world.process(payment)


@pytest.mark.parametrize("seconds_before", BEFORE)
@pytest.mark.parametrize(("first", "second"), SKEWS)
def test_a_charge_does_not_arrive_after_its_key_was_forgotten(
    world: World, first: int, second: int, seconds_before: int
) -> None:
    charge_again(world, first, second, seconds_before)
    world.drain()
    assert len(world.gateway.captures) == 1
    assert len(settled(world)) == 1
    check(violations(world) + unended(world))


@pytest.mark.parametrize("seconds_before", [0, 30, 60, 89, 91, 120])
def test_an_attempt_that_takes_its_whole_lease_does_not_charge_too_late(
    world: World, seconds_before: int
) -> None:
    """The first one's clock is ahead, its own is behind, and it stalls before its charge."""
    run_at(world, 60)
    payment = validated(world)
    fail_once(world, "charge", Fault.LOST_ANSWER)
    world.process(payment)
    world.advance(KEY_RETENTION_SECONDS - seconds_before)
    run_at(world, -60)
    meanwhile(world, "charge", lambda: world.advance(LEASE_SECONDS))
    world.process(payment)
    assert len(world.gateway.captures) == 1


@pytest.mark.parametrize(("first", "second"), SKEWS)
def test_two_clocks_that_take_a_lease_from_each_other_capture_once(
    world: World, first: int, second: int
) -> None:
    run_at(world, first)
    payment = validated(world)

    def overtake() -> None:
        run_at(world, second)
        world.advance(31)
        world.process(payment)

    meanwhile(world, "charge", overtake)
    world.process(payment)
    world.drain()
    assert len(world.gateway.captures) == 1
    check(violations(world) + unended(world))


def test_clocks_ten_minutes_off_capture_twice_near_the_end_of_the_keys_retention(
    world: World,
) -> None:
    charge_again(world, 600, -600, seconds_before=0)
    assert len(world.gateway.captures) == 2
