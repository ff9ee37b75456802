"""The topic that every alarm notifies."""

from dataclasses import dataclass

from troposphere import Condition, Equals, Not
from troposphere.sns import SubscriptionResource, Topic

from payment_infra.naming import ALARM_EMAIL, parameter, suffixed

EMAIL_CONDITION = "HasAlarmEmail"


@dataclass(frozen=True)
class Notifications:
    """The topic, and the subscription that exists when an address is given."""

    topic: Topic
    email: SubscriptionResource
    conditions: dict[str, Condition]


def build_notifications() -> Notifications:
    """Build the topic and its optional subscription."""
    topic = Topic(
        "AlarmTopic",
        TopicName=suffixed("payment-alarms"),
        DisplayName="Payment Processing Alarms",
    )
    email = SubscriptionResource(
        "AlarmEmailSubscription",
        Condition=EMAIL_CONDITION,
        TopicArn=topic.ref(),
        Protocol="email",
        Endpoint=parameter(ALARM_EMAIL),
    )
    return Notifications(
        topic=topic,
        email=email,
        conditions={EMAIL_CONDITION: Not(Equals(parameter(ALARM_EMAIL), ""))},
    )
