"""A payment gateway in two steps that records what it is asked, and is as bad as real ones are.

It stores the answer of each key, failures too, and repeats it until it forgets the key. A payment
that failed can still be paid until it is canceled. What is pending ends by its customer's act, or
a bank's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, TypeVar

from handlers.shared.gateway import (
    Declined,
    GatewayKeyFailed,
    GatewayPayment,
    GatewayUnavailable,
    NoCharge,
)
from handlers.shared.money import Money
from tests.model.faults import Call, Network
from tests.model.gateway import (
    DECLINED_CUSTOMER,
    GATEWAY,
    UNAVAILABLE_CUSTOMER,
    Capture,
    Finds,
    Recorder,
)
from tests.model.made import (
    BANK_CUSTOMER,
    PENDING_CUSTOMER,
    REFUSED_CUSTOMER,
    Made,
    Stage,
)
from tests.model.notices import Notice, verified

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handlers.shared.gateway import Mode, Need
    from handlers.shared.notifications import Notification
    from handlers.shared.transactions import Transaction
    from tests.expressions import Item

T = TypeVar("T", GatewayPayment, GatewayPayment | Declined)

CONFIRMED_UNSTORED = "confirmed, but its id is not the row's"
CANCELED_UNSTORED = "canceled, but its id is not the row's"
OF_ANOTHER_ACCOUNT = "asked for at another account than it was begun at"


class StoredFailure(StrEnum):
    """What a failure that is stored under its key has done before."""

    NOTHING = "nothing"
    ALL = "all that was asked"


@dataclass
class _Key:
    first_used: datetime
    answer: GatewayPayment | Declined | GatewayKeyFailed


class TwoStepGateway(Recorder):
    """Captures a payment once, whoever confirms it how often.

    `rows` are those of the table, to compare with; what is taken down goes to the recorder. `fails`
    says whether the failure of a new key is stored; by its key, so that a run can be repeated.
    """

    NEEDS: ClassVar[frozenset[Need]] = frozenset({"payment_method"})

    def __init__(
        self,
        network: Network,
        now: Callable[[], datetime],
        rows: Callable[[], dict[str, Item]],
        recorder: Recorder,
    ) -> None:
        super().__init__(network, now)
        self.captures = recorder.captures
        self.asked = recorder.asked
        self.broken = recorder.broken
        self.account = "account-1"
        self.mode: Mode = "test"
        self.fails: Callable[[str], StoredFailure | None] = lambda _: None
        # What the payments of all other customers come to.
        self.comes_to = Stage.CHARGED
        self.made: dict[str, Made] = {}
        # What it tells by itself: of each change, once.
        self.notices: list[Notice] = []
        self._keys: dict[tuple[str, str], _Key] = {}
        self._rows = rows

    @staticmethod
    def digits(currency: str) -> int | None:
        """Count in other units than ISO 4217 does."""
        return {"USD": 4}.get(currency)

    def change_account(self, account: str) -> None:
        self.account, self.has_changed = account, True

    def prepare(self, transaction: Transaction, idempotency_key: str) -> GatewayPayment | Declined:
        self._watch(transaction)
        self.asked.append((transaction.transaction_id, transaction.attempt_id))
        return self._call(
            "prepare", transaction.transaction_id, idempotency_key, self._prepare(transaction)
        )

    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        made = self._watched(payment_id)
        row = self._rows()[made.transaction_id]
        self._note(
            row.get("gateway_id") != {"S": payment_id}, CONFIRMED_UNSTORED, made.transaction_id
        )
        attempt = idempotency_key.removesuffix("-confirm")
        self.asked.append((made.transaction_id, attempt))
        return self._call(
            "confirm", made.transaction_id, idempotency_key, lambda: self._confirm(made)
        )

    def cancel(self, payment_id: str, idempotency_key: str) -> GatewayPayment:
        made = self._watched(payment_id)
        row = self._rows()[made.transaction_id]
        # One that a restore took back may have had that id, or what nobody confirmed.
        mine = [{"S": payment_id}, *([None] if "rewound" in row else [])]
        self._note(row.get("gateway_id") not in mine, CANCELED_UNSTORED, made.transaction_id)
        return self._call(
            "cancel", made.transaction_id, idempotency_key, lambda: self._cancel(made)
        )

    def fetch(self, payment_id: str) -> GatewayPayment:
        made = self.made[payment_id]
        self._note(made.account != self.account, OF_ANOTHER_ACCOUNT, made.transaction_id)

        def fetch() -> GatewayPayment:
            with self._lock:
                return self._told(made)

        return self._network.call(Call("fetch", made.transaction_id), fetch, GATEWAY)

    def find(self, transaction: Transaction) -> GatewayPayment | NoCharge | None:
        if transaction.gateway_account is not None:  # or a restore has taken that back, too
            self._watch(transaction)
        payment = transaction.transaction_id
        return self._network.call(Call("find", payment), lambda: self._find(payment), GATEWAY)

    def notification(
        self, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> Notification | None:
        return verified(headers, body, now)

    def act(self, transaction_id: str, *, pays: bool) -> bool:
        """Let the customer, or a bank, end what is pending, or pay what had failed; return whether
        there is such a payment."""
        acted = False
        with self._lock:
            for made in self.of(transaction_id):
                if made.stage is Stage.PENDING or (made.stage is Stage.FAILED and pays):
                    self._decide(made, Stage.CHARGED if pays else Stage.FAILED)
                    acted = True
        return acted

    def of(self, transaction_id: str) -> list[Made]:
        """Return the payments that were made for a transaction, at any account."""
        return [made for made in list(self.made.values()) if made.transaction_id == transaction_id]

    def stages(self, transaction_id: str) -> set[Stage]:
        """Return where the payments stand that somebody has confirmed, or canceled."""
        return {made.stage for made in self.of(transaction_id)} - {Stage.OPEN}

    def is_pending(self, transaction_id: str) -> bool:
        return Stage.PENDING in self.stages(transaction_id)

    def is_payable(self, transaction_id: str) -> bool:
        return bool(self.stages(transaction_id) & {Stage.PENDING, Stage.FAILED})

    def _call(self, site: str, transaction_id: str, key: str, effect: Callable[[], T]) -> T:
        def once() -> T:
            with self._lock:
                known = self._keys.get((self.account, key))
                if known is None or self._now() - known.first_used >= self.KEY_RETENTION:
                    known = _Key(self._now(), self._answer(f"{site} {key}", effect))
                    self._keys[self.account, key] = known
            if isinstance(known.answer, GatewayKeyFailed):
                raise known.answer
            return known.answer  # type: ignore[return-value]

        return self._network.call(Call(site, transaction_id), once, GATEWAY)

    def _answer(self, key: str, effect: Callable[[], T]) -> T | GatewayKeyFailed:
        failure = self.fails(key)
        if failure is StoredFailure.NOTHING:
            return GatewayKeyFailed("Stored")
        answer = effect()
        return GatewayKeyFailed("Stored") if failure else answer

    def _prepare(self, transaction: Transaction) -> Callable[[], GatewayPayment | Declined]:
        account = self.account

        def prepare() -> GatewayPayment | Declined:
            if transaction.customer_id == UNAVAILABLE_CUSTOMER and not self.is_mended:
                raise GatewayUnavailable("Away")
            if transaction.customer_id == REFUSED_CUSTOMER:
                return Declined("method_refused", another_method=True)
            digits = self.digits(transaction.currency)
            assert digits is not None
            made = Made(
                id=f"payment-{len(self.made)}",
                account=account,
                transaction_id=transaction.transaction_id,
                amount=Money(transaction.amount_minor, transaction.currency).units(digits),
                currency=transaction.currency,
                customer_id=transaction.customer_id,
            )
            self.made[made.id] = made
            self._tell(made)
            return self._told(made)

        return prepare

    def _confirm(self, made: Made) -> GatewayPayment:
        if made.stage is Stage.OPEN:
            stages = {
                DECLINED_CUSTOMER: Stage.FAILED,
                PENDING_CUSTOMER: Stage.PENDING,
                BANK_CUSTOMER: Stage.PENDING,
            }
            self._decide(made, stages.get(made.customer_id, self.comes_to))
        return self._told(made)

    def _cancel(self, made: Made) -> GatewayPayment:
        is_banks = made.stage is Stage.PENDING and made.customer_id == BANK_CUSTOMER
        if made.stage not in {Stage.CHARGED, Stage.CANCELED} and not is_banks:
            made.stage = Stage.CANCELED
            self._tell(made)
        return self._told(made)

    def _decide(self, made: Made, stage: Stage) -> None:
        made.stage = stage
        made.has_failed = made.has_failed or stage is Stage.FAILED
        if stage is Stage.CHARGED:
            made.reference = f"capture-{len(self.captures)}"
            capture = Capture(
                transaction_id=made.transaction_id,
                idempotency_key="",
                reference=made.reference,
                amount_minor=made.amount // 100,
                currency=made.currency,
                customer_id=made.customer_id,
                payment_id=made.id,
            )
            self.captures.append(capture)
        self._tell(made)

    def _tell(self, made: Made) -> None:
        self.notices.append(Notice(made.id, made.transaction_id, made.account))

    def _told(self, made: Made) -> GatewayPayment:
        return GatewayPayment(
            id=made.id,
            amount=made.amount,
            currency=made.currency,
            account=made.account,
            mode=self.mode,
            outcome=made.outcome,
            transaction_id=made.transaction_id,
        )

    def _find(self, transaction_id: str) -> GatewayPayment | NoCharge | None:
        finds = self.finds(transaction_id)
        order = (Stage.CHARGED, Stage.PENDING, Stage.FAILED, Stage.OPEN, Stage.CANCELED)
        with self._lock:
            mine = [made for made in self.of(transaction_id) if made.account == self.account]
            found = sorted(mine, key=lambda made: order.index(made.stage))
            if found and finds is not Finds.BLIND:
                return self._told(found[0])
        certain = finds is Finds.CERTAIN and not self._network.under_way(
            Call("prepare", transaction_id)
        )
        return NoCharge() if certain else None

    def _watched(self, payment_id: str) -> Made:
        """Return a payment that somebody wants to change, and note what he may not."""
        made = self.made[payment_id]
        self._note(made.account != self.account, OF_ANOTHER_ACCOUNT, made.transaction_id)
        return made

    def _watch(self, transaction: Transaction) -> None:
        begun_at = transaction.gateway_account
        self._note(begun_at != self.account, OF_ANOTHER_ACCOUNT, transaction.transaction_id)

    def _note(self, broken: bool, rule: str, transaction_id: str) -> None:
        if broken:
            self.broken[rule].append(transaction_id)
