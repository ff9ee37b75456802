"""Clients, retries, duplicates, crashes, time and the gateway, in any order that Hypothesis finds.

Each rule that calls a handler has a plan of what happens at its calls (see happenings.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, get_args

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
)

from handlers.shared.recovery import RECOVER_AFTER_SECONDS
from handlers.shared.transactions import LEASE_SECONDS
from tests.model.gateway import DECLINED_CUSTOMER, Finds, RecordingGateway
from tests.model.hands import ask_for_flawed, extend, lose, rewind, spoil, tamper
from tests.model.happenings import Meanwhile, Plan, Step, plans
from tests.model.invariants import check, unended, violations
from tests.model.invocations import Container
from tests.model.principals import PRINCIPALS, SHOP, STRANGER, Access
from tests.model.release import CURRENT, Release
from tests.model.rows import LOSSES, SPOILINGS, TAMPERINGS
from tests.model.steps import validated
from tests.model.table import Database, InMemoryDatabase
from tests.model.world import World

if TYPE_CHECKING:
    from tests.model.faults import Call, Fault
    from tests.model.services import Message

KEY_RETENTION_SECONDS = int(RecordingGateway.KEY_RETENTION.total_seconds())
PAST_LEASE = LEASE_SECONDS + 1
PAST_RECOVERY = RECOVER_AFTER_SECONDS + PAST_LEASE

# The same examples in each run.
SETTINGS = settings(
    max_examples=300,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
)


principals = st.sampled_from([SHOP, *PRINCIPALS])
# Seconds since API Gateway got a request.
waits = st.sampled_from([None, 0, 8, 20, 28])
ages = st.integers(0, 3)


class Payments(RuleBasedStateMachine):
    """Payments by these containers; in the end, this release brings them to their end."""

    containers: ClassVar[Sequence[Container]] = (Container(),)
    two_steps: ClassVar[bool] = False
    customers: ClassVar[Sequence[str]] = ("customer", "customer", DECLINED_CUSTOMER)
    payments: Bundle[str] = Bundle("payments")

    def __init__(self, database: Database | None = None) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.database = database or InMemoryDatabase()
        self.plan: list[Step] = []
        self.places: list[int] = []
        self.same_request: Callable[[], object] = lambda: None
        self.payment: str | None = None
        self.last: Release = CURRENT

    @initialize(
        target=payments,
        access=st.sampled_from(get_args(Access)),
        finds=st.sampled_from(Finds),
        last=st.integers(0, 5),
    )
    def first_payment(self, access: Access, finds: Finds, last: int) -> str:
        return self.begin(access, finds, last, "customer")

    def begin(self, access: Access, finds: Finds, last: int, customer_id: str) -> str:
        """Make the world, with a payment in it; return that."""
        releases = {container.release for container in self.containers}
        self.world = World(
            self.decide,
            self.database,
            access,
            sorted(releases, key=str),
            two_steps=self.two_steps,
            place=self.place,
        )
        self.world.gateway.finds = lambda _: finds
        self.set_up()
        self.world.install(self.patch)
        self.last = self.containers[last % len(self.containers)].release
        return validated(self.world, caller=SHOP, customer_id=customer_id)

    def set_up(self) -> None:
        """Make the new world what it is in this family."""

    def place(self) -> Container:
        number = self.places.pop(0) if self.places else 0
        return self.containers[number % len(self.containers)]

    def decide(self, _: Call) -> Fault | None:
        if not self.plan:
            return None
        step = self.plan.pop(0)
        match step.meanwhile:
            case Meanwhile.SAME_REQUEST:
                self.same_request()
            case Meanwhile.SOMEBODY_ELSES_REQUEST if self.payment:
                self.world.process(self.payment, STRANGER)
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
            case Meanwhile.ROW_IS_CHANGED if self.payment:
                self.tamper_with(self.payment, "both amounts")
            case Meanwhile.GATEWAY_GOES_ON:
                self.gateway_goes_on()
            case Meanwhile.OWNER_PROCESSES if self.payment:
                self.world.process(self.payment, self.owner(self.payment))
            case Meanwhile.OWNER_CANCELS if self.payment:
                self.world.cancel(self.payment, self.owner(self.payment))
            case Meanwhile.OWNER_LOOKS_UP if self.payment:
                self.world.look_up(self.payment, self.owner(self.payment))
            case Meanwhile.GATEWAY_NOTIFIES:
                self.gateway_notifies()
        return step.fault

    def tamper_with(self, payment: str, name: str) -> None:
        tamper(self.world, payment, name)

    def gateway_goes_on(self) -> None:
        """Let happen what does without the handlers."""

    def gateway_notifies(self) -> None:
        """Let the gateway tell of what has happened last, if it does that."""

    def owner(self, payment: str) -> str:
        return self.world.ledger.owners.get(payment, SHOP)

    def run(self, plan: Plan, request: Callable[[], object], payment: str | None = None) -> None:
        self.plan, self.places = list(plan.steps), list(plan.containers)
        self.same_request, self.payment = request, payment
        request()
        self.plan = []

    @rule(
        target=payments,
        amount=st.sampled_from([100, 200]),
        customer=st.integers(0, 5),
        key=st.none() | st.sampled_from(["key-1", "key-2", "key-3"]),
        caller=principals,
        waited=waits,
        plan=plans,
    )
    def validate(
        self,
        amount: int,
        customer: int,
        key: str | None,
        caller: str,
        waited: int | None,
        plan: Plan,
    ) -> MultipleResults[str]:
        ids: set[str] = set()

        def request() -> None:
            customer_id = self.customers[customer % len(self.customers)]
            answer = self.world.validate(amount, customer_id, key, caller, waited)
            if answer and "transaction_id" in answer.body:
                ids.add(answer.body["transaction_id"])

        self.run(plan, request)
        return multiple(*sorted(ids))

    @rule(
        payment=payments,
        caller=principals,
        waited=waits,
        plan=plans,
    )
    def process(self, payment: str, caller: str, waited: int | None, plan: Plan) -> None:
        self.run(plan, lambda: self.world.process(payment, caller, waited), payment)

    @rule(payment=payments, caller=principals, waited=waits, plan=plans)
    def cancel(self, payment: str, caller: str, waited: int | None, plan: Plan) -> None:
        self.run(plan, lambda: self.world.cancel(payment, caller, waited), payment)

    @rule(payment=payments, caller=principals, plan=plans)
    def look_up(self, payment: str, caller: str, plan: Plan) -> None:
        self.run(plan, lambda: self.world.look_up(payment, caller), payment)

    @rule(most=st.integers(1, 3), remaining_ms=st.sampled_from([60_000, 1_000]), plan=plans)
    def retry(self, most: int, remaining_ms: int, plan: Plan) -> None:
        self.run(plan, lambda: self.world.retry(most, remaining_ms))

    @rule(data=st.data(), plan=plans)
    def deliver_once_more(self, data: st.DataObject, plan: Plan) -> None:
        """SQS delivers a message again, perhaps long after it was deleted."""
        if self.world.queue.sent:
            message: Message = data.draw(st.sampled_from(self.world.queue.sent))
            self.run(plan, lambda: self.world.deliver([message]), message.about[1])

    @rule(away=st.sampled_from([frozenset(), frozenset({"SendMessage"})]), plan=plans)
    def scheduled_run(self, away: frozenset[str], plan: Plan) -> None:
        self.run(plan, lambda: self.world.scheduled_run(away))

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

    @rule(payment=payments)
    def a_later_release_extends_a_row(self, payment: str) -> None:
        extend(self.world, payment)

    @invariant()
    def no_rule_is_broken(self) -> None:
        check(violations(self.world))

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            self.patch.undo()

    def end(self) -> None:
        self.drain()
        self.world.advance(PAST_LEASE)  # of what a clock that is fast has let go
        check(ask_for_flawed(self.world))
        self.drain()

    def drain(self) -> None:
        self.world.drain(self.last)
        check(violations(self.world) + unended(self.world))


class ChangedPayments(Payments):
    """Persons, bugs and restores change rows too."""

    @rule(payment=Payments.payments, name=st.sampled_from(sorted(TAMPERINGS)))
    def a_row_is_tampered_with(self, payment: str, name: str) -> None:
        tamper(self.world, payment, name)

    @rule(payment=Payments.payments, name=st.sampled_from(sorted(SPOILINGS)))
    def a_row_is_spoiled(self, payment: str, name: str) -> None:
        spoil(self.world, payment, name)

    @rule(payment=Payments.payments, name=st.sampled_from(sorted(LOSSES)))
    def a_row_is_lost_from_the_index(self, payment: str, name: str) -> None:
        lose(self.world, payment, name)

    @rule(
        payment=Payments.payments,
        earlier=ages,
        seconds=st.sampled_from([60, KEY_RETENTION_SECONDS + 1]),
    )
    def a_row_is_rewound(self, payment: str, earlier: int, seconds: int) -> None:
        if not self.world.gateway.has_changed:  # a row of before it was begun does not say where
            self.world.advance(seconds)
            rewind(self.world, payment, earlier)
