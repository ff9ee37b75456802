"""What people, bugs and restores do to rows by hand, and what the model then expects of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.shared.states import PENDING, PROCESSING
from tests.model.invariants import Violation
from tests.model.outcomes import pending, settled
from tests.model.principals import ANONYMOUS
from tests.model.rows import (
    FOREIGN,
    LOSSES,
    SPOILINGS,
    TAMPERINGS,
    ended,
    flaw,
    is_open,
    rewound,
)

if TYPE_CHECKING:
    from tests.expressions import Item
    from tests.model.world import World


def tamper(world: World, payment: str, name: str) -> bool:
    """Make a payment another one than was validated, in whatever state it is."""

    def change(item: Item) -> Item:
        world.ledger.flawed[payment].add(flaw(name))
        return TAMPERINGS[name](item)

    return payment in world.table.items and world.table.change_by_hand(payment, change)


def spoil(world: World, payment: str, name: str) -> bool:
    """Make the row of an open payment one that no handler has written."""

    def change(item: Item) -> Item | None:
        if not is_open(item):
            return None
        world.ledger.flawed[payment].add(flaw(name))
        spoiled = SPOILINGS[name](item)
        if "S" not in spoiled.get("caller", {}):
            world.ledger.owners[payment] = ANONYMOUS  # nobody's are everybody's
        return spoiled

    return payment in world.table.items and world.table.change_by_hand(payment, change)


def lose(world: World, payment: str, name: str) -> bool:
    """Take a payment in flight, which is as it should be, out of the index."""

    def change(item: Item) -> Item | None:
        is_in_flight = item.get("status") in ({"S": PROCESSING}, {"S": PENDING})
        if not is_in_flight or world.ledger.flawed.get(payment):
            return None
        world.ledger.lost.add(payment)
        return LOSSES[name](item)

    return payment in world.table.items and world.table.change_by_hand(payment, change)


def end(world: World, payment: str, status: str) -> bool:
    """End an open payment, whatever becomes of it at the gateway, as no page says."""

    def change(item: Item) -> Item | None:
        if not is_open(item) or world.ledger.flawed.get(payment):
            return None
        world.ledger.ended_by_hand.add(payment)
        return ended(item, status)

    return payment in world.table.items and world.table.change_by_hand(payment, change)


def extend(world: World, payment: str) -> bool:
    """Give a row attributes of a later release, which change nothing."""
    return payment in world.table.items and world.table.change_by_hand(
        payment, lambda item: item | FOREIGN
    )


def rewind(world: World, payment: str, earlier: int, *, marked: bool = True) -> bool:
    """Take a row back to one of its earlier open states, as a restore does.

    Payments are stopped during a restore for longer than a call takes, so none is under way then.
    A row that a person has changed is left as it is.
    """
    world.network.deliver_late()
    states = [item for item in world.ledger.history[payment] if is_open(item)]

    def change(item: Item) -> Item | None:
        if not states or world.ledger.flawed.get(payment):
            return None
        world.ledger.rewound.add(payment)
        world.ledger.ended_by_hand.discard(payment)
        world.heard.forget(payment)
        state = states[earlier % len(states)]
        return rewound(state, world.clock()) if marked else state

    return payment in world.table.items and world.table.change_by_hand(payment, change)


def ask_for_flawed(world: World) -> list[Violation]:
    """Ask once more, as their owners, for the payments that a person has changed.

    Each is settled, pending, or refused for what it is; those that are neither are returned. Some
    are in no index, and only who asks for them can see them.
    """
    unrefused = []
    settled_before, pending_before = settled(world), pending(world)
    for payment in [payment for payment, keys in world.ledger.flawed.items() if keys]:
        answer = world.process(payment, world.ledger.owners[payment])
        expected = {"not charged"}
        if payment in settled_before:
            expected = {"200", "402", "canceled"}
        elif payment in pending_before:
            expected = {"202"}
        if world.gateway.has_changed:  # begun at another one, where it may have been charged
            expected.add("not queued")
        if answer is None or answer.outcome not in expected:
            unrefused.append(Violation(payment, f"asked for, and {answer and answer.outcome}"))
    return unrefused
