"""Saving a stack before it is deleted: nothing is lost, and payments do not stay stopped."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.destroying import saving
from payment_infra.cloud.destroying.deletion import DestroyOptions, delete
from payment_infra.cloud.destroying.destruction import examine
from payment_infra.cloud.destroying.saving import Saving
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.environment.intake import Intake, let_in, stop, stopped, wanted
from payment_infra.cloud.events import Caution, StepBegun, Waiting
from payment_infra.cloud.operating.dead_letters import LAG_SECONDS, VISIBILITY_SECONDS
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import AwsError, Declined, Interrupted, PaymentInfraError, UsageError
from payment_infra.names import GATEWAY_EVENTS_FUNCTION, STOPPED_VARIABLE
from tests.intake import PROCESS, FakeIntake
from tests.operators import FakeOperator
from tests.queues import DEAD_LETTERS, QUEUE, FakeQueues
from tests.stacks import Refused, event
from tests.tables import FakeTables

if TYPE_CHECKING:
    from tests.aws import FakeAws

TABLE = "TransactionsTable"


class Killed(BaseException):
    """The program is gone: nothing that it would have done at its end is done."""


@dataclass
class World:
    """An environment with 10 payments, 12 queued messages and 15 dead letters."""

    aws: FakeAws
    file: Path
    queues: FakeQueues = field(default_factory=FakeQueues)
    tables: FakeTables = field(default_factory=FakeTables)
    intake: FakeIntake = field(default_factory=FakeIntake)
    operator: FakeOperator = field(default_factory=lambda: FakeOperator(answer=True))
    slept: float = 0

    def __post_init__(self) -> None:
        [stack] = self.aws.stacks.values()
        stack.physical_ids["RetryEventSource"] = "0" * 36
        stack.template = json.dumps({"Resources": {}})
        table = self.tables.add(TABLE)
        for number in range(10):
            name = f"t-{number}"
            table.write(self.tables.now, name, {"transaction_id": {"S": name}})
        for number in range(12):
            self.queues.put(f"q-{number}", f"queued {number}", QUEUE)
        for number in range(15):
            self.queues.put(f"d-{number}", f"dead {number}")
        answers = (self.queues.answers(), self.tables.answers(), self.intake.answers())
        for one in answers:
            self.aws.answers |= one

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.queues.now += seconds

    def destroy(self, drain_seconds: int | None = 0) -> Mapping[str, int]:
        """Do what `destroy --export` does once it has the lock; return what was saved."""
        environment = self.environment()
        options = DestroyOptions(export=self.file, drain_seconds=drain_seconds)
        clock = partial(getattr, self.queues, "now")
        return delete(environment, examine(environment), options, self.operator, clock)

    def environment(self) -> Environment:
        """Return the environment as it is now."""
        session = self.aws.session()
        client = session.client("cloudformation")
        stack = Stack(client, "payment-infra-dev", self.sleep, "--suffix dev")
        return Environment.find(session, stack, "dev")

    def cautions(self) -> list[str]:
        return [one.message for one in self.operator.of(Caution)]

    def lines(self, name: str) -> list[Any]:
        path = self.file.with_name(name)
        assert path.stat().st_mode & 0o777 == 0o600
        return [json.loads(line) for line in path.read_text().splitlines()]

    def check_saved(self) -> None:
        """Make sure that everything is in the files, each once, and nothing else is beside them."""
        rows = [one["transaction_id"] for one in self.lines("all.jsonl")]
        assert sorted(rows) == sorted(f"t-{number}" for number in range(10))
        for name, text, number in (("queued", "queued", 12), ("dead-letters", "dead", 15)):
            bodies = [one["body"] for one in self.lines(f"all.{name}.jsonl")]
            assert sorted(bodies) == sorted(f"{text} {one}" for one in range(number))
        assert {one.name for one in self.file.parent.iterdir()} == {
            *("all.jsonl", "all.queued.jsonl", "all.dead-letters.jsonl"),
        }

    @property
    def takes_payments(self) -> bool:
        return self.intake.takes_requests and self.intake.takes_retries


@pytest.fixture
def world(aws: FakeAws, tmp_path: Path) -> World:
    return World(aws, tmp_path / "all.jsonl")


def test_payments_are_stopped_and_over_before_anything_is_saved(world: World) -> None:
    world.intake.timeout_seconds = 7
    scan = world.aws.answers["dynamodb:Scan"]

    def look(params: Any) -> Any:
        assert not world.takes_payments
        told = [one.what for one in world.operator.of(Waiting) if "begun" in one.what]
        assert len(told) == 7
        assert world.slept >= 7
        assert callable(scan)
        return scan(params)

    world.aws.answers["dynamodb:Scan"] = look
    saved = world.destroy(drain_seconds=None)
    assert world.aws.stacks == {}
    world.check_saved()
    assert list(saved.values()) == [10, 12, 15]
    assert [one.text for one in world.operator.of(StepBegun)] == [
        *("Stop payments", "Save the payments", "Save both queues", "Delete the stack"),
    ]
    assert world.cautions() == []


def test_how_long_a_request_may_take_is_asked_again_where_that_is_throttled_for_a_while(
    world: World,
) -> None:
    answer, refused = world.aws.answers["lambda:GetFunctionConfiguration"], iter(range(3))
    assert callable(answer)

    def throttled(params: Any) -> Any:
        if next(refused, None) is not None:
            raise Refused("TooManyRequestsException")
        return answer(params)

    world.aws.answers["lambda:GetFunctionConfiguration"] = throttled
    world.destroy(drain_seconds=None)
    world.check_saved()
    assert world.cautions() == []


def test_messages_that_others_hold_are_waited_for(world: World) -> None:
    world.queues.hide(QUEUE, ["q-1", "q-2"], 300)
    world.queues.hide(DEAD_LETTERS, ["d-1"], VISIBILITY_SECONDS)
    world.destroy()
    world.check_saved()
    assert "10 messages saved" in {one.what for one in world.operator.of(Waiting)}


def test_a_slow_endpoint_saves_each_message_once(world: World) -> None:
    world.queues.receive_seconds = VISIBILITY_SECONDS - 1
    world.destroy()
    world.check_saved()


def test_messages_that_are_held_without_end_fail_it_and_payments_come_in_again(
    world: World,
) -> None:
    world.queues.hide(DEAD_LETTERS, ["d-1"], 1e9)
    with pytest.raises(AwsError, match="1 message held by somebody who keeps reading them"):
        world.destroy()
    assert world.cautions() == ["payments are let in again, and nothing was deleted"]
    assert world.takes_payments
    assert world.aws.stacks


@pytest.mark.parametrize("throttle", [None, (50.0, 7)])
def test_what_fails_lets_payments_in_as_the_template_says_and_the_next_run_saves_anew(
    world: World, throttle: tuple[float, int] | None
) -> None:
    if throttle:
        own = {"throttlingRateLimit": throttle[0], "throttlingBurstLimit": throttle[1]}
        world.intake.methods["~1process/POST"] = {**world.intake.methods["*/*"], **own}
    as_in_template = {"*/*": world.intake.methods["*/*"]}
    world.aws.errors["cloudformation:DeleteStack"] = Refused("AccessDenied")
    with pytest.raises(AwsError, match="not allowed to call DeleteStack"):
        world.destroy()
    assert world.takes_payments
    assert world.intake.methods == as_in_template
    assert world.cautions() == ["payments are let in again, and nothing was deleted"]
    world.aws.errors.clear()
    table = world.tables.tables[TABLE]
    table.write(world.tables.now, "t-9", None)
    table.write(world.tables.now, "late", {"transaction_id": {"S": "late"}})
    world.destroy()
    assert {one["transaction_id"] for one in world.lines("all.jsonl")} == {
        *(f"t-{number}" for number in range(9)),
        "late",
    }


def kill_at(world: World, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Destroy, and kill that at its Nth call to AWS, after which it makes no other."""
    answer, calls = world.aws.answer, iter(range(number))

    def count(service: str, operation: str, params: Any) -> Any:
        if next(calls, None) is None:
            raise Killed
        return answer(service, operation, params)

    with monkeypatch.context() as patched:
        patched.setattr(world.aws, "answer", count)
        with pytest.raises(Killed):
            world.destroy()


