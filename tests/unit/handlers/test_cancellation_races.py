"""Cancellations beside charges, looks and customers: a canceled payment is never captured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from handlers import validation
from handlers.shared.gateway import Charged, GatewayPayment, Open, Pending
from tests.interleaving import Turns
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    call,
    cancel,
    deliver,
    load_event,
    process,
    to_process,
)
from tests.unit.handlers.two_steps import PENDING, ToldGateway, use

if TYPE_CHECKING:
    from collections.abc import Callable

    from handlers.shared.gateway import Outcome

CHARGED = Charged("ch-1")


class RacingGateway(ToldGateway):
    """Ends a payment once, and lets another action go before each call."""

    before_call: Callable[[], object] = staticmethod(lambda: None)

    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        self._asked("confirm", payment_id)
        if isinstance(self.payments[payment_id].outcome, Open):
            self.come_to(payment_id, self.confirmed or CHARGED)
        return self.payments[payment_id]

    def pay(self, payment_id: str) -> None:
        """Do what the customer has to do for a pending payment."""
        self.before_call()
        if payment_id in self.payments and isinstance(self.payments[payment_id].outcome, Pending):
            self.come_to(payment_id, CHARGED)

    def outcome(self, payment_id: str) -> Outcome | None:
        """Return what a payment has come to, None if it was never prepared."""
        payment = self.payments.get(payment_id)
        return payment.outcome if payment else None

    def _asked(self, name: str, key: str) -> None:
        self.before_call()
        super()._asked(name, key)


@pytest.mark.parametrize(
    ("confirmed", "is_pending", "ends"),
    [
        (PENDING, False, {"canceled", "processed", "pending"}),
        (CHARGED, False, {"canceled", "processed"}),
        (PENDING, True, {"canceled", "processed"}),
    ],
)
def test_in_whatever_order_they_come_a_canceled_payment_is_not_captured(
    aws: Aws,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    confirmed: Outcome,
    is_pending: bool,
    ends: set[str],
) -> None:
    reached = set()
    for seed in range(40):
        gateway = RacingGateway(confirmed)
        use(monkeypatch, gateway)
        reached.add(_race(aws, gateway, seed, is_pending=is_pending))
    assert reached == ends


def _race(aws: Aws, gateway: RacingGateway, seed: int, *, is_pending: bool) -> str:
    """Let all go for one payment at once, and once more after that; return how it has ended."""
    body = {"amount": 100.50, "currency": "USD", "customer_id": "c", "payment_method": "pm_1"}
    answer = call(validation.handler, load_event("validate", body=json.dumps(body)))
    transaction_id = str(answer.body["transaction_id"])
    if is_pending:
        process(transaction_id)
    answers: list[Any] = []

    def ask() -> None:
        answers.append(cancel(transaction_id))

    turns = Turns(seed)
    aws.dynamodb.before_update = gateway.before_call = turns.wait
    raised = turns.run(
        ask,
        ask,
        lambda: process(transaction_id),
        lambda: deliver(to_process(transaction_id)),
        lambda: gateway.pay(f"pay-{transaction_id}"),
    )
    assert raised == [None] * len(raised)
    aws.dynamodb.before_update = gateway.before_call = lambda: None
    assert deliver(to_process(transaction_id)) == []
    status = str(aws.dynamodb.items[transaction_id]["status"]["S"])
    is_charged = isinstance(gateway.outcome(f"pay-{transaction_id}"), Charged)
    assert (status == "processed") is is_charged
    assert {answer.status for answer in answers} <= {200, 409}
    if any(answer.status == 200 for answer in answers):
        assert status == "canceled"
    return status
