"""A deletion: what it refuses before the question, and what it does in which order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.destroying.deletion import Destroyed, DestroyOptions, destroy
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.config import StackConfig
from payment_infra.errors import AwsError, Declined, Interrupted
from payment_infra.record import build_record
from payment_infra.sources import resolve
from tests.operators import FakeOperator
from tests.stacks import event
from tests.tables import FakeTables

if TYPE_CHECKING:
    from payment_infra.cloud.destroying.destruction import Destruction
    from payment_infra.cloud.events import Event
    from tests.aws import FakeAws

NAME = "payment-infra-dev"
QUESTION = f"Delete the stack {NAME} in eu-central-1 with 0 resources?"


@pytest.fixture
def operator() -> FakeOperator:
    return FakeOperator(answer=True)


@pytest.fixture
def aws(aws: FakeAws) -> FakeAws:
    aws.answers |= FakeTables().answers()
    topic = {"Metadata": build_record(StackConfig())}
    aws.stacks[NAME].template = json.dumps({"Resources": {"AlarmTopic": topic}, "Parameters": {}})
    aws.stacks[NAME].resources = {}
    return aws


def run(aws: FakeAws, operator: FakeOperator, shown: list[Destruction]) -> Destroyed | None:
    session = aws.session()
    stack = Stack(session.client("cloudformation"), NAME, lambda _: None, "--suffix dev")
    resolved = resolve({"suffix": "dev"}, {})
    return destroy(session, stack, resolved, DestroyOptions(), operator, shown.append)


def test_what_goes_is_shown_before_the_question(aws: FakeAws, operator: FakeOperator) -> None:
    shown: list[Destruction] = []
    operator.answer = False
    with pytest.raises(Declined):
        run(aws, operator, shown)
    assert [found.stack for found in shown] == [NAME]
    assert (operator.asked, aws.changes()) == ([QUESTION], [])


def test_a_stack_that_is_not_there_is_nothing_to_ask_about(
    aws: FakeAws, operator: FakeOperator
) -> None:
    aws.stacks.clear()
    assert run(aws, operator, []) is None
    assert (operator.asked, aws.changes()) == ([], [])


def test_a_protected_stack_is_not_deleted_and_nobody_is_asked(
    aws: FakeAws, operator: FakeOperator
) -> None:
    aws.stacks[NAME].protected = True
    shown: list[Destruction] = []
    with pytest.raises(AwsError, match="--no-termination-protection` lifts it"):
        run(aws, operator, shown)
    assert (len(shown), operator.asked, aws.changes()) == (1, [], [])


def test_ctrl_c_while_it_is_deleted_says_that_it_is_in_progress_and_offers_no_cancel(
    aws: FakeAws, operator: FakeOperator
) -> None:
    def press(_: Event) -> None:
        if aws.called("cloudformation:DeleteStack"):
            raise KeyboardInterrupt

    operator.on_tell = press
    aws.timeline = [("DELETE_IN_PROGRESS", [event(1, NAME, "DELETE_IN_PROGRESS")])]
    with pytest.raises(Interrupted) as interrupted:
        run(aws, operator, [])
    assert "is still in progress" in str(interrupted.value)
    assert "cancel" not in str(interrupted.value)


def test_what_was_deleted_tells_what_remains(aws: FakeAws, operator: FakeOperator) -> None:
    done = run(aws, operator, [])
    assert done is not None
    assert (done.saved, done.log_groups) == ({}, [])
    assert [kept.name for kept in done.remains] == ["payment-infra-operations"]
    assert aws.stacks == {}
    assert operator.asked == [QUESTION]


@pytest.mark.parametrize("status", ["UPDATE_IN_PROGRESS", "CREATE_IN_PROGRESS"])
def test_a_stack_with_something_in_progress_is_not_deleted_and_nobody_is_asked(
    aws: FakeAws, operator: FakeOperator, status: str
) -> None:
    aws.stacks[NAME].status = status
    with pytest.raises(AwsError, match=f"is busy: {status} since .*; nothing was done"):
        run(aws, operator, [])
    assert (operator.asked, aws.changes()) == ([], [])
