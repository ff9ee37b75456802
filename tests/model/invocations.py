"""One run of a handler: in which container, on whose behalf, and what it logged and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from handlers.shared.aws import metrics
from tests.model.release import CURRENT, Release

# What a dependency raises that has failed; the scheduled run passes it on.
EXPECTED_FAILURES = {"ClientError", "ReadTimeoutError", "StoreUnavailable", "RecoveryIncomplete"}
# The log line of a capture that its row does not name.
CONTRADICTED = "capture is not the one on record"
# What no log line and no answer may hold has this in it.
SECRET = "sensitive"
# Why a reader refuses a message for good. All messages here are written by handlers.
REFUSALS = {"not_json", "unknown_version", "unknown_operation", "bad_schema", "bad_record"}


@dataclass(frozen=True)
class Container:
    """Where a handler runs: its release, and how many seconds its clock is before the true time."""

    release: Release = CURRENT
    clock_seconds: int = 0


@dataclass
class Invocation:
    """`asker` is the principal that asked, None for the system itself.

    A batch of messages has askers by operation and transaction. counted are the metrics that it has
    flushed.
    """

    container: Container = field(default_factory=Container)
    asker: str | None = None
    askers: Mapping[tuple[str, str], set[str | None]] = field(default_factory=dict)
    # Captures that it has counted as contradicted, by their references.
    contradicted: set[str] = field(default_factory=set)
    pending: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)

    def asked_by(self, operation: str, transaction_id: str) -> set[str | None]:
        return self.askers.get((operation, transaction_id), {self.asker})


_running: ContextVar[Invocation] = ContextVar("invocation")


def running() -> Invocation:
    """Return the innermost invocation of this thread; one of the system outside of any."""
    return _running.get(Invocation())


@contextmanager
def run(invocation: Invocation) -> Iterator[None]:
    token = _running.set(invocation)
    try:
        yield
    finally:
        _running.reset(token)


class Journal:
    """Takes the log lines and metrics; unlike Powertools' it is made for threads."""

    def __init__(self) -> None:
        # Of every invocation that came to its end, as CloudWatch sums them up.
        self.metrics: Counter[str] = Counter()
        self.unforeseen: list[dict[str, object]] = []
        # Payments with captures that contradict their rows; and the references of those that an
        # alarm has seen.
        self.contradicted: list[str] = []
        self.counted_captures: set[str] = set()
        # Log lines with what a client or a gateway has said in confidence.
        self.leaked: list[str] = []
        self._lock = Lock()

    @property
    def metric_set(self) -> Counter[str]:
        return running().pending

    def add_metric(self, name: str, unit: object, value: float) -> None:
        running().pending[name] += 1 if "Milliseconds" in str(unit) else int(value)

    def flush_metrics(self) -> None:
        invocation = running()
        invocation.counted.update(invocation.pending)
        invocation.pending.clear()

    def publish(self, invocation: Invocation) -> None:
        """Take the metrics of an invocation that was not killed."""
        with self._lock:
            self.metrics.update(invocation.counted)
            if invocation.counted[metrics.CONTRADICTED] >= len(invocation.contradicted):
                self.counted_captures |= invocation.contradicted

    def error(self, message: str, **extra: Any) -> None:
        self._read(message, extra)
        keys = extra.get("extra", extra)
        if message == CONTRADICTED:
            self.contradicted.append(keys["transaction_id"])
            running().contradicted.add(keys["gateway_reference"])
        if (message == "unexpected failure" and keys["type"] not in EXPECTED_FAILURES) or (
            message == "retry failed" and keys["reason"] in REFUSALS
        ):
            self.unforeseen.append({"message": message, **keys})

    def info(self, message: str, **extra: Any) -> None:
        self._read(message, extra)

    def append_keys(self, **keys: Any) -> None:
        self._read("", keys)

    def _read(self, message: str, extra: dict[str, Any]) -> None:
        if SECRET in f"{message} {extra}":
            self.leaked.append(message)

    def clear_state(self) -> None: ...