@pytest.mark.parametrize("again", ["yes", "no"])
def test_a_run_that_is_killed_at_any_call_is_gone_on_with_or_taken_back(
    aws: FakeAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    number, stack = 0, aws.stacks["payment-infra-dev"]
    while True:
        folder = tmp_path / f"{number}"
        folder.mkdir()
        aws.stacks["payment-infra-dev"] = deepcopy(stack)
        world = World(aws, folder / "all.jsonl")
        kill_at(world, number, monkeypatch)
        number += 1
        if aws.called("cloudformation:DeleteStack"):
            break  # the stack goes by itself, and everything is saved
        world.operator.answer = again == "yes"
        if again == "yes":
            world.destroy()
            world.check_saved()
            aws.calls.clear()
            continue
        with pytest.raises(Declined):
            world.destroy()
        assert world.takes_payments
        assert not {"~1process/POST", "~1validate/POST"} & world.intake.methods.keys()
    assert number > 20
    assert {one.name for one in world.file.parent.iterdir()} == {
        *("all.jsonl", "all.queued.jsonl", "all.dead-letters.jsonl", "all.jsonl.destroy"),
    }


@pytest.mark.parametrize("by", ["requests", "retries"])
def test_what_was_saved_before_somebody_let_payments_in_is_saved_anew(
    world: World, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    scan, scans = world.aws.answers["dynamodb:Scan"], iter(range(2))
    assert callable(scan)

    def second_kills(params: Any) -> Any:
        if next(scans):
            raise Killed
        return scan(params)

    world.aws.answers["dynamodb:Scan"] = second_kills
    with monkeypatch.context() as patched:
        patched.setattr(Saving, "__exit__", lambda *_: None)
        with pytest.raises(Killed):
            world.destroy()
    assert world.file.with_name("all.jsonl.part").exists()
    world.aws.answers["dynamodb:Scan"] = scan
    if by == "requests":
        world.intake.methods = {"*/*": world.intake.methods["*/*"]}
    else:
        world.intake.state = "Enabled"
    changed = {"transaction_id": {"S": "t-0"}, "status": {"S": "processed"}}
    world.tables.tables[TABLE].write(world.tables.now, "t-0", changed)
    world.destroy()
    world.check_saved()
    assert {"transaction_id": "t-0", "status": "processed"} in world.lines("all.jsonl")


def test_a_deletion_that_fails_leaves_payments_stopped_says_so_and_is_gone_on_with(
    world: World,
) -> None:
    world.aws.timeline = [("DELETE_FAILED", [event(9, TABLE, "DELETE_FAILED", "kept")])]
    with pytest.raises(DeploymentFailed):
        world.destroy()
    assert not world.takes_payments
    assert world.cautions() == [
        "payments are stopped, and payment-infra-dev is being deleted; the same command continues"
    ]
    scans = len(world.aws.called("dynamodb:Scan"))
    world.aws.errors["apigateway:GetStage"] = Refused("NotFoundException")
    world.destroy()
    assert len(world.aws.called("dynamodb:Scan")) == scans
    world.check_saved()


def test_payments_that_cannot_be_let_in_are_said_to_be_stopped(world: World) -> None:
    scan = world.aws.answers["dynamodb:Scan"]

    def fail(params: Any) -> Any:
        world.aws.errors["apigateway:GetStage"] = Refused("AccessDenied")
        raise Refused("InternalServerError")

    world.aws.answers["dynamodb:Scan"] = fail
    with pytest.raises(AwsError, match="Scan failed"):
        world.destroy()
    [told] = world.cautions()
    assert told.startswith("payments are stopped (stage of the API: not allowed to call GetStage")
    assert told.endswith(
        "; the same command saves anew; answered with no, it lets them in again, as "
        "`payment-infra resume --suffix dev` does"
    )
    world.aws.errors.clear()
    world.aws.answers["dynamodb:Scan"] = scan
    world.operator.answer = False
    with pytest.raises(Declined):
        world.destroy()
    assert world.takes_payments


def test_a_refused_question_changes_nothing(world: World) -> None:
    world.operator.answer = False
    with pytest.raises(Declined):
        world.destroy()
    assert world.aws.changes() == []
    assert list(world.file.parent.iterdir()) == []
    assert world.cautions() == []


@pytest.mark.parametrize("name", ["all.jsonl", "all.queued.jsonl", "all.dead-letters.jsonl"])
def test_a_file_of_somebody_else_is_left_alone_before_anything_is_asked(
    world: World, name: str
) -> None:
    path = world.file.with_name(name)
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists already; name a new file"):
        world.destroy()
    assert path.read_text() == "mine"
    assert world.operator.asked == world.aws.changes() == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("rubbish", "is not what destroy has written"),
        (
            '{"stack": "s", "phase": "other", "saved": {}, "before": []}',
            "is not what destroy has written",
        ),
        ('{"stack": "another", "phase": "saved", "saved": {}, "before": []}', "is of another"),
    ],
)
def test_the_progress_of_something_else_is_left_alone(
    world: World, content: str, told: str
) -> None:
    path = world.file.with_name("all.jsonl.destroy")
    path.write_text(content)
    with pytest.raises(UsageError, match=told):
        world.destroy()
    assert path.read_text() == content


