from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import pytest
from botocore.exceptions import ConnectTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from handlers.shared.aws.store import Store, TransactionExists
from handlers.shared.aws.table import StoreUnavailable, Table, Write
from handlers.shared.callers import Claimant
from handlers.shared.clock import epoch_seconds
from handlers.shared.gateway import Declined
from handlers.shared.marks import Marks
from handlers.shared.money import Money
from handlers.shared.states import IN_FLIGHT_KEYS, IN_FLIGHT_SHARDS, STUCK, in_flight_key
from handlers.shared.transactions import (
    LEASE_SECONDS,
    MAX_RECOVERIES,
    REQUIRED,
    TYPES,
    Transaction,
    fingerprint,
)
from tests.unit.handlers.fakes import FakeDynamoDB, client_error
from tests.unit.handlers.harness import Clock

if TYPE_CHECKING:
    from tests.expressions import Item

NOW = Clock().now
LEASE_OVER = NOW + timedelta(seconds=LEASE_SECONDS + 1)
IN_FLIGHT_ATTRIBUTES = {
    *("attempt_id", "lease_expires_at", "in_flight", "recoveries", "queued_until")
}
SYSTEM = Claimant(None)
GATEWAY = "acme:Acme key-AbCdEf"
MARKS = Marks("acme:Acme", "acct-1", "test")
ALICE = "arn:aws:sts::123456789012:assumed-role/alice"


@pytest.fixture
def table() -> FakeDynamoDB:
    return FakeDynamoDB()


@pytest.fixture
def store(table: FakeDynamoDB) -> Store:
    store = Store(Table(table, "transactions-dev"), GATEWAY)  # type: ignore[arg-type]
    store.add(transaction())
    return store


def transaction(transaction_id: str = "t-1") -> Transaction:
    return Transaction.validated(transaction_id, Money(10050, "USD"), "cust-1", NOW)


def claim(store: Store, attempt: str = "a", now: datetime = NOW) -> Write:
    return store.claim("t-1", attempt, SYSTEM, now, MARKS, two_steps=False)


def claimed(store: Store, attempt: str = "a", now: datetime = NOW) -> Transaction:
    write = claim(store, attempt, now)
    assert write.done
    return Transaction.payable(write.row)


def lease_end(table: FakeDynamoDB) -> int:
    return int(table.items["t-1"]["lease_expires_at"]["N"])


def test_a_validated_row_has_the_attributes_of_the_contract(
    store: Store, table: FakeDynamoDB
) -> None:
    assert table.items["t-1"] == {
        "transaction_id": {"S": "t-1"},
        "amount": {"S": "100.50"},
        "amount_minor": {"N": "10050"},
        "currency": {"S": "USD"},
        "customer_id": {"S": "cust-1"},
        "status": {"S": "validated"},
        "fingerprint": {"S": fingerprint(Money(10050, "USD"), "cust-1")},
        "created_at": {"S": "2026-11-22T21:27:00.000000+00:00"},
        "updated_at": {"S": "2026-11-22T21:27:00.000000+00:00"},
        "validated_for": {"S": GATEWAY},
    }


def test_what_was_read_is_ended_by_the_gateways_name_of_it_and_not_as_the_attempt_of_another(
    store: Store, table: FakeDynamoDB
) -> None:
    claimed(store)
    table.items["t-1"]["gateway_id"] = {"S": "pay-1"}
    read = Transaction.as_read(store.read("t-1"))
    assert read.attempt_id is None
    table.items["t-1"]["gateway_id"] = {"S": "pay-2"}
    assert not store.finish(read, "ch-1", NOW).done
    table.items["t-1"]["gateway_id"] = {"S": "pay-1"}
    assert store.finish(read, "ch-1", NOW).done


def test_a_validated_row_holds_its_caller(store: Store, table: FakeDynamoDB) -> None:
    store.add(replace(transaction("t-2"), caller=ALICE))
    assert table.items["t-2"]["caller"] == {"S": ALICE}


def test_adding_again_what_is_there_writes_nothing_and_shows_it(
    store: Store, table: FakeDynamoDB
) -> None:
    assert store.add(transaction("t-2")) == Write(True)
    again = store.add(transaction("t-2"))
    assert (again.done, again.row["fingerprint"]) == (False, transaction().fingerprint)
    table.losing_answers = True
    assert not store.add(transaction("t-3")).done


