"""The table of the states of a payment in docs/architecture.md says what the model holds."""

from __future__ import annotations

import re
from pathlib import Path

from handlers.shared.aws.store import Store
from tests.model.heard import OF_CAPTURED
from tests.model.ledger import NEXT

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


def section() -> str:
    _, _, after = PAGE.read_text(encoding="utf-8").partition("### The states of a payment")
    return after.partition("\n## ")[0]


def is_a_write(method: object) -> bool:
    is_public = not getattr(method, "__name__", "_").startswith("_")
    return is_public and getattr(method, "__annotations__", {}).get("return") == "Write"


def rows() -> list[list[str]]:
    lines = [line for line in section().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(cell: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", cell))


def test_the_page_names_each_status_and_what_follows_it() -> None:
    said = {
        next(iter(named(status))): set(NEXT) - {"processing"} - named(after)
        if after.startswith("every other but")
        else named(after)
        for status, _, _, after in rows()
    }
    assert said == NEXT


def test_the_page_names_the_writes_of_the_store() -> None:
    """Those that change the status beside it, and the others below."""
    writers = {name for _, writer, _, _ in rows() for name in re.findall(r"`Store\.(\w+)`", writer)}
    assert writers == {"add", "claim", "pend", "finish", "decline", "cancel", "cancel_validated"}
    writes = {name for name, value in vars(Store).items() if is_a_write(value)}
    assert set(re.findall(r"`Store\.(\w+)`", section())) == writes


def test_the_page_says_as_what_a_captured_payment_is_shown() -> None:
    assert named(section().partition("a captured payment")[2]) == OF_CAPTURED