def test_a_folder_that_is_missing_is_told_before_anything_is_asked(world: World) -> None:
    world.file = world.file.parent / "none" / "all.jsonl"
    with pytest.raises(PaymentInfraError, match="there is no directory"):
        world.destroy()
    assert world.operator.asked == []


@pytest.mark.parametrize("begun", [False, True])
def test_what_a_restore_has_stopped_is_left_to_it(world: World, begun: bool) -> None:
    copy = world.tables.add("TransactionsTable-20261124T100000Z")
    copy.tags = {
        "payment-infra:restore:phase": "switching",
        "payment-infra:restore:writes": "retries=on validate= process=",
    }
    if begun:
        stack = world.aws.stacks["payment-infra-dev"].id
        progress = {"stack": stack, "phase": "saving", "saved": {}, "before": []}
        world.file.with_name("all.jsonl.destroy").write_text(json.dumps(progress))
    with pytest.raises(AwsError, match="a restore is in progress and has stopped payments"):
        world.destroy()
    world.operator.answer = False
    with pytest.raises(Declined):
        world.destroy()
    assert world.aws.changes() == []
    assert bool(world.cautions()) == begun


def task(status: str, started: int) -> Any:
    """Return a message move task (SQS API, ListMessageMoveTasks)."""
    return {"TaskHandle": "1", "Status": status, "StartedTimestamp": started}


