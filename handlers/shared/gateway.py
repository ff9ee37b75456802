"""The payment gateway: what charging needs of one, and a simulated one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Protocol

from handlers.shared.aws import logs
from handlers.shared.failures import DependencyFailed

if TYPE_CHECKING:
    from handlers.shared.transactions import Transaction


# What an implementation must keep to; part of the time budget in deadline.py.
GATEWAY_TIMEOUT_SECONDS = 6


@dataclass(frozen=True)
class Charged:
    """The money is captured; reference is what the gateway calls the capture."""

    reference: str


@dataclass(frozen=True)
class Declined:
    """The gateway refused the payment for good; reason is its short code."""

    reason: str


@dataclass(frozen=True)
class NoCharge:
    """The gateway knows for certain that there is no charge with this key, and none under way."""


class GatewayUnavailable(DependencyFailed):
    """The gateway could not be asked."""

    reason = "gateway_unavailable"


class GatewayTimeout(DependencyFailed):
    """The gateway did not answer in time: whether it charged is unknown."""

    reason = "gateway_timeout"


class Gateway(Protocol):
    """Charges payments. Every call ends within GATEWAY_TIMEOUT_SECONDS.

    Any other exception than the two above counts as an unknown outcome.

    The configuration names the class. It is called with the text of the gateway's secret, or with
    None if none is configured.
    """

    KEY_RETENTION: ClassVar[timedelta]
    """For how long the gateway knows an idempotency key; after that, a charge could be a second."""

    def charge(self, transaction: Transaction, idempotency_key: str) -> Charged | Declined:
        """Charge the transaction's amount_minor in its currency, once per idempotency_key.

        A repeated key returns the first result. Raises GatewayUnavailable or GatewayTimeout.
        """

    def find(self, idempotency_key: str) -> Charged | Declined | NoCharge | None:
        """Return what a charge with this key came to.

        NoCharge is a promise, on which a payment is charged: a search that lags behind, or forgets,
        cannot make it. None means that the gateway knows of no charge, and cannot rule one out.
        Raises GatewayUnavailable or GatewayTimeout.
        """


class SimulatedGateway:
    """A gateway that moves no money and decides by the customer_id:

    sim-decline       is declined, with the reason insufficient_funds
    sim-unavailable   finds the gateway unavailable
    sim-timeout       finds it too slow to answer (at once, without the wait)

    Everyone else is charged. The reference depends on the idempotency key alone, so that a
    repeated charge is the same capture. It remembers its latest captures for as long as it lives.
    """

    # Common among real gateways.
    KEY_RETENTION: ClassVar = timedelta(hours=24)

    MAX_REMEMBERED = 10_000

    def __init__(self, _secret: str | None = None) -> None:
        self.captures: dict[str, Charged] = {}

    def charge(self, transaction: Transaction, idempotency_key: str) -> Charged | Declined:
        """Return what the customer_id asks for; log one line for each capture."""
        match transaction.customer_id:
            case "sim-decline":
                return Declined("insufficient_funds")
            case "sim-unavailable":
                raise GatewayUnavailable("Simulated")
            case "sim-timeout":
                raise GatewayTimeout("Simulated")
        if idempotency_key not in self.captures:
            if len(self.captures) >= self.MAX_REMEMBERED:
                del self.captures[next(iter(self.captures))]
            reference = f"sim_{hashlib.sha256(idempotency_key.encode()).hexdigest()[:24]}"
            self.captures[idempotency_key] = Charged(reference)
            logs.info(
                "captured",
                transaction_id=transaction.transaction_id,
                gateway_reference=reference,
                amount_minor=transaction.amount_minor,
                currency=transaction.currency,
            )
        return self.captures[idempotency_key]

    def find(self, idempotency_key: str) -> Charged | None:
        """Return the capture with this key that this object remembers; others it cannot know."""
        return self.captures.get(idempotency_key)