def test_a_transaction_is_never_written_over_by_another(store: Store, table: FakeDynamoDB) -> None:
    before = dict(table.items["t-1"])
    with pytest.raises(TransactionExists):
        store.add(replace(transaction(), fingerprint="other"))
    assert table.items["t-1"] == before


def test_what_only_a_later_release_knows_is_stored_as_it_is(
    store: Store, table: FakeDynamoDB
) -> None:
    store.add(transaction("t-2"), {"payment_method": "pm_1", "attempts": 2})
    assert table.items["t-2"]["payment_method"] == {"S": "pm_1"}
    assert table.items["t-2"]["attempts"] == {"N": "2"}


def test_an_unknown_transaction_cannot_be_claimed_or_made_by_claiming(
    store: Store, table: FakeDynamoDB
) -> None:
    assert store.claim("unknown", "a", SYSTEM, NOW, MARKS, two_steps=False) == Write(False, {})
    assert "unknown" not in table.items


def test_a_claim_marks_the_payment_as_in_flight(store: Store, table: FakeDynamoDB) -> None:
    row = claimed(store)
    assert row.lease_expires_at == epoch_seconds(NOW) + LEASE_SECONDS
    assert row.first_charge_at == "2026-11-22T21:27:00.000000+00:00"
    assert table.items["t-1"]["in_flight"] == {"S": in_flight_key("t-1")}


def test_a_lease_outlasts_the_60_seconds_that_its_holder_may_run() -> None:
    assert LEASE_SECONDS > 60


def test_only_the_first_of_two_attempts_gets_the_lease(store: Store) -> None:
    claimed(store, "a")
    second = claim(store, "b", NOW + timedelta(seconds=30))
    assert not second.done
    assert second.row["attempt_id"] == "a"
    assert second.row["lease_expires_at"] == epoch_seconds(NOW) + LEASE_SECONDS


def test_a_claim_whose_answer_was_lost_passes_its_condition_again(
    store: Store, table: FakeDynamoDB
) -> None:
    table.losing_answers = True
    claimed(store)
    assert not table.refused


@pytest.mark.parametrize("losing_answers", [False, True])
@pytest.mark.parametrize("two_steps", [False, True])
def test_what_a_claim_returns_is_what_it_has_stored(
    store: Store, table: FakeDynamoDB, *, two_steps: bool, losing_answers: bool
) -> None:
    """Also of one that was claimed before, by itself or at another moment."""
    table.losing_answers = losing_answers
    for attempt, now in (("a", NOW), ("a", NOW), ("b", LEASE_OVER)):
        write = store.claim("t-1", attempt, SYSTEM, now, MARKS, two_steps=two_steps)
        assert write.done
        assert write.row == store.read("t-1")


@pytest.mark.parametrize(("second", "free"), [(LEASE_SECONDS, False), (LEASE_SECONDS + 1, True)])
def test_a_payment_can_be_claimed_again_once_its_lease_has_expired(
    store: Store, second: int, free: bool
) -> None:
    first = claimed(store, "a")
    again = claim(store, "b", NOW + timedelta(seconds=second))
    assert again.done is free
    assert again.row["first_charge_at"] == first.first_charge_at


# What stands in the place of an attribute, None for nothing.
OTHER_TYPES: list[Any] = [None, {"BOOL": True}, {"M": {}}, {"N": "1"}, {"S": "1"}]
MALFORMED = [
    (name, value)
    for name in REQUIRED
    for value in OTHER_TYPES
    if name != "transaction_id" and list(value or {}) != ["N" if TYPES[name] is int else "S"]
]


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_a_row_that_lacks_what_a_payment_has_is_not_claimed_and_not_written(
    store: Store, table: FakeDynamoDB, name: str, value: dict[str, str] | None
) -> None:
    row = table.items["t-1"]
    del row[name]
    row.update({name: value} if value else {})
    before = dict(row)
    refused = claim(store)
    assert not refused.done
    assert refused.row.keys() == before.keys()
    assert table.items["t-1"] == before


