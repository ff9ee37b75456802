"""A deployment, step by step: the bucket, what goes into it, the change set."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from payment_infra import naming
from payment_infra.artifacts import KEY_PREFIX, Artifact, build_artifacts
from payment_infra.cloud.bucket import Bucket
from payment_infra.cloud.parameters import parameters
from payment_infra.cloud.stack import CAPABILITIES, UPDATABLE, ChangeSet, Stack, StackEvent
from payment_infra.errors import AwsError
from payment_infra.rendering import render
from payment_infra.template import (
    ARTIFACT_BUCKET_OUTPUT,
    build_bootstrap_template,
    build_template,
)

if TYPE_CHECKING:
    from payment_infra.cloud.session import Session
    from payment_infra.cloud.stack import StackState
    from payment_infra.sources import Resolved

BOOTSTRAP_STACK = "payment-artifacts"
STACK_NAME_PREFIX = "payment-infra"
Tell = Callable[[StackEvent], None]


@dataclass(frozen=True)
class UploadedObject:
    """An object of the artifact bucket; `new` if this run put it there."""

    key: str
    uri: str
    new: bool


@dataclass(frozen=True)
class Upload:
    """What a deployment needs, in the bucket."""

    bucket: Bucket
    functions: tuple[UploadedObject, ...]
    template: UploadedObject

    @property
    def template_url(self) -> str:
        """The template's address for CloudFormation."""
        return self.bucket.url(self.template.key)


def deploy(session: Session, stack: Stack, resolved: Resolved, tell: Tell) -> bool:
    """Bring the stack to what the configuration and the handlers are; return if it changed.

    Raises:
        PaymentInfraError: a handler is not valid Python; nothing was changed.
        AwsError: the stack or the bucket is not this environment's; nothing was changed.
        DeploymentFailed: CloudFormation refused, or rolled back.
    """
    artifacts = build_artifacts()
    check_owner(stack, resolved.config.suffix)
    bucket = find_bucket(session, resolved.config.bucket, tell)
    change_set = propose(session, stack, resolved, upload(bucket, resolved, artifacts))
    if change_set is None:
        return False
    for event in stack.execute(change_set):
        tell(event)
    return True


def bootstrap(session: Session, tell: Tell) -> tuple[str, bool]:
    """Create or update the artifact bucket's stack; return the bucket, and if anything changed."""
    stack = Stack(session.client("cloudformation"), BOOTSTRAP_STACK)
    state = stack.state()
    if state is not None and state.status in UPDATABLE and not _is_bucket_stack(state):
        raise _foreign(BOOTSTRAP_STACK)
    change_set = stack.create_change_set(
        {"TemplateBody": render(build_bootstrap_template())}, {}, "payment-infra bootstrap"
    )
    if change_set is not None:
        for event in stack.execute(change_set):
            tell(event)
    return stack.outputs()[ARTIFACT_BUCKET_OUTPUT], change_set is not None


def find_bucket(session: Session, given: str, tell: Tell) -> Bucket:
    """Return the given bucket, or the account's own, which is made if need be.

    Raises:
        AwsError: the bucket is missing, in another region, or another account's.
    """
    account = session.account()
    name = given or _bootstrapped(session) or bootstrap(session, tell)[0]
    bucket = Bucket(session.client("s3"), name, account)
    bucket.check()
    return bucket


def _bootstrapped(session: Session) -> str | None:
    state = Stack(session.client("cloudformation"), BOOTSTRAP_STACK).state()
    if state is None or state.status not in UPDATABLE:
        return None
    if not _is_bucket_stack(state):
        raise _foreign(BOOTSTRAP_STACK)
    return state.outputs[ARTIFACT_BUCKET_OUTPUT]


def _is_bucket_stack(state: StackState) -> bool:
    return ARTIFACT_BUCKET_OUTPUT in state.outputs


def upload(bucket: Bucket, resolved: Resolved, artifacts: list[Artifact]) -> Upload:
    """Put zips and template into the bucket, under their digests; what is there is skipped."""
    functions = tuple(
        _put(bucket, artifact.key, artifact.body, "application/zip") for artifact in artifacts
    )
    config = replace(resolved.config, bucket=bucket.name)
    keys = {artifact.name: artifact.key for artifact in artifacts}
    body = render(build_template(config, keys)).encode()
    key = f"{KEY_PREFIX}/template/{hashlib.sha256(body).hexdigest()}.yaml"
    return Upload(bucket, functions, _put(bucket, key, body, "application/yaml"))


def _put(bucket: Bucket, key: str, body: bytes, content_type: str) -> UploadedObject:
    return UploadedObject(key, bucket.uri(key), bucket.put(key, body, content_type))


def propose(
    session: Session, stack: Stack, resolved: Resolved, uploaded: Upload
) -> ChangeSet | None:
    """Create the change set that brings the stack to what was uploaded; None: nothing to do.

    Raises:
        AwsError: the stack is not this tool's, or is another environment's.
        DeploymentFailed: CloudFormation refuses the change set.
    """
    state = stack.state()
    if state is not None and state.status != "REVIEW_IN_PROGRESS":
        _check_owner(stack.name, state, resolved.config.suffix)
    else:
        state = None
    values = parameters(session, state, resolved, uploaded.bucket.name)
    return stack.create_change_set(
        {"TemplateURL": uploaded.template_url}, values, "payment-infra deploy"
    )


def check_owner(stack: Stack, suffix: str) -> bool:
    """Return whether the stack exists, having made sure that it is this tool's, and this
    environment's.

    Raises:
        AwsError: it is not.
    """
    state = stack.state()
    if state is None or state.status == "REVIEW_IN_PROGRESS":
        return False
    _check_owner(stack.name, state, suffix)
    return True


def _check_owner(name: str, state: StackState, suffix: str) -> None:
    # A create that was rolled back keeps its parameters, so this holds for a stack in any state.
    if naming.TRANSACTIONS_TABLE_OVERRIDE not in state.parameters:
        raise _foreign(name)
    deployed = state.parameters.get(naming.ENVIRONMENT_SUFFIX, "")
    if deployed != suffix:
        raise AwsError(
            f"stack {name} is the environment {deployed!r}, not {suffix!r}, and a new suffix would "
            "replace its table; choose another --stack-name"
        )


def _foreign(name: str) -> AwsError:
    return AwsError(
        f"a stack named {name} exists and was not made by payment-infra; it is left alone: "
        "choose another --stack-name or region"
    )


def deploy_command(session: Session, stack_name: str, uploaded: Upload) -> str:
    """Return the shell command that deploys what was uploaded with the plain AWS CLI.

    The template holds suffix and bucket as defaults, so it needs no overrides.
    """
    file = f"{stack_name}.yaml"
    options = ["--region", session.region]
    if session.endpoint_url:
        options += ["--endpoint-url", session.endpoint_url]
    copy = ["aws", "s3", "cp", uploaded.template.uri, file, *options]
    deploy = [
        *("aws", "cloudformation", "deploy", "--template-file", file),
        *("--stack-name", stack_name, "--capabilities", *CAPABILITIES, *options),
    ]
    return f"{shlex.join(copy)} && {shlex.join(deploy)}"
