"""Payments come back from a backup, whether their table is there or deleted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from payment_infra.cloud.events import Report
from payment_infra.errors import AwsError, Declined, UsageError
from tests.breaking import Killed
from tests.intake import EVERY
from tests.restoring import MINUTE, OWN, World, marks, payment
from tests.stacks import Refused

HOUR = 60 * MINUTE
TABLE = {
    "Tags": [{"Key": "Environment", "Value": {"Ref": "EnvironmentSuffix"}}],
    "DeletionProtectionEnabled": True,
    "PointInTimeRecoverySpecification": {"RecoveryPeriodInDays": 7},
}


def made() -> World:
    """Return an environment whose template says how its table is."""
    world = World()
    template = json.loads(world.stack.template)
    template["Resources"] = {"TransactionsTable": {"Properties": TABLE}}
    world.stack.template = json.dumps(template)
    world.aws.answers["backup:ListRecoveryPointsByResource"] = {"RecoveryPoints": []}
    return world


@pytest.fixture
def world() -> World:
    return made()


def active(world: World) -> Any:
    return world.tables.tables[world.active]


def test_what_the_deletion_of_the_table_has_left_comes_back_whole(world: World) -> None:
    before = world.own.rows()
    world.tables.remove(OWN)
    world.tables.now += HOUR
    report = world.restore(to=None, from_backup="latest")
    assert world.active != OWN
    assert active(world).rows() == before
    assert marks(active(world)) == {}
    assert (active(world).protected, active(world).tags) == (True, {"Environment": "dev"})
    assert active(world).recovery_since is not None
    assert (world.intake.methods, world.intake.state) == ({"*/*": EVERY}, "Enabled")
    assert report.document["backup"] == world.journal.backup
    assert report.lines[-1] == f"- {OWN} is gone, and this restore cannot be undone"
    assert f"payments restored: {len(before)}" in report.lines
    with pytest.raises(AwsError, match=f"there is no table {OWN} any more"):
        world.undo()


def test_what_an_older_backup_shows_as_open_is_marked(world: World) -> None:
    backup = world.tables.back_up(world.own, "USER")
    world.tables.now += HOUR
    now = world.tables.now
    world.own.write(now, "open", payment("open", "processed", now, now))
    world.tables.remove(OWN)
    report = world.restore(to=None, from_backup=backup.arn)
    expected = ["made-since", "open"]
    assert report.document["marked"] == expected
    assert marks(active(world)) == dict.fromkeys(expected, int(backup.made_at.timestamp()))


def test_from_a_backup_of_a_standing_table_what_changed_since_is_carried_over(
    world: World,
) -> None:
    world.tables.back_up(world.own, "USER")
    world.tables.now += HOUR
    now = world.tables.now
    done = payment("open", "processed", now, now - 2 * HOUR)
    world.own.write(now, "open", done)
    report = world.restore(to=None, from_backup="latest")
    assert active(world).rows()["open"] == done
    assert report.document["marked"] == []
    world.undo()
    assert world.active == OWN


@pytest.mark.parametrize("after", [False, True])
def test_wherever_it_is_killed_the_same_command_goes_on(after: bool) -> None:
    at, broken = 0, True
    while broken:
        at, broken = at + 1, False
        world = made()
        before = world.own.rows()
        world.tables.remove(OWN)
        world.aws.break_off(at, Killed, after=after)
        try:
            world.restore(to=None, from_backup="latest")
        except Killed:
            broken = True
        world.aws.break_off(0, Killed, after=False)
        if broken and (world.active == OWN or world.journal.open):
            world.restore(to=None, from_backup="latest")
        assert active(world).rows() == before, at
        assert (world.intake.methods, world.intake.state) == ({"*/*": EVERY}, "Enabled"), at
    assert at > 8


def test_another_kind_of_restore_waits_for_the_one_in_progress(world: World) -> None:
    world.tables.remove(OWN)
    world.aws.errors["cloudformation:CreateChangeSet"] = Refused("ValidationError", "stop here")
    with pytest.raises(AwsError, match="stop here"):
        world.restore(to=None, from_backup="latest")
    world.aws.errors.clear()
    with pytest.raises(UsageError, match=r"give --from-backup arn:aws:dynamodb:.* to continue"):
        world.restore()
    report = world.undo()
    assert report.lines[1] == (
        "`payment-infra restore --from-backup latest --suffix dev` brings them back."
    )
    assert not world.intake.takes_requests  # there is no table that could take them


def test_the_plan_says_which_backup_and_what_it_cannot_know(world: World) -> None:
    world.tables.remove(OWN)
    world.operator.answer = False
    with pytest.raises(Declined):
        world.restore(to=None, from_backup="latest", yes=False)
    plan = world.operator.of(Report)[0]
    assert f"a backup of {OWN} (SYSTEM), made at " in plan.lines[2]
    assert world.aws.changes() == []


def test_another_backup_than_that_of_the_restore_in_progress_is_refused(world: World) -> None:
    first, second = (world.tables.back_up(world.own, "USER") for _ in range(2))
    world.tables.remove(OWN)
    world.aws.errors["cloudformation:CreateChangeSet"] = Refused("ValidationError", "stop here")
    with pytest.raises(AwsError, match="stop here"):
        world.restore(to=None, from_backup=first.arn)
    world.aws.errors.clear()
    with pytest.raises(UsageError, match=f"give --from-backup {first.arn} to continue it"):
        world.restore(to=None, from_backup=second.arn)
    world.restore(to=None, from_backup="latest")
    assert world.journal.backup == first.arn


def test_no_name_is_no_backup(world: World) -> None:
    world.tables.remove(OWN)
    with pytest.raises(UsageError, match="--from-backup : no backup of the table has this ARN"):
        world.restore(to=None, from_backup="")


def test_what_an_earlier_deletion_has_left_is_not_whole(world: World) -> None:
    earlier = world.tables.remove(OWN)
    assert earlier is not None
    world.tables.make_copy(earlier.table, OWN, world.tables.now)
    again = world.own
    again.recovery_since = world.tables.now
    again.become("ACTIVE", 0)
    world.tables.now += HOUR
    world.tables.remove(OWN)
    report = world.restore(to=None, from_backup=earlier.arn)
    assert report.document["marked"] == ["made-since", "open"]
