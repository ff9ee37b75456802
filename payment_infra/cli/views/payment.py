"""Payments as text, and as documents in which nothing stands that is nobody's business."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.views.output import note, print_section
from payment_infra.cli.views.status import NOTHING
from payment_infra.cloud.operating.transactions import CAPABILITIES
from payment_infra.foreign import escaped

if TYPE_CHECKING:
    from payment_infra.cloud.operating.showing import Found
    from payment_infra.cloud.operating.transactions import Row

# An address of the merchant's may hold what is its customer's alone.
NEVER_SHOWN = CAPABILITIES | {"return_url"}
HIDDEN = "…"


def masked(value: Any, *, full: bool = False) -> Any:
    """Return a value in which nothing of NEVER_SHOWN is to be seen, and of every customer_id only
    the ends, if not all."""
    if isinstance(value, dict):
        return {key: _masked(key, inner, full=full) for key, inner in value.items()}
    return [masked(inner, full=full) for inner in value] if isinstance(value, list) else value


def _masked(name: str, value: Any, *, full: bool) -> Any:
    if name in NEVER_SHOWN and value is not None:
        return HIDDEN
    if name == "customer_id" and isinstance(value, str) and not full:
        return f"{value[0]}{HIDDEN}{value[-1]}" if len(value) > 2 else HIDDEN
    return masked(value, full=full)


def in_order(row: Row) -> Row:
    """Return a row whose attributes stand in an order that a person expects."""
    first = ("transaction_id", "status", "amount", "currency")
    names = [*(name for name in first if name in row), *sorted(set(row) - set(first))]
    return {name: row[name] for name in names}


def print_payment(found: Found) -> None:
    """Print a payment's row, and what the gateway says, or why it was not asked."""
    print_section("row", in_order(masked(found.row)))
    if found.flaw:
        note(f"Warning: the row is not what was validated: {escaped(found.flaw)}")
    if found.gateway is None:
        note(f"Warning: the gateway was not asked: {found.unasked}")
    else:
        print_section("gateway", found.gateway)


def print_payments(rows: Iterable[Row]) -> None:
    """Print a line for each payment as it comes."""
    line = "{:<36}  {:<10}  {:>12}  {}"
    begun = False
    for row in rows:
        if not begun:
            head = line.format("transaction", "status", "amount", "changed (UTC)")
            click.secho(head, bold=True)
            begun = True
        amount = f"{_text(row, 'amount')} {_text(row, 'currency')}"
        changed = _text(row, "updated_at").replace("T", " ")[:16]
        click.echo(line.format(_text(row, "transaction_id"), _text(row, "status"), amount, changed))
    if not begun:
        note("there are none")


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return NOTHING if value is None else escaped(str(value))
