"""Cancellations and notifications, with every fault at every call, and what clients are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, combinations, product

import pytest

from handlers.shared.aws import metrics
from tests.model.faults import Fault
from tests.model.gateway import Finds
from tests.model.hands import end
from tests.model.invariants import check, unseen_captures, violations
from tests.model.made import PENDING_CUSTOMER, Stage
from tests.model.notices import Forgery, Notice
from tests.model.plans import Plan, Planned, one_fault
from tests.model.starts import STARTS, left
from tests.model.steps import bring_to_an_end, meanwhile, validated
from tests.model.world import World

# Of a cancellation: a write that is refused, fetch, cancel, and the write of the end.
CALLS = 4
# Without those that leave behind what another one does.
KINDS = (Fault.RESET, Fault.LOST_ANSWER, Fault.LATE, Fault.KILLED_AFTER)
CANCELED = [
    *("validated", "pending", "pending at a bank", "pending, and failed", "confirmed"),
    *("restored, charged", "restored, pending", "restored, prepared", "restored, never begun"),
]
# Where the gateway has something to tell, and what comes of it when nothing else happens: of one
# that failed while it was charged, nothing, until somebody tries again.
TOLD = {
    "prepared, and nobody knows": "processing",
    "confirmed": "processed",
    "failed, and not canceled": "processing",
    "pending": "pending",
    "pending, and paid": "processed",
    "pending, and failed": "declined",
}


def two_faults() -> Iterator[Plan]:
    for positions, kinds in product(combinations(range(CALLS), 2), product(KINDS, repeat=2)):
        yield dict(zip(positions, kinds, strict=True))


def started(patch: pytest.MonkeyPatch, start: str, plan: Plan) -> tuple[World, str, list[Notice]]:
    """Return a world with a payment in it, for whose calls there is a plan, and what the gateway
    has told of it."""
    faults = Planned()
    world = World(lambda _: None, two_steps=True)
    world.install(patch)
    world.gateway.finds = lambda _: Finds.CERTAIN
    if start == "pending, and paid":
        payment = STARTS["pending"](world)
        world.two_step.act(payment, pays=True)
    else:
        payment = STARTS[start](world)
    world.network.decide = faults
    faults.start(plan)
    return world, payment, list(world.two_step.notices)


def status(world: World, payment: str) -> str:
    return str(world.table.items[payment]["status"]["S"])


@pytest.mark.parametrize("start", CANCELED)
def test_a_cancellation_survives_any_fault(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for plan in chain(one_fault(CALLS), two_faults()):
        world, payment, _ = started(monkeypatch, start, plan)
        world.cancel(payment)
        check(violations(world))
        world.network.decide = lambda _: None
        bring_to_an_end(world, is_notified=len(plan) > 1)


@pytest.mark.parametrize("start", TOLD)
def test_a_notification_survives_any_fault(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes again until it is taken, and then nobody else has to look at the payment."""
    for plan in chain(one_fault(CALLS), two_faults()):
        world, payment, notices = started(monkeypatch, start, plan)
        world.notify(notices[-1])
        check(violations(world))
        world.network.decide = lambda _: None
        world.network.deliver_late()
        for notice in notices:
            assert world.notify(notice) == 200, plan
        assert status(world, payment) == TOLD[start], plan
        check(violations(world))
        bring_to_an_end(world, is_notified=False)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(lambda _: None, two_steps=True)
    world.install(monkeypatch)
    return world


def without_its_row(world: World, payment: str) -> None:
    del world.table.items[payment]


def validated_again(world: World, payment: str) -> None:
    """Take a row back without a mark, as somebody does with a copy of his own."""
    first = world.ledger.history[payment][0]
    world.ledger.rewound.add(payment)
    world.heard.forget(payment)
    world.table.change_by_hand(payment, lambda _: first)


def of_another_id(world: World, payment: str) -> None:
    world.ledger.ended_by_hand.add(payment)
    world.table.change_by_hand(
        payment, lambda item: item | {"gateway_id": {"S": "payment-of-others"}}
    )