@pytest.mark.parametrize("status", ["RUNNING", "CANCELLING"])
@pytest.mark.parametrize("queue", [QUEUE, DEAD_LETTERS])
def test_while_sqs_moves_messages_nothing_is_begun(world: World, queue: str, status: str) -> None:
    world.queues.tasks[queue] = task(status, 1)
    with pytest.raises(AwsError, match=f"{queue}: SQS is moving messages out of it") as refused:
        world.destroy()
    cancel = "`payment-infra failed redrive --cancel --suffix dev`"
    assert (cancel in str(refused.value)) == (queue == DEAD_LETTERS)
    assert world.aws.changes() == world.cautions() == []
    assert list(world.file.parent.iterdir()) == []


@pytest.mark.parametrize("status", ["RUNNING", "COMPLETED"])
def test_a_move_that_begins_while_messages_are_saved_fails_it(world: World, status: str) -> None:
    """What it has taken out of one queue came into the other after that was saved."""
    world.queues.tasks[DEAD_LETTERS] = task("COMPLETED", 1)
    receive = world.aws.answers["sqs:ReceiveMessage"]
    assert callable(receive)

    def move_before(params: Any) -> Any:
        if params["QueueUrl"] == DEAD_LETTERS and world.queues.tasks[DEAD_LETTERS] is old:
            world.queues.tasks[DEAD_LETTERS] = task(status, 2)
            moved = world.queues.queues[DEAD_LETTERS].messages.pop("d-1")
            world.queues.queues[QUEUE].send(moved)
        return receive(params)

    old = world.queues.tasks[DEAD_LETTERS]
    world.aws.answers["sqs:ReceiveMessage"] = move_before
    with pytest.raises(AwsError, match=r"SQS (is moving|has moved) messages"):
        world.destroy()
    assert world.aws.stacks
    assert world.takes_payments
    world.queues.tasks[DEAD_LETTERS] = task("COMPLETED", 2)
    world.destroy()
    bodies = {
        one["body"]
        for name in ("queued", "dead-letters")
        for one in world.lines(f"all.{name}.jsonl")
    }
    assert len(bodies) == 12 + 15


