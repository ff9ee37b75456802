"""What a person sees of the commands that operate an environment, at 80 columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra import names
from payment_infra.cli import export
from tests.aws import FakeAws, FakeStack
from tests.queues import FakeQueues
from tests.tables import FakeTables
from tests.transcripts import Clock, Transcript, at_terminal

if TYPE_CHECKING:
    from tests.functional.conftest import Cli
    from tests.stacks import Answer

WIDTH = 80
ENVIRONMENT = ("--suffix", "prod-eu")
TABLE = "TransactionsTable"
RESOURCES = (
    *("FailedTransactionsQueue", "FailedTransactionsDLQ", "AlarmTopic", TABLE),
    *("PaymentAPI", "PaymentDashboard"),
)


@pytest.fixture
def aws() -> FakeAws:
    stack = FakeStack(
        "payment-infra-prod-eu",
        parameters={
            names.TRANSACTIONS_TABLE_OVERRIDE: "",
            names.ENVIRONMENT_SUFFIX: "prod-eu",
            names.ALARM_EMAIL: "ops@example.com",
        },
        outputs={"TransactionsTableName": TABLE},
        resources=dict.fromkeys(RESOURCES, "CREATE_COMPLETE"),
    )
    return FakeAws(stacks={stack.name: stack})


@pytest.fixture(params=[True, False], ids=["color", "plain"])
def color(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def terminal(cli: Cli, color: bool, monkeypatch: pytest.MonkeyPatch) -> Transcript:
    at_terminal(monkeypatch, WIDTH, Clock(1))
    return Transcript(cli, WIDTH, color)


def answer_drift(aws: FakeAws, monkeypatch: pytest.MonkeyPatch, *found: Answer) -> None:
    """Have CloudFormation find this drift of the resources."""
    status = "DRIFTED" if any(one["StackResourceDriftStatus"] != "IN_SYNC" for one in found) else ""
    answers: dict[str, Answer] = {
        "detect_stack_drift": {"StackDriftDetectionId": "1"},
        "describe_stack_drift_detection_status": {
            "StackId": "1",
            "StackDriftDetectionId": "1",
            "DetectionStatus": "DETECTION_COMPLETE",
            "StackDriftStatus": status or "IN_SYNC",
            "Timestamp": 1,
        },
        "describe_stack_resource_drifts": {"StackResourceDrifts": list(found)},
    }
    for name, given in answers.items():
        monkeypatch.setattr(aws, name, lambda _, given=given: given, raising=False)


def resource(name: str, status: str, *differences: tuple[str, str, str]) -> Answer:
    return {
        "StackId": "stack",
        "LogicalResourceId": name,
        "ResourceType": "AWS::SNS::Topic" if name == "AlarmTopic" else "AWS::SQS::Queue",
        "StackResourceDriftStatus": status,
        "Timestamp": 1,
        "PropertyDifferences": [
            {
                "PropertyPath": path,
                "ExpectedValue": expected,
                "ActualValue": actual,
                "DifferenceType": "NOT_EQUAL",
            }
            for path, expected, actual in differences
        ],
    }


def test_drift_shows_each_property_with_both_values(
    terminal: Transcript, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_drift(aws, monkeypatch, *(resource(name, "IN_SYNC") for name in RESOURCES[:5]))
    assert terminal("drift", *ENVIRONMENT, "--fail") == 0
    policy = json.dumps(
        {"deadLetterTargetArn": "arn:aws:sqs:eu-central-1:123456789012:" + "x" * 60}
    )
    answer_drift(
        aws,
        monkeypatch,
        resource("AlarmTopic", "DELETED"),
        resource(
            "FailedTransactionsQueue",
            "MODIFIED",
            ("/RedrivePolicy/maxReceiveCount", "3", "9"),
            ("/RedrivePolicy", policy, "null"),
        ),
        resource("FailedTransactionsDLQ", "IN_SYNC"),
    )
    assert terminal("drift", *ENVIRONMENT, "--fail") == 4
    terminal.check("drift")


def test_redrive_and_purge_ask_with_a_number_and_say_what_came_of_it(
    terminal: Transcript, aws: FakeAws
) -> None:
    queues = FakeQueues()
    aws.answers |= queues.answers()
    terminal("failed", "redrive", *ENVIRONMENT, "--all", "--yes")
    for number in range(3):
        body = {"operation": "process", "reason": "gateway_unavailable"}
        queues.put(f"5f0c954e-9f3a-4c8b-8a41-9e3d3c1f0a1{number}", json.dumps(body))
    first, second, _ = queues.waiting()
    terminal("failed", "redrive", *ENVIRONMENT, "--all", typed="n\n")
    terminal("failed", "redrive", *ENVIRONMENT, "--id", first, "--id", second, typed="y\n")
    queues.put("0a7b0c51-1111-4222-8333-94e5f6a7b8c9", "rubbish")
    terminal("failed", "purge", *ENVIRONMENT, "--export", "dead-letters.jsonl", typed="n\n")
    terminal("failed", "purge", *ENVIRONMENT, "--export", "all.jsonl", typed="y\n")
    queues.put("one-more", "rubbish")
    terminal("failed", "purge", *ENVIRONMENT, "--export", "one.jsonl", typed="y\n")
    task = {"Status": "RUNNING", "TaskHandle": "1"}
    aws.answers["sqs:ListMessageMoveTasks"] = {"Results": [task]}
    aws.answers["sqs:CancelMessageMoveTask"] = {"ApproximateNumberOfMessagesMoved": 1}
    terminal("failed", "redrive", *ENVIRONMENT, "--cancel")
    terminal.check("dead-letters")


def test_subscribe_asks_and_says_who_is_told(terminal: Transcript, aws: FakeAws) -> None:
    topic = "arn:aws:sns:eu-central-1:123456789012:payment-alarms-prod-eu"
    pager = "https://pager.example.com/hook"
    found: list[Answer] = []
    aws.answers["sns:ListSubscriptionsByTopic"] = lambda _: {"Subscriptions": found}
    aws.answers["sns:Subscribe"] = {"SubscriptionArn": "pending confirmation"}
    aws.answers["sns:Unsubscribe"] = {}

    def have(protocol: str, endpoint: str, arn: str) -> None:
        found.append({"Protocol": protocol, "Endpoint": endpoint, "SubscriptionArn": arn})

    terminal("subscribe", *ENVIRONMENT, "--list")
    terminal("subscribe", *ENVIRONMENT, "--email", "new@example.com", typed="y\n")
    have("email", "new@example.com", "PendingConfirmation")
    have("https", pager, f"{topic}:1")
    have("email", "ops@example.com", f"{topic}:2")
    terminal("subscribe", *ENVIRONMENT, "--list")
    terminal("subscribe", *ENVIRONMENT, "--email", "new@example.com", typed="y\n")
    terminal("subscribe", *ENVIRONMENT, "--https", pager)
    terminal("subscribe", *ENVIRONMENT, "--remove", "new@example.com")
    terminal("subscribe", *ENVIRONMENT, "--remove", "ops@example.com")
    terminal("subscribe", *ENVIRONMENT, "--remove", "nobody@example.com")
    terminal("subscribe", *ENVIRONMENT, "--remove", pager, typed="n\n")
    terminal("subscribe", *ENVIRONMENT, "--remove", pager, typed="y\n")
    terminal.check("subscribe")


def test_the_bucket_is_deleted_after_its_contents_were_told(
    terminal: Transcript, aws: FakeAws
) -> None:
    terminal("bootstrap", "--destroy")
    terminal("bootstrap")
    terminal("bootstrap")
    terminal("bootstrap", "--destroy")
    del aws.stacks["payment-infra-prod-eu"]
    versions = [
        {"Key": f"{number}.zip", "VersionId": "1", "Size": 1_234_567} for number in range(3)
    ]
    aws.answers["s3:ListObjectVersions"] = lambda _: {"Versions": versions}
    aws.answers |= {"s3:DeleteObjects": {}, "s3:DeleteBucket": {}}
    terminal("bootstrap", "--destroy", typed="n\n")
    del versions[1:]
    terminal("bootstrap", "--destroy", typed="y\n")
    terminal.check("bootstrap")


def rows(tables: FakeTables, number: int) -> None:
    table = tables.add(TABLE)
    for one in range(number):
        table.write(tables.now, f"payment-{one}", {"transaction_id": {"S": f"payment-{one}"}})


@pytest.mark.parametrize("live", [True, False], ids=["terminal", "lines"])
def test_an_export_counts_in_place_on_a_terminal_and_in_lines_elsewhere(
    live: bool, cli: Cli, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_terminal(monkeypatch, WIDTH, Clock(1))
    monkeypatch.setattr(export, "LINE_ROWS", 4)
    init = export.Count.__init__

    def counting(count: export.Count) -> None:
        init(count)
        count._terminal = live

    monkeypatch.setattr(export.Count, "__init__", counting)
    tables = FakeTables()
    aws.answers |= tables.answers()
    terminal = Transcript(cli, WIDTH, color=True)
    rows(tables, 1)
    terminal("export", *ENVIRONMENT, "-o", "one.jsonl")
    rows(tables, 9)
    terminal("export", *ENVIRONMENT, "-o", "payments.jsonl")
    terminal("export", *ENVIRONMENT, "-o", "payments.jsonl")
    pages: Any = tables.answers()["dynamodb:Scan"]

    def pressed(params: Answer) -> Answer:
        if "ExclusiveStartKey" in params:
            raise KeyboardInterrupt
        answer: Answer = pages(params)
        return answer

    aws.answers["dynamodb:Scan"] = pressed
    terminal("export", *ENVIRONMENT, "-o", "more.jsonl")
    terminal.check(f"export-{'terminal' if live else 'lines'}")


def test_an_export_goes_to_stdout_or_a_file_also_by_the_names_that_scripts_have(
    cli: Cli, aws: FakeAws
) -> None:
    tables = FakeTables()
    aws.answers |= tables.answers()
    rows(tables, 3)
    shown = cli("export", *ENVIRONMENT).stdout
    assert len(shown.splitlines()) == 3
    assert cli("export", *ENVIRONMENT, "-o", "-").stdout == shown
    file = Path("payments.jsonl")
    assert cli("export", *ENVIRONMENT, "--output-file", file).exit_code == 0
    assert file.read_text() == shown
    rows(tables, 4)
    assert cli("export", *ENVIRONMENT, "--out", file).exit_code == 2
    for overwrite in ("--overwrite", "--force"):
        assert cli("export", *ENVIRONMENT, "--out", file, overwrite).exit_code == 0
        assert len(file.read_text().splitlines()) == 4
