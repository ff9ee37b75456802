"""What the firewall refuses, counts, answers and logs."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest

from payment_infra.combinations import conflicts
from payment_infra.config import PRESETS, StackConfig
from payment_infra.errors import UsageError
from payment_infra.sources import resolve
from tests.unit.template import Evaluated, Json, load, of_type

PRODUCTION = Evaluated(load(**PRESETS["production"]))
WEB_ACL = PRODUCTION.resources["PaymentAPIFirewall"]
RULES: dict[str, Json] = {rule["Name"]: rule for rule in WEB_ACL["Rules"]}
# What a rule uses of the 1,500 capacity units that a web ACL has (AWS WAF, "AWS Managed Rules rule
# groups list", "Rate-based rule statement", "Regex match rule statement").
CAPACITY_UNITS = {
    "AddressLimit": 2,
    "HealthLimit": 2 + 3 + 2 * 10,
    "AmazonIpReputationList": 25,
    "KnownBadInputsRuleSet": 200,
    "CommonRuleSet": 700,
}


def test_development_has_no_firewall_and_no_certificate() -> None:
    template = load()
    kinds = {one["Type"] for one in template["Resources"].values()}
    assert not [kind for kind in kinds if kind.startswith("AWS::WAFv2::")]
    assert "AWS::ApiGateway::ClientCertificate" not in kinds
    assert "ClientCertificateId" not in template["Resources"]["PaymentAPIStage"]["Properties"]


def test_the_web_acl_is_regional_and_stands_before_the_stage() -> None:
    assert (WEB_ACL["Name"], WEB_ACL["Scope"]) == ("payment-api-dev", "REGIONAL")
    assert WEB_ACL["DefaultAction"] == {"Allow": {}}
    assert PRODUCTION.resources["PaymentAPIFirewallAssociation"] == {
        "ResourceArn": "arn:aws:apigateway:eu-central-1::/restapis/<PaymentAPI>"
        "/stages/<PaymentAPIStage>",
        "WebACLArn": "<PaymentAPIFirewall.Arn>",
    }


def test_the_rules_come_one_after_another_and_fit_a_web_acl() -> None:
    assert [rule["Priority"] for rule in WEB_ACL["Rules"]] == list(range(len(RULES)))
    assert list(RULES) == list(CAPACITY_UNITS)
    assert sum(CAPACITY_UNITS.values()) <= 1500


@pytest.mark.parametrize(
    ("group", "counting"),
    [
        ("AmazonIpReputationList", []),
        ("KnownBadInputsRuleSet", []),
        ("CommonRuleSet", ["SizeRestrictions_BODY", "NoUserAgent_HEADER"]),
    ],
)
def test_a_managed_group_refuses_but_for_what_the_contract_takes(
    group: str, counting: list[str]
) -> None:
    rule = RULES[group]
    statement = rule["Statement"]["ManagedRuleGroupStatement"]
    assert (statement["VendorName"], statement["Name"]) == ("AWS", f"AWSManagedRules{group}")
    assert rule["OverrideAction"] == {"None": {}}
    assert "Version" not in statement
    assert statement.get("RuleActionOverrides", []) == [
        {"Name": name, "ActionToUse": {"Count": {}}} for name in counting
    ]


def test_an_address_is_limited_in_all_and_lower_on_health() -> None:
    found = {name: RULES[name]["Statement"]["RateBasedStatement"] for name in list(RULES)[:2]}
    for statement in found.values():
        assert statement["AggregateKeyType"] == "IP"
        assert statement["EvaluationWindowSec"] == 300
    assert {name: one["Limit"] for name, one in found.items()} == {
        "AddressLimit": 650_000,
        "HealthLimit": 300,
    }
    assert "ScopeDownStatement" not in found["AddressLimit"]


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("/prod/health", True),
        ("/prod/health/", True),
        ("/prod/%68ealth", True),
        ("/health", True),
        ("/payments/health", True),
        ("/prod/validate", False),
        ("/prod/process", False),
        ("/prod/healthy", False),
        ("/prod/health/more", False),
    ],
)
def test_the_limit_on_health_is_for_its_path_however_it_is_written(
    path: str, matches: bool
) -> None:
    scope = RULES["HealthLimit"]["Statement"]["RateBasedStatement"]["ScopeDownStatement"]
    regex = scope["RegexMatchStatement"]
    assert regex["FieldToMatch"] == {"UriPath": {}}
    kinds = {one["Priority"]: one["Type"] for one in regex["TextTransformations"]}
    assert kinds == {0: "URL_DECODE", 1: "NORMALIZE_PATH"}
    assert (re.search(regex["RegexString"], unquote(path)) is not None) == matches


@pytest.mark.parametrize("name", ["AddressLimit", "HealthLimit"])
def test_a_limit_answers_in_the_shape_of_the_api(name: str) -> None:
    response = RULES[name]["Action"]["Block"]["CustomResponse"]
    assert response["ResponseCode"] == 429
    assert response["ResponseHeaders"] == [{"Name": "Retry-After", "Value": "300"}]
    body = WEB_ACL["CustomResponseBodies"][response["CustomResponseBodyKey"]]
    assert body["ContentType"] == "APPLICATION_JSON"
    assert sorted(json.loads(body["Content"])) == ["error", "message"]


def test_what_a_managed_group_refuses_is_answered_by_the_api_in_its_shape() -> None:
    # API Gateway, "Gateway response types": WAF_FILTERED is DEFAULT_4XX where it is not specified.
    answers = {
        one["ResponseType"]: one["ResponseTemplates"]["application/json"]
        for name, one in PRODUCTION.resources.items()
        if name in of_type(load(**PRESETS["production"]), "AWS::ApiGateway::GatewayResponse")
    }
    assert "WAF_FILTERED" not in answers
    assert answers["DEFAULT_4XX"] == (
        '{"error":"Request refused","message":$context.error.messageString}'
    )


def test_the_log_has_what_was_refused_or_counted_without_what_signs_a_request() -> None:
    assert PRODUCTION.resources["PaymentAPIFirewallLogging"] == {
        "ResourceArn": "<PaymentAPIFirewall.Arn>",
        "LogDestinationConfigs": [
            "arn:aws:logs:eu-central-1:123456789012:log-group:<PaymentAPIFirewallLogGroup>"
        ],
        "RedactedFields": [
            {"SingleHeader": {"Name": "authorization"}},
            {"SingleHeader": {"Name": "x-amz-security-token"}},
        ],
        "LoggingFilter": {
            "DefaultBehavior": "DROP",
            "Filters": [
                {
                    "Behavior": "KEEP",
                    "Requirement": "MEETS_ANY",
                    "Conditions": [
                        {"ActionCondition": {"Action": "BLOCK"}},
                        {"ActionCondition": {"Action": "COUNT"}},
                    ],
                }
            ],
        },
    }
    group = PRODUCTION.resources["PaymentAPIFirewallLogGroup"]
    assert group["LogGroupName"] == "aws-waf-logs-payment-api-dev"
    assert len("aws-waf-logs-payment-api-" + "a" * 30) <= 512


def test_nothing_shows_samples_of_requests_with_their_headers() -> None:
    for shown in (
        WEB_ACL["VisibilityConfig"],
        *(one["VisibilityConfig"] for one in RULES.values()),
    ):
        assert shown["SampledRequestsEnabled"] is False
        assert shown["CloudWatchMetricsEnabled"] is True


def test_the_stage_has_a_client_certificate() -> None:
    assert PRODUCTION.resources["PaymentAPIStage"]["ClientCertificateId"] == (
        "<PaymentAPICertificate>"
    )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, set()),
        ({"firewall_rate_limit": 604_000}, set()),
        ({"firewall_rate_limit": 603_999}, {"throttle_rate_limit"}),
        ({"throttle_rate_limit": 1_100}, {"throttle_rate_limit"}),
        ({"throttle_rate_limit": 1_100, "firewall_rate_limit": 664_000}, set()),
        ({"throttle_burst_limit": 30_000}, {"throttle_rate_limit"}),
        # Without the firewall its limits limit nothing.
        ({"firewall": False, "firewall_rate_limit": 1000}, set()),
        ({"firewall_health_rate_limit": 650_001}, {"firewall_health_rate_limit"}),
    ],
)
def test_a_merchant_is_not_limited_below_what_the_api_admits(
    settings: dict[str, Any], named: set[str]
) -> None:
    broken = conflicts(StackConfig(**{"firewall": True, **settings}))
    assert {name for one in broken for name in one.fields} >= named
    assert bool(broken) == bool(named)


def test_a_limit_that_is_too_low_is_refused_with_where_it_came_from() -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"preset": "production", "throttle_rate_limit": 5000}, {})
    assert str(refused.value) == (
        "firewall_rate_limit (from preset production), throttle_rate_limit (from"
        " --throttle-rate-limit), throttle_burst_limit (from preset production): the firewall"
        " admits less from one address than the API does; give a firewall_rate_limit of at least"
        " 2 x (300 x throttle_rate_limit + throttle_burst_limit)"
    )
