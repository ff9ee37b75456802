"""What others wrote cannot act on the terminal, wherever it is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra import names
from payment_infra.cli.views.text import cut, cut_right
from payment_infra.foreign import escaped
from tests.aws import FakeAws, FakeStack, Refused, event
from tests.functional.conftest import refused
from tests.transcripts import Clock, at_terminal, screen

if TYPE_CHECKING:
    from tests.functional.conftest import Cli

ENVIRONMENT = ("--suffix", "dev")
ACTING = "a\x1b]0;b\x07\x9b2J\u202ec\ud800"
SHOWN = r"a\x1b]0;b\x07\x9b2J\u202ec\ud800"
GROUP = "ValidationLogGroup"
NOW = 1_795_540_000_000


@pytest.fixture
def aws() -> FakeAws:
    groups = [f"{name}LogGroup" for name in ("Validation", "Processing", "HealthMonitor", "Retry")]
    stack = FakeStack(
        "payment-infra-dev",
        parameters={names.TRANSACTIONS_TABLE_OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev"},
        resources=dict.fromkeys(groups, "CREATE_COMPLETE"),
    )
    return FakeAws(stacks={stack.name: stack}, logs={name: [] for name in groups})


def log(aws: FakeAws, *texts: str) -> None:
    aws.logs[GROUP] = [{"timestamp": NOW, "message": text} for text in texts]


def logs(cli: Cli, *more: str) -> str:
    result = cli("logs", *ENVIRONMENT, "--since", "2026-11-20T00:00:00Z", "--all", *more)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_log_lines_are_shown_escaped(cli: Cli, aws: FakeAws) -> None:
    fields = {"level": "INFO", "message": ACTING, f"name{ACTING}": ACTING, "more": [ACTING]}
    log(aws, json.dumps(fields), f"plain {ACTING}", "REPORT\tDuration", "one\n11-24 00:00:00 two")
    text = logs(cli)
    assert text == escaped(text, keep="\n\t")
    assert f"INFO      {SHOWN}  name{SHOWN}={SHOWN}" in text
    assert f"plain {SHOWN}" in text
    assert "REPORT\tDuration" in text
    assert "one\n    11-24 00:00:00 two" in text


def test_log_lines_are_json_as_they_are_and_none_stops_the_others(cli: Cli, aws: FakeAws) -> None:
    log(aws, "[" * 100_000, '{"a": NaN}', json.dumps({"message": ACTING}), ACTING)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = [
        json.loads(one, parse_constant=refuse) for one in logs(cli, "--output", "json").splitlines()
    ]
    assert [one.get("message") or one["fields"]["message"] for one in found] == [
        "[" * 100_000,
        '{"a": NaN}',
        ACTING,
        ACTING,
    ]


def failing(aws: FakeAws) -> None:
    stack = aws.stacks["payment-infra-dev"]
    reason = f"first {ACTING}\nsecond"
    going_on: tuple[str, list[Any]] = ("UPDATE_IN_PROGRESS", [])
    end = ("UPDATE_FAILED", [event(2, f"Table{ACTING}", "UPDATE_FAILED", reason)])
    stack.timeline.extend([going_on, going_on, end])


@pytest.mark.parametrize("live", [True, False])
def test_reasons_of_events_and_errors_are_shown_escaped(
    cli: Cli, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    at_terminal(monkeypatch, 200, Clock(1), live=live)
    failing(aws)
    result = cli("watch", *ENVIRONMENT, "--no-color")
    assert result.exit_code == 3, result.output
    text = screen(result.stderr)
    assert text.count(f"first {SHOWN} second") == 2
    assert text == escaped(text, keep="\n")


def test_an_error_of_aws_is_shown_escaped_on_one_line(cli: Cli, aws: FakeAws) -> None:
    aws.errors["logs:FilterLogEvents"] = Refused("InternalError", f"no\n{ACTING}")
    line = refused(cli("logs", *ENVIRONMENT), 1)
    assert line == rf"log groups: FilterLogEvents failed: no\n{SHOWN}"


def test_a_table_and_a_screen_show_names_escaped(cli: Cli, aws: FakeAws) -> None:
    aws.stacks["payment-infra-dev"].outputs = {"Name": ACTING}
    assert cli("outputs", *ENVIRONMENT).stdout.splitlines()[1].split() == ["Name", SHOWN]
    assert cut(f"why {ACTING}", 80) == f"why {SHOWN}"
    assert len(cut(ACTING, 8)) == len(cut_right(ACTING, 8)) == 8
