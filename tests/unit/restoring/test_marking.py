"""What a move cannot settle from the table that is left is marked, to be looked up first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.events import Caution, StepBegun
from payment_infra.cloud.restoring.rows import OPEN
from tests.breaking import Killed
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
    from tests.expressions import Item
    from tests.stacks import Answer

HOUR = 60 * MINUTE


def cautions(world: World) -> list[str]:
    return [caution.message for caution in world.operator.of(Caution)]


@pytest.mark.parametrize("statuses", [("validated",), ("validated", "processing")])
def test_an_open_payment_whose_row_is_lost_is_marked_with_the_moment_restored(
    world: World, statuses: tuple[str, ...]
) -> None:
    world.lose("lost", *statuses)
    report = world.restore()
    copy = active(world)
    before = payment("lost", statuses[-1], TO + (len(statuses) - 31) * MINUTE, TO - 30 * MINUTE)
    # Not a word of it but the mark, updated_at included.
    assert copy.rows()["lost"] == with_mark(before, TO)
    assert marks(copy) == {"lost": seconds(TO)}
    assert report.document["marked"] == ["lost"]
    assert cautions(world) == [f"1 open payment of {copy.name} marked as rewound; see the report"]
    assert report.lines[report.lines.index("What is left to do:") - 3 :][:3] == (
        "1 open payment marked as rewound (the JSON report lists them):",
        "  looked up first, and charged only if the gateway is certain that it never did;",
        "  else the outcome stays unknown, for you to settle (docs/failed-payments.md)",
    )


def test_a_marked_payment_no_longer_counts_on_a_message_of_before(world: World) -> None:
    open_row = payment("lost", "processing", TO - MINUTE, TO - 30 * MINUTE)
    world.own.write(TO - MINUTE, "lost", open_row | {"queued_until": {"N": str(seconds(TO))}})
    world.own.write(TO + MINUTE, "lost", None)
    world.restore()
    assert active(world).rows()["lost"] == with_mark(open_row, TO)


@pytest.mark.parametrize("end", ["processed", "declined"])
def test_a_settled_payment_is_not_marked(world: World, end: str) -> None:
    world.lose("ended", "validated", "processing", end)
    assert world.restore().document["marked"] == []
    assert marks(active(world)) == {}
    assert "ended" in active(world).rows()


def test_what_is_the_same_in_both_or_carried_over_is_not_marked(world: World) -> None:
    world.pay("claimed", ("validated", -MINUTE), ("processing", MINUTE))
    world.pay("in-flight", ("processing", -MINUTE))
    report = world.restore()
    assert world.statuses(world.active) == world.statuses(OWN)
    assert (report.document["marked"], marks(active(world))) == ([], {})
    assert "marked as rewound (" not in "".join(report.lines)
    assert world.updates == []


def test_an_open_payment_that_was_left_behind_is_marked(world: World) -> None:
    world.pay("claimed", ("validated", -MINUTE), ("processing", MINUTE))
    report = world.restore(discard_newer=True, confirm_discard=True)
    expected = ["claimed", "since-0", "since-1", "since-2"]
    assert report.document["marked"] == expected
    assert marks(active(world)) == dict.fromkeys(expected, seconds(TO))
    assert "made-since" not in active(world).rows()


def test_of_what_was_left_behind_any_difference_is_enough(world: World) -> None:
    touched = payment("open", "validated", TO + MINUTE, TO - 30 * MINUTE)
    world.own.write(TO + MINUTE, "open", touched)
    report = world.restore(discard_newer=True, confirm_discard=True)
    assert "open" in marks(active(world))
    assert actions(report)["open"] == "left"


@pytest.mark.parametrize("what", ["status", "amount_minor", "updated_at"])
def test_an_open_payment_whose_other_row_is_none_is_marked(world: World, what: str) -> None:
    foreign = payment("open", "validated", TO + MINUTE, TO) | {what: {"S": "refunded"}}
    if what == "updated_at":
        del foreign[what]
    world.own.write(TO + MINUTE, "open", foreign)
    assert world.restore().document["marked"] == ["open"]


NEWER, OLDER = TO + 20 * MINUTE, TO + MINUTE
FIRST, LATER = (moment.isoformat(timespec="microseconds") for moment in (OLDER, NEWER))


@pytest.mark.parametrize(
    ("left", "kept", "marked"),
    [
        # By a clock that was behind: its charge is known there only.
        (("processing", FIRST), ("validated", None), True),
        (("processing", FIRST), ("processing", LATER), True),
        # Nothing is known there that is not known here.
        (("validated", None), ("validated", None), False),
        (("validated", None), ("processing", LATER), False),
        (("processing", FIRST), ("processing", FIRST), False),
        (("processing", LATER), ("processing", FIRST), False),
    ],
)
def test_what_is_kept_is_marked_if_the_other_row_tells_more(
    world: World, left: tuple[str, str | None], kept: tuple[str, str | None], marked: bool
) -> None:
    def row(status: str, first_charge: str | None, at: datetime) -> Item:
        first = {"first_charge_at": {"S": first_charge}} if first_charge else {}
        return payment("open", status, at, TO) | first

    copy = world.stop_at("dynamodb:PutItem")
    world.own.write(OLDER, "open", row(*left, OLDER))
    copy.write(world.tables.now, "open", row(*kept, NEWER))
    report = world.restore()
    assert report.document["marked"] == (["open"] if marked else [])
    assert actions(report).get("open") == ("kept" if marked else None)
    expected = row(*kept, NEWER)
    assert copy.rows()["open"] == (with_mark(expected, TO) if marked else expected)


def test_what_a_person_settled_without_a_date_is_settled(world: World) -> None:
    settled = payment("open", "processed", TO - 30 * MINUTE, TO - 30 * MINUTE)
    world.own.write(TO + MINUTE, "open", settled)
    report = world.restore()
    assert actions(report)["open"] == "copied"
    assert active(world).rows()["open"] == settled
    assert report.document["marked"] == []


@pytest.mark.parametrize(("before", "anew"), [("processing", "validated"), *product(OPEN, OPEN)])
def test_a_payment_that_was_lost_and_validated_anew_is_marked(
    world: World, before: str, anew: str
) -> None:
    """It has the same id, and was charged in a row that is lost."""
    world.lose("lost", before)
    again = payment("lost", anew, TO + 3 * MINUTE, TO + 2 * MINUTE)
    world.own.write(TO + 3 * MINUTE, "lost", again)
    report = world.restore()
    assert report.document["marked"] == ["lost"]
    assert marks(active(world)) == {"lost": seconds(TO)}
    back = OPEN.index(anew) < OPEN.index(before)
    assert actions(report)["lost"] == ("kept" if back else "copied")
    assert world.statuses(world.active)["lost"] == (before if back else anew)


def test_what_was_changed_by_something_else_is_as_it_was_restored(world: World) -> None:
    wrong = world.own.rows()["open"] | {"amount_minor": {"N": "7"}}
    world.own.write(TO + MINUTE, "open", wrong)
    report = world.restore()
    assert actions(report)["open"] == "kept"
    assert active(world).rows()["open"]["amount_minor"] == {"N": "1"}


def test_the_note_of_a_contradicting_capture_is_carried_over(world: World) -> None:
    old = world.own.rows()["old"]
    noted = old | {"contradicting_reference": {"S": "ch_2"}}
    world.own.write(TO + MINUTE, "old", noted)
    assert actions(world.restore())["old"] == "copied"
    assert active(world).rows()["old"] == noted
    world.tables.now += HOUR
    active(world).write(world.tables.now, "old", old)
    assert actions(world.undo())["old"] == "kept"
    assert world.own.rows()["old"] == noted


def test_what_a_person_edited_without_a_date_may_be_charged_as_before(world: World) -> None:
    edited = {**world.own.rows()["open"], "customer_id": {"S": "y"}}
    world.own.write(TO + MINUTE, "open", edited)
    assert world.restore().document["marked"] == []


def test_rows_are_marked_once_all_is_carried_over_and_before_the_stack_moves(
    world: World,
) -> None:
    world.lose("lost", "validated")
    world.restore()
    names = [name for name in world.aws.changes() if not name.startswith("dynamodb:T")]
    first = names.index("apigateway:UpdateStage")
    assert names[first:][:8] == [
        "apigateway:UpdateStage",
        "lambda:UpdateEventSourceMapping",
        *["dynamodb:PutItem"] * 4,
        "dynamodb:UpdateItem",
        "cloudformation:CreateChangeSet",
    ]


def test_a_drill_marks_nothing(world: World) -> None:
    world.lose("lost", "validated")
    world.restore(drill=True)
    assert world.updates == []


def test_many_rows_are_marked_page_by_page(world: World) -> None:
    names = [f"many-{number}" for number in range(450)]
    for name in names:
        world.own.write(TO - MINUTE, name, payment(name, "validated", TO - MINUTE, TO - MINUTE))
        world.own.write(TO + MINUTE, name, None)
    world.tables.rows_per_page = 130
    report = world.restore()
    assert report.document["marked"] == sorted(names)
    assert set(marks(active(world))) == set(names)


def when_let_in(world: World, act: Callable[[], None]) -> None:
    """Do something between the first look and the second."""

    def tell(event: object) -> None:
        if isinstance(event, StepBegun) and event.number == 8:
            act()

    world.operator.on_tell = tell


def test_the_second_look_marks_what_it_finds_and_does_not_carry_over(world: World) -> None:
    def slip() -> None:
        now = world.tables.now
        world.own.write(now, "open", payment("open", "refunded", now, TO))
        world.own.write(now, "made-since", payment("made-since", "processed", now, TO))

    when_let_in(world, slip)
    report = world.restore()
    assert report.document["marked"] == ["open"]
    assert marks(active(world)) == {"open": seconds(TO)}
    assert world.statuses(world.active)["made-since"] == "processed"
    assert cautions(world)[-1] == (
        f"1 open payment of {world.active} marked as rewound; see the report"
    )


def test_the_second_look_marks_nothing_that_is_settled(world: World) -> None:
    def slip() -> None:
        now = world.tables.now
        world.own.write(now, "old", payment("old", "declined", now, TO))

    when_let_in(world, slip)
    report = world.restore()
    assert (report.document["marked"], actions(report)["old"]) == ([], "kept")
    assert world.updates == []


def test_the_second_look_does_not_mark_what_is_new_in_the_table_that_is_moved_to(
    world: World,
) -> None:
    def slip() -> None:
        now = world.tables.now
        active(world).write(now, "new", payment("new", "validated", now, now))

    when_let_in(world, slip)
    assert world.restore().document["marked"] == []
    assert marks(active(world)) == {}


def test_the_second_look_does_not_mark_what_has_gone_on_in_the_table_that_is_moved_to(
    world: World,
) -> None:
    recent = payment("recent", "validated", world.tables.now, TO)
    world.own.write(TO, "recent", recent)

    def slip() -> None:
        now = world.tables.now
        active(world).write(now, "recent", payment("recent", "processing", now, TO))

    when_let_in(world, slip)
    report = world.restore(discard_newer=True, confirm_discard=True)
    assert "recent" not in actions(report)
    assert report.document["marked"] == ["since-0", "since-1", "since-2"]


def test_a_run_that_goes_on_marks_what_is_missing_and_reports_all(world: World) -> None:
    world.lose("lost", "validated")
    world.lose("lost-too", "validated")
    failing = world.tables.answers()["dynamodb:UpdateItem"]
    begun: list[Answer] = []

    def answer(params: Answer) -> Answer:
        if begun:
            raise Killed
        begun.append(params)
        return failing(params)

    world.aws.answers["dynamodb:UpdateItem"] = answer
    with pytest.raises(Killed):
        world.restore()
    [copy] = world.copies
    assert len(marks(copy)) == 1
    world.aws.answers["dynamodb:UpdateItem"] = failing
    report = world.restore()
    assert marks(copy) == dict.fromkeys(("lost", "lost-too"), seconds(TO))
    assert report.document["marked"] == ["lost", "lost-too"]
    # The first one was not written again.
    assert len(world.updates) == 3


def test_a_run_that_goes_on_after_the_move_reports_what_was_marked_before(world: World) -> None:
    world.lose("lost", "validated")
    world.lose("settled", "validated")

    def stop() -> None:
        raise Killed

    when_let_in(world, stop)
    with pytest.raises(Killed):
        world.restore()
    world.operator.on_tell = lambda _: None
    copy, now = active(world), world.tables.now
    copy.write(now, "settled", with_mark(payment("settled", "processed", now, TO), TO))
    report = world.restore()
    assert report.document["marked"] == ["lost"]
    assert len(world.updates) == 2


@pytest.mark.parametrize("status", ["processed", None])
def test_a_row_that_is_settled_or_gone_when_it_is_to_be_marked_stays_so(
    world: World, status: str | None
) -> None:
    world.lose("lost", "validated")
    update = world.tables.answers()["dynamodb:UpdateItem"]

    def answer(params: Answer) -> Answer:
        now, [copy] = world.tables.now, world.copies
        copy.write(now, "lost", payment("lost", status, now, TO) if status else None)
        return update(params)

    world.aws.answers["dynamodb:UpdateItem"] = answer
    report = world.restore()
    assert report.document["marked"] == []
    assert marks(active(world)) == {}
    assert world.statuses(world.active).get("lost") == status
