"""What must be true of every payment, at any time and in the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from handlers.shared.clock import epoch_seconds
from handlers.shared.transactions import (
    DECLINED,
    PROCESSED,
    PROCESSING,
    VALIDATED,
    Transaction,
    in_flight_key,
)
from tests.model.expressions import Item, plain

if TYPE_CHECKING:
    from tests.model.gateway import Capture
    from tests.model.world import World

CAPTURED_TWICE = "captured more than once"
LEASE_ATTRIBUTES = {"attempt_id", "lease_expires_at", "in_flight", "recoveries"}


class Violation(NamedTuple):
    payment: str
    rule: str


def violations(world: World) -> list[Violation]:
    """Return which rules are broken now."""
    captures = captures_by_payment(world)
    ids = {*world.table.items, *world.told, *captures}
    found = [
        Violation(payment, broken)
        for payment in sorted(ids)
        for broken in _broken_rules(world, payment, captures.get(payment, []))
    ]
    for rule, payments in {
        "written after it was settled": world.table.rewritten,
        "written by another than the holder of the lease": world.table.overruled,
        "charged when its key may have been forgotten": world.gateway.charged_too_late,
    }.items():
        found += [Violation(payment, rule) for payment in payments]
    found += [Violation("", f"unforeseen: {entry}") for entry in world.journal.unforeseen]
    return found


def unended(world: World) -> list[Violation]:
    """Return the payments that a drained world has not brought to an end."""
    queued = {message.about[1] for message in world.queue.live.values()}
    in_flight = world.in_flight() - world.left_to_a_person()
    return [
        *(Violation(payment, "still queued") for payment in sorted(queued)),
        *(
            Violation(payment, "neither settled nor left to a person")
            for payment in sorted(in_flight)
        ),
    ]


def captures_by_payment(world: World) -> dict[str, list[Capture]]:
    captures: dict[str, list[Capture]] = defaultdict(list)
    for capture in world.gateway.captures:
        captures[capture.transaction_id].append(capture)
    return captures


def _broken_rules(world: World, name: str, captures: list[Capture]) -> Iterator[str]:
    told = world.told.get(name, set())
    item = world.table.items.get(name)
    if len(captures) > 1:
        yield CAPTURED_TWICE
    if item is None:
        yield from _without_row(world, name, told, captures)
        return
    row = Transaction.from_record({key: plain(value) for key, value in item.items()})
    for capture in captures:
        if (capture.amount_minor, capture.currency) != (row.amount_minor, row.currency):
            yield "captured another amount"
    if world.agreed.get(name, set()) - {(row.amount_minor, row.customer_id)}:
        yield "told validated, but it is another payment"
    settled = row.status in {PROCESSED, DECLINED}
    if "process: queued" in told and not settled and not world.queue.holds("process", name):
        yield "told queued, but neither settled nor in a queue"
    if "process: 200" in told and row.status != PROCESSED:
        yield f"told processed, but {row.status}"
    if "process: 402" in told and row.status != DECLINED:
        yield f"told declined, but {row.status}"
    if row.status == PROCESSING:
        yield from _in_flight(world, row, item)
    elif LEASE_ATTRIBUTES & item.keys():
        yield f"{row.status}, with a lease"
    if row.status == PROCESSED and [row.gateway_reference] != [c.reference for c in captures]:
        yield "processed, but not by its capture"
    if row.status in {VALIDATED, DECLINED} and captures:
        yield f"{row.status}, but captured"
    if row.status not in {VALIDATED, PROCESSING, PROCESSED, DECLINED}:
        yield f"in the unknown state {row.status}"


def _without_row(world: World, name: str, told: set[str], captures: list[Capture]) -> Iterator[str]:
    if captures:
        yield "captured without a row"
    if "validate: 200" in told:
        yield "told validated, but there is no row"
    if "validate: queued" in told and not world.queue.holds("validate", name):
        yield "told queued, but neither stored nor in a queue"
    if "process: queued" in told and not world.queue.holds("process", name):
        yield "told queued, but not in a queue"


def _in_flight(world: World, row: Transaction, item: Item) -> Iterator[str]:
    """In processing: a live lease, or the index finds it; and let go only when it is queued."""
    if item.get("in_flight") != {"S": in_flight_key(row.transaction_id)}:
        yield "in processing, but not in the index"
    if row.lease_expires_at is None:
        yield "in processing, without a lease"
        return
    let_go = not row.recoveries and row.lease_expires_at < _seconds(row.updated_at)
    if let_go and ("process", row.transaction_id) not in world.queue.attempted:
        yield "let go before it was queued"


def _seconds(moment: str) -> int:
    return epoch_seconds(datetime.fromisoformat(moment))
