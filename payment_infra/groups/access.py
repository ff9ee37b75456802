"""The resource policy of the API: from where, and from which accounts, it may be called.

What is not allowed is denied, whatever else allows it. With a policy, a method without
authorization needs an Allow, and so does a caller of another account, besides what its own account
grants it ("How API Gateway resource policies affect authorization workflow"). An Allow for an
account leaves to that account who of it may call (IAM, "AWS JSON policy elements: Principal").
"""

from awacs import execute_api
from awacs.aws import (
    Allow,
    AWSPrincipal,
    Condition,
    ConditionElement,
    Deny,
    NotIpAddress,
    PolicyDocument,
    Principal,
    Statement,
    StringNotEquals,
)
from troposphere import Ref, Sub

from payment_infra.config import StackConfig
from payment_infra.names import GATEWAY_EVENTS_PATH, STAGE_NAME

# API Gateway completes these to ARNs of the API that has the policy ("Access policy language
# overview for Amazon API Gateway").
PAYMENTS = [
    f"execute-api:/{STAGE_NAME}/{method}"
    for method in ("POST/validate", "POST/process", "GET/transactions/*", "POST/cancel")
]
HEALTH = [f"execute-api:/{STAGE_NAME}/GET/health"]
NOTIFICATIONS = [f"execute-api:/{STAGE_NAME}/POST/{GATEWAY_EVENTS_PATH}"]
EVERYTHING = ["execute-api:/*"]


def build_policy(config: StackConfig) -> dict[str, object] | None:
    """Return the resource policy, or None where nothing is restricted.

    A private API has one in any case: it can be called by nobody without ("Invoke a private API").
    """
    private = config.endpoint_type == "private"
    if not (private or config.allowed_accounts or config.allowed_cidrs):
        return None
    statements = [
        _allow("CallPayments", _callers(config, config.authorization == "iam"), PAYMENTS),
        _allow("AskHealth", _callers(config, config.health_access == "closed"), HEALTH),
    ]
    if config.gateway_events:
        statements.append(_allow("Notify", Principal("*"), NOTIFICATIONS))
    if config.allowed_accounts:
        accounts = [Ref("AWS::AccountId"), *config.allowed_accounts]
        others = StringNotEquals("aws:PrincipalAccount", accounts)
        statements.append(_deny("DenyOtherAccounts", others, _signed(config)))
    if private:
        others = StringNotEquals("aws:SourceVpce", list(config.allowed_vpc_endpoints))
        statements.append(_deny("DenyOtherVpcEndpoints", others, EVERYTHING))
    if config.allowed_cidrs:
        # What comes by a VPC endpoint has no other address ("AWS condition keys that can be used in
        # API Gateway resource policies").
        key = "aws:VpcSourceIp" if private else "aws:SourceIp"
        outside = NotIpAddress(key, list(config.allowed_cidrs))
        statements.append(_deny("DenyOtherAddresses", outside, EVERYTHING))
    # The property takes a dict, of which troposphere encodes what is inside.
    document: dict[str, object] = PolicyDocument(
        Version="2012-10-17", Statement=statements
    ).properties
    return document


def _callers(config: StackConfig, signed: bool) -> Principal:
    """Return who may call a method: everybody, or this account and those that are allowed."""
    if not signed:
        return Principal("*")
    accounts = ("${AWS::AccountId}", *config.allowed_accounts)
    return AWSPrincipal(
        [Sub(f"arn:${{AWS::Partition}}:iam::{account}:root") for account in accounts]
    )


def _signed(config: StackConfig) -> list[str]:
    """Return the methods whose callers have an account."""
    return [
        *(PAYMENTS if config.authorization == "iam" else []),
        *(HEALTH if config.health_access == "closed" else []),
    ]


def _allow(sid: str, principal: Principal, resources: list[str]) -> Statement:
    return Statement(
        Sid=sid,
        Effect=Allow,
        Principal=principal,
        Action=[execute_api.Invoke],
        Resource=resources,
    )


def _deny(sid: str, condition: ConditionElement, resources: list[str]) -> Statement:
    return Statement(
        Sid=sid,
        Effect=Deny,
        Principal=Principal("*"),
        Action=[execute_api.Invoke],
        Resource=resources,
        Condition=Condition(condition),
    )
