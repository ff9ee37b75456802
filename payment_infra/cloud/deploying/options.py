"""How a deployment is made: what the caller can choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# What an update asks about even if everything else was agreed to.
BROADEN = "broaden"
OPEN = "open"
REPLACE = "replace"
# What is refused while payments are in flight: they would be left to another gateway.
GATEWAY = "gateway"
# Keys that an environment gets only by name: real money outside production, and none in it.
LIVE_KEY = "live-key"
TEST_KEY = "test-key"


@dataclass(frozen=True, kw_only=True)
class DeployOptions:
    """How a deployment is made.

    Args:
        yes: answer the questions, but for those of `allow`.
        allow: what may be done without a question of its own: BROADEN, OPEN, REPLACE; and
            GATEWAY, LIVE_KEY, TEST_KEY.
        execute: whether the change set is executed, or left for later.
        change_set: the name of one that an earlier run has left, to be executed now.
        detach: return as soon as the execution has begun.
        force: make a change set although nothing seems to have changed.
        rollback: whether a failure undoes what was done.
        wait: whether to wait for another operation on the stack; None asks where it can be shown,
            and waits if `yes`.
        skip: logical ids that a continued rollback leaves as they are.
        role_arn: the role that CloudFormation works with; None: the stack's, or the caller's.
        notification_arns: topics that get the stack's events; None: the stack's.
        stack_policy: the JSON text of the stack policy to set.
        parameters: template parameters with the values that they get.
        timeout_seconds: after this the operation is cancelled.
        strict: whether a warning of the checks ends the deployment.
        skip_checks: names of the checks that are not made.
        import_existing: whether a new stack begins with what exists under its names.
        at_once: whether new versions get all requests at once, without a canary.
        take_over: the generation of the lock that may be taken from its holder.
        command: what a person has entered, for a refusal to repeat it.
    """

    yes: bool = False
    allow: frozenset[str] = frozenset()
    execute: bool = True
    change_set: str | None = None
    detach: bool = False
    force: bool = False
    rollback: bool = True
    wait: bool | None = None
    skip: tuple[str, ...] = ()
    role_arn: str | None = None
    notification_arns: tuple[str, ...] | None = None
    stack_policy: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float | None = None
    strict: bool = False
    skip_checks: frozenset[str] = frozenset()
    import_existing: bool = False
    at_once: bool = False
    take_over: int | None = None
    command: str = ""
