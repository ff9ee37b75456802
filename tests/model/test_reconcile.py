"""Whatever answers, notifications and rows are lost: a comparison with the gateway's list explains
all money, and what it fixes is right and charges nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import rule

from handlers.shared.charging import LONGEST_QUEUED_SECONDS
from handlers.shared.transactions import MAX_RECOVERIES
from payment_infra.cloud.reconciling import comparison, passes
from payment_infra.cloud.reconciling.comparison import GRACE, Kind, Terms
from payment_infra.cloud.reconciling.spool import Spool
from tests.model.desk import Desk, install, reconcile, unexplained
from tests.model.faults import Fault
from tests.model.gateway import Finds
from tests.model.hands import rewind
from tests.model.invariants import check, unended, violations
from tests.model.invocations import Container
from tests.model.machine import KEY_RETENTION_SECONDS, PAST_RECOVERY, Payments
from tests.model.made import PENDING_CUSTOMER
from tests.model.release import CURRENT
from tests.model.steps import fail_once, validated
from tests.model.two_step_machine import TWO_STEP_SETTINGS, ChangedTwoStepPayments
from tests.model.world import World

# Until nobody holds a payment, none is young, and none waits in the queue by any clock.
OLD = LONGEST_QUEUED_SECONDS + GRACE.total_seconds() + 1
RECONCILE_SETTINGS = settings(TWO_STEP_SETTINGS, max_examples=12)


class ReconciledPayments(ChangedTwoStepPayments):
    """In the end, or before anything else has ended it, rows are compared and fixed; and at last
    some of them are lost."""

    containers: ClassVar[Sequence[Container]] = [
        Container(CURRENT, seconds) for seconds in (0, -60, 60)
    ]

    def set_up(self) -> None:
        self.lost: set[str] = set()
        install(self.world)
        super().set_up()

    @rule(payment=Payments.payments)
    def a_row_is_lost_in_the_end(self, payment: str) -> None:
        self.lost.add(payment)

    @rule()
    def rows_are_compared_and_fixed(self) -> None:
        self.reconcile()

    def reconcile(self) -> None:
        world = self.world
        world.advance(OLD)
        captures = list(world.gateway.captures)
        found = reconcile(world, fixing=True)
        assert list(unexplained(world, found)) == []
        check(violations(world))
        assert world.gateway.captures == captures
        left = reconcile(world)
        assert list(unexplained(world, left)) == []

    def end(self) -> None:
        self.reconcile()
        super().end()
        self.reconcile()
        for payment in self.lost:
            self.world.table.items.pop(payment, None)
        assert list(unexplained(self.world, reconcile(self.world))) == []


TestReconciled = ReconciledPayments.TestCase
TestReconciled.settings = RECONCILE_SETTINGS


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(lambda _: None, two_steps=True)
    install(world)
    world.install(monkeypatch)
    return world


def fixed(world: World) -> list[tuple[Kind, str | None]]:
    """Compare and fix; return what was found, having checked that it explains all."""
    world.advance(OLD)
    found = reconcile(world, fixing=True)
    assert list(unexplained(world, found)) == []
    check(violations(world))
    return [(one.kind, one.fix) for one in found.differences]


def status(world: World, payment: str) -> str:
    return str(world.table.items[payment]["status"]["S"])


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.KILLED_AFTER, Fault.LATE])
def test_a_capture_whose_answer_was_lost_is_settled(world: World, fault: Fault) -> None:
    payment = validated(world)
    fail_once(world, "confirm", fault)
    world.process(payment)
    assert status(world, payment) == "processing"
    assert fixed(world) == [(Kind.NOT_SETTLED, "settle")]
    assert status(world, payment) == "processed"
    assert fixed(world) == []


def test_a_notification_that_never_came_is_made_up_for(world: World) -> None:
    payment = validated(world, customer_id=PENDING_CUSTOMER)
    world.process(payment)
    assert fixed(world) == []
    world.two_step.act(payment, pays=True)
    assert fixed(world) == [(Kind.NOT_SETTLED, "settle")]
    assert status(world, payment) == "processed"


@pytest.mark.parametrize("finds", Finds)
@pytest.mark.parametrize("earlier", [0, 1, 2])
def test_what_a_restore_took_back_is_settled_whether_the_gateway_can_find_it_or_not(
    world: World, earlier: int, finds: Finds
) -> None:
    world.gateway.finds = lambda _: finds
    payment = validated(world)
    world.process(payment)
    world.advance(3600)
    assert rewind(world, payment, earlier)
    assert fixed(world) == [(Kind.NOT_SETTLED, "settle")]
    assert status(world, payment) == "processed"
    assert len(world.gateway.captures) == 1
    assert fixed(world) == []


def test_what_nobody_could_know_was_not_charged_if_the_whole_list_has_nothing(
    world: World,
) -> None:
    world.gateway.finds = lambda _: Finds.BLIND
    payment = validated(world)
    rewind(world, payment, 0)
    world.process(payment)
    for _ in range(MAX_RECOVERIES + 1):
        world.drain()
        world.advance(PAST_RECOVERY)
        world.scheduled_run()
    assert world.table.items[payment]["in_flight"] == {"S": "stuck"}
    assert fixed(world) == [(Kind.UNDECIDED, "not_charged")]
    assert status(world, payment) == "canceled"
    assert not world.gateway.captures
    world.drain()
    check(violations(world) + unended(world))


def test_a_row_that_is_lost_is_told_and_nothing_is_made_of_it(world: World) -> None:
    payment = validated(world)
    world.process(payment)
    del world.table.items[payment]
    world.advance(OLD)
    found = reconcile(world, fixing=True)
    assert [(one.kind, one.fix) for one in found.differences] == [(Kind.NO_ROW, None)]
    assert payment not in world.table.items


def test_a_second_capture_under_the_keys_end_is_told(world: World) -> None:
    """Of an unmarked row that a restore took back, which the gateway's key does not guard."""
    payment = validated(world)
    world.process(payment)
    world.advance(KEY_RETENTION_SECONDS + 60)
    rewind(world, payment, 0, marked=False)
    world.process(payment)
    assert len(world.gateway.captures) == 2
    world.advance(OLD)
    found = reconcile(world, fixing=True)
    assert [(one.kind, one.fix) for one in found.differences] == [(Kind.TWICE, None)]


