from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from botocore.exceptions import ConnectTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from handlers.shared.clock import epoch_seconds
from handlers.shared.money import Money
from handlers.shared.store import Store, StoreUnavailable, TransactionExists
from handlers.shared.transactions import (
    IN_FLIGHT_SHARDS,
    LEASE_SECONDS,
    MAX_RECOVERIES,
    Transaction,
    fingerprint,
    in_flight_key,
)
from tests.unit.handlers.fakes import FakeDynamoDB, client_error
from tests.unit.handlers.harness import Clock

NOW = Clock().now
LEASE_OVER = NOW + timedelta(seconds=LEASE_SECONDS + 1)
IN_FLIGHT_ATTRIBUTES = {"attempt_id", "lease_expires_at", "in_flight", "recoveries"}


@pytest.fixture
def table() -> FakeDynamoDB:
    return FakeDynamoDB()


@pytest.fixture
def store(table: FakeDynamoDB) -> Store:
    store = Store(table, "transactions-dev")  # type: ignore[arg-type]
    store.add(transaction())
    return store


def transaction(transaction_id: str = "t-1") -> Transaction:
    return Transaction.validated(transaction_id, Money(10050, "USD"), "cust-1", NOW)


def claimed(store: Store, attempt: str = "a") -> Transaction:
    row = store.claim("t-1", attempt, NOW)
    assert row
    assert row.held_by(attempt)
    return row


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
    }


def test_adding_again_what_is_there_is_a_success(store: Store, table: FakeDynamoDB) -> None:
    store.add(transaction())
    table.losing_answers = True
    store.add(transaction("t-2"))


def test_a_transaction_is_never_written_over_by_another(store: Store, table: FakeDynamoDB) -> None:
    before = dict(table.items["t-1"])
    with pytest.raises(TransactionExists):
        store.add(replace(transaction(), fingerprint="other"))
    assert table.items["t-1"] == before


def test_an_unknown_transaction_cannot_be_claimed_or_made_by_claiming(
    store: Store, table: FakeDynamoDB
) -> None:
    assert store.claim("unknown", "a", NOW) is None
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
    row = store.claim("t-1", "b", NOW + timedelta(seconds=30))
    assert row
    assert not row.held_by("b")
    assert row.lease_seconds_left(NOW + timedelta(seconds=30)) == LEASE_SECONDS - 30


def test_a_claim_whose_answer_was_lost_passes_its_condition_again(
    store: Store, table: FakeDynamoDB
) -> None:
    table.losing_answers = True
    claimed(store)
    assert not table.refused


@pytest.mark.parametrize(("second", "free"), [(LEASE_SECONDS, False), (LEASE_SECONDS + 1, True)])
def test_a_payment_can_be_claimed_again_once_its_lease_has_expired(
    store: Store, second: int, free: bool
) -> None:
    first = claimed(store, "a")
    row = store.claim("t-1", "b", NOW + timedelta(seconds=second))
    assert row
    assert row.held_by("b") is free
    assert row.first_charge_at == first.first_charge_at


def test_finishing_records_the_charge_and_leaves_the_index(
    store: Store, table: FakeDynamoDB
) -> None:
    held = claimed(store)
    table.items["t-1"]["recoveries"] = {"N": "2"}
    row = store.finish(held, "ref", NOW)
    assert (row.status, row.gateway_reference) == ("processed", "ref")
    assert row.processed_at == "2026-11-22T21:27:00.000000+00:00"
    assert not IN_FLIGHT_ATTRIBUTES & table.items["t-1"].keys()


def test_declining_records_the_reason_and_leaves_the_index(
    store: Store, table: FakeDynamoDB
) -> None:
    row = store.decline(claimed(store), "insufficient_funds", NOW)
    assert (row.status, row.decline_reason) == ("declined", "insufficient_funds")
    assert not IN_FLIGHT_ATTRIBUTES & table.items["t-1"].keys()


def test_an_end_whose_answer_was_lost_finds_its_own_result(
    store: Store, table: FakeDynamoDB
) -> None:
    held = claimed(store)
    table.losing_answers = True
    row = store.finish(held, "ref", NOW)
    assert (row.status, row.gateway_reference) == ("processed", "ref")


