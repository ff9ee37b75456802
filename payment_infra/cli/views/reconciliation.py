"""What a comparison with the gateway's list has found: for a person, and as JSON lines."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.views.output import note, print_data
from payment_infra.cloud.reconciling.comparison import GRACE, Kind
from payment_infra.foreign import escaped
from payment_infra.moments import iso, shown
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.reconciling.comparison import Difference
    from payment_infra.cloud.reconciling.passes import Summary
    from payment_infra.cloud.reconciling.spool import Spool

# Each kind in a word or two, and what it means.
KINDS: Mapping[Kind, tuple[str, str]] = {
    Kind.NOT_SETTLED: (
        "captured, not settled",
        "The gateway has the money, and the row does not say so. --fix writes it where the payment "
        "is still open; of one that has ended, its client was told that nothing was charged.",
    ),
    Kind.NOT_CAPTURED: (
        "settled, not captured",
        "The row says that it is processed, and the gateway has no capture of it.",
    ),
    Kind.AMOUNT: (
        "another amount or currency",
        "The gateway has captured something else than was validated.",
    ),
    Kind.TWICE: (
        "captured under another id",
        "The gateway has a capture that is not the row's own: if that is captured too, the "
        "customer has paid twice.",
    ),
    Kind.NO_ROW: (
        "captured, without a row",
        "No payment of this environment has it: a row was lost, or somebody else uses the account "
        "(--only-ours leaves out what names no transaction).",
    ),
    Kind.UNDECIDED: (
        "nobody could know",
        "It was set aside in processing, since nobody could know whether it was charged. The whole "
        "list has nothing of it; --fix writes that it was not charged.",
    ),
}


def print_differences(spool: Spool, width: int, *, err: bool = False) -> None:
    """Print each difference with both sides, by their kinds; err: where documents go to stdout."""
    for kind, number in spool.counts().items():
        title, meaning = KINDS[kind]
        click.secho(f"{title}: {number}", bold=True, err=err)
        for line in textwrap.wrap(meaning, max(width - 2, 20), break_long_words=False):
            click.echo(f"  {line}", err=err)
        for difference in spool.differences(kind):
            click.echo(f"  {escaped(difference.transaction_id or 'no transaction')}", err=err)
            for line in _sides(difference):
                click.echo(f"    {line}", err=err)


def print_json_lines(spool: Spool, summary: Summary, fixed: int | None) -> None:
    """Print a JSON document a line: each difference, and at last how much was compared.

    Args:
        spool: with the differences.
        summary: of the comparison.
        fixed: how many rows were written, None if that was not asked for.
    """
    counts = spool.counts()
    for kind in counts:
        for difference in spool.differences(kind):
            print_data(json.dumps(asdict(difference)) + "\n")
    told = {
        **asdict(summary),
        "kind": "summary",
        "since": iso(summary.since),
        "until": iso(summary.until),
        "differences": {str(kind): number for kind, number in counts.items()},
        "fixed": fixed,
    }
    print_data(json.dumps(told) + "\n")


def note_summary(spool: Spool, summary: Summary) -> None:
    """Say how much was compared, and what was left out."""
    for line in summary_lines(spool, summary):
        note(line)


def summary_lines(spool: Spool, summary: Summary) -> Iterator[str]:
    """Yield how much was compared, and what was left out."""
    yield (
        f"{counted(sum(spool.counts().values()), 'difference')}: "
        f"{counted(summary.payments, 'payment')} of the gateway's, {counted(summary.rows, 'row')} "
        f"of {summary.table}"
    )
    yield f"made from {shown(summary.since)} until {shown(summary.until)}"
    if summary.young:
        seconds = int(GRACE.total_seconds())
        told = counted(summary.young, "row")
        yield f"left out: {told} that changed in the last {seconds} s, or wait in the queue"
    if summary.elsewhere:
        told = counted(summary.elsewhere, "row")
        yield f"left out: {told} begun at another gateway, account or mode"
    if summary.not_ours:
        yield f"{counted(summary.not_ours, 'capture')} for no transaction"


def _sides(difference: Difference) -> Iterator[str]:
    row, gateway = difference.row, difference.gateway
    yield from _side("row", ["none"] if row is None else _row(row))
    yield from _side("gateway", ["nothing"] if gateway is None else _gateway(gateway))
    if difference.fix is None:
        yield from _side("", ["for a person to decide"])


def _side(name: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"{'' if number else name:<8} {line}"


def _row(row: Mapping[str, Any]) -> Iterator[str]:
    money = f"{_text(row, 'amount')} {_text(row, 'currency')}"
    yield f"{_text(row, 'status')}, {money}, changed {_minute(row, 'updated_at')}"
    yield from _names(row, "gateway_id", "gateway_reference", "contradicting_reference")


def _gateway(gateway: Mapping[str, Any]) -> Iterator[str]:
    parts = [_text(gateway, "outcome")]
    if "reason" in gateway:
        parts.append(_text(gateway, "reason"))
    if gateway.get("amount") is not None:
        parts.append(f"{_text(gateway, 'amount')} {_text(gateway, 'currency')} in its units")
    if gateway.get("created_at") is not None:
        parts.append(f"made {_minute(gateway, 'created_at')}")
    yield ", ".join(parts)
    yield from _names(gateway, "id", "reference")


def _names(told: Mapping[str, Any], *names: str) -> Iterator[str]:
    """Yield what the gateway's names are, of those that there are."""
    yield from (_text(told, name) for name in names if told.get(name) is not None)


def _text(told: Mapping[str, Any], name: str) -> str:
    return escaped(str(told.get(name)))


def _minute(told: Mapping[str, Any], name: str) -> str:
    return _text(told, name).replace("T", " ")[:16]
