"""An environment in memory, whose resources are named as in the template."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from payment_infra import names
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.stacks.stack import Stack
from tests.aws import FakeAws, FakeStack

STARTED = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
RESOURCES = (
    *("FailedTransactionsQueue", "FailedTransactionsDLQ", "AlarmTopic", "TransactionsTable"),
    *("RetryEventSource", "PaymentAPI", "ValidationFunction", "ProcessingFunction"),
    "RetryFunction",
)
TABLE = "TransactionsTable"


@pytest.fixture
def aws() -> FakeAws:
    parameters = {names.TRANSACTIONS_TABLE_OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev"}
    stack = FakeStack(
        "payment-infra-dev",
        parameters=parameters,
        outputs={"TransactionsTableName": TABLE},
        resources=dict.fromkeys(RESOURCES, "CREATE_COMPLETE"),
    )
    return FakeAws(stacks={stack.name: stack})


@pytest.fixture
def environment(aws: FakeAws) -> Environment:
    session = aws.session()
    stack = Stack(
        session.client("cloudformation"), "payment-infra-dev", lambda _: None, "--suffix dev"
    )
    return Environment.find(session, stack, "dev")
