"""A payment's way at a gateway in two steps: faults, stored failures, and other marks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations, product

import pytest

from handlers.shared.aws import metrics
from handlers.shared.transactions import LEASE_SECONDS
from tests.model.faults import Fault
from tests.model.gateway import Finds
from tests.model.hands import rewind
from tests.model.invariants import check, unended, violations
from tests.model.made import PENDING_CUSTOMER, REFUSED_CUSTOMER, Stage
from tests.model.outcomes import left_to_a_person, pending, settled
from tests.model.plans import (
    Plan,
    Planned,
    one_fault,
    process_with,
    recover_with,
    retry_with,
    validate_with,
)
from tests.model.services import VISIBILITY_TIMEOUT
from tests.model.steps import fail_once, meanwhile, validated
from tests.model.two_step_gateway import StoredFailure
from tests.model.world import World

# Claim, prepare, note the id, confirm, cancel, finish, queue, let go.
CALLS = 8
# Without those that leave behind what another one does.
KINDS = (Fault.RESET, Fault.LOST_ANSWER, Fault.LATE, Fault.KILLED_AFTER)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(lambda _: None, two_steps=True)
    world.install(monkeypatch)
    return world


def status(world: World, payment: str) -> str:
    return str(world.table.items[payment]["status"]["S"])


def drained(world: World) -> None:
    check(violations(world))
    world.drain()
    check(violations(world) + unended(world))


@pytest.mark.parametrize("comes_to", [Stage.CHARGED, Stage.FAILED, Stage.PENDING])
@pytest.mark.parametrize("run", [validate_with, process_with, retry_with, recover_with])
def test_a_payment_survives_any_fault(
    run: Callable[[World, Planned, Plan], None], comes_to: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plan in one_fault(CALLS):
        faults = Planned()
        world = World(faults, two_steps=True)
        world.two_step.comes_to = comes_to
        world.install(monkeypatch)
        run(world, faults, plan)
        drained(world)


@pytest.mark.parametrize("comes_to", [Stage.CHARGED, Stage.FAILED])
def test_a_payment_survives_any_two_faults(
    comes_to: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds_of_two = product(KINDS, repeat=2)
    for positions, kinds in product(combinations(range(CALLS), 2), kinds_of_two):
        faults = Planned()
        world = World(faults, two_steps=True)
        world.two_step.comes_to = comes_to
        world.install(monkeypatch)
        process_with(world, faults, dict(zip(positions, kinds, strict=True)))
        drained(world)


@pytest.mark.parametrize("seconds", [0, LEASE_SECONDS + 1])
@pytest.mark.parametrize("site", ["prepare", "UpdateItem", "confirm", "cancel"])
@pytest.mark.parametrize("comes_to", [Stage.CHARGED, Stage.FAILED])
def test_a_payment_survives_that_its_holder_is_overtaken(
    world: World, comes_to: Stage, site: str, seconds: int
) -> None:
    world.two_step.comes_to = comes_to
    payment = validated(world)

    def overtake() -> None:
        world.advance(seconds)
        world.process(payment)

    meanwhile(world, site, overtake)
    world.process(payment)
    drained(world)
    assert payment in settled(world)
    assert not world.journal.metrics[metrics.CONTRADICTED]


@pytest.mark.parametrize("done", StoredFailure)
@pytest.mark.parametrize("step", ["prepare", "confirm", "cancel"])
@pytest.mark.parametrize("comes_to", [Stage.CHARGED, Stage.FAILED])
def test_a_failure_that_is_stored_once_keeps_no_payment_from_its_end(
    world: World, comes_to: Stage, step: str, done: StoredFailure
) -> None:
    world.two_step.comes_to = comes_to
    failures = [done]
    world.two_step.fails = lambda key: failures.pop() if key.startswith(step) and failures else None
    payment = validated(world)
    world.process(payment)
    drained(world)
    assert status(world, payment) == ("processed" if comes_to is Stage.CHARGED else "declined")
    assert len(world.gateway.captures) == (comes_to is Stage.CHARGED)
    assert not world.queue.dead


def test_process_makes_three_calls_to_dynamodb_in_two_steps_and_two_in_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_step = World(lambda _: None)
    for charged, calls in ((world, 3), (one_step, 2)):
        charged.install(monkeypatch)
        payment = validated(charged)
        charged.network.called.clear()
        charged.process(payment)
        assert payment in settled(charged)
        assert charged.network.called["UpdateItem"] == calls
        assert charged.network.called.total() == calls + (2 if charged is world else 1)


def test_a_customer_who_pays_what_had_failed_before_it_is_canceled_has_paid(world: World) -> None:
    world.two_step.comes_to = Stage.FAILED
    payment = validated(world)
    meanwhile(world, "cancel", lambda: world.two_step.act(payment, pays=True))
    answer = world.process(payment)
    assert answer
    assert (answer.status, status(world, payment)) == (200, "processed")
    drained(world)


@pytest.mark.parametrize("pays", [True, False])
def test_a_pending_payment_ends_as_its_customer_ends_it(world: World, *, pays: bool) -> None:
    payment = validated(world, customer_id=PENDING_CUSTOMER)
    answer = world.process(payment)
    assert answer
    assert (answer.status, answer.body["next_action"]) == (
        202,
        world.table.items[payment]["next_action"]["S"],
    )
    drained(world)
    assert pending(world) == {payment}
    world.two_step.act(payment, pays=pays)
    drained(world)
    assert status(world, payment) == ("processed" if pays else "declined")


def test_a_look_confirms_nothing(world: World) -> None:
    """A payment that the gateway has opened again waits for a person."""
    payment = validated(world, customer_id=PENDING_CUSTOMER)
    world.process(payment)
    (made,) = world.two_step.of(payment)
    made.stage = Stage.OPEN
    world.network.called.clear()
    for _ in range(3):
        world.advance(VISIBILITY_TIMEOUT.total_seconds() + 1)
        world.scheduled_run()
        world.advance(60)
        world.retry()
    assert world.network.called["fetch"] > 0
    assert world.network.called["confirm"] == 0
    assert status(world, payment) == "pending"


def test_a_refused_method_is_declined_and_makes_no_payment(world: World) -> None:
    payment = validated(world, customer_id=REFUSED_CUSTOMER)
    answer = world.process(payment)
    assert answer
    assert (answer.status, answer.body["reason"]) == (402, "method_refused")
    assert not world.two_step.made


@pytest.mark.parametrize("finds", Finds)
@pytest.mark.parametrize("earlier", [0, 1, 2])
def test_a_payment_that_was_charged_and_rewound_is_not_charged_again(
    world: World, earlier: int, finds: Finds
) -> None:
    """Taken back to before its claim, its id, and its end: it is looked for, with an id or not."""
    world.gateway.finds = lambda _: finds
    payment = validated(world)
    world.process(payment)
    assert rewind(world, payment, earlier)
    world.network.called.clear()
    world.process(payment)
    world.drain()
    assert world.network.called["prepare"] == 0
    assert len(world.gateway.captures) == 1
    assert (payment in settled(world)) == (finds is not Finds.BLIND)
    assert payment in settled(world) | left_to_a_person(world)
    check(violations(world) + unended(world))


@pytest.mark.parametrize("finds", Finds)
def test_a_rewound_payment_without_a_payment_at_the_gateway_is_never_prepared(
    world: World, finds: Finds
) -> None:
    world.gateway.finds = lambda _: finds
    payment = validated(world)
    rewind(world, payment, 0)
    answer = world.process(payment)
    world.drain()
    assert answer
    assert world.network.called["prepare"] == 0
    if finds is Finds.CERTAIN:
        assert (answer.body["reason"], answer.body["another_method"]) == (
            "not_found_at_gateway",
            True,
        )
    else:
        assert payment in left_to_a_person(world)
    check(violations(world) + unended(world))


@pytest.mark.parametrize(
    "mark", ["gateway", "gateway_account", "gateway_mode"], ids=["class", "account", "mode"]
)
@pytest.mark.parametrize("state", ["processing", "pending"])
def test_a_payment_with_other_marks_is_asked_for_nowhere_and_stands_still(
    world: World, state: str, mark: str
) -> None:
    payment = validated(world, customer_id=PENDING_CUSTOMER)
    if state == "processing":
        fail_once(world, "confirm", Fault.KILLED_BEFORE)
    world.process(payment)
    assert status(world, payment) == state
    world.table.change_by_hand(payment, lambda item: item | {mark: {"S": "another"}})
    world.advance(3600)
    world.network.called.clear()
    world.process(payment)
    world.scheduled_run()
    world.advance(60)
    world.retry()
    sites = ("prepare", "confirm", "cancel", "fetch", "find")
    assert {site: world.network.called[site] for site in sites} == dict.fromkeys(sites, 0)
    assert status(world, payment) == state
    world.scheduled_run()
    assert payment in left_to_a_person(world)


def test_a_payment_goes_on_when_the_gateway_is_its_own_again(world: World) -> None:
    payment = validated(world)
    fail_once(world, "confirm", Fault.KILLED_BEFORE)
    world.process(payment)
    world.two_step.change_account("account-2")
    world.advance(3600)
    world.process(payment)
    assert world.table.items[payment]["in_flight"] == {"S": "stuck"}
    world.two_step.change_account("account-1")
    answer = world.process(payment)
    assert answer
    assert answer.status == 200
    check(violations(world))


def test_what_was_begun_in_one_step_is_not_charged_in_two_and_the_other_way_round(
    world: World,
) -> None:
    for begun_at, then in permutations((world.one_step, world.two_step)):
        world.change_gateway(world.two_step)
        payment = validated(world)
        world.change_gateway(begun_at)
        fail_once(world, "charge" if begun_at is world.one_step else "confirm", Fault.LATE)
        world.process(payment)
        world.change_gateway(then)
        world.advance(3600)
        world.drain()
        world.network.called.clear()
        answer = world.process(payment)
        assert answer
        assert answer.status == 500
        assert set(world.network.called) == {"UpdateItem"}
        assert payment in left_to_a_person(world)
        world.change_gateway(begun_at)
        answer = world.process(payment)
        assert answer
        assert answer.status == 200
    assert len(world.gateway.captures) == 2
    check(violations(world))


def test_a_look_ends_no_payment_that_names_another_one_of_the_gateway_meanwhile(
    world: World,
) -> None:
    payment = validated(world, customer_id=PENDING_CUSTOMER)
    world.process(payment)
    world.two_step.act(payment, pays=True)
    world.advance(VISIBILITY_TIMEOUT.total_seconds() + 1)
    world.scheduled_run()
    world.advance(60)
    meanwhile(
        world,
        "fetch",
        lambda: world.table.change_by_hand(
            payment, lambda item: item | {"gateway_id": {"S": "payment-of-another"}}
        ),
    )
    world.retry()
    assert status(world, payment) == "pending"
