"""What a check of a machine, an account, a plan or an environment found, and what to do then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One line. What to do about a warning or failure is one, too: remedy, or in the message."""

    name: str
    level: Level
    message: str = ""
    remedy: str = ""

    @classmethod
    def told(cls, name: str, level: Level, line: str, remedy: str) -> Check:
        """Return what an error's line says: after a semicolon what to do, else that is `remedy`."""
        message, _, own = line.partition("; ")
        return cls(name, level, message, own or remedy)


def not_checked(*names: str) -> Check:
    """Return the line that stands for checks that hang on one that failed."""
    return Check("others", "warn", f"not checked: {', '.join(names)}", "mend the failure first")
