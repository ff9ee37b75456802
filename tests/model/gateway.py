"""A payment gateway that records its captures, and forgets its keys as real ones do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

from handlers.shared.gateway import Charged, Declined, GatewayTimeout, GatewayUnavailable, NoCharge
from tests.model.faults import Call, Network, Wording

if TYPE_CHECKING:
    from handlers.shared.transactions import Transaction

DECLINED_CUSTOMER = "declined"
# For this one the gateway is away until somebody has mended it.
UNAVAILABLE_CUSTOMER = "unavailable"

CHARGED_TOO_LATE = "charged when its key may have been forgotten"

GATEWAY = Wording(
    refused=lambda: GatewayUnavailable("Refused"), unanswered=lambda: GatewayTimeout("Unanswered")
)


class Finds(StrEnum):
    """What a search for a charge can tell."""

    CERTAIN = "finds every charge, and rules one out"
    UNSURE = "finds every charge, and rules none out"
    BLIND = "finds nothing"


@dataclass(frozen=True)
class Capture:
    transaction_id: str
    idempotency_key: str
    reference: str
    amount_minor: int
    currency: str
    customer_id: str
    # The gateway's payment, where it has one.
    payment_id: str | None = None


class Recorder:
    """What is asked of the model's gateways, which take down what they do in one place."""

    KEY_RETENTION: ClassVar = timedelta(hours=24)

    def __init__(self, network: Network, now: Callable[[], datetime]) -> None:
        self.captures: list[Capture] = []
        # The attempts that have asked for a charge, by payment, whether or not it arrived.
        self.asked: list[tuple[str, str | None]] = []
        # Payments that were asked for in a way that a rule forbids, by the rule.
        self.broken: dict[str, list[str]] = defaultdict(list)
        # How well it finds what depends on the key, or the payment.
        self.finds: Callable[[str], Finds] = lambda _: Finds.UNSURE
        self.is_mended = False
        # Whether nobody can make it, for its secret is away; whether it ever was another one.
        self.is_away = False
        self.has_changed = False
        # Whether every payment that is new to it is declined.
        self.declines = False
        self._network = network
        self._now = now
        self._lock = Lock()

    def is_pending(self, _transaction_id: str) -> bool:
        """Whether a payment waits for its customer, or a bank."""
        return False

    def is_payable(self, _transaction_id: str) -> bool:
        """Whether money may still move for a payment that somebody has asked to charge."""
        return False


class RecordingGateway(Recorder):
    """Charges once for each key that it remembers."""

    def __init__(self, network: Network, now: Callable[[], datetime]) -> None:
        super().__init__(network, now)
        self._known: dict[str, tuple[datetime, Charged | Declined]] = {}

    def charge(self, transaction: Transaction, idempotency_key: str) -> Charged | Declined:
        first = datetime.fromisoformat(transaction.first_charge_at or "")
        if self._now() - first >= self.KEY_RETENTION:
            self.broken[CHARGED_TOO_LATE].append(transaction.transaction_id)
        self.asked.append((transaction.transaction_id, transaction.attempt_id))
        return self._network.call(
            _charge_of(idempotency_key), lambda: self._charge(transaction, idempotency_key), GATEWAY
        )

    def find(self, idempotency_key: str) -> Charged | Declined | NoCharge | None:
        return self._network.call(
            Call("find", idempotency_key), lambda: self._find(idempotency_key), GATEWAY
        )

    def _charge(self, transaction: Transaction, idempotency_key: str) -> Charged | Declined:
        if transaction.customer_id == UNAVAILABLE_CUSTOMER and not self.is_mended:
            raise GatewayUnavailable("Away")
        with self._lock:
            first_used, result = self._known.get(idempotency_key, (None, None))
            if result is None or not first_used or self._now() - first_used >= self.KEY_RETENTION:
                result = self._decide(transaction, idempotency_key)
                self._known[idempotency_key] = self._now(), result
            return result

    def _decide(self, transaction: Transaction, idempotency_key: str) -> Charged | Declined:
        if transaction.customer_id == DECLINED_CUSTOMER or self.declines:
            return Declined("insufficient_funds")
        capture = Capture(
            transaction_id=transaction.transaction_id,
            idempotency_key=idempotency_key,
            reference=f"capture-{len(self.captures)}",
            amount_minor=transaction.amount_minor,
            currency=transaction.currency,
            customer_id=transaction.customer_id,
        )
        self.captures.append(capture)
        return Charged(capture.reference)

    def _find(self, idempotency_key: str) -> Charged | Declined | NoCharge | None:
        finds = self.finds(idempotency_key)
        with self._lock:
            _, result = self._known.get(idempotency_key, (None, None))
        if result and finds is not Finds.BLIND:
            return result
        certain = finds is Finds.CERTAIN and not self._network.under_way(
            _charge_of(idempotency_key)
        )
        return NoCharge() if certain else None


def _charge_of(idempotency_key: str) -> Call:
    return Call("charge", idempotency_key)
