"""Stripe's PaymentIntent, read as the payment of a gateway in two steps.

The statuses and their meaning are those of Stripe's page "How PaymentIntents and SetupIntents
work", the fields those of "The PaymentIntent object".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayPayment,
    NotCharged,
    Open,
    Pending,
)
from handlers.shared.stripe_api import Object, Refused, word

if TYPE_CHECKING:
    from handlers.shared.gateway import Mode, Outcome

# Where a customer does what he has yet to do: a bank's page, or a page of Stripe's that says what.
_ADDRESSES = ("url", "hosted_voucher_url", "hosted_verification_url", "hosted_instructions_url")
# What Stripe says of an amount that it does not take (Stripe, "Error codes").
_AMOUNTS = frozenset({"amount_too_small", "amount_too_large", "invalid_charge_amount"})
# What it says of a method, beside all that begins with payment_method_.
_METHODS = frozenset(
    {"payment_intent_incompatible_payment_method", "payment_intent_mandate_invalid"}
)
# Begin as those of a customer's method do, and are the operator's, or pass.
_NOT_OF_THE_METHOD = frozenset(
    {"payment_method_configuration_failures", "payment_method_provider_timeout"}
)
UNNAMED = "payment_failed"


def payment_of(intent: Object, account: str) -> GatewayPayment:
    """Return a PaymentIntent as a payment of an account.

    What a payment that succeeded has collected is its amount: somebody may have captured a part.
    Raises KeyError, TypeError or ValueError if it is none.
    """
    outcome = _outcome(intent)
    amount = intent["amount"]
    if isinstance(outcome, Charged):
        amount = intent.get("amount_received", amount)
    if type(amount) is not int:
        raise TypeError("an amount is a whole number")
    metadata = intent.get("metadata")
    transaction_id = metadata.get("transaction_id") if isinstance(metadata, dict) else None
    return GatewayPayment(
        id=_text(intent["id"]),
        amount=amount,
        currency=_text(intent["currency"]).upper(),
        account=account,
        mode=mode_of(intent["livemode"]),
        outcome=outcome,
        transaction_id=transaction_id if isinstance(transaction_id, str) else None,
        created_at=datetime.fromtimestamp(intent["created"], UTC),
    )


def mode_of(live: object) -> Mode:
    """Return what `livemode` says. Raises TypeError if that is neither true nor false."""
    if type(live) is not bool:
        raise TypeError("livemode is true or false")
    return "live" if live else "test"


def declined(refused: Refused) -> Declined | None:
    """Return what is told of a payment that Stripe refuses since its method, its amount or its
    currency is of no use; None if the refusal is no fault of whoever pays."""
    code, param = refused.code, refused.param
    if refused.type == "card_error":
        return Declined(code or UNNAMED, another_method=True)
    if code in _AMOUNTS or param in {"amount", "currency"}:
        return Declined(code or f"{param}_not_supported")
    begins_so = code.startswith("payment_method_") and code not in _NOT_OF_THE_METHOD
    if begins_so or code in _METHODS:
        return Declined(code, another_method=True)
    if param == "mandate_data" or refused.lacks_mandate:
        return Declined("mandate_missing", another_method=True)
    if param == "payment_method" and not code.startswith("parameter"):
        return Declined(code or "payment_method_refused", another_method=True)
    if param == "customer" and code == "resource_missing":
        return Declined("customer_unknown")
    return None


def _outcome(intent: Object) -> Outcome:
    match intent["status"]:
        case "succeeded":
            return Charged(_capture(intent))
        case "requires_confirmation":
            return Open()
        case "requires_action":
            return _action(intent.get("next_action"))
        case "processing" | "requires_capture":
            # Of the latter, somebody else has made a hold that nobody has captured so far.
            return Pending()
        case "requires_payment_method":
            failure = _failure(intent)
            return Open() if failure is None else Declined(failure, another_method=True)
        case "canceled":
            return NotCharged(_failure(intent))
    raise ValueError("a status that nobody knows")


def _capture(intent: Object) -> str:
    """Return what the capture is called: the charge that paid it, as Stripe's reports have it.

    That stays the same, also when money is given back (Stripe, "The PaymentIntent object":
    latest_charge). Without one it is the payment itself.
    """
    charge = intent.get("latest_charge")
    if isinstance(charge, dict):
        charge = charge.get("id")
    return charge if isinstance(charge, str) and charge else _text(intent["id"])


def _action(action: Any) -> Pending | Declined:
    """Return where the customer goes on.

    What Stripe's library in his browser would have to do, nobody can: it needs the client_secret,
    which this API gives to nobody. That comes without a return_url alone (Stripe, "3D Secure
    authentication": manual redirect).
    """
    kind = action.get("type") if isinstance(action, dict) else None
    if kind == "use_stripe_sdk":
        return Declined("authentication_required", another_method=True)
    details = action.get(kind) if isinstance(kind, str) else None
    if isinstance(details, dict):
        for name in _ADDRESSES:
            address = details.get(name)
            if isinstance(address, str) and address:
                return Pending(address)
    return Pending()


def _failure(intent: Object) -> str | None:
    """Return the code with which the payment has failed, None if it has not."""
    error = intent.get("last_payment_error")
    if not isinstance(error, dict):
        return None
    return word(error.get("decline_code")) or word(error.get("code")) or UNNAMED


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a text that is not empty is missing")
    return value
