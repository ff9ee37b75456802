"""What is looked at before a deployment changes anything; every check only reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from payment_infra.cloud.bootstrap import own_bucket
from payment_infra.cloud.bucket import Bucket
from payment_infra.cloud.change_sets import CAPABILITIES, MAX_BODY_BYTES
from payment_infra.cloud.errors import DENIED, code_of, translated
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from payment_infra.cloud.release import Plan
    from payment_infra.cloud.session import Session

# A new account can have as few as 10 in all, by default it is 1,000 ("Lambda quotas"). The retries
# alone take up to 5 (`RETRY_CONCURRENCY`); what is left are the requests that are served at once.
MIN_CONCURRENCY = 50
# What services say of what is not there.
MISSING = frozenset(
    {
        "ResourceNotFoundException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "NotFound",  # Amazon SNS
        "NoSuchEntity",  # AWS IAM
    }
)
# What an endpoint that stands for AWS says of a call that it does not know.
UNSUPPORTED = frozenset(
    {"InvalidAction", "NotImplemented", "UnknownOperation", "UnknownOperationException", "501"}
)
CHECKS = ("bucket", "template", "names", "quotas")


@dataclass(frozen=True)
class Check:
    """What a check found. A warning or failure says in `message` what is wrong and what to do."""

    name: str
    level: Literal["ok", "warn", "fail"]
    message: str = ""


def check_all(
    session: Session, planned: Plan, *, creates: bool, skip: Collection[str] = ()
) -> list[Check]:
    """Make the checks, at the same time, and return them in their order.

    Args:
        session: whose account.
        planned: what is to be deployed.
        creates: whether it is a first deployment, for which every name must be free.
        skip: names of the checks that are not made.
    """
    checks: Mapping[str, Callable[[], Check]] = {
        "bucket": lambda: _check_bucket(session, planned),
        "template": lambda: _check_template(session, planned),
        "names": lambda: _check_names(session, planned) if creates else Check("names", "ok"),
        "quotas": lambda: _check_quotas(session) if creates else Check("quotas", "ok"),
    }
    chosen = [check for name, check in checks.items() if name not in skip]
    with ThreadPoolExecutor() as pool:  # what takes time is waiting for AWS
        found = [pool.submit(check) for check in chosen]
        return [one.result() for one in found]


def _check_bucket(session: Session, planned: Plan) -> Check:
    try:
        name = planned.bucket or own_bucket(session)
        if name is None:
            return Check("bucket", "ok", "the account's own bucket will be made")
        Bucket(session.client("s3"), name, session.account()).check()
    except AwsError as error:
        return Check("bucket", "fail", str(error))
    return Check("bucket", "ok")


def _check_template(session: Session, planned: Plan) -> Check:
    body = json.dumps(planned.template, separators=(",", ":"))
    if len(body.encode()) > MAX_BODY_BYTES:
        return Check("template", "ok", "too large to be validated before it is in the bucket")
    try:
        with translated("the template"):
            answer = session.client("cloudformation").validate_template(TemplateBody=body)
    except AwsError as error:
        return _not_allowed("template", error) or Check("template", "fail", str(error))
    missing = set(answer.get("Capabilities", [])) - set(CAPABILITIES)
    if missing:
        return Check("template", "fail", f"the template needs {', '.join(sorted(missing))}")
    return Check("template", "ok")


def _check_names(session: Session, planned: Plan) -> Check:
    """Look for what an earlier stack can have kept under these names, one call each."""
    lookups = {
        "AWS::DynamoDB::Table": ("TableName", _has_table),
        "AWS::SQS::Queue": ("QueueName", _has_queue),
        "AWS::Logs::LogGroup": ("LogGroupName", _has_log_group),
    }
    taken, unknown = [], []
    for resource in planned.template["Resources"].values():
        key, exists = lookups.get(resource["Type"], ("", None))
        name = _name(resource.get("Properties", {}).get(key), planned.parameters)
        if not exists or not name:
            continue
        try:
            if exists(session, name):
                taken.append(name)
        except AwsError as error:
            warning = _not_allowed("names", error)
            if warning is None:
                return Check("names", "fail", str(error))
            unknown.append(warning)
    if taken:
        return Check(
            "names",
            "fail",
            f"names that are taken, by what an earlier stack has kept or by something else: "
            f"{', '.join(taken)}; delete them if they may go, or choose another --suffix "
            "(--skip-check names goes on)",
        )
    return unknown[0] if unknown else Check("names", "ok")


def _check_quotas(session: Session) -> Check:
    try:
        with translated("Lambda's quotas"):
            limits = session.client("lambda").get_account_settings()["AccountLimit"]
    except AwsError as error:
        return _not_allowed("quotas", error) or Check("quotas", "warn", str(error))
    free = limits.get("UnreservedConcurrentExecutions", limits.get("ConcurrentExecutions", 0))
    if free < MIN_CONCURRENCY:
        return Check(
            "quotas",
            "warn",
            f"Lambda may run only {free} executions at once in {session.region}, and payments are"
            f" refused beyond that; raise the quota (Service Quotas, Lambda) to {MIN_CONCURRENCY}"
            " at least",
        )
    return Check("quotas", "ok")


def _not_allowed(name: str, error: AwsError) -> Check | None:
    """Return a warning if a check failed only because it is not allowed, or there is no such call.

    That says nothing of whether the deployment would go well.
    """
    cause = error.__cause__
    if isinstance(cause, ClientError) and code_of(cause) in DENIED | UNSUPPORTED:
        return Check(name, "warn", f"the check {name} could not be made: {error}")
    return None


def _name(value: Any, parameters: Mapping[str, str | None]) -> str | None:
    """Return a physical name, as far as it depends on nothing but parameters."""
    if isinstance(value, Mapping) and isinstance(value.get("Fn::Sub"), str):
        value = re.sub(r"\$\{(\w+)\}", lambda it: parameters.get(it[1]) or it[0], value["Fn::Sub"])
    return value if isinstance(value, str) and "${" not in value else None


def _has_table(session: Session, name: str) -> bool:
    client = session.client("dynamodb")
    return _exists(name, lambda: client.describe_table(TableName=name))


def _has_queue(session: Session, name: str) -> bool:
    client = session.client("sqs")
    return _exists(name, lambda: client.get_queue_url(QueueName=name))


def _has_log_group(session: Session, name: str) -> bool:
    with translated(name):
        pages = session.client("logs").get_paginator("describe_log_groups")
        return any(
            group["logGroupName"] == name
            for page in pages.paginate(logGroupNamePrefix=name)
            for group in page["logGroups"]
        )


def _exists(name: str, look: Callable[[], object]) -> bool:
    with translated(name):
        try:
            look()
        except ClientError as error:
            if code_of(error) in MISSING:
                return False
            raise
    return True
