"""A gateway in two steps that moves no money: a payment says itself what becomes of it.

It is for trying what a real gateway does, and for tests of that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from handlers.shared.aws import logs
from handlers.shared.clock import utc_now
from handlers.shared.gateway import (
    Declined,
    GatewayKeyFailed,
    GatewayPayment,
    GatewayTimeout,
    GatewayUnavailable,
    InvalidSecret,
    Mode,
    Need,
    NoCharge,
    NoSuchPayment,
    Page,
)
from handlers.shared.money import MINOR_DIGITS, Money
from handlers.shared.scripted_ledger import Ledger, is_shared, shared_path
from handlers.shared.scripted_notification import SIGNING_SECRET, notification
from handlers.shared.scripted_payment import (
    CAPTURED,
    FURTHEST,
    Facts,
    State,
    advanced,
    canceled,
    capture_of,
    confirmed,
    delayed,
    fault_of,
    outcome,
    presumed,
    script_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handlers.shared.notifications import Notification
    from handlers.shared.scripted_ledger import Answer, Pages
    from handlers.shared.transactions import Transaction

# The payment_method that is declined when it is prepared, so that there is no payment.
UNKNOWN_METHOD = "unknown-method"
# How many payments one page of its list is taken from.
PAGE_SIZE = 100


@dataclass(frozen=True)
class _Call:
    """A call that changes something: what it asks with its key, of what, and how it fails."""

    name: str
    about: str
    key: str
    asked: str
    fault: str


class ScriptedGateway:
    """A gateway in two steps that moves no money.

    The payment_method is one of SCRIPTS, or unknown-method; any other is charged. The customer_id
    may be fault-CALL-FAULT, which is about a payment's first prepare, confirm, cancel or fetch:

    timeout      does not arrive
    lost         arrives, and its answer is lost
    500          fails, and does so again whenever its key comes
    500-done     the same, but it has done what was asked
    late         of confirm, arrives some seconds later
    unavailable  every one finds the gateway unavailable

    A time-out is raised at once. Its memory is a file in the machine's folder for temporary ones.
    What is not in it, as in another container of Lambda, is `presumed` by the payment's id.

    The secret is none, or a JSON object with account, mode, which is "test", and signing_secrets, a
    list of those with which its notifications may be signed.
    """

    NEEDS: ClassVar[frozenset[Need]] = frozenset({"payment_method"})
    # Common among real gateways.
    KEY_RETENTION: ClassVar = timedelta(hours=24)
    # What it does not take, and what it counts in other digits than ISO 4217.
    NOT_TAKEN: ClassVar = frozenset({"KPW"})
    IN_HUNDREDTHS: ClassVar = frozenset({"ISK", "UGX"})

    mode: ClassVar[Mode] = "test"

    def __init__(
        self,
        secret: str | None = None,
        ledger: Ledger | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Raises InvalidSecret."""
        settings = _settings(secret)
        self.account = str(settings.get("account", "scripted"))
        self._signing_secrets = _signing_secrets(settings)
        self._digest = _digest(self.account, 8)
        self._ledger = ledger or Ledger(shared_path())
        self._clock = now

    @classmethod
    def digits(cls, currency: str) -> int | None:
        """Return how many digits it counts a currency in.

        Two for IN_HUNDREDTHS, and for a currency with three, whose last one has to be 0, as real
        gateways do it (Stripe, "Supported currencies": special cases, three-decimal currencies).
        """
        digits = None if currency in cls.NOT_TAKEN else MINOR_DIGITS.get(currency)
        return 2 if currency in cls.IN_HUNDREDTHS or digits == 3 else digits

    def prepare(self, transaction: Transaction, idempotency_key: str) -> GatewayPayment | Declined:
        """Make a payment, or say why there is none."""
        made_for = self._mine(transaction.transaction_id)
        asked = [
            *(transaction.transaction_id, transaction.amount_minor, transaction.currency),
            *(transaction.customer_id, transaction.details),
        ]
        fault = fault_of(transaction.customer_id)
        call = _Call("prepare", made_for, self._mine(idempotency_key), json.dumps(asked), fault)
        with self._open() as pages:
            return self._call(pages, call, lambda _: self._make(pages, transaction, call))

    def fetch(self, payment_id: str) -> GatewayPayment:
        """Return a payment as it is now. Raises NoSuchPayment."""
        facts = self._facts(payment_id)
        with self._open() as pages:
            if _fault(pages, "fetch", facts.id, facts.fault):
                raise GatewayTimeout("Scripted")
            return self._payment(facts, self._state(pages, facts))

    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        """Charge a payment, if it is open. Raises NoSuchPayment."""

        def change(facts: Facts, state: State, now: float, fault: str) -> State:
            step = delayed if fault == "late" else confirmed
            return step(facts, state, now, return_url)

        return self._change("confirm", payment_id, idempotency_key, change, return_url)

    def cancel(self, payment_id: str, idempotency_key: str) -> GatewayPayment:
        """Cancel a payment, if it still can be. Raises NoSuchPayment."""

        def change(facts: Facts, state: State, _now: float, _fault: str) -> State:
            return canceled(facts, state)

        return self._change("cancel", payment_id, idempotency_key, change)

    def find(self, transaction: Transaction) -> GatewayPayment | NoCharge | None:
        """Return the payment of a transaction, of several the one that went furthest.

        That there is none is certain only where all functions share the memory, and if that goes
        back to before the transaction.
        """
        with self._open() as pages:
            ids = pages.payments(self._mine(transaction.transaction_id))
            found = [(facts, self._state(pages, facts)) for facts in map(self._facts, ids)]
            if found:
                return self._payment(*min(found, key=lambda each: FURTHEST.index(each[1].status)))
            created_at = datetime.fromisoformat(transaction.created_at).timestamp()
            return NoCharge() if is_shared() and pages.began <= created_at else None

    def payments(self, since: datetime, until: datetime, cursor: str | None) -> Page:
        """Return the payments made in that time, in the order in which they were.

        Raises GatewayUnavailable where each container has a memory of its own, or some are
        forgotten.
        """
        with self._open() as pages:
            if not is_shared() or (pages.forgets and pages.began > since.timestamp()):
                raise GatewayUnavailable("NotAllRemembered")
            listed = pages.listed(int(cursor or 0), PAGE_SIZE)
            found = [
                self._payment(facts, self._state(pages, facts))
                for facts in (Facts.of(payment_id) for _, payment_id in listed)
                if facts is not None
                and facts.account == self._digest
                and since.timestamp() <= facts.made_at < until.timestamp()
            ]
        return Page(tuple(found), str(listed[-1][0]) if len(listed) == PAGE_SIZE else None)

    def notification(
        self, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> Notification | None:
        """Return what a notification is about, if it is signed. Raises InvalidNotification."""
        return notification(headers, body, self._signing_secrets, now)

    def _make(self, pages: Pages, transaction: Transaction, call: _Call) -> Answer:
        """Make a payment; return what is answered."""
        currency, method = transaction.currency, transaction.payment_method
        digits = self.digits(currency)
        if digits is None:
            return ["declined", "currency_not_supported", False]
        if method in {None, UNKNOWN_METHOD}:
            return ["declined", "payment_method_unknown", True]
        made_at = int(pages.now)
        facts = Facts(
            account=self._digest,
            method=script_of(method or ""),
            fault=call.fault,
            amount=Money(transaction.amount_minor, currency).units(digits),
            currency=currency,
            made_at=made_at,
            # A key that is used anew after it was forgotten makes another payment.
            key=_digest(f"{call.key} {made_at}", 16),
        )
        state = State(transaction_id=transaction.transaction_id)
        pages.keep(facts.id, asdict(state), made_for=call.about)
        return ["payment", facts.id, asdict(state)]

    def _change(
        self,
        name: str,
        payment_id: str,
        idempotency_key: str,
        change: Callable[[Facts, State, float, str], State],
        with_it: str | None = None,
    ) -> GatewayPayment:
        """Take a payment from one state to the next; with_it is what else is asked with the key."""
        facts = self._facts(payment_id)
        key = self._mine(idempotency_key)
        asked = json.dumps([name, payment_id, with_it])
        call = _Call(name, payment_id, key, asked, facts.fault)

        def act(pages: Pages, fault: str) -> Answer:
            before = self._state(pages, facts)
            after = change(facts, before, pages.now, fault)
            self._keep(pages, facts, before, after)
            return ["payment", facts.id, asdict(after)]

        with self._open() as pages:
            answered = self._call(pages, call, lambda fault: act(pages, fault))
        assert isinstance(answered, GatewayPayment)
        return answered

    def _call(
        self, pages: Pages, call: _Call, act: Callable[[str], Answer]
    ) -> GatewayPayment | Declined:
        """Answer a call: by what `act` comes to, or as the same one was answered before."""
        answer = pages.answer(call.key, call.asked, pages.now - self.KEY_RETENTION.total_seconds())
        if answer is None:
            fault = _fault(pages, call.name, call.about, call.fault)
            if fault not in {"timeout", "500"}:
                answer = act(fault)
            if fault in {"timeout", "late"}:
                raise GatewayTimeout("Scripted")
            if fault in {"500", "500-done"} or answer is None:
                answer = ["failed"]
            pages.keep_answer(call.key, call.asked, answer)
            if fault == "lost":
                raise GatewayTimeout("Scripted")
        match answer:
            case ["payment", str(payment_id), dict(state)]:
                return self._payment(self._facts(payment_id), State(**state))
            case ["declined", str(reason), bool(another_method)]:
                return Declined(reason, another_method)
        raise GatewayKeyFailed("Scripted")

    def _state(self, pages: Pages, facts: Facts) -> State:
        """Return the state of a payment now; note what it has come to by itself."""
        kept = pages.state(facts.id)
        before = presumed(facts) if kept is None else State(**kept)
        after = advanced(facts, before, pages.now)
        self._keep(pages, facts, before, after)
        return after

    def _keep(self, pages: Pages, facts: Facts, before: State, after: State) -> None:
        if after == before:
            return
        pages.keep(facts.id, asdict(after))
        if after.status == CAPTURED:
            logs.info(
                "captured",
                transaction_id=after.transaction_id,
                gateway_reference=capture_of(facts),
                amount=facts.amount,
                currency=facts.currency,
            )

    def _payment(self, facts: Facts, state: State) -> GatewayPayment:
        return GatewayPayment(
            id=facts.id,
            amount=facts.amount,
            currency=facts.currency,
            account=self.account,
            mode=self.mode,
            outcome=outcome(facts, state),
            transaction_id=state.transaction_id,
            created_at=datetime.fromtimestamp(facts.made_at, UTC),
        )

    def _facts(self, payment_id: str) -> Facts:
        facts = Facts.of(payment_id)
        if facts is None or facts.account != self._digest:
            raise NoSuchPayment("NoSuchPayment")
        return facts

    def _mine(self, name: str) -> str:
        """Return a name as no other account has it."""
        return f"{self._digest} {name}"

    def _open(self) -> AbstractContextManager[Pages]:
        return self._ledger.open(self._clock().timestamp())


def _settings(secret: str | None) -> dict[str, object]:
    try:
        settings = json.loads(secret or "{}")
    except ValueError:
        settings = None
    if isinstance(settings, dict) and settings.get("mode", "test") == "test":
        return settings
    raise InvalidSecret('the secret has to be a JSON object, with the mode "test"')


def _signing_secrets(settings: dict[str, object]) -> tuple[str, ...]:
    secrets = settings.get("signing_secrets", [SIGNING_SECRET])
    if isinstance(secrets, list) and secrets and all(isinstance(one, str) for one in secrets):
        return tuple(secrets)
    raise InvalidSecret("signing_secrets of the secret have to be a list of texts")


def _fault(pages: Pages, name: str, about: str, fault: str) -> str:
    """Return how a call fails, "" if it does not. Raises GatewayUnavailable if that is how."""
    failing, _, kind = fault.partition("-")
    if failing != name:
        return ""
    if kind == "unavailable":
        raise GatewayUnavailable("Scripted")
    return kind if pages.is_first(f"{name} {about}") else ""


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
