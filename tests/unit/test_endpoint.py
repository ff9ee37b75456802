"""Where the API can be called, by which TLS, and that what changes there reaches the stage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from payment_infra.config import PRESETS, StackConfig
from payment_infra.record import read_record
from tests.unit.template import Evaluated, Json, load, of_type

PARTITIONS = {
    "aws": ("eu-central-1", "amazonaws.com"),
    "aws-us-gov": ("us-gov-west-1", "amazonaws.com"),
    "aws-cn": ("cn-north-1", "amazonaws.com.cn"),
}
TYPES = ("edge", "regional", "private")
ENDPOINTS = ("vpce-0123456789abcdef0",)
# What each policy takes, and for which endpoints it is ("Supported security policies").
TAKES = {
    "SecurityPolicy_TLS12_PFS_2025_EDGE": ({"EDGE"}, {"1.2", "1.3"}),
    "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09": ({"REGIONAL", "PRIVATE"}, {"1.2", "1.3"}),
    "TLS_1_2": ({"REGIONAL", "PRIVATE"}, {"1.2", "1.3"}),
}


def endpoint(kind: str, **fields: Any) -> dict[str, Any]:
    """Return the settings that make an endpoint of a type."""
    private = {"allowed_vpc_endpoints": ENDPOINTS} if kind == "private" else {}
    return {"endpoint_type": kind} | private | fields


def deployed(template: Json, partition: str = "aws") -> Evaluated:
    region, suffix = PARTITIONS[partition]
    pseudo = {"AWS::Partition": partition, "AWS::Region": region, "AWS::URLSuffix": suffix}
    return Evaluated(template, **pseudo)


def api(evaluated: Evaluated) -> Json:
    return evaluated.resources["PaymentAPI"]


def deployment_id(template: Json) -> str:
    [name] = of_type(template, "AWS::ApiGateway::Deployment")
    return name


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("kind", TYPES)
def test_no_endpoint_takes_tls_below_1_2_in_any_partition(kind: str, partition: str) -> None:
    properties = api(deployed(load(**endpoint(kind)), partition))
    [found] = properties["EndpointConfiguration"]["Types"]
    endpoints, versions = TAKES[properties["SecurityPolicy"]]
    assert found in endpoints
    assert versions == {"1.2", "1.3"}


@pytest.mark.parametrize("preset", PRESETS)
def test_both_presets_take_the_enhanced_policy_where_there_is_one(preset: str) -> None:
    properties = api(deployed(load(**PRESETS[preset])))
    assert properties["SecurityPolicy"].startswith("SecurityPolicy_")
    assert properties["EndpointAccessMode"] == "BASIC"


@pytest.mark.parametrize(("preset", "kind"), [("development", "EDGE"), ("production", "REGIONAL")])
def test_an_endpoint_is_of_its_type_in_the_commercial_regions(preset: str, kind: str) -> None:
    properties = api(deployed(load(**PRESETS[preset])))
    assert properties["EndpointConfiguration"] == {"Types": [kind]}


@pytest.mark.parametrize("partition", ["aws-us-gov", "aws-cn"])
@pytest.mark.parametrize("kind", TYPES)
def test_elsewhere_nothing_is_edge_optimized_and_no_policy_is_enhanced(
    kind: str, partition: str
) -> None:
    properties = api(deployed(load(**endpoint(kind)), partition))
    expected = {"edge": "REGIONAL", "regional": "REGIONAL", "private": "PRIVATE"}[kind]
    assert properties["EndpointConfiguration"]["Types"] == [expected]
    assert properties["SecurityPolicy"] == "TLS_1_2"
    # A legacy policy has no access mode ("Security policies for REST APIs in API Gateway").
    assert "EndpointAccessMode" not in properties


def test_strict_is_said_with_the_enhanced_policy() -> None:
    template = load(endpoint_type="regional", endpoint_access_mode="strict")
    assert api(deployed(template))["EndpointAccessMode"] == "STRICT"
    assert "EndpointAccessMode" not in api(deployed(template, "aws-cn"))


REGIONAL = {"endpoint_type": "regional"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({}, REGIONAL, id="type and policy"),
        pytest.param(REGIONAL, REGIONAL | {"endpoint_access_mode": "strict"}, id="access mode"),
        pytest.param({}, {"allowed_accounts": ("210987654321",)}, id="policy"),
        pytest.param(
            {"allowed_cidrs": ("10.0.0.0/8",)}, {"allowed_cidrs": ("10.0.0.0/16",)}, id="addresses"
        ),
        pytest.param({}, {"health_access": "closed"}, id="health"),
    ],
)
def test_what_the_api_says_of_its_endpoint_makes_a_new_deployment(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert deployment_id(load(**before)) != deployment_id(load(**after))


@pytest.mark.parametrize(
    "fields", [{"retain_data": True}, {"runtime": "python3.12"}, {"tags": {"Team": "payments"}}]
)
def test_what_is_no_part_of_a_deployments_snapshot_makes_none(fields: dict[str, Any]) -> None:
    assert deployment_id(load(**fields)) == deployment_id(load())


@pytest.mark.parametrize("region", [region for region, _ in PARTITIONS.values()])
@pytest.mark.parametrize("kind", TYPES)
def test_cfn_lint_finds_nothing_in_any_partition(kind: str, region: str) -> None:
    found = lint(json.dumps(load(**endpoint(kind))), config=ManualArgs(regions=[region]))
    assert [str(match) for match in found] == []


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("mode", ["basic", "strict"])
def test_the_endpoint_is_recorded_by_what_the_api_itself_says(kind: str, mode: str) -> None:
    config = endpoint(kind, endpoint_access_mode=mode)
    template = load(**config)
    template["Resources"]["AlarmTopic"]["Metadata"]["PaymentInfra"] |= {
        "endpoint_type": "edge",
        "endpoint_access_mode": "basic",
    }
    values = read_record(template).values
    assert {name: values[name] for name in config} == config


def test_an_api_of_an_earlier_release_is_edge_optimized_and_takes_basic() -> None:
    template = load(endpoint_type="regional")
    template["Resources"]["PaymentAPI"]["Properties"] = {
        "EndpointConfiguration": {"Types": ["EDGE"]}
    }
    values = read_record(template).values
    default = StackConfig()
    assert values["endpoint_type"] == default.endpoint_type == "edge"
    assert values["endpoint_access_mode"] == default.endpoint_access_mode == "basic"
