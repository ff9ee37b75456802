"""Deployments and the lock: who takes it, when, and what a second one does meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.environment import locking
from payment_infra.cloud.environment.locking import Held, Lock, Overtaken
from payment_infra.cloud.events import Caution, Event, Preview, Result, StackEvent
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import AwsError, Declined, Interrupted
from payment_infra.names import OPERATIONS_TABLE, own_table
from payment_infra.sources import resolve
from tests.aws import FakeAws, FakeBucket, event
from tests.operators import FakeOperator
from tests.stacks import Answer, own_event
from tests.tables import FakeTables

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session

NAME = "payment-infra-dev"
COMMAND = "payment-infra deploy --suffix dev"


class Killed(BaseException):
    """The program is no more."""


@dataclass
class Account(FakeAws):
    """Kills whoever makes the call of this number, or one after it."""

    kill_at: int | None = None
    # Is told of each call, after it was answered: how many there were, and its name.
    after: Callable[[int, str], object] = lambda _, __: None

    def answer(self, service: str, operation: str, params: Answer) -> Answer:
        if self.kill_at is not None and len(self.calls) >= self.kill_at - 1:
            raise Killed
        answer = super().answer(service, operation, params)
        self.after(len(self.calls), operation)
        return answer


@pytest.fixture
def aws() -> Account:
    return account()


def account() -> Account:
    return Account(buckets={"zips": FakeBucket()})


def deploy(
    aws: FakeAws,
    operator: FakeOperator | None = None,
    on_sleep: Callable[[], None] = lambda: None,
    flags: Mapping[str, object] | None = None,
    **options: Any,
) -> Result:
    session = aws.session()
    resolved = resolve({"suffix": "dev", "bucket": "zips", **(flags or {})}, {})
    stack = Stack(session.client("cloudformation"), NAME, lambda _: on_sleep(), "--suffix dev")
    chosen = DeployOptions(**{"yes": True, "command": COMMAND, **options})
    return Deployment(session, stack, resolved, chosen, operator or FakeOperator()).run()


def acquire(aws: FakeAws, operation: str = "restore", **options: Any) -> Lock:
    session = aws.session()
    stack = Stack(session.client("cloudformation"), NAME, lambda _: None, "--suffix dev")
    return Lock.acquire(session, stack, operation, lambda _: None, **options)


def held(aws: FakeAws) -> Held | None:
    session = aws.session()
    return locking.find(session, Stack(session.client("cloudformation"), NAME))


def of_the_lock(aws: FakeAws) -> list[str]:
    return [name for name, params in aws.calls if params.get("TableName") == OPERATIONS_TABLE]


FASTER: dict[str, object] = {"throttle_rate_limit": 5}


def test_a_creation_that_ends_before_the_lock_is_taken_is_in_nobodys_way(aws: Account) -> None:
    tables = FakeTables()
    aws.answers |= tables.answers()

    def create_beside(_: int, name: str) -> None:
        # Right after the first look, which finds no stack.
        if name == "GetAccount" and not aws.stacks:
            aws.after = lambda _, __: None
            assert deploy(aws).changed
            tables.add(own_table("dev"))

    aws.after = create_beside
    assert deploy(aws, flags=FASTER).changed
    assert aws.stacks[NAME].parameters["ThrottleRateLimit"] == "5"
    assert aws.stacks[NAME].status == "UPDATE_COMPLETE"


def test_a_deployment_has_the_lock_from_before_its_first_change_to_its_end(aws: Account) -> None:
    assert deploy(aws).changed
    names = [name for name, _ in aws.calls]
    first, last = (
        names.index("dynamodb:UpdateItem"),
        len(names) - 1 - names[::-1].index("dynamodb:UpdateItem"),
    )
    changes = [number for number, name in enumerate(names) if name in set(aws.changes())]
    assert first < changes[0]
    assert changes[-1] < last
    assert all(
        names[number - 1] == "dynamodb:GetItem"
        for number in changes
        if names[number].startswith("cloudformation:")
    )
    assert held(aws) is None


def test_an_unchanged_deployment_takes_none(aws: Account) -> None:
    deploy(aws)
    aws.calls.clear()
    with acquire(aws):
        before = len(of_the_lock(aws))
        assert not deploy(aws).changed
        assert len(of_the_lock(aws)) == before


def test_an_unchanged_deployment_that_protects_the_stack_takes_it(aws: Account) -> None:
    deploy(aws)
    flags = {"termination_protection": True}
    with acquire(aws), pytest.raises(AwsError, match="is held by"):
        deploy(aws, flags=flags, wait=False)
    assert not aws.stacks[NAME].protected
    assert not deploy(aws, flags=flags).changed
    assert aws.stacks[NAME].protected


def test_a_change_set_that_is_left_takes_none_and_its_execution_does(aws: Account) -> None:
    deploy(aws)
    aws.calls.clear()
    operator = FakeOperator()
    with acquire(aws):
        before = len(of_the_lock(aws))
        deploy(aws, operator, flags=FASTER, execute=False)
        assert len(of_the_lock(aws)) == before
        [preview] = operator.of(Preview)
        with pytest.raises(AwsError, match="is held by"):
            deploy(aws, change_set=preview.change_set, wait=False)
    assert deploy(aws, change_set=preview.change_set).changed
    assert held(aws) is None


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "UPDATE_FAILED", "DELETE_FAILED"])
def test_what_has_to_be_mended_first_is_mended_with_the_lock(status: str, aws: Account) -> None:
    deploy(aws)
    deploy(aws, flags=FASTER)
    aws.stacks[NAME].happen(status)
    aws.calls.clear()
    for execute in (True, False):
        with acquire(aws), pytest.raises(AwsError, match="is held by"):
            deploy(aws, execute=execute, wait=False)
    assert aws.changes() == []
    deploy(aws)
    assert aws.stacks[NAME].status.endswith("_COMPLETE")
    assert held(aws) is None


@pytest.mark.parametrize(("yes", "wait"), [(True, False), (False, None), (False, False)])
def test_a_second_deployment_is_refused_with_the_command_that_takes_over(
    yes: bool, wait: bool | None, aws: Account
) -> None:
    with acquire(aws):
        with pytest.raises(AwsError) as refused:
            deploy(aws, FakeOperator(answer=True), yes=yes, wait=wait)
        assert str(refused.value).endswith(f"`{COMMAND} --take-over 1`")
    assert aws.changes() == []


@pytest.mark.parametrize(("yes", "wait"), [(True, None), (False, True)])
def test_a_second_deployment_that_may_wait_reads_again_what_it_then_finds(
    yes: bool, wait: bool | None, aws: Account
) -> None:
    deploy(aws)
    lock = acquire(aws).__enter__()
    aws.calls.clear()

    def end() -> None:
        if lock.generation and of_the_lock(aws).count("dynamodb:UpdateItem") == 3:
            lock.__exit__(None, None, None)
            lock.generation = 0
            deploy(aws, flags=FASTER)
            aws.calls.clear()

    operator = FakeOperator(answer=True)
    result = deploy(aws, operator, end, flags=FASTER, yes=yes, wait=wait)
    assert result == Result(NAME, "UPDATE_COMPLETE", changed=False)
    assert aws.changes() == []
    assert operator.of(Preview) == []


def test_a_declined_question_releases_it(aws: Account) -> None:
    with pytest.raises(Declined):
        deploy(aws, FakeOperator(answer=False), yes=False)
    assert "dynamodb:UpdateItem" in of_the_lock(aws)
    assert held(aws) is None
    assert deploy(aws).changed


def test_the_lock_is_held_while_the_question_is_open(aws: Account) -> None:
    seen = []

    class Slow(FakeOperator):
        def confirm(self, question: str, agreed: bool, flag: str = "--yes") -> None:
            seen.append(held(aws))

    deploy(aws, Slow(answer=True), yes=False)
    [found] = seen
    assert found is not None
    assert found.operation == "deploy"


def test_detach_hands_it_over_to_the_stacks_operation(aws: Account) -> None:
    deploy(aws)
    aws.timeline = [("UPDATE_IN_PROGRESS", [])] * 4
    deploy(aws, flags=FASTER, detach=True)
    found = held(aws)
    assert found is not None
    assert found.stack_id == aws.stacks[NAME].id
    with pytest.raises(AwsError, match=r"`payment-infra watch .*`payment-infra cancel"):
        acquire(aws, "destroy")
    aws.stacks[NAME].timeline.clear()
    aws.stacks[NAME].happen("UPDATE_COMPLETE")
    with acquire(aws, "destroy"):
        pass


def test_ctrl_c_while_it_goes_on_hands_it_over(aws: Account) -> None:
    def press(told: Event) -> None:
        if isinstance(told, StackEvent):
            raise KeyboardInterrupt

    deploy(aws)
    aws.timeline = [("UPDATE_IN_PROGRESS", [])] * 4
    with pytest.raises(Interrupted):
        deploy(aws, FakeOperator(on_tell=press), flags=FASTER)
    found = held(aws)
    assert found is not None
    assert found.stack_id == aws.stacks[NAME].id


def test_who_holds_it_follows_the_rollback_that_another_has_begun(aws: Account) -> None:
    deploy(aws)
    stack = aws.stacks[NAME]
    cancelled = own_event(stack, 90, "UPDATE_ROLLBACK_IN_PROGRESS")
    aws.timeline = [
        ("UPDATE_IN_PROGRESS", [event(80, "AlarmTopic", "UPDATE_IN_PROGRESS")]),
        ("UPDATE_ROLLBACK_IN_PROGRESS", [cancelled]),
        ("UPDATE_ROLLBACK_COMPLETE", [own_event(stack, 99, "UPDATE_ROLLBACK_COMPLETE")]),
    ]
    operator = FakeOperator(on_tell=lambda _: seen.append(held(aws)))
    seen: list[Held | None] = []
    with pytest.raises(Exception, match="UPDATE_ROLLBACK_COMPLETE"):
        deploy(aws, operator, flags=FASTER)
    assert all(one is not None and not one.stack_id for one in seen)
    assert held(aws) is None


def calls() -> list[int]:
    """Return the numbers of the calls that a first deployment makes, of uploads only the first."""
    aws = account()
    deploy(aws)
    names = [name for name, _ in aws.calls]
    return [
        number
        for number, name in enumerate(names, 1)
        if not name.startswith("s3:") or names.index(name) == number - 1
    ]


def test_a_deployment_that_was_killed_at_any_call_is_taken_over_and_ends_well() -> None:
    numbers, taken_over = calls(), []
    for number in numbers:
        aws = account()
        aws.kill_at = number
        with pytest.raises(Killed):
            deploy(aws)
        aws.kill_at = None
        left = held(aws)
        if left is not None:
            taken_over.append(number)
        operator = FakeOperator()
        deploy(aws, operator, flags=FASTER, take_over=left.generation if left else None)
        assert aws.stacks[NAME].status.endswith("E_COMPLETE")
        assert aws.stacks[NAME].parameters["ThrottleRateLimit"] == "5"
        assert held(aws) is None
        assert bool(left) == any("took the lock" in one.message for one in operator.of(Caution))
    # From the call after the one that takes it to the one that releases it.
    assert taken_over == [number for number in numbers if number >= taken_over[0]]
    assert len(taken_over) > 10


def test_a_deployment_that_is_overtaken_at_any_call_changes_nothing_more() -> None:
    overtaken = 0
    for number in calls():
        aws = account()
        changed: list[list[str]] = []

        def overtake(
            made: int,
            operation: str,
            at: int = number,
            aws: Account = aws,
            changed: list[list[str]] = changed,
        ) -> None:
            if made != at:
                return
            aws.after = lambda _, __: None
            if (found := held(aws)) is not None:
                acquire(aws, take_over=found.generation)
                # What was let through just before is on its way.
                changed.append(aws.changes() + [""] * (operation == "GetItem"))

        aws.after = overtake
        with suppress(Overtaken):
            deploy(aws)
        for before in changed:
            overtaken += 1
            late = aws.changes()[len(before) :]
            assert set(late) <= {"s3:PutObject"}  # some are on their way at once
    assert overtaken > 10


def test_a_session_is_free_again_after_a_deployment(aws: Account) -> None:
    session: Session = aws.session()
    stack = Stack(session.client("cloudformation"), NAME, lambda _: None, "--suffix dev")
    resolved = resolve({"suffix": "dev", "bucket": "zips"}, {})
    Deployment(session, stack, resolved, DeployOptions(yes=True), FakeOperator()).run()
    assert session.guard is None
