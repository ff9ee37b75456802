"""Who may call the API, by its resource policy evaluated as API Gateway does."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from payment_infra.config import PRESETS
from payment_infra.errors import UsageError
from payment_infra.record import read_record
from payment_infra.sources import resolve
from tests.unit.template import Evaluated, Json, load, of_type

OWN, FRIEND, STRANGER = "123456789012", "210987654321", "999999999999"
INSIDE, OUTSIDE = "203.0.113.7", "198.51.100.7"
ENDPOINT, OTHER_ENDPOINT = "vpce-0123456789abcdef0", "vpce-0fedcba9876543210"
ACCOUNTS = {"allowed_accounts": (FRIEND,)}
CIDRS = {"allowed_cidrs": ("203.0.113.0/24", "2001:db8::/32")}
PRIVATE = {"endpoint_type": "private", "allowed_vpc_endpoints": (ENDPOINT,)}
VALIDATE, PROCESS, HEALTH = "POST/validate", "POST/process", "GET/health"
EVERY_METHOD = (VALIDATE, PROCESS, HEALTH)


def admits(
    template: Json,
    method: str,
    account: str | None = None,
    *,
    granted: bool = True,
    **context: str,
) -> bool:
    """Whether a request is admitted ("How API Gateway resource policies affect authorization
    workflow": resource policy only, IAM authentication, and its outcome tables A and B).

    Args:
        template: of the API.
        method: verb and path.
        account: whose principal has signed it, None for an unsigned one.
        granted: whether that principal's own policies allow the call.
        context: condition keys without `aws:`.
    """
    deployed = Evaluated(template)
    prefix = method.partition("/")[2].capitalize()
    wants_signature = deployed.resources[f"{prefix}Method"]["AuthorizationType"] == "AWS_IAM"
    if wants_signature and account is None:
        return False
    keys = {f"aws:{key}": value for key, value in context.items()}
    if account and wants_signature:
        keys["aws:PrincipalAccount"] = account
    policy = deployed.resources["PaymentAPI"].get("Policy")
    effects = {
        statement["Effect"]
        for statement in (policy or {"Statement": []})["Statement"]
        if _matches(statement, f"execute-api:/prod/{method}", account, keys)
    }
    if "Deny" in effects:
        return False
    if not wants_signature:
        return policy is None or "Allow" in effects
    # An Allow for an account leaves it to that account's policies who may.
    return granted and (account == OWN or "Allow" in effects)


def _matches(statement: Json, resource: str, account: str | None, keys: Mapping[str, str]) -> bool:
    assert statement["Action"] == ["execute-api:Invoke"]
    principal = statement["Principal"]
    named = principal == "*" or f"arn:aws:iam::{account}:root" in principal["AWS"]
    return (
        named
        and any(fnmatchcase(resource, pattern) for pattern in statement["Resource"])
        and all(
            _holds(operator, keys.get(key), values)
            for operator, conditions in statement.get("Condition", {}).items()
            for key, values in conditions.items()
        )
    )


def _holds(operator: str, value: str | None, values: list[str]) -> bool:
    """Whether a condition holds; a negated one does where the key is absent (IAM, "IAM JSON policy
    elements: Condition operators")."""
    if operator == "StringNotEquals":
        return value not in values
    assert operator == "NotIpAddress"
    return value is None or not any(
        ip_address(value) in network
        for network in map(ip_network, values)
        if network.version == ip_address(value).version
    )


def test_nothing_is_restricted_by_default_and_no_policy_is_there() -> None:
    for preset in PRESETS:
        assert "Policy" not in load(**PRESETS[preset])["Resources"]["PaymentAPI"]["Properties"]
    template = load()
    assert admits(template, VALIDATE, OWN)
    assert admits(template, HEALTH)
    assert not admits(template, VALIDATE, FRIEND)


@pytest.mark.parametrize("method", [VALIDATE, PROCESS])
@pytest.mark.parametrize("granted", [True, False])
@pytest.mark.parametrize(("account", "allowed"), [(OWN, True), (FRIEND, True), (STRANGER, False)])
def test_an_allowed_accounts_principals_may_call_if_they_are_granted_it(
    account: str, allowed: bool, granted: bool, method: str
) -> None:
    assert admits(load(**ACCOUNTS), method, account, granted=granted) == (allowed and granted)


def test_what_is_signed_for_no_account_or_not_at_all_pays_nothing() -> None:
    assert not admits(load(**ACCOUNTS), VALIDATE)
    assert admits(load(**ACCOUNTS), HEALTH)


@pytest.mark.parametrize(
    ("address", "allowed"), [(INSIDE, True), ("2001:db8::1", True), (OUTSIDE, False)]
)
@pytest.mark.parametrize("method", EVERY_METHOD)
def test_only_allowed_addresses_reach_any_method(method: str, address: str, allowed: bool) -> None:
    assert admits(load(**CIDRS), method, OWN, SourceIp=address) == allowed


@pytest.mark.parametrize(("endpoint", "allowed"), [(ENDPOINT, True), (OTHER_ENDPOINT, False)])
@pytest.mark.parametrize("method", EVERY_METHOD)
def test_only_allowed_vpc_endpoints_reach_a_private_api(
    method: str, endpoint: str, allowed: bool
) -> None:
    assert admits(load(**PRIVATE), method, OWN, SourceVpce=endpoint) == allowed
    assert not admits(load(**PRIVATE), method, OWN)


def test_of_a_private_api_the_address_within_the_vpc_counts() -> None:
    template = load(**PRIVATE, **CIDRS)
    assert admits(template, VALIDATE, OWN, SourceVpce=ENDPOINT, VpcSourceIp=INSIDE)
    assert not admits(template, VALIDATE, OWN, SourceVpce=ENDPOINT, VpcSourceIp=OUTSIDE)
    assert not admits(template, VALIDATE, OWN, SourceVpce=OTHER_ENDPOINT, VpcSourceIp=INSIDE)


def test_every_restriction_has_to_be_met() -> None:
    template = load(**ACCOUNTS, **CIDRS)
    assert admits(template, PROCESS, FRIEND, SourceIp=INSIDE)
    assert not admits(template, PROCESS, FRIEND, SourceIp=OUTSIDE)
    assert not admits(template, PROCESS, STRANGER, SourceIp=INSIDE)


def test_an_api_without_signatures_is_restricted_by_addresses() -> None:
    template = load(authorization="none", **CIDRS)
    for method in EVERY_METHOD:
        assert admits(template, method, SourceIp=INSIDE)
        assert not admits(template, method, SourceIp=OUTSIDE)


@pytest.mark.parametrize("restriction", [{}, ACCOUNTS, CIDRS])
def test_a_closed_health_wants_a_signature_of_who_is_granted_it(
    restriction: dict[str, Any],
) -> None:
    template = load(health_access="closed", **restriction)
    assert not admits(template, HEALTH, SourceIp=INSIDE)
    assert admits(template, HEALTH, OWN, SourceIp=INSIDE)
    assert not admits(template, HEALTH, OWN, granted=False, SourceIp=INSIDE)
    assert admits(template, HEALTH, FRIEND, SourceIp=INSIDE) == (restriction == ACCOUNTS)
    assert not admits(template, HEALTH, STRANGER, SourceIp=INSIDE)


def test_a_policy_denies_what_is_not_allowed_and_names_no_other_action() -> None:
    template = load(**PRIVATE, **ACCOUNTS, **CIDRS)
    policy = Evaluated(template).resources["PaymentAPI"]["Policy"]
    assert [(one["Sid"], one["Effect"]) for one in policy["Statement"]] == [
        ("CallPayments", "Allow"),
        ("AskHealth", "Allow"),
        ("DenyOtherAccounts", "Deny"),
        ("DenyOtherVpcEndpoints", "Deny"),
        ("DenyOtherAddresses", "Deny"),
    ]


@pytest.mark.parametrize("partition", ["aws", "aws-cn"])
def test_accounts_are_named_in_the_stacks_own_partition(partition: str) -> None:
    deployed = Evaluated(load(**ACCOUNTS), **{"AWS::Partition": partition})
    payments = deployed.resources["PaymentAPI"]["Policy"]["Statement"][0]
    assert payments["Principal"] == {
        "AWS": [f"arn:{partition}:iam::{account}:root" for account in (OWN, FRIEND)]
    }


def test_a_private_api_gets_names_for_the_endpoints_that_are_to_have_one() -> None:
    def endpoint(**fields: Any) -> Json:
        return load(**fields)["Resources"]["PaymentAPI"]["Properties"]["EndpointConfiguration"]

    assert endpoint(**PRIVATE) == {"Types": ["PRIVATE"]}
    named = endpoint(**PRIVATE, vpc_endpoints=(ENDPOINT,))
    assert named == {"Types": ["PRIVATE"], "VpcEndpointIds": [ENDPOINT]}


def test_a_monitor_of_a_closed_health_gets_a_policy_for_nothing_else() -> None:
    template = load(health_access="closed")
    deployed = Evaluated(template)
    [statement] = deployed.resources["PaymentMonitorPolicy"]["PolicyDocument"]["Statement"]
    arn = "arn:aws:execute-api:eu-central-1:123456789012:<PaymentAPI>/prod/GET/health"
    assert (statement["Action"], statement["Resource"]) == (["execute-api:Invoke"], [arn])
    assert deployed.outputs["MonitorPolicyArn"] == "<PaymentMonitorPolicy>"
    [callers] = deployed.resources["PaymentCallerPolicy"]["PolicyDocument"]["Statement"]
    assert arn not in callers["Resource"]
    for access in ("open", "status"):
        other = load(health_access=access)
        assert "PaymentMonitorPolicy" not in other["Resources"]
        assert "MonitorPolicyArn" not in other["Outputs"]


@pytest.mark.parametrize(
    ("access", "told"), [("open", None), ("status", "status"), ("closed", None)]
)
def test_the_health_monitor_is_told_to_show_the_status_alone(access: str, told: str | None) -> None:
    template = load(health_access=access)
    variables = {
        name: one["Properties"]["Environment"]["Variables"].get("HEALTH_ACCESS")
        for name, one in of_type(template, "AWS::Lambda::Function").items()
    }
    assert variables.pop("HealthMonitorFunction") == told
    assert set(variables.values()) == {None}


# What is refused.


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"endpoint_type": "private"}, "name those that may with endpoint_type private, or none"),
        ({"allowed_vpc_endpoints": ENDPOINT}, "a private API, and no other, is called by VPC"),
        ({"allowed_accounts": FRIEND, "authorization": "none"}, "only who signs has an account"),
        (
            {
                "endpoint_type": "private",
                "allowed_vpc_endpoints": ENDPOINT,
                "vpc_endpoints": OTHER_ENDPOINT,
            },
            "a name is of use to an endpoint that may call",
        ),
        ({"allowed_cidrs": "203.0.113.7"}, "must be a range of addresses, such as 203.0.113.0/24"),
        ({"allowed_cidrs": "203.0.113.7/24"}, "has host bits set"),
        ({"allowed_cidrs": "everywhere/0"}, "must be a range of addresses"),
        ({"allowed_cidrs": "::/0,::/0"}, "has the same value twice"),
        ({"allowed_accounts": "1234"}, "must be the 12 digits of an AWS account"),
        ({"allowed_vpc_endpoints": "vpc-0123456789abcdef0"}, "must be the id of a VPC endpoint"),
        ({"health_access": "shut"}, "must be one of open, status, closed"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(flags: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve(flags, {})
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


# What the stack tells of it, for the next update.


@pytest.mark.parametrize(
    "fields",
    [
        ACCOUNTS,
        CIDRS,
        PRIVATE | {"vpc_endpoints": (ENDPOINT,)},
        ACCOUNTS | CIDRS,
        {"health_access": "closed"},
        {"health_access": "status"},
    ],
)
def test_what_the_resources_say_counts_more_than_the_record(fields: dict[str, Any]) -> None:
    template = load(**fields)
    recorded = template["Resources"]["AlarmTopic"]["Metadata"]["PaymentInfra"]
    for name in fields:
        recorded[name] = "open" if name == "health_access" else []
    values = read_record(template).values
    assert {name: values[name] for name in fields} == fields