def test_a_move_that_is_over_or_an_endpoint_without_them_is_nothing(world: World) -> None:
    list_tasks = world.aws.answers["sqs:ListMessageMoveTasks"]
    assert callable(list_tasks)

    def answer(params: Any) -> Any:
        if params["SourceArn"].endswith(f":{QUEUE}"):
            raise Refused("InvalidParameterValue", "Source queue must be a Dead Letter Queue")
        return list_tasks(params)

    world.queues.tasks[DEAD_LETTERS] = task("COMPLETED", 1)
    world.aws.answers["sqs:ListMessageMoveTasks"] = answer
    world.aws.errors["cloudformation:DeleteStack"] = Refused("AccessDenied")
    with pytest.raises(AwsError, match="not allowed to call DeleteStack"):
        world.destroy()
    world.aws.errors = {"sqs:ListMessageMoveTasks": Refused("AccessDenied")}
    with pytest.raises(AwsError, match="not allowed to call ListMessageMoveTasks"):
        world.destroy()
    world.aws.errors = {"sqs:ListMessageMoveTasks": Refused("InvalidAction")}
    world.destroy()
    world.check_saved()


def let_in_write_and_stop(world: World) -> None:
    """Do what somebody may do between two runs, so that nothing of it can be seen later."""
    environment = world.environment()
    let_in(environment, wanted(environment), world.sleep)
    table = world.tables.tables[TABLE]
    table.write(world.tables.now, "late", {"transaction_id": {"S": "late"}})
    stop(environment, world.sleep)


def test_what_came_in_after_a_run_that_had_saved_everything_is_saved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.aws.errors["cloudformation:DeleteStack"] = Killed()
    with monkeypatch.context() as patched:
        patched.setattr(Saving, "__exit__", lambda *_: None)
        with pytest.raises(Killed):
            world.destroy()
    world.aws.errors.clear()
    assert '"phase": "saved"' in world.file.with_name("all.jsonl.destroy").read_text()
    let_in_write_and_stop(world)
    world.destroy()
    assert {"transaction_id": "late"} in world.lines("all.jsonl")


def test_what_came_in_after_a_deletion_that_failed_is_saved(world: World) -> None:
    world.aws.timeline = [("DELETE_FAILED", [event(9, TABLE, "DELETE_FAILED", "kept")])]
    with pytest.raises(DeploymentFailed):
        world.destroy()
    let_in_write_and_stop(world)
    world.destroy()
    assert {"transaction_id": "late"} in world.lines("all.jsonl")


def test_a_message_that_is_held_is_saved_although_the_numbers_of_its_queue_lag(
    world: World,
) -> None:
    """SQS may count it only LAG_SECONDS after it was sent."""
    world.queues.hide(QUEUE, ["q-1"], 300)
    attributes = world.aws.answers["sqs:GetQueueAttributes"]
    assert callable(attributes)

    def lag(params: Any) -> Any:
        answer = attributes(params)
        if params["QueueUrl"] == QUEUE and world.queues.now < LAG_SECONDS:
            answer["Attributes"]["ApproximateNumberOfMessagesNotVisible"] = "11"
        return answer

    world.aws.answers["sqs:GetQueueAttributes"] = lag
    world.destroy()
    world.check_saved()


