"""Which moments can be restored, what is shown before the question, and what the copy is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from payment_infra.cloud.environment.journal import PREFIX, Phase
from payment_infra.cloud.events import Caution, Report, StepBegun, Waiting
from payment_infra.errors import AwsError, Declined, UsageError
from payment_infra.moments import is_ago, parse_moment
from tests.restoring import OWN, TO, World
from tests.stacks import Refused
from tests.tables import BEHIND, START, FakeTables

SECOND = timedelta(seconds=1)


def copy_of(world: World, **options: object) -> str:
    """Restore, and return the name of the copy."""
    world.restore(**options)
    [copy] = world.copies
    return copy.name


@pytest.mark.parametrize("to", [START - timedelta(days=3), START, START + timedelta(days=1)])
def test_a_moment_outside_of_the_window_is_refused_and_the_window_told(
    world: World, to: datetime
) -> None:
    with pytest.raises(UsageError, match="from 2026-11-22T12:00:00Z to 2026-11-24T11:55:00Z"):
        world.restore(to=to)
    assert world.aws.changes() == []


def test_the_limits_of_the_window_can_be_restored_as_they_are_told(world: World) -> None:
    world.own.recovery_since = START - timedelta(hours=1, milliseconds=600)
    with pytest.raises(UsageError, match="from 2026-11-24T11:00:00Z to"):
        world.restore(to=START - timedelta(hours=1, milliseconds=500))
    assert copy_of(world, to=START - timedelta(hours=1)) == f"{OWN}-20261124T110000Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="has no time zone; write UTC as 2026-11-24T10:00:00Z"):
        parse_moment("2026-11-24T10:00:00", START)


def test_the_latest_moment_is_that_of_the_window(world: World) -> None:
    world.tables.now += timedelta(milliseconds=400)
    report = world.restore(to=None)
    assert report.document["to"] == "2026-11-24T11:55:00Z"
    [call] = world.aws.called("dynamodb:RestoreTableToPointInTime")
    assert call["RestoreDateTime"] == START - BEHIND


def test_a_quarter_of_an_hour_ago_is_meant_from_now_on(world: World) -> None:
    assert copy_of(world, to=parse_moment("-15m", START)) == f"{OWN}-20261124T114500Z"


def test_a_moment_has_whole_seconds_whatever_its_zone(world: World) -> None:
    to = (TO + timedelta(milliseconds=999)).astimezone(timezone(timedelta(hours=5)))
    assert copy_of(world, to=to) == f"{OWN}-20261124T114500Z"
    [call] = world.aws.called("dynamodb:RestoreTableToPointInTime")
    assert call["RestoreDateTime"] == TO


def test_a_table_without_recovery_says_so(world: World) -> None:
    world.own.recovery_since = None
    switch_on = (
        f"`aws dynamodb update-continuous-backups --table-name {OWN} "
        "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true --region "
        "eu-central-1` switches it on"
    )
    with pytest.raises(
        AwsError, match=f"the point-in-time recovery of {OWN} is off.*{switch_on} for what comes$"
    ):
        world.restore()
    assert world.aws.changes() == []


FROM_BACKUP = "payment-infra restore --from-backup latest --suffix dev"


def test_a_table_that_is_gone_says_where_its_backup_is(world: World) -> None:
    del world.tables.tables[OWN]
    with pytest.raises(AwsError, match=f"no table {OWN}; `{FROM_BACKUP}` brings it back"):
        world.restore()
    assert world.aws.changes() == []


def test_what_will_happen_is_shown_before_the_question_and_a_no_changes_nothing(
    world: World,
) -> None:
    world.operator.answer = False
    with pytest.raises(Declined):
        world.restore(yes=False)
    [plan] = world.operator.of(Report)
    assert plan.lines == (
        "Restore of payment-infra-dev in eu-central-1",
        f"  from    {OWN}, as it was at 2026-11-24T11:45:00Z",
        f"  to      a new table, {OWN}-20261124T114500Z",
        "  window  2026-11-22T12:00:00Z to 2026-11-24T11:55:00Z",
        "  then    payments are stopped, those that changed since are carried over,",
        "          open ones that may have been charged since are marked as rewound,",
        "          to be charged only if the gateway is certain that it never did,",
        "          the stack moves to the new table, and payments are let in again",
    )
    assert world.operator.asked == ["Restore payments to 2026-11-24T11:45:00Z?"]
    assert world.aws.changes() == []


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"discard_newer": True}, "those that changed since stay behind"),
        ({"drill": True}, "the copy is verified and deleted; payments go on meanwhile"),
    ],
)
def test_what_is_shown_is_what_was_asked_for(
    world: World, options: dict[str, bool], line: str
) -> None:
    world.operator.answer = False
    with pytest.raises(Declined):
        world.restore(yes=False, **options)
    assert any(line in one for one in world.operator.of(Report)[0].lines)
    assert world.aws.changes() == []


def test_without_a_terminal_and_yes_nothing_is_looked_at(world: World) -> None:
    for run in (world.restore, world.undo):
        calls = len(world.aws.calls)
        with pytest.raises(UsageError, match="--yes"):
            run(yes=False)
        found = {name for name, _ in world.aws.calls[calls:]}
        assert found <= {"cloudformation:DescribeStacks", "dynamodb:GetItem"}
    assert world.aws.changes() == []


def test_a_no_to_an_undo_changes_nothing(world: World) -> None:
    world.restore()
    done, world.operator.answer = len(world.aws.changes()), False
    with pytest.raises(Declined):
        world.undo(yes=False)
    assert len(world.aws.changes()) == done


def test_the_copy_holds_the_rows_of_the_moment(world: World) -> None:
    world.aws.errors["apigateway:UpdateStage"] = Refused("BadRequestException", "stop here")
    with pytest.raises(AwsError, match="stop here"):
        world.restore()
    [copy] = world.copies
    assert world.statuses(copy.name) == {
        "old": "processed",
        **dict.fromkeys(("open", "since-0", "since-1", "since-2"), "validated"),
    }
    # The table itself is as it was.
    assert world.statuses(OWN)["since-0"] == "processed"


def test_a_row_that_is_gone_since_is_there_again(world: World) -> None:
    world.own.write(TO + SECOND, "open", None)
    assert world.statuses(copy_of(world))["open"] == "validated"


def test_recovery_tags_and_protection_come_back(world: World) -> None:
    world.tables.too_early = 3
    [copy] = [world.tables.tables[copy_of(world)]]
    assert copy.protected
    assert copy.recovery_since is not None
    assert copy.tags == {"Environment": "dev"}
    assert len(world.aws.called("dynamodb:UpdateContinuousBackups")) == 4


def test_more_tags_than_a_page_holds_come_back(world: World) -> None:
    world.own.tags |= {f"tag-{number:02}": str(number) for number in range(20)}
    copy = world.tables.tables[copy_of(world)]
    ours = {key: value for key, value in copy.tags.items() if not key.startswith(PREFIX)}
    assert ours == {key: value for key, value in world.own.tags.items() if "aws:" not in key}


def test_what_the_source_has_not_the_copy_does_not_get(world: World) -> None:
    world.own.protected, world.own.tags = False, {}
    copy = world.tables.tables[copy_of(world)]
    assert not copy.protected
    assert world.aws.called("dynamodb:UpdateTable") == []


def test_a_new_table_is_waited_for_also_before_it_can_be_seen(world: World) -> None:
    world.tables.creation_looks, world.tables.unseen = 4, 2
    name = copy_of(world)
    waits = [one.what for one in world.operator.of(Waiting) if "is CREATING" in one.what]
    assert len(waits) == 6
    assert waits[0].startswith(f"{name} is CREATING (0:00:0")


def test_a_restore_that_dynamodb_gives_up_says_so(world: World) -> None:
    world.tables.unseen = 100
    with pytest.raises(AwsError, match="DescribeTable failed: Requested resource not found"):
        world.restore()


def test_payments_that_are_in_the_copy_already_are_not_restored_to_it_again(world: World) -> None:
    name = copy_of(world)
    with pytest.raises(UsageError, match=f"payments are already in {name}"):
        world.restore()


def test_a_copy_that_was_given_up_is_not_taken_again(world: World) -> None:
    copy_of(world)
    world.undo()
    with pytest.raises(UsageError, match="from an earlier restore; `aws dynamodb delete-table"):
        world.restore()


def test_another_moment_waits_for_the_restore_that_is_in_progress(world: World) -> None:
    world.aws.errors["dynamodb:TagResource"] = Refused("InternalServerError", "later")
    with pytest.raises(AwsError, match="later"):
        world.restore()
    world.aws.errors.clear()
    with pytest.raises(UsageError, match="is in progress; give --to 2026-11-24T11:45:00Z"):
        world.restore(to=TO - SECOND)


@pytest.mark.parametrize(
    "options", [{"to": None}, {"to": TO + SECOND, "ago": True}], ids=["latest", "-15m"]
)
def test_the_same_words_go_on_with_a_restore_although_they_mean_another_moment(
    world: World, options: dict[str, object]
) -> None:
    world.aws.errors["dynamodb:TagResource"] = Refused("InternalServerError", "later")
    with pytest.raises(AwsError, match="later"):
        world.restore()
    world.aws.errors.clear()
    assert world.restore(**options).document["to"] == "2026-11-24T11:45:00Z"
    assert len(world.copies) == 1


def test_a_while_ago_is_told_from_a_moment() -> None:
    assert [is_ago(one) for one in ("-15m", "2d", "2026-11-24T11:45:00Z")] == [True, True, False]


def test_a_restore_of_a_restored_table_starts_from_that_one(world: World) -> None:
    first = copy_of(world)
    world.tables.now += timedelta(hours=2)
    to = world.tables.now - timedelta(hours=1)
    report = world.restore(to=to)
    assert (report.document["source"], world.active) == (first, report.document["copy"])
    world.undo()
    assert world.active == first


def test_a_drill_leaves_nothing_and_measures_itself(world: World) -> None:
    world.clients_pay = True
    report = world.restore(drill=True)
    assert world.copies == []
    assert world.active == OWN
    assert world.aws.called("apigateway:UpdateStage") == []
    assert world.aws.called("lambda:UpdateEventSourceMapping") == []
    document = report.document
    assert document["kind"] == "drill"
    assert document["newest_restorable"] == "2026-11-24T11:55:00Z"
    assert document["recovery_point_seconds"] == pytest.approx(BEHIND.total_seconds(), abs=1)
    steps: object = document["steps"]
    assert isinstance(steps, list)
    assert [one["step"].split()[0] for one in steps] == ["Restore", "Bring", "Verify", "Delete"]
    told = [(one.number, one.of) for one in world.operator.of(StepBegun)]
    assert told == [(number, 5) for number in range(1, 6)]
    assert world.operator.of(Caution) == []


def test_journals_are_found_past_a_hundred_tables(world: World) -> None:
    tables: FakeTables = world.tables
    for number in range(250):
        tables.add(f"A-{number:03}")
    tables.add(f"{OWN}-20261124T114500Z", source=OWN)
    tables.add(f"{OWN}-20261101T000000Z", source=OWN, status="DELETING", looks=9)
    tables.add(f"{OWN}-20261124T114500Z-of-somebody-else")
    assert (world.journal.to, world.journal.source) == (TO.astimezone(UTC), OWN)
    world.aws.calls.clear()
    assert world.journal.phase is Phase.COPYING
    assert len(world.aws.called("dynamodb:ListTables")) == 3
