"""What a stack records of its configuration, for the update that comes after it.

The record is the Metadata attribute of a resource, since CloudFormation takes a change of that
alone for a change (API reference, ResourceTargetDefinition); the template's own Metadata section
changes only along with something else ("CloudFormation template Metadata syntax"). It holds what
no parameter holds, and not the termination protection, which the stack itself has; a setting that
has its default is left out, and is read as that; of a file it has the name alone. Where money,
access or protection hang on a setting, what the resources have counts, and not the record: a
template that was changed by hand keeps its old record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from payment_infra import __version__
from payment_infra.config import FIELDS, StackConfig
from payment_infra.gateway_names import (
    GATEWAY_NAMES,
    Gateway,
    gateway_name,
    without_folder,
)
from payment_infra.names import (
    ALARM_TOPIC,
    DEAD_LETTER_QUEUE,
    DOMAIN,
    ENCRYPTION_KEY,
    FAILED_QUEUE,
    FIREWALL_ASSOCIATION,
    HEALTH_FUNCTION,
    HEALTH_METHOD,
    PARAMETER_FIELDS,
    PROCESS_METHOD,
    PROCESSING_FUNCTION,
    PROCESSING_ROLE,
    REST_API,
    RETRY_FUNCTION,
    STAGE,
    TRANSACTIONS_TABLE,
)

RECORD_KEY = "PaymentInfra"
# A topic is a resource that an update of nothing but its Metadata does not disturb.
RECORD_HOLDER = ALARM_TOPIC
RECORDED = tuple(
    name for name in FIELDS if name not in {*PARAMETER_FIELDS.values(), "termination_protection"}
)
DEFAULTS = StackConfig()
# What charges payments, and what holds them; each of a kind is configured like the others.
CHARGING = (PROCESSING_FUNCTION, RETRY_FUNCTION)
HOLDING = (TRANSACTIONS_TABLE, FAILED_QUEUE, DEAD_LETTER_QUEUE)


@dataclass(frozen=True)
class Record:
    """What is known of a stack's configuration; values hold the fields that are known.

    version and preset are "" where nothing records them.
    """

    version: str = ""
    preset: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


def build_record(config: StackConfig) -> dict[str, dict[str, object]]:
    """Return the Metadata of the resource that holds the record."""
    values = {
        name: _written(name, getattr(config, name))
        for name in RECORDED
        if getattr(config, name) != getattr(DEFAULTS, name)
    }
    return {RECORD_KEY: {"version": __version__, "preset": config.preset, **values}}


def read_record(template: Mapping[str, Any]) -> Record:
    """Return what a template says of its configuration, {} for none.

    What its resources say counts more than what is recorded.
    """
    holder = template.get("Resources", {}).get(RECORD_HOLDER, {})
    recorded = holder.get("Metadata", {}).get(RECORD_KEY)
    if recorded is None:
        section = template.get("Metadata", {}).get(RECORD_KEY, {})
        return Record(str(section.get("Version", "")), "", _of_resources(template))
    values: dict[str, object] = {}
    for name in RECORDED:
        default = getattr(DEFAULTS, name)
        written = recorded.get(name, _written(name, default))
        # What is of another type is a later release's.
        if isinstance(written, type(_written(name, default))):
            values[name] = _read(default, written)
    values |= _of_resources(template)
    return Record(str(recorded.get("version", "")), str(recorded.get("preset", "")), values)


def _written(name: str, value: object) -> object:
    """Return a setting's value as JSON has it."""
    if isinstance(value, Mapping):
        # As text, for CloudFormation would take a key like Ref for a function.
        return [f"{key}={text}" for key, text in value.items()]
    if isinstance(value, tuple):
        return list(value)
    is_path = FIELDS[name].metadata["is_path"]
    if is_path and is_path(value):
        return without_folder(str(value))
    return gateway_name(str(value)) if name == "gateway" else value


def _read(default: object, written: Any) -> object:
    """Return what `_written` returned as the value that it was, of its default's type."""
    if isinstance(default, Mapping):
        pairs = (str(text).partition("=") for text in written)
        return {key: value for key, _, value in pairs}
    if isinstance(default, tuple):
        return tuple(map(str, written))
    return GATEWAY_NAMES.get(written, written)


def charges_at(template: Mapping[str, Any]) -> Gateway | None:
    """Return where a template's functions charge payments, None if it has none."""
    resources = template.get("Resources", {})
    return Gateway.of(_of_charging(resources)) if PROCESSING_FUNCTION in resources else None


def authorization_of(template: Mapping[str, Any]) -> str:
    """Return who may call the payment methods of a template's API, "" if it has none."""
    return str(_of_resources(template).get("authorization", ""))


