from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

from payment_infra.cloud.environment import locking
from payment_infra.cloud.environment.locking import (
    IN_FLIGHT_SECONDS,
    LOOK_SECONDS,
    SILENT_SECONDS,
    Held,
    Lock,
    Overtaken,
)
from payment_infra.cloud.environment.operations_table import ACTIONS, TAGS
from payment_infra.cloud.events import Caution, Waiting
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import AwsError, Declined, Interrupted
from payment_infra.names import OPERATIONS_TABLE
from tests.aws import ACCOUNT, REGION, FakeAws, FakeStack, Refused
from tests.interleaving import SharedAws, Turns
from tests.operators import FakeOperator

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from tests.stacks import Answer

NAME = "payment-infra-dev"
NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


@dataclass
class Somebody:
    """A person with a session of their own, who takes the lock; `slept` holds their pauses."""

    aws: FakeAws
    operator: FakeOperator = field(default_factory=FakeOperator)
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], object] = lambda: None
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.session: Session = self.aws.session()
        self.stack = Stack(self.session.client("cloudformation"), NAME, self._sleep, "--suffix dev")

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()

    def acquire(self, operation: str = "deploy", **options: Any) -> Lock:
        return Lock.acquire(
            *(self.session, self.stack, operation, self.operator.tell),
            now=lambda: self.now,
            **options,
        )

    def change(self) -> None:
        """Change something, in a way that shows in the account's calls."""
        self.session.client("cloudformation").set_stack_policy(StackName=NAME, StackPolicyBody="{}")


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws(stacks={NAME: FakeStack(NAME)})


@pytest.fixture
def alice(aws: FakeAws) -> Somebody:
    return Somebody(aws)


@pytest.fixture
def bob(aws: FakeAws) -> Somebody:
    return Somebody(aws)


def held(aws: FakeAws) -> Held | None:
    return locking.find(aws.session(), Somebody(aws).stack)


def item(aws: FakeAws) -> Any:
    return aws.operations.tables[OPERATIONS_TABLE].rows().get(f"{NAME}#lock")


def refusal(acquire: Callable[[], object]) -> str:
    with pytest.raises(AwsError) as refused:
        acquire()
    return str(refused.value)


def test_whoever_has_it_is_named_until_it_is_released(aws: FakeAws, alice: Somebody) -> None:
    with alice.acquire("destroy") as lock:
        found = held(aws)
        assert found is not None
        assert found.holder.startswith(
            f"arn:aws:sts::{ACCOUNT}:assumed-role/Deployers/alice@example.com on "
        )
        assert (found.generation, found.operation, found.stack_id) == (1, "destroy", "")
        assert (found.since, found.renewed_at, lock.generation) == (NOW, NOW, 1)
    assert held(aws) is None
    assert item(aws) == {
        "stack": {"S": NAME},
        "item": {"S": "lock"},
        "generation": {"N": "1"},
    }


def test_its_generation_only_grows(aws: FakeAws, alice: Somebody, bob: Somebody) -> None:
    for generation, who in enumerate((alice, bob, alice), 1):
        with who.acquire() as lock:
            assert lock.generation == generation
    assert item(aws)["generation"] == {"N": "3"}


def test_a_second_holder_is_refused_in_one_line_that_says_who_and_what_to_do(
    aws: FakeAws, alice: Somebody, bob: Somebody
) -> None:
    bob.now = NOW + timedelta(seconds=75)
    with alice.acquire("restore"):
        alice.now = NOW + timedelta(seconds=63)
        line = refusal(lambda: bob.acquire(command="payment-infra deploy --suffix dev"))
        found = held(aws)
        assert found is not None
        assert line == (
            f"{NAME} is held by {found.holder}: restore since 2026-11-25T10:00:00Z, last "
            "renewed 75 s ago; nothing was done: wait for its end, or, only if that has really "
            "ended, `payment-infra deploy --suffix dev --take-over 1`"
        )
        assert "repeat the command with `--take-over 1`" in refusal(bob.acquire)
        alice.change()
    assert aws.changes() == ["cloudformation:SetStackPolicy"]


