"""Who is told of alarms: the subscriptions of the alarm topic."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from payment_infra import names
from payment_infra.cloud.sdk.errors import translated
from payment_infra.errors import AwsError, UsageError
from payment_infra.names import ALARM_TOPIC

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment

Protocol = Literal["email", "https"]

# What SNS says instead of an ARN (SNS API, ListSubscriptionsByTopic).
PENDING = "PendingConfirmation"


@dataclass(frozen=True)
class Subscription:
    """Who is told: an address or a URL, and how; arn is "" while it is not confirmed."""

    protocol: str
    endpoint: str
    arn: str

    @property
    def confirmed(self) -> bool:
        """Whether the owner of the endpoint has confirmed it."""
        return bool(self.arn)


def find_subscriptions(environment: Environment) -> list[Subscription]:
    """Return every subscription, those that are not confirmed first."""
    topic = environment.resource(ALARM_TOPIC)
    with translated(f"topic {topic}"):
        client = environment.client("sns")
        pages = client.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        found = [
            Subscription(
                protocol=raw["Protocol"],
                endpoint=raw["Endpoint"],
                arn="" if raw["SubscriptionArn"] == PENDING else raw["SubscriptionArn"],
            )
            for page in pages
            for raw in page["Subscriptions"]
        ]
    return sorted(found, key=attrgetter("confirmed", "protocol", "endpoint"))


def subscribe(environment: Environment, protocol: Protocol, endpoint: str) -> Subscription:
    """Subscribe an endpoint; one that has yet to confirm is asked once more."""
    topic = environment.resource(ALARM_TOPIC)
    with translated(f"topic {topic}"):
        answer = environment.client("sns").subscribe(
            TopicArn=topic, Protocol=protocol, Endpoint=endpoint, ReturnSubscriptionArn=False
        )
    arn = answer.get("SubscriptionArn", "")
    return Subscription(protocol, endpoint, arn if arn.startswith("arn:") else "")


def removable(environment: Environment, target: str) -> Subscription:
    """Return the subscription of an endpoint, or with an ARN, if it can be removed here.

    Raises:
        UsageError: there is none, or it is the template's.
        AwsError: it is not confirmed: SNS removes that by itself after 48 hours (SNS, "Deleting a
            subscription").
    """
    found = [
        subscription
        for subscription in find_subscriptions(environment)
        if target in {subscription.endpoint, subscription.arn or None}
    ]
    if not found:
        listing = environment.command("subscribe --list")
        raise UsageError(f"{target} is not subscribed; `{listing}` shows who is")
    subscription = found[-1]
    if subscription.endpoint == environment.state.parameters.get(names.ALARM_EMAIL):
        deploy = environment.command("deploy --alarm-email ''")
        raise UsageError(
            f"{subscription.endpoint} is the stack's own address; `{deploy}` removes it"
        )
    if not subscription.confirmed:
        raise AwsError(
            f"{subscription.endpoint} has not confirmed, so nobody can remove it; SNS forgets it "
            "after 48 hours"
        )
    return subscription


def unsubscribe(environment: Environment, subscription: Subscription) -> None:
    """End a subscription."""
    with translated(f"subscription of {subscription.endpoint}"):
        environment.client("sns").unsubscribe(SubscriptionArn=subscription.arn)
