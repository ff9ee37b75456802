"""What a person sees of deploy, watch, cancel and rollback, at 80 and 120 columns."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.aws import FakeAws, FakeBucket, FakeStack, event
from tests.stacks import Answer, own_event, template
from tests.transcripts import Clock, Transcript, at_terminal

if TYPE_CHECKING:
    from tests.functional.conftest import Cli

STACK = "payment-infra-dev"
DEPLOY = ("deploy", "--suffix", "dev", "--bucket", "zips")
ENVIRONMENT = ("--suffix", "dev")
OUTPUTS = {
    "APIEndpoint": "https://abcde12345.execute-api.eu-central-1.amazonaws.com/prod/",
    "TransactionsTableName": "transactions-dev",
    "AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:payment-alarms-dev",
    "DashboardName": "payment-dashboard-dev",
    "CallerPolicyArn": "arn:aws:iam::123456789012:policy/payment-infra-dev-PaymentCallerPolicy",
}
TAKEN = (
    "Resource handler returned message: \"Resource of type 'AWS::SQS::Queue' with identifier "
    "'failed-transactions-dev' already exists.\" (HandlerErrorCode: AlreadyExists)"
)
WIDTHS = pytest.mark.parametrize("width", [80, 120])
COLORS = pytest.mark.parametrize("color", [True, False], ids=["color", "plain"])


class Account(FakeAws):
    """Has outputs as AWS gives them."""

    def execute_change_set(self, params: Answer) -> Answer:
        answer = super().execute_change_set(params)
        for stack in self.stacks.values():
            stack.outputs = OUTPUTS
        return answer


@pytest.fixture
def aws() -> Account:
    return Account(buckets={"zips": FakeBucket()})


@pytest.fixture
def terminal(cli: Cli, width: int, color: bool, monkeypatch: pytest.MonkeyPatch) -> Transcript:
    at_terminal(monkeypatch, width, Clock(1))
    return Transcript(cli, width, color)


def deployed(cli: Cli, aws: Account) -> FakeStack:
    """Return the stack, having deployed it."""
    assert cli(*DEPLOY, "--yes").exit_code == 0
    return aws.stacks[STACK]


def without(stack: FakeStack, *names: str) -> None:
    """Have the stack deployed without some resources of the template, so that they are added."""
    content = {**template(stack.template)}
    resources = {key: one for key, one in content["Resources"].items() if key not in names}
    stack.template = json.dumps({**content, "Resources": resources})


def pressed() -> Iterator[Answer]:
    """Be Ctrl-C, in the place of events."""
    raise KeyboardInterrupt
    yield {}


@WIDTHS
def test_the_preview_of_a_first_deployment_shows_all_of_it(
    width: int, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_terminal(monkeypatch, width, Clock(1))
    terminal = Transcript(cli, width, color=True)
    assert terminal(*DEPLOY, typed="n\n") == 130
    terminal.check("first-deployment")


@WIDTHS
@COLORS
def test_what_deploy_asks_shows_and_says(terminal: Transcript, cli: Cli, aws: Account) -> None:
    aws.timeline = [
        ("CREATE_IN_PROGRESS", [event(1, "TransactionsTable", "CREATE_IN_PROGRESS")]),
        ("CREATE_IN_PROGRESS", []),
        ("CREATE_COMPLETE", [event(13, "TransactionsTable", "CREATE_COMPLETE")]),
    ]
    terminal(*DEPLOY, typed="y\n", shortened=True)
    terminal(*DEPLOY)
    stack = aws.stacks[STACK]
    without(stack, "RetryErrorAlarm")
    terminal(*DEPLOY, typed="n\n")
    terminal(*DEPLOY, "--no-execute")
    terminal(*DEPLOY, typed="")
    without(stack, "RetryPolicy")
    table = {
        "Action": "Modify",
        "LogicalResourceId": "TransactionsTable",
        "ResourceType": "AWS::DynamoDB::Table",
        "Replacement": "True",
        "Details": [],
    }
    aws.further_changes = [{"Type": "Resource", "ResourceChange": table}]
    terminal(*DEPLOY, typed="y\ny\n")
    terminal.check("deploy")


@WIDTHS
@COLORS
def test_what_deploy_asks_of_a_stack_that_is_busy_or_failed(
    terminal: Transcript, cli: Cli, aws: Account
) -> None:
    stack = deployed(cli, aws)
    without(stack, "RetryErrorAlarm")
    token = "payment-infra-alice-0123456789ab"
    going = [own_event(stack, 20, "UPDATE_IN_PROGRESS", token=token)]
    stack.happen("UPDATE_IN_PROGRESS", going)
    terminal(*DEPLOY, "--no-wait", "--yes")
    terminal(*DEPLOY, typed="n\n")
    stack.timeline = deque(
        [
            ("UPDATE_IN_PROGRESS", []),
            ("UPDATE_IN_PROGRESS", [event(21, "RetryFunction", "UPDATE_IN_PROGRESS")]),
            (
                "UPDATE_COMPLETE",
                [
                    event(30, "RetryFunction", "UPDATE_COMPLETE"),
                    own_event(stack, 31, "UPDATE_COMPLETE"),
                ],
            ),
        ]
    )
    terminal(*DEPLOY, typed="y\nn\n")
    for status in ("UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED", "IMPORT_ROLLBACK_FAILED"):
        stack.happen(status)
        terminal(*DEPLOY, "--skip", "RetryFunction", typed="n\n")
    stack.resources = {"TransactionsTable": "DELETE_FAILED", "PaymentAPI": "DELETE_FAILED"}
    stack.happen("DELETE_FAILED")
    terminal(*DEPLOY, typed="n\n")
    stack.happen("ROLLBACK_COMPLETE")
    aws.timeline = [
        ("DELETE_IN_PROGRESS", [event(40, "PaymentAPI", "DELETE_IN_PROGRESS")]),
        ("DELETE_COMPLETE", [event(44, "PaymentAPI", "DELETE_COMPLETE")]),
    ]
    terminal(*DEPLOY, typed="y\nn\n", shortened=True)
    terminal.check("deploy-unready")


@WIDTHS
@COLORS
def test_what_deploy_says_of_what_fails_and_of_ctrl_c(
    terminal: Transcript, cli: Cli, aws: Account
) -> None:
    stack = deployed(cli, aws)
    without(stack, "FailedTransactionsQueue")
    failed = [
        event(50, "ValidationFunction", "UPDATE_IN_PROGRESS"),
        event(51, "FailedTransactionsQueue", "CREATE_IN_PROGRESS"),
        event(52, "FailedTransactionsQueue", "CREATE_FAILED", TAKEN),
        event(53, "ValidationFunction", "UPDATE_FAILED", "Resource update cancelled"),
    ]
    undone = [event(60, "ValidationFunction", "UPDATE_COMPLETE")]
    aws.timeline = [
        ("UPDATE_IN_PROGRESS", failed[:2]),
        ("UPDATE_IN_PROGRESS", []),
        ("UPDATE_ROLLBACK_IN_PROGRESS", failed[2:]),
        ("UPDATE_ROLLBACK_COMPLETE", undone),
    ]
    terminal(*DEPLOY, "--yes")
    without(stack, "FailedTransactionsQueue")
    again = [{**one, "EventId": f"{one['EventId']}-again"} for one in failed]
    aws.timeline = [("UPDATE_FAILED", again)]
    terminal(*DEPLOY, "--yes", "--no-rollback")
    later = [event(65, "ValidationFunction", "UPDATE_COMPLETE")]
    aws.timeline = [("UPDATE_ROLLBACK_COMPLETE", later)]
    terminal("rollback", *ENVIRONMENT, typed="y\n")
    terminal("rollback", *ENVIRONMENT)
    without(stack, "FailedTransactionsQueue")
    aws.timeline = [("UPDATE_IN_PROGRESS", []), ("UPDATE_IN_PROGRESS", pressed())]  # type: ignore[list-item]
    terminal(*DEPLOY, "--yes")
    terminal.check("deploy-failing")


@WIDTHS
@COLORS
def test_what_watch_and_cancel_show(terminal: Transcript, cli: Cli, aws: Account) -> None:
    terminal("watch", *ENVIRONMENT)
    terminal("cancel", *ENVIRONMENT)
    stack = deployed(cli, aws)
    terminal("watch", *ENVIRONMENT)
    terminal("cancel", *ENVIRONMENT, typed="y\n")
    begun = [own_event(stack, 70, "UPDATE_IN_PROGRESS")]

    def busy(*timeline: tuple[str, Any]) -> None:
        stack.happen("UPDATE_IN_PROGRESS", begun)
        stack.timeline = deque([("UPDATE_IN_PROGRESS", []), *timeline])

    table = [event(71, "TransactionsTable", "UPDATE_IN_PROGRESS")]
    busy(
        ("UPDATE_IN_PROGRESS", table),
        ("UPDATE_IN_PROGRESS", []),
        ("UPDATE_COMPLETE", [event(90, "TransactionsTable", "UPDATE_COMPLETE")]),
    )
    terminal("watch", *ENVIRONMENT)
    busy(("UPDATE_IN_PROGRESS", pressed()))
    terminal("watch", *ENVIRONMENT)
    busy()
    terminal("cancel", *ENVIRONMENT, typed="n\n")
    busy()
    aws.timeline = [
        (
            "UPDATE_ROLLBACK_IN_PROGRESS",
            [event(95, "TransactionsTable", "UPDATE_IN_PROGRESS")],
        ),
        (
            "UPDATE_ROLLBACK_COMPLETE",
            [
                event(99, "TransactionsTable", "UPDATE_COMPLETE"),
                own_event(stack, 100, "UPDATE_ROLLBACK_COMPLETE"),
            ],
        ),
    ]
    terminal("cancel", *ENVIRONMENT, typed="y\n")
    stack.happen("ROLLBACK_COMPLETE")
    terminal("watch", *ENVIRONMENT)
    terminal.check("watch-cancel")


@COLORS
def test_where_nothing_can_be_drawn_each_event_is_a_line(
    color: bool, cli: Cli, aws: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = deployed(cli, aws)
    without(stack, "RetryErrorAlarm")
    stack.timeline = deque(
        [
            ("UPDATE_IN_PROGRESS", [own_event(stack, 20, "UPDATE_IN_PROGRESS")]),
            ("UPDATE_IN_PROGRESS", []),
            ("UPDATE_IN_PROGRESS", []),
            ("UPDATE_IN_PROGRESS", []),
            (
                "UPDATE_COMPLETE",
                [
                    event(21, "RetryFunction", "UPDATE_COMPLETE"),
                    own_event(stack, 22, "UPDATE_COMPLETE"),
                ],
            ),
        ]
    )
    stack.happen("UPDATE_IN_PROGRESS")
    failed = event(93, "RetryErrorAlarm", "CREATE_FAILED", "Name is taken")
    aws.timeline = [
        ("UPDATE_IN_PROGRESS", [event(30, "RetryErrorAlarm", "CREATE_IN_PROGRESS")]),
        *[("UPDATE_IN_PROGRESS", [])] * 6,
        ("UPDATE_ROLLBACK_IN_PROGRESS", [failed]),
        ("UPDATE_ROLLBACK_COMPLETE", [event(99, "RetryErrorAlarm", "DELETE_COMPLETE")]),
    ]
    at_terminal(monkeypatch, 80, Clock(12), live=False)
    terminal = Transcript(cli, 80, color)
    assert terminal(*DEPLOY, "--yes", "--wait") == 3
    terminal.check("deploy-lines", log=True)
