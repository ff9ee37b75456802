"""What the caller may change, as IAM's policy simulator says; nothing is done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from payment_infra.artifacts import code_keys
from payment_infra.checks import Check
from payment_infra.cloud.deploying.existing import physical_name
from payment_infra.cloud.environment.operations_table import ACTIONS
from payment_infra.cloud.sdk.errors import translated
from payment_infra.errors import AwsError, PaymentInfraError
from payment_infra.names import ENVIRONMENT_SUFFIX, OPERATIONS_TABLE
from payment_infra.rendering import document
from payment_infra.template import build_template

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.config import StackConfig

CHANGES = "changes"
STACK_ACTIONS = (
    *("cloudformation:CreateChangeSet", "cloudformation:DescribeChangeSet"),
    *("cloudformation:ExecuteChangeSet", "cloudformation:DescribeStackEvents"),
)
DENIED_DECISIONS = ("explicitDeny", "implicitDeny")


@dataclass(frozen=True)
class Scene:
    """Where an environment is, or would be, and who asks."""

    caller: str
    account: str
    region: str
    suffix: str
    stack: str

    @property
    def partition(self) -> str:
        """AWS's partition, as aws or aws-cn."""
        return self.caller.split(":")[1]

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of the account, in the region if the service has any."""
        region = "" if service == "iam" else self.region
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{resource}"


@dataclass(frozen=True)
class Kind:
    """How IAM sees resources of a type: the start of their ARNs, and what makes one.

    named_by is the property with the name, within another after a dot; where it is not set,
    CloudFormation gives one. rest is what an ARN has after the name.
    """

    service: str
    prefix: str
    named_by: str
    actions: Collection[str]
    rest: str = ""


KINDS: Mapping[str, Kind] = {
    "AWS::Backup::BackupPlan": Kind(
        "backup", "backup-plan:", "", ["backup:CreateBackupPlan", "backup:CreateBackupSelection"]
    ),
    "AWS::Backup::BackupVault": Kind(
        *("backup", "backup-vault:", "BackupVaultName"),
        # "Backup vault creation and deletion", "Required permissions"; backup:* is without it.
        ["backup:CreateBackupVault", "backup-storage:MountCapsule"],
        "-1",
    ),
    "AWS::CloudWatch::Alarm": Kind(
        "cloudwatch", "alarm:", "AlarmName", ["cloudwatch:PutMetricAlarm"]
    ),
    "AWS::CodeDeploy::Application": Kind(
        "codedeploy", "application:", "", ["codedeploy:CreateApplication"]
    ),
    "AWS::CodeDeploy::DeploymentConfig": Kind(
        "codedeploy", "deploymentconfig:", "", ["codedeploy:CreateDeploymentConfig"]
    ),
    "AWS::CodeDeploy::DeploymentGroup": Kind(
        "codedeploy", "deploymentgroup:", "", ["codedeploy:CreateDeploymentGroup"]
    ),
    "AWS::DynamoDB::Table": Kind("dynamodb", "table/", "TableName", ["dynamodb:CreateTable"]),
    "AWS::Events::Rule": Kind("events", "rule/", "Name", ["events:PutRule"]),
    "AWS::IAM::ManagedPolicy": Kind("iam", "policy/", "ManagedPolicyName", ["iam:CreatePolicy"]),
    "AWS::IAM::Role": Kind(
        "iam", "role/", "RoleName", ["iam:CreateRole", "iam:AttachRolePolicy", "iam:PassRole"]
    ),
    "AWS::KMS::Alias": Kind("kms", "", "AliasName", ["kms:CreateAlias"]),
    "AWS::KMS::Key": Kind("kms", "key/", "", ["kms:CreateKey", "kms:PutKeyPolicy"]),
    "AWS::Lambda::Function": Kind("lambda", "function:", "FunctionName", ["lambda:CreateFunction"]),
    "AWS::Lambda::LayerVersion": Kind(
        "lambda", "layer:", "LayerName", ["lambda:PublishLayerVersion"]
    ),
    "AWS::Logs::LogGroup": Kind("logs", "log-group:", "LogGroupName", ["logs:CreateLogGroup"]),
    "AWS::SNS::Topic": Kind("sns", "", "TopicName", ["sns:CreateTopic"]),
    "AWS::SQS::Queue": Kind("sqs", "", "QueueName", ["sqs:CreateQueue"]),
    "AWS::WAFv2::WebACL": Kind(
        *("wafv2", "regional/webacl/", "Name"),
        ["wafv2:CreateWebACL", "wafv2:AssociateWebACL", "wafv2:PutLoggingConfiguration"],
        "/1",
    ),
    "AWS::XRay::SamplingRule": Kind(
        "xray", "sampling-rule/", "SamplingRule.RuleName", ["xray:CreateSamplingRule"]
    ),
}
# What is done to a function beside making it, by the type that a template has for that.
OF_FUNCTIONS = {
    "AWS::Lambda::Alias": "lambda:CreateAlias",
    "AWS::Lambda::EventInvokeConfig": "lambda:PutFunctionEventInvokeConfig",
    "AWS::Lambda::Version": "lambda:PublishVersion",
}


def check_changes(session: Session, scene: Scene, config: StackConfig, deploy: str) -> Check:
    """Ask whether a deployment's main actions are allowed, on resources named as its own.

    The simulator knows neither the session's own policy nor every condition, so that its no is a
    warning. deploy is the command that finds out.
    """
    try:
        source = _policy_source(session, scene, deploy)
        denied = sorted(set(_denied(session, scene, config, source)))
    except PaymentInfraError as error:
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


def _actions(scene: Scene, config: StackConfig) -> Mapping[str, Collection[str]]:
    """Return for resources of a deployment, one of each kind, what it does to each."""
    stack = scene.stack
    zips = config.bucket or f"payment-artifacts-{scene.account}"
    actions: dict[str, Collection[str]] = {
        scene.arn("cloudformation", f"stack/{stack}/1"): _stack_actions(config),
        f"arn:{scene.partition}:s3:::{zips}/payment-infra/1": ("s3:PutObject", "s3:GetObject"),
        scene.arn("dynamodb", f"table/{OPERATIONS_TABLE}"): ACTIONS,
        f"arn:{scene.partition}:apigateway:{scene.region}::/restapis": ("apigateway:POST",),
    }
    template = document(build_template(config, code_keys()))
    firsts = {
        resource["Type"]: (name, resource)
        for name, resource in reversed(template["Resources"].items())
    }
    of_functions = [action for name, action in OF_FUNCTIONS.items() if name in firsts]
    for resource_type, kind in KINDS.items():
        if resource_type not in firsts:
            continue
        logical_id, resource = firsts[resource_type]
        name = _name(resource["Properties"], kind, scene) or f"{stack}-{logical_id}-1"
        if resource_type == "AWS::IAM::Role":
            name = f"{config.role_path}{config.role_prefix or f'{stack}-'}{logical_id}-1"[1:]
        more = of_functions if resource_type == "AWS::Lambda::Function" else []
        resource_arn = scene.arn(kind.service, f"{kind.prefix}{name}{kind.rest}")
        actions[resource_arn] = [*kind.actions, *more]
    return actions


def _stack_actions(config: StackConfig) -> Collection[str]:
    """Return what a deployment does to the stack, which it protects where that is a setting."""
    policy = ("cloudformation:GetStackPolicy", "cloudformation:SetStackPolicy")
    return (
        *STACK_ACTIONS,
        *(policy if config.replacement_protection else ()),
        *(["cloudformation:UpdateTerminationProtection"] if config.termination_protection else ()),
    )


def _name(properties: Mapping[str, Any], kind: Kind, scene: Scene) -> str | None:
    """Return the name of a resource, None if CloudFormation gives it; where other parts are joined
    to what ends in the suffix, that alone."""
    named: Any = properties
    for part in kind.named_by.split("."):
        named = named.get(part, {})
    if "Fn::Join" in named:
        named = named["Fn::Join"][1][0]
    return physical_name(named, {ENVIRONMENT_SUFFIX: scene.suffix})


def _policy_source(session: Session, scene: Scene, deploy: str) -> str:
    """Return the ARN of the user or role whose policies the caller works with.

    deploy is the command that finds out what it may do.

    Raises:
        AwsError: it has none that the simulator takes.
    """
    kind, _, rest = scene.caller.split(":", 5)[5].partition("/")
    if kind == "user":
        return scene.caller
    if kind != "assumed-role":
        raise AwsError(f"IAM simulates users and roles, not {scene.caller}; `{deploy}` finds out")
    # The session's ARN leaves out the role's path, which AWS IAM Identity Center's roles have.
    name = rest.split("/")[0]
    try:
        with translated(f"role {name}"):
            return str(session.client("iam").get_role(RoleName=name)["Role"]["Arn"])
    except AwsError:
        return scene.arn("iam", f"role/{name}")


def _denied(session: Session, scene: Scene, config: StackConfig, source: str) -> Iterator[str]:
    client, actions = session.client("iam"), _actions(scene, config)
    known = {"aws:RequestedRegion": scene.region, "iam:PassedToService": "lambda.amazonaws.com"}
    if config.permissions_boundary:
        known["iam:PermissionsBoundary"] = config.permissions_boundary
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
        return [result for page in pages for result in page["EvaluationResults"]]

    with translated("IAM's simulator"), ThreadPoolExecutor() as pool:
        for results in pool.map(simulate, actions):
            for result in results:
                if result["EvalDecision"] in DENIED_DECISIONS:
                    yield result["EvalActionName"]
