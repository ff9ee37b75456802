"""What a person has done about one payment: its gateway asked, what that says written, or the
payment canceled.

A person reads what the gateway says, and agrees to what is written; by then it may be otherwise.
So what was agreed to comes with the order, the gateway is asked once more, and the row is written
by the conditions that every attempt has: a payment in processing is claimed first.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from handlers.shared.aws import logs, metrics
from handlers.shared.aws.table import StoreUnavailable
from handlers.shared.callers import Claimant
from handlers.shared.charging import MAX_LEASE_AHEAD_SECONDS
from handlers.shared.clock import epoch_seconds
from handlers.shared.deadline import CALL_SECONDS
from handlers.shared.failures import OutcomeUnknown
from handlers.shared.flaws import Flawed, OtherGateway, Unreadable
from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayPayment,
    NoCharge,
    NotCharged,
    Pending,
    in_two_steps,
    marks_of,
)
from handlers.shared.known import NotDone, check_ended, described
from handlers.shared.marks import Marks
from handlers.shared.one_step import OneStep
from handlers.shared.recording import compare, record
from handlers.shared.states import ASIDE_KEYS, CANCELED, PENDING, PROCESSING, SETTLED, VALIDATED
from handlers.shared.transactions import Transaction
from handlers.shared.two_steps import TwoSteps

if TYPE_CHECKING:
    from handlers.shared.aws.store import Store
    from handlers.shared.deadline import Deadline
    from handlers.shared.gateway import AnyGateway, Gateway
    from handlers.shared.known import Known, Told
    from handlers.shared.two_steps import End

SYSTEM = Claimant(None)


@dataclass(frozen=True)
class Hand:
    """What an order works with."""

    store: Store
    gateway: AnyGateway
    deadline: Deadline

    def ask(self, transaction_id: str, capture: str | None = None) -> Told:
        """Return the row's status, what the gateway says, how the row is flawed, if it is, and
        what is in the way of settling it, if anything is.

        A payment of another gateway's is asked of nobody. Nothing is changed, here or there.

        Args:
            transaction_id: of the payment.
            capture: the gateway's id of a capture of it, as the gateway has listed it, where the
                row has no id.

        Raises NotDone, Flawed or DependencyFailed.
        """
        row = self._read(transaction_id)
        elsewhere = self._elsewhere(row)
        transaction = Transaction.as_read(row) if elsewhere else self._ours(row)
        found = None if elsewhere else self._ask(transaction, capture)
        told: Told = {"status": transaction.status, "gateway": described(found)}
        try:
            self._check_free(transaction)
            if elsewhere:
                raise NotDone(OtherGateway.reason, elsewhere)
            check_ended(found)
        except NotDone as obstacle:
            told["obstacle"] = {"code": obstacle.code, "about": obstacle.about}
        try:
            Transaction.payable(row)
        except Flawed as flaw:
            told["flaw"] = {"code": flaw.reason, "about": flaw.attribute}
        return told

    def settle(
        self,
        transaction_id: str,
        agreed: object,
        known: End | None = None,
        capture: str | None = None,
    ) -> Told:
        """Write down what the gateway says, if it still is what somebody has agreed to.

        Args:
            transaction_id: of the payment.
            agreed: what `ask` has returned of the gateway.
            known: what a person knows of the payment, where the gateway itself cannot tell, as of
                one that was begun elsewhere, or may have been.
            capture: as for `ask`.

        Raises:
            NotDone: nothing was written, and the gateway was not changed.
            Flawed: the row is not a payment's, or was begun elsewhere, and nothing is known.
            DependencyFailed: something did not answer; whether it was written is unknown.
        """
        row = self._read(transaction_id)
        elsewhere = known is not None and self._elsewhere(row) is not None
        read = Transaction.as_read(row) if elsewhere else self._ours(row)
        self._check_free(read)

        def end(transaction: Transaction) -> End:
            found = None if elsewhere else self._ask(transaction, capture)
            if described(found) != agreed:
                raise NotDone("changed")
            return self._end(transaction, found, known)

        return {"status": self._write(read, row, end)}

    def cancel(self, transaction_id: str) -> Told:
        """Cancel a payment that is not charged, at the gateway first if it may have it; return the
        status that it has then.

        Unlike a client, a person may cancel one in processing that no attempt holds. Raises as
        `settle` does, but the gateway may have canceled by then.
        """
        row = self._read(transaction_id)
        read = self._ours(row)
        if read.status == CANCELED:
            return {"status": CANCELED}
        if read.status == VALIDATED and read.rewound is None:
            now = self.deadline.clock()
            if not self.store.cancel_validated(transaction_id, SYSTEM, now).done:
                raise NotDone("changed")
            metrics.count(metrics.CANCELED)
            return {"status": CANCELED}
        self._check_free(read)
        if not in_two_steps(self.gateway):
            raise NotDone("in_one_step")
        return {"status": self._write(read, row, self._withdraw)}

    def _read(self, transaction_id: str) -> Mapping[str, object]:
        self.deadline.require(CALL_SECONDS)
        row = self.store.read(transaction_id)
        if not row:
            raise NotDone("not_found")
        return row

    def _elsewhere(self, row: Mapping[str, object]) -> str | None:
        """Return the attribute by which a payment is another gateway's, None if none says so."""
        try:
            marks_of(self.gateway).check(row)
            self.store.check(row)
        except OtherGateway as other:
            return other.attribute
        return None

    def _ours(self, row: Mapping[str, object]) -> Transaction:
        """Return the transaction of a row that this gateway can tell of."""
        transaction = Transaction.as_read(row)
        if (attribute := self._elsewhere(row)) is not None:
            raise OtherGateway(attribute)
        if not in_two_steps(self.gateway):
            if transaction.gateway_id is not None:
                raise OtherGateway("gateway_id")
        elif transaction.was_charged_in_one_step and transaction.gateway is None:
            raise OtherGateway("gateway")
        elif transaction.status == PENDING and transaction.gateway_id is None:
            raise Unreadable("gateway_id")
        return transaction

    def _ask(self, transaction: Transaction, capture: str | None = None) -> Known:
        """Return what the gateway has; None if it cannot tell."""
        if capture is None and self._has_none(transaction):
            return NoCharge()
        try:
            if capture is not None and in_two_steps(self.gateway):
                return TwoSteps(self.gateway, self.store, self.deadline).capture(
                    transaction, capture
                )
            if in_two_steps(self.gateway):
                return TwoSteps(self.gateway, self.store, self.deadline).ask(transaction)
            return OneStep(cast("Gateway", self.gateway), self.deadline).ask(transaction)
        except OutcomeUnknown:
            return None

    def _has_none(self, transaction: Transaction) -> bool:
        """Whether no gateway can have charged: nobody began, or what two steps prepare was never
        confirmed, since no id of it is stored."""
        if transaction.rewound is not None or transaction.gateway_id is not None:
            return False
        if in_two_steps(self.gateway):
            return not transaction.was_charged_in_one_step
        return transaction.status == VALIDATED

    def _check_free(self, read: Transaction) -> None:
        """Raise unless the payment was begun, or may have been, and no attempt holds it."""
        if read.status in SETTLED:
            raise NotDone("settled", read.status)
        if read.status == VALIDATED:
            if read.rewound is None:
                raise NotDone("validated")
            return
        if read.status == PENDING:
            return
        if read.status != PROCESSING:
            raise Unreadable("status")
        now = epoch_seconds(self.deadline.clock())
        lease_end = read.lease_expires_at
        if lease_end is None or lease_end > now + MAX_LEASE_AHEAD_SECONDS:
            raise Unreadable("lease_expires_at")
        if lease_end >= now:
            raise NotDone("held", lease_end - now + 1)

    def _claim(self, row: Mapping[str, object], attempt_id: str) -> Transaction:
        """Claim a payment, for the gateway whose it is: if its end is not written then, it still is
        nobody else's."""
        store, marks, two_steps = self.store, marks_of(self.gateway), in_two_steps(self.gateway)
        if self._elsewhere(row) is not None:
            validated_for = str(row.get("validated_for", ""))
            names = ("gateway", "gateway_account", "gateway_mode")
            gateway, account, mode = (cast("str | None", row.get(name)) for name in names)
            store, two_steps = store.of(validated_for), True
            marks = Marks(gateway or validated_for, account, mode)
        claim = store.claim(
            str(row["transaction_id"]),
            attempt_id,
            SYSTEM,
            self.deadline.clock(),
            marks,
            two_steps=two_steps,
        )
        if not claim.done:
            raise NotDone("changed")
        return Transaction.from_record(claim.row)

    def _write(
        self, read: Transaction, row: Mapping[str, object], end: Callable[[Transaction], End]
    ) -> str:
        """Write how a payment has ended, as the gateway says; return its status then.

        One in processing is claimed before the gateway is asked, and let go if that comes to
        nothing, to where it was in the index.
        """
        if read.status == PENDING:
            return self._record(read, end(read))
        attempt_id = str(uuid.uuid4())
        try:
            claimed = self._claim(row, attempt_id)
            return self._record(claimed, end(claimed))
        except BaseException:
            self._let_go(read.transaction_id, attempt_id, row.get("in_flight"))
            raise

    def _record(self, transaction: Transaction, end: End) -> str:
        now = self.deadline.clock()
        recorded = record(self.store, transaction, end, now, on_request=True)
        if recorded.write.done:
            return recorded.standing.status
        if recorded.captured is not None:
            reference, row = recorded.captured, recorded.write.row
            compare(self.store, transaction.transaction_id, reference, row, now)
        raise NotDone("changed")

    def _withdraw(self, transaction: Transaction) -> End:
        """Cancel a payment at the gateway; return what it is then."""
        found = self._ask(transaction)
        if found is None:
            raise NotDone("unknown")
        if not isinstance(found, GatewayPayment) or not in_two_steps(self.gateway):
            return NotCharged()
        transaction = self._with_id(transaction, found.id)
        try:
            end = TwoSteps(self.gateway, self.store, self.deadline).cancel(transaction)
        except OutcomeUnknown as unknown:
            raise NotDone("not_cancelable") from unknown
        if isinstance(end, Pending):
            raise NotDone("not_cancelable")
        return end

    def _with_id(self, transaction: Transaction, gateway_id: str) -> Transaction:
        """Store the gateway's id of a payment that is claimed, if its row has none."""
        if transaction.gateway_id is not None:
            return transaction
        if not self.store.note_id(transaction, gateway_id, self.deadline.clock()).done:
            raise NotDone("changed")
        return replace(transaction, gateway_id=gateway_id)

    def _end(self, transaction: Transaction, found: Known, known: End | None) -> End:
        """Return what is to be written; what has failed is canceled at the gateway first."""
        if known is not None:
            if found is not None:
                raise NotDone("known")
            return known
        check_ended(found)
        if isinstance(found, NoCharge):
            return NotCharged()
        if not isinstance(found, GatewayPayment) or not in_two_steps(self.gateway):
            return cast("Charged | Declined", found)
        transaction = self._with_id(transaction, found.id)
        try:
            return TwoSteps(self.gateway, self.store, self.deadline).end(found, transaction)
        except OutcomeUnknown as unknown:
            raise NotDone("open") from unknown

    def _let_go(self, transaction_id: str, attempt_id: str, key: object) -> None:
        """Let the payment go, if this attempt still holds it, to where it was in the index."""
        aside = str(key) if key in ASIDE_KEYS else None
        try:
            self.store.let_go(transaction_id, attempt_id, self.deadline.clock(), key=aside)
        except StoreUnavailable as failure:
            logs.error("lease not let go", transaction_id=transaction_id, code=failure.code)
