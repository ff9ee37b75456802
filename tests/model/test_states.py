"""The table of the states of a payment in docs/architecture.md says what the model holds."""

from __future__ import annotations

import re
from pathlib import Path

from handlers.shared.aws.store import Store
from tests.model.ledger import NEXT

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


def rows() -> list[list[str]]:
    _, _, after = PAGE.read_text(encoding="utf-8").partition("### The states of a payment")
    section, _, _ = after.partition("\n## ")
    lines = [line for line in section.splitlines() if line.startswith("| `")]
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
    writers = {name for _, writer, _, _ in rows() for name in re.findall(r"`Store\.(\w+)`", writer)}
    assert writers == {"add", "claim", "pend", "finish", "decline", "cancel", "cancel_validated"}
    assert all(callable(getattr(Store, name)) for name in writers)
