"""The artifact bucket's own stack, once per account and region."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from payment_infra.cloud.deploying.bucket import Bucket
from payment_infra.cloud.environment.ownership import foreign
from payment_infra.cloud.events import Caution
from payment_infra.cloud.stacks.change_sets import Request, created, execute
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.settling import Step, step_of
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.cloud.stacks.tokens import token_of
from payment_infra.names import ARTIFACT_BUCKET_OUTPUT
from payment_infra.rendering import render
from payment_infra.template import build_bootstrap_template

if TYPE_CHECKING:
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.stack import StackState

BOOTSTRAP_STACK = "payment-artifacts"


def bootstrap(session: Session, tell: Tell) -> tuple[str, bool]:
    """Create or update the artifact bucket's stack; return the bucket, and if anything changed.

    A stack whose bucket somebody has deleted is made anew: CloudFormation takes the bucket for
    there, and no update of its template makes it again.
    """
    stack = Stack(session.client("cloudformation"), BOOTSTRAP_STACK)
    state = _at_rest(session, stack, tell)
    while state is not None and (gone := _gone(session, state)):
        tell(Caution(f"bucket {gone} is gone; its stack {stack.name} is made anew"))
        for event in stack.delete(state):
            tell(event)
        state = _at_rest(session, stack, tell)
    request = Request({"TemplateBody": render(build_bootstrap_template())}, {})
    with created(stack, state, request) as change_set:
        if change_set is not None:
            for event in execute(stack, change_set, token_of(session.principal())):
                tell(event)
    return stack.outputs()[ARTIFACT_BUCKET_OUTPUT], change_set is not None


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


def find_bucket(session: Session, given: str, tell: Tell) -> Bucket:
    """Return the given bucket, or the account's own, which is made if need be.

    Raises:
        AwsError: the bucket is missing, in another region, or another account's.
    """
    name = given or own_bucket(session) or bootstrap(session, tell)[0]
    bucket = Bucket(session.client("s3"), name, session.account())
    bucket.check()
    return bucket


def own_bucket(session: Session) -> str | None:
    """Return the account's own bucket in the region, None if it is yet to be made, or gone."""
    name = bootstrapped(session)
    return name if name and exists(session, name) else None


def exists(session: Session, name: str) -> bool:
    """Whether a bucket of that name exists, be it another account's."""
    return Bucket(session.client("s3"), name, session.account()).exists()


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


def _gone(session: Session, state: StackState) -> str:
    """Return the bucket of its stack if it is there no more, else ""."""
    name = state.outputs.get(ARTIFACT_BUCKET_OUTPUT, "")
    return "" if not name or exists(session, name) else name


def _is_bucket_stack(state: StackState) -> bool:
    """Whether a stack is the bucket's; one that was never made complete has no outputs."""
    return ARTIFACT_BUCKET_OUTPUT in state.outputs or step_of(state) is not Step.UPDATE
