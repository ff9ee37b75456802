from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from payment_infra.cli.deploy import command as deploy_command
from payment_infra.cloud.events import STACK_TYPE, StackEvent
from payment_infra.cloud.stacks.diagnosis import (
    KEPT,
    NAME_TAKEN,
    REMEDIES,
    ValidationEvent,
    diagnose,
    explain_change_set,
    remedy_of,
    root_cause,
    validation_events,
)
from tests.aws import FakeAws, Refused

if TYPE_CHECKING:
    from tests.stacks import Answer

NAME = "payment-infra-dev"
FLAGS = "--suffix dev --region eu-west-1"
CANCELLED = "Resource creation cancelled"
CHANGE_SET = "arn:aws:cloudformation:eu-central-1:123456789012:changeSet/a/1"


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


@given(
    st.integers(0, 5),
    st.lists(
        st.sampled_from(
            [
                "Resource creation cancelled",
                "Resource update cancelled",
                "Resource deletion cancelled",
                "Resource import cancelled",
                "The following resource(s) failed to create: [A]. Rollback requested by user.",
            ]
        ),
        min_size=5,
        max_size=5,
    ),
)
def test_no_cascade_hides_the_root_cause(place: int, reasons: list[str]) -> None:
    cascade = [
        happened(f"R{at}", "UPDATE_FAILED", reason, STACK_TYPE if at % 2 else "AWS::SQS::Queue")
        for at, reason in enumerate(reasons)
    ]
    cause = happened("Cause", "UPDATE_FAILED", "no")
    own = of_stack("UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update: []")
    assert root_cause(NAME, [*cascade[:place], cause, *cascade[place:], own]) == cause


