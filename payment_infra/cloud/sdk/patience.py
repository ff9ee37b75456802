"""Calls that AWS throttles, made again for minutes, for as long as that is asked for.

The SDK's own attempts (AWS_MAX_ATTEMPTS) come first and are over after some seconds. What was
throttled was not done, so that any call can be made again; the guard of a session is asked before
each attempt as ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import current_thread, main_thread
from typing import Any

from payment_infra.cloud.events import Tell, Waiting
from payment_infra.cloud.sdk.errors import is_throttling

# Between attempts, some three minutes of them: a signature is good for five (IAM, "AWS Signature
# Version 4 for API requests"), and the guard may be throttled as well.
PAUSES = (1.0, 2.0, 4.0, 8.0, *(15.0 for _ in range(11)))
# What a HEAD, whose answer has no body, has in place of Amazon S3's SlowDown.
SLOW_DOWN = "503"


class Patience:
    """Whether, and for whom, throttled calls of some clients are made again."""

    def __init__(self) -> None:
        self._tell: Tell | None = None

    @contextmanager
    def asked_for(self, tell: Tell) -> Iterator[None]:
        """Have it for the block; tell is told what is waited for, if that holds up the program."""
        before, self._tell = self._tell, tell
        try:
            yield
        finally:
            self._tell = before

    def register(self, client: Any) -> None:
        """Have the calls of a client made again."""
        attempts = client.meta.config.retries["total_max_attempts"]
        # The answer of the SDK's own handler, which is asked first, counts if it has one (botocore,
        # Endpoint._needs_retry).
        client.meta.events.register_last("needs-retry", partial(self._pause, own=attempts))

    def _pause(
        self, response: Any, operation: Any, attempts: int, own: int, **_: Any
    ) -> float | None:
        """Return the seconds to wait before the next attempt, None for no such attempt.

        Args:
            response: the answer, unparsed and parsed; None if there was none.
            operation: the model of what was called.
            attempts: how many there were.
            own: how many the SDK makes.
        """
        tell, waited = self._tell, max(0, attempts - own)
        if tell is None or response is None or waited >= len(PAUSES):
            return None
        answer = response[1]
        bare = (
            operation.name.startswith("Head") and answer.get("Error", {}).get("Code") == SLOW_DOWN
        )
        if not (bare or is_throttling(answer)):
            return None
        if attempts >= own and current_thread() is main_thread():
            tell(Waiting(f"AWS throttles {operation.name}, trying again"))
        return PAUSES[waited]
