from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.operations.callers import Callers, Principal, detach, find_callers
from payment_infra.errors import AwsError
from tests.aws import Refused

if TYPE_CHECKING:
    from tests.aws import FakeAws
    from tests.stacks import Answer

ARN = "arn:aws:iam::123456789012:policy/payment-infra-dev-PaymentCallerPolicy-1"
ROLE, USER = Principal("role", "Checkout"), Principal("user", "ci")
LISTING = "iam:ListEntitiesForPolicy"


def has(*principals: Principal) -> Answer:
    """Return what IAM answers if these have the policy."""
    return {
        f"Policy{kind}s": [
            {f"{kind}Name": one.name, f"{kind}Id": "A"}
            for one in principals
            if one.kind == kind.lower()
        ]
        for kind in ("Role", "User", "Group")
    }


def client(aws: FakeAws) -> Any:
    return aws.session().client("iam")


def test_everybody_who_has_the_policy_is_found_on_every_page(aws: FakeAws) -> None:
    def page(params: Answer) -> Answer:
        assert params["PolicyUsageFilter"] == "PermissionsPolicy"
        if "Marker" in params:
            return has(USER)
        return {**has(ROLE), "IsTruncated": True, "Marker": "more"}

    aws.answers[LISTING] = page
    assert find_callers(client(aws), ARN) == Callers(ARN, (ROLE, USER))


def test_a_policy_that_is_gone_has_nobody_and_of_none_nothing_is_asked(aws: FakeAws) -> None:
    assert find_callers(client(aws), ARN) == Callers(ARN)
    calls = len(aws.calls)
    assert find_callers(client(aws), "") == Callers()
    assert len(aws.calls) == calls


def test_who_may_not_look_is_told_why_nobody_can_tell(aws: FakeAws) -> None:
    aws.errors[LISTING] = Refused("AccessDenied", "no")
    found = find_callers(client(aws), ARN)
    assert found.principals == ()
    assert found.unknown == f"policy {ARN}: not allowed to call ListEntitiesForPolicy (no)"
    detach(client(aws), found)
    assert aws.changes() == []


def test_only_those_who_were_shown_lose_the_policy(aws: FakeAws) -> None:
    aws.answers[LISTING] = has(ROLE, USER)
    with pytest.raises(AwsError, match="attached to user ci after the question"):
        detach(client(aws), Callers(ARN, (ROLE,)))
    assert aws.changes() == []


def test_who_lost_it_meanwhile_is_no_error(aws: FakeAws) -> None:
    aws.answers |= {LISTING: has(ROLE), "iam:DetachRolePolicy": {}}
    detach(client(aws), Callers(ARN, (ROLE, USER)))
    assert aws.changes() == ["iam:DetachRolePolicy"]
    aws.errors["iam:DetachRolePolicy"] = Refused("NoSuchEntity")
    detach(client(aws), Callers(ARN, (ROLE,)))
    aws.errors["iam:DetachRolePolicy"] = Refused("AccessDenied", "no")
    with pytest.raises(AwsError, match=r"role Checkout: not allowed to call DetachRolePolicy \(no"):
        detach(client(aws), Callers(ARN, (ROLE,)))
