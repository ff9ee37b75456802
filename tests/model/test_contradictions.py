"""Captures that a settled row contradicts: somebody settled it while the charge went on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING

import pytest

from handlers.shared.aws import metrics
from tests.model.faults import Call, Fault
from tests.model.machine import KEY_RETENTION_SECONDS, PAST_LEASE
from tests.model.outcomes import settled
from tests.model.services import VISIBILITY_TIMEOUT
from tests.model.steps import fail_once, meanwhile, validated
from tests.model.world import World

if TYPE_CHECKING:
    from tests.expressions import Item

LEASE = ("attempt_id", "lease_expires_at", "in_flight")


def settled_by_hand(**attributes: str) -> Callable[[Item], Item]:
    def change(item: Item) -> Item:
        kept = {name: value for name, value in item.items() if name not in LEASE}
        return kept | {name: {"S": value} for name, value in attributes.items()}

    return change


DECLINED = settled_by_hand(status="declined", decline_reason="by_hand")
PROCESSED = settled_by_hand(status="processed", gateway_reference="capture-by-hand")


@pytest.mark.parametrize("settle", [DECLINED, PROCESSED])
def test_a_capture_that_the_row_contradicts_is_counted_and_noted(
    world: World, settle: Callable[[Item], Item]
) -> None:
    payment = validated(world)
    meanwhile(world, "charge", lambda: world.table.change_by_hand(payment, settle))
    world.process(payment)
    (capture,) = world.gateway.captures
    row = world.table.items[payment]
    assert row["contradicting_reference"] == {"S": capture.reference}
    assert {name: row[name] for name in settle(row)} == settle(row)
    assert world.journal.metrics[metrics.CONTRADICTED] == 1
    assert not world.ledger.rewritten


def test_a_late_capture_under_a_forgotten_key_is_counted_and_noted(world: World) -> None:
    """An attempt stalls before its charge for so long that another capture is on record then."""
    payment = validated(world)

    def stall() -> None:
        world.advance(KEY_RETENTION_SECONDS / 2)
        world.process(payment)
        world.advance(KEY_RETENTION_SECONDS + 1)

    meanwhile(world, "charge", stall)
    world.process(payment)
    first, second = world.gateway.captures
    row = world.table.items[payment]
    assert row["gateway_reference"] == {"S": first.reference}
    assert row["contradicting_reference"] == {"S": second.reference}
    assert world.journal.metrics[metrics.CONTRADICTED] == 1


def test_a_capture_that_cannot_be_noted_is_counted(world: World) -> None:
    payment = validated(world)

    def settle_and_fail_the_note() -> None:
        world.table.change_by_hand(payment, DECLINED)
        updates = 0

        def decide(call: Call) -> Fault | None:
            nonlocal updates
            updates += call.site == "UpdateItem"
            return Fault.THROTTLED if updates == 2 else None

        world.network.decide = decide

    meanwhile(world, "charge", settle_and_fail_the_note)
    answer = world.process(payment)
    assert answer
    assert answer.status == 402
    assert "contradicting_reference" not in world.table.items[payment]
    assert world.journal.metrics[metrics.CONTRADICTED] == 1


def test_a_capture_that_another_attempt_has_recorded_contradicts_nothing(world: World) -> None:
    payment = validated(world)
    fail_once(world, "charge", Fault.LOST_ANSWER)
    world.process(payment)
    meanwhile(world, "charge", world.retry)
    world.process(payment)
    assert settled(world) == {payment}
    assert world.journal.metrics[metrics.CONTRADICTED] == 0
    assert "contradicting_reference" not in world.table.items[payment]


# The most calls that an attempt makes once it has captured: to finish, queue, let go, and note.
CALLS = 4
KILLS = {Fault.KILLED_BEFORE, Fault.KILLED_AFTER}
# What keeps a note from being written; after the others it arrives, if late.
WITHOUT_EFFECT = {Fault.THROTTLED, Fault.RESET}


class OvertakenAttempt:
    """An attempt that stalls before its charge until its lease is over, and another one has settled
    the payment. The gateway has forgotten that one when it captures, and then its calls go wrong.

    plan says how, by their number; met is what went wrong, and in which operation.
    """

    def __init__(self, world: World, plan: dict[int, Fault], *, declined: bool) -> None:
        self.payment = validated(world)
        self.met: list[tuple[str, Fault]] = []
        self._world = world
        self._plan = plan
        self._declined = declined
        self._number = 0

    def make(self, *, by_message: bool) -> None:
        world = self._world
        if by_message:
            fail_once(world, "charge", Fault.THROTTLED)
            world.process(self.payment)
        meanwhile(world, "charge", self._stall)
        if by_message:
            world.retry()
        else:
            world.process(self.payment)
        world.network.decide = lambda _: None
        world.network.deliver_late()

    def _stall(self) -> None:
        world = self._world
        world.advance(PAST_LEASE)
        world.gateway.declines = self._declined
        world.process(self.payment)
        world.gateway.declines = False
        world.advance(KEY_RETENTION_SECONDS + 1)
        world.network.decide = self._decide

    def _decide(self, call: Call) -> Fault | None:
        number, self._number = self._number, self._number + 1
        fault = self._plan.get(number)
        if fault:
            self.met.append((call.site, fault))
        return fault

    @property
    def was_killed(self) -> bool:
        return any(fault in KILLS for _, fault in self.met)

    @property
    def could_not_write(self) -> bool:
        """Whether its last write went wrong, and had no effect."""
        return bool(self.met) and self.met[-1] in product(["UpdateItem"], WITHOUT_EFFECT)

    @property
    def is_noted(self) -> bool:
        """Whether the row has its capture, which is the last one."""
        row = self._world.table.items[self.payment]
        reference = {"S": self._world.gateway.captures[-1].reference}
        return row.get("contradicting_reference") == reference


def two_faults() -> list[dict[int, Fault]]:
    """Return every plan that lets one or two calls go wrong."""
    one_fault = list(product(range(CALLS), Fault))
    return [dict(faults) for faults in product(one_fault, repeat=2)]


def receives(world: World) -> int:
    return sum(message.receives for message in world.queue.sent)


@pytest.mark.parametrize("by_message", [True, False])
@pytest.mark.parametrize("declined", [True, False])
def test_a_capture_that_another_attempt_contradicts_survives_any_two_faults(
    declined: bool, by_message: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted; and noted, unless the note cannot be written and no message asks again.

    A request that is killed has told nobody of its capture: only the gateway's own records do. A
    message that was under way then comes back, and looks for it.
    """
    for plan in two_faults():
        world = World(lambda _: None)
        world.install(monkeypatch)
        attempt = OvertakenAttempt(world, plan, declined=declined)
        attempt.make(by_message=by_message)
        before = receives(world)
        while world.queue.live:
            world.advance(VISIBILITY_TIMEOUT.total_seconds())
            world.retry()
        asked_again = receives(world) > before
        assert not world.ledger.rewritten, plan
        if attempt.was_killed and not asked_again:
            assert not by_message, plan
            continue
        assert world.journal.metrics[metrics.CONTRADICTED], plan
        assert attempt.is_noted or (attempt.could_not_write and not asked_again), plan


@pytest.mark.parametrize("fault", sorted(set(Fault) - KILLS - {Fault.REPEATED}))
def test_a_capture_of_which_nothing_else_is_known_is_counted(world: World, fault: Fault) -> None:
    """Nobody will compare it with its row: the table does not answer, and no message was queued."""
    attempt = OvertakenAttempt(
        world, dict.fromkeys([0, 2], fault) | {1: Fault.RESET}, declined=True
    )
    attempt.make(by_message=False)
    assert [site for site, _ in attempt.met] == ["UpdateItem", "SendMessage", "UpdateItem"]
    assert not world.queue.sent
    assert world.journal.metrics[metrics.CONTRADICTED] == 1


def test_a_capture_that_a_message_will_bring_to_its_row_is_not_counted(world: World) -> None:
    payment = validated(world)
    world.network.decide = lambda call: (
        Fault.RESET if world.gateway.captures and call.site == "UpdateItem" else None
    )
    world.process(payment)
    world.network.decide = lambda _: None
    world.advance(PAST_LEASE)
    world.retry()
    assert settled(world) == {payment}
    assert world.journal.metrics[metrics.CONTRADICTED] == 0
