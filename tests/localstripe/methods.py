"""Stripe's methods of payment for tests, and what becomes of a payment with each.

Their names are those of "Testing" and "ACH Direct Debit" in Stripe's documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

# Cards as localstripe knows them.
_PAYS = "4242424242424242"
_DECLINES = "4000000000000341"
_AUTHENTICATES = "4000002760003184"
_AUTHENTICATES_AND_DECLINES = "4000008260003178"


@dataclass(frozen=True)
class Method:
    """card is how localstripe is told; code and decline_code say why it is declined, if it is."""

    card: str = _PAYS
    code: str = ""
    decline_code: str = ""
    kind: str = "card"

    @property
    def is_debit(self) -> bool:
        """Whether a bank decides, days later."""
        return self.kind != "card"


def _declined(code: str, decline_code: str = "", card: str = _DECLINES) -> Method:
    return Method(card, code, decline_code)


def _debit(code: str = "") -> Method:
    return Method(_DECLINES if code else _PAYS, code, kind="us_bank_account")


METHODS = {
    "pm_card_visa": Method(),
    "pm_card_mastercard": Method(),
    "pm_card_visa_chargeDeclined": _declined("card_declined", "generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": _declined(
        "card_declined", "insufficient_funds"
    ),
    "pm_card_visa_chargeDeclinedLostCard": _declined("card_declined", "lost_card"),
    "pm_card_visa_chargeDeclinedStolenCard": _declined("card_declined", "stolen_card"),
    "pm_card_chargeDeclinedExpiredCard": _declined("expired_card"),
    "pm_card_chargeDeclinedIncorrectCvc": _declined("incorrect_cvc"),
    "pm_card_chargeDeclinedProcessingError": _declined("processing_error"),
    "pm_card_radarBlock": _declined("card_declined", "fraudulent"),
    "pm_card_authenticationRequired": Method(_AUTHENTICATES),
    "pm_card_threeDSecure2Required": Method(_AUTHENTICATES),
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": _declined(
        "card_declined", "insufficient_funds", _AUTHENTICATES_AND_DECLINES
    ),
    "pm_usBankAccount_success": _debit(),
    "pm_usBankAccount_insufficientFunds": _debit("insufficient_funds"),
    "pm_usBankAccount_accountClosed": _debit("account_closed"),
}
