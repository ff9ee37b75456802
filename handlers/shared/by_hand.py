"""What a person has done about one payment, by a command: to ask its gateway, or to settle it.

A person reads what the gateway says, and agrees to what is written; by then it may be otherwise.
So what was agreed to comes with the order, the gateway is asked once more, and the row is written
by the conditions that every attempt has: a payment in processing is claimed first.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from handlers.shared.aws import logs
from handlers.shared.aws.table import StoreUnavailable
from handlers.shared.callers import Claimant
from handlers.shared.charging import MAX_LEASE_AHEAD_SECONDS
from handlers.shared.clock import epoch_seconds
from handlers.shared.deadline import CALL_SECONDS
from handlers.shared.failures import DependencyFailed, OutcomeUnknown, error_code
from handlers.shared.fields import InvalidField, parse_transaction_id
from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayPayment,
    NoCharge,
    NotCharged,
    Open,
    Pending,
    in_two_steps,
    marks_of,
)
from handlers.shared.one_step import OneStep
from handlers.shared.recording import compare, record
from handlers.shared.transactions import (
    ASIDE_KEYS,
    PENDING,
    PROCESSING,
    SETTLED,
    VALIDATED,
    Flawed,
    OtherGateway,
    Transaction,
    Unreadable,
)
from handlers.shared.two_steps import TwoSteps

if TYPE_CHECKING:
    from handlers.shared.aws.store import Store
    from handlers.shared.deadline import Deadline
    from handlers.shared.gateway import AnyGateway, Gateway
    from handlers.shared.two_steps import End

SYSTEM = Claimant(None)

Told = dict[str, object]
Known = GatewayPayment | Charged | Declined | NoCharge | None


class NotDone(Exception):
    """Nothing was written: code says why, and about what of the payment that is."""

    def __init__(self, code: str, about: object = "") -> None:
        super().__init__(code)
        self.code = code
        self.about = str(about)


@dataclass(frozen=True)
class Hand:
    """What an order works with."""

    store: Store
    gateway: AnyGateway
    deadline: Deadline

    def ask(self, transaction_id: str) -> Told:
        """Return the row's status, what the gateway says, and how the row is flawed, if it is.

        Nothing is changed, here or there. Raises NotDone, Flawed or DependencyFailed.
        """
        row = self._read(transaction_id)
        transaction = self._ours(row)
        told: Told = {"status": transaction.status, "gateway": described(self._ask(transaction))}
        try:
            Transaction.payable(row)
        except Flawed as flaw:
            told["flaw"] = {"code": flaw.reason, "about": flaw.attribute}
        return told

    def settle(self, transaction_id: str, agreed: object, known: End | None = None) -> Told:
        """Write down what the gateway says, if it still is what somebody has agreed to.

        Args:
            transaction_id: of the payment.
            agreed: what `ask` has returned of the gateway.
            known: what a person knows of the payment, where the gateway itself cannot tell.

        Raises:
            NotDone: nothing was written, and the gateway was not changed.
            Flawed: the row is not a payment's, or was begun elsewhere.
            DependencyFailed: something did not answer; whether it was written is unknown.
        """
        row = self._read(transaction_id)
        read = self._ours(row)
        if read.status == PENDING:
            return self._write(read, agreed, known)
        self._check_free(read)
        attempt_id = str(uuid.uuid4())
        try:
            claimed = self._claim(transaction_id, attempt_id)
            return self._write(claimed, agreed, known)
        except BaseException:
            self._let_go(transaction_id, attempt_id, row.get("in_flight"))
            raise

    def _read(self, transaction_id: str) -> Mapping[str, object]:
        self.deadline.require(CALL_SECONDS)
        row = self.store.read(transaction_id)
        if not row:
            raise NotDone("not_found")
        return row

    def _ours(self, row: Mapping[str, object]) -> Transaction:
        """Return the transaction of a row that this gateway can tell of."""
        transaction = Transaction.as_read(row)
        marks_of(self.gateway).check(row)
        if not in_two_steps(self.gateway):
            if transaction.gateway_id is not None:
                raise OtherGateway("gateway_id")
        elif transaction.first_charge_at is not None and transaction.gateway is None:
            raise OtherGateway("gateway")
        elif transaction.status == PENDING and transaction.gateway_id is None:
            raise Unreadable("gateway_id")
        return transaction

    def _ask(self, transaction: Transaction) -> Known:
        """Return what the gateway has; None if it cannot tell."""
        if self._has_none(transaction):
            return NoCharge()
        try:
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
            return transaction.first_charge_at is None
        return transaction.status == VALIDATED

    def _check_free(self, read: Transaction) -> None:
        """Raise unless the payment was begun, or may have been, and nobody has it now."""
        if read.status in SETTLED:
            raise NotDone("settled", read.status)
        if read.status == VALIDATED:
            if read.rewound is None:
                raise NotDone("validated")
            return
        if read.status != PROCESSING:
            raise Unreadable("status")
        now = epoch_seconds(self.deadline.clock())
        lease_end = read.lease_expires_at
        if lease_end is None or lease_end > now + MAX_LEASE_AHEAD_SECONDS:
            raise Unreadable("lease_expires_at")
        if lease_end >= now:
            raise NotDone("held", lease_end - now + 1)

    def _claim(self, transaction_id: str, attempt_id: str) -> Transaction:
        claim = self.store.claim(
            transaction_id,
            attempt_id,
            SYSTEM,
            self.deadline.clock(),
            marks_of(self.gateway),
            two_steps=in_two_steps(self.gateway),
        )
        if not claim.done:
            raise NotDone("changed")
        return Transaction.from_record(claim.row)

    def _write(self, transaction: Transaction, agreed: object, known: End | None) -> Told:
        found = self._ask(transaction)
        if described(found) != agreed:
            raise NotDone("changed")
        end = self._end(transaction, found, known)
        now = self.deadline.clock()
        recorded = record(self.store, transaction, end, now, on_request=True)
        if not recorded.write.done:
            if recorded.captured is not None:
                reference, row = recorded.captured, recorded.write.row
                compare(self.store, transaction.transaction_id, reference, row, now)
            raise NotDone("changed")
        return {"status": recorded.standing.status, "gateway": agreed}

    def _end(self, transaction: Transaction, found: Known, known: End | None) -> End:
        """Return what is to be written; what has failed is canceled at the gateway first."""
        if found is None:
            if known is None:
                raise NotDone("unknown")
            return known
        if known is not None:
            raise NotDone("known")
        if isinstance(found, NoCharge):
            return NotCharged()
        if not isinstance(found, GatewayPayment) or not in_two_steps(self.gateway):
            return cast("Charged | Declined", found)
        if isinstance(found.outcome, Open | Pending):
            raise NotDone("not_ended")
        if transaction.gateway_id is None:
            write = self.store.note_id(transaction, found.id, self.deadline.clock())
            if not write.done:
                raise NotDone("changed")
        try:
            return TwoSteps(self.gateway, self.store, self.deadline).end(found, transaction)
        except OutcomeUnknown as unknown:
            raise NotDone("not_ended") from unknown

    def _let_go(self, transaction_id: str, attempt_id: str, key: object) -> None:
        """Let the payment go, if this attempt still holds it, to where it was in the index."""
        aside = str(key) if key in ASIDE_KEYS else None
        try:
            self.store.let_go(transaction_id, attempt_id, self.deadline.clock(), key=aside)
        except StoreUnavailable as failure:
            logs.error("lease not let go", transaction_id=transaction_id, code=failure.code)


def described(found: Known) -> Told:
    """Return what a person is told of what the gateway has: never where a customer has to go."""
    told: Told = {}
    outcome: object = found
    if isinstance(found, GatewayPayment):
        told, outcome = {"id": found.id}, found.outcome
    match outcome:
        case Charged(str(reference)):
            return {"outcome": "charged", "reference": reference, **told}
        case Declined(str(reason), another_method):
            more = {"another_method": True} if another_method else {}
            return {"outcome": "declined", "reason": reason, **more, **told}
        case NotCharged(reason):
            why = {} if reason is None else {"reason": str(reason)}
            return {"outcome": "canceled", **why, **told}
        case Pending():
            return {"outcome": "pending", **told}
        case Open():
            return {"outcome": "open", **told}
        case NoCharge():
            return {"outcome": "none"}
        case None:
            return {"outcome": "unknown"}
    raise TypeError("a gateway has answered with what is no outcome")


def carry_out(order: object, open_hand: Callable[[], Hand]) -> Told:
    """Carry an order out; return its transaction_id with what came of it, or why nothing did.

    An order has `do`, which is ask or settle, and `transaction_id`; settle has `agreed` too, and
    may have `known`: the gateway's `reference` of a capture, or null that there is none.
    """
    told: Told = {}
    try:
        fields = cast("Mapping[str, object]", order if isinstance(order, Mapping) else {})
        transaction_id = parse_transaction_id(fields.get("transaction_id"))
        told["transaction_id"] = transaction_id
        hand = open_hand()
        match fields:
            case {"do": "ask"}:
                told |= hand.ask(transaction_id)
            case {"do": "settle", "agreed": agreed, "known": {"reference": str(reference)}}:
                told |= hand.settle(transaction_id, agreed, Charged(reference))
            case {"do": "settle", "agreed": agreed, "known": {"reference": None}}:
                told |= hand.settle(transaction_id, agreed, NotCharged())
            case {"do": "settle", "agreed": agreed, **rest} if "known" not in rest:
                told |= hand.settle(transaction_id, agreed)
            case _:
                raise NotDone("not_an_order")
    except InvalidField as invalid:
        told["refused"] = {"code": "not_an_order", "about": invalid.field}
    except NotDone as refusal:
        told["refused"] = {"code": refusal.code, "about": refusal.about}
    except Flawed as flaw:
        told["refused"] = {"code": flaw.reason, "about": flaw.attribute}
    except DependencyFailed as failure:
        told["refused"] = {"code": failure.reason, "about": failure.code}
    except Exception as error:  # noqa: BLE001
        logs.unexpected(error)
        told["refused"] = {"code": "unforeseen", "about": error_code(error)}
    return told
