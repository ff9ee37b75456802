"""A change set is executed, and followed to its end, or to the end of the time that it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from payment_infra.artifacts import code_keys
from payment_infra.cloud.events import Caution, StackEvent, Waiting
from payment_infra.cloud.stacks import change_sets, leftovers
from payment_infra.cloud.stacks.diagnosis import failure
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.operator import follow_cancelling, going_on
from payment_infra.cloud.stacks.settling import Step, step_of
from payment_infra.cloud.stacks.stack import CANCELLABLE
from payment_infra.cloud.stacks.tokens import token_of
from payment_infra.errors import Interrupted
from payment_infra.template import sources

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.options import DeployOptions
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.described import ChangeSet
    from payment_infra.cloud.stacks.operator import Operator
    from payment_infra.cloud.stacks.stack import Stack
    from payment_infra.config import StackConfig

Events = Iterator[StackEvent | Waiting]


class Execution:
    """Executes the change sets of one deployment of one stack."""

    def __init__(
        self,
        session: Session,
        stack: Stack,
        options: DeployOptions,
        operator: Operator,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._stack = stack
        self._options = options
        self._operator = operator
        self._clock = clock

    def begin(self, change_set: ChangeSet) -> Events:
        """Begin to execute a change set; return its events, for `follow`.

        Raises:
            Interrupted: Ctrl-C, and the execution has begun.
        """
        token = token_of(self._session.principal())
        rollback = self._options.rollback
        try:
            return change_sets.execute(self._stack, change_set, token, rollback=rollback)
        except KeyboardInterrupt as interrupt:
            state = self._stack.state()  # the call may have taken effect
            if step_of(state) is Step.WAIT:
                raise Interrupted(going_on(self._stack)) from interrupt
            raise

    def follow(self, events: Events, config: StackConfig) -> None:
        """Tell the events of what was begun until it has ended.

        Args:
            events: what `begin` has returned.
            config: what is deployed, for the cause of a failure.

        Raises:
            DeploymentFailed: it failed, or was cancelled since it took too long.
            Interrupted: Ctrl-C; it continues.
        """
        try:
            self._follow(events)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(going_on(self._stack)) from interrupt
        except DeploymentFailed as failed:
            raise self._explained(failed, config) from failed

    def _follow(self, events: Events) -> None:
        started = self._clock()
        limit = self._options.timeout_seconds
        for event in events:
            self._operator.tell(event)
            if limit is not None and self._clock() - started > limit:
                self._cancel(limit)

    def _cancel(self, limit: float) -> None:
        state = self._stack.state_for_sure()
        if state is not None and state.status in CANCELLABLE:
            self._operator.tell(Caution(f"not done after {limit:.0f} s; cancelling"))
            follow_cancelling(
                self._stack,
                state,
                self._operator,
                partial(leftovers.remove, self._session, self._stack.sleep),
            )
            raise DeploymentFailed(
                f"stack {self._stack.name} was not done after {limit:.0f} s, and was cancelled"
            )

    def _explained(self, failed: DeploymentFailed, config: StackConfig) -> DeploymentFailed:
        built = sources(config, code_keys())
        name, flags = self._stack.name, self._stack.flags
        explained = failure(name, failed.status, failed.events, built, flags)
        if self._options.rollback or not failed.status:
            return explained if failed.status else failed
        kept = f"what was made is kept, and `{self._stack.command('rollback')}` undoes it"
        return DeploymentFailed(
            f"{explained}; {kept}", failed.status, failed.events, explained.diagnosis
        )
