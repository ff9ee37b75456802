"""Looking at something again and again, until it is as it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from payment_infra.cloud.errors import explain, is_passing
from payment_infra.cloud.following import MAX_FAILED_LOOKS, POLL_SECONDS
from payment_infra.errors import AwsError

Seen = TypeVar("Seen")


def looks(
    subject: str,
    look: Callable[[], Seen],
    sleep: Callable[[float], None],
    pauses: Sequence[float] = POLL_SECONDS,
) -> Iterator[Seen]:
    """Yield what `look` returns, with a pause after each, in seconds; the caller ends it.

    A look that fails for a passing reason (throttling, network, a service's own error) is made
    again.

    Raises:
        AwsError: it failed for another reason, or too often.
    """
    growing, failed = iter(pauses), 0
    while True:
        try:
            seen = look()
        except (ClientError, BotoCoreError) as error:
            failed += 1
            if not is_passing(error) or failed == MAX_FAILED_LOOKS:
                raise AwsError(f"{subject}: {explain(error)}") from error
        else:
            failed = 0
            yield seen
        sleep(next(growing, pauses[-1]))
