from __future__ import annotations

import json
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


API = "arn:aws:execute-api:eu-central-1:123456789012"
GROUP = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/apigateway/payment-api-dev"


def differing(path: str, expected: Any, actual: Any, kind: str = "NOT_EQUAL") -> dict[str, Any]:
    texts = [one if isinstance(one, str) else json.dumps(one) for one in (expected, actual)]
    return {
        "PropertyPath": path,
        "ExpectedValue": texts[0],
        "ActualValue": texts[1],
        "DifferenceType": kind,
    }


@pytest.mark.parametrize(
    ("kind", "difference", "by_hand"),
    [
        (
            "AWS::ApiGateway::RestApi",
            differing("/Policy/Statement/0/Resource", ["execute-api:/*"], [f"{API}:api1/*"]),
            False,
        ),
        (
            "AWS::ApiGateway::RestApi",
            differing("/Policy/Statement/0/Resource", ["execute-api:/*"], [f"{API}:other/*"]),
            True,
        ),
        (
            "AWS::ApiGateway::Stage",
            differing("/AccessLogSetting/DestinationArn", f"{GROUP}:*", GROUP),
            False,
        ),
        (
            "AWS::ApiGateway::Stage",
            differing("/AccessLogSetting/DestinationArn", f"{GROUP}:*", f"{GROUP}-2"),
            True,
        ),
        (
            "AWS::ApiGateway::Stage",
            differing("/Tags", [{"Key": "Environment", "Value": "dev"}], None, "REMOVE"),
            False,
        ),
        (
            "AWS::SQS::Queue",
            differing("/Tags", [{"Key": "Environment", "Value": "dev"}], None, "REMOVE"),
            True,
        ),
    ],
    ids=["policy", "another api", "log group", "another group", "stage's tags", "tags"],
)
@pytest.mark.parametrize("complete", [True, False])
def test_what_a_service_stores_otherwise_is_no_drift(
    kind: str,
    difference: dict[str, Any],
    by_hand: bool,
    complete: bool,
    service: dict[str, Any],
    environment: Environment,
) -> None:
    found = resource("PaymentAPI", "MODIFIED", PropertyDifferences=[difference])
    found |= {"ResourceType": kind, "PhysicalResourceId": "api1"}
    service["describe_stack_resource_drifts"] = {"StackResourceDrifts": [found]}
    if not complete:
        service["describe_stack_drift_detection_status"] = {
            **DETECTED,
            "DetectionStatus": "DETECTION_FAILED",
            "DetectionStatusReason": "no permission",
        }
    drift = detect(environment, ignore, ignore)
    assert bool(drift.resources) == by_hand
    assert drift.status == ("DRIFTED" if by_hand else "IN_SYNC" if complete else "UNKNOWN")


def test_of_several_differences_those_that_somebody_has_made_are_shown(
    service: dict[str, Any], environment: Environment
) -> None:
    stage = resource(
        "PaymentAPIStage",
        "MODIFIED",
        PropertyDifferences=[
            differing("/AccessLogSetting/DestinationArn", f"{GROUP}:*", GROUP),
            differing("/TracingEnabled", "true", "false"),
        ],
    )
    service["describe_stack_resource_drifts"] = {"StackResourceDrifts": [stage]}
    [drifted] = detect(environment, ignore, ignore).resources
    assert [one.path for one in drifted.properties] == ["TracingEnabled"]
