"""Whether the secret of the Stripe gateway is one that an environment can charge with.

It is read, if the caller may, and never shown. What cannot be found out is a warning: neither a
missing permission nor a dead network says that payments would fail.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from payment_infra.checks import Check
from payment_infra.cloud.deploying.options import LIVE_KEY, TEST_KEY
from payment_infra.cloud.sdk.errors import is_passing, is_unavailable, translated
from payment_infra.errors import AwsError, PaymentInfraError
from payment_infra.gateway_names import STRIPE_GATEWAY
from payment_infra.stripe_key import judge_account, judge_signing, parse_secret

if TYPE_CHECKING:
    from payment_infra.checks import Level
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.config import StackConfig
    from payment_infra.stripe_key import Judge

NAME = "secret"
# By mode of the key: the preset that it is for, what payments would do, and what allows it.
MEANINGS = {
    "live": ("production", "a live key, so every payment would move real money", LIVE_KEY),
    "test": ("development", "a test key, so no payment would move any money", TEST_KEY),
}


def has_key(config: StackConfig) -> bool:
    """Whether the gateway is one whose secret is known here."""
    return config.gateway == STRIPE_GATEWAY


def check_secret(
    session: Session,
    config: StackConfig,
    command: str,
    allow: Collection[str] = (),
    mode_level: Level = "fail",
    judge: Judge = judge_account,
) -> Check:
    """Look whether the gateway's secret is sound; a message says all, with what to do.

    Args:
        session: who reads it, where the functions do.
        config: names the gateway and its secret, and what the environment is for.
        command: what is to be repeated with --allow.
        allow: LIVE_KEY, TEST_KEY: keys that are taken whatever the environment is for.
        mode_level: how bad the other keys are.
        judge: asks Stripe whose the key is.
    """
    if not has_key(config):
        return Check(NAME, "ok")
    if not config.gateway_secret:
        return Check(NAME, "fail", "the gateway has no secret; name its ARN by --gateway-secret")
    subject = f"secret {config.gateway_secret}"
    try:
        text = _read(session, config.gateway_secret, subject)
    except AwsError as error:
        if is_unavailable(error) or is_passing(error):
            return Check(NAME, "warn", f"the gateway's secret was not checked: {error}")
        return Check(NAME, "fail", f"{error}; make it, or name another one by --gateway-secret")
    try:
        secret = parse_secret(text)
    except PaymentInfraError as error:
        return Check(NAME, "fail", f"{subject}: {error}; mend it, or no payment can be charged")
    level, message = judge_signing(secret, notifies=config.gateway_events)
    if message:
        return Check(NAME, level, f"{subject}: {message}")
    preset, meaning, named = MEANINGS[secret.mode]
    if config.preset != preset and named not in allow:
        return Check(
            NAME,
            mode_level,
            f"{subject}: has {meaning}, and the environment has the preset {config.preset}; name "
            f"the secret that belongs to it, or this: `{command} --allow {named}`",
        )
    level, message = judge(secret)
    return Check(NAME, level, f"{subject}: {message}" if message else "")


def _read(session: Session, arn: str, subject: str) -> str | None:
    """Return the text of a secret, None for one that has none; fails as `translated`."""
    client = session.client("secretsmanager")
    with translated(subject):
        text: str | None = client.get_secret_value(SecretId=arn).get("SecretString")
        return text
