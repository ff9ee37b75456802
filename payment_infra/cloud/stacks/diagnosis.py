"""Why a deployment failed: the one resource that failed first, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from payment_infra.cloud.events import STACK_TYPE, Diagnosis
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.leftovers import REMOVALS

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

    from payment_infra.cloud.events import StackEvent

NAME_TAKEN = "something else has this name: delete or rename it, or choose another --suffix"
# A change set takes in what has a custom name and is retained (CloudFormation API, CreateChangeSet,
# ImportExistingResources).
KEPT = (
    "an earlier stack has kept it, or something else has this name: a change set with"
    " --import-existing-resources takes it into a stack with --retain-data,"
    " `aws {command}` deletes it with its data, or choose another --suffix"
)
# Reasons of resources that failed only because another one did.
CASCADE = re.compile(
    r"(creation|update|deletion|import) (was )?cancelled|The following resource\(s\) failed",
    re.IGNORECASE,
)
ACTION = r"not authorized to perform:? (?:the )?(?P<action>[a-z0-9-]+:\w+)"
# What to do, by what services and CloudFormation write into a failed resource's status reason; the
# first that fits counts. The groups of an expression fill the braces of its remedy, and so does
# `flags`, what leads to the stack in a command line.
REMEDIES: tuple[tuple[str, str], ...] = (
    # IAM's own wording of a denial, of every service (IAM, "Troubleshoot access denied error
    # messages"): what no grant lifts, then with all that it names, then the action alone.
    (
        ACTION + r".* explicit deny in an? (?P<policy>[\w -]+?(?:policy|boundary))",
        "the {policy} denies {action}, and no grant lifts that: have it changed",
    ),
    (
        ACTION + r".* because no (?P<policy>(?!identity|resource-)[\w -]+?(?:policy|boundary))",
        "the {policy} must allow {action} too: have it changed",
    ),
    (
        rf"User: (?P<principal>\S+) is {ACTION}"
        r" on resource: (?P<resource>(?:role |policy )?[^\s,;)\"]+)",
        "grant {action} on {resource} to {principal}, then deploy again",
    ),
    (ACTION, "grant {action} to who deploys (or to --role-arn), then deploy again"),
    # AWS STS; without a role CloudFormation works in a session of the caller's.
    (
        r"ExpiredToken|token .*expired|InvalidCredentials",
        "sign in again, and repeat the command; with --role-arn a deployment outlasts the session",
    ),
    # Lambda, CreateFunction and PublishLayerVersion, of the zip.
    (
        r"permission to (?P<action>\w+) for (?P<object>\S+?)\.? S3 Error Code: AccessDenied",
        "grant s3:{action} on {object} to who deploys (or to --role-arn), then deploy again",
    ),
    (
        r"S3 Error Code: (?P<code>NoSuchKey|NoSuchBucket)|NoSuchKey|NoSuchBucket",
        "the code is not in the bucket: `payment-infra upload {flags}` puts it there",
    ),
    (
        r"PermanentRedirect|bucket is in this region|must be in the same .*[Rr]egion",
        "the bucket is in another region: give one in the stack's own with --bucket",
    ),
    # AWS KMS, through the service that encrypts.
    (r"kms:|KMS", "let who deploys, and the services, use the KMS key"),
    # API Gateway, CreateStage.
    (
        r"CloudWatch Logs role ARN must be set",
        "the region has no CloudWatch role for API Gateway: `payment-infra deploy"
        " --manage-api-gateway-account {flags}` makes one",
    ),
    # Lambda, CreateFunction and CreateEventSourceMapping, which may not yet see a role or its
    # policy (IAM, "Changes that I make are not always immediately visible").
    (
        r"cannot be assumed by Lambda|execution role does not have permissions",
        "a new role takes some seconds to be known everywhere: deploy again",
    ),
    # Resource handlers' error code AccessDenied; Amazon SQS and S3, which name no action.
    (
        r"AccessDenied|Access Denied|UnauthorizedOperation|Access to the resource .* is denied",
        "find the denied call in CloudTrail, and grant it to who deploys (or to --role-arn)",
    ),
    # CloudFormation, CreateChangeSet and CreateStack.
    (
        r"Requires capabilities\s*:\s*\[(?P<capabilities>[\w, ]+)",
        "deploy with the command that `payment-infra upload {flags}` prints, and --capabilities"
        " {capabilities}",
    ),
    # Amazon SQS, CreateQueue.
    (r"60 seconds after|QueueDeletedRecently", "wait a minute, then deploy again"),
    # CloudFormation, of a name that it knows to be a stack's.
    (
        r"already exists in stack \S*?stack/(?P<stack>[\w-]+)",
        "the stack {stack} has it: remove it there, or choose another --suffix",
    ),
    # Resource handlers' error code AlreadyExists, and the services' own messages; Lambda's is
    # "Function already exist".
    (r"already exist|AlreadyExists|QueueNameExists", NAME_TAKEN),
    # Lambda, PutFunctionConcurrency.
    (
        r"UnreservedConcurrentExecution",
        "the account's concurrency is used up: raise its quota (Service Quotas, Lambda, concurrent"
        " executions)",
    ),
    # CodeDeploy, through the alias of a function ("ErrorInformation": ALARM_ACTIVE).
    (
        r"(?i:alarms? (?:have|has) been activated|ALARM_ACTIVE)",
        "an alarm of the canary fired, so the new versions were taken back: `payment-infra logs"
        " {flags}` shows why; `payment-infra deploy --at-once {flags}`"
        " ships a mend while it fires",
    ),
    # DynamoDB and CloudFormation, on deletion.
    (
        r"deletion protection|DeletionProtection",
        "`payment-infra deploy --no-deletion-protection {flags}` first, if the payments may go",
    ),
    (r"bucket you tried to delete is not empty", "empty the bucket, then repeat the command"),
    (
        r"TerminationProtection is enabled",
        "`payment-infra deploy --no-termination-protection {flags}` lifts it",
    ),
    # Resource handlers' error codes Throttling and ResourceConflict, and the services' own; before
    # the quotas, since some services call a throttled call a limit.
    (
        r"Rate exceeded|Throttling|TooManyRequests|ResourceConflict|ResourceInUse",
        "wait a little, then deploy again",
    ),
    # Resource handlers' error code ServiceLimitExceeded, and the services' own.
    (
        r"(?i:limit ?exceeded|maximum number of|quota)",
        "raise the quota, or delete what is not needed",
    ),
)


@dataclass(frozen=True)
class ValidationEvent:
    """What CloudFormation's validation of a change set says of one resource or property."""

    logical_id: str
    path: str
    reason: str


