"""Clients, retries, duplicates, crashes, time and the gateway, in any order that Hypothesis finds.

Each rule that calls a handler has a plan: what happens at its first calls to AWS and the gateway.
A step of a plan lets something else happen meanwhile (which takes the plan's next steps for its
own calls), and then lets the call go wrong, or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from handlers.shared import recovery, table
from handlers.shared.recovery import RECOVER_AFTER_SECONDS
from handlers.shared.transactions import LEASE_SECONDS
from tests.model.faults import Call, Fault
from tests.model.gateway import DECLINED_CUSTOMER, RecordingGateway
from tests.model.invariants import unended, violations
from tests.model.services import Database, InMemoryDatabase
from tests.model.world import World

KEY_RETENTION_SECONDS = int(RecordingGateway.KEY_RETENTION.total_seconds())
PAST_LEASE = LEASE_SECONDS + 1
PAST_RECOVERY = RECOVER_AFTER_SECONDS + PAST_LEASE
SETTINGS = settings(
    max_examples=200,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
)


class Meanwhile(Enum):
    """What happens while a call is on its way."""

    SAME_REQUEST = auto()
    RETRY = auto()
    SCHEDULED_RUN = auto()
    SECONDS_PASS = auto()
    LEASE_ENDS = auto()
    LATE_CALLS_ARRIVE = auto()


@dataclass(frozen=True)
class Step:
    meanwhile: Meanwhile | None = None
    fault: Fault | None = None


quiet = st.just(Step())
faulty = st.builds(Step, fault=st.sampled_from(Fault))
busy = st.builds(
    Step, meanwhile=st.sampled_from(Meanwhile), fault=st.none() | st.sampled_from(Fault)
)
plans = st.lists(quiet | faulty | busy, max_size=8)
customers = st.sampled_from(["customer", "customer", DECLINED_CUSTOMER])


class Payments(RuleBasedStateMachine):
    payments: Bundle[str] = Bundle("payments")

    def __init__(self, database: Database | None = None) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.world = World(self.decide, database or InMemoryDatabase())
        self.world.install(self.patch)
        self.plan: list[Step] = []
        self.same_request: Callable[[], object] = lambda: None
        self.settled: dict[str, object] = {}

    def decide(self, _: Call) -> Fault | None:
        if not self.plan:
            return None
        step = self.plan.pop(0)
        match step.meanwhile:
            case Meanwhile.SAME_REQUEST:
                self.same_request()
            case Meanwhile.RETRY:
                self.world.retry()
            case Meanwhile.SCHEDULED_RUN:
                self.world.scheduled_run()
            case Meanwhile.SECONDS_PASS:
                self.world.advance(5)
            case Meanwhile.LEASE_ENDS:
                self.world.advance(PAST_LEASE)
            case Meanwhile.LATE_CALLS_ARRIVE:
                self.world.network.deliver_late()
        return step.fault

    def run(self, plan: list[Step], request: Callable[[], object]) -> None:
        self.plan = list(plan)
        self.same_request = request
        request()
        self.plan = []

    @rule(
        target=payments,
        amount=st.sampled_from([100, 200]),
        customer=customers,
        key=st.none() | st.sampled_from(["key-1", "key-2", "key-3"]),
        plan=plans,
    )
    def validate(
        self, amount: int, customer: str, key: str | None, plan: list[Step]
    ) -> MultipleResults[str]:
        ids: set[str] = set()

        def request() -> None:
            answer = self.world.validate(amount, customer, key)
            if answer and "transaction_id" in answer.body:
                ids.add(answer.body["transaction_id"])

        self.run(plan, request)
        return multiple(*sorted(ids))

    @initialize(target=payments)
    def first_payment(self) -> str:
        return validated(self.world)

    @rule(payment=payments, plan=plans)
    def process(self, payment: str, plan: list[Step]) -> None:
        self.run(plan, lambda: self.world.process(payment))

    @rule(most=st.integers(1, 3), remaining_ms=st.sampled_from([60_000, 1_000]), plan=plans)
    def retry(self, most: int, remaining_ms: int, plan: list[Step]) -> None:
        self.run(plan, lambda: self.world.retry(most, remaining_ms))

    @rule(data=st.data(), plan=plans)
    def deliver_once_more(self, data: st.DataObject, plan: list[Step]) -> None:
        """SQS delivers a message again, perhaps long after it was deleted."""
        if self.world.queue.sent:
            message = data.draw(st.sampled_from(self.world.queue.sent))
            self.run(plan, lambda: self.world.deliver([message]))

    @rule(plan=plans)
    def scheduled_run(self, plan: list[Step]) -> None:
        self.run(plan, self.world.scheduled_run)

    @rule()
    def the_index_stands_still(self) -> None:
        self.world.table.stale = dict(self.world.table.items)

    @rule()
    def the_index_catches_up(self) -> None:
        self.world.table.stale = None

    @rule(
        seconds=st.sampled_from([1, 60, PAST_LEASE, 300, PAST_RECOVERY, KEY_RETENTION_SECONDS - 3])
    )
    def time_passes(self, seconds: int) -> None:
        self.world.advance(seconds)

    @rule()
    def dead_letters_are_moved_back(self) -> None:
        self.world.queue.redrive()

    @invariant()
    def no_rule_is_broken(self) -> None:
        assert not violations(self.world)

    def teardown(self) -> None:
        try:
            self.world.drain()
            assert not violations(self.world) + unended(self.world)
        finally:
            self.patch.undo()


def test_no_payment_is_lost_or_charged_twice() -> None:
    run_state_machine_as_test(Payments, settings=SETTINGS)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(lambda _: None)
    world.install(monkeypatch)
    return world


def fail_once(world: World, site: str, fault: Fault) -> None:
    def decide(call: Call) -> Fault | None:
        if call.site != site:
            return None
        world.network.decide = lambda _: None
        return fault

    world.network.decide = decide


def validated(world: World) -> str:
    answer = world.validate()
    assert answer
    return str(answer.body["transaction_id"])


@pytest.mark.parametrize("seconds_before_the_gateway_forgets", [-1, 0, 1, 3, 6, 60])
def test_a_slow_charge_does_not_arrive_after_its_key_was_forgotten(
    world: World, seconds_before_the_gateway_forgets: int
) -> None:
    payment = validated(world)
    fail_once(world, "charge", Fault.LOST_ANSWER)
    world.process(payment)
    world.advance(KEY_RETENTION_SECONDS - seconds_before_the_gateway_forgets)

    def slow(call: Call) -> Fault | None:
        world.clock.advance(6 if call.site in {"charge", "find"} else 0)
        return None

    world.network.decide = slow
    answer = world.process(payment)
    assert answer
    assert answer.status == 200
    assert not violations(world)


def test_payments_that_are_stuck_do_not_hide_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stuck payments come first in the index, and a run recovers only so many."""
    monkeypatch.setattr(recovery, "MAX_PAYMENTS_A_RUN", 10)
    monkeypatch.setattr(table, "PAGE_SIZE", 2)
    stuck = 50
    leave_behind(world, stuck)
    world.network.decide = lambda call: Fault.THROTTLED if call.site == "SendMessage" else None
    for _ in range(stuck):
        world.advance(PAST_RECOVERY)
        world.scheduled_run()
    assert len(world.journal.stuck) == stuck
    leave_behind(world, 50)
    world.drain()
    assert not violations(world) + unended(world)
    assert len(world.journal.stuck) == stuck


def test_a_recovery_leaves_alone_who_claimed_while_the_index_lagged(world: World) -> None:
    leave_behind(world, 1)
    world.advance(PAST_RECOVERY)
    world.table.stale = dict(world.table.items)
    fail_once(world, "charge", Fault.KILLED_BEFORE)
    world.process(next(iter(world.table.items)))
    assert world.scheduled_run()
    assert not violations(world)
    assert not world.queue.sent


def leave_behind(world: World, number: int) -> None:
    for _ in range(number):
        fail_once(world, "charge", Fault.KILLED_BEFORE)
        world.process(validated(world))
