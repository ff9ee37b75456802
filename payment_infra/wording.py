"""How numbers of things are said, and several of them."""

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, which takes an s unless there is one: `1 row`, `2 rows`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(texts: Sequence[str]) -> str:
    """Return texts as a sentence has them: `a`, `a and b`, `a, b and c`."""
    *before, last = texts
    return f"{', '.join(before)} and {last}" if before else last
