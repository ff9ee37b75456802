"""Why a deployment failed: the one resource that failed first, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.events import STACK_TYPE
from payment_infra.errors import DeploymentFailed

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

    from payment_infra.cloud.events import StackEvent

# Reasons of resources that failed only because another one did.
CASCADE = re.compile(
    r"(creation|update|deletion) (was )?cancelled|The following resource\(s\) failed", re.IGNORECASE
)
# What to do, by what services and CloudFormation write into a failed resource's status reason; the
# first that fits counts. The groups of an expression fill the braces of its remedy.
REMEDIES: tuple[tuple[str, str], ...] = (
    # IAM's own wording of a denial, of every service.
    (
        r"is not authorized to perform:? (?:the )?(?P<action>[a-z0-9-]+:\w+)",
        "grant {action} to who deploys (or to --role-arn), then deploy again",
    ),
    (r"AccessDenied|Access Denied|UnauthorizedOperation", "grant who deploys what it asks for"),
    # CloudFormation, CreateChangeSet and CreateStack.
    (
        r"Requires capabilities\s*:\s*\[(?P<capability>\w+)",
        "deploy with --capabilities {capability}",
    ),
    # Amazon SQS, CreateQueue.
    (r"60 seconds after|QueueDeletedRecently", "wait a minute, then deploy again"),
    # Resource handlers' error code AlreadyExists, and the services' own messages.
    (
        r"already exists|AlreadyExists|EntityAlreadyExists|ResourceInUseException",
        "something else has this name, or an earlier stack has kept it: delete or rename it, import"
        " it into the stack, or choose another --suffix",
    ),
    # Lambda, CreateFunction and PublishLayerVersion.
    (
        r"S3 Error Code: (?P<code>NoSuchKey|NoSuchBucket)|NoSuchKey|NoSuchBucket",
        "the code is not in the bucket: `payment-infra upload` puts it there",
    ),
    (
        r"PermanentRedirect|bucket is in this region|must be in the same .*[Rr]egion",
        "the bucket is in another region: give one in the stack's own with --bucket",
    ),
    # Lambda, PutFunctionConcurrency.
    (
        r"UnreservedConcurrentExecution",
        "the account's concurrency is used up: raise its quota (Service Quotas, Lambda, concurrent"
        " executions)",
    ),
    # API Gateway, CreateStage.
    (
        r"CloudWatch Logs role ARN must be set",
        "the region has no CloudWatch role for API Gateway: deploy with"
        " --manage-api-gateway-account",
    ),
    # DynamoDB and CloudFormation, on deletion.
    (
        r"deletion protection|DeletionProtection",
        "deploy with --no-deletion-protection first, if the payments may go",
    ),
    (r"bucket you tried to delete is not empty", "empty the bucket, then repeat the command"),
    (
        r"TerminationProtection is enabled",
        "`payment-infra deploy --no-termination-protection` lifts it",
    ),
    (r"ExpiredToken|token .*expired", "sign in again, and repeat the command"),
    (r"kms:|KMS", "let who deploys, and the services, use the KMS key"),
    (r"LimitExceeded|Maximum number of|quota", "raise the quota, or delete what is not needed"),
    (r"Rate exceeded|Throttling|TooManyRequests", "wait a little, then deploy again"),
)


@dataclass(frozen=True)
class Diagnosis:
    """The root cause of a failed operation.

    template_path is the resource's place in the template, and source the module that built it; both
    are None for the stack itself. remedy is None for a cause that is not known.
    """

    logical_id: str
    resource_type: str
    status: str
    reason: str
    template_path: str | None
    source: str | None
    remedy: str | None

    def __str__(self) -> str:
        """Return it on one line: what, where, why, and what to do."""
        place = f" ({self.template_path}, built in {self.source})" if self.source else ""
        reason = (self.reason or self.status).rstrip(".")
        return f"{self.logical_id}{place}: {reason}" + (f"; {self.remedy}" if self.remedy else "")


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
    failed = [one for one in events if one.failed or _rolls_back(stack, one)]
    resources = [one for one in failed if not _is_stacks_own(stack, one)]
    causes = [one for one in resources if not CASCADE.search(one.reason)]
    return next(iter((*causes, *resources, *failed)), None)


def diagnose(
    stack: str, events: Sequence[StackEvent], sources: Mapping[str, str]
) -> Diagnosis | None:
    """Return the root cause with its place and remedy, None if no event tells of a failure.

    Args:
        stack: the stack's name.
        events: those of one operation, oldest first.
        sources: logical id to the module that built the resource.
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
        remedy=remedy_of(cause.reason),
    )


def failure(
    stack: str, status: str, events: Sequence[StackEvent], sources: Mapping[str, str] | None = None
) -> DeploymentFailed:
    """Return the error of an operation that ended with that status; args as `diagnose`'s."""
    diagnosis = diagnose(stack, events, sources or {})
    told = f"stack {stack} is {status}" + (f": {diagnosis}" if diagnosis else "")
    return DeploymentFailed(told, status, events, diagnosis)


def remedy_of(reason: str) -> str | None:
    """Return what to do about a failure with this status reason, None if that is not known."""
    for pattern, remedy in REMEDIES:
        if match := re.search(pattern, reason):
            return remedy.format(**match.groupdict())
    return None


def explain_change_set(reason: str, events: Sequence[ValidationEvent]) -> str:
    """Return why a change set failed: its StatusReason, the events of its validation, a remedy."""
    told = [reason.rstrip(".") or "it failed without a reason"]
    told += [
        f"{one.logical_id}{f' {one.path}' if one.path else ''}: {one.reason}" for one in events
    ]
    remedy = remedy_of(" ".join(told))
    return "; ".join([*told, *([remedy] if remedy else [])])


def validation_events(
    client: CloudFormationClient, change_set_id: str
) -> tuple[ValidationEvent, ...]:
    """Return what the validation of a change set found, or nothing where the API has none."""
    try:
        pages = client.get_paginator("describe_events").paginate(ChangeSetName=change_set_id)
        raw: list[Any] = [one for page in pages for one in page["OperationEvents"]]
    except (AttributeError, ClientError):  # an older SDK, or an endpoint that does not know it
        return ()
    return tuple(
        ValidationEvent(
            one.get("LogicalResourceId", ""),
            one.get("ValidationPath", ""),
            one.get("ValidationStatusReason", ""),
        )
        for one in raw
        if one.get("EventType") == "VALIDATION_ERROR"
    )


def _is_stacks_own(stack: str, event: StackEvent) -> bool:
    return event.resource_type == STACK_TYPE and event.logical_id == stack


def _rolls_back(stack: str, event: StackEvent) -> bool:
    return _is_stacks_own(stack, event) and "ROLLBACK_IN_PROGRESS" in event.status
