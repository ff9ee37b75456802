"""The state machine's payments at a gateway in two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import ClassVar, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from handlers.shared.states import CANCELED, DECLINED
from tests.model.gateway import DECLINED_CUSTOMER, Finds
from tests.model.hands import end
from tests.model.happenings import Plan, plans
from tests.model.invariants import check, unseen_captures
from tests.model.invocations import Container
from tests.model.machine import SETTINGS, ChangedPayments, Payments
from tests.model.made import BANK_CUSTOMER, PENDING_CUSTOMER, REFUSED_CUSTOMER
from tests.model.notices import Forgery, Notice
from tests.model.outcomes import pending
from tests.model.principals import SHOP, Access
from tests.model.release import CURRENT
from tests.model.services import VISIBILITY_TIMEOUT
from tests.model.two_step_gateway import StoredFailure, TwoStepGateway

TWO_STEP_SETTINGS = settings(SETTINGS, max_examples=200)


class TwoStepPayments(Payments):
    """The gateway stores failures, its payments wait for customers, and for one request it is
    another account, or cannot be had."""

    two_steps: ClassVar[bool] = True
    customers: ClassVar[Sequence[str]] = (
        "customer",
        DECLINED_CUSTOMER,
        PENDING_CUSTOMER,
        BANK_CUSTOMER,
        REFUSED_CUSTOMER,
    )

    @initialize(
        target=Payments.payments,
        access=st.sampled_from(get_args(Access)),
        finds=st.sampled_from(Finds),
        last=st.integers(0, 5),
        customer=st.sampled_from(["customer", DECLINED_CUSTOMER, PENDING_CUSTOMER, BANK_CUSTOMER]),
        arrives=st.booleans(),
    )
    def first_payment(
        self, access: Access, finds: Finds, last: int, customer: str, *, arrives: bool
    ) -> str:
        self.arrives = arrives
        return self.begin(access, finds, last, customer)

    def set_up(self) -> None:
        self.gateway: TwoStepGateway = self.world.two_step
        self.failures: list[StoredFailure | None] = []
        self.world.is_notified = self.arrives
        self.pays = cycle([True, False])
        self.gateway.fails = lambda _: self.failures.pop() if self.failures else None

    def gateway_goes_on(self) -> None:
        for payment in sorted(self.world.table.items):
            self.gateway.act(payment, pays=next(self.pays))

    def gateway_notifies(self) -> None:
        if self.gateway.notices:
            self.world.notify(self.gateway.notices[-1])

    @rule(data=st.data(), plan=plans)
    def gateway_events(self, data: st.DataObject, plan: Plan) -> None:
        """A notification comes: for the first time or once more, soon or days later."""
        if self.gateway.notices:
            notice: Notice = data.draw(st.sampled_from(self.gateway.notices))
            self.run(plan, lambda: self.world.notify(notice), notice.transaction_id)

    @rule(data=st.data(), forgery=st.sampled_from(Forgery))
    def somebody_forges_a_notification(self, data: st.DataObject, forgery: Forgery) -> None:
        if self.gateway.notices:
            self.without_a_call(data, lambda notice: self.world.notify(notice, forgery), 400)

    @rule(data=st.data())
    def a_notification_comes_while_payments_are_stopped(self, data: st.DataObject) -> None:
        if self.gateway.notices:
            self.without_a_call(data, lambda notice: self.world.notify(notice, stopped=True), 503)

    def without_a_call(
        self, data: st.DataObject, notify: Callable[[Notice], int | None], status: int
    ) -> None:
        """A notification is refused before anybody is asked of anything."""
        calls = self.world.network.called.total()
        assert notify(data.draw(st.sampled_from(self.gateway.notices))) == status
        assert self.world.network.called.total() == calls

    @rule(payment=Payments.payments, pays=st.booleans())
    def a_customer_acts(self, payment: str, *, pays: bool) -> None:
        self.gateway.act(payment, pays=pays)

    @rule(
        payment=Payments.payments,
        failures=st.lists(st.none() | st.sampled_from(StoredFailure), min_size=1, max_size=5),
        plan=plans,
    )
    def process_while_failures_are_stored(
        self, payment: str, failures: list[StoredFailure | None], plan: Plan
    ) -> None:
        self.failures = failures
        self.run(plan, lambda: self.world.process(payment, SHOP), payment)
        self.failures = []

    @rule(payment=Payments.payments, plan=plans)
    def process_and_retry(self, payment: str, plan: Plan) -> None:
        self.process(payment, SHOP, None, plan)
        self.world.advance(VISIBILITY_TIMEOUT.total_seconds())
        self.world.retry()

    @precondition(lambda self: not self.world.ledger.rewound)
    @rule(payment=Payments.payments, plan=plans)
    def another_account_is_configured_for_a_while(self, payment: str, plan: Plan) -> None:
        self.gateway.change_account("account-2")
        self.process_and_retry(payment, plan)
        self.scheduled_run(frozenset(), Plan())
        self.world.retry()
        self.gateway.change_account("account-1")

    @rule(payment=Payments.payments)
    def the_secret_is_away_for_a_while(self, payment: str) -> None:
        self.gateway.is_away = True
        self.process_and_retry(payment, Plan())
        self.gateway.is_away = False

    def end(self) -> None:
        super().end()
        for payment in sorted(pending(self.world)):
            self.gateway.act(payment, pays=True)
        self.drain()
        for notice in self.gateway.notices:
            self.world.notify(notice)
        self.drain()
        check(unseen_captures(self.world))


class ChangedTwoStepPayments(TwoStepPayments, ChangedPayments):
    """Persons, bugs and restores change rows too, and end payments, and clocks are off."""

    containers: ClassVar[Sequence[Container]] = [
        Container(CURRENT, seconds) for seconds in (0, -60, 60)
    ]

    @rule(payment=Payments.payments, status=st.sampled_from([DECLINED, CANCELED]))
    def a_row_is_ended_by_hand(self, payment: str, status: str) -> None:
        end(self.world, payment, status)
