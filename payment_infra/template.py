"""The whole template: the groups in order, their tags, the parameters and the outputs."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, fields, is_dataclass

from troposphere import AWSObject, Output, Sub, Tags, Template
from troposphere.cloudwatch import Dashboard
from troposphere.iam import Role

from payment_infra.config import StackConfig
from payment_infra.errors import UsageError
from payment_infra.gateway_names import gateway_name, needs_secret
from payment_infra.groups.alarms import Alarms, build_alarms
from payment_infra.groups.api import Api, build_api, build_rest_api
from payment_infra.groups.artifact_bucket import build_artifact_bucket
from payment_infra.groups.backup import Backup, build_backup
from payment_infra.groups.canary import Canary, build_canary
from payment_infra.groups.dashboard import build_dashboard
from payment_infra.groups.domain import Domain, build_domain
from payment_infra.groups.encryption import Encryption, build_encryption
from payment_infra.groups.firewall import Firewall, build_firewall
from payment_infra.groups.functions import Functions, build_functions
from payment_infra.groups.iam import under_account_rules
from payment_infra.groups.notifications import Notifications, build_notifications
from payment_infra.groups.queues import Queues, build_queues
from payment_infra.groups.schedule import Schedule, build_schedule
from payment_infra.groups.stage import ApiStage, build_stage
from payment_infra.groups.storage import Storage, build_storage
from payment_infra.groups.suppressions import suppressed
from payment_infra.groups.tracing import Tracing, build_tracing
from payment_infra.names import API_OUTPUT, ARTIFACT_BUCKET_OUTPUT, ENVIRONMENT_SUFFIX, TABLE_OUTPUT
from payment_infra.naming import PARAMETER_GROUPS, build_parameters, build_rules, parameter
from payment_infra.record import RECORD_HOLDER, build_record

DESCRIPTION = "Resilient payment processing API: validate, process, retry, watch."

# The tags of AWS Backup's resources, which are one map.
MAP_TAGS = frozenset({"BackupPlanTags", "BackupVaultTags"})


@dataclass(frozen=True)
class Groups:
    """The groups in the order in which they are built, each named as the module that builds it."""

    encryption: Encryption
    notifications: Notifications
    storage: Storage
    queues: Queues
    functions: Functions
    schedule: Schedule
    api: Api
    stage: ApiStage
    domain: Domain | None
    firewall: Firewall | None
    tracing: Tracing | None
    backup: Backup | None
    alarms: Alarms
    canary: Canary | None
    dashboard: Dashboard


def build_template(
    config: StackConfig, code: Mapping[str, str], *, encrypts: bool = True
) -> Template:
    """Build the template.

    Args:
        config: what shapes it.
        code: entry module of handlers/ ("validation"), or "dependencies", to the S3 key of its zip.
        encrypts: whether the stack's own key, if it has one, is used yet: not in the update that
            brings it to a stack (see `build_encryption`).

    Raises UsageError if a payment could not be charged for want of the gateway's secret.
    """
    if needs_secret(config.gateway) and not config.gateway_secret:
        raise UsageError(
            f"gateway {gateway_name(config.gateway)}: it needs a secret with its key; put one into "
            "AWS Secrets Manager, and name its ARN by --gateway-secret"
        )
    groups = _build_groups(config, code, encrypts=encrypts)
    template = _new_template(DESCRIPTION)
    declarations = build_parameters(config)
    template.set_metadata(_metadata({declaration.title for declaration in declarations}))
    for declaration in declarations:
        template.add_parameter(declaration)
    for name, rule in build_rules(config).items():
        template.add_rule(name, rule)
    for group in (getattr(groups, field.name) for field in fields(groups)):
        for name, condition in getattr(group, "conditions", {}).items():
            template.add_condition(name, condition)
        for resource in _resources(group):
            _tag(resource, config)
            if isinstance(resource, Role):
                under_account_rules(resource, config)
            template.add_resource(resource)
    metadata = {**suppressed(config)}
    metadata[RECORD_HOLDER] = {**build_record(config), **metadata.get(RECORD_HOLDER, {})}
    for name, of_resource in metadata.items():
        if name in template.resources:
            template.resources[name].Metadata = of_resource
    for output in (
        Output(API_OUTPUT, Description="Payment API Endpoint", Value=_url(groups)),
        Output(
            TABLE_OUTPUT,
            Description="DynamoDB Transactions Table",
            Value=groups.storage.name,
        ),
        Output(
            "AlarmTopicArn",
            Description="SNS Topic for Alarms",
            Value=groups.notifications.topic.ref(),
        ),
        Output("DashboardName", Description="CloudWatch Dashboard", Value=groups.dashboard.ref()),
        Output(
            "CallerPolicyArn",
            Description="Managed policy for those who call the payment methods",
            Value=groups.api.caller_policy.ref(),
        ),
        *_monitor_outputs(groups.api),
        *(groups.domain.outputs if groups.domain else ()),
    ):
        template.add_output(output)
    return template


def sources(config: StackConfig, code: Mapping[str, str]) -> Mapping[str, str]:
    """Return the logical id of every resource, and the file of the module that builds it.

    Args as `build_template`'s.
    """
    groups = _build_groups(config, code)
    return {
        resource.title: f"payment_infra/groups/{field.name}.py"
        for field in fields(groups)
        for resource in _resources(getattr(groups, field.name))
    }


def build_bootstrap_template() -> Template:
    """Build the template of the artifact bucket's own stack."""
    group = build_artifact_bucket()
    template = _new_template("Bucket for the zips and templates of payment-infra.")
    for resource in _resources(group):
        template.add_resource(resource)
    template.add_output(
        Output(ARTIFACT_BUCKET_OUTPUT, Description="Artifact bucket", Value=group.bucket.ref())
    )
    return template