def test_who_lost_the_lease_is_told_what_the_row_says_and_changes_nothing(
    store: Store, table: FakeDynamoDB
) -> None:
    late = claimed(store, "late")
    other = store.claim("t-1", "other", LEASE_OVER)
    assert other
    assert store.finish(late, "ref", LEASE_OVER).held_by("other")
    assert store.decline(late, "no", LEASE_OVER).held_by("other")
    store.let_go(late, LEASE_OVER)
    assert table.items["t-1"]["lease_expires_at"] == {"N": str(other.lease_expires_at)}


def test_a_lease_let_go_lets_the_next_attempt_in_and_keeps_the_payment_in_the_index(
    store: Store, table: FakeDynamoDB
) -> None:
    store.let_go(claimed(store, "a"), NOW)
    assert table.items["t-1"]["status"] == {"S": "processing"}
    assert "in_flight" in table.items["t-1"]
    claimed(store, "b")


def test_only_leases_that_ended_before_the_moment_are_found(
    store: Store, table: FakeDynamoDB
) -> None:
    held = claimed(store)
    assert held.lease_expires_at
    assert list(store.expired(held.lease_expires_at)) == []
    assert list(store.expired(held.lease_expires_at + 1)) == [("t-1", held.lease_expires_at)]
    store.finish(held, "ref", NOW)
    assert list(store.expired(held.lease_expires_at + 1)) == []


def test_a_recovered_lease_has_just_expired_and_the_recovery_is_counted(
    store: Store, table: FakeDynamoDB
) -> None:
    held = claimed(store)
    table.losing_answers = True
    for count in range(1, MAX_RECOVERIES + 1):
        lease_end = int(table.items["t-1"]["lease_expires_at"]["N"])
        now = LEASE_OVER + timedelta(seconds=10 * count)
        assert store.recover("t-1", lease_end, now) == "recovered"
        assert table.items["t-1"]["recoveries"] == {"N": str(count)}
        assert table.items["t-1"]["attempt_id"] == {"S": held.attempt_id}
    before = dict(table.items["t-1"])
    lease_end = int(before["lease_expires_at"]["N"])
    assert store.recover("t-1", lease_end, now + timedelta(seconds=10)) == "stuck"
    assert table.items["t-1"] == before
    row = store.claim("t-1", "b", now)
    assert row
    assert row.held_by("b")


def test_a_recovery_changes_nothing_once_the_lease_has_moved_on(
    store: Store, table: FakeDynamoDB
) -> None:
    lease_end = claimed(store, "a").lease_expires_at or 0
    later = store.claim("t-1", "b", LEASE_OVER)
    assert later
    before = dict(table.items["t-1"])
    assert store.recover("t-1", lease_end, LEASE_OVER) == "moved_on"
    assert table.items["t-1"] == before
    store.finish(later, "ref", LEASE_OVER)
    assert store.recover("t-1", later.lease_expires_at or 0, LEASE_OVER) == "moved_on"
    assert store.recover("unknown", lease_end, LEASE_OVER) == "moved_on"
    assert "unknown" not in table.items


def test_a_row_that_vanished_while_charging_is_a_failure(store: Store, table: FakeDynamoDB) -> None:
    held = claimed(store)
    table.items.clear()
    with pytest.raises(StoreUnavailable) as failed:
        store.finish(held, "ref", NOW)
    assert failed.value.code == "RowMissing"


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
        store.claim("t-1", "a", NOW)
    assert failed.value.code == code


steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "finish", "decline", "let_go", "recover"]),
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
    store = Store(table, "transactions-dev")  # type: ignore[arg-type]
    store.add(transaction())
    held: dict[str, Transaction] = {}
    for step, attempt, seconds in steps:
        now += timedelta(seconds=seconds)
        before = table.items["t-1"]["status"]["S"]
        if step == "claim":
            row = store.claim("t-1", attempt, now)
            if row and row.held_by(attempt):
                held[attempt] = row
        elif step == "recover":
            for transaction_id, lease_end in store.expired(epoch_seconds(now)):
                store.recover(transaction_id, lease_end, now)
        elif attempt in held:
            arguments = (now,) if step == "let_go" else ("ref", now)
            getattr(store, step)(held[attempt], *arguments)
        item = table.items["t-1"]
        after = item["status"]["S"]
        assert before == after or (before, after) in allowed
        present = IN_FLIGHT_ATTRIBUTES & item.keys()
        assert bool(present) is (after == "processing")
        assert int(item.get("recoveries", {"N": "0"})["N"]) <= MAX_RECOVERIES


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
