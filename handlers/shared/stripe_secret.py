"""The secret of the Stripe gateway: what is in it, and what is wrong with it, without its values.

    {"api_key": "rk_test_...", "account": "acct_...", "signing_secrets": ["whsec_...", ...]}

It imports nothing but the standard library, so that whoever has to check a secret can.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

API_BASE = "https://api.stripe.com"

# Stripe, "API keys": a secret key begins with sk_, a restricted one with rk_, and then says whose
# payments it makes. A publishable one, pk_, may not do what a gateway does.
_API_KEY = re.compile(r"[rs]k_(test|live)_[A-Za-z0-9_]{1,250}")
# Stripe, "The Account object": id.
_ACCOUNT = re.compile(r"acct_[A-Za-z0-9]{1,100}")
# Stripe, "Resolve webhook signature verification errors".
_SIGNING_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=_-]{1,250}")
_FIELDS = ("api_key", "account", "signing_secrets", "api_base")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class InvalidSecret(ValueError):
    """The secret is not as it has to be; the text says in what, and holds nothing of it."""


@dataclass(frozen=True)
class StripeSecret:
    """What the gateway is made with.

    account is the one that the key is of, and mode whether real money moves. signing_secrets are
    those of the endpoint that Stripe notifies, several while one is changed, none without such an
    endpoint. api_base is where Stripe is.
    """

    api_key: str = field(repr=False)
    account: str
    mode: Literal["test", "live"]
    signing_secrets: tuple[str, ...] = field(repr=False)
    api_base: str = API_BASE


def parse_secret(text: str | None) -> StripeSecret:
    """Return what a secret's text says.

    api_base is for a stand-in of Stripe: https, or http on this machine, and never with a live key.
    Raises InvalidSecret.
    """
    try:
        told = json.loads(text or "")
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise InvalidSecret("the secret is no JSON object")
    for name in told:
        if name not in _FIELDS:
            raise InvalidSecret(f"the secret has another field than {', '.join(_FIELDS)}")
    api_key = _text(told, "api_key", _API_KEY, "a key that begins with rk_ or sk_")
    mode: Literal["test", "live"] = "live" if api_key[3:].startswith("live_") else "test"
    return StripeSecret(
        api_key=api_key,
        account=_text(told, "account", _ACCOUNT, "an id that begins with acct_"),
        mode=mode,
        signing_secrets=_signing_secrets(told),
        api_base=_api_base(told, mode),
    )


def _text(told: Mapping[str, object], name: str, form: re.Pattern[str], what: str) -> str:
    if name not in told:
        raise InvalidSecret(f"the secret lacks {name}")
    value = told[name]
    if not isinstance(value, str) or not form.fullmatch(value):
        raise InvalidSecret(f"{name} of the secret is not {what}")
    return value


def _signing_secrets(told: Mapping[str, object]) -> tuple[str, ...]:
    if "signing_secrets" not in told:
        raise InvalidSecret("the secret lacks signing_secrets")
    secrets = told["signing_secrets"]
    if not isinstance(secrets, list) or not all(
        isinstance(secret, str) and _SIGNING_SECRET.fullmatch(secret) for secret in secrets
    ):
        raise InvalidSecret("signing_secrets of the secret is no list of texts that begin whsec_")
    return tuple(secrets)


def _api_base(told: Mapping[str, object], mode: str) -> str:
    if "api_base" not in told:
        return API_BASE
    base = told["api_base"]
    if not isinstance(base, str) or not _is_address(base):
        raise InvalidSecret("api_base of the secret is no https URL, nor http on this machine")
    base = base.rstrip("/")
    if mode == "live" and base != API_BASE:
        raise InvalidSecret("api_base of the secret is not Stripe's, and its api_key is a live one")
    return base


def _is_address(base: str) -> bool:
    try:
        parts = urlsplit(base)
        is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return False
    allowed = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    return bool(host) and allowed and is_plain and base.isascii() and base.isprintable()
