"""Payments are stopped, carried over, moved, and let in again as they were before."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from payment_infra.cloud.environment.journal import Phase
from payment_infra.cloud.events import Caution, Preview, Report, StepBegun
from payment_infra.cloud.restoring.repointing import ready
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.errors import AwsError
from payment_infra.names import GATEWAY_EVENTS_FUNCTION, STOPPED_VARIABLE
from tests.breaking import Killed
from tests.intake import DEFAULTS, EVERY, PROCESS, VALIDATE
from tests.restoring import (
    DAY,
    MINUTE,
    OVERRIDE,
    OWN,
    PARAMETERS,
    TEMPLATE,
    TO,
    World,
    payment,
)
from tests.stacks import ACCOUNT, REGION, Refused, own_event

STOPPING = ("apigateway:UpdateStage", "lambda:UpdateEventSourceMapping")


def stops_at(world: World, operation: str) -> None:
    """End a restore where this operation is called."""
    world.aws.errors[operation] = Refused("ValidationException", "stop here")
    with pytest.raises(AwsError, match="stop here"):
        world.restore()
    world.aws.errors.clear()


def cautions(world: World) -> list[str]:
    return [one.message for one in world.operator.of(Caution)]


def rows(report: Report) -> dict[str, tuple[str, str | None, str]]:
    found: Any = report.document["rows"]
    return {one["transaction_id"]: (one["before"], one["after"], one["action"]) for one in found}


def test_payments_are_stopped_before_they_are_carried_over_and_moved(world: World) -> None:
    report = world.restore()
    names = [name for name in world.aws.changes() if not name.startswith("dynamodb:T")]
    first, last = names.index(STOPPING[0]), names.index("cloudformation:ExecuteChangeSet")
    assert names[first:] == [
        *STOPPING,
        *["dynamodb:PutItem"] * (last - first - 3),
        "cloudformation:CreateChangeSet",
        "cloudformation:ExecuteChangeSet",
        *STOPPING,
        "lambda:Invoke",  # which asks for the gateway's list
    ]
    assert sum(world.pauses) > 29
    assert [one.text for one in world.operator.of(StepBegun)] == [
        "Check what can be restored",
        f"Restore to {world.active}",
        "Bring back its recovery, tags and protection",
        "Verify it",
        "Stop payments",
        f"Carry over what changed in {OWN}",
        f"Move the stack to {world.active}",
        "Let payments in",
        "Report",
    ]
    assert report.lines[-3:] == (
        "What is left to do:",
        f"- `payment-infra restore --undo --suffix dev` goes back to {OWN}",
        f"- {OWN} belongs to the stack: it stays, with what it holds",
    )


def test_that_payments_are_stopped_is_written_down_before_they_are(world: World) -> None:
    stops_at(world, "apigateway:UpdateStage")
    assert world.intake.takes_requests
    assert (world.journal.phase, world.journal.stops) == (Phase.SWITCHING, True)
    assert "alice@example.com" in world.journal.by


def test_what_is_stopped_is_the_two_methods_and_the_retries_and_nothing_else(world: World) -> None:
    world.intake.methods["~1health/GET"] = dict(DEFAULTS)
    stops_at(world, "dynamodb:PutItem")
    stopped = {**EVERY, "throttlingRateLimit": 0.0, "throttlingBurstLimit": 0}
    assert world.intake.methods == {
        "*/*": EVERY,
        "~1health/GET": DEFAULTS,
        VALIDATE: stopped,
        PROCESS: stopped,
    }
    assert world.intake.state == "Disabled"


def test_what_the_gateway_tells_is_stopped_with_payments_and_let_in_with_them(world: World) -> None:
    """Where the stack takes it: a restore, and whoever resumes, sets and removes the variable."""
    world.stack.resources[GATEWAY_EVENTS_FUNCTION] = "CREATE_COMPLETE"
    stops_at(world, "dynamodb:PutItem")
    assert world.intake.variables == {STOPPED_VARIABLE: "true"}
    world.restore()
    assert world.intake.variables == {}
    world.intake.variables = {STOPPED_VARIABLE: "true", "mine": "1"}
    assert world.resume().document["stopped"] == ["notifications"]
    assert world.intake.variables == {"mine": "1"}


def test_a_stack_whose_gateway_tells_nothing_has_no_such_variable(world: World) -> None:
    stops_at(world, "dynamodb:PutItem")
    assert world.intake.variables == {}


@pytest.mark.parametrize("run", [World.restore, World.resume])
def test_payments_come_in_as_the_template_says_not_as_they_came(
    world: World, run: Callable[[World], object]
) -> None:
    world.intake.methods[PROCESS] = {**EVERY, "throttlingRateLimit": 0.0}
    world.intake.state = "Disabled"
    run(world)
    assert (world.intake.methods, world.intake.state) == ({"*/*": EVERY}, "Enabled")


def test_what_the_template_itself_gives_a_method_is_given_it_again(world: World) -> None:
    template = json.loads(TEMPLATE)
    settings = {"ResourcePath": "/~1process", "HttpMethod": "POST"}
    limits = {"ThrottlingRateLimit": {"Ref": "Rate"}, "ThrottlingBurstLimit": 3}
    template["Resources"] = {
        "PaymentAPIStage": {"Properties": {"MethodSettings": [settings | limits]}},
        "RetryEventSource": {"Properties": {"Enabled": False}},
    }
    template["Parameters"]["Rate"] = {"Type": "String", "Default": "2"}
    world.stack.template = json.dumps(template)
    world.stack.parameters["Rate"] = "2"
    world.intake.state = "Disabled"
    world.restore()
    process = world.intake.methods[PROCESS]
    assert (process["throttlingRateLimit"], process["throttlingBurstLimit"]) == (2.0, 3)
    assert VALIDATE not in world.intake.methods
    assert world.intake.state == "Disabled"


@pytest.mark.parametrize("state", ["Enabling", "Updating"])
def test_retries_that_are_just_changed_come_back(world: World, state: str) -> None:
    world.intake.state, world.intake.changing = state, 3
    world.restore()
    assert world.intake.state == "Enabled"


def test_only_what_was_asked_to_be_waited_for_is(world: World) -> None:
    world.restore(drain_seconds=0)
    assert sum(world.pauses) < 5


def test_a_payment_that_was_settled_since_is_settled_in_the_copy(world: World) -> None:
    report = world.restore()
    assert world.statuses(world.active) == world.statuses(OWN)
    assert rows(report) == {
        **dict.fromkeys(("since-0", "since-1", "since-2"), ("processed", "validated", "copied")),
        "made-since": ("validated", None, "copied"),
    }
    assert cautions(world) == []


@pytest.mark.parametrize("killed", [False, True])
def test_a_request_that_slips_through_the_throttle_is_carried_over_too(
    world: World, killed: bool
) -> None:
    def slip(name: str, status: str) -> None:
        row = payment(name, status, world.tables.now, TO)
        world.own.write(world.tables.now, name, row)

    def move(event: object) -> None:
        if isinstance(event, StepBegun) and event.number == 7:
            slip("made-since", "processed")
            slip("slipped", "validated")
            if killed:
                world.operator.on_tell = lambda _: None
                world.aws.break_off(2, Killed, after=True)

    world.operator.on_tell = move
    if killed:
        with pytest.raises(Killed):
            world.restore()
        world.aws.break_off(0, Killed, after=False)
        assert world.active != OWN
    report = world.restore()
    statuses = world.statuses(world.active)
    assert (statuses["made-since"], statuses["slipped"]) == ("processed", "validated")
    assert rows(report)["slipped"] == ("validated", None, "copied")
    assert rows(report)["made-since"] == ("processed", "validated", "copied")


def test_what_is_the_same_in_both_is_not_touched(world: World) -> None:
    world.pay("long-ago", ("processed", -6 * MINUTE))
    world.own.write(TO - MINUTE, "gone-then", None)
    report = world.restore()
    written = {one["Item"]["transaction_id"]["S"] for one in world.aws.called("dynamodb:PutItem")}
    assert written == set(rows(report)) == {"since-0", "since-1", "since-2", "made-since"}


def test_what_the_copy_lacks_is_carried_over_however_old(world: World) -> None:
    """An undo, and a person, write rows that are dated long before."""
    world.own.write(TO + MINUTE, "gone", payment("gone", "processed", TO - DAY, TO - DAY))
    report = world.restore(verify=False)  # which sees that it is missing
    assert rows(report)["gone"] == ("processed", None, "copied")
    assert world.statuses(world.active)["gone"] == "processed"


def test_the_second_look_goes_back_as_far_as_clocks_may_differ(world: World) -> None:
    first: list[datetime] = []

    def slip(event: object) -> None:
        if isinstance(event, StepBegun) and event.number == 5:
            first.append(world.tables.now)
        if isinstance(event, StepBegun) and event.number == 8:
            for name, ago in (("long-ago", 6), ("at-its-edge", 4)):
                dated = first[0] - ago * MINUTE
                world.own.write(world.tables.now, name, payment(name, "processed", dated, dated))

    world.operator.on_tell = slip
    report = world.restore()
    assert "at-its-edge" in rows(report)
    assert "long-ago" not in rows(report)


def test_a_row_that_is_gone_since_is_neither_copied_nor_deleted(world: World) -> None:
    world.own.write(TO + MINUTE, "open", None)
    report = world.restore()
    assert world.statuses(world.active)["open"] == "validated"
    assert "open" not in rows(report)


def test_a_payment_that_is_settled_in_the_copy_is_never_moved_back(world: World) -> None:
    stops_at(world, "dynamodb:PutItem")
    [copy] = world.copies
    # Somebody's own repair, of a payment that is open in the table that is left.
    world.own.write(TO, "open", payment("open", "processing", world.tables.now, TO))
    settled = payment("open", "processed", TO, TO)
    copy.write(world.tables.now, "open", settled)
    report = world.restore()
    assert copy.rows()["open"] == settled
    assert rows(report)["open"] == ("processing", "processed", "kept")
    assert cautions(world)[-1].startswith(f"1 row kept as found in {copy.name}: settled")


def test_an_end_is_carried_over_what_is_open_whatever_their_dates(world: World) -> None:
    stops_at(world, "dynamodb:PutItem")
    [copy] = world.copies
    copy.write(world.tables.now, "since-0", payment("since-0", "processing", world.tables.now, TO))
    report = world.restore()
    # The first run may have noted it already, as it was then.
    source, _, done = rows(report)["since-0"]
    assert (source, done) == ("processed", "copied")
    assert copy.rows()["since-0"] == world.own.rows()["since-0"]
    assert report.document["marked"] == []


def test_a_row_that_is_no_payment_stays_where_it_is(world: World) -> None:
    foreign = payment("foreign", "refunded", TO + MINUTE, TO + MINUTE)
    world.own.write(TO + MINUTE, "foreign", foreign)
    report = world.restore()
    assert rows(report)["foreign"] == ("refunded", None, "foreign")
    assert "foreign" not in world.statuses(world.active)
    assert "1 row of TransactionsTable not copied: not as a payment is" in cautions(world)[0]


def test_a_copy_of_many_pages_gets_all_of_them(world: World) -> None:
    names = [f"many-{number}" for number in range(450)]
    for name in names:
        world.own.write(TO + MINUTE, name, payment(name, "processed", TO + MINUTE, TO + MINUTE))
    world.tables.rows_per_page = 130
    world.restore()
    assert set(world.statuses(world.active)) > set(names)
    assert max(len(batch_keys(one)) for one in world.aws.called("dynamodb:BatchGetItem")) <= 100


def batch_keys(call: Any) -> list[Any]:
    [wanted] = call["RequestItems"].values()
    found: list[Any] = wanted["Keys"]
    return found


def test_the_update_changes_the_override_and_keeps_every_other_value(world: World) -> None:
    world.restore()
    [call] = world.aws.called("cloudformation:CreateChangeSet")
    assert call["UsePreviousTemplate"] is True
    assert {one["ParameterKey"]: one.get("ParameterValue") for one in call["Parameters"]} == {
        **dict.fromkeys(PARAMETERS),
        OVERRIDE: world.active,
    }
    assert all(
        one.get("UsePreviousValue") for one in call["Parameters"] if "ParameterValue" not in one
    )
    assert world.stack.parameters == {**PARAMETERS, OVERRIDE: world.active}
    world.undo()
    assert world.stack.parameters == PARAMETERS


def test_an_update_that_would_replace_the_table_is_not_made(world: World) -> None:
    world.aws.further_changes = [
        {
            "Type": "Resource",
            "ResourceChange": {
                "Action": "Modify",
                "LogicalResourceId": "TransactionsTable",
                "ResourceType": "AWS::DynamoDB::Table",
                "Replacement": "True",
                "Details": [],
            },
        }
    ]
    told = "would replace or remove TransactionsTable, .*; `payment-infra diff --suffix dev` shows"
    with pytest.raises(AwsError, match=told):
        world.restore()
    assert world.aws.called("cloudformation:ExecuteChangeSet") == []
    assert world.aws.change_sets == {}
    assert len(world.operator.of(Preview)) == 1
    assert_told_that_payments_are_stopped(world)


@pytest.mark.parametrize("status", ["UPDATE_FAILED", "A_STATUS_THAT_AWS_HAS_ADDED"])
def test_a_stack_whose_update_has_failed_is_to_be_rolled_back_first(
    world: World, status: str
) -> None:
    work = world.work()
    world.stack.status = status
    told = f"is {status} and cannot be updated; `payment-infra rollback --suffix dev` brings"
    with pytest.raises(AwsError, match=told):
        ready(work.environment, world.operator)


def assert_told_that_payments_are_stopped(world: World) -> None:
    assert not world.intake.takes_requests
    assert not world.intake.takes_retries
    assert cautions(world)[-1] == (
        "payments are stopped; the same command continues, `payment-infra restore --undo --suffix "
        "dev` goes back, `payment-infra resume --suffix dev` lets them in where they are"
    )


def test_an_update_that_is_rolled_back_leaves_both_ways_out(world: World) -> None:
    stack, world.updates_end = world.stack, False
    world.aws.timeline = [
        ("UPDATE_ROLLBACK_COMPLETE", [own_event(stack, 9, "UPDATE_ROLLBACK_COMPLETE")])
    ]
    with pytest.raises(DeploymentFailed):
        world.restore()
    assert world.active == OWN
    assert_told_that_payments_are_stopped(world)
    world.undo()
    assert world.intake.takes_requests
    assert world.intake.takes_retries


def test_an_update_that_is_rolled_back_can_be_made_again(world: World) -> None:
    stack, world.updates_end = world.stack, False
    world.aws.timeline = [
        ("UPDATE_ROLLBACK_COMPLETE", [own_event(stack, 9, "UPDATE_ROLLBACK_COMPLETE")])
    ]
    with pytest.raises(DeploymentFailed):
        world.restore()
    world.updates_end = True
    world.restore()
    assert world.active != OWN
    assert world.intake.methods == {"*/*": EVERY}


def test_an_undo_carries_back_what_came_since(world: World) -> None:
    world.restore()
    copy = world.active
    world.tables.now += 10 * MINUTE
    now = world.tables.now
    for name, status in (("open", "processed"), ("new", "validated")):
        world.tables.tables[copy].write(now, name, payment(name, status, now, now))
    world.tables.now += 10 * MINUTE
    report = world.undo()
    assert world.active == OWN
    assert rows(report) == {
        "open": ("processed", "validated", "copied"),
        "new": ("validated", None, "copied"),
    }
    assert world.statuses(OWN)["open"] == "processed"
    with pytest.raises(AwsError, match=f"to undo: payments are in {OWN}"):
        world.undo()


def test_a_restore_waits_for_the_undo_of_the_last_one(world: World) -> None:
    world.restore()
    world.aws.errors["cloudformation:CreateChangeSet"] = Refused("ValidationError", "stop here")
    with pytest.raises(AwsError, match="stop here"):
        world.undo()
    world.aws.errors.clear()
    told = len(cautions(world))
    with pytest.raises(
        AwsError, match="`payment-infra restore --undo --suffix dev` completes that"
    ):
        world.restore()
    assert "payments are stopped" in cautions(world)[told]


def with_backups(world: World, selected: Callable[[], str]) -> None:
    """Give the stack a plan for backups that selects the table of this name."""
    world.stack.resources["BackupPlan"] = "CREATE_COMPLETE"
    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table"
    world.aws.answers |= {
        "backup:ListBackupSelections": {"BackupSelectionsList": [{"SelectionId": "one"}]},
        "backup:GetBackupSelection": lambda _: {
            "CreationDate": world.tables.now,
            "BackupSelection": {
                "SelectionName": "x",
                "IamRoleArn": "y",
                "Resources": [f"{table}/{selected()}"],
            },
        },
    }


def test_a_restore_and_its_undoing_report_that_the_backups_follow_the_table(world: World) -> None:
    with_backups(world, lambda: world.stack.parameters[OVERRIDE] or OWN)
    report = world.restore()
    copy = world.active
    assert copy != OWN
    told = f"AWS Backup backs {copy} up from now on."
    assert told in report.lines[report.lines.index(f"Payments are in {copy}.") :]
    report = world.undo()
    assert report.lines[0] == f"Payments are in {OWN} again."
    assert f"AWS Backup backs {OWN} up from now on." in report.lines


def test_a_restore_and_its_undoing_report_a_table_that_the_backups_leave_out(world: World) -> None:
    with_backups(world, lambda: "another")
    report = world.restore()
    why = "`payment-infra drift --suffix dev` shows why."
    assert f"AWS Backup does not back {world.active} up: {why}" in report.lines
    report = world.undo()
    assert f"AWS Backup does not back {OWN} up: {why}" in report.lines
