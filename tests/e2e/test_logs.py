"""The logs of an environment, with a payment that was retried, and while they come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import (
    PAYMENT,
    PROGRAMS,
    Deployed,
    aws_variables,
    clean_environment,
    run,
    until,
)
from tests.e2e.terminal import CTRL_C, at_terminal

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator
    from tests.e2e.conftest import Deploy

SUFFIX = ("--suffix", "logs-1")


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy) -> Deployed:
    return deploy(aws, "logs-1", authorization="none")


def test_the_story_of_one_payment_goes_across_functions_and_retries(
    aws: Emulator, deployed: Deployed, tmp_path: Path
) -> None:
    api = deployed.api()
    transaction_id = str(api.call("POST", "validate", PAYMENT).field("transaction_id"))
    api.call("POST", "validate", PAYMENT)
    message = {
        "version": 1,
        "operation": "process",
        "transaction_id": transaction_id,
        "reason": "store_unavailable",
        "request_id": "the-first-request",
        "first_failed_at": "2026-11-22T21:27:00.000000+00:00",
    }
    deployed.session.client("sqs").send_message(
        QueueUrl=deployed.stack.physical_ids()["FailedTransactionsQueue"],
        MessageBody=json.dumps(message),
    )
    until(lambda: deployed.logged("Retry", transaction_id))
    api.call("POST", "process", {"transaction_id": transaction_id})

    def story() -> list[dict[str, str]]:
        result = run(
            "payment-infra",
            *("logs", *SUFFIX, "--transaction", transaction_id, "--output", "json"),
            cwd=tmp_path,
            **aws_variables(aws.url),
        )
        assert result.returncode == 0, result.stderr
        return [json.loads(one) for one in result.stdout.splitlines()]

    lines = until(lambda: found if len(found := story()) > 3 else None)
    functions = [one["function"] for one in lines]
    assert functions[0] == "validation"
    assert functions[-1] == "processing"
    assert "retry" in functions
    assert [one["time"] for one in lines] == sorted(one["time"] for one in lines)
    assert {one["fields"]["transaction_id"] for one in lines} == {transaction_id}


def test_logs_that_are_followed_come_once_until_ctrl_c(
    aws: Emulator, deployed: Deployed, tmp_path: Path
) -> None:
    variables = clean_environment(tmp_path) | aws_variables(aws.url)
    arguments = [str(PROGRAMS / "payment-infra"), "logs", "validation", *SUFFIX, "--follow"]
    api = deployed.api()
    first = str(api.call("POST", "validate", PAYMENT).field("transaction_id"))
    with at_terminal(arguments, tmp_path, variables, columns=200) as terminal:
        terminal.until(first)
        second = str(api.call("POST", "validate", PAYMENT).field("transaction_id"))
        terminal.until(second)
        third = str(api.call("POST", "validate", PAYMENT).field("transaction_id"))
        terminal.until(third)
        terminal.press(CTRL_C)
        assert terminal.end() == 130
        assert [terminal.text.count(one) for one in (first, second, third)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--since", "yesterday"), "write 15m or -15m for that long ago"),
        (("--transaction", "a b"), "1 to 128 visible ASCII"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(
    aws: Emulator, deployed: Deployed, tmp_path: Path, arguments: tuple[str, str], told: str
) -> None:
    result = run(
        "payment-infra", "logs", *SUFFIX, *arguments, cwd=tmp_path, **aws_variables(aws.url)
    )
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert told in line