def test_payments_are_let_in_again_where_that_is_throttled_for_a_while(world: World) -> None:
    world.aws.errors["cloudformation:DeleteStack"] = Refused("AccessDenied")
    update, calls = world.aws.answers["apigateway:UpdateStage"], iter(range(8))
    assert callable(update)

    def throttle(params: Any) -> Any:
        if next(calls, 0):
            raise Refused("TooManyRequestsException", "slow", 429)
        return update(params)

    world.aws.answers["apigateway:UpdateStage"] = throttle
    with pytest.raises(AwsError, match="not allowed to call DeleteStack"):
        world.destroy()
    assert world.takes_payments
    assert world.cautions() == ["payments are let in again, and nothing was deleted"]


def test_ctrl_c_while_payments_are_let_in_again_tells_that_they_are_stopped(world: World) -> None:
    world.aws.errors["cloudformation:DeleteStack"] = Refused("AccessDenied")

    get_stage = world.aws.answers["apigateway:GetStage"]
    assert callable(get_stage)

    def get(params: Any) -> Any:
        if world.aws.called("cloudformation:DeleteStack"):
            raise KeyboardInterrupt
        return get_stage(params)

    world.aws.answers["apigateway:GetStage"] = get
    with pytest.raises(KeyboardInterrupt):
        world.destroy()
    [told] = world.cautions()
    assert told.startswith("payments are stopped (interrupted); the same command saves anew")


def test_ctrl_c_says_at_once_that_payments_are_being_let_in_again(world: World) -> None:
    world.aws.errors["cloudformation:DeleteStack"] = KeyboardInterrupt()
    open_when_told = []

    def look(event: object) -> None:
        if isinstance(event, Caution):
            open_when_told.append(world.takes_payments)

    world.operator.on_tell = look
    with pytest.raises(KeyboardInterrupt):
        world.destroy()
    assert world.cautions() == [
        "payments are being let in again; another Ctrl-C leaves them stopped",
        "payments are let in again, and nothing was deleted",
    ]
    assert open_when_told == [False, True]


def test_a_folder_that_is_read_only_by_then_does_not_hide_that_payments_are_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise PaymentInfraError(f"{path}: cannot be written (Read-only file system)")

    scan = world.aws.answers["dynamodb:Scan"]
    assert callable(scan)

    def remount(params: Any) -> Any:
        monkeypatch.setattr(saving, "write_file", refuse)
        return scan(params)

    world.aws.answers["dynamodb:Scan"] = remount
    note = f"{world.file}.destroy"
    with pytest.raises(PaymentInfraError, match=f"^{note}: cannot be written"):
        world.destroy()
    assert world.takes_payments
    assert world.cautions() == [
        "payments are let in again, and nothing was deleted",
        f"{note}: cannot be written (Read-only file system), and still says that payments are "
        "stopped; delete it and what was saved",
    ]


def test_a_note_that_cannot_be_removed_does_not_fail_what_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, note = Path.unlink, Path(f"{world.file}.destroy")

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == note:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    assert list(world.destroy().values()) == [10, 12, 15]
    assert world.cautions() == [f"{note}: cannot be removed (Read-only file system); delete it"]


@pytest.mark.parametrize("name", ["all.jsonl", "all.queued.jsonl", "all.dead-letters.jsonl"])
def test_a_link_that_leads_to_no_file_yet_stays_one(name: str, world: World) -> None:
    link, target = world.file.with_name(name), world.file.parent / "there" / name
    target.parent.mkdir()
    link.symlink_to(target)
    world.destroy()
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert world.lines(name)


