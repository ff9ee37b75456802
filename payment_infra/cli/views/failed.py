"""Failed transactions as text."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

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


def masked(value: Any) -> Any:
    """Return a value in which every customer_id has only its ends."""
    if isinstance(value, dict):
        return {
            key: _ends(inner) if key == "customer_id" and isinstance(inner, str) else masked(inner)
            for key, inner in value.items()
        }
    return [masked(inner) for inner in value] if isinstance(value, list) else value


def _ends(text: str) -> str:
    return f"{text[0]}…{text[-1]}" if len(text) > 2 else "…"


def print_message(document: dict[str, Any]) -> None:
    """Print a message, and its payment's row."""
    for title in ("message", "row"):
        click.secho(title, bold=True)
        content = document[title]
        if content is None:
            click.echo("  none: the payment is not in the table")
            continue
        for name, value in content.items():
            if isinstance(value, dict):
                click.echo(f"  {escaped(name)}")
                for key, inner in value.items():
                    click.echo(f"    {escaped(key):<18}{_shown(inner)}")
            else:
                click.echo(f"  {escaped(name):<20}{_shown(value)}")


def _shown(value: Any) -> str:
    return escaped(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
