"""What is encrypted by whose key, who may use that, and what takes nothing without TLS."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.template import Evaluated, load

PRESETS = {"development": {}, "production": {"retain_data": True}}
EVERY_PRESET = pytest.mark.parametrize("preset", PRESETS)


def evaluated(preset: str) -> Evaluated:
    return Evaluated(load(**PRESETS[preset]))


def denied_without_tls(action: str, resource: str) -> dict[str, Any]:
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": [action],
        "Resource": [resource],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


@EVERY_PRESET
def test_both_queues_refuse_every_request_without_tls_and_allow_nothing_by_that(
    preset: str,
) -> None:
    policy = evaluated(preset).resources["QueuesPolicy"]
    assert policy["Queues"] == ["<FailedTransactionsQueue>", "<FailedTransactionsDLQ>"]
    assert policy["PolicyDocument"]["Statement"] == [denied_without_tls("sqs:*", "*")]


@EVERY_PRESET
def test_the_topic_refuses_to_publish_without_tls_and_admits_alarms_as_before(preset: str) -> None:
    policy = evaluated(preset).resources["AlarmTopicPolicy"]
    alarms, without_tls = policy["PolicyDocument"]["Statement"]
    assert without_tls == denied_without_tls("sns:Publish", "<AlarmTopic>")
    assert (alarms["Effect"], alarms["Principal"]) == (
        "Allow",
        {"Service": "cloudwatch.amazonaws.com"},
    )


@EVERY_PRESET
def test_the_dead_letter_queue_takes_messages_of_the_failed_queue_alone(preset: str) -> None:
    resources = evaluated(preset).resources
    name = resources["FailedTransactionsQueue"]["QueueName"]
    assert resources["FailedTransactionsDLQ"]["RedriveAllowPolicy"] == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [f"arn:aws:sqs:eu-central-1:123456789012:{name}"],
    }