def _of_resources(template: Mapping[str, Any]) -> dict[str, object]:
    """Return the fields on which money, access or protection hang, as the resources have them."""
    resources = template.get("Resources", {})
    values: dict[str, object] = {}
    if PROCESSING_FUNCTION in resources:
        variables = _of_charging(resources)
        values["gateway"], values["gateway_secret"] = Gateway.of(variables)
        network = resources[PROCESSING_FUNCTION].get("Properties", {}).get("VpcConfig", {})
        values["subnets"] = tuple(map(str, network.get("SubnetIds", ())))
        values["security_groups"] = tuple(map(str, network.get("SecurityGroupIds", ())))
        values["payment_access"] = str(variables.get("PAYMENT_ACCESS", "caller"))
    if PROCESS_METHOD in resources:
        properties = resources[PROCESS_METHOD].get("Properties", {})
        signed = properties.get("AuthorizationType") == "AWS_IAM"
        values["authorization"] = "iam" if signed else "none"
    if HEALTH_METHOD in resources:
        properties = resources[HEALTH_METHOD].get("Properties", {})
        signed = properties.get("AuthorizationType") == "AWS_IAM"
        shown = _variables(resources, HEALTH_FUNCTION).get("HEALTH_ACCESS", "open")
        values["health_access"] = "closed" if signed else str(shown)
    if REST_API in resources:
        values |= _of_endpoint(resources[REST_API].get("Properties", {}))
        values |= _of_domain(resources.get(DOMAIN, {}).get("Properties", {}))
    if STAGE in resources:
        values["firewall"] = FIREWALL_ASSOCIATION in resources
    if TRANSACTIONS_TABLE in resources:
        properties = resources[TRANSACTIONS_TABLE].get("Properties", {})
        protected = properties.get("DeletionProtectionEnabled", False)
        # CloudFormation deletes a table or a queue that does not say ("DeletionPolicy attribute").
        policies = {resources.get(name, {}).get("DeletionPolicy", "Delete") for name in HOLDING}
        values["retain_data"] = policies != {"Delete"}
        # Whether or not it encrypts yet.
        values["customer_key"] = ENCRYPTION_KEY in resources
        # One that a parameter switches on is meant to be on.
        switched = isinstance(protected, Mapping)
        values["deletion_protection"] = switched or str(protected).lower() == "true"
    if PROCESSING_ROLE in resources:
        properties = resources[PROCESSING_ROLE].get("Properties", {})
        values["permissions_boundary"] = str(properties.get("PermissionsBoundary", ""))
        values["role_path"] = str(properties.get("Path", "/"))
        match properties.get("RoleName"):
            case {"Fn::Join": [_, [str(first), *_]]}:
                values["role_prefix"] = first.removesuffix(PROCESSING_ROLE)
            case None:
                values["role_prefix"] = ""
    return values


def _of_charging(resources: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the environment variables of what charges payments."""
    variables: dict[str, Any] = {}
    for name in reversed(CHARGING):
        variables |= _variables(resources, name)
    return variables


def _variables(resources: Mapping[str, Any], function: str) -> Mapping[str, Any]:
    """Return the environment variables of a function, {} for one that is not there."""
    properties = resources.get(function, {}).get("Properties", {})
    variables: Mapping[str, Any] = properties.get("Environment", {}).get("Variables", {})
    return variables


def _of_endpoint(properties: Mapping[str, Any]) -> dict[str, object]:
    """Return what the properties of an API say of its endpoint, and of who may reach it.

    Without a type it is edge-optimized, without a mode basic (API Gateway API, CreateRestApi, and
    "Security policies for REST APIs in API Gateway").
    """
    endpoint = properties.get("EndpointConfiguration", {})
    policy = {
        statement.get("Sid"): statement
        for statement in properties.get("Policy", {}).get("Statement", [])
    }
    [kind] = endpoint.get("Types") or ["EDGE"]
    mode = properties.get("EndpointAccessMode", "BASIC")
    return {
        "endpoint_type": str(_chosen(kind)).lower(),
        "endpoint_access_mode": str(_chosen(mode)).lower(),
        # The first is the stack's own.
        "allowed_accounts": _listed(policy, "DenyOtherAccounts", "StringNotEquals")[1:],
        "allowed_vpc_endpoints": _listed(policy, "DenyOtherVpcEndpoints", "StringNotEquals"),
        "vpc_endpoints": tuple(map(str, endpoint.get("VpcEndpointIds", []))),
        "allowed_cidrs": _listed(policy, "DenyOtherAddresses", "NotIpAddress"),
        "execute_api_endpoint": not properties.get("DisableExecuteApiEndpoint", False),
    }


def _of_domain(properties: Mapping[str, Any]) -> dict[str, object]:
    """Return what the properties of a domain name say, {} for an API without one."""
    certificate = properties.get("CertificateArn") or properties.get("RegionalCertificateArn", "")
    mutual = properties.get("MutualTlsAuthentication", {})
    return {
        "domain_name": str(properties.get("DomainName", "")),
        "domain_certificate": str(certificate),
        "domain_truststore": str(mutual.get("TruststoreUri", "")),
    }


def _listed(policy: Mapping[str, Any], sid: str, operator: str) -> tuple[str, ...]:
    """Return the values of the one condition of a statement, () if there is no such statement."""
    conditions = policy.get(sid, {}).get("Condition", {}).get(operator, {})
    return tuple(str(value) for values in conditions.values() for value in values)


def _chosen(value: Any) -> Any:
    """Return what an Fn::If gives if its condition holds."""
    return value["Fn::If"][1] if isinstance(value, Mapping) and "Fn::If" in value else value