# What the model finds if the comparison is wrong.


def forgets_the_second(self: Any, own: Any) -> list[Any]:
    return []


def takes_any_id(self: Any, row: Any, payments: Any) -> None:
    self.row, self.payments = row, payments
    self.captured = [payment for payment in payments if payment.is_captured]
    self.names_one, self.own = True, (self.captured or payments or [None])[0]


def ignores_the_list(self: Any, terms: Any) -> list[Any]:
    aside = self.row.get("in_flight") == "stuck"
    return [self._difference(Kind.UNDECIDED, None, "not_charged")] if aside else []


def says_nothing(self: Any) -> list[Any]:
    return []


MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "it forgets a second capture": (comparison._OfRow, "twice", forgets_the_second),
    "it takes any id for the row's": (comparison._OfRow, "__init__", takes_any_id),
    "it does not look at the row's own": (comparison._OfRow, "own_differs", says_nothing),
    "it calls not charged what it has listed": (comparison._OfRow, "undecided", ignores_the_list),
    "it takes every row for one of another gateway": (
        Terms,
        "is_elsewhere",
        lambda _self, _row: True,
    ),
    "it takes every row for young": (Terms, "is_young", lambda _self, _row: True),
    "it does not ask again": (passes.Comparison, "_certain", lambda _self, difference: difference),
    "it forgets what has no row": (Spool, "add_unseen", says_nothing),
}


def lose(world: World, patch: pytest.MonkeyPatch) -> None:
    """Have a payment of each kind of difference, and one that was captured after it was listed."""
    payments = [validated(world) for _ in range(5)]
    answer, twice, unknown, row, waits = payments
    fail_once(world, "confirm", Fault.KILLED_AFTER)
    for payment in (answer, twice, unknown, row):
        world.process(payment)
    world.advance(KEY_RETENTION_SECONDS + 60)
    rewind(world, twice, 0, marked=False)
    world.process(twice)
    world.gateway.finds = lambda _: Finds.BLIND
    rewind(world, unknown, 0)
    world.process(unknown)
    world.table.change_by_hand(unknown, lambda item: item | {"in_flight": {"S": "stuck"}})
    del world.table.items[row]
    world.advance(OLD)
    # What is open when it is listed is charged, and written down, before its row is read.
    fail_once(world, "confirm", Fault.KILLED_BEFORE)
    world.process(waits)
    world.advance(OLD)
    scan = Desk.scan

    def meanwhile(self: Desk, **params: Any) -> dict[str, Any]:
        world.process(waits)
        world.advance(OLD)
        return scan(self, **params)

    patch.setattr(Desk, "scan", meanwhile)


@pytest.mark.parametrize("mutant", [None, *MUTANTS])
def test_the_model_finds_a_comparison_that_is_wrong(
    world: World, mutant: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mutant:
        monkeypatch.setattr(*MUTANTS[mutant])
    lose(world, monkeypatch)
    assert (list(unexplained(world, reconcile(world))) == []) == (mutant is None)
