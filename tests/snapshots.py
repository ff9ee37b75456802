"""Text that a person has looked at, kept in tests/snapshots and compared byte for byte.

`UPDATE_SNAPSHOTS=1 make test` writes it anew; read the difference before it is committed.
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "snapshots"


def check(name: str, text: str) -> None:
    """Compare text with what is kept under the name."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
