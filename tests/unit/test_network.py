"""Functions in a VPC: what they get, and what their code does not."""

from __future__ import annotations

from typing import Any

import pytest

from payment_infra.config import PRESETS
from payment_infra.errors import UsageError
from payment_infra.sources import resolve
from tests.unit.template import Evaluated, Json, load, of_type

SUBNETS = ("subnet-0123456789abcdef0", "subnet-01234567")
GROUPS = ("sg-0123456789abcdef0",)
INSIDE: dict[str, Any] = {"subnets": SUBNETS, "security_groups": GROUPS}
FUNCTIONS = {
    "Validation": "payment-validation-dev",
    "Processing": "payment-processing-dev",
    "Lookup": "payment-lookup-dev",
    "Cancellation": "payment-cancellation-dev",
    "Retry": "payment-retry-dev",
    "HealthMonitor": "health-monitor-dev",
}
DESCRIBES = ["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"]
CHANGES = [
    *("ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"),
    *("ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"),
]
EVERY_PRESET = pytest.mark.parametrize("preset", PRESETS)


def network(template: Json, function: str) -> dict[str, Json]:
    """Return the statements of a function's policy that are about EC2, by id."""
    document = Evaluated(template).resources[f"{function}Policy"]["PolicyDocument"]
    return {
        one["Sid"]: one
        for one in document["Statement"]
        if any(action.startswith("ec2:") for action in one["Action"])
    }


@EVERY_PRESET
def test_every_function_is_connected_to_the_same_subnets_and_groups(preset: str) -> None:
    template = load(**{**PRESETS[preset], **INSIDE})
    functions = of_type(template, "AWS::Lambda::Function")
    assert set(functions) == {f"{name}Function" for name in FUNCTIONS}
    for one in functions.values():
        assert one["Properties"]["VpcConfig"] == {
            "SubnetIds": list(SUBNETS),
            "SecurityGroupIds": list(GROUPS),
        }


@pytest.mark.parametrize("function", FUNCTIONS)
def test_lambda_may_manage_network_interfaces_and_the_code_may_not(function: str) -> None:
    allowed = network(load(**INSIDE), function)
    arn = f"arn:aws:lambda:eu-central-1:123456789012:function:{FUNCTIONS[function]}"
    assert allowed == {
        "DescribeNetwork": {
            "Sid": "DescribeNetwork",
            "Effect": "Allow",
            "Action": DESCRIBES,
            "Resource": ["*"],
        },
        "UseNetworkInterfaces": {
            "Sid": "UseNetworkInterfaces",
            "Effect": "Allow",
            "Action": CHANGES,
            "Resource": ["arn:aws:ec2:eu-central-1:123456789012:*/*"],
        },
        "NotForCode": {
            "Sid": "NotForCode",
            "Effect": "Deny",
            "Action": [*DESCRIBES, *CHANGES],
            "Resource": ["*"],
            # What the code calls carries it, and what Lambda itself does not.
            "Condition": {"ArnEquals": {"lambda:SourceFunctionArn": arn}},
        },
    }


@EVERY_PRESET
def test_outside_of_a_vpc_no_role_knows_of_networks(preset: str) -> None:
    template = load(**PRESETS[preset])
    for function in FUNCTIONS:
        assert network(template, function) == {}
        assert "VpcConfig" not in template["Resources"][f"{function}Function"]["Properties"]


def test_connecting_the_functions_changes_functions_policies_and_the_record_alone() -> None:
    before, after = load()["Resources"], load(**INSIDE)["Resources"]
    assert {name for name in after if after[name] != before.get(name)} == {
        *(f"{name}Function" for name in FUNCTIONS),
        *(f"{name}Policy" for name in FUNCTIONS),
        "AlarmTopic",
    }


@pytest.mark.parametrize("one", INSIDE)
def test_subnets_and_security_groups_are_given_together(one: str) -> None:
    assert resolve(INSIDE, {}).config.subnets == SUBNETS
    with pytest.raises(UsageError, match="has subnets and security groups: give both, or none"):
        resolve({one: INSIDE[one]}, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subnets", "subnet-0123"),
        ("subnets", "sg-01234567"),
        ("subnets", "subnet-01234567,subnet-01234567"),
        ("security_groups", "sg-0123456789"),
        ("security_groups", "SG-01234567"),
    ],
)
def test_what_is_no_id_or_comes_twice_is_refused(name: str, value: str) -> None:
    given = {key: ",".join(values) for key, values in INSIDE.items()} | {name: value}
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')}: "):
        resolve(given, {})
