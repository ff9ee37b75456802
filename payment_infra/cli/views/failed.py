"""Failed transactions as text."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.views.output import print_section
from payment_infra.cli.views.status import NOTHING
from payment_infra.cli.views.text import ago
from payment_infra.cloud.operating.dead_letters import VISIBILITY_SECONDS
from payment_infra.foreign import escaped
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.operating.dead_letters import DeadLetter


def print_messages(messages: list[DeadLetter], now: datetime) -> None:
    """Print a table with two lines for each message: the first is its transaction."""
    row = "{:<36}  {:<9}  {:>8}  {}"
    click.secho(row.format("transaction", "operation", "receives", "age"), bold=True)
    for message in messages:
        age = ago(message.sent_at, now).removesuffix(" ago")
        transaction, operation = (
            escaped(text) or NOTHING for text in (message.transaction_id, message.operation)
        )
        click.echo(row.format(transaction, operation, message.receives, age))
        click.echo(f"  message {message.id}  {escaped(message.reason)}")


def left_behind(held: int, not_read: int, now: datetime) -> str:
    """Say how many messages could not be read, and until when those are held; "" if none."""
    told = []
    if held:
        until = now + timedelta(seconds=VISIBILITY_SECONDS)
        told.append(
            f"about {counted(held, 'message')} held by another or a killed run, until "
            f"{until:%H:%M:%S} UTC at most"
        )
    if not_read:
        told.append(f"about {counted(not_read, 'message')} not read, for lack of time")
    return "; ".join(told)


def print_message(document: dict[str, Any]) -> None:
    """Print a message, and its payment's row."""
    for title in ("message", "row"):
        if document[title] is not None:
            print_section(title, document[title])
        else:
            click.secho(title, bold=True)
            click.echo("  none: the payment is not in the table")