@pytest.mark.parametrize("name", ["all.jsonl", "all.queued.jsonl", "all.dead-letters.jsonl"])
@pytest.mark.parametrize("place", ["loop", "missing/file", "/dev/fd/99"])
def test_what_cannot_be_written_is_told_before_payments_are_stopped(
    place: str, name: str, world: World
) -> None:
    link = world.file.with_name(name)
    link.symlink_to(link if place == "loop" else place)
    with pytest.raises(UsageError, match=f"^{link}: "):
        world.destroy()
    assert world.takes_payments
    assert list(world.file.parent.iterdir()) == [link]


def test_a_signal_while_payments_are_saved_lets_them_in_again(
    world: World, arriving: signal.Signals
) -> None:
    scan = world.aws.answers["dynamodb:Scan"]
    assert callable(scan)

    def interrupt(params: Any) -> Any:
        assert not world.takes_payments
        signal.raise_signal(arriving)
        return scan(params)

    world.aws.answers["dynamodb:Scan"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.destroy()
    assert world.takes_payments
    assert world.aws.stacks
    assert world.cautions()[-1] == "payments are let in again, and nothing was deleted"


def test_ctrl_c_right_after_the_deletion_has_begun_lets_nothing_in(world: World) -> None:
    """The stack still shows what it was before."""
    [stack] = world.aws.stacks.values()
    before = deepcopy(stack)

    def press(event: object) -> None:
        if world.aws.called("cloudformation:DeleteStack") and not isinstance(event, Caution):
            world.aws.stacks = {before.name: before}
            raise KeyboardInterrupt

    world.operator.on_tell = press
    with pytest.raises(Interrupted):
        world.destroy()
    assert not world.takes_payments
    [told] = world.cautions()
    assert told.startswith("payments are stopped, and payment-infra-dev is being deleted;")


STOPS = [
    (["validate", "process", "retries"], "validate, process, retries"),
    (["retries"], "retries"),
    (["process"], "process"),
]


@pytest.mark.parametrize(("names", "told"), STOPS)
@pytest.mark.parametrize("killed", [False, True])
def test_what_was_stopped_before_stays_stopped(
    world: World, names: list[str], told: str, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    zero = {**world.intake.methods["*/*"], "throttlingRateLimit": 0.0, "throttlingBurstLimit": 0}
    for name in {"validate", "process"} & set(names):
        world.intake.methods[f"~1{name}/POST"] = dict(zero)
    if "retries" in names:
        world.intake.state = "Disabled"
    if killed:
        world.aws.errors["cloudformation:DeleteStack"] = Killed()
        with monkeypatch.context() as patched:
            patched.setattr(Saving, "__exit__", lambda *_: None)
            with pytest.raises(Killed):
                world.destroy()
        assert stopped(world.environment()) == ["validate", "process", "retries"]
    world.aws.errors["cloudformation:DeleteStack"] = Refused("AccessDenied")
    with pytest.raises(AwsError, match="not allowed to call DeleteStack"):
        world.destroy()
    assert stopped(world.environment()) == names
    assert world.cautions() == [
        f"nothing was deleted; what was stopped before stays so ({told}); "
        "`payment-infra resume --suffix dev` lets it in"
    ]


@pytest.mark.parametrize("before", [{}, {STOPPED_VARIABLE: "true"}])
def test_what_the_gateway_tells_comes_in_again_unless_it_was_stopped_before(
    world: World, before: dict[str, str]
) -> None:
    world.aws.stacks["payment-infra-dev"].resources[GATEWAY_EVENTS_FUNCTION] = "CREATE_COMPLETE"
    world.intake.variables = dict(before)
    world.aws.errors["cloudformation:DeleteStack"] = Refused("AccessDenied")
    with pytest.raises(AwsError, match="not allowed to call DeleteStack"):
        world.destroy()
    patched = [one["patchOperations"] for one in world.aws.called("apigateway:UpdateStage")]
    changed = [(op["op"], op["path"]) for ops in patched for op in ops]
    assert ("replace", f"/variables/{STOPPED_VARIABLE}") in changed
    assert world.intake.variables == before


def test_a_stage_that_was_throttled_to_zero_before_stays_so(world: World) -> None:
    every = {
        "ResourcePath": "/*",
        "HttpMethod": "*",
        "ThrottlingRateLimit": 100,
        "ThrottlingBurstLimit": 50,
    }
    stage = {"PaymentAPIStage": {"Properties": {"MethodSettings": [every]}}}
    world.aws.stacks["payment-infra-dev"].template = json.dumps({"Resources": stage})
    world.intake.methods["*/*"] |= {"throttlingRateLimit": 0.0, "throttlingBurstLimit": 0}
    world.aws.errors["cloudformation:DeleteStack"] = Refused("AccessDenied")
    with pytest.raises(AwsError, match="not allowed to call DeleteStack"):
        world.destroy()
    assert stopped(world.environment()) == ["validate", "process"]
    assert world.intake.methods["*/*"]["throttlingRateLimit"] == 0


def in_step(world: World, text: str, do: Callable[[], object]) -> None:
    """Let somebody without the lock do something once a step has begun."""

    def beside(event: object) -> None:
        if isinstance(event, StepBegun) and event.text == text:
            world.operator.on_tell = lambda _: None
            do()

    world.operator.on_tell = beside


def test_what_comes_in_while_the_queues_are_saved_is_not_deleted(world: World) -> None:
    def pay() -> None:
        let_in(world.environment(), Intake(retries=True, throttles={}), world.sleep)
        world.intake.methods.clear()
        world.tables.tables[TABLE].write(world.tables.now, "late", {"transaction_id": {"S": "l"}})

    in_step(world, "Save both queues", pay)
    with pytest.raises(AwsError, match="payments were let in while they were saved"):
        world.destroy()
    assert world.aws.called("cloudformation:DeleteStack") == []
    assert "late" in world.tables.tables[TABLE].rows()
    assert world.takes_payments
    assert world.cautions() == ["payments are let in again, and nothing was deleted"]


@pytest.mark.parametrize("when", ["while it is asked", "while the queues are saved"])
def test_a_stack_that_is_updated_meanwhile_is_not_deleted(world: World, when: str) -> None:
    [stack] = world.aws.stacks.values()

    def update() -> None:
        stack.outputs = {**stack.outputs, "TransactionsTableName": "another"}
        stack.changed_at += timedelta(minutes=1)

    if when == "while it is asked":
        world.operator.confirm = lambda *_: update()  # type: ignore[method-assign]
    else:
        in_step(world, "Save both queues", update)
    with pytest.raises(AwsError, match="was changed meanwhile, by somebody without the lock"):
        world.destroy()
    assert world.aws.called("cloudformation:DeleteStack") == []
    assert world.takes_payments


@pytest.mark.parametrize("operation", ["dynamodb:Scan", "apigateway:UpdateStage"])
def test_a_fault_that_passes_ends_no_saving(world: World, operation: str) -> None:
    answer, refused = world.aws.answers[operation], iter(range(2))
    assert callable(answer)

    def throttled(params: Any) -> Any:
        if next(refused, None) is not None:
            raise Refused("ThrottlingException")
        return answer(params)

    world.aws.answers[operation] = throttled
    world.destroy()
    world.check_saved()
    assert world.aws.stacks == {}


def test_payments_are_let_in_as_an_update_meanwhile_has_it(world: World) -> None:
    [stack] = world.aws.stacks.values()
    limits = {"ThrottlingRateLimit": {"Ref": "ThrottleRateLimit"}, "ThrottlingBurstLimit": 7}
    setting = {"ResourcePath": "/~1process", "HttpMethod": "POST", **limits}
    stage = {"Properties": {"MethodSettings": [setting]}}
    stack.template = json.dumps({"Resources": {"PaymentAPIStage": stage}})
    stack.parameters["ThrottleRateLimit"] = "100"

    def update() -> None:
        stack.parameters = {**stack.parameters, "ThrottleRateLimit": "5"}
        stack.changed_at += timedelta(minutes=1)

    in_step(world, "Save both queues", update)
    with pytest.raises(AwsError, match="was changed meanwhile"):
        world.destroy()
    assert world.intake.methods[PROCESS]["throttlingRateLimit"] == 5
