"""The move of an environment to another gateway, which leaves payments in flight behind.

A payment is charged, confirmed and canceled at the gateway that it began at, and nowhere else. So
whatever gives the functions another gateway is refused while payments are in flight, unless it is
named. Another secret counts as another gateway: what is behind it may be another account.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.deploying.options import GATEWAY
from payment_infra.cloud.environment.environment import Environment, variables_of
from payment_infra.cloud.environment.in_flight import count_in_flight
from payment_infra.cloud.environment.ownership import check_ours
from payment_infra.cloud.events import Caution
from payment_infra.errors import AwsError
from payment_infra.gateway_names import Gateway, gateway_name
from payment_infra.names import ENVIRONMENT_SUFFIX, TABLE_OUTPUT, own_table
from payment_infra.record import CHARGING, charges_at
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.stack import Stack, StackState
    from payment_infra.record import Record


@dataclass(frozen=True)
class Move:
    """What gives the functions another gateway.

    subject says that as the beginning of a sentence; tables are where payments are.
    """

    session: Session
    stack: Stack
    subject: str
    tables: Collection[str]

    def objection(self) -> str:
        """Say what stands against it now, "" for nothing."""
        client = self.session.client("dynamodb")
        try:
            found = [count_in_flight(client, table) for table in self.tables]
        except AwsError as error:
            return f"{self.subject}, and it is not known whether payments are in flight: {error}"
        number = sum(one.number for one in found)
        if not number:
            return ""
        least = "at least " if any(one.more for one in found) else ""
        are, them, count = (
            ("is", "it", "it counts") if number == 1 else ("are", "them", "they count")
        )
        return (
            f"{self.subject}, and {least}{counted(number, 'payment')} {are} in flight: no other "
            f"gateway charges, confirms or cancels {them}, so {count} as stuck"
        )

    def check(self, command: str) -> None:
        """Make sure that nothing stands against it.

        Args:
            command: the whole command that is to be repeated, to name it.

        Raises:
            AwsError: payments are in flight, or nobody can tell.
        """
        if told := self.objection():
            shown = self.stack.command("payment list")
            raise AwsError(
                f"{told}; wait until none is (`{shown}` shows them), or name it: "
                f"`{command} --allow {GATEWAY}`"
            )


def find_move(
    session: Session,
    stack: Stack,
    state: StackState | None,
    deployed: Mapping[str, Any],
    record: Record,
    new: Mapping[str, Any],
    table: str,
    suffix: str,
) -> Move | None:
    """Return the move that an update makes, None for an update that makes none.

    Args:
        session: whose account.
        stack: the stack.
        state: what it is; None if it is made anew over what was kept.
        deployed: its template, {} for none.
        record: what it, or the stack that is gone, has recorded.
        new: the template that it gets.
        table: the restored table that it gets; "" where none is named.
        suffix: the environment's.
    """
    was, becomes = charges_at(deployed), charges_at(new)
    if was is None and "gateway" in record.values:
        values = record.values
        was = Gateway(str(values["gateway"]), str(values.get("gateway_secret", "")))
    if was is None or becomes is None or was == becomes:
        return None
    active = state.outputs.get(TABLE_OUTPUT, "") if state else ""
    tables = {active, table} - {""} or {own_table(suffix)}
    subject = f"stack {stack.name}: this update changes {_change(was, becomes)}"
    return Move(session, stack, subject, sorted(tables))


@dataclass
class Return:
    """A rollback, which gives the functions the gateway that they had before the last operation.

    To be called with the state of a stack before it is rolled back.

    Args:
        session: whose account.
        stack: the stack.
        tell: is told what stands against it, where it is allowed.
        statuses: those in which a stack is rolled back by whoever asks.
        command: the whole command that is to be repeated, to allow it.
        allow: what may be done all the same.
    """

    session: Session
    stack: Stack
    tell: Tell
    statuses: Collection[str]
    command: str
    allow: Collection[str]
    told: bool = False

    def __call__(self, state: StackState) -> None:
        """Make sure that a stack is this tool's, and may be rolled back.

        Raises:
            AwsError: it is not, or may not: payments are in flight.
        """
        check_ours(self.stack.name, state)
        if state.status not in self.statuses or self.told:
            return
        move = self._move(state)
        if move is None:
            return
        if GATEWAY not in self.allow:
            move.check(self.command)
        elif told := move.objection():
            self.told = True
            self.tell(Caution(told))

    def _move(self, state: StackState) -> Move | None:
        if not (change := self._change(state)):
            return None
        table = state.outputs.get(TABLE_OUTPUT) or own_table(state.parameters[ENVIRONMENT_SUFFIX])
        subject = f"stack {self.stack.name}: the rollback {change}"
        return Move(self.session, self.stack, subject, (table,))

    def _change(self, state: StackState) -> str:
        """Say what it changes of the gateway, "" for nothing.

        What the functions have now is read of them: the failed update may have come to them or not.
        """
        before = self.stack.following(state.id).before_last_operation(CHARGING)
        environment = Environment(self.session, self.stack, state)
        for name, properties in before.items():
            if properties is None:
                return "may change the gateway"
            variables = properties.get("Environment", {}).get("Variables", {})
            has = Gateway.of(variables_of(environment.function(name)))
            if (gets := Gateway.of(variables)) != has:
                return f"changes {_change(has, gets)}"
        return ""


def _change(was: Gateway, becomes: Gateway) -> str:
    changes = []
    if was.gateway != becomes.gateway:
        names = gateway_name(was.gateway), gateway_name(becomes.gateway)
        changes.append("the gateway from {} to {}".format(*names))
    if was.secret != becomes.secret:
        before, after = was.secret or "none", becomes.secret or "none"
        changes.append(f"the gateway's secret from {before} to {after}")
    return " and ".join(changes)
