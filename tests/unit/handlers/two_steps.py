"""A payment gateway in two steps that says what a test tells it to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayPayment,
    NoCharge,
    NotCharged,
    Open,
    Outcome,
    Pending,
)

if TYPE_CHECKING:
    import pytest

    from handlers.shared.transactions import Transaction

NEXT_ACTION = "https://gateway.example/authenticate/canary-secret"


class ToldGateway:
    """Holds the payments that were prepared, by id; a confirmed one comes to `confirmed`.

    `calls` are the names of what it was asked, with the id or the key.
    """

    NEEDS: ClassVar = frozenset({"payment_method"})
    account = "acct_1"
    mode = "test"

    def __init__(self, confirmed: Outcome | None = None) -> None:
        self.confirmed = confirmed
        self.payments: dict[str, GatewayPayment] = {}
        self.calls: list[tuple[str, str]] = []
        self.failures: dict[str, Exception] = {}
        self.found: GatewayPayment | NoCharge | None = None

    @staticmethod
    def digits(currency: str) -> int | None:
        return {"USD": 2, "ISK": 2, "MGA": 0}.get(currency)

    def prepare(self, transaction: Transaction, idempotency_key: str) -> GatewayPayment | Declined:
        self._asked("prepare", idempotency_key)
        payment = GatewayPayment(
            id=f"pay-{transaction.transaction_id}",
            amount=transaction.amount_minor * (100 if transaction.currency == "ISK" else 1),
            currency=transaction.currency,
            account=self.account,
            mode="test",
            outcome=Open(),
        )
        return self.payments.setdefault(payment.id, payment)

    def fetch(self, payment_id: str) -> GatewayPayment:
        self._asked("fetch", payment_id)
        return self.payments[payment_id]

    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        self._asked("confirm", payment_id)
        self.come_to(payment_id, self.confirmed or Charged(f"ch-{payment_id}"))
        return self.payments[payment_id]

    def cancel(self, payment_id: str, idempotency_key: str) -> GatewayPayment:
        self._asked("cancel", payment_id)
        if not isinstance(self.payments[payment_id].outcome, Charged):
            self.come_to(payment_id, NotCharged())
        return self.payments[payment_id]

    def find(self, transaction: Transaction) -> GatewayPayment | NoCharge | None:
        self._asked("find", transaction.transaction_id)
        return self.found

    def come_to(self, payment_id: str, outcome: Outcome) -> None:
        """Let a payment come to an outcome at the gateway."""
        self.payments[payment_id] = replace(self.payments[payment_id], outcome=outcome)

    def asked(self) -> list[str]:
        """Return the names of what it was asked, and forget them."""
        names = [name for name, _ in self.calls]
        self.calls.clear()
        return names

    def _asked(self, name: str, key: str) -> None:
        self.calls.append((name, key))
        if failure := self.failures.pop(name, None):
            raise failure


def use(monkeypatch: pytest.MonkeyPatch, gateway: ToldGateway) -> ToldGateway:
    """Make it the gateway that the functions find."""
    monkeypatch.setattr("handlers.shared.aws.clients.gateway", lambda: gateway)
    monkeypatch.setattr("handlers.shared.aws.clients.gateway_class", lambda: type(gateway))
    return gateway


PENDING = Pending(NEXT_ACTION)
