"""Looking at something, or doing it, again and again, until it is as it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from payment_infra.cloud.events import Tell, Waiting
from payment_infra.cloud.sdk.errors import is_passing, translated
from payment_infra.errors import AwsError

Seen = TypeVar("Seen")
POLL_SECONDS = (0.1, 0.1, 0.2, 0.4, 1.0, 2.0, 3.0, 5.0)
# Looks in a row that may fail, some five minutes of them, before what is looked at is out of sight.
MAX_FAILED_LOOKS = 60
# Between the tries of what is costly to give up: some ten minutes of them.
PATIENCE_SECONDS = (1.0, 2.0, 4.0, 8.0, *(15.0 for _ in range(39)))


def looks(
    subject: str,
    look: Callable[[], Seen],
    sleep: Callable[[float], None],
    pauses: Sequence[float] = POLL_SECONDS,
    missed: Callable[[AwsError], Seen] | None = None,
) -> Iterator[Seen]:
    """Yield what `look` returns, with a pause after each; the caller ends it.

    A look that fails for a passing reason (throttling, network, a service's own error) is made
    again.

    Args:
        subject: what is looked at, for the error.
        look: fails as the SDK does, or with what that is translated into.
        sleep: waits for so many seconds.
        pauses: the seconds after each look; the last of them stays.
        missed: returns what is yielded after a look that failed; None: nothing is.

    Raises:
        AwsError: it failed for another reason, or too often.
    """
    growing, failed = iter(pauses), 0
    while True:
        try:
            with translated(subject):
                seen = look()
        except AwsError as error:
            failed += 1
            if not is_passing(error) or failed == MAX_FAILED_LOOKS:
                raise
            if missed is not None:
                yield missed(error)
        else:
            failed = 0
            yield seen
        sleep(next(growing, pauses[-1]))


def again(told: str) -> Waiting:
    """Return what is told of a try that failed for a passing reason, by the line about that."""
    # What follows is advice to do what is done here.
    return Waiting(f"{told.partition(';')[0]}, trying again")


def countdown(seconds: int, what: str, sleep: Callable[[float], None], tell: Tell) -> None:
    """Wait, and tell every second how many are left, where `what` has {}."""
    for left in range(seconds, 0, -1):
        tell(Waiting(what.format(left)))
        sleep(1)


def persistently(call: Callable[[], Seen], sleep: Callable[[float], None], tell: Tell) -> Seen:
    """Return what `call` returns; while it fails for a passing reason, make it again, for minutes.

    For where giving up is costly.

    Args:
        call: can be made again, whatever of it has taken effect.
        sleep: waits for so many seconds.
        tell: is told, before each wait, what failed.

    Raises:
        AwsError: it failed for another reason, or too often.
    """
    for pause in PATIENCE_SECONDS:
        try:
            return call()
        except AwsError as error:
            if not is_passing(error):
                raise
            tell(again(str(error)))
        sleep(pause)
    return call()
