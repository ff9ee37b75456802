"""What the caller may change, as IAM's policy simulator says; nothing is done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from payment_infra.checks import Check
from payment_infra.cloud.environment.operations_table import ACTIONS
from payment_infra.cloud.sdk.errors import translated
from payment_infra.errors import AwsError
from payment_infra.names import OPERATIONS_TABLE, STACK_NAME_PREFIX

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session

CHANGES = "changes"
DENIED_DECISIONS = ("explicitDeny", "implicitDeny")


@dataclass(frozen=True)
class Place:
    """Where an environment is, or would be, and who asks."""

    caller: str
    account: str
    region: str
    suffix: str

    @property
    def partition(self) -> str:
        """AWS's partition, as aws or aws-cn."""
        return self.caller.split(":")[1]

    def arn(self, service: str, resource: str, region: str | None = None) -> str:
        """Return the ARN of a resource of the account in the region."""
        where = self.region if region is None else region
        return f"arn:{self.partition}:{service}:{where}:{self.account}:{resource}"


def check_changes(session: Session, place: Place, bucket: str, deploy: str) -> Check:
    """Ask whether a deployment's main actions are allowed, on resources named as its own.

    The simulator knows neither the session's own policy nor every condition, so that its no is a
    warning. deploy is the command that finds out.
    """
    try:
        source = _policy_source(session, place, deploy)
        denied = sorted(set(_denied(session, place, source, _actions(place, bucket))))
    except AwsError as error:
        return Check.told(
            CHANGES,
            "warn",
            f"could not be tested: {error}",
            f"allow iam:SimulatePrincipalPolicy, or let `{deploy}` find out",
        )
    if denied:
        return Check(
            CHANGES,
            "warn",
            f"a deployment would be refused: {', '.join(denied)}",
            "allow these; with --role-arn only cloudformation, s3 and iam:PassRole",
        )
    return Check(CHANGES, "ok", "a deployment's main actions are allowed (simulated)")


def _actions(place: Place, bucket: str) -> Mapping[str, Collection[str]]:
    """Return for resources of a deployment what it does to each."""
    suffix, stack = place.suffix, f"{STACK_NAME_PREFIX}-{place.suffix}"
    zips = bucket or f"payment-artifacts-{place.account}"
    return {
        place.arn("cloudformation", f"stack/{stack}/1"): (
            *("cloudformation:CreateChangeSet", "cloudformation:DescribeChangeSet"),
            *("cloudformation:ExecuteChangeSet", "cloudformation:DescribeStackEvents"),
        ),
        f"arn:{place.partition}:s3:::{zips}/payment-infra/1": ("s3:PutObject", "s3:GetObject"),
        place.arn("iam", f"role/{stack}-ProcessingRole-1", ""): (
            *("iam:CreateRole", "iam:AttachRolePolicy", "iam:PassRole"),
        ),
        place.arn("iam", f"policy/{stack}-ProcessingPolicy-1", ""): ("iam:CreatePolicy",),
        place.arn("lambda", f"function:payment-processing-{suffix}"): ("lambda:CreateFunction",),
        place.arn("lambda", f"layer:payment-dependencies-{suffix}"): (
            "lambda:PublishLayerVersion",
        ),
        place.arn("dynamodb", f"table/transactions-{suffix}"): ("dynamodb:CreateTable",),
        place.arn("dynamodb", f"table/{OPERATIONS_TABLE}"): ACTIONS,
        place.arn("sqs", f"failed-transactions-{suffix}"): ("sqs:CreateQueue",),
        place.arn("sns", f"payment-alarms-{suffix}"): ("sns:CreateTopic",),
        place.arn("logs", f"log-group:/aws/lambda/payment-processing-{suffix}"): (
            "logs:CreateLogGroup",
        ),
        place.arn("cloudwatch", f"alarm:processing-errors-{suffix}"): (
            "cloudwatch:PutMetricAlarm",
        ),
        place.arn("events", f"rule/health-monitor-schedule-{suffix}"): ("events:PutRule",),
        f"arn:{place.partition}:apigateway:{place.region}::/restapis": ("apigateway:POST",),
    }


def _policy_source(session: Session, place: Place, deploy: str) -> str:
    """Return the ARN of the user or role whose policies the caller works with.

    deploy is the command that finds out what it may do.

    Raises:
        AwsError: it has none that the simulator takes.
    """
    kind, _, rest = place.caller.split(":", 5)[5].partition("/")
    if kind == "user":
        return place.caller
    if kind != "assumed-role":
        raise AwsError(f"IAM simulates users and roles, not {place.caller}; `{deploy}` finds out")
    # The session's ARN leaves out the role's path, which AWS IAM Identity Center's roles have.
    name = rest.split("/")[0]
    try:
        with translated(f"role {name}"):
            return str(session.client("iam").get_role(RoleName=name)["Role"]["Arn"])
    except AwsError:
        return place.arn("iam", f"role/{name}", "")


def _denied(
    session: Session, place: Place, source: str, actions: Mapping[str, Collection[str]]
) -> Iterator[str]:
    client = session.client("iam")
    known = {"aws:RequestedRegion": place.region, "iam:PassedToService": "lambda.amazonaws.com"}
    context = [
        {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [value]}
        for key, value in known.items()
    ]

    def simulate(resource: str) -> list[Any]:
        pages = client.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=source,
            ActionNames=list(actions[resource]),
            ResourceArns=[resource],
            ContextEntries=context,
        )
        return [one for page in pages for one in page["EvaluationResults"]]

    with translated("IAM's simulator"), ThreadPoolExecutor() as pool:
        for results in pool.map(simulate, actions):
            for one in results:
                if one["EvalDecision"] in DENIED_DECISIONS:
                    yield one["EvalActionName"]