CALLERS = {
    "its own": (ALICE, "caller", True),
    "another role of the account": ("arn:aws:sts::123456789012:assumed-role/bob", "caller", False),
    "the system": (None, "caller", True),
    "an anonymous one": ("anonymous", "caller", False),
    "another role, by account": ("arn:aws:sts::123456789012:assumed-role/bob", "account", True),
    "a user, by account": ("arn:aws:iam::123456789012:user/bob", "account", True),
    "another account": ("arn:aws:sts::210987654321:assumed-role/alice", "account", False),
    "a longer account number": ("arn:aws:sts::23456789012:assumed-role/alice", "account", False),
    "an anonymous one, by account": ("anonymous", "account", False),
}


@pytest.mark.parametrize("state", ["validated", "in flight", "free again"])
@pytest.mark.parametrize(("caller", "access", "may"), CALLERS.values(), ids=CALLERS)
def test_only_who_may_have_a_payment_can_claim_it_in_every_state(
    store: Store,
    table: FakeDynamoDB,
    state: str,
    caller: str | None,
    access: Literal["caller", "account"],
    may: bool,
) -> None:
    table.items["t-1"]["caller"] = {"S": ALICE}
    if state != "validated":
        claimed(store)
    now = NOW if state == "in flight" else LEASE_OVER
    claimant = Claimant(caller, access)
    write = store.claim("t-1", "b", claimant, now, MARKS, two_steps=False)
    assert write.done is (may and state != "in flight")
    assert claimant.may_process(write.row) is may


@pytest.mark.parametrize("caller", [None, "anonymous"])
def test_a_row_of_an_earlier_release_or_of_an_open_api_is_open_to_everyone(
    store: Store, table: FakeDynamoDB, caller: str | None
) -> None:
    if caller:
        table.items["t-1"]["caller"] = {"S": caller}
    assert store.claim("t-1", "a", Claimant(ALICE), NOW, MARKS, two_steps=False).done


def test_finishing_records_the_charge_and_leaves_the_index(
    store: Store, table: FakeDynamoDB
) -> None:
    held = claimed(store)
    table.items["t-1"] |= {"recoveries": {"N": "2"}, "queued_until": {"N": "5"}}
    assert store.finish(held, "ref", NOW).done
    item = table.items["t-1"]
    assert (item["status"], item["gateway_reference"]) == ({"S": "processed"}, {"S": "ref"})
    assert item["processed_at"] == {"S": "2026-11-22T21:27:00.000000+00:00"}
    assert not IN_FLIGHT_ATTRIBUTES & item.keys()


def test_declining_records_the_reason_and_leaves_the_index(
    store: Store, table: FakeDynamoDB
) -> None:
    assert store.decline(claimed(store), Declined("insufficient_funds"), NOW).done
    item = table.items["t-1"]
    assert item["status"] == {"S": "declined"}
    assert item["decline_reason"] == {"S": "insufficient_funds"}
    assert not IN_FLIGHT_ATTRIBUTES & item.keys()


def test_an_end_whose_answer_was_lost_shows_its_own_result(
    store: Store, table: FakeDynamoDB
) -> None:
    held = claimed(store)
    table.losing_answers = True
    write = store.finish(held, "ref", NOW)
    assert (write.row["status"], write.row["gateway_reference"]) == ("processed", "ref")


def test_who_lost_the_lease_is_told_what_the_row_says_and_changes_nothing(
    store: Store, table: FakeDynamoDB
) -> None:
    late = claimed(store, "late")
    claimed(store, "other", LEASE_OVER)
    before = dict(table.items["t-1"])
    ends = (
        store.finish(late, "ref", LEASE_OVER),
        store.decline(late, Declined("no"), LEASE_OVER),
        store.cancel(late, LEASE_OVER),
        store.pend(late, None, 99, LEASE_OVER),
        store.note_id(late, "pay_1", LEASE_OVER),
    )
    for write in ends:
        assert (write.done, write.row["attempt_id"]) == (False, "other")
    store.let_go("t-1", "late", LEASE_OVER, queued_until=1, key=STUCK)
    assert table.items["t-1"] == before


