"""A request at the slowest services that the time budget allows, with each call failing in turn."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from handlers.shared.aws import clients
from handlers.shared.deadline import CALL_SECONDS, FETCH_SECONDS, INTEGRATION_SECONDS
from handlers.shared.gateway import GATEWAY_TIMEOUT_SECONDS
from tests.model.faults import Call, Fault
from tests.model.invariants import check, unended, violations
from tests.model.steps import validated

if TYPE_CHECKING:
    from tests.model.gateway import Recorder
    from tests.model.world import World

# Claim, charge, finish or send, let go.
CALLS = 4
SECONDS = {"charge": GATEWAY_TIMEOUT_SECONDS}


@pytest.mark.parametrize("waited", range(INTEGRATION_SECONDS))
def test_a_request_ends_while_api_gateway_waits_for_it(
    world: World, waited: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch_the_secret() -> Recorder:
        world.clock.advance(FETCH_SECONDS)
        return world.gateway

    monkeypatch.setattr(clients, "gateway", fetch_the_secret)
    for failing, fault in product(range(CALLS + 1), (Fault.RESET, Fault.LOST_ANSWER)):
        world.network.decide = lambda _: None
        payment = validated(world)
        received = world.clock().timestamp() - waited
        calls = 0

        def slow(call: Call, failing: int = failing, fault: Fault = fault) -> Fault | None:
            nonlocal calls
            calls += 1
            world.clock.advance(SECONDS.get(call.site, CALL_SECONDS))
            return fault if calls == failing + 1 else None

        world.network.decide = slow
        world.process(payment, waited_seconds=waited)
        took = world.clock().timestamp() - received
        # A request that came too late for anything is queued at least.
        assert took <= max(INTEGRATION_SECONDS, waited + CALL_SECONDS)
        check(violations(world))
    world.drain()
    check(violations(world) + unended(world))
