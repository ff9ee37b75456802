"""A copy that is not what it should be ends the restore before anything else is touched."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.events import Caution
from payment_infra.cloud.restoring.encryption import Encryption
from payment_infra.cloud.restoring.reading import SEGMENTS
from payment_infra.cloud.restoring.verification import verify
from payment_infra.errors import AwsError
from tests.restoring import OWN, TO, World, payment

if TYPE_CHECKING:
    from tests.stacks import Answer
    from tests.tables import FakeTable

MINUTE = timedelta(minutes=1)


def spoiled(world: World, spoil: Callable[[FakeTable], None]) -> None:
    """Let the copy come out of the restore as it should not."""
    restore = world.tables.answers()["dynamodb:RestoreTableToPointInTime"]

    def answer(params: Answer) -> Answer:
        answer = restore(params)
        spoil(world.tables.tables[params["TargetTableName"]])
        return answer

    world.aws.answers["dynamodb:RestoreTableToPointInTime"] = answer


def lose_a_row(copy: FakeTable) -> None:
    copy.history = copy.history[:-1]


def lose_the_index(copy: FakeTable) -> None:
    copy.indexes = []


def change_the_index(copy: FakeTable) -> None:
    copy.indexes = [{**copy.indexes[0], "Projection": {"ProjectionType": "ALL"}}]


def change_the_key(copy: FakeTable) -> None:
    copy.key = "id"
    copy.history = [
        (at, key, {"id": {"S": key}, **{n: v for n, v in row.items() if n != "transaction_id"}})
        for at, key, row in copy.history
        if row
    ]


def hold_something_else(copy: FakeTable) -> None:
    copy.history = [
        (at, key, {**row, "amount_minor": {"S": "1"}} if row and key == "open" else row)
        for at, key, row in copy.history
    ]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lose_a_row, f"it has 4 payments, and 5 of {OWN} were made before 2026-11-24T11:45:00Z"),
        (lose_the_index, "its index in-flight-index is missing, not {"),
        (change_the_index, "its index in-flight-index is {"),
        (change_the_key, "its key is [{'AttributeName': 'id', 'KeyType': 'HASH'}], not [{"),
        (hold_something_else, "its row open is not a payment"),
    ],
)
def test_a_copy_that_is_not_what_it_should_be_ends_it(
    world: World, spoil: Callable[[FakeTable], None], told: str
) -> None:
    spoiled(world, spoil)
    with pytest.raises(AwsError, match="is not what it should be, and payments go on in"):
        world.restore()
    assert told in world.operator.of(Caution)[0].message
    assert world.active == OWN
    assert world.aws.called("apigateway:UpdateStage") == []


def test_without_verification_it_goes_on_with_a_caution(world: World) -> None:
    spoiled(world, lose_the_index)
    world.restore(verify=False)
    assert world.active != OWN
    assert "its index in-flight-index is missing" in world.operator.of(Caution)[0].message


def test_a_repeated_command_verifies_again(world: World) -> None:
    spoiled(world, lose_the_index)
    for _ in range(2):
        with pytest.raises(AwsError, match="is not what it should be"):
            world.restore()
    world.copies[0].indexes = world.own.indexes
    world.restore()
    assert world.active != OWN


def test_a_drill_whose_copy_is_wrong_leaves_it_to_be_looked_at(world: World) -> None:
    spoiled(world, lose_the_index)
    with pytest.raises(AwsError, match="is not what it should be"):
        world.restore(drill=True)
    assert len(world.copies) == 1


def test_what_explains_a_difference_is_no_problem(world: World) -> None:
    # Of the functions' clocks: made before the moment by one, and not there yet.
    world.own.write(
        TO + MINUTE, "slow-clock", payment("slow-clock", "validated", TO + MINUTE, TO - MINUTE)
    )
    # Made since.
    world.pay("made-later", ("validated", 3 * MINUTE))
    # In the copy only, as it is gone since.
    world.own.write(TO + MINUTE, "old", None)
    report = world.restore()
    verification = report.document["verification"]
    assert verification == {
        "in_source": 7,
        "created_since": 2,
        "in_copy": 5,
        "extra": 0,
        "problems": (),
    }
    assert world.operator.of(Caution) == []


@dataclass
class Rows:
    """A client of tables of so many payments, which are made as they are read."""

    number: int

    def describe_table(self, **_: object) -> Answer:
        return {"Table": {"KeySchema": [{"AttributeName": "transaction_id", "KeyType": "HASH"}]}}

    def scan(self, **_: object) -> Answer:
        return {"Items": []}

    def get_paginator(self, _: str) -> Rows:
        return self

    def paginate(self, **scan: Any) -> Iterator[Answer]:
        for begin in range(scan["Segment"], self.number, 50 * SEGMENTS):
            made = [TO - timedelta(hours=1, seconds=begin + row) for row in range(50)]
            yield {"Items": [{"created_at": {"S": at.isoformat()}} for at in made]}


def peak_bytes(number: int) -> int:
    """Return the most memory that a verification of so many payments has had."""
    client: Any = Rows(number)
    tracemalloc.start()
    try:
        assert verify(client, OWN, "copy", TO, Encryption()).in_source == number
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_table() -> None:
    peak_bytes(1000)  # what is made once
    assert peak_bytes(20_000) - peak_bytes(1000) < 500_000


def test_a_copy_is_seen_as_it_was_written_last(world: World) -> None:
    def write_once_more(copy: FakeTable) -> None:
        at, key, row = copy.history[-1]
        assert row
        copy.write(at, key, row | {"later": {"S": "1"}})

    spoiled(world, write_once_more)
    world.restore()
    assert world.operator.of(Caution) == []
