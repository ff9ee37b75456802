"""A row held against what the gateway lists of it: what is a difference, and what is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.shared.charging import QUEUE_RETRY_SECONDS
from handlers.shared.deadline import CLOCK_SKEW_SECONDS
from handlers.shared.transactions import LEASE_SECONDS, LONG_AGO
from payment_infra.cloud.reconciling.comparison import (
    ATTRIBUTES,
    CLOCKS,
    GRACE,
    IN_TWO_STEPS,
    LEASE,
    SHOWN,
    Compared,
    Kind,
    Payment,
    Terms,
    compare,
)
from payment_infra.moments import exact

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MARKS = {"gateway": "acme:Acme", "gateway_account": "acct_1", "gateway_mode": "live"}
TERMS = Terms(MARKS, NOW - timedelta(days=30), NOW - GRACE, NOW)
OLD = exact(NOW - timedelta(days=1))
STATUSES = ("validated", "processing", "pending", "processed", "declined", "canceled")


def row(status: str = "processed", **changes: Any) -> dict[str, Any]:
    made = {
        "transaction_id": "t-1",
        "status": status,
        "amount": "100.50",
        "amount_minor": 10050,
        "currency": "USD",
        "created_at": OLD,
        "updated_at": OLD,
        "gateway_id": "pay_1",
        "first_charge_at": LONG_AGO,
        **MARKS,
        **({"gateway_reference": "ch_1"} if status == "processed" else {}),
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def payment(outcome: str = "charged", **changes: Any) -> Payment:
    made = Payment("pay_1", outcome, 10050, 10050, "USD", OLD, "t-1", "ch_1")
    return replace(made, **changes)


def found(of: dict[str, Any] | None, *payments: Payment, terms: Terms = TERMS) -> list[tuple]:  # type: ignore[type-arg]
    compared = compare("t-1", of, payments, terms)
    return [(one.kind, one.fix, (one.gateway or {}).get("id")) for one in compared.differences]


@pytest.mark.parametrize("outcome", ["open", "pending", "declined", "canceled"])
@pytest.mark.parametrize("status", [status for status in STATUSES if status != "processed"])
def test_without_a_capture_nothing_differs(status: str, outcome: str) -> None:
    assert found(row(status)) == []
    assert found(row(status), payment(outcome)) == []


def test_a_capture_that_the_row_has_is_no_difference() -> None:
    assert found(row(), payment()) == []
    # However much else was prepared, and not confirmed.
    assert found(row(), payment(), payment("open", id="pay_0"), payment("canceled", id="p")) == []


@pytest.mark.parametrize(
    ("status", "changes", "fix"),
    [
        ("processing", {}, "settle"),
        ("pending", {}, "settle"),
        ("validated", {"rewound": 1}, "settle"),
        ("validated", {}, None),
        ("declined", {}, None),
        ("canceled", {}, None),
    ],
)
@pytest.mark.parametrize("gateway_id", ["pay_1", None])
def test_a_capture_that_is_not_settled_is_fixed_where_the_payment_is_open(
    status: str, changes: dict[str, Any], fix: str | None, gateway_id: str | None
) -> None:
    of = row(status, gateway_id=gateway_id, **changes)
    assert found(of, payment()) == [(Kind.NOT_SETTLED, fix, "pay_1")]


@pytest.mark.parametrize("outcome", ["open", "pending", "declined", "canceled"])
def test_what_is_settled_and_not_listed_as_captured_is_never_fixed(outcome: str) -> None:
    assert found(row()) == [(Kind.NOT_CAPTURED, None, None)]
    assert found(row(), payment(outcome)) == [(Kind.NOT_CAPTURED, None, "pay_1")]


@pytest.mark.parametrize(
    "changes", [{"amount_minor": 10051}, {"amount_minor": None}, {"currency": "EUR"}], ids=str
)
@pytest.mark.parametrize("status", STATUSES)
def test_another_amount_or_currency_is_a_persons_to_decide(
    status: str, changes: dict[str, Any]
) -> None:
    assert found(row(status), payment(**changes)) == [(Kind.AMOUNT, None, "pay_1")]


@pytest.mark.parametrize("status", STATUSES)
def test_a_capture_under_another_id_than_the_rows_is_never_fixed(status: str) -> None:
    [*_, last] = found(row(status), payment(id="pay_2", reference="ch_2"))
    assert last == (Kind.TWICE, None, "pay_2")
    both = found(row(status), payment(), payment(id="pay_2", reference="ch_2"))
    assert (Kind.TWICE, None, "pay_2") in both
    assert (Kind.TWICE, None, "pay_1") not in both


@pytest.mark.parametrize("status", ["processing", "declined"])
def test_of_several_captures_none_is_chosen_for_a_row_that_names_none(status: str) -> None:
    both = found(row(status, gateway_id=None), payment(), payment(id="pay_2"))
    assert both == [(Kind.TWICE, None, "pay_1"), (Kind.TWICE, None, "pay_2")]


def test_what_a_person_has_settled_is_known_by_the_reference_of_the_capture() -> None:
    by_hand = row(gateway_id=None)
    assert found(by_hand, payment()) == []
    other = payment(reference="ch_2")
    kinds = [(Kind.NOT_CAPTURED, None, None), (Kind.TWICE, None, "pay_1")]
    assert found(by_hand, other) == kinds


def test_a_capture_without_a_row_is_told_and_what_was_only_prepared_is_not() -> None:
    assert found(None, payment(), payment("open", id="pay_2")) == [(Kind.NO_ROW, None, "pay_1")]
    compared = compare(None, None, [payment(transaction_id=None)], TERMS)
    assert [one.transaction_id for one in compared.differences] == [None]


ASIDE = {"in_flight": "stuck", "gateway_id": None, "lease_expires_at": 1}


def test_what_nobody_could_know_and_the_list_has_nothing_of_was_not_charged() -> None:
    aside = row("processing", **ASIDE)
    assert found(aside) == [(Kind.UNDECIDED, "not_charged", None)]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "validated"},
        {"status": "pending"},
        {"in_flight": "processing#3"},
        {"in_flight": "mismatched"},
        {"gateway_id": "pay_1"},
        {"first_charge_at": OLD},
        {"created_at": exact(TERMS.since - timedelta(seconds=1))},
        {"updated_at": exact(TERMS.until - GRACE + timedelta(seconds=1))},
        {"updated_at": None},
        {"gateway_account": "acct_2"},
        # As a restore has found it: what was begun in the other table is dated nowhere.
        {"rewound": int(datetime.fromisoformat(OLD).timestamp())},
        {"rewound": 10**18},
        {"rewound": "soon"},
    ],
    ids=str,
)
def test_what_the_list_may_lack_or_another_may_know_of_is_never_called_not_charged(
    changes: dict[str, Any],
) -> None:
    assert found(row(**{"status": "processing", **ASIDE, **changes})) == []


def test_what_somebody_has_had_since_a_restore_is_dated_by_that() -> None:
    since = row("processing", **ASIDE, rewound=int(datetime.fromisoformat(OLD).timestamp()) - 1)
    assert found(since) == [(Kind.UNDECIDED, "not_charged", None)]


@pytest.mark.parametrize("outcome", ["open", "pending", "declined", "canceled"])
def test_what_the_list_has_anything_of_is_not_called_not_charged(outcome: str) -> None:
    assert found(row("processing", **ASIDE), payment(outcome)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"gateway": "acme:Other"},
        {"gateway_account": "acct_2"},
        {"gateway_mode": "test"},
        {"gateway": None, "gateway_account": None, "gateway_mode": None, "first_charge_at": OLD},
    ],
    ids=["class", "account", "mode", "an earlier release"],
)
def test_a_row_of_another_gateway_is_not_compared_but_a_capture_here_is_told(
    changes: dict[str, Any],
) -> None:
    of = row("processed", **changes)
    assert compare("t-1", of, [], TERMS) == Compared(left_out="elsewhere")
    assert compare("t-1", of, [payment()], TERMS) == Compared(left_out="elsewhere")
    assert found(of, payment(id="pay_2")) == [(Kind.TWICE, None, "pay_2")]
    unnamed = row("processing", gateway_id=None, **changes)
    assert found(unnamed, payment()) == [(Kind.TWICE, None, "pay_1")]


def test_a_row_that_says_nothing_of_a_gateway_is_compared() -> None:
    bare = dict.fromkeys((*MARKS, "gateway_id", "first_charge_at"))
    of = row("validated", rewound=1, **bare)
    assert found(of, payment()) == [(Kind.NOT_SETTLED, "settle", "pay_1")]


@pytest.mark.parametrize(
    "changes",
    [
        {"updated_at": exact(NOW)},
        {"updated_at": exact(NOW - GRACE + timedelta(seconds=1))},
        {"status": "processing", "lease_expires_at": int(NOW.timestamp()) + 60},
        {"status": "processing", "lease_expires_at": int(NOW.timestamp()) - 119},
        {"status": "processing", "queued_until": int(NOW.timestamp()) + QUEUE_RETRY_SECONDS},
    ],
    ids=str,
)
def test_a_row_that_is_young_or_leased_is_left_out(changes: dict[str, Any]) -> None:
    of = row(**changes)
    for listed in ([], [payment()], [payment(id="pay_2"), payment()]):
        assert compare("t-1", of, listed, TERMS) == Compared(left_out="young")


@pytest.mark.parametrize(
    "changes",
    [
        {"updated_at": exact(NOW - GRACE)},
        {"updated_at": None},
        {"lease_expires_at": int(NOW.timestamp()) - 121},
        {"lease_expires_at": int(NOW.timestamp()) + 3600},
        {"lease_expires_at": "soon"},
        {"lease_expires_at": None},
        {"status": "pending", "lease_expires_at": int(NOW.timestamp()) + 60},
        {"queued_until": int(NOW.timestamp()) - 121},
        {"queued_until": int(NOW.timestamp()) + 3600},
        {"status": "pending", "queued_until": int(NOW.timestamp()) + 60},
    ],
    ids=str,
)
def test_a_row_that_nobody_holds_is_compared(changes: dict[str, Any]) -> None:
    of = row(**{"status": "processing", **changes})
    assert found(of, payment()) == [(Kind.NOT_SETTLED, "settle", "pay_1")]


def test_both_sides_are_shown_without_what_is_nobodys_business() -> None:
    of = row("pending", customer_id="canary", payment_method="canary", next_action="canary")
    [difference] = compare("t-1", of, [payment()], TERMS).differences
    assert difference.row == {name: of[name] for name in SHOWN if name in of}
    assert difference.gateway == {
        "outcome": "charged",
        "id": "pay_1",
        "reference": "ch_1",
        "amount": 10050,
        "amount_minor": 10050,
        "currency": "USD",
        "created_at": OLD,
    }
    assert "customer_id" not in ATTRIBUTES
    assert "payment_method" not in ATTRIBUTES


def test_the_times_are_those_of_the_handlers() -> None:
    assert timedelta(seconds=LEASE_SECONDS) == LEASE
    assert timedelta(seconds=CLOCK_SKEW_SECONDS) == CLOCKS
    assert LONG_AGO == IN_TWO_STEPS


values = st.none() | st.integers() | st.text(max_size=3) | st.sampled_from([OLD, exact(NOW)])
rows = st.fixed_dictionaries(
    {"status": st.sampled_from(STATUSES) | values},
    optional={name: values for name in ATTRIBUTES if name != "status"},
)
listed = st.builds(
    payment,
    st.sampled_from(["charged", "open", "pending", "declined", "canceled"]),
    id=st.sampled_from(["pay_1", "pay_2", ""]),
    reference=st.sampled_from(["ch_1", "ch_2"]),
    amount_minor=st.none() | st.integers(),
)


@given(rows, st.lists(listed, max_size=3))
def test_any_row_and_any_list_can_be_compared_and_each_capture_is_told_of_or_the_rows_own(
    of: dict[str, Any], payments: list[Payment]
) -> None:
    compared = compare("t-1", of, payments, TERMS)
    told = [one.gateway for one in compared.differences if one.gateway]
    untold = [one for one in payments if one.is_captured and _shown(one) not in told]
    if compared.left_out is None:
        assert all(of.get("status") == "processed" for _ in untold)
        assert len(untold) <= 1
    fixed = [one for one in compared.differences if one.fix is not None]
    assert len(fixed) <= 1
    assert all(one.kind in {Kind.NOT_SETTLED, Kind.UNDECIDED} for one in fixed)


def _shown(payment: Payment) -> dict[str, Any]:
    names = ("outcome", "id", "reference", "amount", "amount_minor", "currency", "created_at")
    return {name: getattr(payment, name) for name in names}
