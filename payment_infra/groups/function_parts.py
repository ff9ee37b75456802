"""What every Lambda function has: its log group, role and release, and how it is set up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from awacs.aws import Statement
from troposphere import And, Condition, Equals, GetAtt, If, Not, NoValue, Ref, Region
from troposphere.awslambda import (
    Code,
    Environment,
    Function,
    LayerVersion,
    LoggingConfig,
    SnapStart,
    TracingConfig,
    VPCConfig,
)
from troposphere.iam import ManagedPolicy, Role
from troposphere.logs import LogGroup

from payment_infra.config import StackConfig
from payment_infra.groups.encryption import Encryption
from payment_infra.groups.iam import execution_role, use_key, use_network_interfaces, write_logs
from payment_infra.groups.logs import build_log_group
from payment_infra.groups.storage import Storage
from payment_infra.groups.tls import COMMERCIAL
from payment_infra.groups.versions import Release, build_release
from payment_infra.names import ARTIFACT_BUCKET, CONCURRENCIES
from payment_infra.naming import parameter, suffixed

# Whether the region has SnapStart: each commercial one but Asia Pacific (Taipei) and (New Zealand)
# does, and no other partition (Lambda, "Improving startup performance with Lambda SnapStart",
# Supported Regions).
SNAP_STARTS = "HasSnapStart"
WITHOUT_SNAP_START = ("ap-east-2", "ap-southeast-6")
# Powertools: the only dimension of the stack's own metrics.
SERVICE_NAME = suffixed("payment")


class FunctionLogging(LoggingConfig):  # type: ignore[misc]
    """Where and how a function logs; hidden by a class of the same name, as above."""

    props: ClassVar = {**LoggingConfig.props, "LogFormat": (str, False)}


@dataclass(frozen=True)
class FunctionParts:
    """A function and what belongs to it alone; release is None if none is published."""

    function: Function
    log_group: LogGroup
    role: Role
    policy: ManagedPolicy
    release: Release | None = None

    @property
    def invoked(self) -> Ref:
        """What is invoked: the alias's ARN, or the function's name."""
        return self.release.alias.ref() if self.release else self.function.ref()

    @property
    def invoked_arn(self) -> Ref | GetAtt:
        """The ARN of what is invoked."""
        return self.release.alias.ref() if self.release else self.function.get_att("Arn")


def reserves(name: str) -> str:
    """Return the condition that a parameter of reserved concurrency is not 0."""
    return f"Has{name}"


def _reserved(config: StackConfig, function: str) -> dict[str, object]:
    """Return the reserved concurrency of the function with this logical id, as its parameter says.

    Lambda's own 0 would keep the function from running (Lambda API, PutFunctionConcurrency).
    """
    name = CONCURRENCIES.get(function)
    if name not in config.reserved:
        return {}
    return {"ReservedConcurrentExecutions": If(reserves(name), parameter(name), NoValue)}


def build_function(
    config: StackConfig,
    code: Mapping[str, str],
    encryption: Encryption,
    dependencies: LayerVersion,
    tracing: ManagedPolicy,
    storage: Storage,
    prefix: str,
    name: str,
    module: str,
    *grants: Statement,
    **properties: object,
) -> FunctionParts:
    """Build a function with its log group and role; `prefix` starts their logical ids."""
    log_group = build_log_group(
        config, encryption, f"{prefix}LogGroup", suffixed(f"/aws/lambda/{name}")
    )
    network = _network(config)
    owner = execution_role(
        prefix,
        *grants,
        write_logs(log_group),
        *use_key(encryption, "Variables"),
        *(use_network_interfaces(name) if network else ()),
        shared=[tracing],
    )
    function = Function(
        f"{prefix}Function",
        FunctionName=suffixed(name),
        Runtime=config.runtime,
        Architectures=[config.architecture],
        Handler=f"{module}.handler",
        Code=Code(S3Bucket=parameter(ARTIFACT_BUCKET), S3Key=code[module]),
        Layers=[dependencies.ref()],
        Role=owner.role.get_att("Arn"),
        TracingConfig=TracingConfig(Mode="Active"),
        **_logging(config, log_group),
        **(_snap_start() if config.snap_start else {}),
        **_reserved(config, f"{prefix}Function"),
        **encryption.by("KmsKeyArn"),
        **network,
        **properties,
    )
    return FunctionParts(
        function=function,
        log_group=log_group,
        role=owner.role,
        policy=owner.policy,
        release=(
            build_release(config, prefix, function, dependencies, storage)
            if config.versions
            else None
        ),
    )


def _logging(config: StackConfig, log_group: LogGroup) -> dict[str, object]:
    """Return how a function logs, where that is not by default: to the group of its own name
    (AWS::Lambda::Function, LoggingConfig), which is there before it, as its role names that.

    Lambda has levels for its own lines only with the format JSON, which leaves what is JSON
    already, as the handlers' lines are, as it is (Lambda, "Log-level filtering", "Configuring JSON
    and plain text log formats").
    """
    if config.platform_logs == "info":
        return {}
    return {
        "LoggingConfig": FunctionLogging(
            LogGroup=log_group.ref(),
            LogFormat="JSON",
            SystemLogLevel=config.platform_logs.upper(),
        )
    }


def snap_start_conditions() -> dict[str, Condition]:
    """Return the condition that the region has SnapStart."""
    elsewhere = [Not(Equals(Region, region)) for region in WITHOUT_SNAP_START]
    return {SNAP_STARTS: And(Condition(COMMERCIAL), *elsewhere)}


def _network(config: StackConfig) -> dict[str, object]:
    """Return the VPC that the functions are connected to, if any."""
    if not config.subnets:
        return {}
    network = VPCConfig(
        SubnetIds=list(config.subnets), SecurityGroupIds=list(config.security_groups)
    )
    return {"VpcConfig": network}


def _snap_start() -> dict[str, object]:
    applied = SnapStart(ApplyOn="PublishedVersions")
    return {"SnapStart": If(SNAP_STARTS, applied, NoValue)}


def environment(**variables: object) -> Environment:
    """Return what a function is told, its own and what all are."""
    return Environment(Variables={"POWERTOOLS_SERVICE_NAME": SERVICE_NAME, **variables})
