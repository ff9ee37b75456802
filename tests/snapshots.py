"""Text that a person has looked at, kept in tests/snapshots and compared byte for byte.

It is kept with its colours; without them it is the same text. `UPDATE_SNAPSHOTS=1 make test` writes
it anew; read the difference before it is committed.
"""

import os
from pathlib import Path

import click

FOLDER = Path(__file__).parent / "snapshots"


def check(name: str, text: str, *, color: bool = True) -> None:
    """Compare text with what is kept under the name; without colour, with that unstyled."""
    path = FOLDER / f"{name}.txt"
    if color and os.environ.get("UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    kept = path.read_text(encoding="utf-8")
    if color:
        assert text == kept
    elif not os.environ.get("UPDATE_SNAPSHOTS"):  # which may write it only later
        assert text == click.unstyle(kept)
