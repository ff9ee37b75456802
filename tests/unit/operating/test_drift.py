from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.operating.drift import PropertyDrift, detect
from tests.stacks import Refused

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from tests.aws import FakeAws

# The shapes of the CloudFormation API Reference.
DETECTED = {
    "StackId": "stack",
    "StackDriftDetectionId": "detection-1",
    "DetectionStatus": "DETECTION_COMPLETE",
    "StackDriftStatus": "DRIFTED",
    "Timestamp": 1,
}


def ignore(_: object) -> None:
    pass


def resource(name: str, status: str, **more: Any) -> dict[str, Any]:
    return {
        "StackId": "stack",
        "LogicalResourceId": name,
        "ResourceType": "AWS::SQS::Queue",
        "StackResourceDriftStatus": status,
        "Timestamp": 1,
        **more,
    }


@pytest.fixture
def service(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return operation to answer, or to what makes one."""
    answers: dict[str, Any] = {
        "detect_stack_drift": {"StackDriftDetectionId": "detection-1"},
        "describe_stack_drift_detection_status": DETECTED,
    }
    for name in (*answers, "describe_stack_resource_drifts"):

        def answer(params: Any, name: str = name) -> Any:
            given = answers[name]
            return given(params) if callable(given) else given

        monkeypatch.setattr(aws, name, answer, raising=False)
    return answers


def test_every_page_of_resources_is_read_and_differences_are_values(
    service: dict[str, Any], environment: Environment
) -> None:
    queue = resource(
        "FailedTransactionsQueue",
        "MODIFIED",
        PropertyDifferences=[
            {
                "PropertyPath": "/RedrivePolicy/maxReceiveCount",
                "ExpectedValue": "3",
                "ActualValue": "9",
                "DifferenceType": "NOT_EQUAL",
            },
            {
                "PropertyPath": "/Tags/0",
                "ExpectedValue": "null",
                "ActualValue": '{"Key":"team","Value":"payments of everybody, everywhere, ever"}',
                "DifferenceType": "ADD",
            },
        ],
    )
    pages = {
        None: {"StackResourceDrifts": [resource("a", "IN_SYNC"), queue], "NextToken": "2"},
        "2": {
            "StackResourceDrifts": [resource("AlarmTopic", "DELETED"), resource("b", "NOT_CHECKED")]
        },
    }
    service["describe_stack_resource_drifts"] = lambda params: pages[params.get("NextToken")]
    drift = detect(environment, ignore, ignore)
    assert (drift.status, drift.checked, drift.not_checked) == ("DRIFTED", 3, 6)
    assert [one.logical_id for one in drift.resources] == ["FailedTransactionsQueue", "AlarmTopic"]
    assert drift.resources[0].properties[0] == PropertyDrift(
        "RedrivePolicy.maxReceiveCount", 3, 9, "NOT_EQUAL"
    )


def test_another_detection_is_waited_for_and_one_that_fails_still_shows_what_it_found(
    service: dict[str, Any], environment: Environment
) -> None:
    starts = iter([True, False])

    def start(_: Any) -> Any:
        if next(starts):
            raise Refused("ValidationError", "Drift detection is already in progress for stack x")
        return {"StackDriftDetectionId": "detection-1"}

    statuses = iter(
        [
            {**DETECTED, "DetectionStatus": "DETECTION_IN_PROGRESS"},
            {
                **DETECTED,
                "DetectionStatus": "DETECTION_FAILED",
                "DetectionStatusReason": "no permission",
            },
        ]
    )
    service["detect_stack_drift"] = start
    service["describe_stack_drift_detection_status"] = lambda _: next(statuses)
    service["describe_stack_resource_drifts"] = {"StackResourceDrifts": [resource("a", "IN_SYNC")]}
    told: list[Any] = []
    drift = detect(environment, ignore, told.append)
    assert len(told) == 2
    assert (drift.status, drift.reason) == ("UNKNOWN", "no permission")