def test_a_renewal_is_seen_and_is_no_new_generation(
    aws: FakeAws, alice: Somebody, bob: Somebody
) -> None:
    with alice.acquire() as lock:
        alice.now = bob.now = NOW + timedelta(seconds=40)
        assert lock.renew()
        found = held(aws)
        assert found is not None
        assert (found.generation, found.since, found.renewed_at) == (1, NOW, alice.now)
        assert "last renewed 0 s ago" in refusal(bob.acquire)
    assert not lock.renew()
    assert held(aws) is None


@pytest.mark.parametrize("error", [Declined("no"), AwsError("no"), KeyboardInterrupt()])
def test_whatever_ends_the_block_it_is_released(
    error: BaseException, aws: FakeAws, alice: Somebody, bob: Somebody
) -> None:
    with pytest.raises(type(error)), alice.acquire():
        raise error
    assert "holder" not in item(aws)
    with bob.acquire():
        pass
    assert alice.session.guard is None


def test_before_each_change_the_lock_is_looked_at_and_before_what_reads_it_is_not(
    aws: FakeAws, alice: Somebody
) -> None:
    with alice.acquire():
        alice.stack.state()
        assert looks(aws) == []
        alice.change()
        [look] = looks(aws)
        assert look["ConsistentRead"] is True
    alice.change()
    assert len(looks(aws)) == 1


def looks(aws: FakeAws) -> list[Any]:
    """Return the reads of the lock itself."""
    return [
        one for one in aws.called("dynamodb:GetItem") if one["Key"]["item"]["S"] == locking.ITEM
    ]


def test_whoever_was_taken_over_changes_nothing_more(
    aws: FakeAws, alice: Somebody, bob: Somebody
) -> None:
    with alice.acquire() as first:
        alice.change()
        second = bob.acquire("restore", take_over=1)
        assert (second.generation, first.renew()) == (2, False)
        with pytest.raises(Overtaken) as overtaken:
            alice.change()
    found = held(aws)
    assert found is not None
    assert str(overtaken.value) == (
        f"the lock of {NAME} is no longer held: {found.holder} took it over (generation 2); "
        "nothing more was changed by this command"
    )
    assert aws.changes() == ["cloudformation:SetStackPolicy"]


def test_who_was_taken_over_does_not_release_it(
    aws: FakeAws, alice: Somebody, bob: Somebody
) -> None:
    with alice.acquire():
        second = bob.acquire(take_over=1)
    found = held(aws)
    assert found is not None
    assert found.generation == second.generation == 2


def test_a_takeover_waits_for_what_the_holder_has_sent(alice: Somebody, bob: Somebody) -> None:
    alice.acquire("destroy")
    assert IN_FLIGHT_SECONDS == 5 + 5 + 30
    with bob.acquire(take_over=1):
        assert sum(bob.slept) == IN_FLIGHT_SECONDS
    assert len(bob.operator.of(Waiting)) == len(bob.slept)
    [caution] = bob.operator.of(Caution)
    assert caution.message.startswith(f"took the lock of {NAME} over from arn:aws:sts::")
    assert caution.message.endswith("destroy since 2026-11-25T10:00:00Z")


def test_a_takeover_waits_by_the_time_outs_of_the_holder(
    aws: FakeAws, alice: Somebody, bob: Somebody
) -> None:
    alice.session = alice.session.unguarded(Config(connect_timeout=29.5, read_timeout=60))
    alice.acquire()
    with bob.acquire(take_over=1):
        assert sum(bob.slept) == 5 + 90
    bob.slept.clear()
    alice.acquire()
    item(aws).pop("in_flight_seconds")  # as a holder of an older release leaves it
    with bob.acquire(take_over=3):
        assert sum(bob.slept) == IN_FLIGHT_SECONDS


def test_ctrl_c_while_a_takeover_waits_releases_it(
    aws: FakeAws, alice: Somebody, bob: Somebody
) -> None:
    alice.acquire()

    def press() -> None:
        raise KeyboardInterrupt

    bob.on_sleep = press
    with pytest.raises(KeyboardInterrupt):
        bob.acquire(take_over=1)
    assert item(aws) == {"stack": {"S": NAME}, "item": {"S": "lock"}, "generation": {"N": "2"}}


