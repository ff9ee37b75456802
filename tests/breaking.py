"""A hook into an account in memory: holds or kills whoever makes its Nth change there.

The lock's and the journal's writes count as changes, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.deploying import existing, preflight, release
from payment_infra.cloud.environment import in_flight
from payment_infra.cloud.restoring import reading
from payment_infra.cloud.sdk.session import READING
from tests.aws import FakeAws

if TYPE_CHECKING:
    import pytest

    from tests.stacks import Answer


class Killed(BaseException):
    """The process is gone: nothing that it would do is done any more."""


@dataclass
class BrokenOff(FakeAws):
    """An account whose caller is broken off at a change: before it is made, or just after."""

    at: int = 0
    after: bool = False
    how: type[BaseException] = Killed
    made: int = 0
    on_call: Callable[[bool], None] = lambda _: None
    _lock: Any = field(default_factory=RLock)

    def answer(self, service: str, operation: str, params: Answer) -> Answer:
        changes = not operation.startswith(READING)
        with self._lock:
            if self.at and self.made >= self.at and self.how is Killed:
                raise Killed
            self.on_call(changes)
            self.made += changes
            here = changes and self.made == self.at
            if here and not self.after:
                raise self.how
            answer = super().answer(service, operation, params)
            if here:
                raise self.how
            return answer

    def break_off(self, at: int, how: type[BaseException], *, after: bool) -> None:
        """Break off at a change, counted from now; 0: at none."""
        self.at, self.how, self.after, self.made = at, how, after, 0


def kill(aws: BrokenOff, at: int, run: Callable[[], object], *, after: bool) -> bool:
    """Run something, and kill it at a change; return whether it came so far."""
    aws.break_off(at, Killed, after=after)
    try:
        run()
    except Killed:
        return True
    finally:
        aws.break_off(0, Killed, after=False)
    return False


@contextmanager
def held(aws: BrokenOff, after: int, then: Callable[[], object]) -> Iterator[Hold]:
    """Hold whoever has made so many changes in the block, and do something else meanwhile."""
    hold = Hold(aws.made + after)
    before = aws.on_call

    def on_call(changes: bool) -> None:
        before(changes)
        if not hold.over and aws.made >= hold.at:
            hold.over = True
            then()

    aws.on_call = on_call
    try:
        yield hold
    finally:
        aws.on_call = before


@dataclass
class Hold:
    """Where somebody is held: at how many changes; whether it came so far."""

    at: int
    over: bool = False


def at_every_number(reached: Callable[[int], bool]) -> int:
    """Try 1, 2, ... until one is not reached any more; return how many were."""
    number = 0
    while reached(number + 1):
        number += 1
    return number


class InOrder:
    """A pool of threads that has none: another run can be made in between, at the same place."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> InOrder:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, call: Callable[..., object], *arguments: object) -> Future[object]:
        done: Future[object] = Future()
        try:
            done.set_result(call(*arguments))
        except Exception as error:  # noqa: BLE001
            done.set_exception(error)
        return done

    def map(self, call: Callable[[Any], object], arguments: Iterable[Any]) -> list[object]:
        return list(map(call, arguments))


def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no operation have threads of its own."""
    for module in (existing, preflight, release, in_flight, reading):
        monkeypatch.setattr(module, "ThreadPoolExecutor", InOrder)
