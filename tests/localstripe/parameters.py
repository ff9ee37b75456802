"""The parameters of calls about PaymentIntents, by Stripe's "PaymentIntents" reference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.localstripe import answers
from tests.localstripe.answers import INVALID, Refused

# "The amount value supports up to eight digits"; the least is that of a charge in USD.
LEAST_AMOUNT, MOST_AMOUNT = 50, 99_999_999
CREATE = re.compile(
    r"amount|currency|payment_method|confirm|capture_method|confirmation_method|description"
    r"|customer|off_session|receipt_email|statement_descriptor(_suffix)?|metadata\[[^\[\]]{1,40}\]"
    r"|payment_method_types\[\d*\]|automatic_payment_methods\[(enabled|allow_redirects)\]"
)
CONFIRM = re.compile(r"return_url|off_session|error_on_requires_action|use_stripe_sdk")
CANCEL = re.compile(r"cancellation_reason")
LIST = re.compile(r"limit|starting_after|created\[(gt|gte|lt|lte)\]")
Parameters = Mapping[str, str]


def check(parameters: Parameters, known: re.Pattern[str]) -> None:
    for name in parameters:
        if not known.fullmatch(name):
            raise Refused(answers.unknown_parameter(name))


def amount_of(parameters: Parameters) -> int:
    """Return the amount; the currency has to be there, too."""
    for name in ("amount", "currency"):
        if not parameters.get(name):
            message = f"Missing required param: {name}."
            raise Refused(answers.error(400, INVALID, message, "parameter_missing", param=name))
    if not re.fullmatch(r"\d+", parameters["amount"], re.ASCII):
        raise Refused(answers.error(400, INVALID, "Invalid integer", param="amount"))
    amount = int(parameters["amount"])
    for code, wrong in (
        ("amount_too_small", amount < LEAST_AMOUNT),
        ("amount_too_large", amount > MOST_AMOUNT),
    ):
        if wrong:
            raise Refused(answers.error(400, INVALID, "Amount must be other", code, param="amount"))
    return amount


def metadata_of(parameters: Parameters) -> dict[str, str]:
    found = {re.fullmatch(r"metadata\[(.+)\]", name): text for name, text in parameters.items()}
    return {name[1]: text for name, text in found.items() if name}


def may_redirect(parameters: Parameters) -> bool:
    """Whether the methods of payment that the account has, or one that redirects, are allowed.

    They are unless the call says otherwise ("Create a PaymentIntent", since 2023-08-16).
    """
    if kinds_of(parameters):
        return False
    if parameters.get("automatic_payment_methods[enabled]", "true") != "true":
        return False
    return parameters.get("automatic_payment_methods[allow_redirects]", "always") == "always"


def kinds_of(parameters: Parameters) -> list[str]:
    """Return the kinds of methods that are allowed, if the call names them."""
    return [parameters[one] for one in parameters if one.startswith("payment_method_types")]


def settings_of(parameters: Parameters) -> dict[str, Any]:
    """Return the fields of a payment that only repeat what was asked for."""
    kinds = kinds_of(parameters)
    redirects = parameters.get("automatic_payment_methods[allow_redirects]", "always")
    return {
        "automatic_payment_methods": (
            None if kinds else {"enabled": True, "allow_redirects": redirects}
        ),
        "confirmation_method": parameters.get("confirmation_method", "automatic"),
        "customer": parameters.get("customer"),
        "description": parameters.get("description"),
        "payment_method_types": kinds or ["card", "us_bank_account"],
    }


def fits(created: int, parameters: Parameters) -> bool:
    """Whether an object that was made then is one that a list is asked for."""
    bounds = {name: parameters.get(f"created[{name}]") for name in ("gt", "gte", "lt", "lte")}
    least, most = bounds["gte"], bounds["lte"]
    above, below = bounds["gt"], bounds["lt"]
    return (
        (least is None or created >= int(least))
        and (most is None or created <= int(most))
        and (above is None or created > int(above))
        and (below is None or created < int(below))
    )
