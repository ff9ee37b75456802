"""`payment-infra local`."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from payment_infra.cli import interruption
from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import (
    config_options,
    method_option,
    secret_option,
    stack_name_option,
)
from payment_infra.cli.sections import Sectioned
from payment_infra.cli.views.output import note, print_outputs
from payment_infra.config import FIELDS
from payment_infra.foreign import escaped
from payment_infra.gateway_names import SCRIPTED_GATEWAY, STRIPE_GATEWAY
from payment_infra.local.refused import DEFAULT_SUFFIX, OWN
from payment_infra.names import GATEWAY_EVENTS_PATH

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.logs import LogLine
    from payment_infra.config import StackConfig
    from payment_infra.local.stack import LocalStack
    from payment_infra.sources import Resolved

DEFAULT_PORT = 4566
# What each gateway charges that needs a payment method.
METHODS = {SCRIPTED_GATEWAY: "paid", STRIPE_GATEWAY: "pm_card_visa"}
# Others (Stripe, "Testing": PaymentMethods).
STRIPE_METHODS = """
Other payment_methods: pm_card_visa_chargeDeclined; pm_card_authenticationRequired, with a
"return_url" beside it, whose next_action is the page of the bank"""


@click.command("local", cls=Sectioned)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--state",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Keep the stack and its payments in DIR for the next run.",
)
@click.option("--smoke", is_flag=True, help="Run the smoke check, stop, and exit with its status.")
@click.option("--pay", is_flag=True, help="Let --smoke charge at a real gateway, too: 100.50 USD.")
@method_option
@secret_option("--gateway-secret-file")
@click.option("-v", "--verbose", is_flag=True, help="Show every request and its answer.")
@config_options(*(name for name in FIELDS if name not in OWN), suffix=DEFAULT_SUFFIX)
@stack_name_option
@everywhere
def command(
    resolved: Resolved,
    port: int,
    state: Path | None,
    smoke: bool,
    pay: bool,
    payment_method: str,
    secret: str,
    verbose: bool,
) -> None:
    """Run the stack on this machine, without an AWS account.

    Starts the embedded AWS on 127.0.0.1, deploys the stack to it as `deploy` does, and shows the
    functions' logs until Ctrl-C. The API is open there: it takes unsigned requests. A gateway's
    secret stays in memory; one that moves real money is refused.

    \b
    Example:
      payment-infra local --port 4566
      payment-infra local --gateway scripted --gateway-secret-file key.json
    """
    # A shell that starts this in the background has SIGINT ignored; here it must stop everything.
    # That the terminal's end is ignored was asked for (`nohup`).
    interruption.handle(ignored=(signal.SIGINT, signal.SIGTERM))
    from payment_infra.gateway_names import moves_money
    from payment_infra.gateway_network import network_variables
    from payment_infra.local import stack as local
    from payment_infra.local.emulator import emulator
    from payment_infra.local.sandbox import check_sandbox

    for warning in check_sandbox(resolved.config, secret):
        note(f"Warning: {warning}")
    gateway = resolved.config.gateway
    method = payment_method or METHODS.get(gateway, "")
    network = network_variables(os.environ) if moves_money(gateway) else {}
    note("Starting the embedded AWS ...")
    with emulator(port, state=state, network=network, keep_secrets=not secret) as running:
        session = local.open_session(running)
        note(f"Deploying to {running.url} ...")
        deployed = local.deploy(session, resolved, secret)
        note(f"Deployed {deployed.resources} resources.\n")
        for setting, reason in deployed.left_out.items():
            note(f"Left out: {setting}: {reason}")
        print_outputs(deployed.outputs, "text")
        note("\nThe API is open here (authorization none).")
        if smoke:
            from payment_infra.cli.smoke import run_checks

            note("")
            run_checks(deployed.api, gateway, pay=pay, method=method, verbose=verbose)
        else:
            _show_how_to_try(deployed, resolved.config, method)
            try:
                for lines in local.follow_logs(session, deployed, time.sleep):
                    _show(lines)
            except KeyboardInterrupt:
                note("\nStopping ...")
                click.get_current_context().exit(interruption.status())
            note(f"\n{deployed.stack.name} has been deleted; the embedded AWS stops, too.")


def _show_how_to_try(deployed: LocalStack, config: StackConfig, method: str) -> None:
    payment = {"amount": 100.50, "currency": "USD", "customer_id": "cust-12345"}
    if method:
        payment |= {"payment_method": method}
    charge = {"transaction_id": "PASTE-IT-HERE"}
    url = deployed.api.url
    for path, body in (("validate", payment), ("process", charge)):
        click.echo(f"curl -X POST {url}{path} -d {shlex.quote(json.dumps(body))}")
    click.echo(f"curl {url}health")
    if config.gateway == STRIPE_GATEWAY:
        note(STRIPE_METHODS)
    if config.gateway_events:
        events = f"{url}{GATEWAY_EVENTS_PATH}"
        note(f"\nThe gateway notifies {events}")
        if config.gateway == STRIPE_GATEWAY:
            note(f"`stripe listen --forward-to {events}` brings that here")
    note("\nThe functions' logs follow; Ctrl-C stops everything.")


def _show(lines: list[LogLine]) -> None:
    for line in lines:
        text = escaped(line.text, keep="\t")
        click.echo(f"{line.group.rpartition('/')[2]}  {text}")
