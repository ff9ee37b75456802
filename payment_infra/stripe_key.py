"""Stripe's secret as the functions read it, and whether its key is one of its account.

Both are done by the handlers' own modules, so that nothing is judged otherwise here than there.
They are read from their files, as `artifacts` finds these: what is imported under their name may be
somebody else's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any, NamedTuple

from payment_infra.artifacts import HANDLERS
from payment_infra.errors import PaymentInfraError

if TYPE_CHECKING:
    from handlers.shared.stripe_http import HttpAnswer, HttpRequest
    from handlers.shared.stripe_secret import StripeSecret
    from payment_infra.checks import Level

# To connect, to agree on TLS and to be answered; nobody waits longer for what is no condition.
ASK_SECONDS = 5.0
UNKNOWN = "whether its api_key is one of its account could not be found out: "


REFUSED = "Stripe does not accept its api_key, which may have been rotated; put in the one of now"
OTHER = "its api_key is of another account than it says; put in the key and the id of one account"
UNSIGNED = (
    "its signing_secrets are empty, so no notification would be taken; put in that of the endpoint "
    "at Stripe, or leave gateway_events off"
)


class Judgment(NamedTuple):
    """What is wrong with a key, or could not be told; "" and "ok" if nothing is."""

    level: Level
    message: str = ""


# Says whether the key of a secret is one of its account.
Judge = Callable[["StripeSecret"], Judgment]


def parse_secret(text: str | None) -> StripeSecret:
    """Return what the gateway's secret says.

    Raises:
        PaymentInfraError: it is not as it has to be; nothing of it is told.
    """
    try:
        parsed: StripeSecret = _handlers("stripe_secret").parse_secret(text)
    except ValueError as error:  # its InvalidSecret
        told = str(error)
    else:
        return parsed
    raise PaymentInfraError(told)


def judge_signing(secret: StripeSecret, *, notifies: bool) -> Judgment:
    """Look whether notifications could be verified, if there are to be any."""
    return Judgment("fail", UNSIGNED) if notifies and not secret.signing_secrets else Judgment("ok")


def judge_account(
    secret: StripeSecret, send: Callable[[HttpRequest, float], HttpAnswer] | None = None
) -> Judgment:
    """Ask Stripe whose the key is (Stripe, "The Account object"): one request, which moves nothing.

    A warning says that it could not be told, for want of a network or of a permission.

    Args:
        secret: has the key, and the account that it should be of.
        send: as `stripe_http` has it.
    """
    http = _handlers("stripe_http")
    headers = {"Authorization": f"Bearer {secret.api_key}", "User-Agent": "payment-infra"}
    request = http.HttpRequest("GET", f"{secret.api_base}/v1/account", headers)
    try:
        answer = (send or http.send)(request, ASK_SECONDS)
    except (http.NotSent, http.NotAnswered) as error:
        return Judgment("warn", f"{UNKNOWN}Stripe did not answer ({error.code})")
    found = _object(answer.body)
    if answer.status == 401 and isinstance(found.get("error"), dict):
        return Judgment("fail", REFUSED)
    if answer.status == 403:
        return Judgment(
            "warn", f"{UNKNOWN}the key may not read its account; allow the restricted key that"
        )
    if answer.status != 200 or found.get("object") != "account":
        return Judgment("warn", f"{UNKNOWN}Stripe answered {answer.status}")
    if found.get("id") != secret.account:
        return Judgment("fail", OTHER)
    return Judgment("ok")


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@cache
def _handlers(name: str) -> Any:
    """Return a module of the handlers that imports no other one of them."""
    own = f"payment_infra_handlers_{name}"
    spec = spec_from_file_location(own, HANDLERS / "shared" / f"{name}.py")
    if spec is None or spec.loader is None:
        raise PaymentInfraError(f"{HANDLERS}: has no {name}; install payment-infra anew")
    module = module_from_spec(spec)
    sys.modules[own] = module  # a dataclass looks itself up there
    try:
        spec.loader.exec_module(module)
    except OSError as error:
        raise PaymentInfraError(
            f"{error.filename}: cannot be read ({error.strerror}); install payment-infra anew"
        ) from error
    return module