def test_what_was_cancelled_by_a_person_is_the_stacks_own_doing() -> None:
    cancelled = happened("A", "UPDATE_FAILED", "Resource update cancelled")
    own = of_stack("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
    assert root_cause(NAME, [cancelled, own]) == own
    failed = happened("B", "UPDATE_FAILED", "no")
    assert root_cause(NAME, [own, failed]) == failed
    assert root_cause(NAME, [cancelled]) == cancelled


def test_without_a_failed_resource_the_stack_itself_is_the_cause() -> None:
    own = of_stack("ROLLBACK_IN_PROGRESS", "Stack policy refuses it")
    assert root_cause(NAME, [of_stack("CREATE_IN_PROGRESS"), own]) == own
    assert root_cause(NAME, [of_stack("CREATE_IN_PROGRESS")]) is None


def test_a_diagnosis_tells_where_and_what_to_do() -> None:
    cause = happened("Failed", "CREATE_FAILED", "Queue already exists.")
    diagnosis = diagnose(NAME, [cause], {"Failed": "payment_infra/groups/queues.py"}, FLAGS)
    assert diagnosis is not None
    assert diagnosis.template_path == "Resources.Failed"
    assert str(diagnosis) == (
        "Failed (Resources.Failed, built in payment_infra/groups/queues.py): Queue already exists; "
        f"{KEPT.format(command='sqs delete-queue')}"
    )
    own = diagnose(NAME, [of_stack("CREATE_FAILED", "no")], {}, FLAGS)
    assert own is not None
    assert (own.template_path, str(own)) == (None, f"{NAME}: no")


def test_a_reason_of_several_lines_is_told_on_one() -> None:
    cause = diagnose(NAME, [happened("Failed", "CREATE_FAILED", "It is\n  wrong.\n")], {}, FLAGS)
    assert str(cause) == "Failed: It is wrong"


# Messages as the services write them.
@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (
            "User: arn:aws:sts::123456789012:assumed-role/Dev/al is not authorized to perform: "
            "sqs:CreateQueue on resource: arn:aws:sqs:eu-central-1:123456789012:failed",
            "grant sqs:CreateQueue on arn:aws:sqs:eu-central-1:123456789012:failed to "
            "arn:aws:sts::123456789012:assumed-role/Dev/al, then",
        ),
        (
            "API: iam:CreateRole User: arn:aws:iam::1:user/al is not authorized to perform: "
            "iam:CreateRole on resource: role payment-dev because no identity-based policy allows "
            "the iam:CreateRole action",
            "grant iam:CreateRole on role payment-dev to arn:aws:iam::1:user/al, then",
        ),
        (
            'Resource handler returned message: "User: arn:aws:iam::1:user/al is not authorized to '
            'perform: iam:PassRole on resource: arn:aws:iam::1:role/r"',
            "grant iam:PassRole on arn:aws:iam::1:role/r to arn:aws:iam::1:user/al, then",
        ),
        (
            "User: arn:aws:iam::1:user/al is not authorized to perform the iam:PassRole action",
            "grant iam:PassRole to who deploys",
        ),
        (
            "User: arn:aws:iam::1:user/al is not authorized to perform: sqs:CreateQueue on "
            "resource: arn:q with an explicit deny in a service control policy",
            "the service control policy denies sqs:CreateQueue, and no grant lifts that",
        ),
        (
            "User: arn:aws:iam::1:user/al is not authorized to perform: iam:CreateRole on "
            "resource: arn:r because no permissions boundary allows the iam:CreateRole action",
            "the permissions boundary must allow iam:CreateRole too",
        ),
        (
            "Your access has been denied by S3, please make sure your request credentials have "
            "permission to GetObject for zips/payment-infra/a.zip. S3 Error Code: AccessDenied. "
            "S3 Error Message: Access Denied",
            "grant s3:GetObject on zips/payment-infra/a.zip to",
        ),
        (
            "Access to the resource https://sqs.eu-central-1.amazonaws.com/ is denied.",
            "find the denied call in CloudTrail",
        ),
        (
            "Lambda was unable to decrypt the environment variables because KMS access was denied. "
            "KMS Exception: AccessDeniedException",
            "use the KMS key",
        ),
        (
            'Resource handler returned message: "The security token included in the request is '
            'expired (Service: DynamoDb, Status Code: 400)" (HandlerErrorCode: AccessDenied)',
            "sign in again",
        ),
        (
            'Resource handler returned message: "The role defined for the function cannot be '
            'assumed by Lambda. (Service: Lambda)" (HandlerErrorCode: InvalidRequest)',
            "a new role takes some seconds",
        ),
        (
            "Requires capabilities : [CAPABILITY_IAM, CAPABILITY_NAMED_IAM]",
            "`payment-infra upload --suffix dev --region eu-west-1` prints, and --capabilities "
            "CAPABILITY_IAM, CAPABILITY_NAMED_IAM",
        ),
        (
            'Resource handler returned message: "Function already exist: payment-retry-dev '
            '(Service: Lambda, Status Code: 409)"',
            "something else has this name",
        ),
        (
            "failed-transactions-dev already exists in stack "
            "arn:aws:cloudformation:eu-central-1:1:stack/payment-infra-old/9f86d081",
            "the stack payment-infra-old has it",
        ),
        (
            "A queue already exists with the same name and a different value for attribute "
            "VisibilityTimeout (QueueNameExists)",
            "something else has this name",
        ),
        (
            "Subscriber limit exceeded: Only 500 tables can be created, updated, or deleted "
            "simultaneously",
            "raise the quota",
        ),
        ("Maximum number of topics exceeded", "raise the quota"),
        ("Rate exceeded (HandlerErrorCode: ServiceLimitExceeded)", "wait a little"),
        (
            "The operation cannot be performed at this time. An update is in progress for resource "
            "(HandlerErrorCode: ResourceConflict)",
            "wait a little",
        ),
        ("The bucket you tried to delete is not empty", "empty the bucket"),
        (
            "Resource of type 'AWS::DynamoDB::Table' with identifier 'transactions-dev' already "
            "exists. (HandlerErrorCode: AlreadyExists)",
            "choose another --suffix",
        ),
        (
            "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The "
            "specified key does not exist.",
            "`payment-infra upload --suffix dev --region eu-west-1` puts it there",
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
            "One or more alarms have been activated according to the Amazon CloudWatch metrics you "
            "selected, and the affected deployments have been stopped.",
            "`payment-infra deploy --at-once --suffix dev --region eu-west-1` ships a mend",
        ),
        (
            "CloudWatch Logs role ARN must be set in account settings to enable logging",
            "`payment-infra deploy --manage-api-gateway-account --suffix dev --region eu-west-1`",
        ),
        (
            "You must wait 60 seconds after deleting a queue before you can create another with "
            "the same name.",
            "wait a minute",
        ),
        (
            "Resource cannot be deleted as it is currently protected against deletion. Disable "
            "deletion protection first.",
            "`payment-infra deploy --no-deletion-protection --suffix dev --region eu-west-1` first",
        ),
        ("Rate exceeded (Service: Lambda, Status Code: 429)", "wait a little"),
    ],
)
def test_a_known_cause_has_a_remedy(reason: str, remedy: str) -> None:
    assert remedy in (remedy_of(reason, "", FLAGS) or "")


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("AWS::DynamoDB::Table", "`aws dynamodb delete-table`"),
        ("AWS::SQS::Queue", "`aws sqs delete-queue`"),
        ("AWS::Logs::LogGroup", "`aws logs delete-log-group`"),
    ],
)
def test_what_an_earlier_stack_can_have_kept_is_imported_or_deleted(
    kind: str, command: str
) -> None:
    remedy = remedy_of("transactions-dev already exists", kind, FLAGS) or ""
    assert "--import-existing-resources" in remedy
    assert command in remedy
    assert remedy_of("Rate exceeded", kind, FLAGS) == remedy_of("Rate exceeded", "", FLAGS)
    assert (
        remedy_of("payment-retry-dev already exists", "AWS::Lambda::Function", FLAGS) == NAME_TAKEN
    )


