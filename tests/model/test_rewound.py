"""Payments that a restore has taken back, before and after the gateway has forgotten their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.model.faults import Fault
from tests.model.gateway import Finds
from tests.model.hands import rewind
from tests.model.invariants import check, unended, violations
from tests.model.machine import KEY_RETENTION_SECONDS
from tests.model.outcomes import left_to_a_person, settled
from tests.model.steps import fail_once, validated

if TYPE_CHECKING:
    from tests.model.world import World

LATER = [60, KEY_RETENTION_SECONDS + 60]


def rewound_after_a_capture(world: World, seconds: int, *, marked: bool = True) -> str:
    """Return a payment that was charged, so long ago, and is validated again."""
    payment = validated(world)
    world.process(payment)
    world.advance(seconds)
    assert rewind(world, payment, 0, marked=marked)
    return payment


@pytest.mark.parametrize("finds", Finds)
@pytest.mark.parametrize("seconds", LATER)
def test_a_payment_that_was_charged_and_rewound_is_not_charged_again(
    world: World, seconds: int, finds: Finds
) -> None:
    world.gateway.finds = lambda _: finds
    payment = rewound_after_a_capture(world, seconds)
    world.process(payment)
    world.drain()
    assert len(world.gateway.captures) == 1
    assert (payment in settled(world)) == (finds is not Finds.BLIND)
    check(violations(world) + unended(world))


@pytest.mark.parametrize("finds", Finds)
@pytest.mark.parametrize("seconds", LATER)
def test_a_rewound_payment_without_a_charge_is_charged_only_if_that_is_certain(
    world: World, seconds: int, finds: Finds
) -> None:
    world.gateway.finds = lambda _: finds
    payment = validated(world)
    world.advance(seconds)
    rewind(world, payment, 0)
    world.process(payment)
    world.drain()
    assert len(world.gateway.captures) == (1 if finds is Finds.CERTAIN else 0)
    assert payment in settled(world) | left_to_a_person(world)
    check(violations(world) + unended(world))


@pytest.mark.parametrize("rewinds", [True, False])
def test_nobody_charges_once_the_key_may_be_forgotten(world: World, *, rewinds: bool) -> None:
    """Not even where the gateway rules out a charge: an attempt may still be on its way."""
    world.gateway.finds = lambda _: Finds.CERTAIN
    payment = validated(world)
    fail_once(world, "charge", Fault.RESET)
    world.process(payment)
    world.advance(KEY_RETENTION_SECONDS)
    assert rewind(world, payment, 1) if rewinds else True
    world.process(payment)
    world.drain()
    assert not world.gateway.captures
    assert payment in left_to_a_person(world)
    check(violations(world) + unended(world))


def test_a_charge_that_is_still_under_way_is_not_ruled_out(world: World) -> None:
    world.gateway.finds = lambda _: Finds.CERTAIN
    payment = validated(world)
    rewind(world, payment, 0)
    fail_once(world, "charge", Fault.LATE)
    world.process(payment)
    world.process(payment)
    world.drain()
    assert len(world.gateway.captures) == 1
    check(violations(world) + unended(world))


@pytest.mark.parametrize(("marked", "captures"), [(True, 1), (False, 2)])
def test_the_mark_is_what_prevents_a_second_capture(
    world: World, captures: int, *, marked: bool
) -> None:
    """An unmarked row that was rewound looks like one that was never charged."""
    payment = rewound_after_a_capture(world, KEY_RETENTION_SECONDS + 60, marked=marked)
    world.process(payment)
    assert len(world.gateway.captures) == captures
