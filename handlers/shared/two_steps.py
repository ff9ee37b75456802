"""Charging at a gateway in two steps: its own payment is prepared, and then confirmed.

The id of the prepared one is stored before it is confirmed, and no other ever is. A gateway
captures its payment once, so an answer that was lost, or an attempt that was overtaken, is no
danger: whoever comes next fetches that payment, and goes on from what it says.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from handlers.shared.aws import logs, metrics
from handlers.shared.deadline import CALL_SECONDS, CHARGE_SECONDS
from handlers.shared.failures import OutcomeUnknown
from handlers.shared.flaws import OtherGateway, OtherPayment, Unreadable
from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayKeyFailed,
    GatewayPayment,
    NoCharge,
    NotCharged,
    Open,
    Pending,
)
from handlers.shared.money import Money
from handlers.shared.needs import refusal, units
from handlers.shared.states import PROCESSING
from handlers.shared.transactions import Transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handlers.shared.aws.store import Store
    from handlers.shared.deadline import Deadline
    from handlers.shared.gateway import Outcome, TwoStepGateway

# So many keys are tried to prepare a payment, each after a failure that the gateway has stored.
MAX_KEYS = 3

# How a payment has ended, or that others have to end it.
End = Charged | Declined | Pending | NotCharged


class Overtaken(Exception):
    """Another attempt holds the payment, or has ended it; row is what it says now."""

    def __init__(self, row: Mapping[str, object]) -> None:
        super().__init__()
        self.row = row


@dataclass(frozen=True)
class TwoSteps:
    """What charging in two steps works with."""

    gateway: TwoStepGateway
    store: Store
    deadline: Deadline

    def charge(self, claimed: Transaction) -> End:
        """Bring a claimed payment to an end, or to where somebody else has to act.

        Raises:
            OtherPayment: what the gateway has is not this payment.
            OutcomeUnknown: a restore took the row back, and the gateway cannot tell of it.
        """
        if claimed.gateway_id is not None and claimed.rewound is None:
            payment = self._fetch(claimed)
        else:
            made = self._begin(claimed)
            if isinstance(made, Declined):
                return made
            payment = made
        if isinstance(payment.outcome, Open):
            self.deadline.require(CHARGE_SECONDS)
            with metrics.timed(metrics.GATEWAY_LATENCY):
                payment = self.gateway.confirm(
                    payment.id,
                    idempotency_key=f"{claimed.attempt_id}-confirm",
                    return_url=claimed.return_url,
                )
            self._check(claimed, payment, payment.id)
        if isinstance(payment.outcome, Open):
            raise OutcomeUnknown("NotConfirmed")
        return self.end(payment, claimed)

    def look(self, transaction: Transaction) -> End:
        """Return what the gateway says of a payment whose id the row has; nothing is confirmed."""
        return self._seen(self._fetch(transaction), transaction)

    def hear(self, transaction: Transaction, payment: GatewayPayment) -> End | None:
        """Return what the gateway's payment, as it is now, says of a row that was read; nothing is
        confirmed.

        None if it says nothing that is for good of a payment in processing: whoever claimed that
        asks for himself. Raises OtherPayment, OtherGateway, or OutcomeUnknown.
        """
        self._check(transaction, payment, transaction.gateway_id or "")
        for_good = isinstance(payment.outcome, Charged | NotCharged)
        if transaction.status == PROCESSING and not for_good:
            return None
        return self._seen(payment, transaction)

    def ask(self, transaction: Transaction) -> GatewayPayment | NoCharge:
        """Return what the gateway has of a payment, by the id that its row has, or else by its own
        transaction_id, as for one that a restore took back, which may have had another. Nothing is
        changed.

        Raises OtherPayment, or OutcomeUnknown if that cannot be told.
        """
        if transaction.gateway_id is not None and transaction.rewound is None:
            return self._fetch(transaction)
        found = self._find(transaction)
        if found is None and transaction.gateway_id is not None:
            raise OtherPayment("gateway_id")
        if found is None:
            return NoCharge()
        self._check(transaction, found, transaction.gateway_id or found.id)
        return found

    def capture(self, transaction: Transaction, payment_id: str) -> GatewayPayment:
        """Return the gateway's payment of this id, which is to be a capture of this one: for a row
        that has no id, or that a restore took back. Nothing is changed.

        Raises OtherPayment, or OutcomeUnknown if it is not captured.
        """
        if transaction.gateway_id not in {None, payment_id}:
            raise OtherPayment("gateway_id")
        found = self._fetch(replace(transaction, gateway_id=payment_id))
        if found.transaction_id != transaction.transaction_id:
            raise OtherPayment("transaction_id")
        if not isinstance(found.outcome, Charged):
            raise OutcomeUnknown("NotCaptured")
        return found

    def end(self, payment: GatewayPayment, transaction: Transaction) -> End:
        """Return how a payment has ended. One that failed can still be paid, so it is canceled."""
        declined = payment.outcome
        if not isinstance(declined, Declined):
            return _known(declined)
        canceled = self._cancel(payment, transaction).outcome
        if isinstance(canceled, NotCharged):
            return declined
        if isinstance(canceled, Open | Declined):
            raise OutcomeUnknown("NotCanceled")
        return _known(canceled)

    def cancel(self, transaction: Transaction) -> End:
        """Cancel what the gateway has of a payment, unless it has ended; return what it is then.

        Where the gateway certainly has nothing, it is canceled too. One that cannot be canceled now
        is pending. Raises OutcomeUnknown if it cannot be told, or had failed and can still be paid.
        """
        payment = self.ask(transaction)
        if isinstance(payment, NoCharge):
            return NotCharged()
        if isinstance(payment.outcome, Open | Pending):
            payment = self._cancel(payment, transaction)
        if isinstance(payment.outcome, Open):
            return Pending()
        return self.end(payment, transaction)

    def find_capture(self, row: Mapping[str, object]) -> str | None:
        """Return the reference of a capture of the payment whose id a row has, if it has one."""
        if "gateway_id" not in row:
            return None
        match self._fetch(Transaction.as_read(row)).outcome:
            case Charged(str(reference)):
                return reference
        return None

    def _begin(self, claimed: Transaction) -> GatewayPayment | Declined:
        """Prepare a payment, or find the one that there is, and store its id."""
        # What was begun otherwise, or may have been before a restore, is never prepared.
        if claimed.rewound is not None or claimed.was_charged_in_one_step:
            payment = self._find(claimed)
            if payment is None and claimed.gateway_id is not None:
                raise OtherPayment("gateway_id")
            if payment is None:
                return Declined("not_found_at_gateway", another_method=True)
        else:
            refused = refusal(self.gateway, claimed)
            if refused:
                return refused
            made = self._prepare(claimed)
            if isinstance(made, Declined):
                return made
            payment = made
        # A restore may have lost a row that had another one, which counts if that was charged.
        self._check(claimed, payment, claimed.gateway_id or payment.id)
        write = self.store.note_id(claimed, payment.id, self.deadline.clock())
        if not write.done:
            raise Overtaken(write.row)
        self.deadline.require(CALL_SECONDS)  # to write down what it may have come to already
        return payment

    def _prepare(self, claimed: Transaction) -> GatewayPayment | Declined:
        """Prepare a payment with the key that every attempt uses; with the next one after a failure
        that the gateway has stored, since a payment that nobody confirms moves no money."""
        key = claimed.transaction_id
        for number in range(MAX_KEYS):
            self.deadline.require(CHARGE_SECONDS)
            try:
                with metrics.timed(metrics.GATEWAY_LATENCY):
                    return self.gateway.prepare(
                        claimed, idempotency_key=f"{key}-{number}" if number else key
                    )
            except GatewayKeyFailed as failure:
                logs.error(
                    "payment not prepared",
                    transaction_id=claimed.transaction_id,
                    code=failure.code,
                    key=number,
                )
                failed = failure
        raise failed

    def _find(self, claimed: Transaction) -> GatewayPayment | None:
        self.deadline.require(CHARGE_SECONDS)
        with metrics.timed(metrics.GATEWAY_LATENCY):
            found = self.gateway.find(claimed)
        if found is None:
            raise OutcomeUnknown
        return None if isinstance(found, NoCharge) else found

    def _fetch(self, transaction: Transaction) -> GatewayPayment:
        payment_id = transaction.gateway_id
        if not payment_id:
            raise Unreadable("gateway_id")
        self.deadline.require(CHARGE_SECONDS)
        with metrics.timed(metrics.GATEWAY_LATENCY):
            payment = self.gateway.fetch(payment_id)
        self._check(transaction, payment, payment_id)
        return payment

    def _cancel(self, payment: GatewayPayment, transaction: Transaction) -> GatewayPayment:
        """Cancel a payment, each time with a key of its own: a failure that the gateway has stored
        would be repeated, and a second cancellation does nothing."""
        self.deadline.require(CHARGE_SECONDS)
        with metrics.timed(metrics.GATEWAY_LATENCY):
            canceled = self.gateway.cancel(payment.id, idempotency_key=str(uuid.uuid4()))
        self._check(transaction, canceled, payment.id)
        return canceled

    def _seen(self, payment: GatewayPayment, transaction: Transaction) -> End:
        if isinstance(payment.outcome, Open):
            return Pending()
        return self.end(payment, transaction)

    def _check(self, transaction: Transaction, payment: GatewayPayment, payment_id: str) -> None:
        """Make sure that the gateway's payment is the row's, before anybody relies on it."""
        if not isinstance(payment, GatewayPayment):
            raise TypeError("a gateway in two steps answers with a GatewayPayment")
        if not isinstance(payment.id, str) or not payment.id:
            raise TypeError("the id of a GatewayPayment is a text that is not empty")
        if payment.id != payment_id:
            raise OtherPayment("gateway_id")
        if payment.transaction_id not in {None, transaction.transaction_id}:
            raise OtherPayment("transaction_id")
        money = Money(transaction.amount_minor, transaction.currency)
        if payment.currency != money.currency:
            raise OtherPayment("currency")
        if payment.amount != units(self.gateway, money):
            raise OtherPayment("amount")
        if payment.account != (transaction.gateway_account or self.gateway.account):
            raise OtherGateway("gateway_account")
        if payment.mode != (transaction.gateway_mode or self.gateway.mode):
            raise OtherGateway("gateway_mode")


def _known(outcome: Outcome) -> End:
    """Return an outcome that goes no further by itself."""
    if isinstance(outcome, Charged | Pending | NotCharged):
        return outcome
    raise OutcomeUnknown("NotEnded")
