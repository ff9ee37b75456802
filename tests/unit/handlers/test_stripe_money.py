"""Amounts at Stripe: its own units, and what it does not count."""

from __future__ import annotations

import json

import pytest

from handlers import validation
from handlers.shared.fields import InvalidField
from handlers.shared.gateway import Declined
from handlers.shared.money import MINOR_DIGITS, Money
from handlers.shared.needs import minor_units, refusal, units
from handlers.shared.stripe import StripeGateway
from handlers.shared.transactions import Transaction
from tests.unit.handlers.harness import call, load_event
from tests.unit.handlers.stripe_wire import NOW


@pytest.mark.parametrize(
    ("money", "counted"),
    [
        (Money(1, "USD"), 1),
        (Money(500, "JPY"), 500),
        (Money(5, "ISK"), 500),
        (Money(5, "UGX"), 500),
        (Money(1000, "HUF"), 1000),
        (Money(1000, "TWD"), 1000),
        (Money(1000, "MGA"), 10),
        (Money(5120, "KWD"), 5120),
        (Money(10, "BHD"), 10),
        (Money(1_000, "TND"), 1_000),
    ],
)
def test_an_amount_is_counted_as_stripes_tables_have_it(money: Money, counted: int) -> None:
    assert units(StripeGateway, money) == counted
    assert minor_units(StripeGateway, counted, money.currency) == money.minor_units


@pytest.mark.parametrize(
    ("money", "field", "told"),
    [
        (Money(5124, "KWD"), "amount", "Amount must be a multiple of 0.010 at the payment gateway"),
        (Money(1, "JOD"), "amount", "multiple of 0.010"),
        (Money(1050, "MGA"), "amount", "at most 0 decimals"),
        (Money(1, "IQD"), "currency", "does not take the currency"),
        (Money(1, "LYD"), "currency", "does not take the currency"),
        (Money(1, "KPW"), "currency", "does not take the currency"),
        (Money(1, "UYW"), "currency", "does not take the currency"),
    ],
)
def test_what_stripe_does_not_count_is_refused(money: Money, field: str, told: str) -> None:
    with pytest.raises(InvalidField, match=told) as refused:
        units(StripeGateway, money)
    assert refused.value.field == field
    row = Transaction.validated("t", money, "c", NOW, details={"payment_method": "pm_1"})
    assert refusal(StripeGateway, row) == Declined(f"{field}_not_supported")


def test_every_currency_of_stripes_is_one_of_iso_4217_and_few_are_counted_otherwise() -> None:
    told = {code: StripeGateway.digits(code) for code in MINOR_DIGITS}
    taken = {code: digits for code, digits in told.items() if digits is not None}
    other = {code: digits for code, digits in taken.items() if digits != MINOR_DIGITS[code]}
    assert other == {"ISK": 2, "UGX": 2, "MGA": 0}
    assert len(taken) == 137
    assert StripeGateway.digits("usd") is StripeGateway.digits("XXX") is None


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"amount": 1.234, "currency": "KWD"}, "multiple of 0.010"),
        ({"amount": 1, "currency": "LYD"}, "does not take the currency"),
        ({"payment_method": None}, "payment_method"),
    ],
)
def test_a_client_learns_at_once_what_stripe_does_not_take(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], problem: str
) -> None:
    """Without the secret, which this function may not read."""
    monkeypatch.setenv("GATEWAY", "handlers.shared.stripe:StripeGateway")
    body = {"amount": 1.23, "currency": "KWD", "customer_id": "c", "payment_method": "pm_1"}
    given = {name: value for name, value in (body | fields).items() if value is not None}
    answer = call(validation.handler, load_event("validate", body=json.dumps(given)))
    assert answer.status == 400
    assert problem in json.dumps(answer.body)
    assert call(validation.handler, load_event("validate", body=json.dumps(body))).status == 200
