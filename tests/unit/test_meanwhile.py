"""What somebody else does to a stack between any two calls of a command is told as that.

He has no lock: the AWS CLI, the console, another tool.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, partial

import pytest

from payment_infra.cloud.deploying import forecast
from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.environment import locking
from payment_infra.cloud.stacks import intervention
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import PaymentInfraError
from payment_infra.sources import resolve
from tests.aws import FakeAws, FakeBucket
from tests.operators import FakeOperator
from tests.stacks import Answer, own_event

NAME = "payment-infra-dev"
REVIEW = "REVIEW_IN_PROGRESS"
# What AWS says, and nobody understands.
RAW = ("ChangeSetNotFound", "does not exist", "state and can", "already exists", " failed: ")


@dataclass
class Shared(FakeAws):
    """An account in which somebody else acts once, before the call of this number to a stack.

    Or before the first call of an operation.
    """

    act: Callable[[Shared], object] = lambda _: None
    at: int = 0
    before: str = ""
    seen: int = 0
    acted: bool = False
    theirs: list[str] = field(default_factory=list)

    def answer(self, service: str, operation: str, params: Answer) -> Answer:
        if service == "cloudformation":
            self.seen += 1
            if self.seen == self.at or (operation == self.before and not self.acted):
                self.acted = True
                self.act(self)
        return super().answer(service, operation, params)


def account() -> Shared:
    return Shared(buckets={"zips": FakeBucket()})


@cache
def _deployed() -> Shared:
    aws = account()
    assert deploy(aws)
    aws.seen = 0
    return aws


def deployed() -> Shared:
    return deepcopy(_deployed())


def stack_of(aws: Shared) -> Stack:
    return Stack(aws.session().client("cloudformation"), NAME, lambda _: None, "--suffix dev")


def deploy(aws: Shared, rate: int = 1000) -> bool:
    session = aws.session()
    flags: dict[str, object] = {"suffix": "dev", "bucket": "zips", "throttle_rate_limit": rate}
    options = DeployOptions(yes=True)
    operator = FakeOperator()
    return Deployment(session, stack_of(aws), resolve(flags, {}), options, operator).run().changed


def delete(aws: Shared) -> None:
    if stack := aws.stacks.get(NAME):
        event = own_event(stack, 99, "DELETE_IN_PROGRESS", token="Console-DeleteStack-1")
        stack.happen("DELETE_COMPLETE", [event])
        aws._bury(stack)


def begin(aws: Shared) -> None:
    """Begin to create or to update the stack, and go away."""
    stack = aws.stacks.get(NAME)
    if stack and stack.status.endswith("_IN_PROGRESS") and stack.status != REVIEW:
        return  # he is refused
    name = f"awscli-{len(aws.theirs)}"
    aws.theirs.append(name)
    values = {"ThrottleRateLimit": "7", "EnvironmentSuffix": "dev", "ArtifactBucket": "zips"}
    aws.create_change_set(
        {
            "StackName": NAME,
            "ChangeSetName": name,
            "ChangeSetType": "UPDATE" if stack and stack.status != REVIEW else "CREATE",
            "TemplateBody": _deployed().stacks[NAME].template,
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value} for key, value in values.items()
            ],
        }
    )
    token = {"ClientRequestToken": "Console-UpdateStack-1"}
    aws.execute_change_set({"ChangeSetName": name, "StackName": NAME, **token})


def update(aws: Shared) -> None:
    """Update the stack, to the end."""
    begin(aws)
    stack = aws.stacks[NAME]
    while stack.timeline:
        stack.happen(*stack.timeline.popleft())


def make_anew(aws: Shared) -> None:
    delete(aws)
    begin(aws)


def delete_change_sets(aws: Shared) -> None:
    aws.change_sets.clear()


def execute_change_sets(aws: Shared) -> None:
    for key in [*aws.change_sets][:1]:
        aws.execute_change_set({"ChangeSetName": key})


ACTS = [delete, begin, make_anew, delete_change_sets, execute_change_sets]


def attempt(run: Callable[[], object]) -> str:
    """Run something; return the line that it ended with, "" if it came to its end."""
    try:
        run()
    except PaymentInfraError as error:
        return str(error)
    return ""


def check_line(line: str) -> None:
    assert "\n" not in line
    assert not [raw for raw in RAW if raw in line], line
    assert "somebody else" not in line or "repeat the command" in line, line


def check_nothing_left(aws: Shared) -> None:
    """Make sure that nothing half made of ours is left, and the lock is free."""
    aws.at = 0
    assert {one["name"] for one in aws.change_sets.values()} <= set(aws.theirs)
    stack = aws.stacks.get(NAME)
    assert stack is None or stack.status != REVIEW or aws.change_sets
    assert locking.find(aws.session(), stack_of(aws)) is None


def at_every_call(
    begins: Callable[[], Shared], act: Callable[[Shared], None], run: Callable[[Shared], object]
) -> list[str]:
    """Run something once for each of its calls, before which somebody acts; return its ends."""
    lines = list[str]()
    while True:
        aws = begins()
        aws.act, aws.at = act, len(lines) + 1
        line = attempt(partial(run, aws))
        if not aws.acted:
            return lines
        lines.append(line)
        if line:
            check_line(line)
        check_nothing_left(aws)


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
@pytest.mark.parametrize("begins", [account, deployed], ids=["creation", "update"])
def test_what_somebody_does_during_a_deployment_is_told_and_leaves_nothing_half_made(
    begins: Callable[[], Shared], act: Callable[[Shared], None]
) -> None:
    lines = at_every_call(begins, act, partial(deploy, rate=5))
    assert {"", *lines} > {""}
    assert all(line in ("", lines[0]) or "somebody else has" in line for line in lines)


@pytest.mark.parametrize("operation", ["ValidateTemplate", "CreateChangeSet", "ExecuteChangeSet"])
def test_an_update_that_was_worked_out_for_another_state_is_not_executed(operation: str) -> None:
    aws = deployed()
    aws.act, aws.before = update, operation
    line = attempt(partial(deploy, aws, rate=5))
    assert line.startswith(f"stack {NAME}: somebody else has changed it meanwhile (UPDATE_COMPLETE")
    assert aws.stacks[NAME].parameters["ThrottleRateLimit"] == "7"
    check_nothing_left(aws)


@pytest.mark.parametrize("act", [delete, begin, make_anew], ids=lambda act: act.__name__)
def test_what_somebody_does_during_a_comparison_or_an_upload_is_told(
    act: Callable[[Shared], None],
) -> None:
    resolved = resolve({"suffix": "dev", "bucket": "zips"}, {})

    def compare(aws: Shared) -> None:
        forecast.compare(aws.session(), stack_of(aws), resolved)

    def prepare(aws: Shared) -> None:
        forecast.prepare(aws.session(), stack_of(aws), resolved, lambda _: None)

    for run in (compare, prepare):
        assert len(at_every_call(deployed, act, run)) >= 2


@pytest.mark.parametrize("status", ["CREATE_FAILED", "UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED"])
@pytest.mark.parametrize("act", [delete, make_anew], ids=lambda act: act.__name__)
def test_what_somebody_does_during_a_rollback_is_told(
    status: str, act: Callable[[Shared], None]
) -> None:
    def failed() -> Shared:
        aws = deployed()
        aws.stacks[NAME].happen(status)
        return aws

    def roll_back(aws: Shared) -> None:
        def lock() -> locking.Lock:
            return locking.Lock.acquire(session, stack_of(aws), "rollback", lambda _: None)

        session = aws.session()
        intervention.roll_back(
            stack_of(aws), FakeOperator(), check=lambda _: None, lock=lock, yes=True
        )

    assert len(at_every_call(failed, act, roll_back)) >= 4


@pytest.mark.parametrize("act", [delete, make_anew], ids=lambda act: act.__name__)
def test_what_somebody_does_while_an_update_is_cancelled_is_told(
    act: Callable[[Shared], None],
) -> None:
    def busy() -> Shared:
        aws = deployed()
        begin(aws)
        aws.stacks[NAME].timeline.clear()
        return aws

    def cancel(aws: Shared) -> None:
        intervention.cancel(stack_of(aws), FakeOperator(), check=lambda _: None, yes=True)

    assert len(at_every_call(busy, act, cancel)) >= 4


def test_it_says_who_works_on_the_stack_and_how_to_see_that() -> None:
    aws = deployed()
    stack = stack_of(aws)
    found = stack.state()
    aws.timeline = [("UPDATE_IN_PROGRESS", [])] * 9
    begin(aws)
    assert stack.find_change(found) == (
        f"stack {NAME}: somebody else works on it meanwhile (UPDATE_IN_PROGRESS since "
        "2026-11-22T21:27:01Z, begun in the CloudFormation console); nothing more was changed by "
        "this command, `payment-infra watch --suffix dev` shows it, repeat the command after that"
    )
    delete(aws)
    assert stack.find_change(found) == (
        f"stack {NAME}: somebody else has deleted it meanwhile (begun in the CloudFormation "
        "console); nothing more was changed by this command, repeat the command"
    )


def test_a_protection_that_somebody_has_switched_on_meanwhile_is_named() -> None:
    aws = deployed()
    stack = stack_of(aws)
    found = stack.state()
    assert found is not None
    aws.stacks[NAME].protected = True
    assert attempt(lambda: stack.delete(found)) == (
        f"stack {NAME}: somebody else has switched its termination protection on meanwhile; it was "
        "not deleted, repeat the command once that is off"
    )
