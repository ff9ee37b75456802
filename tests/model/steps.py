"""Steps that tests take in a world: a new payment, one fault, payments left behind, the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.faults import Call, Fault
from tests.model.invariants import check, unended, unseen_captures, violations
from tests.model.principals import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.model.world import World


def validated(
    world: World,
    key: str | None = None,
    caller: str = ANONYMOUS,
    customer_id: str = "customer",
) -> str:
    """Return the id of a new payment."""
    answer = world.validate(customer_id=customer_id, key=key, caller=caller)
    assert answer
    return str(answer.body["transaction_id"])


def meanwhile(world: World, site: str, happens: Callable[[], object]) -> None:
    """Let something happen, once, before the next call of that operation."""

    def decide(call: Call) -> Fault | None:
        if call.site == site:
            world.network.decide = lambda _: None
            happens()
        return None

    world.network.decide = decide


def fail_once(world: World, site: str, fault: Fault) -> None:
    """Let the next call of that operation go wrong."""

    def decide(call: Call) -> Fault | None:
        if call.site != site:
            return None
        world.network.decide = lambda _: None
        return fault

    world.network.decide = decide


def leave_behind(world: World, number: int) -> set[str]:
    """Crash so many new payments before their charge, and return them."""
    payments = set()
    for _ in range(number):
        payment = validated(world)
        fail_once(world, "charge", Fault.KILLED_BEFORE)
        world.process(payment)
        payments.add(payment)
    return payments


def bring_to_an_end(world: World, *, is_notified: bool) -> None:
    """Let all that goes on come to its end, also at the gateway, and ask again for everything."""
    check(violations(world))
    world.is_notified = is_notified
    world.drain()
    check(violations(world) + unended(world))
    for payment in world.table.items:
        world.look_up(payment)
        world.two_step.act(payment, pays=True)
        world.cancel(payment)
        world.process(payment)
    world.drain()
    for notice in world.two_step.notices:
        world.notify(notice)
    for payment in world.table.items:
        world.look_up(payment)
    check(violations(world) + unended(world) + unseen_captures(world))
