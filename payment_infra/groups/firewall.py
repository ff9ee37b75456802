"""The firewall: what AWS WAF refuses before the API sees it, and the log of that."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from troposphere.logs import LogGroup
from troposphere.wafv2 import (
    ActionCondition,
    AllowAction,
    BlockAction,
    Condition,
    CountAction,
    CustomHTTPHeader,
    CustomResponse,
    CustomResponseBody,
    DefaultAction,
    FieldToMatch,
    Filter,
    LoggingConfiguration,
    LoggingConfigurationFieldToMatch,
    LoggingFilter,
    ManagedRuleGroupStatement,
    OverrideAction,
    RateBasedStatement,
    RegexMatchStatement,
    RuleAction,
    RuleActionOverride,
    SingleHeader,
    Statement,
    TextTransformation,
    VisibilityConfig,
    WebACL,
    WebACLAssociation,
    WebACLRule,
)

from payment_infra.config import StackConfig
from payment_infra.groups.encryption import Encryption
from payment_infra.groups.logs import build_log_group, destination_arn
from payment_infra.groups.stage import ApiStage
from payment_infra.names import FIREWALL_ASSOCIATION
from payment_infra.naming import suffixed
from payment_infra.rules import FIREWALL_WINDOW_SECONDS

# AWS's managed groups, each to those of its rules that only count (AWS WAF, "AWS Managed Rules rule
# groups list"). SizeRestrictions_BODY refuses bodies over 8 KB, and the API takes 16 KiB, which is
# also as far as WAF looks into a body for API Gateway ("Considerations for managing body
# inspection"); a merchant's client may have no User-Agent.
MANAGED_GROUPS: Mapping[str, tuple[str, ...]] = {
    "AmazonIpReputationList": (),
    "KnownBadInputsRuleSet": (),
    "CommonRuleSet": ("SizeRestrictions_BODY", "NoUserAgent_HEADER"),
}
# WAF's path has the stage in front, and a custom domain's may have another; API Gateway takes a
# slash at the end for none.
HEALTH_PATH = "/health/?$"
TOO_MANY = "TooMany"
# What lets its holder call the API (Signature Version 4).
SECRET_HEADERS = ("authorization", "x-amz-security-token")


@dataclass(frozen=True)
class Firewall:
    """The web ACL, the stage that it is in front of, and its log."""

    web_acl: WebACL
    log_group: LogGroup
    logging: LoggingConfiguration
    association: WebACLAssociation


def build_firewall(config: StackConfig, encryption: Encryption, stage: ApiStage) -> Firewall | None:
    """Build what filters the requests to the stage, None if nothing does.

    What a managed group refuses, API Gateway answers by its response WAF_FILTERED, which is as
    DEFAULT_4XX (API Gateway, "Gateway response types"); the limits answer by themselves.
    """
    if not config.firewall:
        return None
    limits = (
        _limit("AddressLimit", config.firewall_rate_limit),
        _limit(
            "HealthLimit",
            config.firewall_health_rate_limit,
            ScopeDownStatement=_path_matches(HEALTH_PATH),
        ),
    )
    groups = (_managed(name, counting) for name, counting in MANAGED_GROUPS.items())
    web_acl = WebACL(
        "PaymentAPIFirewall",
        Name=suffixed("payment-api"),
        Description="Filters the requests to the payment API.",
        # Of an edge-optimized API too: its stage is a regional resource (AWS WAF, "Resources that
        # you can protect with AWS WAF").
        Scope="REGIONAL",
        DefaultAction=DefaultAction(Allow=AllowAction()),
        CustomResponseBodies={
            TOO_MANY: CustomResponseBody(
                ContentType="APPLICATION_JSON",
                Content=json.dumps(
                    {"error": "Too many requests", "message": "Your address sends too many"}
                ),
            )
        },
        Rules=[
            WebACLRule(Priority=priority, **rule)
            for priority, rule in enumerate((*limits, *groups))
        ],
        VisibilityConfig=_visibility("PaymentAPIFirewall"),
    )
    log_group = build_log_group(
        config,
        encryption,
        "PaymentAPIFirewallLogGroup",
        # It has to begin so (AWS WAF, "Sending web ACL traffic logs to a CloudWatch Logs log
        # group"), and WAF itself gives the log group the policy that lets it write.
        suffixed("aws-waf-logs-payment-api"),
    )
    logging = LoggingConfiguration(
        "PaymentAPIFirewallLogging",
        ResourceArn=web_acl.get_att("Arn"),
        LogDestinationConfigs=[destination_arn(log_group)],
        RedactedFields=[
            LoggingConfigurationFieldToMatch(SingleHeader=SingleHeader(Name=name))
            for name in SECRET_HEADERS
        ],
        LoggingFilter=LoggingFilter(
            DefaultBehavior="DROP",
            Filters=[
                Filter(
                    Behavior="KEEP",
                    Requirement="MEETS_ANY",
                    Conditions=[
                        Condition(ActionCondition=ActionCondition(Action=action))
                        for action in ("BLOCK", "COUNT")
                    ],
                )
            ],
        ),
    )
    association = WebACLAssociation(
        FIREWALL_ASSOCIATION,
        ResourceArn=stage.arn,
        WebACLArn=web_acl.get_att("Arn"),
    )
    return Firewall(web_acl=web_acl, log_group=log_group, logging=logging, association=association)


def _limit(name: str, limit: int, **properties: object) -> dict[str, object]:
    """Return the rule that an address sends no more than this in five minutes."""
    return {
        "Name": name,
        "Action": RuleAction(
            Block=BlockAction(
                CustomResponse=CustomResponse(
                    ResponseCode=429,
                    CustomResponseBodyKey=TOO_MANY,
                    ResponseHeaders=[
                        CustomHTTPHeader(Name="Retry-After", Value=str(FIREWALL_WINDOW_SECONDS))
                    ],
                )
            )
        ),
        "Statement": Statement(
            RateBasedStatement=RateBasedStatement(
                AggregateKeyType="IP",
                Limit=limit,
                EvaluationWindowSec=FIREWALL_WINDOW_SECONDS,
                **properties,
            )
        ),
        "VisibilityConfig": _visibility(name),
    }


def _managed(name: str, counting: tuple[str, ...]) -> dict[str, object]:
    """Return the rule that a managed group is applied, some of its rules only counting."""
    overrides = [
        RuleActionOverride(Name=rule, ActionToUse=RuleAction(Count=CountAction()))
        for rule in counting
    ]
    return {
        "Name": name,
        # "None" leaves each rule of the group its own action.
        "OverrideAction": OverrideAction(**{"None": {}}),
        "Statement": Statement(
            ManagedRuleGroupStatement=ManagedRuleGroupStatement(
                VendorName="AWS",
                Name=f"AWSManagedRules{name}",
                **({"RuleActionOverrides": overrides} if overrides else {}),
            )
        ),
        "VisibilityConfig": _visibility(name),
    }


def _path_matches(pattern: str) -> Statement:
    """Return the statement that the path, however it is written, matches the pattern."""
    return Statement(
        RegexMatchStatement=RegexMatchStatement(
            RegexString=pattern,
            FieldToMatch=FieldToMatch(UriPath={}),
            TextTransformations=[
                TextTransformation(Priority=priority, Type=kind)
                for priority, kind in enumerate(("URL_DECODE", "NORMALIZE_PATH"))
            ],
        )
    )


def _visibility(name: str) -> VisibilityConfig:
    """Return what is shown of a rule: its metrics, which cost nothing, and no sampled requests,
    which would show the headers that the log does not."""
    return VisibilityConfig(
        CloudWatchMetricsEnabled=True, MetricName=name, SampledRequestsEnabled=False
    )
