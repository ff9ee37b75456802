"""Who has begun an operation on a stack, as far as its ClientRequestToken tells."""

from __future__ import annotations

import re
import uuid

PREFIX = "payment-infra-"
# What the tokens of others begin with: the console's (CloudFormation API, StackEvent), and those of
# the AWS CDK (aws-cdk, deploy-stack.ts).
OTHERS = {"Console-": "in the CloudFormation console", "exec": "with the AWS CDK"}


def token_of(principal: str) -> str:
    """Return a ClientRequestToken that says who began an operation.

    Args:
        principal: the caller's ARN, as sts gives it; its last part is the user or the session.
    """
    name = re.sub(r"[^a-zA-Z0-9]+", "-", principal.rpartition("/")[2]).strip("-")[:64]
    return f"{PREFIX}{name}-{uuid.uuid4().hex[:12]}"


def principal_of(token: str) -> str:
    """Return who began an operation, as far as its token says; "" if it was not this tool."""
    if not token.startswith(PREFIX):
        return ""
    return token.removeprefix(PREFIX).rpartition("-")[0]


def began(token: str) -> str:
    """Say who began an operation, as `begun by alice with payment-infra`; "" if nobody can tell."""
    if principal := principal_of(token):
        return f"begun by {principal} with payment-infra"
    how = next((how for start, how in OTHERS.items() if token.startswith(start)), "")
    return how and f"begun {how}"
