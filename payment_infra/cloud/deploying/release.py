"""What a deployment consists of: zips and template in the bucket, and the parameters' values."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from payment_infra import names
from payment_infra.artifacts import KEY_PREFIX, LAYER, build_artifacts, code_keys
from payment_infra.cloud.deploying.bootstrap import exists, find_bucket
from payment_infra.cloud.deploying.parameters import parameters
from payment_infra.cloud.environment import stack_policy
from payment_infra.cloud.events import Caution
from payment_infra.combinations import conflicts
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.layer import build_layer
from payment_infra.rendering import MAX_BODY_BYTES, document, render_document
from payment_infra.template import build_template

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.bucket import Bucket, Sleep
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.stack import StackState
    from payment_infra.config import StackConfig
    from payment_infra.sources import Resolved

ZIP = "application/zip"
# The parameters that a deployment follows: which stack it is for, and where its zips go.
FLAGS_OF_PARAMETERS = {names.ENVIRONMENT_SUFFIX: "--suffix", names.ARTIFACT_BUCKET: "--bucket"}


@dataclass(frozen=True)
class UploadedObject:
    """An object of the artifact bucket; `new` if this run put it there."""

    key: str
    uri: str
    new: bool


@dataclass(frozen=True)
class Plan:
    """What is to be deployed, as it is known before anything is uploaded.

    bucket is "" where the account's own is yet to be made, or found. template has the long forms of
    the functions. A parameter that is None keeps the value that the stack has. encrypts is False if
    a second update has to follow, which is what the key encrypts with (see `before_encryption`).
    """

    config: StackConfig
    bucket: str
    keys: Mapping[str, str]
    template: dict[str, Any]
    parameters: Mapping[str, str | None]
    encrypts: bool = True

    @cached_property
    def text(self) -> str:
        """The template as it is deployed."""
        return render_document(self.template)


@dataclass(frozen=True)
class Release:
    """What a deployment needs: objects in the bucket, and the values of the parameters."""

    plan: Plan
    bucket: Bucket
    code: tuple[UploadedObject, ...]
    template: UploadedObject
    template_bytes: int

    @property
    def parameters(self) -> Mapping[str, str | None]:
        """Name to value; None keeps the value that the stack has."""
        return self.plan.parameters


def plan(
    session: Session,
    state: StackState | None,
    resolved: Resolved,
    overrides: Mapping[str, str],
) -> Plan:
    """Work out what is to be deployed; nothing is changed.

    Args:
        session: whose account.
        state: the stack that is updated, None if it is created.
        resolved: the configuration.
        overrides: parameters and the values that they get whatever the configuration says.

    Raises:
        UsageError: an override names no parameter, or one that more hangs on than its value; a
            number that a parameter gets or keeps does not agree with the settings.
        PaymentInfraError: a handler cannot be read.
    """
    for name, flag in FLAGS_OF_PARAMETERS.items():
        if name in overrides:
            raise UsageError(f"--parameter {name}: give {flag} instead, which all else follows")
    deployed = state.parameters.get(names.ARTIFACT_BUCKET, "") if state else ""
    bucket = resolved.config.bucket or deployed
    values = parameters(session, state, resolved, bucket)
    planned = _plan(resolved.config, code_keys(config=resolved.config), bucket, values)
    unknown = overrides.keys() - planned.template["Parameters"].keys()
    if unknown:
        known = ", ".join(planned.template["Parameters"])
        raise UsageError(f"--parameter {min(unknown)}: no such parameter; known are {known}")
    values = {**planned.parameters, **overrides}
    _check_numbers(resolved.config, values, state.parameters if state else {})
    return replace(planned, parameters=values)


def _check_numbers(
    config: StackConfig, values: Mapping[str, str | None], deployed: Mapping[str, str]
) -> None:
    """Make sure that the settings agree with the numbers that parameters get, or keep."""
    numbers: dict[str, Any] = {}
    for name, field in names.PARAMETER_FIELDS.items():
        value = values.get(name) or deployed.get(name, "")
        if type(getattr(config, field)) is int and value.isdecimal():
            numbers[field] = int(value)
    actual = replace(config, **numbers)
    for broken in conflicts(actual):
        told = ", ".join(f"{field} {getattr(actual, field)}" for field in broken.fields)
        raise UsageError(f"{told}: {broken.problem}")


def with_bucket(
    session: Session, planned: Plan, resolved: Resolved, tell: Tell, sleep: Sleep
) -> Plan:
    """Return the plan, for the account's own bucket if the one that the stack has is gone."""
    if not planned.bucket or resolved.config.bucket or exists(session, planned.bucket, tell, sleep):
        return planned
    tell(
        Caution(
            f"bucket {planned.bucket} is gone; the code goes to the account's own, and what was "
            "deployed from the old one cannot be rolled back to"
        )
    )
    values = {**planned.parameters, names.ARTIFACT_BUCKET: ""}
    return _plan(planned.config, planned.keys, "", values, encrypts=planned.encrypts)


