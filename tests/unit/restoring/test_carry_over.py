"""Where the comparison of two tables begins and ends: what is dated alike, and at the margin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from payment_infra.cloud.restoring.carry_over import CLOCK_MARGIN, RowChange, changes
from tests.aws import FakeAws
from tests.restoring import payment
from tests.tables import START, FakeTables

FROM, TO = "from", "to"
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def tables() -> FakeTables:
    tables = FakeTables()
    for name in (FROM, TO):
        tables.add(name)
    return tables


def carried_over(tables: FakeTables, **options: Any) -> list[RowChange]:
    client = FakeAws(answers={**tables.answers()}).session().client("dynamodb")
    return changes(client, FROM, TO, START, write=True, **options)


def test_a_second_look_goes_back_by_the_margin_and_not_further(tables: FakeTables) -> None:
    for name, at in (
        ("at", START - CLOCK_MARGIN),
        ("before", START - CLOCK_MARGIN - MICROSECOND),
    ):
        tables.tables[FROM].write(START, name, payment(name, "processed", at, at))
    assert [one.transaction_id for one in carried_over(tables, since=START)] == ["at"]


def test_of_two_open_rows_that_are_dated_alike_the_one_that_tells_more_stands(
    tables: FakeTables,
) -> None:
    begun, validated = (
        payment("one", status, START, START) for status in ("processing", "validated")
    )
    tables.tables[FROM].write(START, "one", begun)
    tables.tables[TO].write(START, "one", validated)
    assert [one.action for one in carried_over(tables)] == ["copied"]
    assert tables.tables[TO].rows() == {"one": begun}


def test_a_row_that_became_newer_by_a_moment_before_it_is_written_over_stays(
    tables: FakeTables,
) -> None:
    newer = payment("one", "validated", START + MICROSECOND, START)
    tables.tables[FROM].write(START, "one", payment("one", "processing", START, START))
    tables.tables[TO].write(START, "one", payment("one", "validated", START, START))

    def write_meanwhile(found: object) -> None:
        tables.tables[TO].write(START, "one", newer)

    assert [one.action for one in carried_over(tables, note=write_meanwhile)] == ["kept"]
    assert tables.tables[TO].rows() == {"one": newer}
