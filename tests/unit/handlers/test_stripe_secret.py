"""What the secret of the Stripe gateway may be; nothing of it is in what is said of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from handlers.shared.stripe_secret import API_BASE, InvalidSecret, parse_secret
from tests.unit.handlers.stripe_wire import ACCOUNT, KEY, SIGNING, secret


def test_a_secret_says_key_account_and_signing_secrets() -> None:
    told = parse_secret(secret())
    assert (told.api_key, told.account, told.mode) == (KEY, ACCOUNT, "test")
    assert (told.signing_secrets, told.api_base) == ((SIGNING,), API_BASE)
    assert KEY not in repr(told)
    assert SIGNING not in repr(told)


@pytest.mark.parametrize(
    ("api_key", "mode"),
    [
        ("sk_test_live_1", "test"),
        ("rk_test_1", "test"),
        ("sk_live_test_1", "live"),
        ("rk_live_1", "live"),
    ],
)
def test_the_key_says_whether_real_money_moves(api_key: str, mode: str) -> None:
    assert parse_secret(secret(api_key=api_key)).mode == mode


@pytest.mark.parametrize("secrets", [[], ["whsec_a", "whsec_b+/="]])
def test_there_may_be_no_signing_secret_and_several(secrets: list[str]) -> None:
    assert parse_secret(secret(signing_secrets=secrets)).signing_secrets == tuple(secrets)


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("https://api.stripe.com/", "https://api.stripe.com"),
        ("https://stripe.example:8443/x", "https://stripe.example:8443/x"),
        ("http://127.0.0.1:8420", "http://127.0.0.1:8420"),
        ("http://localhost:8420", "http://localhost:8420"),
        ("http://[::1]:8420", "http://[::1]:8420"),
    ],
)
def test_a_stand_in_is_reached_safely_or_on_this_machine(base: str, told: str) -> None:
    assert parse_secret(secret(api_base=base)).api_base == told


def test_a_live_key_goes_to_stripe_alone() -> None:
    live = parse_secret(secret(api_key="sk_live_canary", api_base=API_BASE))
    assert live.api_base == API_BASE
    with pytest.raises(InvalidSecret, match="is not Stripe's, and its api_key is a live one"):
        parse_secret(secret(api_key="sk_live_canary", api_base="http://127.0.0.1:1"))


FORM = "the secret is no JSON object"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, FORM),
        ("", FORM),
        (KEY, FORM),
        (f'"{KEY}"', FORM),
        (f"[{secret()}]", FORM),
        (secret()[:-1], FORM),
        ("[" * 60_000, FORM),
        (secret(api_key=None), "the secret lacks api_key"),
        (secret(account=None), "the secret lacks account"),
        (secret(signing_secrets=None), "the secret lacks signing_secrets"),
        (
            secret(canary=KEY),
            "has another field than api_key, account, signing_secrets, api_base",
        ),
        (secret(api_key="pk_test_canary"), "api_key of the secret is not a key that begins"),
        (secret(api_key="sk_canary"), "api_key of the secret is not"),
        (secret(api_key=f"{KEY}\n"), "api_key of the secret is not"),
        (secret(api_key=[KEY]), "api_key of the secret is not"),
        (secret(api_key=""), "api_key of the secret is not"),
        (secret(account="canary"), "account of the secret is not an id that begins with acct_"),
        (secret(account=f"{ACCOUNT}é"), "account of the secret is not"),
        (secret(signing_secrets=SIGNING), "signing_secrets of the secret is no list"),
        (secret(signing_secrets=["canary"]), "signing_secrets of the secret is no list"),
        (secret(signing_secrets=[SIGNING, 1]), "signing_secrets of the secret is no list"),
        *(
            (secret(api_base=base), "api_base of the secret is no https URL, nor http on this")
            for base in (
                *("http://canary.example", "ftp://127.0.0.1", "127.0.0.1:8420", "https://", ""),
                *("https://canary:canary@stripe.example", "https://stripe.example?canary", 1),
                *(
                    "http://127.0.0.1.canary.example",
                    "https://a:port",
                    "https://a\r\nb",
                    "http://[",
                ),
            )
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_of_the_secret(text: str | None, problem: str) -> None:
    with pytest.raises(InvalidSecret) as invalid:
        parse_secret(text)
    assert problem in str(invalid.value)
    assert "canary" not in str(invalid.value)
    assert KEY not in str(invalid.value)


def test_whoever_checks_a_secret_needs_the_standard_library_alone() -> None:
    script = (
        "import sys; before = set(sys.modules); import handlers.shared.stripe_secret;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "assert new - {'handlers'} <= set(sys.stdlib_module_names), new"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
