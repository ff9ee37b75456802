"""Two operators at once, half done or by mistake: nothing is lost, and nothing stays stopped."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from payment_infra.cloud.environment.journal import Phase
from payment_infra.cloud.environment.locking import Overtaken
from payment_infra.cloud.events import Caution, Report, StepBegun
from payment_infra.cloud.restoring import row_log
from payment_infra.cloud.restoring.carry_over import RowChange
from payment_infra.cloud.sdk.session import Session
from payment_infra.errors import AwsError, UsageError
from tests.aws import FakeBoto
from tests.breaking import Killed, at_every_number, held, kill
from tests.intake import EVERY, PROCESS
from tests.operators import FakeOperator
from tests.restoring import MINUTE, OWN, TEMPLATE, TO, World, marks, paying, payment
from tests.stacks import Refused

Run = Callable[[World], object]
RUNS: dict[str, Run] = {"restore": World.restore, "undo": World.undo, "resume": World.resume}
HOUR = 60 * MINUTE


def beside(world: World) -> World:
    """Return another operator of the same account, with a session of his own."""
    other = copy.copy(world)
    boto: Any = FakeBoto(world.aws)
    other.session, other.operator = Session(boto), FakeOperator()
    return other


def restored() -> World:
    world = paying()
    world.restore()
    world.tables.now += HOUR
    return world


def assert_no_payment_is_lost_or_charged_twice(world: World) -> None:
    world.clients.finish(all_of_them=True)
    assert set(world.clients.known) == set(world.statuses(world.active))
    for name in world.clients.known:
        world.clients.process(name)
    world.clients.finish(all_of_them=True)
    assert set(world.clients.charges.values()) == {1}
    assert set(world.statuses(world.active).values()) == {"processed"}


def rows(report: Report) -> dict[str, str]:
    found: Any = report.document["rows"]
    return {row["transaction_id"]: row["action"] for row in found}


def cautions(world: World) -> list[str]:
    return [one.message for one in world.operator.of(Caution)]


@pytest.mark.parametrize("second", RUNS)
def test_whoever_comes_while_a_restore_waits_for_an_answer_is_refused(
    world: World, second: str
) -> None:
    other, answers = beside(world), []

    def confirm(question: str, *_: object, **__: object) -> None:
        answers.append(question)
        with pytest.raises(AwsError, match=r"is held by .*: restore since .*`--take-over 1`"):
            RUNS[second](other_without_take_over(other))

    world.operator.confirm = confirm  # type: ignore[method-assign]
    world.restore()
    assert answers == ["Restore payments to 2026-11-24T11:45:00Z?"]
    assert world.journal.phase is Phase.DONE


def other_without_take_over(world: World) -> World:
    """Return an operator who takes over nothing."""
    other = copy.copy(world)
    work = world.work

    def refused(**options: Any) -> Any:
        return work(**{"take_over": None, **options})

    other.work = refused  # type: ignore[method-assign]
    return other


def test_a_restore_that_was_overtaken_at_its_question_changes_nothing(world: World) -> None:
    """The second one runs to its end meanwhile, and payments are made in its copy."""
    told: list[str] = []
    other = beside(world)

    def confirm(question: str, *_: object, **__: object) -> None:
        if not told:
            told.append(question)
            other.restore(to=TO + MINUTE)
            other.clients_pay = True
            other.clients.go_on()

    world.operator.confirm = confirm  # type: ignore[method-assign]
    with pytest.raises(AwsError, match="payments have moved from TransactionsTable to"):
        world.restore()
    assert world.active.endswith("T114600Z")
    assert [one.name for one in world.copies] == [world.active]
    assert world.intake.methods == {"*/*": EVERY}


def takes_payments(world: World) -> bool:
    return (world.intake.methods, world.intake.state) == ({"*/*": EVERY}, "Enabled")


@pytest.mark.parametrize("second", RUNS)
@pytest.mark.parametrize(("first", "begin"), [("restore", paying), ("undo", restored)])
def test_whoever_is_taken_over_after_any_change_changes_nothing_more(
    first: str, begin: Callable[[], World], second: str
) -> None:
    def at(number: int) -> bool:
        world, changes = begin(), 0

        def overtake() -> None:
            nonlocal changes
            with suppress(AwsError, UsageError):
                RUNS[second](beside(world))
            changes = len(world.aws.changes())

        with held(world.aws, number, overtake) as hold, suppress(AwsError, UsageError):
            RUNS[first](world)
        assert not hold.over or len(world.aws.changes()) == changes, number
        world.tables.now += HOUR
        # What a person does who finds that.
        for run in RUNS.values():
            with suppress(AwsError, UsageError):
                run(world)
        assert takes_payments(world), number
        assert_no_payment_is_lost_or_charged_twice(world)
        return hold.over

    assert at_every_number(at) > 8


@pytest.mark.parametrize("after", [False, True])
def test_payments_are_let_in_wherever_a_restore_was_killed_and_it_goes_on_later(
    after: bool,
) -> None:
    def at(number: int) -> bool:
        world = paying()
        killed = kill(world.aws, number, world.restore, after=after)
        world.resume()
        assert takes_payments(world), number
        world.tables.now += HOUR
        for _ in range(4):
            world.clients.go_on()
            world.tables.now += MINUTE
        if killed:
            with suppress(UsageError):  # its last change was made
                world.restore()
        assert world.active != OWN, number
        assert takes_payments(world), number
        assert_no_payment_is_lost_or_charged_twice(world)
        return killed

    assert at_every_number(at) > 15


def test_a_resume_that_is_killed_at_any_change_is_made_again() -> None:
    def at(number: int) -> bool:
        world = paying()
        world.aws.errors["cloudformation:CreateChangeSet"] = Killed()
        with pytest.raises(Killed):
            world.restore()
        world.aws.errors.clear()
        killed = kill(world.aws, number, world.resume, after=bool(number % 2))
        world.resume()
        assert takes_payments(world), number
        return killed

    assert at_every_number(at) > 3


def test_a_foreign_update_before_the_move_is_carried_over_again(world: World) -> None:
    """Somebody deploys with the AWS CLI, and that lets payments in."""

    def deploy(event: object) -> None:
        if isinstance(event, StepBegun) and event.number == 7:
            world.operator.on_tell = lambda _: None
            world.stack.changed_at += HOUR
            world.intake.methods = {"*/*": dict(EVERY)}
            world.own.write(world.tables.now, "new", payment("new", "validated", TO + HOUR, TO))

    world.operator.on_tell = deploy
    report = world.restore()
    assert rows(report)["new"] == "copied"
    assert world.statuses(world.active)["new"] == "validated"
    assert f"stack {world.stack.name} was updated by somebody else; once more from there" in (
        cautions(world)
    )
    assert len(world.aws.called("cloudformation:ExecuteChangeSet")) == 1


def test_payments_that_somebody_lets_in_before_the_move_are_stopped_again(world: World) -> None:
    def let_in(event: object) -> None:
        if isinstance(event, StepBegun) and event.number == 7:
            world.operator.on_tell = lambda _: None
            del world.intake.methods[PROCESS]

    world.operator.on_tell = let_in
    world.restore()
    assert "somebody has let payments in again (process); once more from there" in cautions(world)
    assert world.intake.methods == {"*/*": EVERY}


def test_a_lost_copy_leaves_nothing_stopped(world: World) -> None:
    copied = world.stop_at("cloudformation:CreateChangeSet")
    del world.tables.tables[copied.name]
    with pytest.raises(
        AwsError, match=r"is gone; `payment-infra restore --undo --suffix dev` ends"
    ):
        world.restore()
    report = world.undo()
    assert report.lines[-1] == f"{copied.name} is not used, and gone"
    assert (world.intake.methods, world.intake.state) == ({"*/*": EVERY}, "Enabled")
    world.restore()
    assert world.active == copied.name


def test_another_choice_of_what_is_left_behind_is_refused_half_way(world: World) -> None:
    world.stop_at("cloudformation:CreateChangeSet")
    with pytest.raises(UsageError, match="it was begun without --discard-newer"):
        world.restore(discard_newer=True, confirm_discard=True)
    world.restore()


def test_the_report_covers_all_runs() -> None:
    expected = rows(World().restore())
    world = World()
    world.aws.errors["cloudformation:CreateChangeSet"] = Killed()
    with pytest.raises(Killed):
        world.restore()
    world.aws.errors.clear()
    report = world.restore()
    assert rows(report) == expected
    steps: Any = report.document["steps"]
    assert [one["step"].split()[0] for one in steps] == [
        *("Restore", "Bring", "Verify", "Stop", "Carry", "Move", "Let")
    ]
    assert report.document["verification"]
    assert report.document["recovery_point_seconds"] is not None
    assert list(world.aws.operations.tables["payment-infra-operations"].rows()) == [
        f"{world.stack.name}#lock",
        f"{world.stack.name}#restore#{world.active}",
    ]


def wrong(row: Any) -> Any:
    return {**row, "amount_minor": {"N": "7"}}


def test_payments_that_are_not_what_was_validated_are_asked_about(world: World) -> None:
    world.pay("claimed", ("validated", -MINUTE), ("processing", MINUTE))
    world.own.write(TO + MINUTE, "claimed", wrong(world.own.rows()["claimed"]))
    with pytest.raises(UsageError, match="--mismatched leave, or carry"):
        world.restore()
    assert world.intake.takes_requests
    listed = world.operator.of(Report)[-1]
    assert listed.lines[0] == f"1 payment of {OWN} are not what was validated:"
    assert "claimed" in listed.lines[1]
    report = world.restore(mismatched="leave")
    assert rows(report)["claimed"] == "mismatched"
    assert world.statuses(world.active)["claimed"] == "validated"
    assert "claimed" in marks(world.tables.tables[world.active])
    assert f"1 row of {OWN} not copied: not what was validated; see the report" in cautions(world)


def test_payments_that_are_not_what_was_validated_can_be_taken_along(world: World) -> None:
    row = wrong(payment("settled", "processed", TO + MINUTE, TO))
    world.own.write(TO + MINUTE, "settled", row)
    report = world.restore(mismatched="carry")
    assert rows(report)["settled"] == "copied"
    assert world.tables.tables[world.active].rows()["settled"] == row


def test_a_throttle_of_somebodys_own_is_asked_about_before_it_is_changed(world: World) -> None:
    own = {**EVERY, "throttlingRateLimit": 7.5}
    world.intake.methods[PROCESS] = dict(own)
    world.intake.state = "Disabled"
    world.operator.answer = False
    answers = iter([False, True])

    def confirm(question: str, *_: object, **__: object) -> None:
        world.operator.asked.append(question)
        world.operator.answer = next(answers)
        FakeOperator(world.operator.answer).confirm(question, agreed=False)

    world.operator.confirm = confirm  # type: ignore[method-assign]
    world.resume(yes=False)
    assert world.operator.asked == [
        "POST /process is throttled to 7.5/5000 (requests a second / burst), which the template "
        "does not say. Set it as the template does?",
        f"Let payments in to {OWN}?",
    ]
    assert world.intake.methods[PROCESS]["throttlingRateLimit"] == 7.5
    assert world.intake.state == "Enabled"
    world.operator = FakeOperator()
    world.resume()
    assert world.intake.methods == {"*/*": EVERY}


def test_payments_are_not_let_in_while_the_stack_is_updated(world: World) -> None:
    world.intake.state, world.stack.status = "Disabled", "UPDATE_IN_PROGRESS"
    with pytest.raises(
        AwsError, match="payments were not let in: the operation on payment-infra-dev is still"
    ):
        world.resume()
    assert world.intake.state == "Disabled"


def stage_of(limit: int) -> str:
    """Return a template whose stage admits so much."""
    setting = {"ResourcePath": "/*", "HttpMethod": "*"}
    setting |= {"ThrottlingRateLimit": str(limit), "ThrottlingBurstLimit": str(limit)}
    template = json.loads(TEMPLATE)
    template["Resources"]["PaymentAPIStage"] = {"Properties": {"MethodSettings": [setting]}}
    return json.dumps(template)


def set_status(world: World) -> None:
    world.stack.status = "UPDATE_IN_PROGRESS"


def set_template(world: World) -> None:
    world.stack.template = stage_of(5)


def set_throttle(world: World) -> None:
    world.intake.methods[PROCESS] = {**EVERY, "throttlingRateLimit": 7.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_status, "payments were not let in: the operation on payment-infra-dev is still"),
        (set_template, "changed meanwhile, or how they are to; nothing was done, repeat"),
        (set_throttle, "changed meanwhile, or how they are to; nothing was done, repeat"),
    ],
)
def test_what_changes_during_the_question_is_seen_before_payments_are_let_in(
    world: World, change: Callable[[World], None], message: str
) -> None:
    world.stack.template, world.intake.state = stage_of(1000), "Disabled"

    def confirm(*_: object, **__: object) -> None:
        change(world)

    world.operator.confirm = confirm  # type: ignore[method-assign]
    with pytest.raises(AwsError, match=message):
        world.resume()
    assert world.intake.state == "Disabled"
    assert not world.aws.called("apigateway:UpdateStage")


def test_an_update_that_begins_while_the_journal_is_written_lets_no_payment_in(
    world: World,
) -> None:
    world.stop_at("cloudformation:CreateChangeSet")
    stages = len(world.aws.called("apigateway:UpdateStage"))

    def begin(event: object) -> None:
        if isinstance(event, Caution) and "half done" in event.message:
            world.stack.status = "UPDATE_IN_PROGRESS"

    world.operator.on_tell = begin
    with pytest.raises(AwsError, match="payments were not let in: "):
        world.resume()
    assert len(world.aws.called("apigateway:UpdateStage")) == stages
    assert world.intake.state == "Disabled"


def test_a_function_without_concurrency_keeps_payments_stopped(world: World) -> None:
    world.intake.idle = {"ProcessingFunction", "HealthMonitorFunction"}
    with pytest.raises(AwsError) as still:
        world.resume()
    assert str(still.value) == (
        "payments are still stopped: ProcessingFunction does not run: its reserved concurrency is "
        "0; `aws lambda delete-function-concurrency --function-name ProcessingFunction --region "
        "eu-central-1`"
    )
    assert not world.operator.of(Report)
    world.intake.idle = {"HealthMonitorFunction"}
    assert world.resume().lines == ("Payments were not stopped.",)


def test_payments_are_let_in_though_the_stacks_status_is_not_known(world: World) -> None:
    world.intake.state, world.stack.status = "Disabled", "A_STATUS_THAT_AWS_HAS_ADDED"
    world.resume()
    assert world.intake.state == "Enabled"


def test_a_restore_of_an_earlier_release_is_undone_by_its_tags(world: World) -> None:
    world.restore()
    copied = world.tables.tables[world.active]
    world.aws.operations.tables["payment-infra-operations"].history.clear()
    copied.tags |= {
        "payment-infra:restore:source": OWN,
        "payment-infra:restore:phase": "done",
        "payment-infra:restore:stopped-at": world.tables.now.isoformat(),
    }
    world.undo()
    assert world.active == OWN
    assert world.journal.phase is Phase.UNDONE


def test_an_update_that_comes_first_is_carried_over_again(world: World) -> None:
    world.aws.errors["cloudformation:ExecuteChangeSet"] = Refused("InvalidChangeSetStatus")

    def pass_by(event: object) -> None:
        if isinstance(event, Caution) and "once more from there" in event.message:
            world.aws.errors.clear()

    world.operator.on_tell = pass_by
    world.restore()
    assert world.active != OWN
    assert len([one for one in cautions(world) if "once more from there" in one]) == 1


def test_payments_that_are_let_in_after_the_move_are_stopped_for_the_second_look(
    world: World,
) -> None:
    seen: list[bool] = []

    def let_in(event: object) -> None:
        if isinstance(event, StepBegun) and event.number == 8:
            world.intake.methods = {"*/*": dict(EVERY)}
            scan = world.tables.answers()["dynamodb:Scan"]

            def answer(params: Any) -> Any:
                seen.append(world.intake.takes_requests)
                return scan(params)

            world.aws.answers["dynamodb:Scan"] = answer

    world.operator.on_tell = let_in
    world.restore()
    assert seen
    assert not any(seen)
    assert world.intake.methods == {"*/*": EVERY}


def test_a_journal_is_not_written_by_whoever_was_taken_over_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.stop_at("cloudformation:CreateChangeSet")
    late, journal = world.work(), world.journal
    with late.operation("restore"):
        beside(world).undo()
        monkeypatch.setattr(late._lock, "check", lambda: None)
        with pytest.raises(AwsError, match="was written by somebody else"):
            late.note(journal, stopped=True)
        late.environment.session.guard = None
    assert world.intake.methods == {"*/*": EVERY}
    assert world.journal.phase is Phase.ABANDONED


@pytest.mark.parametrize("phase", ["switching", "undoing"])
def test_a_copy_that_is_lost_while_payments_are_in_it_is_gone_back_from(
    world: World, phase: str
) -> None:
    def fail(event: object) -> None:
        if isinstance(event, StepBegun) and event.number == 8:
            world.aws.errors["apigateway:GetStage"] = Refused("ValidationError", "stop here")

    before = world.own.rows()
    if phase == "switching":
        world.operator.on_tell = fail
        with pytest.raises(AwsError, match="stop here"):
            world.restore()
        world.operator.on_tell = lambda _: None
    else:
        world.restore()
        world.aws.errors["cloudformation:CreateChangeSet"] = Refused("ValidationError", "stop here")
        with pytest.raises(AwsError, match="stop here"):
            world.undo()
    world.aws.errors.clear()
    assert world.journal.phase == phase
    assert world.active != OWN
    del world.tables.tables[world.active]
    report = world.undo()
    assert world.active == OWN
    assert (world.intake.methods, world.intake.state) == ({"*/*": EVERY}, "Enabled")
    # What came of the open ones in the copy, nobody knows.
    assert report.document["marked"] == ["made-since", "open"]
    assert set(world.own.rows()) == set(before)


def test_a_drill_that_is_not_as_it_should_be_is_ended_by_itself(world: World) -> None:
    world.restore()
    active = world.active
    world.tables.now += HOUR
    world.aws.errors["dynamodb:UpdateContinuousBackups"] = Refused("ValidationException", "stop")
    with pytest.raises(AwsError, match="stop"):
        world.restore(to=None, drill=True)
    world.aws.errors.clear()
    with pytest.raises(UsageError, match=r"`payment-infra restore --undo --drill --suffix dev` to"):
        world.restore(to=TO + 20 * MINUTE, drill=True)
    report = world.undo(drill=True)
    assert report.lines[0] == f"The drill has ended; payments are in {active}."
    with pytest.raises(AwsError, match="there is no drill of payment-infra-dev in progress"):
        world.undo(drill=True)
    assert world.active == active


def test_what_is_noted_of_the_payments_is_left_alone_by_whoever_was_taken_over(
    world: World,
) -> None:
    world.stop_at("cloudformation:CreateChangeSet")
    late, journal = world.work(), world.journal
    rows = [RowChange("open", "validated", "", "2026-11-24T12:00:00Z", "copied")]
    with late.operation("restore"):
        row_log.note(late.environment, journal, rows)
        before = row_log.noted(late.environment, journal)
        with beside(world).work().operation("restore"):
            for change in (row_log.clear, partial(row_log.note, rows=rows)):
                with pytest.raises(Overtaken):
                    change(late.environment, journal)
            assert row_log.noted(late.environment, journal) == before
