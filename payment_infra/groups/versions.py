"""The published version of a function, and the alias `live` that names it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from troposphere.awslambda import Alias, Function, LayerVersion, Version

from payment_infra.config import StackConfig
from payment_infra.groups.retention import DELETE
from payment_infra.groups.storage import Storage
from payment_infra.names import LIVE

# What a published version takes no copy of, so that a change of it alone must publish none, or
# Lambda says that there is such a version already (AWS CDK, aws-lambda, VERSION_LOCKED; Lambda API,
# PublishVersion).
NOT_PUBLISHED = frozenset(
    {"CodeSigningConfigArn", "ReservedConcurrentExecutions", "Tags", "TenancyConfig"}
)


@dataclass(frozen=True)
class Release:
    """What is published of a function, and what runs it."""

    version: Version
    alias: Alias


def build_release(
    config: StackConfig, prefix: str, function: Function, layer: LayerVersion, storage: Storage
) -> Release:
    """Publish a function; `prefix` starts the logical ids.

    A version keeps what the function was. What the template says of that is in the logical id, so
    that another function is another resource. What a parameter says of it is the active table: that
    is the description, and as it cannot be changed, CloudFormation replaces the version with it
    (AWS::Lambda::Version, Description).
    """
    version = Version(
        f"{prefix}Version{_digest(config, function, layer)}",
        # What has begun ends on the version before, and for some seconds more begins there. What a
        # failed update has published would be in the way of the next attempt, which publishes the
        # same (Lambda API, PublishVersion).
        DeletionPolicy="RetainExceptOnCreate",
        # Another table comes while payments are stopped, and nothing has to end before.
        UpdateReplacePolicy=DELETE,
        FunctionName=function.ref(),
        Description=storage.name,
    )
    alias = Alias(
        f"{prefix}Alias",
        Name=LIVE,
        Description="What is invoked.",
        FunctionName=function.ref(),
        FunctionVersion=version.get_att("Version"),
    )
    return Release(version=version, alias=alias)


def _digest(config: StackConfig, function: Function, layer: LayerVersion) -> str:
    """Return what changes with what a version has of the function, its layer and its role."""
    properties: Mapping[str, object] = function.to_dict()["Properties"]
    published = {name: value for name, value in properties.items() if name not in NOT_PUBLISHED}
    # What makes another layer (AWS::Lambda::LayerVersion: each property), and another role
    # (AWS::IAM::Role: path and name), makes the function another one that refers to it.
    role = [config.role_path, config.role_prefix]
    everything = [published, layer.to_dict()["Properties"], role]
    canonical = json.dumps(everything, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
