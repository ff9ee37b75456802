"""The state machine's payments at a gateway in two steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import ClassVar, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.model.gateway import DECLINED_CUSTOMER, Finds
from tests.model.invocations import Container
from tests.model.machine import SETTINGS, ChangedPayments, Payments, Plan, plans
from tests.model.outcomes import pending
from tests.model.principals import SHOP, Access
from tests.model.release import CURRENT
from tests.model.services import VISIBILITY_TIMEOUT
from tests.model.two_step_gateway import (
    BANK_CUSTOMER,
    PENDING_CUSTOMER,
    REFUSED_CUSTOMER,
    StoredFailure,
    TwoStepGateway,
)

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
    )
    def first_payment(self, access: Access, finds: Finds, last: int, customer: str) -> str:
        return self.begin(access, finds, last, customer)

    def set_up(self) -> None:
        self.gateway: TwoStepGateway = self.world.two_step
        self.failures: list[StoredFailure | None] = []
        self.pays = cycle([True, False])
        self.gateway.fails = lambda _: self.failures.pop() if self.failures else None

    def gateway_goes_on(self) -> None:
        for payment in sorted(self.world.table.items):
            self.gateway.act(payment, pays=next(self.pays))

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


class ChangedTwoStepPayments(TwoStepPayments, ChangedPayments):
    """Persons, bugs and restores change rows too, and clocks are off."""

    containers: ClassVar[Sequence[Container]] = [
        Container(CURRENT, seconds) for seconds in (0, -60, 60)
    ]