def test_a_lease_let_go_lets_the_next_attempt_in_and_keeps_the_payment_in_the_index(
    store: Store, table: FakeDynamoDB
) -> None:
    claimed(store, "a")
    store.let_go("t-1", "a", NOW, queued_until=77)
    item = table.items["t-1"]
    assert item["status"] == {"S": "processing"}
    assert item["in_flight"] == {"S": in_flight_key("t-1")}
    assert claimed(store, "b").queued_until == 77
    store.let_go("t-1", "b", NOW)
    assert claimed(store, "c").queued_until == 77  # what is not said stays as it is


def test_letting_go_of_what_was_never_claimed_makes_no_row(
    store: Store, table: FakeDynamoDB
) -> None:
    before = dict(table.items)
    store.let_go("unknown", "a", NOW)
    store.let_go("t-1", "a", NOW)
    assert table.items == before


def test_only_leases_that_ended_before_the_moment_are_found(
    store: Store, table: FakeDynamoDB
) -> None:
    held, key = claimed(store), in_flight_key("t-1")
    assert held.lease_expires_at
    found: list[tuple[str, Decimal]] = [("t-1", Decimal(held.lease_expires_at))]
    assert list(store.index.in_index(key, before=held.lease_expires_at)) == []
    assert list(store.index.in_index(key, before=held.lease_expires_at + 1)) == found
    assert list(store.index.in_index(key)) == found
    store.finish(held, "ref", NOW)
    assert list(store.index.in_index(key)) == []


def test_only_what_was_recovered_as_often_as_it_may_be_is_set_aside_and_any_row_is_shown(
    store: Store, table: FakeDynamoDB
) -> None:
    claimed(store)
    key, end = in_flight_key("t-1"), lease_end(table)
    for recoveries in ({}, {"recoveries": {"N": "2"}}, {"recoveries": {"S": "3"}}):
        table.items["t-1"] |= recoveries
        before = dict(table.items["t-1"])
        look = store.index.set_aside_if_stuck("t-1", key, end)
        assert (look.done, look.row["in_flight"]) == (False, key)
        assert table.items["t-1"] == before
    table.items["t-1"]["recoveries"] = {"N": str(MAX_RECOVERIES)}
    assert not store.index.set_aside_if_stuck("t-1", key, end + 1).done
    assert not store.index.set_aside_if_stuck("unknown", key, end).done
    assert store.index.set_aside_if_stuck("t-1", key, end).done
    assert table.items["t-1"]["in_flight"] == {"S": STUCK}
    assert table.items.keys() == {"t-1"}


def test_a_counted_recovery_frees_the_lease_and_says_that_it_is_queued(
    store: Store, table: FakeDynamoDB
) -> None:
    claimed(store)
    table.losing_answers = True
    key = in_flight_key("t-1")
    for number in (1, 2):
        now = LEASE_OVER + timedelta(seconds=10 * number)
        store.index.count_recovery("t-1", key, lease_end(table), 99, now)
        item = table.items["t-1"]
        assert item["recoveries"] == {"N": str(number)}
        assert item["queued_until"] == {"N": "99"}
        assert item["lease_expires_at"] == {"N": str(epoch_seconds(now) - 1)}
    assert claim(store, "b", now).done


def test_no_recovery_is_counted_once_the_payment_has_moved_on(
    store: Store, table: FakeDynamoDB
) -> None:
    claimed(store, "a")
    key, end = in_flight_key("t-1"), lease_end(table)
    later = claimed(store, "b", LEASE_OVER)
    before = dict(table.items["t-1"])
    store.index.count_recovery("t-1", key, end, 99, LEASE_OVER)
    store.index.set_aside("t-1", key, end, STUCK)
    assert table.items["t-1"] == before
    store.finish(later, "ref", LEASE_OVER)
    store.index.count_recovery("t-1", key, later.lease_expires_at or 0, 99, LEASE_OVER)
    store.index.count_recovery("unknown", key, end, 99, LEASE_OVER)
    assert table.items["t-1"]["status"] == {"S": "processed"}
    assert table.items.keys() == {"t-1"}


def test_what_is_set_aside_is_found_under_its_key_alone_and_can_be_claimed(
    store: Store, table: FakeDynamoDB
) -> None:
    claimed(store)
    end = lease_end(table)
    store.index.set_aside("t-1", in_flight_key("t-1"), end, STUCK)
    assert list(store.index.in_index(STUCK)) == [("t-1", Decimal(end))]
    assert not any(list(store.index.in_index(key)) for key in IN_FLIGHT_KEYS)
    claimed(store, "b", LEASE_OVER)
    assert list(store.index.in_index(STUCK)) == []


