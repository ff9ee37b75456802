from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.environment.callers import (
    Callers,
    Detaching,
    Principal,
    find_callers,
)
from payment_infra.cloud.events import Caution
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.errors import AwsError
from tests.aws import Refused, event

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from tests.aws import FakeAws
    from tests.operators import FakeOperator
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
    assert aws.changes() == []


def destroy(environment: Environment, operator: FakeOperator, *shown: Principal) -> None:
    """Detach the policy from those who were shown, and delete the stack."""
    callers = Callers(ARN, shown)
    with Detaching(environment, callers, operator.tell, lambda _: None) as detaching:
        detaching.detach()
        list(environment.stack.delete(environment.state))


def cautions(operator: FakeOperator) -> list[str]:
    return [one.message for one in operator.of(Caution)]


def test_only_those_who_were_shown_lose_the_policy(
    aws: FakeAws, environment: Environment, operator: FakeOperator
) -> None:
    aws.answers[LISTING] = has(ROLE, USER)
    with pytest.raises(AwsError, match="attached to user ci after the question"):
        destroy(environment, operator, ROLE)
    assert aws.changes() == []


def test_who_lost_it_meanwhile_is_no_error(
    aws: FakeAws, environment: Environment, operator: FakeOperator
) -> None:
    aws.answers |= {LISTING: has(ROLE, USER), "iam:DetachRolePolicy": {}}
    aws.errors["iam:DetachUserPolicy"] = Refused("NoSuchEntity")
    destroy(environment, operator, ROLE, USER)
    assert operator.told == []
    assert aws.changes() == [
        *("iam:DetachRolePolicy", "iam:DetachUserPolicy", "cloudformation:DeleteStack"),
    ]
    assert aws.called("iam:DetachRolePolicy") == [{"PolicyArn": ARN, "RoleName": "Checkout"}]


def test_who_has_lost_it_gets_it_again_if_the_stack_stays(
    aws: FakeAws, environment: Environment, operator: FakeOperator
) -> None:
    aws.answers |= {LISTING: has(ROLE, USER), "iam:DetachRolePolicy": {}}
    aws.answers |= {"iam:DetachUserPolicy": {}, "iam:AttachUserPolicy": {}}
    throttled = iter([Refused("Throttling"), Refused("Throttling")])

    def attach(_: Answer) -> Answer:
        for error in throttled:
            raise error
        return {}

    aws.answers["iam:AttachRolePolicy"] = attach
    aws.errors["cloudformation:DeleteStack"] = Refused("AccessDenied")
    with pytest.raises(AwsError, match="not allowed to call DeleteStack"):
        destroy(environment, operator, ROLE, USER)
    assert cautions(operator) == ["the callers' policy is attached again to role Checkout, user ci"]
    assert aws.called("iam:AttachRolePolicy")[2:] == [{"PolicyArn": ARN, "RoleName": "Checkout"}]
    assert aws.called("iam:AttachUserPolicy") == [{"PolicyArn": ARN, "UserName": "ci"}]


def test_who_could_not_be_detached_is_not_attached_again(
    aws: FakeAws, environment: Environment, operator: FakeOperator
) -> None:
    aws.answers |= {LISTING: has(ROLE, USER), "iam:DetachRolePolicy": {}}
    aws.answers |= {"iam:AttachRolePolicy": {}}
    aws.errors["iam:DetachUserPolicy"] = Refused("AccessDenied", "no")
    with pytest.raises(AwsError, match=r"user ci: not allowed to call DetachUserPolicy \(no"):
        destroy(environment, operator, ROLE, USER)
    assert cautions(operator) == ["the callers' policy is attached again to role Checkout"]


def test_who_cannot_be_attached_again_is_named_with_the_commands(
    aws: FakeAws, environment: Environment, operator: FakeOperator
) -> None:
    aws.answers |= {LISTING: has(ROLE, USER), "iam:DetachRolePolicy": {}}
    aws.answers |= {"iam:DetachUserPolicy": {}, "iam:AttachRolePolicy": {}}
    aws.errors["cloudformation:DeleteStack"] = Refused("AccessDenied")
    aws.errors["iam:AttachUserPolicy"] = Refused("AccessDenied", "no")
    with pytest.raises(AwsError, match="not allowed to call DeleteStack"):
        destroy(environment, operator, ROLE, USER)
    assert cautions(operator) == [
        "user ci lost the callers' policy (user ci: not allowed to call AttachUserPolicy (no)); "
        f"`aws iam attach-user-policy --user-name ci --policy-arn {ARN} --region eu-central-1` "
        "attaches it again"
    ]
    aws.errors["iam:AttachRolePolicy"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        destroy(environment, operator, ROLE, USER)
    told = cautions(operator)[1]
    aws.errors["cloudformation:DeleteStack"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        destroy(environment, operator, ROLE, USER)
    assert cautions(operator)[2:] == [
        "the callers' policy is being attached again to role Checkout, user ci, if the stack "
        "stays; another Ctrl-C leaves it detached",
        told,
    ]
    assert told.startswith("role Checkout, user ci lost the callers' policy (interrupted); ")
    assert f"`aws iam attach-role-policy --role-name Checkout --policy-arn {ARN}" in told


def test_of_a_stack_that_is_being_deleted_nobody_gets_it_again(
    aws: FakeAws, environment: Environment, operator: FakeOperator
) -> None:
    aws.answers |= {LISTING: has(ROLE), "iam:DetachRolePolicy": {}}
    aws.timeline = [("DELETE_FAILED", [event(9, "T", "DELETE_FAILED", "kept")])]
    with pytest.raises(DeploymentFailed):
        destroy(environment, operator, ROLE)
    assert operator.told == []
    assert aws.changes() == ["iam:DetachRolePolicy", "cloudformation:DeleteStack"]
