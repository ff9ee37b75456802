"""What a restore writes, on the embedded AWS's own DynamoDB: which rows, on which conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from handlers.shared.money import Money
from handlers.shared.transactions import fingerprint
from payment_infra.cloud.restoring.carry_over import RowChange, changes
from payment_infra.cloud.restoring.marking import Marking
from payment_infra.local.stack import open_session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from payment_infra.local.emulator import Emulator

NOW = datetime.now(UTC)
EARLIER, LATER = (NOW + timedelta(seconds=seconds) for seconds in (1, 2))


def payment(status: str, moment: datetime, **more: Any) -> dict[str, Any]:
    texts = {
        "amount": "0.01",
        "currency": "EUR",
        "customer_id": "c-1",
        "fingerprint": fingerprint(Money(1, "EUR"), "c-1"),
    }
    text = moment.isoformat(timespec="microseconds")
    made = (NOW - timedelta(hours=1)).isoformat(timespec="microseconds")
    texts |= {"status": status, "created_at": made, "updated_at": text, **more}
    return {name: {"S": value} for name, value in texts.items()} | {"amount_minor": {"N": "1"}}


@pytest.fixture(scope="module")
def client(aws: Emulator) -> DynamoDBClient:
    made: DynamoDBClient = open_session(aws).client("dynamodb")
    return made


@pytest.fixture
def two_tables(client: DynamoDBClient) -> Iterator[tuple[str, str]]:
    names = ("left", "moved-to")
    for name in names:
        client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "transaction_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "transaction_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    yield names
    for name in names:
        with suppress(client.exceptions.ResourceNotFoundException):
            client.delete_table(TableName=name)


def row(client: DynamoDBClient, table: str, transaction_id: str) -> Mapping[str, Any]:
    answer = client.get_item(TableName=table, Key={"transaction_id": {"S": transaction_id}})
    item: Mapping[str, Any] = answer.get("Item", {})
    return item


def put(client: DynamoDBClient, table: str, transaction_id: str, item: Mapping[str, Any]) -> None:
    client.put_item(TableName=table, Item={"transaction_id": {"S": transaction_id}, **item})


def carry_over(
    client: DynamoDBClient,
    names: tuple[str, str],
    *,
    write: bool = True,
    since: datetime | None = None,
) -> dict[str, RowChange]:
    found = changes(client, *names, NOW, write=write, since=since)
    return {one.transaction_id: one for one in found}


STATUSES = ("validated", "processing", "processed", "declined")
ENDS = STATUSES[2:]
FURTHER = {
    "validated": {"validated"},
    **{name: {"validated", "processing"} for name in ("processing", "processed", "declined")},
}


def test_no_payment_is_moved_back(client: DynamoDBClient, two_tables: tuple[str, str]) -> None:
    left, target = two_tables
    expected = {}
    for before in STATUSES:
        for after in STATUSES:
            for newer in (True, False):
                name = f"{before}-{after}-{newer}"
                here, there = (LATER, EARLIER) if newer else (EARLIER, LATER)
                put(client, left, name, payment(before, here))
                put(client, target, name, payment(after, there))
                ends = before in ENDS and after not in ENDS
                newer_and_further = newer and after in FURTHER[before]
                expected[name] = before if ends or newer_and_further else after
        put(client, left, f"{before}-new", payment(before, LATER))
        expected[f"{before}-new"] = before
    found = carry_over(client, two_tables)
    result = {name: row(client, target, name)["status"]["S"] for name in expected}
    assert result == expected
    assert {name for name, one in found.items() if one.action == "copied"} == {
        name for name in expected if row(client, target, name) == row(client, left, name)
    }
    again = carry_over(client, two_tables)
    assert {one.action for one in again.values()} == {"kept"}


def test_what_a_second_look_finds_is_new_and_a_payment(
    client: DynamoDBClient, two_tables: tuple[str, str]
) -> None:
    left, target = two_tables
    put(client, left, "old", payment("processed", NOW - timedelta(minutes=6)))
    put(client, left, "clock", payment("processed", NOW - timedelta(minutes=4)))
    put(client, left, "status", payment("refunded", LATER))
    put(client, left, "amount", payment("validated", LATER) | {"amount_minor": {"S": "1"}})
    found = carry_over(client, two_tables, since=NOW)
    assert {name: one.action for name, one in found.items()} == {
        "clock": "copied",
        "status": "foreign",
        "amount": "foreign",
    }
    assert not row(client, target, "status")
    assert not row(client, target, "old")
    assert carry_over(client, two_tables)["old"].action == "copied"
    assert row(client, target, "old")


def test_every_page_is_carried_over(client: DynamoDBClient, two_tables: tuple[str, str]) -> None:
    left, target = two_tables
    for number in range(40):
        put(client, left, f"n-{number}", payment("processed", LATER, decline_reason="x" * 60_000))
    found = carry_over(client, two_tables, write=False)
    assert sum(one.unknown for one in found.values()) == len(found) == 40
    assert not row(client, target, "n-0")
    carry_over(client, two_tables)
    assert all(row(client, target, f"n-{number}") for number in range(40))
    assert carry_over(client, two_tables) == {}


def test_only_open_rows_are_marked_and_the_earlier_mark_stays(
    client: DynamoDBClient, two_tables: tuple[str, str]
) -> None:
    _, target = two_tables
    for status in STATUSES:
        for mark in (None, 5, 7, 9):
            marked = {} if mark is None else {"rewound": {"N": str(mark)}}
            put(client, target, f"{status}-{mark}", payment(status, EARLIER) | marked)
    marking = Marking(client, *two_tables, datetime.fromtimestamp(7, UTC), discard=False)
    found = [marking.mark_all(), marking.mark_all(), marking.find_marked()]
    assert (
        found == [{f"{status}-{mark}" for status in STATUSES[:2] for mark in (None, 5, 7, 9)}] * 3
    )
    expected = {None: "7", 5: "5", 7: "7", 9: "7"}
    for status in STATUSES:
        for mark, open_mark in expected.items():
            item = row(client, target, f"{status}-{mark}")
            wanted = open_mark if status in STATUSES[:2] else mark and str(mark)
            assert item.get("rewound", {}).get("N") == wanted, item
            assert item["updated_at"] == {"S": EARLIER.isoformat(timespec="microseconds")}


def test_an_open_row_that_is_carried_over_keeps_the_earlier_mark(
    client: DynamoDBClient, two_tables: tuple[str, str]
) -> None:
    left, target = two_tables
    expected = {}
    for status in ("processing", "processed"):
        for own in (None, 5, 9):
            for there in (None, 7):
                name = f"{status}-{own}-{there}"
                for table, row_status, at, mark in (
                    (left, status, LATER, own),
                    (target, "validated", EARLIER, there),
                ):
                    marked = {} if mark is None else {"rewound": {"N": str(mark)}}
                    put(client, table, name, payment(row_status, at) | marked)
                known = [mark for mark in (own, there) if mark is not None]
                expected[name] = min(known, default=None) if status == "processing" else own
    found = carry_over(client, two_tables)
    assert {change.action for change in found.values()} == {"copied"}
    for name, mark in expected.items():
        item = row(client, target, name)
        assert item["status"] == {"S": name.partition("-")[0]}
        assert item.get("rewound") == (None if mark is None else {"N": str(mark)}), name
    assert carry_over(client, two_tables) == {}
