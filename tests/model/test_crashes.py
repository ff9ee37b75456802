"""One payment's way, with every two faults at every two calls, and overtaken at every call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, combinations, product

import pytest

from handlers.shared.transactions import LEASE_SECONDS
from tests.model.faults import Fault
from tests.model.invariants import unended, violations
from tests.model.plans import (
    CALLS,
    Plan,
    Planned,
    one_fault,
    process_with,
    recover_with,
    retry_with,
    validate,
    validate_with,
)
from tests.model.world import World


def two_faults() -> Iterator[Plan]:
    for (first, second), faults in product(combinations(range(CALLS), 2), product(Fault, repeat=2)):
        yield dict(zip((first, second), faults, strict=True))


@pytest.mark.parametrize("run", [validate_with, process_with, retry_with, recover_with])
def test_a_payment_survives_any_two_faults(
    run: Callable[[World, Planned, Plan], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for plan in chain(one_fault(), two_faults()):
        faults = Planned()
        world = World(faults)
        world.install(monkeypatch)
        run(world, faults, plan)
        assert not violations(world), plan
        world.drain()
        assert not violations(world) + unended(world), plan


def overtaken(world: World, faults: Planned, position: int, seconds: int, plan: Plan) -> None:
    """Let another request, with this plan, come before that call of the first one."""
    transaction_id = validate(world)
    assert transaction_id

    def overtake() -> None:
        world.advance(seconds)
        faults.start(plan)
        world.process(transaction_id)
        faults.start({})

    faults.meanwhile[position] = overtake
    faults.start({})
    world.process(transaction_id)


@pytest.mark.parametrize("seconds", [0, LEASE_SECONDS + 1])
@pytest.mark.parametrize("position", [1, 2])
def test_a_payment_survives_that_its_holder_is_overtaken(
    position: int, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plan in one_fault():
        faults = Planned()
        world = World(faults)
        world.install(monkeypatch)
        overtaken(world, faults, position, seconds, plan)
        assert not violations(world), plan
        world.drain()
        assert not violations(world) + unended(world), plan


def test_a_busy_payment_keeps_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Planned()
    world = World(faults)
    world.install(monkeypatch)
    process_with(world, faults, {1: Fault.RESET})
    faults.start({1: Fault.KILLED_BEFORE})
    world.process(next(iter(world.table.items)))
    world.retry()
    assert not violations(world)
