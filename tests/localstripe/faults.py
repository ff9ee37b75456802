"""What goes wrong at a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock


class Fault(StrEnum):
    """What a call meets."""

    UNREACHED = "unreached"
    """The connection ends before anything is done."""
    LOST = "lost"
    """It is carried out, and the connection ends before the answer."""
    LATE = "late"
    """The connection ends before anything is done, and the call arrives later."""
    SLOW = "slow"
    """It is carried out, and the answer is held back until the test lets it go."""
    FAILED = "500"
    """Nothing is done, and the failure is stored with the key."""
    FAILED_DONE = "500-done"
    """It is carried out, and a failure is stored with the key."""
    UNAVAILABLE = "503"
    """Nothing is done, and nothing stored."""
    TOO_MANY = "429"
    """Too many calls."""
    LOCKED = "lock_timeout"
    """Another call has the object."""
    KEY_IN_USE = "409"
    """Another call has the key."""
    GARBLED = "garbled"
    """It is carried out, and the answer is no JSON."""


@dataclass
class _Planned:
    call: str
    fault: Fault
    times: int
    transaction_id: str | None


@dataclass
class Faults:
    """Faults that are yet to come."""

    _planned: list[_Planned] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def plan(
        self, call: str, fault: Fault, times: int = 1, transaction_id: str | None = None
    ) -> None:
        """Let the next calls of a kind meet a fault: all, or those of one transaction."""
        with self._lock:
            self._planned.append(_Planned(call, Fault(fault), times, transaction_id))

    def take(self, call: str, transaction_id: str | None) -> Fault | None:
        """Return what a call meets, and note that it has."""
        with self._lock:
            for planned in self._planned:
                whose = planned.transaction_id
                if planned.call == call and whose in {None, transaction_id}:
                    planned.times -= 1
                    if not planned.times:
                        self._planned.remove(planned)
                    return planned.fault
        return None

    @property
    def left(self) -> int:
        """How many faults no call has met."""
        with self._lock:
            return sum(planned.times for planned in self._planned)