@pytest.mark.parametrize("call", ["dynamodb:UpdateItem", "cloudformation:DescribeStacks"])
def test_ctrl_c_while_it_is_released_says_that_it_is_still_held(
    call: str, aws: FakeAws, alice: Somebody
) -> None:
    lock = alice.acquire()
    aws.errors[call] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt), lock:
        raise AwsError("no")
    assert [one.message for one in alice.operator.of(Caution)] == [
        f"the lock of {NAME} could not be released (interrupted); the next operation needs "
        "--take-over 1"
    ]
    assert held(aws) is not None


@pytest.mark.parametrize("generation", [1, 3])
def test_a_takeover_of_another_generation_is_refused(
    generation: int, alice: Somebody, bob: Somebody
) -> None:
    with alice.acquire():
        pass
    with alice.acquire() as lock:
        assert lock.generation == 2
        assert "--take-over 2" in refusal(lambda: bob.acquire(take_over=generation))
        lock.check()


def test_what_is_handed_over_while_a_takeover_begins_is_not_taken() -> None:
    class Late(FakeAws):
        def answer(self, service: str, operation: str, params: Answer) -> Answer:
            try:
                return super().answer(service, operation, params)
            finally:
                if len(self.called("dynamodb:UpdateItem")) == 2:  # bob has seen who holds it
                    self.stacks[NAME].status = "UPDATE_IN_PROGRESS"
                    lock.hand_over(self.stacks[NAME].id)

    aws = Late(stacks={NAME: FakeStack(NAME)})
    lock = Somebody(aws).acquire()
    assert "is held by the stack operation" in refusal(lambda: Somebody(aws).acquire(take_over=1))
    lock.check()


def test_a_takeover_of_a_lock_that_was_released_waits_for_nothing(
    alice: Somebody, bob: Somebody
) -> None:
    with alice.acquire():
        pass
    with bob.acquire(take_over=1) as lock:
        assert (lock.generation, bob.slept) == (2, [])


def test_it_is_waited_for_until_it_is_free(alice: Somebody, bob: Somebody) -> None:
    lock = alice.acquire().__enter__()

    def go_on() -> None:
        alice.now += timedelta(seconds=LOOK_SECONDS)
        lock.renew()
        if len(bob.slept) == 2 * SILENT_SECONDS / LOOK_SECONDS:
            lock.__exit__(None, None, None)

    bob.on_sleep = go_on
    with bob.acquire(wait=True) as second:
        assert second.generation == 2
    assert sum(bob.slept) == 2 * SILENT_SECONDS
    assert bob.operator.of(Waiting)[0].what.startswith(f"{NAME} is held by arn:aws:sts::")


def test_a_fault_that_passes_does_not_end_the_waiting(
    aws: FakeAws, alice: Somebody, bob: Somebody
) -> None:
    held = alice.acquire().__enter__()

    def go_on() -> None:
        if len(bob.slept) == 1:
            aws.errors["dynamodb:UpdateItem"] = Refused("InternalServerError", "not now", 500)
        else:
            aws.errors.clear()
            held.__exit__(None, None, None)

    bob.on_sleep = go_on
    with bob.acquire(wait=True) as lock:
        assert (lock.generation, bob.slept) == (2, [LOOK_SECONDS, 1])


def test_a_holder_that_gives_no_sign_of_life_is_not_waited_for_any_longer(
    alice: Somebody, bob: Somebody
) -> None:
    alice.acquire()
    assert "--take-over 1" in refusal(lambda: bob.acquire(wait=True))
    assert sum(bob.slept) == SILENT_SECONDS


@pytest.fixture
def handed_over(aws: FakeAws, alice: Somebody) -> FakeStack:
    stack = aws.stacks[NAME]
    with alice.acquire() as lock:
        stack.status = "UPDATE_IN_PROGRESS"
        lock.hand_over(stack.id)
    return stack


def test_what_was_handed_over_is_held_while_the_stack_is_in_progress(
    aws: FakeAws, handed_over: FakeStack, bob: Somebody
) -> None:
    found = held(aws)
    assert found is not None
    assert (found.stack_id, found.generation) == (handed_over.id, 1)
    for take_over in (None, 1):
        line = refusal(lambda: bob.acquire(take_over=take_over))  # noqa: B023
        assert line == (
            f"{NAME} is held by the stack operation that deploy of {found.holder} has begun, and "
            f"nothing was done; the operation on {NAME} is still in progress; `payment-infra watch "
            "--suffix dev` shows it, `payment-infra cancel --suffix dev` stops it"
        )


