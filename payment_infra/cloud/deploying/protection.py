"""What keeps a stack from harm, and no template holds: termination protection and stack policy."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from payment_infra.cloud.environment import stack_policy
from payment_infra.cloud.stacks.state import StackState

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.options import DeployOptions
    from payment_infra.cloud.deploying.planning import Found
    from payment_infra.cloud.environment.operations_table import OperationsTable
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.stacks.stack import Stack


@dataclass(frozen=True)
class Protection:
    """What a deployment wants of it.

    termination: whether the stack may not be deleted. replacement: whether no update may replace or
    delete what holds data; replaced_before: whether that was so. policy is the JSON text of a stack
    policy that was given, None if none was.
    """

    stack: Stack
    termination: bool
    replacement: bool
    replaced_before: bool
    policy: str | None

    @classmethod
    def wanted(cls, stack: Stack, found: Found, options: DeployOptions) -> Protection:
        """Return what a deployment wants that begins with what was found."""
        config, record = found.resolved.config, found.record.values
        return cls(
            stack,
            config.termination_protection,
            config.replacement_protection,
            bool(record.get("replacement_protection")),
            options.stack_policy,
        )

    def is_lacking(self, live: StackState | None) -> bool:
        """Whether a stack, None if it is yet to be created, has it otherwise."""
        return self._switches(live) or self._new_policy(live) is not None

    def put_on(self, stack_id: str, live: StackState | None) -> None:
        """Give it to a stack; one that is yet to be created gets its policy later."""
        with self.stack.expecting(live or StackState.in_review(stack_id)):
            if self._switches(live):
                self.stack.protect(stack_id, on=self.termination)
            if live is not None and (policy := self._new_policy(live)) is not None:
                self.stack.set_policy(stack_id, policy)

    def _switches(self, live: StackState | None) -> bool:
        return self.termination != (live is not None and live.termination_protection)

    def _new_policy(self, live: StackState | None) -> str | None:
        """Return the stack policy to set, None if there is none to be, or it is there."""
        if self.policy is not None:
            return self.policy
        if live is None or not (self.replacement or self.replaced_before):
            return None
        return stack_policy.wanted(self.stack.policy(), protects=self.replacement)


def lifted_policy(
    table: OperationsTable, stack: Stack, stack_id: str, tell: Tell, *, detach: bool
) -> AbstractContextManager[None]:
    """Lift the stack policy for what was agreed to: for the block, or where nobody waits for the
    end of the update, until the next command."""
    if not detach:
        return stack_policy.lifted(table, stack, stack_id, tell)
    stack_policy.lift(table, stack, stack_id)
    return nullcontext()
