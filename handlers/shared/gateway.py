"""The payment gateway: what charging needs of one, in one step or in two, and a simulated one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeGuard

from handlers.shared.aws import logs
from handlers.shared.failures import DependencyFailed
from handlers.shared.marks import Marks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from handlers.shared.notifications import Notification
    from handlers.shared.transactions import Transaction


# What an implementation must keep to; part of the time budget in deadline.py.
GATEWAY_TIMEOUT_SECONDS = 6

# Whether a gateway's account moves real money.
Mode = Literal["test", "live"]
# What a gateway may need of a payment that /validate takes as an option.
Need = Literal["payment_method", "return_url"]
# How many payments one page of a list may have: as JSON, far less than what a function can answer
# ("Lambda quotas": 6 MB).
MAX_LISTED = 1000


@dataclass(frozen=True)
class Charged:
    """The money is captured; reference is what the gateway calls the capture."""

    reference: str


@dataclass(frozen=True)
class Declined:
    """The gateway refused the payment; reason is its short code.

    another_method is whether the customer may succeed with another method of payment, which takes
    a new /validate. Of a gateway in two steps, a failed payment can still be paid, so it counts as
    declined only when it is canceled there.
    """

    reason: str
    another_method: bool = False


@dataclass(frozen=True)
class NoCharge:
    """The gateway knows for certain that there is no charge with this key, and none under way."""


@dataclass(frozen=True)
class Pending:
    """The customer, or a bank, has yet to do something; nothing is charged or declined so far.

    next_action is the URL where the customer does it, if there is one. Who has it may act for the
    customer, so it is never logged.
    """

    next_action: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Open:
    """The payment exists at the gateway, and nobody has confirmed it."""


@dataclass(frozen=True)
class NotCharged:
    """The payment is canceled at the gateway, for good: nothing was charged, nor will be.

    reason is the code with which it had failed before, if it had.
    """

    reason: str | None = None


Outcome = Charged | Declined | Pending | Open | NotCharged


@dataclass(frozen=True)
class GatewayPayment:
    """A payment as a gateway in two steps has it.

    id is the gateway's own; amount is in the units in which the gateway counts the currency, an
    upper-case ISO 4217 code; account and mode are whose it is. transaction_id is what `prepare` has
    put into its metadata, None if there is none: the payment is somebody else's then. A list tells
    when the gateway made it, too. That money was given back later changes no outcome.
    """

    id: str
    amount: int
    currency: str
    account: str
    mode: Mode
    outcome: Outcome
    transaction_id: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True)
class Page:
    """Some payments of a list, and the cursor of those that come after; None after the last."""

    payments: tuple[GatewayPayment, ...]
    cursor: str | None


class GatewayUnavailable(DependencyFailed):
    """The gateway could not be asked."""

    reason = "gateway_unavailable"


class NoSuchPayment(GatewayUnavailable):
    """The gateway has no payment with this id, as far as this account can see."""

    reason = "no_such_payment"


class GatewayTimeout(DependencyFailed):
    """The gateway did not answer in time: whether it charged is unknown."""

    reason = "gateway_timeout"


class GatewayKeyFailed(DependencyFailed):
    """The gateway answered with a failure that it repeats for as long as it knows the key.

    Whether it did what was asked is unknown.
    """

    reason = "gateway_key_failed"


class InvalidSecret(ValueError):
    """The secret is not what the class needs; the text says in what, and has nothing of it."""


class Gateway(Protocol):
    """Charges payments in one step. Every call ends within GATEWAY_TIMEOUT_SECONDS.

    Any other exception than the first two above counts as an unknown outcome.

    The configuration names the class. It is called with the text of the gateway's secret, or with
    None if none is configured; where that is wrong, InvalidSecret says in what. It may say more, as
    `TwoStepGateway` has to: account and mode, which are stored before the first charge, NEEDS, and
    digits.
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


