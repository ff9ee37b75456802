"""What a notification of the gateway is: a hint to fetch the payment, and write down how it ended.

Nothing that a notification says is relied on. So it may come twice, late, early or out of order:
the gateway is asked what is true now, and a write has the conditions of any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from handlers.shared.aws import metrics
from handlers.shared.charging import report
from handlers.shared.deadline import CALL_SECONDS, CHARGE_SECONDS
from handlers.shared.failures import DependencyFailed
from handlers.shared.fields import InvalidField, parse_transaction_id
from handlers.shared.flaws import Flawed
from handlers.shared.gateway import Charged, GatewayPayment, marks_of
from handlers.shared.recording import compare, count_capture, record
from handlers.shared.states import PENDING, PROCESSING, SETTLED
from handlers.shared.transactions import Transaction
from handlers.shared.two_steps import TwoSteps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handlers.shared.aws.store import Store
    from handlers.shared.deadline import Deadline
    from handlers.shared.gateway import NotifyingGateway


class NotYet(DependencyFailed):
    """The payment is being taken further at this moment: the notification is of use later."""

    reason = "not_yet"


@dataclass(frozen=True)
class Hints:
    """What following a notification works with."""

    gateway: NotifyingGateway
    store: Store
    deadline: Deadline

    def follow(self, payment_id: str) -> str | None:
        """Fetch a payment by the gateway's id, and see to it that how it ended is written down, or
        that somebody looks after it.

        Returns its transaction_id, None if it is none of this API's.

        Raises:
            DependencyFailed: it may be neither, so the notification has to come again.
        """
        # To fetch it and to write down what it came to, and to read the row in between.
        self.deadline.require(CHARGE_SECONDS + CALL_SECONDS)
        with metrics.timed(metrics.GATEWAY_LATENCY):
            payment = self.gateway.fetch(payment_id)
        if not isinstance(payment, GatewayPayment) or payment.id != payment_id:
            raise TypeError("a gateway answers with the payment that was asked for")
        try:
            transaction_id = parse_transaction_id(payment.transaction_id)
        except InvalidField:
            return None
        row = self.store.read(transaction_id)
        status = row.get("status")
        if status in {PROCESSING, PENDING} and row.get("gateway_id") == payment.id:
            self._settle(transaction_id, row, payment)
        elif isinstance(payment.outcome, Charged):
            self._contradict(transaction_id, row, payment.outcome.reference)
        return transaction_id

    def _settle(
        self, transaction_id: str, row: Mapping[str, object], payment: GatewayPayment
    ) -> None:
        """Write down how a payment ended that its row has, if it has."""
        try:
            marks_of(self.gateway).check(row)
            transaction = Transaction.as_read(row)
            end = TwoSteps(self.gateway, self.store, self.deadline).hear(transaction, payment)
        except Flawed as flaw:
            report(transaction_id, flaw)
            return
        if end is None:
            return
        recorded = record(self.store, transaction, end, self.deadline.clock())
        if recorded.write.done:
            return
        # Somebody else has taken it further since it was read.
        row = recorded.write.row
        if row.get("status") not in SETTLED:
            raise NotYet(str(row.get("status")))
        if recorded.captured is not None:
            compare(self.store, transaction_id, recorded.captured, row, self.deadline.clock())

    def _contradict(self, transaction_id: str, row: Mapping[str, object], reference: str) -> None:
        """Count a capture of a payment whose row says nothing of it."""
        status = row.get("status")
        if status == PROCESSING and "gateway_id" not in row:
            # Its id may be stored at this moment: after a restore the payment is looked for.
            raise NotYet(PROCESSING)
        if not row or status in SETTLED:
            compare(self.store, transaction_id, reference, row, self.deadline.clock())
        else:
            count_capture(
                "capture is not the one on record", transaction_id, reference, status=status
            )