def _build_groups(config: StackConfig, code: Mapping[str, str], *, encrypts: bool = True) -> Groups:
    rest_api = build_rest_api(config)
    encryption = build_encryption(config, encrypts=encrypts)
    notifications = build_notifications(encryption)
    storage = build_storage(config, encryption)
    queues = build_queues(config, encryption)
    functions = build_functions(
        config, code, encryption, storage, queues, notifications.topic, rest_api
    )
    if encryption.key:
        _grant_first(storage, queues, functions)
    api = build_api(config, rest_api, functions)
    stage = build_stage(config, encryption, api)
    alarms = build_alarms(config, notifications.topic, queues, functions)
    return Groups(
        encryption=encryption,
        notifications=notifications,
        storage=storage,
        queues=queues,
        functions=functions,
        schedule=build_schedule(functions.health_monitor, queues.failed_runs, notifications.topic),
        api=api,
        stage=stage,
        domain=build_domain(config, rest_api, stage.stage),
        firewall=build_firewall(config, encryption, stage),
        tracing=build_tracing(config, stage),
        backup=build_backup(config, encryption, storage),
        alarms=alarms,
        canary=build_canary(config, functions),
        dashboard=build_dashboard(config, functions, storage, queues, alarms),
    )


def _grant_first(storage: Storage, queues: Queues, functions: Functions) -> None:
    """Let those who take payments have the key before table and queue are encrypted with it, or
    one update that does both, by the AWS CLI alone, would keep them out for its minutes.

    The health monitor, whose policy needs the queue, gets it afterwards in such an update.
    """
    paying = [
        *(functions.validation, functions.processing, functions.lookup),
        *(functions.cancellation, functions.retry),
    ]
    if functions.gateway_events:
        paying.append(functions.gateway_events)
    for resource in (storage.table, queues.failed):
        resource.DependsOn = [parts.policy.title for parts in paying]


def _new_template(description: str) -> Template:
    template = Template(Description=description)
    template.set_version()
    return template


def _resources(group: object) -> Iterator[AWSObject]:
    """Yield the resources of a group in the order of its fields, those of its parts included."""
    if isinstance(group, AWSObject):
        yield group
    elif isinstance(group, tuple):
        for part in group:
            yield from _resources(part)
    elif is_dataclass(group):
        for field in fields(group):
            yield from _resources(getattr(group, field.name))


def _tag(resource: AWSObject, config: StackConfig) -> None:
    environment = {config.environment_tag: parameter(ENVIRONMENT_SUFFIX)}
    if "Tags" in resource.props:
        resource.Tags = Tags(environment) + Tags(dict(config.tags))
    for name in MAP_TAGS & resource.props.keys():
        setattr(resource, name, {**environment, **config.tags})


def _url(groups: Groups) -> Sub:
    return groups.domain.url if groups.domain else groups.api.url


def _monitor_outputs(api: Api) -> Iterator[Output]:
    if api.monitor_policy:
        yield Output(
            "MonitorPolicyArn",
            Description="Managed policy for those who ask how the system is",
            Value=api.monitor_policy.ref(),
        )


def _metadata(parameters: Set[str]) -> dict[str, object]:
    groups = {
        label: [name for name in names if name in parameters]
        for label, names in PARAMETER_GROUPS.items()
    }
    return {
        "AWS::CloudFormation::Interface": {
            "ParameterGroups": [
                {"Label": {"default": label}, "Parameters": names}
                for label, names in groups.items()
                if names
            ]
        },
    }
