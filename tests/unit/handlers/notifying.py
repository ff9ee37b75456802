"""A gateway in two steps that notifies, in memory: it does what a test tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Literal

from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayPayment,
    Mode,
    Need,
    NotCharged,
    Open,
    Outcome,
    Pending,
)
from handlers.shared.money import MINOR_DIGITS
from handlers.shared.notifications import Notification, check_signature

if TYPE_CHECKING:
    from handlers.shared.transactions import Transaction

SECRET, OLD_SECRET = "whsec-one", "whsec-before"
HEADER = "fake-signature"


@dataclass
class NotifyingGateway:
    """Answers `confirm` with what `confirmed` says, and knows what it was asked for.

    The body of a notification is the payment's id, or nothing for one of no concern; with
    "@ACCOUNT" or "#MODE" behind it, it is of that.
    """

    NEEDS: ClassVar[frozenset[Need]] = frozenset()

    account: str = "acct-1"
    mode: Mode = "test"
    confirmed: Outcome = field(default_factory=lambda: Pending("https://bank.example/secret-url"))
    payments: dict[str, GatewayPayment] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    raised: BaseException | None = None

    @staticmethod
    def digits(currency: str) -> int | None:
        return MINOR_DIGITS.get(currency)

    def prepare(self, transaction: Transaction, idempotency_key: str) -> GatewayPayment:
        self.calls.append(("prepare", idempotency_key))
        made = GatewayPayment(
            id=f"pay-{len(self.payments) + 1}",
            amount=transaction.amount_minor,
            currency=transaction.currency,
            account=self.account,
            mode=self.mode,
            outcome=Open(),
            transaction_id=transaction.transaction_id,
        )
        self.payments[made.id] = made
        return made

    def fetch(self, payment_id: str) -> GatewayPayment:
        return self._asked("fetch", payment_id)

    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        self.becomes(self.confirmed, payment_id)
        return self._asked("confirm", payment_id)

    def cancel(self, payment_id: str, idempotency_key: str) -> GatewayPayment:
        outcome = self.payments[payment_id].outcome
        if not isinstance(outcome, Charged | NotCharged):
            self.becomes(
                NotCharged(outcome.reason if isinstance(outcome, Declined) else None), payment_id
            )
        return self._asked("cancel", payment_id)

    def find(self, transaction: Transaction) -> None:
        self.calls.append(("find", transaction.transaction_id))

    def notification(
        self, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> Notification | None:
        check_signature(headers.get(HEADER), body, (SECRET, OLD_SECRET), now)
        if not body:
            return None
        payment_id, _, mode = body.decode().partition("#")
        payment_id, _, account = payment_id.partition("@")
        return Notification(payment_id, account or None, mode or None)

    def becomes(self, outcome: Outcome, payment_id: str = "pay-1", **changes: object) -> None:
        """Let a payment be so from now on."""
        self.payments[payment_id] = replace(
            self.payments[payment_id],
            outcome=outcome,
            **changes,  # type: ignore[arg-type]
        )

    def asked(self, method: Literal["fetch", "confirm", "cancel"]) -> int:
        """How often a method was called."""
        return sum(name == method for name, _ in self.calls)

    def _asked(self, method: str, payment_id: str) -> GatewayPayment:
        self.calls.append((method, payment_id))
        if self.raised is not None:
            raise self.raised
        return self.payments[payment_id]
