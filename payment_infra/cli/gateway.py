"""`payment-infra gateway`: trying a payment gateway before anybody pays with it."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import Group, everywhere
from payment_infra.cli.options import config_options, output_option, secret_option, yes_option
from payment_infra.cli.views.output import confirm, print_json
from payment_infra.errors import PaymentInfraError, UsageError

if TYPE_CHECKING:
    from payment_infra.conformance import Result
    from payment_infra.sources import Resolved


@click.group("gateway", cls=Group)
@everywhere
def command() -> None:
    """Try a payment gateway before anybody pays with it.

    \b
    Example:
      payment-infra gateway check acme.py:Acme --secret-file sandbox-key.txt
    """


@command.command("check")
@click.argument("gateway", required=False, metavar="[FILE:CLASS]")
@secret_option("--secret-file")
@click.option("--payment-method", default="", metavar="TOKEN", help="What the sandbox charges.")
@click.option("--declined-method", default="", metavar="TOKEN", help="What the sandbox declines.")
@click.option(
    "--pending-method", default="", metavar="TOKEN", help="What the sandbox leaves pending."
)
@click.option("--customer", default="", metavar="ID", help="Customer whose payments are charged.")
@click.option(
    "--declined-customer", default="", metavar="ID", help="Customer whose payments are declined."
)
@click.option("--currency", default="", metavar="CODE", help="Of the payments.  [default: USD]")
@config_options("suffix", "gateway_requirements")
@yes_option
@output_option
@everywhere
def check(secret: str, resolved: Resolved, yes: bool, output: str, **tokens: str) -> None:
    """Try a gateway class with payments at its own sandbox.

    What every gateway has to do: charge once whatever is repeated, tell what it has, cancel for
    good, decline and wait as it says, in the right amounts and in time. The class is imported as
    the functions import it. Never with a key that moves real money: one whose mode is live is
    refused. Exits 1 if a check fails.

    \b
    Example:
      payment-infra gateway check simulated --yes --declined-customer sim-decline
    """
    from payment_infra.artifacts import check_handlers
    from payment_infra.checks import Check
    from payment_infra.cli.views.doctor import draw
    from payment_infra.gateway_check import try_gateway
    from payment_infra.gateway_names import gateway_name, needs_secret

    config = resolved.config
    if not secret and needs_secret(config.gateway):
        raise UsageError(
            f"the {gateway_name(config.gateway)} gateway needs a secret; name a file with that of "
            "its sandbox by --secret-file"
        )
    check_handlers(config)
    confirm(f"Make payments with {gateway_name(config.gateway)} at its sandbox?", yes)
    width = shutil.get_terminal_size().columns
    found: list[Result] = []
    named = {name: value for name, value in tokens.items() if value}
    for result in try_gateway(config, named, secret):
        found.append(result)
        if output == "text":
            click.echo(draw(Check(result.name, result.level, result.message), width))
    if output == "json":
        print_json([asdict(result) for result in found])
    if failed := sum(result.level == "fail" for result in found):
        raise PaymentInfraError(f"{failed} of {len(found)} checks failed")
