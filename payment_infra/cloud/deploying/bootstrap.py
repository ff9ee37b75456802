"""The artifact bucket's own stack, once per account and region."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.deploying.bucket import MAX_LOOKS, MAX_LOOKS_AT_NEW, Bucket
from payment_infra.cloud.environment.ownership import foreign
from payment_infra.cloud.events import Caution
from payment_infra.cloud.stacks.change_sets import Request, created, execute
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.settling import Step, step_of
from payment_infra.cloud.stacks.stack import Outdated, Stack
from payment_infra.cloud.stacks.tokens import token_of
from payment_infra.names import ARTIFACT_BUCKET_OUTPUT
from payment_infra.rendering import render
from payment_infra.template import build_bootstrap_template

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.bucket import Sleep
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.stack import StackState

BOOTSTRAP_STACK = "payment-artifacts"
# How often what others do to the bucket's stack is waited for.
ATTEMPTS = 5
# A stack that was changed so long ago or later can have a bucket that S3 does not show yet.
NEW = timedelta(minutes=10)


def bootstrap(session: Session, tell: Tell, sleep: Sleep = time.sleep) -> tuple[str, bool]:
    """Create or update the artifact bucket's stack; return the bucket, and if anything changed.

    A stack whose bucket somebody has deleted is made anew: CloudFormation takes the bucket for
    there, and no update of its template makes it again. What another deployment makes of it at the
    same moment is waited for.

    Raises:
        AwsError: the stack is not the bucket's, or is changed by others again and again.
        DeploymentFailed: it cannot be made.
    """
    stack = Stack(session.client("cloudformation"), BOOTSTRAP_STACK, sleep)
    for left in reversed(range(ATTEMPTS)):
        try:
            changed = _bring_up_to_date(session, stack, tell)
        except Outdated:
            if not left:
                raise
        else:
            return stack.outputs()[ARTIFACT_BUCKET_OUTPUT], changed
    raise AssertionError


def _bring_up_to_date(session: Session, stack: Stack, tell: Tell) -> bool:
    """Create or update the bucket's stack; return whether anything changed."""
    state = _at_rest(session, stack, tell)
    while state is not None and (gone := _gone(session, state, tell, stack.sleep)):
        tell(Caution(f"bucket {gone} is gone; its stack {stack.name} is made anew"))
        for event in stack.delete(state):
            tell(event)
        state = _at_rest(session, stack, tell)
    request = Request({"TemplateBody": render(build_bootstrap_template())}, {})
    with created(stack, state, request, tell) as change_set:
        if change_set is None:
            return False
        for event in execute(stack, change_set, token_of(session.principal())):
            tell(event)
    return True


def _at_rest(session: Session, stack: Stack, tell: Tell) -> StackState | None:
    """Return the bucket's stack when it can be created or updated, None if there is none.

    What another deployment does with it is waited for, and what a failed creation has left, which
    is nothing but a name, goes.
    """
    while True:
        state = stack.state()
        if state is not None and not _is_bucket_stack(state):
            raise foreign(BOOTSTRAP_STACK)
        step = step_of(state)
        if state is None or step in {Step.CREATE, Step.UPDATE}:
            return state
        if step is Step.WAIT:
            with suppress(DeploymentFailed):  # the next look decides what to do with it
                for event in stack.watch(state):
                    tell(event)
        elif state.status == "ROLLBACK_COMPLETE":
            for event in stack.delete(state):
                tell(event)
        else:
            delete = session.aws(f"cloudformation delete-stack --stack-name {BOOTSTRAP_STACK}")
            raise DeploymentFailed(
                f"stack {BOOTSTRAP_STACK} is {state.status}; `{delete}` keeps the bucket, then try "
                "again"
            )


def find_bucket(session: Session, given: str, tell: Tell, sleep: Sleep = time.sleep) -> Bucket:
    """Return the given bucket, or the account's own, which is made if need be.

    Raises:
        AwsError: the bucket is missing, in another region, or another account's.
    """
    name, looks = given, MAX_LOOKS
    if not given:
        name = own_bucket(session) or bootstrap(session, tell, sleep)[0]
        looks = MAX_LOOKS_AT_NEW
    bucket = _bucket(session, name, max_looks=looks, sleep=sleep, tell=tell)
    bucket.check()
    return bucket


def own_bucket(session: Session) -> str | None:
    """Return the account's own bucket in the region, None if it is yet to be made, or gone.

    One look says so: what needs the bucket looks again.
    """
    name = bootstrapped(session)
    return name if name and _bucket(session, name, max_looks=1).exists() else None


def exists(session: Session, name: str, tell: Tell, sleep: Sleep) -> bool:
    """Whether a bucket of that name exists, be it another account's; looked for some seconds."""
    return _bucket(session, name, sleep=sleep, tell=tell).exists()


def bootstrapped(session: Session) -> str | None:
    """Return the bucket that the account's own stack has made, also if somebody has deleted it.

    None if it is not made yet.
    """
    state = Stack(session.client("cloudformation"), BOOTSTRAP_STACK).state()
    if state is None or step_of(state) is not Step.UPDATE:
        return None
    if not _is_bucket_stack(state):
        raise foreign(BOOTSTRAP_STACK)
    return state.outputs[ARTIFACT_BUCKET_OUTPUT]


def _gone(session: Session, state: StackState, tell: Tell, sleep: Sleep) -> str:
    """Return the bucket of its stack if it is there no more, else ""."""
    name = state.outputs.get(ARTIFACT_BUCKET_OUTPUT, "")
    # Another deployment may have made it a moment ago; no matter by how much the clocks differ.
    new = abs(datetime.now(UTC) - state.changed_at) < NEW
    looks = MAX_LOOKS_AT_NEW if new else MAX_LOOKS
    found = not name or _bucket(session, name, max_looks=looks, sleep=sleep, tell=tell).exists()
    return "" if found else name


def _bucket(session: Session, name: str, **how: Any) -> Bucket:
    return Bucket(session, name, **how)


def _is_bucket_stack(state: StackState) -> bool:
    """Whether a stack is the bucket's; one that was never made complete has no outputs."""
    return ARTIFACT_BUCKET_OUTPUT in state.outputs or step_of(state) is not Step.UPDATE
