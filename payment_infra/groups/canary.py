"""The canary: a new version of what takes payments gets a part of them first, and all of them once
no alarm of its own has fired; otherwise it gets none, and the whole update is taken back."""

from dataclasses import dataclass

from awacs import awslambda, cloudwatch, sts
from awacs.aws import Allow, PolicyDocument, Principal, Statement, StringEquals, StringLike
from awacs.aws import Condition as PolicyCondition
from troposphere import AccountId, Condition, Equals, If, Join, NoValue, Sub
from troposphere.awslambda import Alias
from troposphere.cloudwatch import Alarm, MetricDimension
from troposphere.codedeploy import (
    Alarm as WatchedAlarm,
)
from troposphere.codedeploy import (
    AlarmConfiguration,
    Application,
    AutoRollbackConfiguration,
    DeploymentConfig,
    DeploymentGroup,
    DeploymentStyle,
    TimeBasedCanary,
    TrafficRoutingConfig,
)
from troposphere.iam import ManagedPolicy, Role
from troposphere.policies import CodeDeployLambdaAliasUpdate, UpdatePolicy

from payment_infra.config import StackConfig
from payment_infra.groups.alarm_rules import NAMESPACE
from payment_infra.groups.alarms import QUIET
from payment_infra.groups.function_parts import SERVICE_NAME, FunctionParts
from payment_infra.groups.functions import Functions
from payment_infra.groups.versions import Release
from payment_infra.names import CANARY, LIVE, STAGE_NAME, TRAFFIC_SHIFTING
from payment_infra.naming import filled, parameter, suffixed

SHIFTS_CONDITION = "ShiftsTraffic"
# The shortest that an alarm can watch AWS's own metrics by (CloudWatch, "Metrics concepts"), once.
PERIOD_SECONDS = 60
# Of payment-infra: what to begin with.
COMMAND = "logs --since 15m --level error"
# How many of a minute are too many. At a million payments a month a function gets 23 requests a
# minute, and its new version two of these: no more can be waited for.
# A crash or a timeout, of which there is none in a version that works.
MAX_ERRORS = 1
# Answers of 500. A dependency can cause one too; the update is taken back then, and repeated.
MAX_FAILURES = 1
# The API's 5XX, which are of both functions, and of the versions before as well.
MAX_SERVER_ERRORS = 2


@dataclass(frozen=True)
class Shift:
    """What moves one function's traffic, and the alarms on its new version."""

    errors: Alarm
    failures: Alarm
    group: DeploymentGroup


@dataclass(frozen=True)
class Canary:
    """What CodeDeploy needs; conditions hold whether an update shifts traffic, or is at once."""

    application: Application
    pace: DeploymentConfig
    role: Role
    policy: ManagedPolicy
    server_errors: Alarm
    shifts: tuple[Shift, ...]
    conditions: dict[str, Condition]


def build_canary(config: StackConfig, functions: Functions) -> Canary | None:
    """Build the canary, and let the aliases follow it; None if a new version gets all at once.

    What validates and what charges shift at the same time, and the alarms of both take both back.
    What repeats payments and what recovers them change after that, to what has been tried.
    """
    if not (config.versions and config.canary_percent):
        return None
    application = Application("CanaryApplication", ComputePlatform="Lambda")
    pace = DeploymentConfig(
        "CanaryPace",
        ComputePlatform="Lambda",
        TrafficRoutingConfig=TrafficRoutingConfig(
            Type="TimeBasedCanary",
            TimeBasedCanary=TimeBasedCanary(
                CanaryPercentage=config.canary_percent, CanaryInterval=config.canary_minutes
            ),
        ),
    )
    server_errors = _alarm(
        "CanaryServerErrorAlarm",
        "canary-5xx",
        "The API answers with 5XX while a new version is tried",
        "AWS/ApiGateway/5XXError",
        {"ApiName": suffixed("payment-api"), "Stage": STAGE_NAME},
        MAX_SERVER_ERRORS,
    )
    shifting = [_published(functions.validation), _published(functions.processing)]
    alarms = [server_errors]
    watched: list[tuple[Alarm, Alarm]] = []
    for parts, release in shifting:
        pair = (_errors_alarm(parts, release), _failures_alarm(parts, release))
        watched.append(pair)
        alarms += pair
    policy = _build_policy([parts for parts, _ in shifting], alarms)
    role = _build_role(application, policy)
    shifts = []
    for (parts, release), (errors, failures) in zip(shifting, watched, strict=True):
        group = _build_group(parts, application, pace, role, alarms)
        shifts.append(Shift(errors=errors, failures=failures, group=group))
        # What watches the new version is there before that gets anything.
        release.alias.DependsOn = [alarm.title for alarm in alarms]
        release.alias.UpdatePolicy = UpdatePolicy(
            CodeDeployLambdaAliasUpdate=If(
                SHIFTS_CONDITION,
                CodeDeployLambdaAliasUpdate(
                    ApplicationName=application.ref(), DeploymentGroupName=group.ref()
                ),
                NoValue,
            )
        )
    others = (
        *(functions.lookup, functions.cancellation, functions.retry),
        *(functions.health_monitor, functions.gateway_events),
    )
    for parts in filter(None, others):
        _published(parts)[1].alias.DependsOn = [release.alias.title for _, release in shifting]
    return Canary(
        application=application,
        pace=pace,
        role=role,
        policy=policy,
        server_errors=server_errors,
        shifts=tuple(shifts),
        conditions={SHIFTS_CONDITION: Equals(parameter(TRAFFIC_SHIFTING), CANARY)},
    )


