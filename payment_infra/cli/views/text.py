"""Pieces of text that several views share."""

from __future__ import annotations

from datetime import datetime

from payment_infra.foreign import escaped
from payment_infra.gateway_names import GATEWAY_NAMES, moves_money


def cut(text: str, width: int) -> str:
    """Return text on one line, escaped, its end cut to the width."""
    text = escaped(" ".join(text.split()))
    return text if columns(text) <= width else f"{_first(text, max(width - 1, 0))}…"


def cut_right(text: str, width: int) -> str:
    """Return text cut to the width, escaped, its spaces kept."""
    text = escaped(text)
    return text if columns(text) <= width else f"{_first(text, width - 1)}…"


def columns(text: str) -> int:
    """Return how many columns of a terminal text takes: Chinese characters have two each."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _first(text: str, width: int) -> str:
    """Return what of the text takes so many columns."""
    if text.isascii():
        return text[:width]
    from rich.cells import set_cell_size

    return set_cell_size(text, width)


def elapsed(seconds: float) -> str:
    """Return a duration as `42 s`, `1 m 30 s` or `2 h 5 m`."""
    whole = max(0, int(seconds))
    minutes, rest = divmod(whole, 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} m" if hours else f"{minutes} m {rest} s"


def ago(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was, in two units at most."""
    seconds = (now - moment).total_seconds()
    days = int(seconds) // 86_400
    if days:
        return f"{days} d {int(seconds) % 86_400 // 3600} h ago"
    return f"{elapsed(seconds)} ago"


def size(number: int) -> str:
    """Return a number of bytes in the largest unit that leaves it at least 1."""
    value, units = float(number), ["B", "KB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def draw_gateway(gateway: str) -> str:
    """Return a payment gateway, and whether it moves no money."""
    moves = moves_money(GATEWAY_NAMES.get(gateway, gateway))
    return gateway if moves else f"{gateway}, which moves no money"
