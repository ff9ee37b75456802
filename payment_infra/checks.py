"""What a check of machine and account found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One line. remedy says in one line what to do about a warning or failure."""

    name: str
    level: Level
    message: str
    remedy: str = ""

    @classmethod
    def told(cls, name: str, level: Level, line: str, remedy: str) -> Check:
        """Return what an error's line says: after a semicolon what to do, else that is `remedy`."""
        message, _, own = line.partition("; ")
        return cls(name, level, message, own or remedy)


def not_checked(*names: str) -> Check:
    """Return the line that stands for checks that hang on one that failed."""
    return Check("others", "warn", f"not checked: {', '.join(names)}", "mend the failure first")