@pytest.mark.parametrize("status", ["UPDATE_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS"])
def test_what_was_handed_over_is_free_once_the_stack_is_at_rest(
    status: str, aws: FakeAws, handed_over: FakeStack, bob: Somebody
) -> None:
    handed_over.status = status
    assert held(aws) is None
    with bob.acquire() as lock:
        assert (lock.generation, bob.slept) == (2, [])
        assert "stack_id" not in item(aws)


def test_what_was_handed_over_is_free_once_the_stack_is_gone(
    aws: FakeAws, handed_over: FakeStack, bob: Somebody
) -> None:
    aws.deleted[NAME] = aws.stacks.pop(NAME)
    handed_over.status = "DELETE_COMPLETE"
    assert held(aws) is None
    aws.deleted.clear()
    with bob.acquire() as lock:
        assert lock.generation == 2


def test_what_was_handed_over_is_waited_for_as_long_as_it_takes(
    aws: FakeAws, handed_over: FakeStack, bob: Somebody
) -> None:
    def end() -> None:
        if sum(bob.slept) > 2 * SILENT_SECONDS:
            handed_over.status = "UPDATE_COMPLETE"

    bob.on_sleep = end
    with bob.acquire(wait=True) as lock:
        assert lock.generation == 2


def test_an_error_while_the_stack_is_in_progress_hands_it_over(
    aws: FakeAws, alice: Somebody, bob: Somebody
) -> None:
    def work() -> None:
        with alice.acquire():
            aws.stacks[NAME].status = "DELETE_IN_PROGRESS"
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        work()
    assert item(aws)["stack_id"] == {"S": aws.stacks[NAME].id}
    assert "stack operation" in refusal(bob.acquire)


def test_an_interruption_hands_it_over_although_the_stack_may_not_show_it_yet(
    aws: FakeAws, alice: Somebody
) -> None:
    with pytest.raises(Interrupted), alice.acquire():
        raise Interrupted("it goes on")
    assert item(aws)["stack_id"] == {"S": aws.stacks[NAME].id}


def test_a_stack_that_cannot_be_looked_at_may_go_on(aws: FakeAws, alice: Somebody) -> None:
    aws.errors["cloudformation:DescribeStacks"] = Refused("InternalFailure", status=500)
    with pytest.raises(AwsError), alice.acquire():
        raise AwsError("cannot be looked at any more")
    assert item(aws)["stack_id"] == {"S": NAME}


def test_a_release_that_fails_is_told_and_what_was_done_is_done(
    aws: FakeAws, alice: Somebody
) -> None:
    with alice.acquire():
        aws.errors["dynamodb:UpdateItem"] = Refused("InternalServerError", "not now", 500)
    [caution] = alice.operator.of(Caution)
    assert caution.message == (
        f"the lock of {NAME} could not be released (table {OPERATIONS_TABLE}: UpdateItem failed: "
        "not now); the next operation needs --take-over 1"
    )


def test_a_lock_that_cannot_be_looked_at_lets_nothing_be_changed(
    aws: FakeAws, alice: Somebody
) -> None:
    aws.errors["dynamodb:GetItem"] = Refused("InternalServerError", "not now", 500)
    with pytest.raises(AwsError, match="GetItem failed: not now"), alice.acquire():
        alice.change()
    assert aws.changes() == []


def test_a_lock_that_is_gone_is_not_held(aws: FakeAws, alice: Somebody) -> None:
    with alice.acquire():
        aws.operations.tables.clear()
        with pytest.raises(Overtaken, match="is no longer held: it is gone"):
            alice.change()


def test_who_takes_it_twice_because_an_answer_was_lost_has_it_once() -> None:
    class Repeating(FakeAws):
        def answer(self, service: str, operation: str, params: Answer) -> Answer:
            if operation == "UpdateItem" and len(self.called("dynamodb:UpdateItem")) == 0:
                super().answer(service, operation, params)
            return super().answer(service, operation, params)

    aws = Repeating(stacks={NAME: FakeStack(NAME)})
    with Somebody(aws).acquire() as lock:
        assert lock.generation == 1
        lock.check()
    assert item(aws)["generation"] == {"N": "1"}


