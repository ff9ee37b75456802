"""The sandbox of a real payment gateway, which the functions on this machine may charge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from payment_infra.artifacts import check_handlers
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.gateway_check import make_gateway
from payment_infra.gateway_names import (
    SIMULATED_GATEWAY,
    STRIPE_GATEWAY,
    gateway_name,
    needs_secret,
)
from payment_infra.stripe_key import judge_account, judge_signing, parse_secret

if TYPE_CHECKING:
    from payment_infra.config import StackConfig


def check_sandbox(config: StackConfig, secret: str) -> Iterator[str]:
    """Make sure that a gateway takes a secret, and moves no real money with it; yield warnings.

    "" is for none.

    Payments from this machine are for trying: nothing here guards them as AWS does, so no question
    and no flag lets a key in that moves real money.

    Raises:
        UsageError: the gateway has no secret, or was given none, or what is named is no gateway.
        PaymentInfraError: the class cannot be made with it, or its mode is live.
    """
    name = gateway_name(config.gateway)
    if not secret:
        if needs_secret(config.gateway):
            raise UsageError(
                f"the {name} gateway needs a secret; name a file with that of its sandbox by "
                "--gateway-secret-file"
            )
        return
    if config.gateway == SIMULATED_GATEWAY:
        raise UsageError(f"the {name} gateway has no secret; name another one with --gateway")
    check_handlers(config)
    for result in make_gateway(config, secret):
        if result.level == "fail":
            raise PaymentInfraError(
                f"gateway {name}: {result.message}; give the secret of its sandbox, in test mode"
            )
        yield (
            f"gateway {name}: {result.message}; if it does, every payment here does: make sure "
            "that the secret is its sandbox's"
        )
    if config.gateway == STRIPE_GATEWAY:
        yield from _judged(secret, notifies=config.gateway_events)


def _judged(text: str, *, notifies: bool) -> Iterator[str]:
    secret = parse_secret(text)
    for level, message in (judge_signing(secret, notifies=notifies), judge_account(secret)):
        if level == "fail":
            raise PaymentInfraError(f"the secret of the stripe gateway: {message}")
        if message:
            yield f"the secret of the stripe gateway: {message}"
