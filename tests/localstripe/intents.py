"""PaymentIntents over localstripe, as Stripe's documentation has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import RLock
from typing import TYPE_CHECKING, Any

from tests.localstripe import answers
from tests.localstripe.answers import INVALID, Answer, Refused
from tests.localstripe.methods import METHODS, Method
from tests.localstripe.parameters import (
    CANCEL,
    CONFIRM,
    CREATE,
    LIST,
    Parameters,
    amount_of,
    check,
    fits,
    kinds_of,
    may_redirect,
    metadata_of,
    settings_of,
)

if TYPE_CHECKING:
    from tests.localstripe.process import Localstripe

PATH = "/v1/payment_intents"
MOST_LISTED = 100


@dataclass
class Intent:
    """What localstripe does not keep of a payment; told is what it has said of it last."""

    id: str
    created: int
    method: Method | None
    settings: dict[str, Any]
    told: Mapping[str, Any]
    transaction_id: str | None
    may_redirect: bool
    at_bank: bool = False
    return_url: str | None = None
    failure: dict[str, Any] | None = None
    canceled_at: int | None = None
    cancellation_reason: str | None = None


class Intents:
    """The payments of one account.

    `page` is the URL of the page where customers authenticate; `tell` hears of each change.
    """

    def __init__(
        self,
        origin: Localstripe,
        page: str,
        clock: Callable[[], datetime],
        tell: Callable[[str, int, Mapping[str, Any]], None],
    ) -> None:
        self.livemode = False
        # Whether a debit needs a customer with a mandate, as that of a real bank account does.
        self.asks_for_mandates = False
        self._origin = origin
        self._page = page
        self._clock = clock
        self._tell = tell
        # The oldest first.
        self._intents: dict[str, Intent] = {}
        self._cards: dict[str, str] = {}
        self._lock = RLock()

    def transaction_of(self, payment_id: str) -> str | None:
        """Return the transaction_id in a payment's metadata."""
        intent = self._intents.get(payment_id)
        return intent.transaction_id if intent else None

    def made(self, transaction_id: str | None) -> list[dict[str, Any]]:
        """Return the payments, the oldest first: all, or those of one transaction."""
        with self._lock:
            return [
                self._export(intent, intent.told)
                for intent in self._intents.values()
                if transaction_id in {None, intent.transaction_id}
            ]

    def create(self, parameters: Parameters) -> Answer:
        """POST /v1/payment_intents; to confirm one in the same call is refused here."""
        check(parameters, CREATE)
        if parameters.get("confirm") == "true":
            raise Refused(answers.unknown_parameter("confirm"))
        method = self._method(parameters)
        metadata = metadata_of(parameters)
        wanted = {
            "amount": amount_of(parameters),
            "currency": parameters["currency"].lower(),
            "metadata": metadata,
            "capture_method": parameters.get("capture_method", "automatic_async"),
        }
        with self._lock:
            card = {"payment_method": self._card(method.card)} if method else {}
            told = self._origin.made(PATH, **wanted, **card)
            intent = Intent(
                told["id"],
                int(self._clock().timestamp()),
                method,
                settings_of(parameters),
                told,
                metadata.get("transaction_id"),
                may_redirect(parameters),
            )
            self._intents[intent.id] = intent
            return self._changed("created", intent, told)

    def _method(self, parameters: Parameters) -> Method | None:
        name = parameters.get("payment_method")
        if name is None:
            return None
        if name not in METHODS:
            raise Refused(answers.missing("PaymentMethod", name, "payment_method"))
        method = METHODS[name]
        kinds = kinds_of(parameters)
        if kinds and method.kind not in kinds:
            message = f"The PaymentMethod provided ({method.kind}) is not allowed here."
            raise Refused(answers.error(400, INVALID, message, param="payment_method"))
        return method

    def _card(self, number: str) -> str:
        """Return localstripe's id of a card."""
        if number not in self._cards:
            card = {"number": number, "exp_month": 12, "exp_year": 2090, "cvc": "123"}
            told = self._origin.made("/v1/payment_methods", type="card", card=card)
            self._cards[number] = told["id"]
        return self._cards[number]

    def fetch(self, payment_id: str, parameters: Parameters) -> Answer:
        """GET /v1/payment_intents/ID."""
        check(parameters, re.compile("client_secret"))
        with self._lock:
            intent = self._known(payment_id)
            return Answer(200, self._export(intent, self._asked(intent)))

    def confirm(self, payment_id: str, parameters: Parameters) -> Answer:
        """POST /v1/payment_intents/ID/confirm: with the method that it has."""
        check(parameters, CONFIRM)
        with self._lock:
            intent = self._known(payment_id)
            now = self._export(intent, self._asked(intent))
            if now["status"] not in {"requires_confirmation", "requires_action"}:
                raise Refused(answers.unexpected_state("confirm", now))
            if intent.may_redirect and "return_url" not in parameters:
                message = "You must provide a `return_url`, since a method might redirect."
                raise Refused(answers.error(400, INVALID, message, param="return_url"))
            is_debit = intent.method is not None and intent.method.is_debit
            if is_debit and self.asks_for_mandates and not intent.settings["customer"]:
                message = "You must provide `mandate_data`."
                raise Refused(answers.error(400, INVALID, message, param="mandate_data"))
            intent.return_url = parameters.get("return_url")
            if now["status"] == "requires_action":  # the customer is sent there again
                return Answer(200, self._export(intent, self._asked(intent)))
            intent.failure = None
            if is_debit:
                intent.at_bank = True
                return self._changed("processing", intent, self._asked(intent))
            return self._charged(intent, *self._origin.call("POST", f"{PATH}/{intent.id}/confirm"))

    def _charged(self, intent: Intent, status: int, told: Mapping[str, Any]) -> Answer:
        """Answer what localstripe made of a charge."""
        if status == 402:
            code = intent.method.code if intent.method else ""
            return self._failed(intent, "card_error", code, told["error"]["charge"])
        assert status == 200, told
        kind = "requires_action" if told["status"] == "requires_action" else "succeeded"
        return self._changed(kind, intent, told)

    def _failed(self, intent: Intent, kind: str, code: str, charge: str | None) -> Answer:
        """Answer that a payment has failed; it has no method any more."""
        decline_code = intent.method.decline_code if intent.method else ""
        intent.failure = {"type": kind, "code": code, "message": "Your payment was not accepted."}
        if charge:
            intent.failure["charge"] = charge
            if decline_code:
                intent.failure["decline_code"] = decline_code
        intent.method = None
        told = self._changed("payment_failed", intent, self._asked(intent)).body
        error = {**intent.failure, "payment_intent": told}
        return Answer(402, {"error": error})

    def cancel(self, payment_id: str, parameters: Parameters) -> Answer:
        """POST /v1/payment_intents/ID/cancel: what a bank has is out of reach."""
        check(parameters, CANCEL)
        with self._lock:
            intent = self._known(payment_id)
            now = self._export(intent, self._asked(intent))
            if now["status"] in {"succeeded", "processing", "canceled"}:
                raise Refused(answers.unexpected_state("cancel", now))
            told = self._origin.made(f"{PATH}/{intent.id}/cancel")
            intent.canceled_at = int(self._clock().timestamp())
            intent.cancellation_reason = parameters.get("cancellation_reason")
            return self._changed("canceled", intent, told)

    def listed(self, parameters: Parameters) -> Answer:
        """GET /v1/payment_intents: the newest first."""
        check(parameters, LIST)
        limit = int(parameters.get("limit", "10"))
        if not 1 <= limit <= MOST_LISTED:
            raise Refused(answers.error(400, INVALID, "Invalid limit", param="limit"))
        with self._lock:
            places = {payment_id: place for place, payment_id in enumerate(self._intents)}
            newest = sorted(
                self._intents.values(), key=lambda one: (one.created, places[one.id]), reverse=True
            )
            if after := parameters.get("starting_after"):
                if after not in self._intents:
                    raise Refused(answers.missing("payment_intent", after, "starting_after"))
                newest = newest[newest.index(self._intents[after]) + 1 :]
            fit = [one for one in newest if fits(one.created, parameters)]
            page = fit[:limit]
            data = [self._export(one, one.told) for one in page]
        more = len(fit) > limit
        return Answer(200, {"object": "list", "url": PATH, "has_more": more, "data": data})

    def authenticate(self, payment_id: str, *, succeeds: bool) -> str | None:
        """Let the customer do, or fail, what a payment waits for; return where that leads to."""
        with self._lock:
            intent = self._known(payment_id)
            assert self._export(intent, self._asked(intent))["status"] == "requires_action"
            status, told = self._origin.call(
                "POST",
                f"{PATH}/{intent.id}/_authenticate",
                {"client_secret": intent.told["client_secret"], "success": succeeds},
            )
            if succeeds:
                self._charged(intent, status, told)
            else:
                self._failed(intent, INVALID, "payment_intent_authentication_failure", None)
            return intent.return_url

    def decide(self, payment_id: str) -> None:
        """Let the bank say what its debit comes to, as the method has it."""
        with self._lock:
            intent = self._known(payment_id)
            assert intent.at_bank, "no bank has it"
            intent.at_bank = False
            self._charged(intent, *self._origin.call("POST", f"{PATH}/{intent.id}/confirm"))

    def _known(self, payment_id: str) -> Intent:
        intent = self._intents.get(payment_id)
        if intent is None:
            raise Refused(answers.missing("payment_intent", payment_id, "intent"))
        return intent

    def _asked(self, intent: Intent) -> dict[str, Any]:
        status, told = self._origin.call("GET", f"{PATH}/{intent.id}")
        assert status == 200, told
        intent.told = told
        return told

    def _changed(self, kind: str, intent: Intent, told: Mapping[str, Any]) -> Answer:
        """Answer with a payment that has changed, and tell of it."""
        intent.told = told
        payment = self._export(intent, told)
        self._tell(f"payment_intent.{kind}", int(self._clock().timestamp()), payment)
        return Answer(200, payment)

    def _export(self, intent: Intent, told: Mapping[str, Any]) -> dict[str, Any]:
        """Return the payment as Stripe has it."""
        status = "processing" if intent.at_bank else told["status"]
        kept = ("id", "object", "amount", "currency", "metadata", "client_secret", "capture_method")
        charge = told["latest_charge"]
        return {
            **{name: told[name] for name in kept},
            **intent.settings,
            "amount_received": told["amount"] if status == "succeeded" else 0,
            "canceled_at": intent.canceled_at,
            "cancellation_reason": intent.cancellation_reason,
            "created": intent.created,
            "last_payment_error": intent.failure,
            "latest_charge": charge["id"] if charge else None,
            "livemode": self.livemode,
            "next_action": self._next_action(intent, told) if status == "requires_action" else None,
            "payment_method": told["payment_method"] if intent.method else None,
            "status": status,
        }

    def _next_action(self, intent: Intent, told: Mapping[str, Any]) -> Any:
        if intent.return_url is None:
            return told["next_action"]
        redirect = {"url": f"{self._page}/{intent.id}", "return_url": intent.return_url}
        return {"type": "redirect_to_url", "redirect_to_url": redirect}
