"""What a person sees of an environment, at 80 columns, with colour and without."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from payment_infra.checks import Check as Finding
from payment_infra.cli.health import print_checks
from payment_infra.cli.list import print_stacks
from payment_infra.cli.subscribe import print_subscriptions
from payment_infra.cli.views.destruction import draw as draw_destruction
from payment_infra.cli.views.destruction import draw_remains
from payment_infra.cli.views.failed import print_message, print_messages
from payment_infra.cli.views.logs import entry
from payment_infra.cli.views.payment import masked
from payment_infra.cli.views.status import draw as draw_status
from payment_infra.cloud.destroying.destruction import Destruction, Kept
from payment_infra.cloud.environment.callers import Callers, Principal
from payment_infra.cloud.environment.listing import Listed
from payment_infra.cloud.environment.locking import Held
from payment_infra.cloud.operating.alarms import Alarm
from payment_infra.cloud.operating.dead_letters import DeadLetter
from payment_infra.cloud.operating.status import (
    FunctionStatus,
    QueueStatus,
    Status,
    TableStatus,
)
from payment_infra.cloud.operating.subscriptions import Subscription
from payment_infra.cloud.sdk.logs import LogLine
from payment_infra.record import Record
from tests import snapshots

WIDTH = 80
DRIFT = "payment-infra drift --suffix prod-eu"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ID = "ee6b2b2c-0213-563e-8a0d-622cda27b25e"
COLORS = pytest.mark.parametrize("color", [True, False], ids=["color", "plain"])
Check = Callable[[str, bool], None]


def ago(**passed: int) -> datetime:
    return NOW - timedelta(**passed)


@contextmanager
def colored(color: bool) -> Iterator[None]:
    with click.Context(click.Command("any")) as context:
        context.color = color
        yield


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    """Compares what was printed with the snapshot of that name; no line may be too long."""

    def compare(name: str, color: bool) -> None:
        text = capsys.readouterr().out
        assert max(len(line) for line in click.unstyle(text).splitlines()) <= WIDTH
        snapshots.check(f"{name}-{WIDTH}", text, color=color)

    return compare


def echo(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


STATUS = Status(
    stack="payment-infra-prod-eu",
    status="UPDATE_COMPLETE",
    changed_at=ago(days=3, hours=5),
    version="0.1.0",
    url="https://abcde12345.execute-api.eu-central-1.amazonaws.com/prod/",
    table_name="transactions-prod-eu",
    payments="stopped: validate, process, retries",
    gateway="acme.gateway:Gateway",
    findings=(
        Finding(
            "payments",
            "fail",
            "payments are stopped: validate, process, retries",
            "`payment-infra resume --suffix prod-eu` lets them in",
        ),
        Finding("restore", "fail", f"a restore {'that is half done ' * 9}", "`payment-infra ...`"),
    ),
    functions=(
        FunctionStatus(
            "payment-validation-prod-eu", "bcd08d22a98c", "2026-11-21T07:00:00.000+0000", 0, 48.2
        ),
        FunctionStatus(
            "payment-processing-prod-eu", "7d3a5b8415b6", "2026-11-21T07:00:00.000+0000", 12, 912.7
        ),
        FunctionStatus("payment-retry-prod-eu", "", "soon", None, None),
    ),
    table=TableStatus(
        "transactions-prod-eu",
        "ACTIVE",
        1_250_000,
        640_000_000,
        restorable_from=ago(days=35),
        restorable_to=ago(minutes=5),
    ),
    queues=(
        QueueStatus("failed-transactions-prod-eu", 4, 1, 0, 95),
        QueueStatus("failed-transactions-dlq-prod-eu", 2, 0, 0, None),
    ),
    alarms=(
        Alarm("dead-letters-prod-eu", "ALARM", f"Threshold Crossed: {'1 ' * 60}", ago(minutes=9)),
        Alarm("api-latency-prod-eu", "INSUFFICIENT_DATA", "Unchecked", None),
    ),
    alarms_in_all=18,
    drift="DRIFTED",
    drift_checked_at=ago(hours=2, minutes=20),
    unknown={"queues": f"AccessDenied: {'not allowed ' * 20}"},
)
HELD = Held(
    generation=7,
    holder=(
        "arn:aws:sts::123456789012:assumed-role/Deployers/alice.with.a.long.name@example.com on "
        "build-7.example.com (process 4242, 4e6adc3f108f)"
    ),
    operation="restore",
    since=ago(hours=1, minutes=3),
    renewed_at=ago(seconds=12),
)


@COLORS
def test_status(color: bool, check: Check) -> None:
    with colored(color):
        click.echo(draw_status(STATUS, WIDTH, NOW, DRIFT))
    check("status", color)


QUEUE_LINE = "queue      failed-transactions-prod-eu: 4 waiting, 1 in flight, oldest 1 m 35 s"


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ({"gateway": "simulated"}, ["gateway    simulated, which moves no money"]),
        ({"gateway": ""}, ["gateway    -"]),
        (
            {"table": TableStatus("transactions-prod-eu", "GONE", 0, 0, None, None)},
            ["table      transactions-prod-eu", "           GONE", QUEUE_LINE],
        ),
    ],
    ids=["simulated", "unknown-gateway", "table-gone"],
)
def test_a_status_says_what_is_unusual(changed: dict[str, Any], lines: list[str]) -> None:
    shown = click.unstyle(draw_status(replace(STATUS, **changed), WIDTH, NOW, DRIFT)).splitlines()
    start = next(number for number, line in enumerate(shown) if line == lines[0])
    assert shown[start : start + len(lines)] == lines


@pytest.mark.parametrize(("waiting", "red"), [(2, True), (0, False)])
def test_dead_letters_are_red(waiting: int, red: bool) -> None:
    """And nothing else is: what waits to be retried is no failure yet."""
    queues = (QueueStatus("failed-transactions-prod-eu", 4, 1, 0, 95),)
    dead = QueueStatus("failed-transactions-dlq-prod-eu", waiting, 0, 0, None)
    text = draw_status(replace(STATUS, queues=(*queues, dead)), WIDTH, NOW, DRIFT)
    lines = [line for line in text.splitlines() if "failed-transactions" in line]
    assert ["\x1b[31m" in line for line in lines] == [False, red]


@COLORS
@pytest.mark.parametrize("stack_id", ["", "arn:aws:cloudformation:1"], ids=["held", "handed-over"])
def test_status_of_what_somebody_works_on(stack_id: str, color: bool, check: Check) -> None:
    held = replace(HELD, stack_id=stack_id)
    with colored(color):
        click.echo(draw_status(replace(STATUS, lock=held, functions=()), WIDTH, NOW, DRIFT))
    check("status-handed-over" if stack_id else "status-held", color)


@COLORS
def test_list(color: bool, check: Check) -> None:
    stacks = (
        Listed("payment-infra-dev-001", "dev-001", "CREATE_COMPLETE", ago(minutes=4)),
        Listed("payments", "prod-eu", "UPDATE_ROLLBACK_FAILED", ago(days=40, hours=1)),
    )
    with colored(color):
        print_stacks(stacks, NOW)
    check("list", color)


@COLORS
def test_health(color: bool, check: Check) -> None:
    checks = [
        ("API Gateway", "latency", "payment-api-dev-001", 12.5, 1000, "healthy"),
        ("Lambda", "errors", "payment-processing-dev-001", 12, 10, "unhealthy"),
        ("SQS", "age_of_oldest_message", "failed-transactions-dev-001", None, 900, "unknown"),
    ]
    fields = ("service", "metric", "resource", "value", "threshold", "status")
    with colored(color):
        print_checks([dict(zip(fields, one, strict=True)) for one in checks])
    check("health", color)


@COLORS
def test_subscriptions(color: bool, check: Check) -> None:
    with colored(color):
        print_subscriptions(
            [
                Subscription("email", "new@example.com", ""),
                Subscription("https", "https://pager.example.com/hook", "arn:aws:sns:x:1:t:1"),
            ]
        )
    check("subscriptions", color)


def logged(seconds: int, text: str | dict[str, object]) -> LogLine:
    moment = int((NOW + timedelta(seconds=seconds)).timestamp() * 1000) + 7
    return LogLine("group", moment, text if isinstance(text, str) else json.dumps(text))


@COLORS
def test_logs(color: bool, check: Check) -> None:
    common: dict[str, object] = {
        "service": "payment-dev-001",
        "request_id": "3135a74c-07fc-42e2-a6eb-8faa7a3985f7",
    }
    lines = (
        ("validation", logged(0, {"level": "INFO", "message": "validate", "status": 200})),
        (
            "processing",
            logged(
                1,
                common
                | {"level": "ERROR", "message": "process failed", "transaction_id": ID}
                | {"reason": "gateway_unavailable", "code": "Simulated"},
            ),
        ),
        (
            "health",
            logged(
                1,
                {"level": "INFO", "message": "health report", "overall_status": "healthy"}
                | {"report": {"timestamp": "...", "checks": [{"service": "SQS"}]}},
            ),
        ),
        ("retry", logged(2, "START RequestId: 1 Version: $LATEST")),
        ("retry", logged(3, "Task timed out after 50.00 seconds")),
        (
            "api",
            logged(4, {"httpMethod": "POST", "resourcePath": "/process", "status": "429"}),
        ),
    )
    with colored(color):
        for name, line in lines:
            click.echo(entry(line, name).text(WIDTH))
    check("logs", color)


LETTER = DeadLetter(
    id="5f0c954e-9f3a-4c8b-8a41-9e3d3c1f0a11",
    transaction_id=ID,
    operation="process",
    reason="gateway_unavailable",
    first_failed_at="2026-11-24T10:00:00.000000+00:00",
    sent_at=ago(hours=2),
    receives=4,
    body="{}",
    attributes={},
    handle="handle",
)


@COLORS
def test_dead_letters(color: bool, check: Check) -> None:
    other = DeadLetter(
        "0a7b0c51-1111-4222-8333-94e5f6a7b8c9", "", "", "not JSON", "", ago(days=13), 5, "", {}, ""
    )
    with colored(color):
        print_messages([LETTER, other], NOW)
    check("failed-list", color)


@COLORS
def test_a_dead_letter_beside_its_row(color: bool, check: Check) -> None:
    message = {
        "id": LETTER.id,
        "operation": LETTER.operation,
        "body": {
            "transaction_id": ID,
            "record": {"customer_id": "cust-12345", "amount": "100.50"},
        },
    }
    row = {"transaction_id": ID, "customer_id": "cust-12345", "amount_minor": 10050}
    with colored(color):
        print_message(masked({"message": message, "row": row}))
        print_message(masked({"message": {"id": LETTER.id, "body": "rubbish"}, "row": None}))
    check("failed-show", color)


@COLORS
def test_a_destruction(color: bool, check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    role = Kept(
        "payment-infra-prod-eu-PaymentAPICloudWatchRole-81C16E2D55DE5",
        "AWS::IAM::Role",
        "every API of the region may log with it",
        "aws iam delete-role --role-name payment-infra-prod-eu-PaymentAPICloudWatchRole-81C16E2D5",
    )
    copy = Kept(
        "transactions-prod-eu-20261124T100000Z",
        "AWS::DynamoDB::Table",
        "a restore made it outside the stack; payments are in it now",
        "aws dynamodb delete-table --table-name transactions-prod-eu-20261124T100000Z",
    )
    found = Destruction(
        stack="payment-infra-prod-eu",
        region="eu-central-1",
        goes={"AWS::CloudWatch::Alarm": 18, "AWS::DynamoDB::Table": 1, "AWS::Lambda::Function": 4},
        table="transactions-prod-eu",
        items=1_250_000,
        messages={"failed-transactions-dlq-prod-eu": 2},
        protected_by=(),
        record=Record(),
        callers=Callers(
            "arn:aws:iam::123456789012:policy/PaymentCallerPolicy",
            (Principal("role", "Checkout"), Principal("user", "ci")),
            "policy x: not allowed to call ListEntitiesForPolicy (AccessDenied)",
        ),
        kept=(role, copy),
        log_groups=(),
    )
    with colored(color):
        echo(draw_destruction(found, WIDTH))
    check("destroy", color)
    with colored(color):
        echo(draw_remains([role, copy]))  # whose commands are to be copied, and so are not cut
    snapshots.check("remains", capsys.readouterr().out, color=color)
