"""A deletion, step by step: lock, look, refuse, ask, save, detach, delete, say what remains.

Nothing is changed before what goes and what stays was shown and agreed to. If it fails before the
stack is being deleted, payments are let in again, and the callers' policy is attached again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from payment_infra.cloud.destroying.destruction import (
    Destruction,
    Kept,
    check_protection,
    delete_late_log_groups,
    examine,
    remains,
)
from payment_infra.cloud.destroying.saving import Saving
from payment_infra.cloud.environment.callers import Detaching
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.environment.locking import Lock
from payment_infra.cloud.environment.ownership import find_stack
from payment_infra.cloud.events import Report
from payment_infra.cloud.stacks.operator import follow
from payment_infra.cloud.stacks.settling import Step, busy, step_of
from payment_infra.wording import counted, listed

if TYPE_CHECKING:
    from payment_infra.cloud.operating.dead_letters import Clock
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.operator import Operator
    from payment_infra.cloud.stacks.stack import Stack
    from payment_infra.sources import Resolved


@dataclass(frozen=True, kw_only=True)
class DestroyOptions:
    """How an environment is deleted.

    Args:
        export: the file that payments are saved to first, None to save nothing; see `Saving`.
        drain_seconds: how long to wait for requests that have begun; None: the functions' timeout.
        yes: answer the question.
        command: what a person has entered.
        take_over: the generation of the lock that may be taken from its holder.
    """

    export: Path | None = None
    drain_seconds: int | None = None
    yes: bool = False
    command: str = ""
    take_over: int | None = None


@dataclass(frozen=True)
class Destroyed:
    """What a deletion has come to.

    saved is each file's name to how many payments or messages it holds; log_groups are those that a
    late line had made again; remains is all that is left.
    """

    saved: Mapping[str, int]
    log_groups: Sequence[str]
    remains: Sequence[Kept]


def destroy(
    session: Session,
    stack: Stack,
    resolved: Resolved,
    options: DestroyOptions,
    operator: Operator,
    show: Callable[[Destruction], None],
) -> Destroyed | None:
    """Delete an environment's stack; return None if there is none.

    Args:
        session: whose account.
        stack: the stack.
        resolved: the settings, which name the environment.
        options: how.
        operator: is told what happens, and asked.
        show: gets what would go and stay, before the question.

    Raises:
        UsageError: nobody can answer, or a file is in the way of the saving.
        AwsError: the stack is not this environment's, or is protected, or something failed first:
            the stack stays.
        DeploymentFailed: the deletion failed.
        Declined: the answer was no; nothing was changed.
        Interrupted: Ctrl-C after the deletion had begun, which continues.
    """
    suffix = resolved.config.suffix
    if find_stack(stack, suffix) is None:
        return None
    operator.check_answers(options.yes)
    with Lock.acquire(
        *(session, stack, "destroy", operator.tell),
        command=options.command,
        take_over=options.take_over,
    ):
        environment = Environment.find(session, stack, suffix)
        _check_at_rest(environment)
        found = examine(environment)
        show(found)
        check_protection(environment, found, resolved)
        saved = delete(environment, found, options, operator)
        late = delete_late_log_groups(environment, found)
        return Destroyed(saved, late, remains(environment, found))


def delete(
    environment: Environment,
    found: Destruction,
    options: DestroyOptions,
    operator: Operator,
    clock: Clock = time.monotonic,
) -> Mapping[str, int]:
    """Ask, save, detach, and delete the stack; return each file's name to how many lines it holds.

    Raises as `destroy` does.
    """
    stack = environment.stack
    saving = _saving(environment, options, operator, clock)
    detaching = Detaching(environment, found.callers, operator.tell, stack.sleep)
    with detaching, saving or nullcontext():
        operator.confirm(_question(found), options.yes)
        environment.check_same()
        if saving:
            saving.save()
        detaching.detach()
        # Saving takes minutes, in which somebody without the lock can have changed something.
        environment.check_same()
        if saving:
            saving.check_stopped()
        follow(stack, stack.delete(environment.state), operator)
    if saving is None:
        return {}
    lines = [f"{name}: {counted(number, 'line')}" for name, number in saving.saved.items()]
    operator.tell(Report(tuple(lines), {"kind": "saved", "files": saving.saved}))
    return saving.saved


def _check_at_rest(environment: Environment) -> None:
    """Make sure that nothing of the stack is in progress but a deletion, which continues.

    Raises:
        AwsError: something is; nothing was changed.
    """
    state = environment.state
    if step_of(state) is Step.WAIT and state.status != "DELETE_IN_PROGRESS":
        raise busy(environment.stack, state)


def _saving(
    environment: Environment, options: DestroyOptions, operator: Operator, clock: Clock
) -> Saving | None:
    if options.export is None:
        return None
    file = str(options.export)
    told = f"Before that, payments are stopped, and saved with both queues' messages: {file}"
    operator.tell(Report((told,), {"kind": "saving", "file": file}))
    return Saving(
        environment,
        options.export,
        drain_seconds=options.drain_seconds,
        tell=operator.tell,
        sleep=environment.stack.sleep,
        clock=clock,
    )


def _question(found: Destruction) -> str:
    """Return the question, with what goes: all else may have scrolled out of the terminal."""
    goes = [counted(sum(found.goes.values()), "resource")]
    if found.table:
        goes.append(f"about {counted(found.items, 'payment')}")
    if messages := sum(found.messages.values()):
        goes.append(counted(messages, "message"))
    number = len(found.callers.principals)
    callers = counted(number, "principal")
    also = f", and detach the callers' policy from {callers}" if number else ""
    return f"Delete the stack {found.stack} in {found.region} with {listed(goes)}{also}?"
