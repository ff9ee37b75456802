"""Payments at a gateway in two steps, as requests, crashes, customers and restores leave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tests.model.faults import Fault
from tests.model.gateway import DECLINED_CUSTOMER
from tests.model.hands import rewind
from tests.model.machine import PAST_LEASE
from tests.model.made import BANK_CUSTOMER, PENDING_CUSTOMER
from tests.model.services import VISIBILITY_TIMEOUT
from tests.model.steps import fail_once, validated

if TYPE_CHECKING:
    from tests.model.world import World


def left(world: World, customer_id: str, site: str = "", fault: Fault = Fault.RESET) -> str:
    """Return a payment of which one request was made, with a fault at its call of that operation;
    a moment later, nobody holds it any more."""
    payment = validated(world, customer_id=customer_id)
    if site:
        fail_once(world, site, fault)
    world.process(payment)
    world.network.deliver_late()
    world.advance(PAST_LEASE)
    return payment


def failed_later(world: World, customer_id: str = PENDING_CUSTOMER) -> str:
    payment = left(world, customer_id)
    world.two_step.act(payment, pays=False)
    return payment


def looked_at(world: World) -> str:
    """Return a pending payment that the scheduled run has queued."""
    payment = left(world, PENDING_CUSTOMER)
    world.advance(VISIBILITY_TIMEOUT.total_seconds())
    world.scheduled_run()
    world.advance(60)
    return payment


def restored(world: World, payment: str) -> str:
    """Have a restore take a payment back to where it was validated."""
    assert rewind(world, payment, 0)
    return payment


STARTS: Mapping[str, Callable[[World], str]] = {
    "validated": validated,
    "validated, to be declined": lambda world: validated(world, customer_id=DECLINED_CUSTOMER),
    "validated, to be pending": lambda world: validated(world, customer_id=PENDING_CUSTOMER),
    "prepared, and nobody knows": lambda world: left(
        world, "customer", "prepare", Fault.KILLED_AFTER
    ),
    "begun": lambda world: left(world, "customer", "UpdateItem", Fault.KILLED_AFTER),
    "prepared": lambda world: left(world, "customer", "confirm", Fault.KILLED_BEFORE),
    "confirmed": lambda world: left(world, "customer", "confirm", Fault.KILLED_AFTER),
    "confirmed, and queued": lambda world: left(world, "customer", "confirm", Fault.LOST_ANSWER),
    "confirmed, and pending": lambda world: left(
        world, PENDING_CUSTOMER, "confirm", Fault.LOST_ANSWER
    ),
    "failed, and not canceled": lambda world: left(
        world, DECLINED_CUSTOMER, "cancel", Fault.KILLED_BEFORE
    ),
    "pending": lambda world: left(world, PENDING_CUSTOMER),
    "pending at a bank": lambda world: left(world, BANK_CUSTOMER),
    "pending, and queued": looked_at,
    "pending, and failed": failed_later,
    "restored, charged": lambda world: restored(world, left(world, "customer")),
    "restored, pending": lambda world: restored(world, left(world, PENDING_CUSTOMER)),
    "restored, prepared": lambda world: restored(
        world, left(world, "customer", "confirm", Fault.KILLED_BEFORE)
    ),
    "restored, never begun": lambda world: restored(world, validated(world)),
}
