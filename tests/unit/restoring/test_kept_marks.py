"""An undo marks too, and no restore, undo or row that is carried over loses a mark."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.events import Report
from payment_infra.cloud.operating.export import pages
from payment_infra.cloud.restoring.rows import OPEN
from tests.restoring import (
    MINUTE,
    OWN,
    TO,
    World,
    actions,
    active,
    marks,
    payment,
    seconds,
    with_mark,
)

if TYPE_CHECKING:
    from tests.stacks import Answer
    from tests.tables import FakeTable

HOUR = 60 * MINUTE


@pytest.mark.parametrize(("there", "expected"), [(TO - HOUR, TO - HOUR), (TO, TO), (TO + HOUR, TO)])
def test_of_two_marks_the_earlier_one_stays(
    world: World, there: datetime, expected: datetime
) -> None:
    world.lose("lost", "validated")
    copy = world.stop_at("dynamodb:PutItem")
    copy.write(world.tables.now, "lost", with_mark(copy.rows()["lost"], there))
    assert world.restore().document["marked"] == ["lost"]
    assert marks(copy) == {"lost": seconds(expected)}


def test_the_mark_of_a_row_that_was_left_behind_counts_if_it_is_earlier(world: World) -> None:
    row = with_mark(payment("open", "processing", TO + MINUTE, TO), TO - HOUR)
    world.own.write(TO + MINUTE, "open", row)
    world.restore(discard_newer=True, confirm_discard=True)
    assert marks(active(world))["open"] == seconds(TO - HOUR)


def test_a_mark_that_another_run_has_just_set_is_not_taken_back(world: World) -> None:
    world.lose("lost", "validated")
    update = world.tables.answers()["dynamodb:UpdateItem"]

    def answer(params: Answer) -> Answer:
        [copy] = world.copies
        copy.write(world.tables.now, "lost", with_mark(copy.rows()["lost"], TO - HOUR))
        return update(params)

    world.aws.answers["dynamodb:UpdateItem"] = answer
    world.restore()
    assert marks(active(world)) == {"lost": seconds(TO - HOUR)}


@pytest.mark.parametrize("status", OPEN)
def test_a_mark_goes_with_the_row_that_is_carried_over(world: World, status: str) -> None:
    row = with_mark(payment("open", status, TO + MINUTE, TO - 30 * MINUTE), TO - HOUR)
    world.own.write(TO + MINUTE, "open", row)
    assert world.restore().document["marked"] == ["open"]
    assert active(world).rows()["open"] == row


@pytest.mark.parametrize(
    ("own", "there", "expected"),
    [
        (None, TO, TO),
        (TO - HOUR, TO, TO - HOUR),
        (TO + HOUR, TO, TO),
    ],
)
@pytest.mark.parametrize("status", OPEN)
def test_an_open_row_that_is_carried_over_a_marked_one_keeps_the_earlier_mark(
    world: World, status: str, own: datetime | None, there: datetime, expected: datetime
) -> None:
    """It was put back from an export, say: unmarked, it still does not tell all."""
    world.lose("lost", "validated")
    copy = world.stop_at("cloudformation:CreateChangeSet")
    assert marks(copy) == {"lost": seconds(there)}
    again = payment("lost", status, world.tables.now, TO - 30 * MINUTE)
    world.own.write(world.tables.now, "lost", with_mark(again, own) if own else again)
    report = world.restore()
    assert copy.rows()["lost"] == with_mark(again, expected)
    assert report.document["marked"] == ["lost"]
    assert actions(report)["lost"] == "copied"


def test_what_differs_by_its_mark_only_is_neither_carried_over_nor_told(world: World) -> None:
    world.lose("lost", "validated")
    copy = world.stop_at("cloudformation:CreateChangeSet")
    now = world.tables.now
    world.own.write(now, "lost", payment("lost", "validated", now, TO))
    copy.write(now, "lost", with_mark(payment("lost", "validated", now, TO), TO))
    report = world.restore()
    assert marks(copy) == {"lost": seconds(TO)}
    assert "lost" not in actions(report)


def test_a_settled_row_that_is_carried_over_a_marked_one_needs_no_mark(world: World) -> None:
    world.lose("lost", "validated")
    copy = world.stop_at("cloudformation:CreateChangeSet")
    settled = payment("lost", "processed", world.tables.now, TO)
    world.own.write(world.tables.now, "lost", settled)
    report = world.restore()
    assert copy.rows()["lost"] == settled
    assert report.document["marked"] == []


def test_a_mark_set_between_a_look_and_its_write_is_not_written_over(world: World) -> None:
    put = world.tables.answers()["dynamodb:PutItem"]

    def answer(params: Answer) -> Answer:
        [copy] = world.copies
        if params["Item"]["transaction_id"]["S"] == "open" and not marks(copy):
            copy.write(world.tables.now, "open", with_mark(copy.rows()["open"], TO))
        return put(params)

    world.aws.answers["dynamodb:PutItem"] = answer
    claimed = payment("open", "processing", TO + MINUTE, TO - MINUTE)
    world.own.write(TO + MINUTE, "open", claimed)
    world.restore()
    assert marks(active(world)) == {"open": seconds(TO)}


def restored(world: World, **options: object) -> FakeTable:
    """Restore, and let some time go by; return the copy."""
    world.restore(**options)
    world.tables.now += HOUR
    return active(world)


def test_an_undo_marks_what_is_lost_since_with_the_moment_of_the_move(world: World) -> None:
    copy = restored(world)
    stopped = world.journal.stopped_at
    assert stopped is not None
    copy.write(world.tables.now, "open", None)
    before = world.own.rows()["open"]
    report = world.undo()
    assert world.own.rows()["open"] == with_mark(before, stopped)
    assert marks(world.own) == {"open": seconds(stopped)}
    assert report.document["marked"] == ["open"]
    assert "1 open payment marked as rewound (the JSON report lists them):" in report.lines


def test_an_undo_marks_what_it_leaves_behind(world: World) -> None:
    copy, now = restored(world), world.tables.now
    copy.write(now, "open", payment("open", "processed", now, TO))
    report = world.undo(discard_newer=True, confirm_discard=True)
    assert report.document["marked"] == ["open"]
    assert "open" in marks(world.own)
    assert world.operator.of(Report)[-1] == report


def test_an_undo_marks_what_the_copy_never_had_as_if_it_was_lost(world: World) -> None:
    restored(world, discard_newer=True, confirm_discard=True)
    assert world.undo().document["marked"] == ["made-since"]
    assert world.statuses(OWN)["made-since"] == "validated"


def test_an_undo_of_nothing_that_was_lost_marks_nothing(world: World) -> None:
    copy, now = restored(world), world.tables.now
    for name, status in (("open", "processing"), ("new", "validated")):
        copy.write(now, name, payment(name, status, now, TO - 30 * MINUTE))
    report = world.undo()
    assert (report.document["marked"], marks(world.own)) == ([], {})
    assert world.statuses(OWN)["open"] == "processing"


def test_a_mark_is_not_lost_by_a_restore_to_a_moment_before_it_was_set(world: World) -> None:
    world.lose("lost", "validated")
    update = world.tables.answers()["dynamodb:UpdateItem"]

    def answer(params: Answer) -> Answer:
        world.tables.now += MINUTE
        return update(params)

    world.aws.answers["dynamodb:UpdateItem"] = answer
    first = restored(world)
    marked_at = max(at for at, name, _ in first.history if name == "lost")
    to = marked_at - MINUTE / 2
    assert "rewound" not in first.rows(to)["lost"]
    report = world.restore(to=to)
    assert world.active != first.name
    assert marks(active(world)) == {"lost": seconds(TO)}
    assert report.document["marked"] == ["lost"]


def test_a_mark_is_not_lost_by_two_undos_in_a_row(world: World) -> None:
    """Charged in the second copy only, and left there: both earlier tables must know."""
    first = restored(world)
    second = restored(world, to=None)
    now = world.tables.now
    second.write(now, "open", payment("open", "processed", now, TO))
    world.undo(discard_newer=True, confirm_discard=True)
    assert world.active == first.name
    world.tables.now += HOUR
    report = world.undo()
    assert world.active == OWN
    assert marks(world.own) == marks(first)
    assert report.document["marked"] == ["open"]


def test_a_marked_row_is_verified_and_exported_as_any_other(world: World) -> None:
    world.lose("lost", "validated")
    restored(world)
    report = world.restore(to=None)
    verification: Any = report.document["verification"]
    assert verification["problems"] == ()
    client = world.session.client("dynamodb")
    lines = [line for page in pages(client, world.active, None) for line in page.lines.splitlines()]
    rows = {row["transaction_id"]: row for row in map(json.loads, lines)}
    assert {name: row["rewound"] for name, row in rows.items() if "rewound" in row} == {
        "lost": seconds(TO)
    }
