from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from payment_infra import names
from payment_infra.cloud.operating.subscriptions import (
    PENDING,
    find_subscriptions,
    removable,
    subscribe,
)
from payment_infra.errors import AwsError, UsageError

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from tests.aws import FakeAws


def raw(endpoint: str, arn: str) -> dict[str, Any]:
    return {
        "SubscriptionArn": arn,
        "Owner": "1",
        "Protocol": "email",
        "Endpoint": endpoint,
        "TopicArn": "topic",
    }


@pytest.fixture(autouse=True)
def subscribed(aws: FakeAws) -> None:
    every = [raw(f"{n:03}@example.com", f"arn:aws:sns:::{n}") for n in range(150)]
    every += [raw("new@example.com", PENDING), raw("own@example.com", "arn:aws:sns:::own")]

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        start = int(params.get("NextToken", "0"))
        left = {"NextToken": str(start + 100)} if start + 100 < len(every) else {}
        return {"Subscriptions": every[start : start + 100], **left}

    aws.answers["sns:ListSubscriptionsByTopic"] = answer
    parameters = aws.stacks["payment-infra-dev"].parameters
    parameters[names.ALARM_EMAIL] = "own@example.com"


def test_everybody_is_listed_past_the_first_page_and_who_has_to_confirm_first(
    environment: Environment,
) -> None:
    found = find_subscriptions(environment)
    assert len(found) == 152
    assert [one.endpoint for one in found if not one.confirmed] == ["new@example.com"]
    assert found[0].endpoint == "new@example.com"


def test_what_can_be_removed_and_what_cannot(environment: Environment) -> None:
    assert removable(environment, "149@example.com").arn == "arn:aws:sns:::149"
    assert removable(environment, "arn:aws:sns:::7").endpoint == "007@example.com"
    with pytest.raises(AwsError, match="SNS forgets it after 48 hours"):
        removable(environment, "new@example.com")
    with pytest.raises(UsageError, match="deploy --alarm-email '' --suffix dev`"):
        removable(environment, "own@example.com")
    with pytest.raises(
        UsageError, match=r"nobody@example\.com is not subscribed; `.*--list --suffix dev`"
    ):
        removable(environment, "nobody@example.com")


def test_an_endpoint_that_must_confirm_is_not_confirmed(
    aws: FakeAws, environment: Environment
) -> None:
    aws.answers["sns:Subscribe"] = {"SubscriptionArn": "pending confirmation"}
    assert not subscribe(environment, "email", "a@example.com").confirmed
    [call] = aws.called("sns:Subscribe")
    assert (call["Protocol"], call["Endpoint"]) == ("email", "a@example.com")
