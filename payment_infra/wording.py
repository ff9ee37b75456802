"""How numbers of things are said."""


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, which takes an s unless there is one: `1 row`, `2 rows`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