class TwoStepGateway(Protocol):
    """Prepares a payment without moving money, and charges it when that one is confirmed.

    The gateway's own payment is the guard: its id is stored before it is confirmed, only the stored
    one ever is, and the gateway captures a payment once, whoever confirms it how often.

    Every call ends within GATEWAY_TIMEOUT_SECONDS, and raises GatewayUnavailable or GatewayTimeout
    if it cannot tell; any other exception counts as an unknown outcome. NEEDS and `digits` are the
    class's own: they are asked without a secret.
    """

    NEEDS: ClassVar[frozenset[Need]]
    """What /validate has to be given for a payment, beyond what every one has."""

    account: str
    """The gateway's name of the account that is paid into, 1 to 255 visible ASCII characters."""
    mode: Mode
    """Whether real money moves."""

    @staticmethod
    def digits(currency: str) -> int | None:
        """Return in how many decimal digits the gateway counts an ISO 4217 currency; None if it
        does not take it.

        The class may have a method `step(currency)`, too, that returns what an amount in these
        units has to be a multiple of.
        """

    def prepare(self, transaction: Transaction, idempotency_key: str) -> GatewayPayment | Declined:
        """Make the payment with its method attached, and the transaction_id in its metadata.

        It moves no money. The parameters depend on the transaction's amount, currency, customer_id,
        payment_method, return_url and reference alone, so that a repeated key, which returns the
        first result, never comes with others. Declined is for a refusal that left no payment.

        Raises GatewayKeyFailed for a failure that is repeated with the key: another one is tried,
        since a payment that nobody confirms harms nobody.
        """

    def fetch(self, payment_id: str) -> GatewayPayment:
        """Return the payment as it is now. Raises NoSuchPayment if there is none with this id."""

    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        """Charge a prepared payment, and return it as it is then; Declined if it failed.

        return_url is the transaction's, the same at every attempt: where the customer comes back to
        from the next_action, None if the client has named none.
        """

    def cancel(self, payment_id: str, idempotency_key: str) -> GatewayPayment:
        """Cancel a payment, and return it as it is then: NotCharged, or what keeps it from that."""

    def find(self, transaction: Transaction) -> GatewayPayment | NoCharge | None:
        """Return the payment with the transaction_id in its metadata.

        It lists what was made since the transaction's created_at, less a margin for clocks; of
        several payments, one that is charged comes first, then one that is pending, and last one
        that nobody has confirmed, for only one of them ever is. NoCharge is a promise, as for a
        gateway in one step: the list came to its end, and does not lag behind. None means that it
        cannot be told.
        """


class NotifyingGateway(TwoStepGateway, Protocol):
    """A gateway in two steps that tells by itself when something of a payment changes."""

    def notification(
        self, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> Notification | None:
        """Return what a notification is about, if the gateway has signed this very body.

        It asks nobody. The names of the headers are in lower case. None is for one of no concern,
        as of a kind that changes no payment. `check_signature` in notifications.py does the rest
        for the commonest kind of signature.

        Raises InvalidNotification if the signature is missing or wrong, or not of these minutes.
        """


class ListingGateway(TwoStepGateway, Protocol):
    """A gateway in two steps that can list all its payments, so that rows can be held to them."""

    def payments(self, since: datetime, until: datetime, cursor: str | None) -> Page:
        """Return one page of the payments that were made from `since` until before `until`.

        All of the account are listed, with their created_at, also those that somebody else made; in
        any order, MAX_LISTED in a page at most. A cursor is the one of the page before, of the same
        list; it is of use for days, in any other process, and leads past no payment that was there
        when the first page was asked for.
        """


class RenewableGateway(TwoStepGateway, Protocol):
    """A gateway that can have its secret anew, for a key may be refused since it was rotated.

    The class has the attribute. Where there is a secret, it is set after the gateway is made; it
    takes 2 seconds at most of the call's, and raises GatewayUnavailable. A secret of another
    account or mode must not be taken: the payment is of the one before.
    """

    fetch_secret: Callable[[], str | None] | None
    """Returns the text of the secret as it is now, None if it has none."""


AnyGateway = Gateway | TwoStepGateway


def in_two_steps(gateway: AnyGateway) -> TypeGuard[TwoStepGateway]:
    """Whether a gateway charges in two steps."""
    return has_two_steps(type(gateway))


def has_two_steps(gateway: type[AnyGateway]) -> bool:
    """Whether the gateways of a class charge in two steps."""
    return hasattr(gateway, "confirm")


def lists(gateway: AnyGateway) -> TypeGuard[ListingGateway]:
    """Whether a gateway can list all its payments."""
    return in_two_steps(gateway) and callable(getattr(type(gateway), "payments", None))


def marks_of(gateway: AnyGateway | type[AnyGateway]) -> Marks:
    """Return what is stored of a gateway before it charges; of its class, what that knows."""
    made = gateway if isinstance(gateway, type) else type(gateway)
    told = (getattr(gateway, name, None) for name in ("account", "mode"))
    account, mode = (value if isinstance(value, str) else None for value in told)
    return Marks(f"{made.__module__}:{made.__qualname__}", account, mode)


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

    account = "simulated"
    mode: ClassVar[Mode] = "test"

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