def test_a_contradicting_capture_is_noted_on_a_settled_row_alone(
    store: Store, table: FakeDynamoDB
) -> None:
    held = claimed(store)
    assert not store.note_capture("t-1", "other", LEASE_OVER).done
    assert not store.note_capture("unknown", "other", LEASE_OVER).done
    store.decline(held, Declined("insufficient_funds"), NOW)
    before = dict(table.items["t-1"])
    assert store.note_capture("t-1", "other", LEASE_OVER).done
    noted = {
        "contradicting_reference": {"S": "other"},
        "updated_at": {"S": "2026-11-22T21:28:31.000000+00:00"},
    }
    assert table.items == {"t-1": before | noted}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (client_error("ThrottlingException"), "ThrottlingException"),
        (client_error("ValidationException"), "ValidationException"),
        (ConnectTimeoutError(endpoint_url="https://canary"), "ConnectTimeoutError"),
    ],
)
def test_whatever_dynamodb_fails_with_is_translated_once(
    store: Store, table: FakeDynamoDB, error: Exception, code: str
) -> None:
    table.fail("UpdateItem", error)
    with pytest.raises(StoreUnavailable) as failed:
        claim(store)
    assert failed.value.code == code


steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "finish", "decline", "let_go", "count_recovery", "set_aside"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([0, 1, LEASE_SECONDS + 1]),
    ),
    max_size=20,
)


@given(steps)
def test_no_order_of_attempts_leaves_the_state_machine(
    steps: list[tuple[str, str, int]],
) -> None:
    allowed = {
        ("validated", "processing"),
        ("processing", "processed"),
        ("processing", "declined"),
    }
    table, now = FakeDynamoDB(), NOW
    store = Store(Table(table, "transactions-dev"), GATEWAY)  # type: ignore[arg-type]
    store.add(transaction())
    held: dict[str, Transaction] = {}
    for step, attempt, seconds in steps:
        now += timedelta(seconds=seconds)
        before = table.items["t-1"]["status"]["S"]
        if step == "claim":
            write = claim(store, attempt, now)
            if write.done:
                held[attempt] = Transaction.payable(write.row)
        elif step in {"count_recovery", "set_aside"}:
            key = in_flight_key("t-1")
            for transaction_id, end in list(store.index.in_index(key, before=epoch_seconds(now))):
                if step == "set_aside":
                    store.index.set_aside(transaction_id, key, end, STUCK)
                else:
                    store.index.count_recovery(transaction_id, key, end, 99, now)
        elif step == "let_go":
            store.let_go("t-1", attempt, now, queued_until=99)
        elif attempt in held:
            if step == "finish":
                store.finish(held[attempt], "ref", now)
            else:
                store.decline(held[attempt], Declined("no"), now)
        item: Item = table.items["t-1"]
        after = item["status"]["S"]
        assert before == after or (before, after) in allowed
        present = IN_FLIGHT_ATTRIBUTES & item.keys()
        assert bool(present) is (after == "processing")


@given(st.text(min_size=1))
def test_the_shard_of_a_payment_is_one_of_sixteen_and_stable(transaction_id: str) -> None:
    key = in_flight_key(transaction_id)
    assert key in {f"processing#{shard}" for shard in range(IN_FLIGHT_SHARDS)}
    assert key == in_flight_key(transaction_id)


def test_the_shard_of_an_id_never_changes_since_rows_hold_it() -> None:
    assert in_flight_key("t-1") == "processing#11"


def test_the_customer_id_is_not_in_the_text_of_a_transaction() -> None:
    assert "cust-1" not in repr(transaction())


def test_requests_that_mean_the_same_payment_have_the_same_fingerprint() -> None:
    same = fingerprint(Money(100, "USD"), "c")
    assert same == fingerprint(Money(100, "USD"), "c")
    others = [
        fingerprint(Money(101, "USD"), "c"),
        fingerprint(Money(100, "EUR"), "c"),
        fingerprint(Money(100, "USD"), "d"),
    ]
    assert len({same, *others}) == 4
