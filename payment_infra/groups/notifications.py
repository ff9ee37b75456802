"""The topic that every alarm notifies."""

from dataclasses import dataclass

from awacs import sns
from awacs.aws import Allow, ArnLike, PolicyDocument, Principal, Statement, StringEquals
from awacs.aws import Condition as When
from troposphere import AccountId, Condition, Equals, Not, Sub
from troposphere.sns import SubscriptionResource, Topic, TopicPolicy

from payment_infra.groups.encryption import Encryption
from payment_infra.groups.iam import require_tls
from payment_infra.names import ALARM_EMAIL
from payment_infra.naming import ALARM_ARNS, parameter, suffixed

EMAIL_CONDITION = "HasAlarmEmail"


@dataclass(frozen=True)
class Notifications:
    """The topic, who may publish to it, and the subscription that exists if there is an address."""

    topic: Topic
    policy: TopicPolicy
    email: SubscriptionResource
    conditions: dict[str, Condition]


def build_notifications(encryption: Encryption) -> Notifications:
    """Build the topic; the alarms may publish to it, and roles that are granted it."""
    topic = Topic(
        "AlarmTopic",
        TopicName=suffixed("payment-alarms"),
        DisplayName="Payment Processing Alarms",
        **encryption.by("KmsMasterKeyId"),
    )
    policy = TopicPolicy(
        "AlarmTopicPolicy",
        Topics=[topic.ref()],
        # Without a policy of its own a topic takes messages from everyone in the account.
        PolicyDocument=PolicyDocument(
            Version="2012-10-17",
            Statement=[
                Statement(
                    Sid="AlarmsOfThisAccount",
                    Effect=Allow,
                    Principal=Principal("Service", "cloudwatch.amazonaws.com"),
                    Action=[sns.Publish],
                    Resource=[topic.ref()],
                    Condition=When(
                        [
                            StringEquals("aws:SourceAccount", AccountId),
                            ArnLike("aws:SourceArn", Sub(ALARM_ARNS)),
                        ]
                    ),
                ),
                require_tls(sns.Publish, topic.ref()),
            ],
        ),
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
        policy=policy,
        email=email,
        conditions={EMAIL_CONDITION: Not(Equals(parameter(ALARM_EMAIL), ""))},
    )
