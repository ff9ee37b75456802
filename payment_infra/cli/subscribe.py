"""`payment-infra subscribe`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import environment_options, output_option, yes_option
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.output import confirm, note, print_json, print_table
from payment_infra.errors import UsageError

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.operating.subscriptions import Protocol, Subscription


@click.command("subscribe")
@click.option("--email", metavar="ADDRESS", help="Tell this address; it must confirm.")
@click.option("--https", metavar="URL", help="Tell this URL; it must confirm.")
@click.option(
    "--list", "listing", is_flag=True, help="Show who is told, and who has yet to confirm."
)
@click.option("--remove", metavar="WHO", help="Stop telling this address, URL or subscription.")
@output_option
@yes_option
@environment_options
@everywhere
def command(
    environment: Environment,
    email: str | None,
    https: str | None,
    listing: bool,
    remove: str | None,
    output: str,
    yes: bool,
) -> None:
    """Say who is told of alarms.

    An address or URL gets a message with a link, and is told only once that was opened.

    \b
    Example:
      payment-infra subscribe --suffix dev-001 --email ops@example.com
      payment-infra subscribe --suffix dev-001 --list
    """
    if [email is not None, https is not None, listing, remove is not None].count(True) != 1:
        raise UsageError("give one of --email, --https, --list and --remove")
    if listing:
        _list(environment, output)
    elif remove is not None:
        _remove(environment, remove, output, yes)
    elif email is not None:
        _add(environment, "email", _address(email), output, yes)
    else:
        _add(environment, "https", _url(https or ""), output, yes)


def _list(environment: Environment, output: str) -> None:
    from payment_infra.cloud.operating.subscriptions import find_subscriptions

    found = find_subscriptions(environment)
    if output == "json":
        print_json([_document(subscription) for subscription in found])
    elif not found:
        subscribe = environment.command("subscribe --email ADDRESS")
        note(f"nobody is told of alarms; `{subscribe}` changes that")
    else:
        print_subscriptions(found)


def print_subscriptions(subscriptions: Sequence[Subscription]) -> None:
    """Print a table of who is told, and who has yet to confirm."""
    print_table(
        ("how", "confirmed", "who"),
        [
            (
                subscription.protocol,
                "yes" if subscription.confirmed else "not yet",
                subscription.endpoint,
            )
            for subscription in subscriptions
        ],
    )


@sheltered()
def _add(
    environment: Environment, protocol: Protocol, endpoint: str, output: str, yes: bool
) -> None:
    from payment_infra.cloud.operating.subscriptions import find_subscriptions, subscribe

    same = [
        subscription
        for subscription in find_subscriptions(environment)
        if (subscription.protocol, subscription.endpoint) == (protocol, endpoint)
    ]
    if same and same[-1].confirmed:
        _told(same[-1], f"{endpoint} is subscribed already; nothing was changed", output)
        return
    what = f"Ask {endpoint} once more to confirm" if same else f"Subscribe {endpoint} to"
    confirm(f"{what} the alarms of {environment.stack.name}?", yes)
    added = subscribe(environment, protocol, endpoint)
    pending = "gets a link to confirm with, and is told of alarms after that"
    _told(added, f"{endpoint} {'is subscribed' if added.confirmed else pending}", output)


@sheltered()
def _remove(environment: Environment, target: str, output: str, yes: bool) -> None:
    from payment_infra.cloud.operating.subscriptions import removable, unsubscribe

    found = removable(environment, target)
    confirm(f"Stop telling {found.endpoint} of the alarms of {environment.stack.name}?", yes)
    unsubscribe(environment, found)
    _told(found, f"{found.endpoint} is no longer told", output)


def _told(subscription: Subscription, message: str, output: str) -> None:
    note(message)
    if output == "json":
        print_json(_document(subscription))


def _document(subscription: Subscription) -> dict[str, Any]:
    return {**asdict(subscription), "confirmed": subscription.confirmed}


def _address(text: str) -> str:
    from payment_infra.rules import EMAIL_PATTERN

    if not text or not re.fullmatch(EMAIL_PATTERN, text):
        raise UsageError(f"--email {text}: not an email address")
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname:
        raise UsageError(f"--https {text}: must be an https:// URL")
    return text
