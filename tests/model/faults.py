"""What can go wrong in one call to AWS or to the gateway, and what is left behind when it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Any, TypeVar

from botocore.exceptions import ClientError, ReadTimeoutError

from handlers.shared.deadline import TOTAL_ATTEMPTS

T = TypeVar("T")


class Fault(StrEnum):
    """How one call goes wrong. Throttled and reset calls have no effect, and are given up."""

    THROTTLED = "throttled"
    RESET = "reset"
    LOST_ANSWER = "lost answer"  # it took effect, and the caller gives up
    REPEATED = "repeated"  # it took effect, and the SDK, without an answer, calls again
    LATE = "late"  # the caller gives up, and it takes effect after that
    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"


class Killed(BaseException):
    """The process ends here: nothing in the handlers may catch this."""


@dataclass(frozen=True)
class Call:
    """One call: the operation, and the transaction that it is about, or nothing."""

    site: str
    transaction_id: str


@dataclass(frozen=True)
class Wording:
    """The exceptions in which a service's client speaks of a refusal and of no answer."""

    refused: Callable[[], Exception]
    unanswered: Callable[[], Exception]


def client_error(code: str, **response: Any) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": ""}, **response}
    return ClientError(answer, "Operation")


AWS = Wording(
    refused=lambda: client_error("ThrottlingException"),
    unanswered=lambda: ReadTimeoutError(endpoint_url="https://aws.invalid"),
)


class Network:
    """Stands between the handlers and every service; `decide` says which calls go wrong.

    `away` are the operations that nobody answers for a while.
    """

    def __init__(self, decide: Callable[[Call], Fault | None]) -> None:
        self.decide = decide
        self.away: set[str] = set()
        # How often each operation was called, whether or not that went wrong.
        self.called: Counter[str] = Counter()
        self.injected: Counter[Fault] = Counter()
        self._late: list[tuple[Call, Callable[[], object]]] = []
        self._lock = Lock()

    def call(self, call: Call, effect: Callable[[], T], wording: Wording, attempt: int = 1) -> T:
        """Let the call take effect, or go wrong, or both."""
        with self._lock:
            self.called[call.site] += 1
        if call.site in self.away:
            raise wording.refused()
        fault = self.decide(call)
        if fault is None:
            return effect()
        with self._lock:
            self.injected[fault] += 1
        match fault:
            case Fault.THROTTLED:
                raise wording.refused()
            case Fault.KILLED_BEFORE:
                raise Killed
            case Fault.LATE:
                with self._lock:
                    self._late.append((call, effect))
            case Fault.LOST_ANSWER | Fault.REPEATED | Fault.KILLED_AFTER:
                _unseen(effect)
        if fault is Fault.KILLED_AFTER:
            raise Killed
        if fault is Fault.REPEATED and attempt < TOTAL_ATTEMPTS:
            return self.call(call, effect, wording, attempt + 1)
        raise wording.unanswered()

    def deliver_late(self) -> None:
        """Let the calls that are still under way take effect."""
        with self._lock:
            late, self._late = self._late, []
        for _, effect in late:
            _unseen(effect)

    def under_way(self, call: Call) -> bool:
        """Whether such a call is still to take effect."""
        with self._lock:
            return any(late == call for late, _ in self._late)


def _unseen(effect: Callable[[], object]) -> None:
    """Let a call take effect whose answer, good or bad, nobody gets."""
    with suppress(Exception):
        effect()
