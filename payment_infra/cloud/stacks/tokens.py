"""Who has begun an operation on a stack, as far as its ClientRequestToken tells."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

PREFIX = "payment-infra-"
# What a token may be (CloudFormation API, ExecuteChangeSet: ClientRequestToken).
MAX_LENGTH = 128
NONCE_LENGTH = 12
# What the tokens of others begin with: the console's (CloudFormation API, StackEvent), and those of
# the AWS CDK (aws-cdk, deploy-stack.ts).
OTHERS = {"Console-": "in the CloudFormation console", "exec": "with the AWS CDK"}
# An account, and a name in which a hyphen is two, and what is neither letter nor digit is one with
# two hexadecimal digits. No token of an earlier release has two hyphens there.
WRITTEN = re.compile(rf"{PREFIX}-(?P<account>\d{{12}})-(?P<name>.+)-[0-9a-f]{{{NONCE_LENGTH}}}")
ESCAPED = re.compile(r"-(-|[0-9A-F]{2})")
# Those of an earlier release have the name alone, with one hyphen for all else, and the whole ARN
# of a root user.
EARLIER = re.compile(rf"{PREFIX}(?P<name>.+)-[0-9a-f]{{{NONCE_LENGTH}}}")
EARLIER_ROOT = re.compile(r"arn-aws[a-z-]*-iam-(?P<account>\d{12})-root")


def token_of(principal: str) -> str:
    """Return a ClientRequestToken that says who began an operation.

    Args:
        principal: the caller's ARN, as sts gives it: of a user, the root user, or a session, which
            has its role's name, too.
    """
    account, _, resource = principal.partition("::")[2].partition(":")
    start, end = f"{PREFIX}-{account}-", f"-{uuid.uuid4().hex[:NONCE_LENGTH]}"
    room = MAX_LENGTH - len(start) - len(end)
    kind, _, name = resource.partition("/")
    last = name.rpartition("/")[2] or kind
    whole = name if kind == "assumed-role" else last
    written = "".join(_escaped(whole))
    if len(written) > room:  # then without the role's
        written = ""
        for part in _escaped(last):
            if len(written) + len(part) > room:
                break
            written += part
    return f"{start}{written}{end}"


def principal_of(token: str) -> str:
    """Return who began an operation, as far as its token says; "" if it was not this tool.

    As `Deployers/alice of account 123456789012`: a role and its session, a user, or `root`.
    """
    if found := WRITTEN.fullmatch(token):
        name = ESCAPED.sub(_character, found["name"])
        return f"{name} of account {found['account']}"
    if found := EARLIER.fullmatch(token):
        root = EARLIER_ROOT.fullmatch(found["name"])
        return f"root of account {root['account']}" if root else found["name"]
    return ""


def began(token: str) -> str:
    """Say who began an operation, as `begun by alice of account 123456789012 with payment-infra`.

    "" if nobody can tell.
    """
    if principal := principal_of(token):
        return f"begun by {principal} with payment-infra"
    how = next((how for start, how in OTHERS.items() if token.startswith(start)), "")
    return how and f"begun {how}"


def _escaped(name: str) -> Iterator[str]:
    """Yield each character as it is written in a token."""
    for byte in name.encode():
        character = chr(byte)
        if character == "-":
            yield "--"
        else:
            yield character if character.isascii() and character.isalnum() else f"-{byte:02X}"


def _character(escape: re.Match[str]) -> str:
    return "-" if escape[1] == "-" else chr(int(escape[1], 16))