def test_a_lock_whose_holder_cannot_live_is_freed(
    aws: FakeAws, alice: Somebody, bob: Somebody
) -> None:
    locking.free(bob.session, bob.stack)
    assert item(aws) is None
    alice.acquire()
    locking.free(bob.session, bob.stack)
    with bob.acquire() as lock:
        assert (lock.generation, bob.slept) == (2, [])


@pytest.mark.parametrize("take_over", [None, 1])
@pytest.mark.parametrize("seed", range(20))
def test_of_several_at_once_one_gets_it(seed: int, take_over: int | None) -> None:
    aws = SharedAws(stacks={NAME: FakeStack(NAME)})
    people = [Somebody(aws) for _ in range(3)]
    if take_over:
        Somebody(aws).acquire()
    else:
        aws.operations.tables.clear()
    locks: list[Lock] = []
    aws.turns = Turns(seed)
    raised = aws.turns.run(
        *(lambda who=who: locks.append(who.acquire(take_over=take_over)) for who in people)
    )
    aws.turns = None
    [lock] = locks
    lock.check()
    found = held(aws)
    assert found is not None
    assert found.generation == lock.generation == (2 if take_over else 1)
    refused = [one for one in raised if one is not None]
    assert [type(one) for one in refused] == [AwsError, AwsError]
    assert all(f"--take-over {lock.generation}" in str(one) for one in refused)


@pytest.mark.parametrize("seed", range(20))
def test_no_two_change_something_at_once_whatever_the_order(seed: int) -> None:
    """A takes the lock and changes three times; B takes it over at any moment, and does so too."""
    aws = SharedAws(stacks={NAME: FakeStack(NAME)})
    alice, bob = Somebody(aws), Somebody(aws)
    first = alice.acquire()
    turns: list[int] = []

    def work(who: Somebody, lock: Lock) -> None:
        with lock:
            for _ in range(3):
                who.change()
                turns.append(lock.generation)

    aws.turns = Turns(seed)
    before, after = aws.turns.run(
        lambda: work(alice, first), lambda: work(bob, bob.acquire(take_over=1))
    )
    assert after is None
    assert before is None or isinstance(before, Overtaken)
    late = turns[turns.index(2) :].count(1)
    assert late <= 1  # what was on its way, for which a takeover waits


# The table


def test_the_first_operation_makes_the_table_and_protects_it(aws: FakeAws, alice: Somebody) -> None:
    aws.operations.tables.clear()
    aws.operations.unseen = 2
    with alice.acquire() as lock:
        assert lock.generation == 1
    table = aws.operations.tables[OPERATIONS_TABLE]
    assert (table.key, table.range_key, table.status) == ("stack", "item", "ACTIVE")
    assert (table.protected, table.tags) == (True, TAGS)
    assert table.recovery_since is not None
    [made] = [params for name, params in aws.calls if name == "dynamodb:CreateTable"][:1]
    assert made["BillingMode"] == "PAY_PER_REQUEST"


def test_to_look_for_a_lock_makes_no_table(aws: FakeAws) -> None:
    aws.operations.tables.clear()
    assert held(aws) is None
    assert aws.operations.tables == {}


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_not_allowed_is_one_line_with_the_statement_to_add(
    action: str, aws: FakeAws, alice: Somebody
) -> None:
    aws.operations.tables.clear()
    if action == "dynamodb:TagResource":  # which CreateTable asks for as well
        aws.errors["dynamodb:CreateTable"] = Refused("AccessDeniedException", f"no {action}")
    else:
        aws.errors[action] = Refused("AccessDeniedException")

    def work() -> None:
        with alice.acquire() as lock:
            lock.check()
            lock.table.items("payment-infra-dev", "restore#")
            lock.table.delete("payment-infra-dev", "restore#of-nothing")

    line = refusal(work)
    told, _, statement = line.partition("; let your policy hold ")
    assert told.endswith("and without the lock in it nothing is changed")
    assert json.loads(statement) == {
        "Effect": "Allow",
        "Action": list(ACTIONS),
        "Resource": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{OPERATIONS_TABLE}",
    }
    assert "\n" not in line
    assert aws.changes() == []
