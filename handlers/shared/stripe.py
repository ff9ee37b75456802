"""Stripe as a gateway in two steps: PaymentIntents that are prepared, and then confirmed.

`stripe_api` asks Stripe, over `stripe_http`; `stripe_payment` reads what it answers, and
`stripe_list` goes through its list. `stripe_money` has its tables of currencies, and
`stripe_secret` what its secret holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from handlers.shared import stripe_money
from handlers.shared.failures import DependencyFailed
from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayPayment,
    GatewayUnavailable,
    InvalidSecret,
    Mode,
    Need,
    NoCharge,
    NoSuchPayment,
    Open,
    Page,
    Pending,
)
from handlers.shared.money import Money
from handlers.shared.needs import units
from handlers.shared.notifications import InvalidNotification, Notification, check_signature
from handlers.shared.stripe_api import Api, Call, KeyReused, Object, Refused
from handlers.shared.stripe_list import PAYMENTS, page, search
from handlers.shared.stripe_payment import declined, mode_of, payment_of
from handlers.shared.stripe_secret import parse_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handlers.shared.stripe_secret import StripeSecret
    from handlers.shared.transactions import Transaction

# How much earlier than its row a payment may have been made, by Stripe's clock.
CLOCK_MARGIN = timedelta(minutes=5)
# Stripe knows a key for a day at least (Stripe, "Idempotent requests"): twice that, to be sure.
KEY_KNOWN = timedelta(days=2)
# Most payments are prepared so soon after they were validated: these are looked at first.
SOON = timedelta(hours=1)
# A customer of Stripe's, whose saved methods a payment may have (Stripe, "The Customer object").
_CUSTOMER = re.compile(r"cus_[A-Za-z0-9]{1,100}")
# Of the kinds of events, those that tell nothing of how a payment goes on.
_OF_NO_CONCERN = frozenset({"payment_intent.created"})


class StripeGateway:
    """Stripe, with the key of one account.

    The secret is that of `stripe_secret`. `fetch_secret`, if it is there, is asked for another one
    when Stripe refuses the key. A customer_id that is one of Stripe's (cus_...) is the payment's
    customer there, so that methods saved for it can be used.

    Without a return_url there is no way to a bank's page, so a payment that would need one is
    declined, with authentication_required.
    """

    NEEDS: ClassVar[frozenset[Need]] = frozenset({"payment_method"})
    digits = staticmethod(stripe_money.digits)
    step = staticmethod(stripe_money.step)

    def __init__(self, secret: str | None, api: Api | None = None) -> None:
        """Raises InvalidSecret."""
        self._api = api or Api(_parsed(secret))

    @property
    def account(self) -> str:
        """The account that the key is of, as the secret says."""
        return self._api.secret.account

    @property
    def mode(self) -> Mode:
        """Whether real money moves, as the key says."""
        return self._api.secret.mode

    @property
    def fetch_secret(self) -> Callable[[], str | None] | None:
        """What returns the secret's text as it is now."""
        return self._api.fetch_secret

    @fetch_secret.setter
    def fetch_secret(self, fetch: Callable[[], str | None]) -> None:
        self._api.fetch_secret = fetch

    def prepare(self, transaction: Transaction, idempotency_key: str) -> GatewayPayment | Declined:
        """Make a PaymentIntent with its method, which nobody has confirmed.

        Where the key came with other parameters before, somebody has begun this payment otherwise:
        another release, or a row that was lost, and validated anew with the same Idempotency-Key.
        What was charged then, or may yet be, is returned, and no second one is made.
        """
        params = self._params(transaction)
        call = self._api.begin()
        try:
            made = call.post(PAYMENTS, params, idempotency_key)
        except KeyReused:
            begun = self._begun_otherwise(call, transaction)
            if begun is None:
                raise
            return begun
        except Refused as refused:
            decline = declined(refused)
            if decline is None:
                raise GatewayUnavailable(refused.told) from refused
            return decline
        return self._payment(made)

    def fetch(self, payment_id: str) -> GatewayPayment:
        """Return a payment as it is now. Raises NoSuchPayment."""
        return self._payment(self._fetched(self._api.begin(), payment_id))

    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        """Charge a prepared payment, unless it has ended; return it as it is then."""
        params = {} if return_url is None else {"return_url": return_url}
        call = self._api.begin()
        try:
            confirmed = call.post(f"{_path(payment_id)}/confirm", params, idempotency_key)
        except Refused as refused:
            payment = self._after(call, payment_id, refused)
            if not isinstance(payment.outcome, Open):
                return payment
            decline = declined(refused)
            if decline is None:
                raise GatewayUnavailable(refused.told) from refused
            return replace(payment, outcome=decline)
        return self._payment(confirmed)

    def cancel(self, payment_id: str, idempotency_key: str) -> GatewayPayment:
        """Cancel a payment, unless that is too late; return it as it is then."""
        call = self._api.begin()
        try:
            canceled = call.post(f"{_path(payment_id)}/cancel", {}, idempotency_key)
        except Refused as refused:
            return self._after(call, payment_id, refused)
        return self._payment(canceled)

    def find(self, transaction: Transaction) -> GatewayPayment | NoCharge | None:
        """Return the payment with the transaction_id in its metadata, of those in Stripe's list.

        It is looked for where it most likely is, and then in all that was made since; never by
        Stripe's search, which lags. Where that comes to no end in time, a charge that was found is
        returned, and else None. NoCharge is said only if the key is the account's for certain.
        """
        call = self._api.begin()
        since = datetime.fromisoformat(transaction.created_at) - CLOCK_MARGIN
        soon = since + CLOCK_MARGIN + SOON
        found = search(call, transaction.transaction_id, self.account, (since, soon), (soon, None))
        if isinstance(found, NoCharge) and not self._is_the_account(call):
            return None
        return found

    def payments(self, since: datetime, until: datetime, cursor: str | None) -> Page:
        """Return a page of the payments made in a span of whole seconds, the newest first.

        What is made meanwhile comes before the first page, so no cursor leads past a payment.
        """
        call = self._api.begin()
        intents, more = page(call, (since, until), cursor)
        last = str(intents[-1]["id"]) if intents and more else None
        return Page(tuple(map(self._payment, intents)), last)

    def notification(
        self, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> Notification | None:
        """Return which payment an event is about (Stripe, "The Event object")."""
        secrets = self._api.secret.signing_secrets
        check_signature(headers.get("stripe-signature"), body, secrets, now)
        try:
            event = json.loads(body)
            kind, live, account = event["type"], event["livemode"], event.get("account")
            if not kind.startswith("payment_intent.") or kind in _OF_NO_CONCERN:
                return None
            payment_id = event["data"]["object"]["id"]
            mode = mode_of(live)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise InvalidNotification("unreadable") from error
        if not isinstance(payment_id, str) or not payment_id:
            raise InvalidNotification("unreadable")
        return Notification(payment_id, account, mode)

    def _begun_otherwise(self, call: Call, transaction: Transaction) -> GatewayPayment | None:
        """Return what was begun with a payment's key and other parameters, if that is charged, or
        pending. Raises GatewayUnavailable if that cannot be told."""
        since = datetime.fromisoformat(transaction.created_at) - KEY_KNOWN
        found = search(call, transaction.transaction_id, self.account, (since, None))
        if found is None:
            raise GatewayUnavailable("key_reused")
        if isinstance(found, GatewayPayment) and isinstance(found.outcome, Charged | Pending):
            return found
        return None

    def _params(self, transaction: Transaction) -> dict[str, str]:
        """Return what a payment is made of; all of it is the row's, so it is always the same.

        Which kinds of methods it takes is set up at Stripe, in the account's settings: a token does
        not say of which kind it is, so payment_method_types could not be named. Without a
        return_url, kinds that send the customer somewhere are left out (Stripe, "Create a
        PaymentIntent": automatic_payment_methods).
        """
        money = Money(transaction.amount_minor, transaction.currency)
        params = {
            "amount": str(units(self, money)),
            "currency": transaction.currency.lower(),
            "confirm": "false",
            "capture_method": "automatic",
            "automatic_payment_methods[enabled]": "true",
            "metadata[transaction_id]": transaction.transaction_id,
        }
        if transaction.return_url is None:
            params["automatic_payment_methods[allow_redirects]"] = "never"
        if transaction.payment_method is not None:
            params["payment_method"] = transaction.payment_method
        if transaction.reference is not None:
            params["metadata[reference]"] = transaction.reference
        if _CUSTOMER.fullmatch(transaction.customer_id):
            params["customer"] = transaction.customer_id
        return params

    def _payment(self, intent: Object) -> GatewayPayment:
        return payment_of(intent, self.account)

    def _fetched(self, call: Call, payment_id: str) -> Object:
        try:
            return call.get(_path(payment_id))
        except Refused as refused:
            # A page of whatever is on the way to Stripe says nothing of a payment.
            missing = refused.status == 404 and refused.code == "resource_missing"
            kind = NoSuchPayment if missing else GatewayUnavailable
            raise kind(refused.told) from refused

    def _after(self, call: Call, payment_id: str, refused: Refused) -> GatewayPayment:
        """Return a payment as it is after Stripe has refused to do something with it."""
        told = refused.payment
        if told is None or told.get("id") != payment_id:
            told = self._fetched(call, payment_id)
        return self._payment(told)

    def _is_the_account(self, call: Call) -> bool:
        """Whether the key is of the account that the secret names; False if it cannot be told, as
        by a restricted key that may not ask."""
        if call.is_over:
            return False
        try:
            return call.get("account").get("id") == self.account
        except (Refused, DependencyFailed):
            return False


def _parsed(secret: str | None) -> StripeSecret:
    try:
        return parse_secret(secret)
    except ValueError as error:  # of a module that knows no gateway
        raise InvalidSecret(str(error)) from None


def _path(payment_id: str) -> str:
    return f"{PAYMENTS}/{quote(payment_id, safe='')}"
