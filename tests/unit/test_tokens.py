"""Who has begun an operation on a stack."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_infra.cloud.stacks.tokens import began, principal_of, token_of

# ClientRequestToken (CloudFormation API, ExecuteChangeSet).
TOKEN = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]{0,127}")
ACCOUNT = "123456789012"
SSO = "AWSReservedSSO_AdministratorAccess_0123456789abcdef"
# What IAM takes as the name of a user, a role or a session ("IAM and AWS STS quotas").
NAMES = st.text("abcXYZ019_+=,.@-", min_size=1, max_size=64)


@pytest.mark.parametrize(
    ("principal", "name"),
    [
        (
            f"arn:aws:sts::{ACCOUNT}:assumed-role/Deployers/alice@example.com",
            "Deployers/alice@example.com",
        ),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/{SSO}/alice.b@acme.eu", f"{SSO}/alice.b@acme.eu"),
        (f"arn:aws-cn:sts::{ACCOUNT}:federated-user/bob", "bob"),
        (f"arn:aws-us-gov:iam::{ACCOUNT}:user/a/path/bob-1", "bob-1"),
        (f"arn:aws:iam::{ACCOUNT}:root", "root"),
    ],
)
def test_a_token_tells_who_began_and_from_which_account(principal: str, name: str) -> None:
    token = token_of(principal)
    assert TOKEN.fullmatch(token)
    assert token != token_of(principal)
    assert began(token) == f"begun by {name} of account {ACCOUNT} with payment-infra"


@given(NAMES, NAMES)
def test_a_token_holds_the_session_whole_with_its_role_if_there_is_room(
    role: str, session: str
) -> None:
    token = token_of(f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}")
    assert TOKEN.fullmatch(token)
    told = principal_of(token).removesuffix(f" of account {ACCOUNT}")
    assert told == f"{role}/{session}" or session.startswith(told)
    if session.isalnum():
        assert told.endswith(session)


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("payment-infra-alice-example-com-0123456789ab", "alice-example-com"),
        (f"payment-infra-arn-aws-iam-{ACCOUNT}-root-0123456789ab", f"root of account {ACCOUNT}"),
        (f"payment-infra-arn-aws-cn-iam-{ACCOUNT}-root-0123456789ab", f"root of account {ACCOUNT}"),
        ("Console-DeleteStack-1", ""),
        ("payment-infra-", ""),
        ("", ""),
    ],
)
def test_tokens_of_earlier_releases_and_of_others_are_read(token: str, told: str) -> None:
    assert principal_of(token) == told


def test_what_others_have_begun_is_told() -> None:
    assert began("Console-DeleteStack-1") == "begun in the CloudFormation console"
    assert began("terraform-1") == ""
