"""What a gateway needs of a payment, and takes: asked of its class, without its secret.

/validate asks, so that a client learns at once what it would learn at /process; and so does the
first attempt to charge, for a row that was validated under another gateway.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from handlers.shared.fields import InvalidField
from handlers.shared.gateway import Declined
from handlers.shared.money import MINOR_DIGITS, Money

if TYPE_CHECKING:
    from collections.abc import Collection

    from handlers.shared.transactions import Transaction


def missing(gateway: Any, given: Collection[str]) -> list[str]:
    """Return the names of the fields that a gateway needs, and that were not given."""
    return sorted(frozenset(getattr(gateway, "NEEDS", ())) - frozenset(given))


def units(gateway: Any, money: Money) -> int:
    """Return an amount in the units in which a gateway counts its currency.

    One that says nothing counts as ISO 4217 does. Raises InvalidField if the gateway does not take
    the currency, or cannot hold the amount: by its digits, or by its `step`, of which the units
    have to be a multiple.
    """
    digits = getattr(gateway, "digits", MINOR_DIGITS.get)(money.currency)
    if digits is None:
        raise InvalidField("currency", "The payment gateway does not take the currency")
    counted = money.units(digits)
    step = getattr(gateway, "step", _one)(money.currency)
    if counted % step:
        least = Decimal(step).scaleb(-digits)
        raise InvalidField("amount", f"Amount must be a multiple of {least} at the payment gateway")
    return counted


def minor_units(gateway: Any, amount: int, currency: str) -> int | None:
    """Return in ISO 4217's minor units what a gateway counts in its own; None if it does not take
    the currency, or they cannot hold the amount."""
    digits = getattr(gateway, "digits", MINOR_DIGITS.get)(currency)
    if digits is None or currency not in MINOR_DIGITS:
        return None
    exact = Decimal(amount).scaleb(MINOR_DIGITS[currency] - digits)
    return int(exact) if exact == int(exact) else None


def _one(_currency: str) -> int:
    return 1


def refusal(gateway: Any, transaction: Transaction) -> Declined | None:
    """Return why a payment that nobody has begun cannot be charged at a gateway, None if it can."""
    if not hasattr(gateway, "NEEDS") and not hasattr(gateway, "digits"):
        return None
    lacking = missing(gateway, transaction.details)
    if lacking:
        return Declined(f"no_{lacking[0]}", another_method=lacking == ["payment_method"])
    try:
        units(gateway, Money(transaction.amount_minor, transaction.currency))
    except InvalidField as invalid:
        return Declined(f"{invalid.field}_not_supported")
    return None
