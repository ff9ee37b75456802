"""Where the payments of a world stand: settled, in flight, or left to a person.

What a person is told of is what an alarm can see: dead letters, and what the latest scheduled run
has counted. Log lines do not count.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

from handlers.shared.aws import metrics
from handlers.shared.charging import LOOKED_AFTER
from handlers.shared.clock import epoch_seconds
from handlers.shared.recovery import RECOVER_AFTER_SECONDS
from handlers.shared.states import (
    ASIDE_KEYS,
    OVERDUE,
    PENDING,
    PROCESSING,
    SETTLED,
    in_flight_key,
    pending_key,
)
from handlers.shared.transactions import MAX_RECOVERIES
from tests.expressions import Item, plain
from tests.model.principals import ANONYMOUS, may_have

if TYPE_CHECKING:
    from tests.model.world import World


def in_flight(world: World) -> set[str]:
    """Payments that somebody still has to bring to an end: in processing, and pending ones that
    have ended at the gateway."""
    return _payments_in(world, PROCESSING) | {
        payment
        for payment in pending(world)
        if not world.gateway.is_pending(payment) and not world.ledger.flawed.get(payment)
    }


def pending(world: World) -> set[str]:
    return _payments_in(world, PENDING)


def unseen(world: World) -> set[str]:
    """Pending payments that have ended at the gateway, and that the scheduled run still looks at,
    also those that an alarm shows."""
    looked_at = indexed(world) - {payment for key in ASIDE_KEYS for payment in under(world, key)}
    return in_flight(world) & pending(world) & looked_at


def settled(world: World) -> set[str]:
    return _payments_in(world, *SETTLED)


def _payments_in(world: World, *states: str) -> set[str]:
    return {payment for payment, row in _rows(world) if plain(row.get("status", {})) in states}


def under(world: World, key: str) -> set[str]:
    """Payments that stand under a key of the index."""
    return {
        payment
        for payment, row in _rows(world)
        if row.get("in_flight") == {"S": key} and "lease_expires_at" in row
    }


def indexed(world: World) -> set[str]:
    """Payments that the index has."""
    return {
        payment for payment, row in _rows(world) if row.keys() >= {"in_flight", "lease_expires_at"}
    }


def overdue(world: World) -> set[str]:
    """Payments that the latest scheduled run should have queued or set aside."""
    if not world.latest_run.container.release.is_current:
        return set()
    now = epoch_seconds(world.clock())
    return {
        payment
        for payment, row in _rows(world)
        if "lease_expires_at" in row
        and Decimal(row["lease_expires_at"]["N"]) < now - _patience(payment, row)
    }


def _patience(payment: str, row: Item) -> float:
    """Return for how many seconds after its lease a payment is left alone."""
    match row.get("in_flight"):
        case {"S": key} if key == in_flight_key(payment):
            return RECOVER_AFTER_SECONDS
        case {"S": key} if key in {pending_key(payment), OVERDUE}:
            return 0
    return math.inf


def left_to_a_person(world: World) -> set[str]:
    """Payments with a dead letter of somebody who may have them, and those that alarms show."""
    dead = {
        message.about[1]
        for message in world.queue.dead.values()
        if may_have(
            world.ledger.owners.get(message.about[1], ANONYMOUS), message.sender, world.access
        )
    }
    return dead | _counted(world)


def _counted(world: World) -> set[str]:
    """Payments whose kind the latest scheduled run has counted, all that there are of it."""
    run = world.latest_run
    kinds = [(under(world, key), metric) for key, metric in LOOKED_AFTER.items()]
    if not run.container.release.is_current:
        # The last release knows no keys: it leaves them alone, and sees only its own.
        return _given_up(world) | {payment for payments, _ in kinds for payment in payments}
    return {
        payment
        for payments, metric in kinds
        if run.counted[metric] >= len(payments)
        for payment in payments
    }


def _given_up(world: World) -> set[str]:
    """Payments that the last release counts as stuck where they stand in the index."""
    given_up = {
        payment
        for payment, row in _rows(world)
        if int(row.get("recoveries", {"N": 0})["N"]) >= MAX_RECOVERIES
        and row.get("in_flight") == {"S": in_flight_key(payment)}
    }
    return given_up if world.latest_run.counted[metrics.STUCK] >= len(given_up) else set()


def _rows(world: World) -> list[tuple[str, Item]]:
    return list(world.table.items.items())