def upload(
    session: Session, planned: Plan, checked: Mapping[str, str], tell: Tell, sleep: Sleep
) -> Release:
    """Put zips and template into the bucket, under their digests; what is there is skipped.

    Args:
        session: whose account.
        planned: what is to be deployed.
        checked: the keys of the code that was checked.
        tell: gets the events of the bucket's stack, if that has to be made.
        sleep: makes the pauses while the bucket is looked for.

    Raises:
        AwsError: the bucket is missing or not this account's; nothing was changed.
        PaymentInfraError: a file has changed since it was checked.
    """
    artifacts = build_artifacts(config=planned.config)
    built = {**checked, **{artifact.name: artifact.key for artifact in artifacts}}
    changed = [name for name, key in planned.keys.items() if {checked[name], built[name]} != {key}]
    if changed:
        raise PaymentInfraError(
            f"{changed[0]}: its files have changed since they were checked; repeat the command"
        )
    bucket = find_bucket(session, planned.bucket, tell, sleep)
    if not planned.bucket:
        values = {**planned.parameters, names.ARTIFACT_BUCKET: bucket.name}
        encrypts = planned.encrypts
        planned = _plan(planned.config, planned.keys, bucket.name, values, encrypts=encrypts)
    with ThreadPoolExecutor() as pool:  # what takes time is waiting for S3
        code = [
            *(
                pool.submit(_put, bucket, artifact.key, partial(getattr, artifact, "body"))
                for artifact in artifacts
            ),
            pool.submit(_put, bucket, planned.keys[LAYER], lambda: build_layer().body),
        ]
        return _release(planned, bucket, (future.result() for future in code))


def encrypting(release: Release) -> Release:
    """Put the template of the second update into the bucket, and return what that needs.

    It changes nothing but what the key encrypts, so new versions get all requests at once.

    Args:
        release: of the first update, which brought the key (see `before_encryption`).
    """
    values = {**release.parameters, names.TRAFFIC_SHIFTING: names.AT_ONCE}
    planned = _plan(release.plan.config, release.plan.keys, release.bucket.name, values)
    return _release(planned, release.bucket, release.code)


def _release(planned: Plan, bucket: Bucket, code: Iterable[UploadedObject]) -> Release:
    """Put the template into the bucket, once its code is there."""
    text = planned.text.encode()
    key = f"{KEY_PREFIX}/template/{hashlib.sha256(text).hexdigest()}.yaml"
    return Release(
        plan=planned,
        bucket=bucket,
        code=tuple(code),
        template=_put(bucket, key, lambda: text, "application/yaml"),
        template_bytes=len(text),
    )


def brings_key(deployed: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a template brings the key to a stack that has another, {} for none."""
    has, gets = (template.get("Resources", {}) for template in (deployed, new))
    return bool(has) and names.ENCRYPTION_KEY in gets.keys() - has.keys()


def before_encryption(planned: Plan) -> Plan:
    """Return the first of two updates that bring the key to a stack: all but the encryption.

    The rollback of the second, `encrypting`, leaves the key, and who may use it. One update of both
    would have deleted it, though what came meanwhile was encrypted with it.
    """
    values = planned.parameters
    return _plan(planned.config, planned.keys, planned.bucket, values, encrypts=False)


def _plan(
    config: StackConfig,
    keys: Mapping[str, str],
    bucket: str,
    values: Mapping[str, str | None],
    *,
    encrypts: bool = True,
) -> Plan:
    config = replace(config, bucket=bucket)
    template = document(build_template(config, keys, encrypts=encrypts))
    sent = {name: value for name, value in values.items() if name in template["Parameters"]}
    return Plan(config, bucket, keys, template, sent, encrypts)


def deploy_command(session: Session, stack_name: str, release: Release) -> str:
    """Return the shell command that deploys a release with the plain AWS CLI."""
    copy = ["aws", "s3", "cp", release.template.uri, f"{stack_name}.yaml", *session.aws_flags("s3")]
    return f"{shlex.join(copy)} && {_deploy(session, stack_name, release, release.parameters)}"


def protect_commands(session: Session, stack_name: str, release: Release) -> list[str]:
    """Return the shell commands that protect the stack once it stands, as `deploy` does."""
    config, commands = release.plan.config, []
    if release.parameters.get(names.DELETION_PROTECTION) == "false":
        on = {names.DELETION_PROTECTION: "true"}
        commands.append(_deploy(session, stack_name, release, on))
    named = f"--stack-name {shlex.quote(stack_name)}"
    if config.replacement_protection:
        policy = shlex.quote(stack_policy.POLICY)
        words = f"cloudformation set-stack-policy {named} --stack-policy-body {policy}"
        commands.append(session.aws(words))
    if config.termination_protection:
        words = f"cloudformation update-termination-protection {named}"
        commands.append(session.aws(f"{words} --enable-termination-protection"))
    return commands


def _deploy(
    session: Session, stack_name: str, release: Release, values: Mapping[str, str | None]
) -> str:
    """Return the command that deploys the template, as it was copied, with these parameters."""
    # What is left out keeps the stack's value in an update, and has the template's in a creation.
    overrides = [f"{name}={value}" for name, value in values.items() if value]
    deploy = [
        *("aws", "cloudformation", "deploy", "--template-file", f"{stack_name}.yaml"),
        *("--stack-name", stack_name, "--capabilities", release.plan.config.capability),
        *("--region", session.region, *(("--profile", session.profile) if session.profile else ())),
        *("--parameter-overrides", *overrides),
    ]
    if release.template_bytes > MAX_BODY_BYTES:
        deploy += ["--s3-bucket", release.bucket.name, "--s3-prefix", f"{KEY_PREFIX}/template"]
    line, endpoint = shlex.join(deploy), session.aws_endpoint("cloudformation")
    # The AWS CLI gives --endpoint-url to CloudFormation alone, and the template to AWS's own S3
    # (aws-cli, DeployCommand).
    return f"AWS_ENDPOINT_URL={shlex.quote(endpoint)} {line}" if endpoint else line


def _put(
    bucket: Bucket, key: str, body: Callable[[], bytes], content_type: str = ZIP
) -> UploadedObject:
    return UploadedObject(key, bucket.uri(key), bucket.put(key, body, content_type))
