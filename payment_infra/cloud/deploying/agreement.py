"""A change set is shown before it is executed, and what it does is asked about."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.deploying import importing
from payment_infra.cloud.deploying.condition import tell_stopped
from payment_infra.cloud.deploying.moving import find_move
from payment_infra.cloud.deploying.options import GATEWAY
from payment_infra.cloud.deploying.previewing import questions, update_preview
from payment_infra.cloud.deploying.release import brings_key
from payment_infra.cloud.deploying.shifting import tell_fired
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.events import Caution, PropertyChange
from payment_infra.names import TRANSACTIONS_TABLE_OVERRIDE
from payment_infra.record import authorization_of

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.moving import Move
    from payment_infra.cloud.deploying.options import DeployOptions
    from payment_infra.cloud.deploying.planning import Found
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.described import ChangeSet
    from payment_infra.cloud.stacks.operator import Operator
    from payment_infra.cloud.stacks.stack import Stack

CLOSES = (
    "the API is open, and this closes it: from then on it refuses requests without a signature "
    "(SigV4); its callers need the managed policy of the output CallerPolicyArn"
)
NOT_ENCRYPTED = (
    "this update brings the key, and a second one encrypts with it what is stored: that {}"
)
FOLLOWS = "follows directly, without a question; if it is interrupted, `{}` makes it"
LEFT = "is made by `{}`, once this one has ended"


def agree(
    session: Session,
    stack: Stack,
    operator: Operator,
    options: DeployOptions,
    change_set: ChangeSet,
    found: Found,
    new: Mapping[str, Any],
    *,
    allow: Collection[str],
    unasked: tuple[PropertyChange, ...] = (),
) -> None:
    """Show what a change set would do; return only if that is agreed to, or is not to be done yet.

    Args:
        session: whose account.
        stack: the stack.
        operator: is told, and asked.
        options: how the deployment is made.
        change_set: what is to be executed.
        found: what the deployment begins with.
        new: the template that the change set leads to.
        allow: what may be done without a question of its own.
        unasked: what goes back to its default, by field (see `Preview`).

    Raises:
        AwsError: the update could let in a part of the payments that are stopped, or leave those in
            flight to another gateway.
        Declined: the answer to a question was no.
        UsageError: nobody can answer.
    """
    deployed, live = found.deployed, found.live
    preview = update_preview(session, stack, change_set, deployed, new, unasked=unasked)
    operator.tell(preview)
    was, becomes = authorization_of(deployed), authorization_of(new)
    if (was, becomes) == ("none", "iam"):
        operator.tell(Caution(CLOSES))
    if brings_key(deployed, new):
        left = not options.execute or options.detach or options.change_set
        when = (LEFT if left else FOLLOWS).format(stack.command("deploy"))
        operator.tell(Caution(NOT_ENCRYPTED.format(when)))
    was = was or str(found.record.values.get("authorization", ""))
    if live is not None:
        environment, tell = Environment(session, stack, live), operator.tell
        tell_stopped(environment, tell, change_set.changes, execute=options.execute)
        tell_fired(environment, change_set, tell, execute=options.execute)
    move = _find_move(session, stack, change_set, found, new)
    again = options.command or stack.command("deploy")
    if move is not None:
        if options.execute and GATEWAY not in allow:
            move.check(again)
        elif told := move.objection():
            operator.tell(Caution(told))
    if not options.execute:
        return
    completes = importing.is_incomplete(deployed)
    needs = questions(preview, (was, becomes), completes=completes)
    asked = [(need, meaning) for need, meaning in needs if need not in allow]
    for need, meaning in asked:
        question = f"This update {meaning}. Go ahead?"
        operator.confirm(question, agreed=False, flag=f"--allow {need}")
    if not asked:
        verb = "Create" if change_set.creates else "Update"
        # With what is at the top of the preview, which may have scrolled out of the terminal.
        question = f"{verb} the stack {stack.name} in {session.region}: {preview.counts}?"
        operator.confirm(question, options.yes)
    if move is not None and GATEWAY not in allow:
        move.check(again)  # more may have begun while the question was asked


def _find_move(
    session: Session, stack: Stack, change_set: ChangeSet, found: Found, new: Mapping[str, Any]
) -> Move | None:
    """Return the move to another gateway that a change set makes of a stack that exists."""
    if found.live is None:
        return None
    table = change_set.parameters.get(TRANSACTIONS_TABLE_OVERRIDE, "")
    suffix = found.resolved.config.suffix
    return find_move(session, stack, found.live, found.deployed, found.record, new, table, suffix)
