"""The order for a page of the gateway's own list."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from handlers import retry
from handlers.shared.aws import clients
from handlers.shared.gateway import (
    MAX_LISTED,
    Charged,
    Declined,
    GatewayPayment,
    GatewayTimeout,
    NotCharged,
    Open,
    Page,
    Pending,
)
from tests.unit.handlers.harness import Aws, CountingGateway, LambdaContext, Output
from tests.unit.handlers.two_steps import NEXT_ACTION, ToldGateway

if TYPE_CHECKING:
    from handlers.shared.gateway import Outcome

SINCE, UNTIL = "2026-11-01T00:00:00+00:00", "2026-11-22T00:00:00+00:00"
MADE = datetime(2026, 11, 10, 12, tzinfo=UTC)
MARKS = {
    "gateway": "tests.unit.handlers.test_listing:ListingGateway",
    "gateway_account": "acct_1",
    "gateway_mode": "test",
}


class ListingGateway:
    """Lists what it is told to, and does nothing else."""

    NEEDS: ClassVar = frozenset[str]()
    account, mode = "acct_1", "test"
    digits = staticmethod(ToldGateway.digits)
    confirm = prepare = fetch = cancel = find = ToldGateway.find

    def __init__(self, *listed: GatewayPayment, cursor: str | None = None) -> None:
        self.page = Page(listed, cursor)
        self.listed: list[tuple[datetime, datetime, str | None]] = []
        self.failure: Exception | None = None

    def payments(self, since: datetime, until: datetime, cursor: str | None) -> Page:
        self.listed.append((since, until, cursor))
        if self.failure:
            raise self.failure
        return self.page


def payment(outcome: Outcome | None = None, **changes: Any) -> GatewayPayment:
    made = GatewayPayment(
        id="pay_1",
        amount=10050,
        currency="USD",
        account="acct_1",
        mode="test",
        outcome=outcome or Charged("ch_1"),
        transaction_id="t-1",
        created_at=MADE,
    )
    return replace(made, **changes)


def order(**fields: Any) -> dict[str, Any]:
    asked = {"do": "list", "since": SINCE, "until": UNTIL, "cursor": None, **fields}
    told: dict[str, Any] = json.loads(
        json.dumps(retry.handler({"by_hand": asked}, LambdaContext()))
    )["by_hand"]
    return told


def refused(told: dict[str, Any]) -> tuple[str, str]:
    assert set(told) == {"refused"}
    return told["refused"]["code"], told["refused"]["about"]


def test_a_page_has_payments_the_next_cursor_and_whose_they_are(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = ListingGateway(payment(), cursor="c-2")
    monkeypatch.setattr(clients, "gateway", lambda: gateway)
    assert order(cursor="c-1") == {
        "payments": [
            {
                "outcome": "charged",
                "reference": "ch_1",
                "id": "pay_1",
                "transaction_id": "t-1",
                "amount": 10050,
                "amount_minor": 10050,
                "currency": "USD",
                "created_at": "2026-11-10T12:00:00.000000+00:00",
            }
        ],
        "cursor": "c-2",
        "marks": MARKS,
    }
    assert gateway.listed == [
        (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC), "c-1")
    ]


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Declined("expired_card"), {"outcome": "declined", "reason": "expired_card"}),
        (NotCharged(), {"outcome": "canceled"}),
        (Open(), {"outcome": "open"}),
        (Pending(NEXT_ACTION), {"outcome": "pending"}),
    ],
)
def test_what_a_payment_came_to_is_told_and_never_where_a_customer_has_to_go(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, told: dict[str, str]
) -> None:
    monkeypatch.setattr(clients, "gateway", lambda: ListingGateway(payment(outcome)))
    [listed] = order()["payments"]
    assert {name: listed[name] for name in told} == told
    assert NEXT_ACTION not in json.dumps(listed)


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [
        ("USD", 10050, 10050),
        ("ISK", 10000, 100),  # in hundredths, of a currency that has none
        ("ISK", 10050, None),
        ("MGA", 7, 700),
        ("XXX", 7, None),
        ("EUR", 7, None),  # which it does not take
    ],
)
def test_an_amount_is_told_in_minor_units_too_if_these_can_hold_it(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, currency: str, amount: int, minor: int | None
) -> None:
    monkeypatch.setattr(
        clients, "gateway", lambda: ListingGateway(payment(currency=currency, amount=amount))
    )
    [listed] = order()["payments"]
    assert (listed["amount"], listed["amount_minor"]) == (amount, minor)


@pytest.mark.parametrize("name", [None, "", "a b", "x" * 300, 7])
def test_what_somebody_else_made_has_no_transaction(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    monkeypatch.setattr(clients, "gateway", lambda: ListingGateway(payment(transaction_id=name)))
    assert order()["payments"][0]["transaction_id"] is None


def test_a_moment_of_another_zone_is_told_in_utc(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = timezone(timedelta(hours=5))
    monkeypatch.setattr(
        clients, "gateway", lambda: ListingGateway(payment(created_at=MADE.astimezone(zone)))
    )
    assert order()["payments"][0]["created_at"] == "2026-11-10T12:00:00.000000+00:00"


def test_a_gateway_that_cannot_list_says_so(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "gateway", ToldGateway)
    assert refused(order()) == ("not_listing", "")
    monkeypatch.setattr(clients, "gateway", CountingGateway)
    assert refused(order()) == ("not_listing", "")


@pytest.mark.parametrize(
    "fields",
    [{"since": None}, {"since": "2026-11-01T00:00:00"}, {"until": "soon"}, {"cursor": 7}],
    ids=str,
)
def test_what_is_no_order_for_a_list_is_refused(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    gateway = ListingGateway()
    monkeypatch.setattr(clients, "gateway", lambda: gateway)
    assert refused(order(**fields)) == ("not_an_order", next(iter(fields)))
    assert gateway.listed == []


@pytest.mark.parametrize(
    "listed",
    [
        Page((payment(account="acct_2"),), None),
        Page((payment(mode="live"),), None),
        Page((payment(created_at=None),), None),
        Page((payment(created_at=datetime(2026, 10, 31, tzinfo=UTC)),), None),
        Page((payment(created_at=datetime(2026, 11, 22, tzinfo=UTC)),), None),
        Page((payment(id=""),), None),
        Page((payment(amount=1.5),), None),
        Page((payment(),) * (MAX_LISTED + 1), None),
        Page((), "c-1"),
    ],
)
def test_a_list_that_is_not_as_the_protocol_has_it_is_not_relied_on(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, listed: Page
) -> None:
    gateway = ListingGateway()
    gateway.page = listed
    monkeypatch.setattr(clients, "gateway", lambda: gateway)
    assert refused(order(cursor="c-1")) == ("unforeseen", "TypeError")


def test_a_gateway_that_does_not_answer_is_told(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = ListingGateway()
    gateway.failure = GatewayTimeout("Read")
    monkeypatch.setattr(clients, "gateway", lambda: gateway)
    assert refused(order()) == ("gateway_timeout", "Read")


def test_the_log_has_how_many_were_listed_and_none_of_them(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        clients,
        "gateway",
        lambda: ListingGateway(payment(), payment(id="pay_2"), cursor="canary-cursor"),
    )
    order()
    output = Output.read(capsys)
    [line] = output.lines
    assert (line["message"], line["listed"]) == ("by hand", 2)
    for secret in ("pay_1", "t-1", "canary-cursor"):
        assert secret not in output.text


def test_the_longest_page_is_far_below_what_a_function_can_answer(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = payment(id="p" * 255, transaction_id="t" * 128, outcome=Charged("r" * 255))
    monkeypatch.setattr(
        clients, "gateway", lambda: ListingGateway(*(long,) * MAX_LISTED, cursor="c" * 255)
    )
    told = order()
    assert len(told["payments"]) == MAX_LISTED
    assert len(json.dumps(told)) < 6 * 1024 * 1024 / 5