def _published(parts: FunctionParts) -> tuple[FunctionParts, Release]:
    assert parts.release is not None, "a canary is of published versions"
    return parts, parts.release


def _prefix(alias: Alias) -> str:
    title: str = alias.title
    return title.removesuffix("Alias")


def _errors_alarm(parts: FunctionParts, release: Release) -> Alarm:
    """Watch the crashes and timeouts of the new version alone (Lambda, "Types of metrics for Lambda
    functions", ExecutedVersion)."""
    prefix, function = _prefix(release.alias), parts.function
    return _alarm(
        f"{prefix}CanaryErrorAlarm",
        f"canary-{prefix.lower()}-errors",
        "The new version crashes or takes too long",
        "AWS/Lambda/Errors",
        {
            "FunctionName": function.ref(),
            "Resource": Join(":", [function.ref(), LIVE]),
            "ExecutedVersion": release.version.get_att("Version"),
        },
        MAX_ERRORS,
    )


def _failures_alarm(parts: FunctionParts, release: Release) -> Alarm:
    """Watch what the new version answers with 500, which Lambda does not see as errors."""
    prefix = _prefix(release.alias)
    version = release.version.get_att("Version")
    return _alarm(
        f"{prefix}CanaryFailureAlarm",
        f"canary-{prefix.lower()}-failures",
        "The new version answers with 500",
        f"{NAMESPACE}/Failures",
        {"service": SERVICE_NAME, "version": Join(":", [parts.function.ref(), version])},
        MAX_FAILURES,
    )


def _alarm(
    title: str,
    name: str,
    description: str,
    metric: str,
    dimensions: dict[str, object],
    threshold: int,
) -> Alarm:
    """Build an alarm for CodeDeploy, which alone acts on it: people are told by the others."""
    namespace, _, metric_name = metric.rpartition("/")
    return Alarm(
        title,
        AlarmName=suffixed(name),
        AlarmDescription=f"{description}. Run payment-infra {COMMAND}",
        Namespace=namespace,
        MetricName=metric_name,
        Dimensions=[MetricDimension(Name=key, Value=value) for key, value in dimensions.items()],
        Statistic="Sum",
        Period=PERIOD_SECONDS,
        EvaluationPeriods=1,
        Threshold=threshold,
        **QUIET,
    )


def _build_group(
    parts: FunctionParts,
    application: Application,
    pace: DeploymentConfig,
    role: Role,
    alarms: list[Alarm],
) -> DeploymentGroup:
    return DeploymentGroup(
        parts.function.title.replace("Function", "DeploymentGroup"),
        ApplicationName=application.ref(),
        DeploymentConfigName=pace.ref(),
        DeploymentStyle=DeploymentStyle(
            DeploymentOption="WITH_TRAFFIC_CONTROL", DeploymentType="BLUE_GREEN"
        ),
        ServiceRoleArn=role.get_att("Arn"),
        AlarmConfiguration=AlarmConfiguration(
            Enabled=True, Alarms=[WatchedAlarm(Name=alarm.ref()) for alarm in alarms]
        ),
        AutoRollbackConfiguration=AutoRollbackConfiguration(
            Enabled=True,
            Events=[
                *("DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"),
                "DEPLOYMENT_STOP_ON_REQUEST",
            ],
        ),
    )


def _build_policy(shifting: list[FunctionParts], alarms: list[Alarm]) -> ManagedPolicy:
    """Grant what CodeDeploy needs for Lambda (CodeDeploy, "AWS managed policies",
    AWSCodeDeployRoleForLambdaLimited), for these functions and alarms alone."""
    functions = [parts.function.get_att("Arn") for parts in shifting]
    aliases = [filled(f"${{Arn}}:{LIVE}", Arn=function) for function in functions]
    return ManagedPolicy(
        "CanaryPolicy",
        Description="What CodeDeploy may do to shift traffic to a new version.",
        PolicyDocument=PolicyDocument(
            Version="2012-10-17",
            Statement=[
                Statement(
                    Sid="ShiftTraffic",
                    Effect=Allow,
                    Action=[
                        awslambda.GetAlias,
                        awslambda.UpdateAlias,
                        awslambda.GetProvisionedConcurrencyConfig,
                    ],
                    Resource=[*functions, *aliases],
                ),
                Statement(
                    Sid="ReadAlarms",
                    Effect=Allow,
                    Action=[cloudwatch.DescribeAlarms],
                    Resource=[alarm.get_att("Arn") for alarm in alarms],
                ),
            ],
        ),
    )


def _build_role(application: Application, policy: ManagedPolicy) -> Role:
    # Where the partition has names of its own, the service's name has them too, with the region
    # (CodeDeploy, "Create a service role for CodeDeploy").
    service = Sub("codedeploy.${AWS::Region}.${AWS::URLSuffix}")
    groups = filled(
        "arn:${AWS::Partition}:codedeploy:${AWS::Region}:${AWS::AccountId}:deploymentgroup:"
        "${Application}/*",
        Application=application.ref(),
    )
    return Role(
        "CanaryRole",
        AssumeRolePolicyDocument=PolicyDocument(
            Version="2012-10-17",
            Statement=[
                Statement(
                    Effect=Allow,
                    Action=[sts.AssumeRole],
                    Principal=Principal("Service", [service]),
                    # CodeDeploy, "Cross-service confused deputy prevention".
                    Condition=PolicyCondition(
                        [
                            StringEquals("aws:SourceAccount", AccountId),
                            StringLike("aws:SourceArn", groups),
                        ]
                    ),
                )
            ],
        ),
        ManagedPolicyArns=[policy.ref()],
    )
