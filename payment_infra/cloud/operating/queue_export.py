"""The messages of a queue in a file: all of them, also those that others hold for a while."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from payment_infra.cloud.events import Tell, Waiting
from payment_infra.cloud.operating.dead_letters import (
    LAG_SECONDS,
    POLL_SECONDS,
    VISIBILITY_SECONDS,
    depth,
    receive,
)
from payment_infra.cloud.sdk.polling import persistently
from payment_infra.errors import AwsError, PaymentInfraError
from payment_infra.files import move_private
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment

# For how long payment-retry, or another reader, can hide a message.
HIDDEN_SECONDS = 300
PATIENCE_SECONDS = max(HIDDEN_SECONDS, VISIBILITY_SECONDS) + LAG_SECONDS


def save_messages(
    environment: Environment,
    logical_id: str,
    path: Path,
    sleep: Callable[[float], None],
    tell: Tell,
) -> int:
    """Write every message of a queue to a file; return how many.

    The queue has got no new ones for LAG_SECONDS: only then its numbers tell how many there are,
    those that others hold included. Each is a JSON line, whole. They stay in the queue, hidden for
    VISIBILITY_SECONDS. A call that fails for a passing reason is made again, for payments may be
    stopped meanwhile. Only the file's owner can read it; until it is whole, it is PATH.part.

    Raises:
        AwsError: some messages stay hidden; there is no file.
        PaymentInfraError: the file cannot be written.
    """
    part = Path(f"{path}.part")
    client, url = environment.client("sqs"), environment.resource(logical_id)
    known, waited = set[str](), 0
    try:
        # Never the one that a run which was taken over still has open, and writes to at its end.
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            while True:
                received = persistently(lambda: receive(client, url), sleep, tell)
                fresh = [message for message in received if message.id not in known]
                file.writelines(f"{json.dumps(message.document())}\n" for message in fresh)
                known |= {message.id for message in fresh}
                tell(Waiting(f"{counted(len(known), 'message')} saved"))
                if fresh:
                    waited = 0
                    continue
                now = persistently(lambda: depth(environment, logical_id), sleep, tell)
                if now.total <= len(known):
                    break
                if waited >= PATIENCE_SECONDS:
                    left = counted(now.total - len(known), "message")
                    raise AwsError(
                        f"{now.name}: {left} held by somebody who keeps reading them, and cannot "
                        "be saved; end that, then repeat the command"
                    )
                sleep(POLL_SECONDS)
                waited += POLL_SECONDS
            file.flush()
            os.fsync(file.fileno())
        move_private(part, path)
    except OSError as error:
        raise PaymentInfraError(f"{part}: cannot be written ({error.strerror})") from error
    return len(known)