def root_cause(stack: str, events: Sequence[StackEvent]) -> StackEvent | None:
    """Return the event of what failed first, not of what was cancelled because of it.

    Args:
        stack: the stack's name, whose own events count only if no resource failed.
        events: those of one operation, oldest first.
    """
    failed = [event for event in events if event.failed or _rolls_back(stack, event)]
    return min(
        failed,
        key=lambda event: (bool(CASCADE.search(event.reason)), _is_stacks_own(stack, event)),
        default=None,
    )


def diagnose(
    stack: str, events: Sequence[StackEvent], sources: Mapping[str, str], flags: str
) -> Diagnosis | None:
    """Return the root cause with its place and remedy, None if no event tells of a failure.

    Args:
        stack: the stack's name.
        events: those of one operation, oldest first.
        sources: logical id to the module that built the resource.
        flags: what leads to the stack in a command line, for the remedy.
    """
    cause = root_cause(stack, events)
    if cause is None:
        return None
    own = _is_stacks_own(stack, cause)
    return Diagnosis(
        logical_id=cause.logical_id,
        resource_type=cause.resource_type,
        status=cause.status,
        reason=cause.reason,
        template_path=None if own else f"Resources.{cause.logical_id}",
        source=sources.get(cause.logical_id),
        remedy=remedy_of(cause.reason, cause.resource_type, flags),
    )


def failure(
    stack: str,
    status: str,
    events: Sequence[StackEvent],
    sources: Mapping[str, str],
    flags: str,
) -> DeploymentFailed:
    """Return the error of an operation that ended with that status; args as `diagnose`'s."""
    diagnosis = diagnose(stack, events, sources, flags)
    told = f"stack {stack} is {status}" + (f": {diagnosis}" if diagnosis else "")
    return DeploymentFailed(told, status, events, diagnosis)


def remedy_of(reason: str, resource_type: str, flags: str) -> str | None:
    """Return what to do about a failure with this status reason, None if that is not known.

    A name that is taken has more remedies where the type is one that a deleted stack can keep.
    flags is what leads to the stack in a command line.
    """
    for pattern, remedy in REMEDIES:
        if match := re.search(pattern, reason, re.DOTALL):
            removal = REMOVALS.get(resource_type)
            if remedy == NAME_TAKEN and removal and not removal.shared:
                return KEPT.format(command=removal.commands[0].partition(" --")[0])
            return remedy.format(flags=flags, **match.groupdict())
    return None


def explain_change_set(reason: str, events: Sequence[ValidationEvent], flags: str) -> str:
    """Return why a change set failed: its StatusReason, the events of its validation, a remedy.

    flags is what leads to the stack in a command line.
    """
    told = [reason.rstrip(".") or "it failed without a reason"]
    told += [
        f"{event.logical_id}{f' {event.path}' if event.path else ''}: {event.reason}"
        for event in events
    ]
    remedy = remedy_of(" ".join(told), "", flags)
    return "; ".join([*told, *([remedy] if remedy else [])])


def validation_events(
    client: CloudFormationClient, change_set_id: str
) -> tuple[ValidationEvent, ...]:
    """Return why the validation of a change set failed, or nothing where the API has none.

    Warnings, and validations that were skipped, are left out.
    """
    if not hasattr(client, "describe_events"):  # boto3 has it from 1.41
        return ()
    try:
        pages = client.get_paginator("describe_events").paginate(ChangeSetName=change_set_id)
        raw: list[Any] = [event for page in pages for event in page["OperationEvents"]]
    except (ClientError, BotoCoreError):  # what it could add must not hide that it failed
        return ()
    return tuple(
        ValidationEvent(
            event.get("LogicalResourceId", ""),
            event.get("ValidationPath", ""),
            event.get("ValidationStatusReason", ""),
        )
        for event in raw
        if event.get("EventType") == "VALIDATION_ERROR"
        and event.get("ValidationStatus") != "SKIPPED"
        and event.get("ValidationFailureMode") != "WARN"
    )


def _is_stacks_own(stack: str, event: StackEvent) -> bool:
    return event.resource_type == STACK_TYPE and event.logical_id == stack


def _rolls_back(stack: str, event: StackEvent) -> bool:
    return _is_stacks_own(stack, event) and "ROLLBACK_IN_PROGRESS" in event.status