CHANGES: dict[str, Callable[[World, str], object]] = {
    "missing": without_its_row,
    "validated": validated_again,
    "declined": lambda world, payment: end(world, payment, "declined"),
    "canceled": lambda world, payment: end(world, payment, "canceled"),
    "of another id": of_another_id,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_capture_that_its_row_contradicts_is_counted_before_its_notification_is_taken(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong: each time that it comes, and at least once with an alarm."""
    for plan in chain([{}], one_fault(CALLS)):
        world, payment, _ = started(monkeypatch, "pending", plan)
        CHANGES[change](world, payment)
        world.two_step.act(payment, pays=True)
        notice = world.two_step.notices[-1]
        answer = world.notify(notice)
        assert answer != 200 or world.journal.metrics[metrics.CONTRADICTED], plan
        world.network.decide = lambda _: None
        assert world.notify(notice) == 200
        (capture,) = world.gateway.captures
        assert capture.reference in world.journal.counted_captures, plan
        assert not world.post.forgotten
        if change in {"declined", "canceled"}:
            noted = world.table.items[payment]["contradicting_reference"]
            assert noted == {"S": capture.reference}
            assert status(world, payment) == change


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("position", range(3))
def test_a_notification_is_not_taken_for_a_row_that_is_changed_meanwhile(
    world: World, position: int, change: str
) -> None:
    """Before the gateway is asked, before the row is read, and before it is written."""
    payment = left(world, PENDING_CUSTOMER)
    world.two_step.act(payment, pays=True)
    notice = world.two_step.notices[-1]
    faults = Planned()
    faults.meanwhile[position] = lambda: CHANGES[change](world, payment)
    world.network.decide = faults
    world.notify(notice)
    assert not faults.meanwhile
    assert not world.post.forgotten
    assert world.notify(notice) == 200
    (capture,) = world.gateway.captures
    assert capture.reference in world.journal.counted_captures


@pytest.mark.parametrize("change", ["declined", "canceled"])
@pytest.mark.parametrize("is_charged", [False, True])
def test_a_capture_by_a_request_is_counted_where_a_person_ends_its_payment_meanwhile(
    world: World, change: str, *, is_charged: bool
) -> None:
    payment = validated(world)

    def by_hand() -> None:
        end(world, payment, change)

    def once_it_is_charged() -> None:
        meanwhile(world, "UpdateItem", by_hand)

    meanwhile(world, "confirm", once_it_is_charged if is_charged else by_hand)
    world.process(payment)
    (capture,) = world.gateway.captures
    assert capture.reference in world.journal.counted_captures
    shown = world.look_up(payment)
    assert shown
    assert shown.outcome == change
    check(violations(world) + unseen_captures(world))


def test_a_capture_of_a_pending_payment_that_a_person_has_ended_is_counted_by_its_notification(
    world: World,
) -> None:
    """Without that, nobody would ask the gateway any more."""
    payment = left(world, PENDING_CUSTOMER)
    end(world, payment, "canceled")
    world.two_step.act(payment, pays=True)
    world.drain()
    assert unseen_captures(world)
    world.deliver_notices()
    check(violations(world) + unseen_captures(world))


@pytest.mark.parametrize("forgery", Forgery)
@pytest.mark.parametrize("start", ["pending, and paid", "validated", "confirmed"])
def test_what_the_gateway_has_not_said_at_this_moment_changes_nothing(
    start: str, forgery: Forgery, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, payment, _ = started(monkeypatch, start, {})
    account = world.two_step.account
    notices = world.two_step.notices or [Notice("payment-0", payment, account)]
    before = dict(world.table.items)
    calls = world.network.called.total()
    if world.two_step.made:
        assert world.notify(notices[-1], forgery) == 400
    assert world.table.items == before
    assert world.network.called.total() == calls
    check(violations(world))


def test_a_notification_of_another_account_is_not_taken_until_that_is_the_gateways_again(
    world: World,
) -> None:
    payment = left(world, PENDING_CUSTOMER)
    world.two_step.act(payment, pays=True)
    world.two_step.change_account("account-2")
    calls = world.network.called.total()
    for notice in world.two_step.notices:
        assert world.notify(notice) == 400
    assert world.network.called.total() == calls
    world.two_step.change_account("account-1")
    world.deliver_notices()
    assert not world.post.waiting
    assert status(world, payment) == "processed"
    check(violations(world))


def test_while_payments_are_stopped_a_notification_waits_and_is_of_use_days_later(
    world: World,
) -> None:
    payment = left(world, PENDING_CUSTOMER)
    world.two_step.act(payment, pays=True)
    notice = world.two_step.notices[-1]
    calls = world.network.called.total()
    assert world.notify(notice, stopped=True) == 503
    assert world.network.called.total() == calls
    world.advance(3 * 24 * 3600)
    assert world.notify(notice) == 200
    assert status(world, payment) == "processed"
    check(violations(world))


def test_a_notification_that_comes_before_the_id_is_stored_changes_nothing(world: World) -> None:
    payment = validated(world)
    updates = []

    def notify() -> None:
        updates.append(world.notify(world.two_step.notices[-1]))

    # Prepared, and about to be stored: then prepared and confirmed.
    meanwhile(world, "prepare", lambda: meanwhile(world, "UpdateItem", notify))
    world.process(payment)
    assert updates == [200]
    assert status(world, payment) == "processed"
    check(violations(world))


def test_a_capture_that_a_restored_row_does_not_name_yet_is_told_again(world: World) -> None:
    """The payment is being looked for, by its own id: whoever does that stores the gateway's."""
    world.gateway.finds = lambda _: Finds.CERTAIN
    payment = STARTS["restored, charged"](world)
    answers = []
    notice = world.two_step.notices[-1]
    meanwhile(world, "find", lambda: answers.append(world.notify(notice)))
    world.process(payment)
    assert answers == [503]
    assert world.notify(notice) == 200
    assert status(world, payment) == "processed"
    assert not world.journal.contradicted
    check(violations(world))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("fault", Fault)
def test_a_look_up_changes_nothing_whatever_goes_wrong(
    start: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, payment, _ = started(monkeypatch, start, {0: fault})
    before = dict(world.table.items)
    world.look_up(payment)
    answer = world.look_up(payment)
    assert answer
    assert answer.outcome == before[payment]["status"]["S"]
    assert world.table.items == before
    check(violations(world))


def test_a_canceled_payment_stays_canceled_for_whoever_asks_and_whatever_its_customer_does(
    world: World,
) -> None:
    payment = left(world, PENDING_CUSTOMER)
    assert [world.cancel(payment), world.cancel(payment)]
    assert not world.two_step.act(payment, pays=True)
    outcomes = [
        answer and answer.outcome
        for answer in (world.cancel(payment), world.process(payment), world.look_up(payment))
    ]
    assert outcomes == ["canceled"] * 3
    assert world.two_step.stages(payment) == {Stage.CANCELED}
    assert not world.gateway.captures
    assert world.journal.metrics[metrics.CANCELED] == 1
    check(violations(world))
