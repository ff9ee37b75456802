"""Sending dead letters back to the main queue: by SQS itself, or one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from payment_infra.cloud.events import Waiting
from payment_infra.cloud.operating.dead_letters import Clock, DeadLetter, reading
from payment_infra.cloud.sdk.errors import UNSUPPORTED, code_of, explain, translated
from payment_infra.cloud.sdk.polling import looks
from payment_infra.cloud.sdk.queues import name_of
from payment_infra.errors import AwsError, Interrupted, PaymentInfraError
from payment_infra.names import DEAD_LETTER_QUEUE, FAILED_QUEUE

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment

# What says that an endpoint has no message move tasks.
NO_TASKS = UNSUPPORTED | {"AWS.SimpleQueueService.UnsupportedOperation"}
# What SQS may say of a queue that is no dead-letter queue, out of which it moves nothing.
NO_SOURCE = frozenset(
    {"InvalidParameterValue", "InvalidParameterValueException", "ResourceNotFoundException"}
)
# What SQS says, with the last of these codes, while another task is in progress.
ALREADY_RUNNING = "already a task running"
# Statuses of a task in progress (SQS API, ListMessageMoveTasks).
MOVING = frozenset({"RUNNING", "CANCELLING"})


@dataclass(frozen=True)
class Wanted:
    """Which messages are to be moved: those with these ids, or any; and how many at most.

    The number ends the moving of any: what fails again meanwhile comes back.
    """

    number: int
    ids: Collection[str] | None = None


def move(
    environment: Environment,
    wanted: Wanted,
    rate: int | None,
    sleep: Callable[[float], None],
    tell: Callable[[Waiting], None],
    clock: Clock = time.monotonic,
) -> int:
    """Send messages back to the main queue, each before it is deleted here.

    A crash between the two leaves it in both, and the functions do nothing twice. Messages are
    received ten at a time and moved at once, so that a rate holds none for long.

    Args:
        environment: whose queues.
        wanted: which messages.
        rate: how many a second at most.
        sleep: keeps to the rate.
        tell: is told how far it has come.
        clock: seconds.

    Returns:
        How many were moved.

    Raises:
        PaymentInfraError: some were not; they are still in the dead-letter queue.
    """
    moved, failures = 0, list[str]()
    left = set(wanted.ids or ())
    with reading(environment, clock=clock) as found:
        for message in chain.from_iterable(found.batches()):
            if wanted.ids is not None and message.id not in left:
                continue
            left.discard(message.id)
            try:
                _send_and_delete(environment, found.url, message)
            except (ClientError, BotoCoreError) as error:
                failures.append(f"{message.id}: {explain(error)}")
            else:
                found.take_out(message)
                moved += 1
                tell(Waiting(f"{moved} of {wanted.number} moved"))
                if rate:
                    sleep(1 / rate)
            if moved + len(failures) == wanted.number:
                break
    missing = len(left)
    if failures or missing:
        first = failures[0] if failures else "they are no longer there, or held by somebody else"
        raise PaymentInfraError(
            f"{moved} messages were moved and {len(failures) + missing} were not, which are where "
            f"they were ({first}); repeat the command"
        )
    return moved


def _send_and_delete(environment: Environment, source: str, message: DeadLetter) -> None:
    client = environment.client("sqs")
    client.send_message(
        QueueUrl=environment.resource(FAILED_QUEUE),
        MessageBody=message.body,
        MessageAttributes=dict(message.attributes),
    )
    client.delete_message(QueueUrl=source, ReceiptHandle=message.handle)


def move_all(
    environment: Environment,
    rate: int | None,
    sleep: Callable[[float], None],
    tell: Callable[[Waiting], None],
) -> int | None:
    """Let SQS send every message back to the main queue, and wait for that.

    Returns:
        How many were moved; None if the endpoint has no such tasks, and nothing was done.

    Raises:
        AwsError: the task failed, or was cancelled.
        Interrupted: Ctrl-C; the task continues.
    """
    client = environment.client("sqs")
    source, target = (_arn(environment, name) for name in (DEAD_LETTER_QUEUE, FAILED_QUEUE))
    limit = {"MaxNumberOfMessagesPerSecond": rate} if rate else {}
    try:
        with translated("message move task"):
            client.start_message_move_task(SourceArn=source, DestinationArn=target, **limit)
    except AwsError as error:
        cause = error.__cause__
        has_none = isinstance(cause, ClientError) and code_of(cause) in NO_TASKS
        if has_none and ALREADY_RUNNING not in str(error):
            return None
        raise
    try:
        return _wait(client, source, sleep, tell)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            "SQS continues to move messages; "
            f"`{environment.command('failed redrive --cancel')}` stops it"
        ) from interrupt


def cancel_move(environment: Environment) -> int:
    """Cancel the task that moves messages; return how many it had moved.

    Raises:
        AwsError: there is none.
    """
    client, source = environment.client("sqs"), _arn(environment, DEAD_LETTER_QUEUE)
    with translated("message move task"):
        task = _newest_task(client, source)
        if not task or task["Status"] != "RUNNING":
            raise AwsError("no message move task is in progress")
        answer = client.cancel_message_move_task(TaskHandle=task["TaskHandle"])
    return int(answer.get("ApproximateNumberOfMessagesMoved", 0))


def last_moves(environment: Environment, sleep: Callable[[float], None]) -> dict[str, int]:
    """Return when the last task was begun that moved messages out of each queue.

    By the queue's logical id, in milliseconds since 1970, 0 for none. If it is the same later,
    SQS has moved nothing out of it meanwhile.

    Raises:
        AwsError: a task is in progress, or that cannot be read.
    """
    moves = {}
    for logical_id in (FAILED_QUEUE, DEAD_LETTER_QUEUE):
        task = _last_task(environment, logical_id, sleep)
        if task and task["Status"] in MOVING:
            cancel = environment.command("failed redrive --cancel")
            how = f", which `{cancel}` makes soon" if logical_id == DEAD_LETTER_QUEUE else ""
            raise AwsError(
                f"{name_of(environment.resource(logical_id))}: SQS is moving messages "
                f"out of it; wait for the end of that{how}, then repeat the command"
            )
        moves[logical_id] = int(task["StartedTimestamp"]) if task else 0
    return moves


def _newest_task(client: Any, source: str) -> Any:
    """Return the last task of a queue, by its ARN, as ListMessageMoveTasks has it; None for none.

    Failures are botocore's.
    """
    answer = client.list_message_move_tasks(SourceArn=source, MaxResults=1)
    return next(iter(answer.get("Results", ())), None)


def _last_task(environment: Environment, logical_id: str, sleep: Callable[[float], None]) -> Any:
    """Return the last task of a queue, None for none, also where an endpoint has no such tasks."""
    client, source = environment.client("sqs"), _arn(environment, logical_id)
    try:
        return next(looks("message move task", partial(_newest_task, client, source), sleep))
    except AwsError as error:
        cause = error.__cause__
        none = NO_TASKS | (NO_SOURCE if logical_id == FAILED_QUEUE else frozenset())
        if isinstance(cause, ClientError) and code_of(cause) in none:
            return None
        raise


def _wait(
    client: Any, source: str, sleep: Callable[[float], None], tell: Callable[[Waiting], None]
) -> int:
    def look() -> Any:
        # It may not be listed yet.
        return _newest_task(client, source) or {"Status": "RUNNING"}

    for task in looks("message move task", look, sleep):
        moved = int(task.get("ApproximateNumberOfMessagesMoved", 0))
        if task["Status"] == "COMPLETED":
            return moved
        if task["Status"] not in MOVING:
            reason = task.get("FailureReason") or task["Status"].lower()
            raise AwsError(
                f"message move task: {reason}; {moved} messages were moved, the others are where "
                "they were"
            )
        tell(Waiting(f"{moved} of {task.get('ApproximateNumberOfMessagesToMove', '?')} moved"))
    raise AwsError("message move task: it cannot be looked at")


def _arn(environment: Environment, logical_id: str) -> str:
    with translated("queues"):
        answer = environment.client("sqs").get_queue_attributes(
            QueueUrl=environment.resource(logical_id), AttributeNames=["QueueArn"]
        )
    return str(answer["Attributes"]["QueueArn"])
