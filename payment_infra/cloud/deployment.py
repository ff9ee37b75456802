"""A deployment, step by step: the bucket, what goes into it, the change set."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from payment_infra import naming
from payment_infra.artifacts import KEY_PREFIX, LAYER, build_artifacts, check_gateway, code_keys
from payment_infra.cloud.bucket import Bucket
from payment_infra.cloud.parameters import parameters
from payment_infra.cloud.stack import CAPABILITIES, UPDATABLE, Stack, StackEvent
from payment_infra.errors import AwsError, UsageError
from payment_infra.layer import build_layer
from payment_infra.rendering import render
from payment_infra.template import (
    ARTIFACT_BUCKET_OUTPUT,
    METADATA_KEY,
    PROTECTIONS,
    build_bootstrap_template,
    build_template,
)

if TYPE_CHECKING:
    from payment_infra.cloud.session import Session
    from payment_infra.cloud.stack import StackState
    from payment_infra.sources import Resolved

BOOTSTRAP_STACK = "payment-artifacts"
STACK_NAME_PREFIX = "payment-infra"
ZIP = "application/zip"
# CloudFormation takes a larger template only from a bucket ("CloudFormation quotas").
MAX_BODY_BYTES = 51_200

Tell = Callable[[StackEvent], None]


@dataclass(frozen=True)
class UploadedObject:
    """An object of the artifact bucket; `new` if this run put it there."""

    key: str
    uri: str
    new: bool


@dataclass(frozen=True)
class Release:
    """What a deployment needs: objects in the bucket, and the values of the parameters.

    A parameter that is None keeps the value that the stack has.
    """

    bucket: Bucket
    code: tuple[UploadedObject, ...]
    template: UploadedObject
    template_bytes: int
    parameters: Mapping[str, str | None]


def deploy(session: Session, stack: Stack, resolved: Resolved, tell: Tell) -> bool:
    """Bring the stack to what the configuration and the handlers are; return if it changed.

    Raises as `prepare` does, and:
        DeploymentFailed: CloudFormation refused, or rolled back.
    """
    release = prepare(session, stack, resolved, tell)
    change_set = stack.create_change_set(
        {"TemplateURL": release.bucket.url(release.template.key)},
        release.parameters,
        "payment-infra deploy",
    )
    if change_set is None:
        return False
    for event in stack.execute(change_set):
        tell(event)
    return True


def prepare(session: Session, stack: Stack, resolved: Resolved, tell: Tell) -> Release:
    """Put zips and template into the bucket, under their digests; what is there is skipped.

    An update goes on with the bucket that the stack has, unless another is asked for.

    Raises:
        PaymentInfraError: a handler is not valid Python; nothing was changed.
        UsageError: the gateway's class is not there, or the stack's payments would lose their
            protection; nothing was changed.
        AwsError: the stack or the bucket is not this environment's; nothing was changed.
    """
    check_gateway(resolved.config.gateway)
    artifacts = build_artifacts()
    state = find_stack(stack, resolved.config.suffix)
    previous = ""
    if state is not None:
        check_protection(stack, resolved)
        previous = state.parameters.get(naming.ARTIFACT_BUCKET, "")
    bucket = find_bucket(session, resolved.config.bucket or previous, tell)
    keys = code_keys()
    template = render(build_template(replace(resolved.config, bucket=bucket.name), keys)).encode()
    template_key = f"{KEY_PREFIX}/template/{hashlib.sha256(template).hexdigest()}.yaml"
    return Release(
        bucket=bucket,
        code=(
            *(_put(bucket, one.key, partial(getattr, one, "body"), ZIP) for one in artifacts),
            _put(bucket, keys[LAYER], lambda: build_layer().body, ZIP),
        ),
        template=_put(bucket, template_key, lambda: template, "application/yaml"),
        template_bytes=len(template),
        parameters=parameters(session, state, resolved, bucket.name),
    )


def _put(bucket: Bucket, key: str, body: Callable[[], bytes], content_type: str) -> UploadedObject:
    return UploadedObject(key, bucket.uri(key), bucket.put(key, body, content_type))


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


def find_stack(stack: Stack, suffix: str) -> StackState | None:
    """Return the state of the environment's stack, None if it is yet to be created.

    Raises:
        AwsError: the stack of that name is not this tool's, or is another environment's.
    """
    state = stack.state()
    if state is None or state.status == "REVIEW_IN_PROGRESS":
        return None
    # A create that was rolled back keeps its parameters, so this holds for a stack in any state.
    if naming.TRANSACTIONS_TABLE_OVERRIDE not in state.parameters:
        raise _foreign(stack.name)
    deployed = state.parameters.get(naming.ENVIRONMENT_SUFFIX, "")
    if deployed != suffix:
        raise AwsError(
            f"stack {stack.name} is the environment {deployed!r}, not {suffix!r}, and a new suffix "
            "would replace its table; choose another --stack-name"
        )
    return state


def check_protection(stack: Stack, resolved: Resolved) -> None:
    """Make sure that no update ends the protection of payments, unless it was asked to.

    Raises:
        UsageError: it would, since the preset that protects them was not given this time.
    """
    recorded = stack.metadata().get(METADATA_KEY, {})
    for field, key in PROTECTIONS.items():
        ends = recorded.get(key) is True and not getattr(resolved.config, field)
        if ends and not resolved.asked_for(field):
            flag = field.replace("_", "-")
            raise UsageError(
                f"stack {stack.name} protects its payments ({field}), and this would end it; "
                f"give --preset production, or --no-{flag} if that is what you want"
            )


def _foreign(name: str) -> AwsError:
    return AwsError(
        f"a stack named {name} exists and was not made by payment-infra; it is left alone: "
        "choose another --stack-name or region"
    )


def deploy_command(session: Session, stack_name: str, release: Release) -> str:
    """Return the shell command that deploys a release with the plain AWS CLI."""
    file = f"{stack_name}.yaml"
    options = ["--region", session.region]
    if session.endpoint_url:
        options += ["--endpoint-url", session.endpoint_url]
    if session.profile:
        options += ["--profile", session.profile]
    copy = ["aws", "s3", "cp", release.template.uri, file, *options]
    # What is left out keeps the stack's value in an update, and has the template's in a creation.
    overrides = [f"{name}={value}" for name, value in release.parameters.items() if value]
    deploy = [
        *("aws", "cloudformation", "deploy", "--template-file", file),
        *("--stack-name", stack_name, "--capabilities", *CAPABILITIES, *options),
        *("--parameter-overrides", *overrides),
    ]
    if release.template_bytes > MAX_BODY_BYTES:
        deploy += ["--s3-bucket", release.bucket.name, "--s3-prefix", f"{KEY_PREFIX}/template"]
    return f"{shlex.join(copy)} && {shlex.join(deploy)}"
