"""The folder that keeps the embedded AWS's stacks and payments from one run to the next."""

from __future__ import annotations

import fcntl
import re
from pathlib import Path
from typing import BinaryIO

from payment_infra.errors import PaymentInfraError, UsageError

# What the emulator's log says of what it could not load or save.
FAILURE = re.compile(
    r"ERROR \[persistence\] (?:Persistence: )?(.*)|(Failed to restore persisted state .*);"
)
LOCK = "lock"


def hold(folder: Path) -> BinaryIO:
    """Make the folder if need be, and take it; nobody else can, until the file that is returned is
    closed here and by every process that has inherited it.

    Raises:
        UsageError: it cannot be written to, or somebody else has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("ab")
    except OSError as error:
        raise UsageError(f"{folder}: cannot be used for --state ({error.strerror})") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UsageError(
            f"{folder}: another `payment-infra local` uses it, or is just ending; wait for its "
            "end, or choose another --state"
        ) from error
    return lock


def check_loaded(folder: Path, log: str) -> None:
    """Make sure that all of the folder was loaded: what was not would be overwritten at the end.

    Raises:
        PaymentInfraError: something was not.
    """
    if told := _failure(log):
        raise PaymentInfraError(
            f"{folder}: the state in it cannot be loaded ({told}); it was left as it is: choose "
            "another --state, or remove it"
        )


def check_saved(folder: Path, log: str) -> None:
    """Make sure that all was saved.

    Raises:
        PaymentInfraError: something was not.
    """
    if told := _failure(log):
        raise PaymentInfraError(f"{folder}: not all of the state could be saved ({told})")


def _failure(log: str) -> str:
    """Return the first thing that a log says could not be loaded or saved, "" for none."""
    found = FAILURE.search(log)
    return next(filter(None, found.groups())) if found else ""
