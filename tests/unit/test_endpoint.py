"""Where the API can be called, by which TLS, and that what changes there reaches the stage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from payment_infra.config import PRESETS, StackConfig
from payment_infra.errors import UsageError
from payment_infra.record import read_record
from payment_infra.sources import resolve
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


# The API's own name.

CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/0123-abcd"
NAMED = {
    "endpoint_type": "regional",
    "domain_name": "pay.example.com",
    "domain_certificate": CERTIFICATE,
}
MUTUAL = NAMED | {"domain_truststore": "s3://trust/ca.pem", "execute_api_endpoint": False}
EDGE = NAMED | {
    "endpoint_type": "edge",
    "domain_certificate": "arn:aws:acm:us-east-1:123456789012:certificate/0123-abcd",
}


def domain(evaluated: Evaluated) -> Json:
    return evaluated.resources["PaymentDomain"]


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("fields", [NAMED, MUTUAL], ids=["regional", "mutual TLS"])
def test_a_domain_name_takes_no_tls_below_1_2_either(
    fields: dict[str, Any], partition: str
) -> None:
    properties = domain(deployed(load(**fields), partition))
    [kind] = properties["EndpointConfiguration"]["Types"]
    endpoints, versions = TAKES[properties["SecurityPolicy"]]
    assert (kind in endpoints, versions) == (True, {"1.2", "1.3"})
    enhanced = properties["SecurityPolicy"].startswith("SecurityPolicy_")
    assert ("EndpointAccessMode" in properties) == enhanced


def test_a_domain_name_leads_to_the_stage_and_the_outputs_say_so() -> None:
    found = deployed(load(**NAMED))
    assert domain(found)["DomainName"] == "pay.example.com"
    assert domain(found)["RegionalCertificateArn"] == CERTIFICATE
    assert found.resources["PaymentDomainMapping"] == {
        "DomainName": "<PaymentDomain>",
        "RestApiId": "<PaymentAPI>",
        "Stage": "<PaymentAPIStage>",
    }
    told = {name: found.outputs[name] for name in ("APIEndpoint", *DNS)}
    assert told == {
        "APIEndpoint": "https://<PaymentDomain>/",
        "DomainTarget": "<PaymentDomain.RegionalDomainName>",
        "DomainHostedZoneId": "<PaymentDomain.RegionalHostedZoneId>",
    }


DNS = ("DomainTarget", "DomainHostedZoneId")


def test_an_edge_optimized_name_has_the_certificate_and_the_target_of_one() -> None:
    found = deployed(load(**EDGE))
    assert domain(found)["CertificateArn"] == EDGE["domain_certificate"]
    assert "RegionalCertificateArn" not in domain(found)
    assert domain(found)["SecurityPolicy"] == "SecurityPolicy_TLS12_PFS_2025_EDGE"
    assert [found.outputs[name] for name in DNS] == [
        "<PaymentDomain.DistributionDomainName>",
        "<PaymentDomain.DistributionHostedZoneId>",
    ]


def test_mutual_tls_asks_for_certificates_that_the_truststore_signs() -> None:
    found = deployed(load(**MUTUAL))
    assert domain(found)["MutualTlsAuthentication"] == {"TruststoreUri": "s3://trust/ca.pem"}
    # "You can't enable mutual TLS on a domain name that uses an enhanced security policy."
    assert domain(found)["SecurityPolicy"] == "TLS_1_2"
    assert api(found)["DisableExecuteApiEndpoint"] is True
    assert "MutualTlsAuthentication" not in domain(deployed(load(**NAMED)))


def test_api_gateways_own_name_is_open_unless_it_is_closed_and_that_makes_a_deployment() -> None:
    closed = load(**NAMED, execute_api_endpoint=False)
    assert api(deployed(closed))["DisableExecuteApiEndpoint"] is True
    for template in (load(), load(**NAMED)):
        assert "DisableExecuteApiEndpoint" not in api(deployed(template))
    assert deployment_id(closed) != deployment_id(load(**NAMED)) == deployment_id(load(**REGIONAL))


def test_without_a_domain_name_there_is_none_and_no_output_of_it() -> None:
    for preset in PRESETS:
        template = load(**PRESETS[preset])
        assert not of_type(template, "AWS::ApiGateway::DomainName")
        assert not set(DNS) & set(template["Outputs"])


@pytest.mark.parametrize("region", [region for region, _ in PARTITIONS.values()])
@pytest.mark.parametrize("fields", [NAMED, MUTUAL], ids=["regional", "mutual TLS"])
def test_cfn_lint_finds_nothing_in_a_domain_name(fields: dict[str, Any], region: str) -> None:
    found = lint(json.dumps(load(**fields)), config=ManualArgs(regions=[region]))
    assert [str(match) for match in found] == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"domain_name": "pay.example.com"}, "a domain name needs its certificate"),
        ({"domain_certificate": CERTIFICATE}, "a domain name needs its certificate"),
        (EDGE | {"domain_certificate": CERTIFICATE}, "takes a certificate of us-east-1"),
        (
            NAMED | {"endpoint_type": "private", "allowed_vpc_endpoints": ENDPOINTS[0]},
            "a private API gets no domain name here",
        ),
        (
            {"domain_truststore": "s3://trust/ca.pem", "endpoint_type": "regional"},
            "a regional domain name, and nothing else, can ask for client certificates",
        ),
        (EDGE | {"domain_truststore": "s3://trust/ca.pem"}, "with endpoint_type regional"),
        (MUTUAL | {"execute_api_endpoint": True}, "asks for no client certificate; close it"),
        ({"execute_api_endpoint": False}, "the API needs another; give a domain_name"),
        (NAMED | {"domain_name": "Pay.example.com"}, "must be a domain name in lower case"),
        (NAMED | {"domain_name": "localhost"}, "must be a domain name in lower case"),
        (NAMED | {"domain_certificate": "arn:aws:iam::1:server-certificate/x"}, "must be the ARN"),
        (MUTUAL | {"domain_truststore": "https://trust/ca.pem"}, "must be an object in S3"),
    ],
)
def test_a_domain_name_that_could_not_be_made_is_refused_in_a_line(
    fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError) as refused:
        resolve(fields, {})
    assert told in str(refused.value)


@pytest.mark.parametrize("fields", [NAMED, EDGE, MUTUAL])
def test_the_domain_name_is_recorded_by_what_the_resources_say(fields: dict[str, Any]) -> None:
    template = load(**fields)
    recorded = template["Resources"]["AlarmTopic"]["Metadata"]["PaymentInfra"]
    recorded |= {name: "" for name in fields if name.startswith("domain_")}
    values = read_record(template).values
    assert {name: values[name] for name in fields} == fields
