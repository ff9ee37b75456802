"""The secret of the Stripe gateway, looked at before a deployment and by doctor."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.checks import Check
from payment_infra.cloud.deploying.gateway_key import check_secret
from payment_infra.config import StackConfig
from payment_infra.gateway_names import STRIPE_GATEWAY
from payment_infra.stripe_key import Judgment
from tests.aws import FakeAws, Refused

if TYPE_CHECKING:
    from payment_infra.stripe_key import Judge

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:stripe-AbCdEf"
CONFIG = StackConfig(gateway=STRIPE_GATEWAY, gateway_secret=ARN)
PRODUCTION = replace(CONFIG, preset="production")
TEST = {"api_key": "rk_test_canary", "account": "acct_1", "signing_secrets": ["whsec_canary"]}
LIVE = TEST | {"api_key": "rk_live_canary"}
DEPLOY = "payment-infra deploy --suffix dev"


def checked(
    secret: object,
    config: StackConfig = CONFIG,
    *allow: str,
    judge: Judge = lambda _: Judgment("ok"),
    **options: Any,
) -> Check:
    """Return what is found of a secret, or of what reading it fails with."""
    aws = FakeAws()
    if isinstance(secret, Exception):
        aws.errors["secretsmanager:GetSecretValue"] = secret
    else:
        text = secret if isinstance(secret, str) else json.dumps(secret)
        aws.answers["secretsmanager:GetSecretValue"] = {"SecretString": text}
    found = check_secret(aws.session(), config, DEPLOY, allow, judge=judge, **options)
    assert aws.called("secretsmanager:GetSecretValue") == [{"SecretId": ARN}]
    assert "canary" not in f"{found}"
    return found


@pytest.mark.parametrize(
    "config",
    [StackConfig(), StackConfig(gateway="acme.py:Acme", gateway_secret=ARN)],
)
def test_no_secret_is_read_but_of_the_gateway_that_is_known(config: StackConfig) -> None:
    aws = FakeAws()
    assert check_secret(aws.session(), config, DEPLOY) == Check("secret", "ok")
    assert aws.calls == []


def test_a_sound_one_is_fine() -> None:
    assert checked(TEST) == Check("secret", "ok")
    assert checked(LIVE, PRODUCTION) == Check("secret", "ok")


def test_stripe_needs_one() -> None:
    found = check_secret(FakeAws().session(), replace(CONFIG, gateway_secret=""), DEPLOY)
    assert (found.level, found.message) == (
        "fail",
        "the gateway has no secret; name its ARN by --gateway-secret",
    )


@pytest.mark.parametrize(
    "secret",
    ["canary", {"api_key": "rk_test_canary"}, TEST | {"canary": 1}, TEST | {"api_key": 1}],
)
def test_one_that_is_wrong_fails(secret: object) -> None:
    found = checked(secret)
    assert found.level == "fail"
    assert found.message.startswith(f"secret {ARN}: ")
    assert found.message.endswith("; mend it, or no payment can be charged")


def test_one_without_a_text_fails() -> None:
    aws = FakeAws()
    aws.answers["secretsmanager:GetSecretValue"] = {"SecretBinary": b"canary"}
    assert check_secret(aws.session(), CONFIG, DEPLOY).level == "fail"


def test_notifications_need_a_signing_secret() -> None:
    bare = TEST | {"signing_secrets": []}
    assert checked(bare) == Check("secret", "ok")
    found = checked(bare, replace(CONFIG, gateway_events=True))
    assert found.level == "fail"
    assert "signing_secrets are empty, so no notification would be taken" in found.message


@pytest.mark.parametrize(
    ("secret", "config", "named", "told"),
    [
        (
            LIVE,
            CONFIG,
            "live-key",
            "has a live key, so every payment would move real money, and the environment has the "
            "preset development",
        ),
        (
            TEST,
            PRODUCTION,
            "test-key",
            "has a test key, so no payment would move any money, and the environment has the "
            "preset production",
        ),
    ],
)
def test_a_key_that_belongs_to_another_environment_is_taken_only_if_it_is_named(
    secret: dict[str, object], config: StackConfig, named: str, told: str
) -> None:
    asked: list[object] = []

    def judge(given: object) -> Judgment:
        asked.append(given)
        return Judgment("ok")

    found = checked(secret, config, judge=judge)
    assert (found.level, found.message, asked) == (
        "fail",
        f"secret {ARN}: {told}; name the secret that belongs to it, or this: "
        f"`{DEPLOY} --allow {named}`",
        [],
    )
    other = {"live-key": "test-key", "test-key": "live-key"}[named]
    assert checked(secret, config, other, "gateway").level == "fail"
    assert checked(secret, config, mode_level="warn").level == "warn"
    assert checked(secret, config, named, judge=judge) == Check("secret", "ok")
    assert len(asked) == 1


def test_what_stripe_says_of_the_key_is_told_with_the_secrets_name() -> None:
    found = checked(TEST, judge=lambda _: Judgment("fail", "it is rotated"))
    assert found == Check("secret", "fail", f"secret {ARN}: it is rotated")
    found = checked(TEST, judge=lambda _: Judgment("warn", "nobody answers"))
    assert found == Check("secret", "warn", f"secret {ARN}: nobody answers")


@pytest.mark.parametrize(
    "error",
    [
        Refused("AccessDeniedException", "no", 400),
        Refused("ThrottlingException", "slowly", 400),
        Refused("InternalServiceError", "", 500),
    ],
)
def test_one_that_could_not_be_read_is_told_and_no_failure(error: Exception) -> None:
    found = checked(error)
    assert found.level == "warn"
    assert found.message.startswith(f"the gateway's secret was not checked: secret {ARN}: ")


@pytest.mark.parametrize(
    "error",
    [
        Refused("ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
        Refused("InvalidRequestException", "It was marked for deletion."),
    ],
)
def test_one_that_is_not_there_fails(error: Refused) -> None:
    found = checked(error)
    assert found.level == "fail"
    assert found.message.endswith("; make it, or name another one by --gateway-secret")
    assert error.message.rstrip(".") in found.message
