"""What must be true of every payment, at any time and in the end.

Where clocks are wrong, a lease may end early for somebody: who writes then is not looked at, but
what it comes to is. Where the last release runs too, only what it knows of is asked of it: it has
no callers and no counts of its own transitions, and charges whatever a row holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from handlers.shared.aws import metrics
from handlers.shared.charging import LOOKED_AFTER
from handlers.shared.clock import epoch_seconds
from handlers.shared.states import (
    CANCELED,
    DECLINED,
    OVERDUE,
    PENDING,
    PROCESSED,
    PROCESSING,
    SETTLED,
    STUCK,
    VALIDATED,
    in_flight_key,
    pending_key,
)
from handlers.shared.transactions import MAX_RECOVERIES
from tests.expressions import plain
from tests.model.outcomes import in_flight, left_to_a_person, overdue, settled, under, unseen

if TYPE_CHECKING:
    from tests.model.gateway import Capture
    from tests.model.world import World

Row = dict[str, Any]

CAPTURED_TWICE = "captured more than once"
# What counts the transitions to a state.
METRICS = {
    PROCESSED: metrics.PROCESSED,
    DECLINED: metrics.DECLINED,
    CANCELED: metrics.CANCELED,
}
LEASE_ATTRIBUTES = {"attempt_id", "lease_expires_at", "in_flight", "recoveries"}
PENDING_ATTRIBUTES = {"pending_at", "next_action"}
# What a payment is: it is captured, and kept, as it was validated.
TERMS = ("amount_minor", "currency", "customer_id")


class Violation(NamedTuple):
    payment: str
    rule: str


def check(broken: Sequence[Violation]) -> None:
    """Fail with the first of these violations."""
    assert not broken, "\n".join(
        f"{violation.payment}: {violation.rule}" for violation in broken[:5]
    )


def violations(world: World) -> list[Violation]:
    """Return which rules are broken now."""
    captures = captures_by_payment(world)
    ids = {*world.table.items, *world.heard.told, *captures}
    found = [
        Violation(payment, broken)
        for payment in sorted(ids)
        for broken in _broken_rules(world, payment, captures.get(payment, []))
    ]
    for rule, payments in _noted(world).items():
        found += [Violation(payment, rule) for payment in payments]
    found += [Violation("", f"unforeseen: {entry}") for entry in world.journal.unforeseen]
    if not world.is_mixed:
        found += _counted_too_often(world)
    return found


def _noted(world: World) -> dict[str, list[str]]:
    """Return the rules that are watched while things happen, and the payments that broke them."""
    ledger, gateway, heard, post = world.ledger, world.gateway, world.heard, world.post
    return {
        "written after it was settled": ledger.rewritten,
        "went to a status that does not follow": ledger.out_of_turn,
        "written by another than the holder of the lease": (
            [] if world.is_skewed else ledger.overruled
        ),
        "moved for somebody who may not have it": [] if world.is_mixed else ledger.moved_for_others,
        "told of to somebody who may not have it": [] if world.is_mixed else heard.disclosed,
        "stored as another caller's": [] if world.is_mixed else ledger.misattributed,
        **gateway.broken,
        "charged, though the row is not what was validated": [
            payment for payment, attempt in gateway.asked if attempt in ledger.flawed_claims
        ],
        "left to somebody, and no alarm saw it": heard.unseen,
        "shown as it had been before": heard.gone_back,
        "shown as what is not captured": heard.hidden,
        "told by the gateway, and forgotten": post.forgotten,
        "told by nobody, and believed": post.believed,
        "told by the gateway, and not understood": post.misanswered,
        "counted as contradicted, though nobody has changed its row": [
            payment for payment in world.journal.contradicted if not ledger.is_changed(payment)
        ],
        "answered with what is nobody's business": heard.leaked,
        "logged with what is nobody's business": world.journal.leaked,
    }


def _counted_too_often(world: World) -> Iterator[Violation]:
    for status, metric in METRICS.items():
        counted, ended = world.journal.metrics[metric], world.ledger.ended[status]
        if counted > ended:
            yield Violation("", f"{metric} is {counted}, for {ended} transitions")


def unended(world: World) -> list[Violation]:
    """Return what a drained world has not brought to an end."""
    queued = {message.about[1] for message in world.queue.live.values()}
    nobodys = in_flight(world) - left_to_a_person(world)
    return [
        *(Violation(payment, "still queued") for payment in sorted(queued)),
        *(
            Violation(payment, "neither settled nor left to a person")
            for payment in sorted(nobodys)
        ),
        *(Violation(payment, "ended, and nobody has seen it") for payment in sorted(unseen(world))),
        *(Violation(payment, "overdue") for payment in sorted(overdue(world))),
        *_miscounted(world),
    ]


def _miscounted(world: World) -> Iterator[Violation]:
    if not world.latest_run.container.release.is_current:
        return
    for key, metric in LOOKED_AFTER.items():
        counted, payments = world.latest_run.counted[metric], under(world, key)
        if counted != len(payments):
            yield Violation("", f"{metric} is {counted}, for {len(payments)} payments")


def unseen_captures(world: World) -> list[Violation]:
    """Return the captures that neither their rows nor alarms show, once all is told and done."""
    flawed = {payment for payment, keys in world.ledger.flawed.items() if keys}
    shown = left_to_a_person(world) | (flawed - settled(world))
    return [
        Violation(capture.transaction_id, "captured unseen")
        for capture in world.gateway.captures
        if not _is_on_record(world, capture)
        and capture.reference not in world.journal.counted_captures
        and capture.transaction_id not in shown
    ]


def _is_on_record(world: World, capture: Capture) -> bool:
    row = world.table.items.get(capture.transaction_id, {})
    names = {"status": PROCESSED, "gateway_reference": capture.reference}
    return all(row.get(name) == {"S": value} for name, value in names.items())


def captures_by_payment(world: World) -> dict[str, list[Capture]]:
    captures: dict[str, list[Capture]] = defaultdict(list)
    for capture in world.gateway.captures:
        captures[capture.transaction_id].append(capture)
    return captures


def _broken_rules(world: World, name: str, captures: list[Capture]) -> Iterator[str]:
    told = world.heard.told.get(name, set())
    item = world.table.items.get(name)
    if len(captures) > 1:
        yield CAPTURED_TWICE
    if item is None:
        yield from _without_row(world, name, told, captures)
        return
    row: Row = {attribute: plain(value) for attribute, value in item.items()}
    original = {key: plain(value) for key, value in world.ledger.originals[name].items()}
    agreed = tuple(original[term] for term in TERMS)
    for capture in captures:
        if tuple(getattr(capture, term) for term in TERMS) != agreed:
            yield "captured as another payment"
    if world.heard.agreed.get(name, set()) - {(original["amount_minor"], original["customer_id"])}:
        yield "told validated, but it is another payment"
    if world.ledger.flawed.get(name):
        yield from _set_aside(world, name, row)
        return
    if name in world.ledger.ended_by_hand:
        return
    if tuple(row.get(term) for term in TERMS) != agreed:
        yield "stored as another payment"
    yield from _told(world, name, row, told)
    yield from _as_a_payment(world, name, row, captures)


def _set_aside(world: World, name: str, row: Row) -> Iterator[str]:
    """A row that a person changed: where it may stand in the index, unless that was changed too."""
    keys = {
        in_flight_key(name),
        pending_key(name),
        OVERDUE,
        STUCK,
        *world.ledger.flawed[name],
        None,
    }
    if row.get("in_flight") not in keys and name not in world.ledger.lost:
        yield f"set aside as {row['in_flight']}"


def _told(world: World, name: str, row: Row, told: set[str]) -> Iterator[str]:
    status = row["status"]
    if (
        "process: queued" in told
        and status not in {PENDING, *SETTLED}
        and not world.queue.holds("process", name)
        # Told before a restore took the row back: the next scheduled run queues it.
        and not ("rewound" in row and "in_flight" in row)
    ):
        yield "told queued, but neither settled nor in a queue"
    if "process: 200" in told and status != PROCESSED:
        yield f"told processed, but {status}"
    if "process: 402" in told and status != DECLINED:
        yield f"told declined, but {status}"
    for said in (CANCELED, PROCESSED, DECLINED):
        # A restore may have taken back what the gateway has charged.
        is_restored = said == PROCESSED and name in world.ledger.rewound
        for operation in ("process", "cancel", "look"):
            if f"{operation}: {said}" in told and status != said and not is_restored:
                yield f"told {said}, but {status}"
    if "process: not charged" in told and not (
        world.gateway.has_changed
        or name in world.ledger.lost
        or (world.is_mixed and status == CANCELED)  # which earlier releases do not know
    ):
        yield "told that it must not be charged"


def _as_a_payment(world: World, name: str, row: Row, captures: list[Capture]) -> Iterator[str]:
    status = row["status"]
    lease = LEASE_ATTRIBUTES | (set() if world.is_mixed else {"queued_until"})
    if status == PROCESSING:
        yield from _in_flight(world, name, row)
    elif status == PENDING:
        yield from _pending(world, name, row)
    elif lease & row.keys():
        yield f"{status}, with a lease"
    if status != PENDING and PENDING_ATTRIBUTES & row.keys():
        yield f"{status}, with what a pending payment has"
    if status == PROCESSED and [row["gateway_reference"]] != [c.reference for c in captures]:
        yield "processed, but not by its capture"
    if status in {DECLINED, CANCELED} and captures:
        yield f"{status}, but captured"
    if status in {DECLINED, CANCELED} and world.gateway.is_payable(name):
        yield f"{status}, but it can still be paid"
    if status == PROCESSED and row.get("gateway_id") not in {c.payment_id for c in captures}:
        yield "processed, but by another payment of the gateway"
    if status == VALIDATED and captures and name not in world.ledger.rewound:
        yield "validated, but captured"
    if status not in {VALIDATED, PROCESSING, PENDING, *SETTLED}:
        yield f"in the unknown state {status}"


def _without_row(world: World, name: str, told: set[str], captures: list[Capture]) -> Iterator[str]:
    if captures:
        yield "captured without a row"
    if "validate: 200" in told:
        yield "told validated, but there is no row"
    if "validate: queued" in told and not world.queue.holds("validate", name):
        yield "told queued, but neither stored nor in a queue"
    if "process: queued" in told and not world.queue.holds("process", name):
        yield "told queued, but not in a queue"


def _in_flight(world: World, name: str, row: Row) -> Iterator[str]:
    """In processing: a live lease, or the index finds it; and let go only when it is queued."""
    key, lease_end = row.get("in_flight"), row.get("lease_expires_at")
    recoveries = row.get("recoveries", 0)
    if recoveries > world.queue.recoveries[name] and not world.is_mixed:
        yield "recovered more often than it was queued"
    if key == STUCK and recoveries < MAX_RECOVERIES and not world.gateway.has_changed:
        yield f"stuck after {recoveries} recoveries"
    if lease_end is None or key not in {in_flight_key(name), STUCK}:
        if name not in world.ledger.lost:
            yield "in processing, but not in the index"
        return
    updated_at = datetime.fromisoformat(row["updated_at"])
    let_go = not recoveries and lease_end < epoch_seconds(updated_at)
    if let_go and ("process", name) not in world.queue.attempted:
        yield "let go before it was queued"


def _pending(world: World, name: str, row: Row) -> Iterator[str]:
    """Waiting for a customer or a bank: the index finds it, and the gateway knows it."""
    if {"attempt_id", "recoveries"} & row.keys():
        yield "pending, with an attempt"
    if "gateway_id" not in row:
        yield "pending, but the gateway has no payment"
    keys = {pending_key(name), OVERDUE} | ({STUCK} if world.gateway.has_changed else set())
    is_indexed = "lease_expires_at" in row and row.get("in_flight") in keys
    if not is_indexed and name not in world.ledger.lost:
        yield "pending, but not in the index"
