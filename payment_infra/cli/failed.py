"""`payment-infra failed`: what payment-retry has given up."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.everywhere import Group, entered, everywhere
from payment_infra.cli.option_types import OutputFile
from payment_infra.cli.options import (
    environment_options,
    output_option,
    take_over_option,
    yes_option,
)
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.output import check_answers, note, print_json
from payment_infra.cli.views.terminal import at_terminal
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.foreign import escaped, parsed
from payment_infra.names import DEAD_LETTER_QUEUE, FAILED_QUEUE
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.environment.locking import Lock
    from payment_infra.cloud.operating.dead_letters import DeadLetter, Reading
    from payment_infra.cloud.stacks.operator import Operator

Command = Callable[..., Any]

EMPTY = "the dead-letter queue has no messages; nothing was done"

ID_OPTION = click.option(
    "--id", "ids", multiple=True, metavar="ID", help="Only this message; may be repeated."
)
WAIT_OPTION = click.option(
    "--wait", is_flag=True, help="Wait first until nobody holds messages of the queue."
)


@click.group("failed", cls=Group)
@everywhere
def command() -> None:
    """See, repeat and remove failed transactions.

    What fails is retried from the queue failed-transactions; what fails there three times is in the
    dead-letter queue. To look at it does not count as a receive of the first, and takes nothing out
    of the second.

    \b
    Example:
      payment-infra failed list --suffix dev-001
      payment-infra failed redrive --suffix dev-001 --all
    """


@command.command("list")
@output_option
@environment_options
@everywhere
def list_command(environment: Environment, output: str) -> None:
    """List the messages of the dead-letter queue.

    Of the main queue only its numbers are shown: a receive would count towards its three.

    \b
    Example:
      payment-infra failed list --suffix dev-001
    """
    from payment_infra.cli.views.failed import left_behind, print_messages
    from payment_infra.cloud.operating.dead_letters import depth, read_dead_letters

    main, found = depth(environment, FAILED_QUEUE), read_dead_letters(environment)
    queues = [main, found.before]
    if output == "json":
        print_json(
            {
                "queues": [asdict(queue) for queue in queues],
                "dead_letters": [_without_body(message) for message in found.messages],
                "held_elsewhere": found.held_elsewhere,
                "not_read": found.not_read,
            }
        )
        return
    for queue in queues:
        delayed = f", {queue.delayed} delayed" if queue.delayed else ""
        note(f"{queue.name}: {queue.waiting} waiting, {queue.in_flight} in flight{delayed}")
    now = datetime.now(UTC)
    if left := left_behind(found.held_elsewhere, found.not_read, now):
        note(left)
    if found.messages:
        print_messages(found.messages, now)


@command.command("show")
@click.argument("message_id", metavar="ID")
@click.option("--full", is_flag=True, help="The customer's id, too.")
@output_option
@environment_options
@everywhere
def show(environment: Environment, message_id: str, full: bool, output: str) -> None:
    """Show one message, and its payment's row beside it.

    ID is the message's, or the transaction's.

    \b
    Example:
      payment-infra failed show --suffix dev-001 5f0c954e-9f3a-4c8b-8a41-9e3d3c1f0a11
    """
    from payment_infra.cli.views.failed import print_message
    from payment_infra.cli.views.payment import masked
    from payment_infra.cloud.operating.dead_letters import read_dead_letters
    from payment_infra.cloud.operating.transactions import find

    read = read_dead_letters(environment)
    found = [
        message for message in read.messages if message_id in {message.id, message.transaction_id}
    ]
    if not found:
        raise PaymentInfraError(_not_there(environment, message_id, read))
    for message in found:
        row = find(environment, message.transaction_id) if message.transaction_id else None
        document = masked({"message": _readable(message), "row": row}, full=full)
        if output == "json":
            print_json(document)
        else:
            print_message(document)


@command.command("redrive")
@click.option("--all", "everything", is_flag=True, help="Every message.")
@ID_OPTION
@click.option(
    "--max-rate",
    type=click.IntRange(1, 500),
    metavar="NUMBER",
    help="Messages a second at most.",
)
@click.option("--cancel", is_flag=True, help="Cancel the redrive that SQS has in progress.")
@WAIT_OPTION
@take_over_option
@output_option
@yes_option
@environment_options
@everywhere
@sheltered()
def redrive(
    environment: Environment,
    everything: bool,
    ids: tuple[str, ...],
    max_rate: int | None,
    cancel: bool,
    wait: bool,
    take_over: int | None,
    output: str,
    yes: bool,
) -> None:
    """Send messages back to be retried.

    SQS moves them where it can; otherwise each is sent, then deleted, so that a crash duplicates
    and never loses. The functions do nothing twice.

    \b
    Example:
      payment-infra failed redrive --suffix dev-001 --all --max-rate 5
    """
    from payment_infra.cloud.operating.dead_letters import depth
    from payment_infra.cloud.operating.redriving import Wanted, cancel_move, move, move_all

    if [everything, bool(ids), cancel].count(True) != 1:
        raise UsageError("give one of --all, --id ID and --cancel")
    if take_over is not None and cancel:
        raise UsageError("--take-over goes with --all and --id: --cancel takes no lock")
    if cancel:
        before = cancel_move(environment)
        told = f"the redrive is cancelled; it had moved {counted(before, 'message')}"
        _tell({"moved": before, "cancelled": True}, told, output)
        return
    check_answers(yes)
    _wait_if(wait, environment)
    with (
        at_terminal(environment.stack.name, "text") as operator,
        _lock(environment, operator, "failed redrive", take_over),
    ):
        if everything:
            wanted = Wanted(depth(environment, DEAD_LETTER_QUEUE).total)
        else:
            chosen = {message.id for message in _chosen(environment, ids)[0]}
            wanted = Wanted(len(chosen), chosen)
        if not wanted.number:
            _tell({"moved": 0, "left": 0}, EMPTY, output)
            return
        about = "about " if everything else ""
        operator.confirm(
            f"Send {about}{counted(wanted.number, 'message')} back to be retried?", yes
        )
        moved = None
        if everything:
            moved = move_all(environment, max_rate, time.sleep, operator.tell)
        if moved is None:
            moved = move(environment, wanted, max_rate, time.sleep, operator.tell)
    # Both numbers of the queue are about right, so both must say that there is something left.
    left = wanted.number - moved
    if left > 0:
        left = min(left, depth(environment, DEAD_LETTER_QUEUE).total)
    left = max(left, 0)
    _tell({"moved": moved, "left": left}, f"sent back: {counted(moved, 'message')}", output)
    _check_left(held=left)


@command.command("purge")
@click.option(
    "--export",
    "file",
    required=True,
    type=OutputFile(),
    help="Where the messages go before they are deleted, as JSON lines.",
)
@ID_OPTION
@WAIT_OPTION
@take_over_option
@output_option
@yes_option
@environment_options
@everywhere
@sheltered()
def purge(
    environment: Environment,
    file: Path,
    ids: tuple[str, ...],
    wait: bool,
    take_over: int | None,
    output: str,
    yes: bool,
) -> None:
    """Save dead letters to a file, then delete them.

    Only what is in the file is deleted, not what has come since. The file holds whole messages,
    customers' ids among them, but no token of a payment method; only you can read it.

    \b
    Example:
      payment-infra failed purge --suffix dev-001 --export dead-letters.jsonl
    """
    from payment_infra.cloud.operating.dead_letters import delete
    from payment_infra.files import create_private, require_place

    require_place(file, new=True)
    check_answers(yes)
    _wait_if(wait, environment)
    with (
        at_terminal(environment.stack.name, "text") as operator,
        _lock(environment, operator, "failed purge", take_over),
    ):
        chosen, read = _chosen(environment, ids)
        left = 0 if ids else read.held_elsewhere + read.not_read
        if chosen:
            lines = (json.dumps(message.document()) for message in chosen)
            create_private(file, "".join(f"{line}\n" for line in lines).encode())
            number = counted(len(chosen), "message")
            note(f"{file}: {number}")
            operator.confirm(f"Delete {number} from the queue?", yes)
            deleted = delete(environment, {message.id for message in chosen})
            told = f"deleted: {counted(deleted, 'message')}"
            _tell({"deleted": deleted, "left": left}, told, output)
        elif not left:
            _tell({"deleted": 0, "left": 0}, EMPTY, output)
    if not ids:
        _check_left(read.held_elsewhere, read.not_read)


def _lock(
    environment: Environment, operator: Operator, operation: str, take_over: int | None
) -> Lock:
    from payment_infra.cloud.environment.locking import Lock

    return Lock.acquire(
        *(environment.session, environment.stack, operation, operator.tell),
        command=entered(),
        take_over=take_over,
    )


def _wait_if(wait: bool, environment: Environment) -> None:
    from payment_infra.cloud.operating.dead_letters import wait_for_held

    if wait:
        with at_terminal(environment.stack.name, "text") as operator:
            wait_for_held(environment, time.sleep, operator.tell)


def _chosen(environment: Environment, ids: tuple[str, ...]) -> tuple[list[DeadLetter], Reading]:
    """Return the messages that are meant, with what was read; show how many are of which kind."""
    from payment_infra.cloud.operating.dead_letters import read_dead_letters

    read = read_dead_letters(environment)
    found = [message for message in read.messages if not ids or message.id in ids]
    if missing := set(ids) - {message.id for message in found}:
        raise UsageError(_not_there(environment, min(missing), read))
    kinds = Counter((message.operation or "-", message.reason or "-") for message in found)
    for (operation, reason), number in kinds.most_common():
        note(f"{number:>7}  {escaped(operation)}  {escaped(reason)}")
    return found, read


def _not_there(environment: Environment, message_id: str, read: Reading) -> str:
    from payment_infra.cli.views.failed import left_behind

    if left := left_behind(read.held_elsewhere, read.not_read, datetime.now(UTC)):
        return f"no message {message_id} could be read: {left}; repeat the command then"
    return (
        f"no message {message_id} in the dead-letter queue; `{environment.command('failed list')}` "
        "has those that are there"
    )


def _check_left(held: int, not_read: int = 0) -> None:
    from payment_infra.cli.views.failed import left_behind

    if left := left_behind(held, not_read, datetime.now(UTC)):
        remedy = "repeat the command then, or with --wait" if held else "repeat the command"
        raise PaymentInfraError(f"{left}; {remedy}")


def _without_body(message: DeadLetter) -> dict[str, Any]:
    document = message.document()
    del document["body"], document["attributes"]
    return document


def _readable(message: DeadLetter) -> dict[str, Any]:
    """Return a message with its body taken apart, where that is JSON."""
    document = message.document()
    content = parsed(message.body)
    document["body"] = message.body if content is None else content
    return document


def _tell(document: dict[str, Any], text: str, output: str) -> None:
    if output == "json":
        print_json(document)
    else:
        note(text)
