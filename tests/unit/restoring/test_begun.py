"""Payments that were begun at a gateway: pending, canceled, and with its own name of them."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.restoring.carry_over import RowChange, changes
from payment_infra.cloud.restoring.rows import BEGUN_AT, OPEN, SETTLED
from tests.aws import FakeAws
from tests.restoring import MINUTE, TO, World, actions, active, marks, payment, seconds
from tests.tables import START, FakeTables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tests.expressions import Item

FROM, THERE = "from", "there"
MADE = TO - 30 * MINUTE
AT_A_GATEWAY = {"gateway": "acme:Acme", "gateway_account": "acct_1", "gateway_mode": "test"}
ACTION = "https://gateway.example/act-1"


def begun(
    status: str, at: datetime, gateway_id: str | None = "pay_1", made: datetime = MADE, **more: str
) -> Item:
    """Return the row of a payment that was begun in two steps."""
    texts = AT_A_GATEWAY | ({"gateway_id": gateway_id} if gateway_id else {}) | more
    return payment("one", status, at, made) | {name: {"S": text} for name, text in texts.items()}


def pending(at: datetime, next_look: datetime, key: str = "pending#3") -> Item:
    row = begun("pending", at, in_flight=key, next_action=ACTION)
    return row | {"lease_expires_at": {"N": str(seconds(next_look))}}


@pytest.fixture
def tables() -> FakeTables:
    tables = FakeTables()
    for name in (FROM, THERE):
        tables.add(name)
    return tables


def carried_over(tables: FakeTables, row: Item, there: Item | None, **options: Any) -> RowChange:
    """Carry a row over to where another one is; return the only change."""
    [change] = all_changes(tables, row, there, **options)
    return change


def all_changes(
    tables: FakeTables, row: Item, there: Item | None, **options: Any
) -> list[RowChange]:
    tables.tables[FROM].write(START, "one", row)
    tables.tables[THERE].write(START, "one", there)
    client = FakeAws(answers={**tables.answers()}).session().client("dynamodb")
    return changes(client, FROM, THERE, TO, **{"write": True, **options})


def there(tables: FakeTables) -> Item:
    return tables.tables[THERE].rows()["one"]


# Pending.


@pytest.mark.parametrize("before", OPEN)
def test_a_newer_pending_payment_goes_over_with_all_that_it_has(
    tables: FakeTables, before: str
) -> None:
    row = pending(TO + MINUTE, TO + 6 * MINUTE)
    older = payment("one", before, TO - MINUTE, MADE)
    assert carried_over(tables, row, older).action == "copied"
    assert there(tables) == row


@pytest.mark.parametrize("status", ["validated", "processing"])
def test_nothing_goes_back_from_pending(tables: FakeTables, status: str) -> None:
    row, present = begun(status, TO + MINUTE), pending(TO, TO)
    assert carried_over(tables, row, present).action == "kept"
    assert there(tables) == present


@pytest.mark.parametrize("end", sorted(SETTLED))
def test_an_end_takes_the_place_of_what_is_pending_and_of_its_next_action(
    tables: FakeTables, end: str
) -> None:
    row = begun(end, TO + MINUTE)
    assert carried_over(tables, row, pending(TO, TO)).action == "copied"
    assert "next_action" not in there(tables)


def test_that_a_pending_payment_was_looked_at_again_is_no_difference(tables: FakeTables) -> None:
    row = pending(TO, TO + 60 * MINUTE, key="overdue")
    assert all_changes(tables, row, pending(TO, TO)) == []


def test_a_pending_payment_is_restored_with_its_place_in_the_index_and_is_not_marked(
    world: World,
) -> None:
    row = pending(TO - MINUTE, TO)
    world.own.write(TO - MINUTE, "one", row)
    world.own.write(TO + MINUTE, "one", None)
    assert world.restore().document["marked"] == []
    assert active(world).rows()["one"] == row


@pytest.mark.parametrize("status", ["processing", "pending", *sorted(SETTLED)])
def test_what_was_begun_and_is_left_behind_without_a_row_could_be_charged_again(
    tables: FakeTables, status: str
) -> None:
    change = carried_over(tables, begun(status, TO + MINUTE), None, write=False)
    assert (change.action, change.unknown) == ("left", True)


def test_what_was_only_validated_could_not(tables: FakeTables) -> None:
    row = payment("one", "validated", TO + MINUTE, MADE)
    assert not carried_over(tables, row, None, write=False).unknown


# Ends.


@pytest.mark.parametrize(("end", "other"), [*product(SETTLED, SETTLED)])
@pytest.mark.parametrize("later", [-MINUTE, MINUTE])
def test_no_end_is_written_over_and_one_that_differs_is_told_whatever_its_date(
    tables: FakeTables, end: str, other: str, later: Any
) -> None:
    row, present = begun(end, TO + later), begun(other, TO)
    found = all_changes(tables, row, present)
    told = ["kept"] if end != other or later > 0 * MINUTE else []
    assert [change.action for change in found] == told
    assert there(tables) == present


def test_two_captures_of_a_payment_are_told_whatever_their_dates(tables: FakeTables) -> None:
    row = begun("processed", TO - MINUTE, gateway_reference="ch_1")
    present = begun("processed", TO, gateway_reference="ch_2")
    assert carried_over(tables, row, present).action == "kept"
    assert there(tables) == present


def test_a_canceled_payment_stays_canceled(world: World) -> None:
    for at, status in ((-20 * MINUTE, "validated"), (MINUTE, "canceled")):
        world.own.write(TO + at, "one", payment("one", status, TO + at, MADE))
    report = world.restore()
    assert (actions(report)["one"], report.document["marked"]) == ("copied", [])
    assert world.statuses(world.active)["one"] == "canceled"
    world.undo()
    assert world.statuses(world.active)["one"] == "canceled"


# Where it was begun.


@pytest.mark.parametrize(
    "beginning",
    [
        {"gateway_id": "pay_2"},
        {"gateway": "acme:Other"},
        {"gateway_account": "acct_2"},
        {"gateway_mode": "live"},
        dict.fromkeys(BEGUN_AT),
    ],
)
@pytest.mark.parametrize(
    ("status", "before"), [("processing", "processing"), ("pending", "pending")]
)
def test_an_open_payment_that_was_begun_elsewhere_is_not_written_over(
    tables: FakeTables, beginning: dict[str, str | None], status: str, before: str
) -> None:
    row = begun(status, TO + MINUTE)
    for name, value in beginning.items():
        row = {key: of for key, of in row.items() if key != name}
        row |= {name: {"S": value}} if value else {}
    present = begun(before, TO)
    assert carried_over(tables, row, present, write=False).action == "kept"
    assert carried_over(tables, row, present).action == "kept"
    assert there(tables) == present


@pytest.mark.parametrize(
    ("status", "before"), [("processing", "processing"), ("pending", "processing")]
)
def test_one_that_was_begun_alike_is(tables: FakeTables, status: str, before: str) -> None:
    row = begun(status, TO + MINUTE)
    assert carried_over(tables, row, begun(before, TO)).action == "copied"
    assert there(tables) == row


@pytest.mark.parametrize("name", BEGUN_AT)
def test_one_that_was_begun_meanwhile_is_not_written_over(tables: FakeTables, name: str) -> None:
    row, present = begun("processing", TO + MINUTE), payment("one", "processing", TO, MADE)

    def begin_meanwhile(found: Sequence[RowChange]) -> None:
        if [change.action for change in found] == ["copied"]:
            tables.tables[THERE].write(START, "one", {**present, name: {"S": "another"}})

    found = all_changes(tables, row, present, note=begin_meanwhile)
    assert [change.action for change in found] == ["kept"]
    assert there(tables)[name] == {"S": "another"}


def test_what_was_sent_with_a_payment_is_a_part_of_what_was_validated(tables: FakeTables) -> None:
    row = begun("processing", TO + MINUTE, payment_method="pm_1")
    assert carried_over(tables, row, payment("one", "validated", TO, MADE)).action == "mismatched"
    assert there(tables)["status"] == {"S": "validated"}


# Marks.


def restored(world: World, then: Item, since: Item | None, **options: Any) -> Item:
    """Restore to where a payment had one row, of which there is another one since."""
    world.own.write(TO - MINUTE, "one", then)
    world.own.write(TO + MINUTE, "one", since)
    world.restore(**options)
    return active(world).rows()["one"]


LEAVING = {"discard_newer": True, "confirm_discard": True}


@pytest.mark.parametrize("status", ["processing", "pending"])
@pytest.mark.parametrize("since", [None, begun("processed", TO + MINUTE)])
def test_what_has_the_gateways_name_of_it_needs_no_mark(
    world: World, status: str, since: Item | None
) -> None:
    then = begun(status, TO - MINUTE)
    assert restored(world, then, since, **LEAVING) == then


@pytest.mark.parametrize("status", ["validated", "processing"])
@pytest.mark.parametrize("since", [*OPEN[1:], *sorted(SETTLED)])
def test_what_has_none_is_marked_where_what_came_since_is_left_behind(
    world: World, status: str, since: str
) -> None:
    then = begun(status, TO - MINUTE, gateway_id=None)
    after = restored(world, then, begun(since, TO + MINUTE), **LEAVING)
    assert after == {**then, "rewound": {"N": str(seconds(TO))}}


@pytest.mark.parametrize(
    "since",
    [
        begun("processing", TO + MINUTE, "pay_2"),
        begun("pending", TO + MINUTE, "pay_2"),
        begun("validated", TO + MINUTE, None, made=TO + MINUTE),
    ],
)
@pytest.mark.parametrize("options", [{}, LEAVING])
def test_of_two_names_the_one_there_stays_and_is_marked(
    world: World, since: Item, options: dict[str, bool]
) -> None:
    """The gateway has both, or may have: it is asked for all that it has of the payment."""
    then = begun("processing", TO - MINUTE)
    after = restored(world, then, since, **options)
    assert after == {**then, "rewound": {"N": str(seconds(TO))}}


def test_what_was_lost_and_validated_anew_is_looked_for_since_it_was_first_made(
    world: World,
) -> None:
    anew = payment("one", "processing", TO + 3 * MINUTE, TO + MINUTE)
    then = payment("one", "validated", TO - MINUTE, MADE)
    after = restored(world, then, anew)
    mark = {"rewound": {"N": str(seconds(TO))}}
    assert after == {**anew, "created_at": then["created_at"], **mark}


def test_an_undo_finds_out_when_it_was_first_made(world: World) -> None:
    anew = payment("one", "validated", TO + 3 * MINUTE, TO + MINUTE)
    then = payment("one", "validated", TO - MINUTE, MADE)
    restored(world, then, anew, **LEAVING)
    world.tables.now += MINUTE
    world.undo()
    assert world.own.rows()["one"]["created_at"] == then["created_at"]
    assert marks(world.own)["one"] == seconds(TO)


def test_that_a_payment_is_known_to_be_older_goes_with_it_and_is_no_second_difference(
    world: World,
) -> None:
    anew = payment("one", "validated", TO + 3 * MINUTE, TO + MINUTE)
    world.own.write(TO - MINUTE, "one", payment("one", "validated", TO - MINUTE, MADE))
    world.own.write(TO + MINUTE, "one", anew)
    assert actions(world.restore())["one"] == "copied"
    assert actions(world.undo())["one"] == "copied"
    assert world.own.rows()["one"]["created_at"] == {"S": iso(MADE)}


def test_that_it_is_known_to_be_older_is_no_difference(tables: FakeTables) -> None:
    row = payment("one", "validated", TO + 3 * MINUTE, TO + MINUTE)
    carried_over(tables, row, payment("one", "validated", TO, MADE))
    assert there(tables)["created_at"] == {"S": iso(MADE)}
    assert all_changes(tables, row, there(tables)) == []


def test_what_is_marked_learns_where_it_was_begun(world: World) -> None:
    """Another gateway would know for certain that it has not charged it."""
    then = payment("one", "validated", TO - MINUTE, MADE)
    after = restored(world, then, begun("processing", TO + MINUTE), **LEAVING)
    learned = {name: {"S": text} for name, text in AT_A_GATEWAY.items()}
    assert after == {**then, **learned, "rewound": {"N": str(seconds(TO))}}


def test_what_says_where_it_was_begun_says_so_as_before(world: World) -> None:
    then = begun("processing", TO - MINUTE, gateway_id=None)
    since = begun("processing", TO + MINUTE, gateway_id=None, gateway="acme:Other")
    after = restored(world, then, since)
    assert after == {**then, "rewound": {"N": str(seconds(TO))}}


A, B = {"S": "acme:Acme"}, {"S": "acme:Other key-AbCdEf"}
BOTH = {"S": "acme:Acme, acme:Other key-AbCdEf"}


@pytest.mark.parametrize(
    ("here", "other", "after"),
    [(None, A, A), (A, None, A), (A, A, A), (A, B, BOTH), (B, BOTH, BOTH), (BOTH, A, BOTH)],
)
def test_what_is_marked_was_validated_for_all_whom_either_row_names(
    world: World, here: Item | None, other: Item | None, after: Item | None
) -> None:
    """So that none of two charges what another one may have."""
    then = payment("one", "validated", TO - MINUTE, MADE)
    then |= {} if here is None else {"validated_for": here}
    since = begun("processing", TO + MINUTE)
    since |= {} if other is None else {"validated_for": other}
    assert restored(world, then, since, **LEAVING)["validated_for"] == after


def test_nothing_is_learned_from_what_is_no_payment(world: World) -> None:
    then = payment("one", "validated", TO - MINUTE, MADE)
    foreign = begun("refunded", TO + MINUTE)
    assert restored(world, then, foreign) == {**then, "rewound": {"N": str(seconds(TO))}}


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