def test_remedies_name_only_options_that_deploy_has() -> None:
    ours = {option for one in deploy_command.params for option in (*one.opts, *one.secondary_opts)}
    of_aws = {"--capabilities"}
    named = set(re.findall(r"--[a-z-]+", " ".join([KEPT, *(one for _, one in REMEDIES)])))
    assert named - ours == of_aws


def test_a_cause_that_is_not_known_has_none() -> None:
    assert remedy_of("Something else happened", "", FLAGS) is None


def test_a_change_set_that_failed_is_explained_with_its_validation() -> None:
    events = [ValidationEvent("Table", "/Resources/Table", "TableName already exists")]
    told = explain_change_set("Validation failed.", events, FLAGS)
    assert told.startswith("Validation failed; Table /Resources/Table: TableName already exists; ")
    assert told.endswith(str(remedy_of("already exists", "", FLAGS)))
    assert explain_change_set("", [], FLAGS) == "it failed without a reason"


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
    assert validation_events(client, CHANGE_SET) == (
        ValidationEvent("B", "/Resources/B", "no"),
        ValidationEvent("C", "", ""),
    )


@pytest.mark.parametrize(
    "error",
    [
        Refused("InvalidAction"),
        Refused("AccessDenied", "no", 403),
        EndpointConnectionError(endpoint_url="https://x"),
    ],
)
def test_validation_that_cannot_be_read_hides_nothing(error: Exception) -> None:
    aws = FakeAws(errors={"cloudformation:DescribeEvents": error})
    assert validation_events(aws.session().client("cloudformation"), CHANGE_SET) == ()


def test_an_sdk_without_validation_events_has_none() -> None:
    older: Any = object()
    assert validation_events(older, CHANGE_SET) == ()


@pytest.mark.parametrize(
    "passed", [{"ValidationStatus": "SKIPPED"}, {"ValidationFailureMode": "WARN"}]
)
def test_validation_that_refuses_nothing_is_no_cause(
    passed: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = FakeAws()
    answer = {
        "OperationEvents": [{"EventType": "VALIDATION_ERROR", "LogicalResourceId": "A", **passed}]
    }
    monkeypatch.setattr(aws, "describe_events", lambda _: answer)
    assert validation_events(aws.session().client("cloudformation"), CHANGE_SET) == ()
