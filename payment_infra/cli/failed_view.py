"""Failed transactions as text."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.status_view import NOTHING, ago

if TYPE_CHECKING:
    from payment_infra.cloud.operations.dead_letters import DeadLetter


def print_messages(messages: list[DeadLetter], now: datetime) -> None:
    """Print a table with two lines for each message: the first is its transaction."""
    row = "{:<36}  {:<9}  {:>8}  {}"
    click.secho(row.format("transaction", "operation", "receives", "age"), bold=True)
    for one in messages:
        age = ago(one.sent_at, now).removesuffix(" ago")
        told = (one.transaction_id or NOTHING, one.operation or NOTHING, one.receives, age)
        click.echo(row.format(*told))
        click.echo(f"  message {one.id}  {one.reason}")


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
                click.echo(f"  {name}")
                for key, inner in value.items():
                    text = (
                        inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)
                    )
                    click.echo(f"    {key:<18}{text}")
            else:
                click.echo(f"  {name:<20}{value}")
