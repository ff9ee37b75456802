from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.diagnosis import (
    ValidationEvent,
    diagnose,
    explain_change_set,
    remedy_of,
    root_cause,
    validation_events,
)
from payment_infra.cloud.events import STACK_TYPE, StackEvent
from tests.aws import FakeAws, Refused

if TYPE_CHECKING:
    from tests.stacks import Answer

NAME = "payment-infra-dev"
CANCELLED = "Resource creation cancelled"


def happened(
    logical_id: str, status: str, reason: str = "", kind: str = "AWS::SQS::Queue"
) -> StackEvent:
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    return StackEvent(f"{logical_id}-{status}", moment, logical_id, kind, status, reason)


def of_stack(status: str, reason: str = "") -> StackEvent:
    return happened(NAME, status, reason, STACK_TYPE)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2)])
def test_the_root_cause_is_what_failed_first_and_was_not_cancelled(
    order: tuple[int, ...],
) -> None:
    failed = [
        happened("A", "CREATE_FAILED", CANCELLED),
        happened("B", "CREATE_FAILED", "Queue already exists"),
        happened("C", "CREATE_FAILED", CANCELLED),
    ]
    rest = [
        of_stack("ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [A, B, C]."),
        happened("D", "DELETE_FAILED", "too late"),
    ]
    cause = root_cause(NAME, [happened("Z", "CREATE_COMPLETE"), *(failed[i] for i in order), *rest])
    assert cause == failed[1]


def test_without_a_failed_resource_the_stack_itself_is_the_cause() -> None:
    own = of_stack("ROLLBACK_IN_PROGRESS", "Stack policy refuses it")
    assert root_cause(NAME, [of_stack("CREATE_IN_PROGRESS"), own]) == own
    assert root_cause(NAME, [of_stack("CREATE_IN_PROGRESS")]) is None


def test_a_diagnosis_tells_where_and_what_to_do() -> None:
    cause = happened("Failed", "CREATE_FAILED", "Queue already exists.")
    diagnosis = diagnose(NAME, [cause], {"Failed": "payment_infra/groups/queues.py"})
    assert diagnosis is not None
    assert diagnosis.template_path == "Resources.Failed"
    assert str(diagnosis) == (
        "Failed (Resources.Failed, built in payment_infra/groups/queues.py): Queue already exists; "
        f"{remedy_of('already exists')}"
    )
    own = diagnose(NAME, [of_stack("CREATE_FAILED", "no")], {})
    assert own is not None
    assert (own.template_path, str(own)) == (None, f"{NAME}: no")


# Messages as the services write them.
@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (
            "User: arn:aws:sts::123456789012:assumed-role/Dev/al is not authorized to perform: "
            "sqs:CreateQueue on resource: arn:aws:sqs:eu-central-1:123456789012:failed",
            "grant sqs:CreateQueue to who deploys",
        ),
        ("API: iam:CreateRole User: x is not authorized to perform: iam:CreateRole", "iam:Create"),
        ("Requires capabilities : [CAPABILITY_NAMED_IAM]", "--capabilities CAPABILITY_NAMED_IAM"),
        (
            "Resource of type 'AWS::DynamoDB::Table' with identifier 'transactions-dev' already "
            "exists. (HandlerErrorCode: AlreadyExists)",
            "choose another --suffix",
        ),
        (
            "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The "
            "specified key does not exist.",
            "`payment-infra upload`",
        ),
        (
            "Error occurred while GetObject. S3 Error Code: PermanentRedirect. S3 Error Message: "
            "The bucket is in this region: us-west-2",
            "the bucket is in another region",
        ),
        (
            "Specified ReservedConcurrentExecutions for function decreases account's "
            "UnreservedConcurrentExecution below its minimum value of [100].",
            "raise its quota",
        ),
        (
            "CloudWatch Logs role ARN must be set in account settings to enable logging",
            "--manage-api-gateway-account",
        ),
        (
            "You must wait 60 seconds after deleting a queue before you can create another with "
            "the same name.",
            "wait a minute",
        ),
        (
            "Resource cannot be deleted as it is currently protected against deletion. Disable "
            "deletion protection first.",
            "--no-deletion-protection",
        ),
        ("Rate exceeded (Service: Lambda, Status Code: 429)", "wait a little"),
    ],
)
def test_a_known_cause_has_a_remedy(reason: str, remedy: str) -> None:
    assert remedy in (remedy_of(reason) or "")


def test_a_cause_that_is_not_known_has_none() -> None:
    assert remedy_of("Something else happened") is None


def test_a_change_set_that_failed_is_explained_with_its_validation() -> None:
    events = [ValidationEvent("Table", "/Resources/Table", "TableName already exists")]
    told = explain_change_set("Validation failed.", events)
    assert told.startswith("Validation failed; Table /Resources/Table: TableName already exists; ")
    assert told.endswith(str(remedy_of("already exists")))
    assert explain_change_set("", []) == "it failed without a reason"


def test_validation_events_are_read_page_by_page_where_the_api_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws = FakeAws()
    client = aws.session().client("cloudformation")
    pages: Iterator[Answer] = iter(
        [
            {
                "OperationEvents": [
                    {"EventType": "STACK_EVENT", "LogicalResourceId": "A"},
                    {
                        "EventType": "VALIDATION_ERROR",
                        "LogicalResourceId": "B",
                        "ValidationPath": "/Resources/B",
                        "ValidationStatusReason": "no",
                    },
                ],
                "NextToken": "more",
            },
            {"OperationEvents": [{"EventType": "VALIDATION_ERROR", "LogicalResourceId": "C"}]},
        ]
    )
    monkeypatch.setattr(aws, "describe_events", lambda _: next(pages))
    change_set = "arn:aws:cloudformation:eu-central-1:123456789012:changeSet/a/1"
    assert validation_events(client, change_set) == (
        ValidationEvent("B", "/Resources/B", "no"),
        ValidationEvent("C", "", ""),
    )
    aws.errors["cloudformation:DescribeEvents"] = Refused("InvalidAction")
    assert validation_events(client, change_set) == ()
