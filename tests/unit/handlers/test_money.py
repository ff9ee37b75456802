from __future__ import annotations

from decimal import Decimal

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.shared.fields import InvalidField
from handlers.shared.money import MAX_MINOR_UNITS, MINOR_DIGITS, Money

currencies = st.sampled_from(sorted(MINOR_DIGITS))


def test_currencies_are_the_active_iso_4217_codes_with_minor_units_and_no_funds() -> None:
    entries = [
        (entry.findtext("Ccy"), entry.findtext("CcyMnrUnts") or "", entry.find("CcyNm"))
        for entry in iso4217.raw_xml.iter("CcyNtry")
    ]
    expected = {
        code: int(digits)
        for code, digits, name in entries
        if digits.isdigit() and name is not None and name.get("IsFund") != "true"
    }
    assert expected == MINOR_DIGITS


@pytest.mark.parametrize("code", ["BGN", "HRK", "SLL", "ANG", "ZWL", "XXX", "XAU", "XDR", "CLF"])
def test_a_withdrawn_code_or_one_that_is_no_money_is_refused(code: str) -> None:
    with pytest.raises(InvalidField, match="ISO 4217"):
        Money.parse(Decimal(1), code)


@pytest.mark.parametrize("currency", [None, "", "usd", " USD", "US", "USDX", 840, True, [], {}])
def test_a_currency_that_is_not_an_upper_case_code_is_refused(currency: object) -> None:
    with pytest.raises(InvalidField) as refused:
        Money.parse(Decimal(1), currency)
    assert refused.value.field == "currency"


@pytest.mark.parametrize(
    ("text", "currency", "amount", "minor_units"),
    [
        ("100.50", "USD", "100.50", 10050),
        ("100.500", "USD", "100.50", 10050),
        ("1e2", "USD", "100.00", 10000),
        ("100.0", "JPY", "100", 100),
        ("0.001", "KWD", "0.001", 1),
        ("0.01", "USD", "0.01", 1),
        ("9999999999.99", "USD", "9999999999.99", MAX_MINOR_UNITS),
        ("1." + "0" * 10_000, "USD", "1.00", 100),
    ],
)
def test_an_amount_is_judged_by_its_value(
    text: str, currency: str, amount: str, minor_units: int
) -> None:
    money = Money.parse(Decimal(text), currency)
    assert (money.amount, money.minor_units) == (amount, minor_units)


@pytest.mark.parametrize(
    "amount",
    [None, "100", True, 100, 100.5, [], {}]
    + [Decimal(text) for text in ("0", "-0", "-1", "NaN", "sNaN", "Infinity", "-Infinity")],
)
def test_an_amount_that_is_not_a_positive_number_is_refused(amount: object) -> None:
    with pytest.raises(InvalidField, match=r"^Amount must be a positive number$"):
        Money.parse(amount, "USD")


@pytest.mark.parametrize(
    "amount", ["0.001", "1.005", "1e-400", "1e-999999999", "1." + "0" * 99 + "1"]
)
def test_more_decimals_than_the_currency_has_are_refused(amount: str) -> None:
    with pytest.raises(InvalidField, match="at most 2 decimals"):
        Money.parse(Decimal(amount), "USD")


@pytest.mark.parametrize("amount", ["10000000000", "1e400", "1e999999999", "9" * 10_000])
def test_an_amount_above_the_limit_in_minor_units_is_refused(amount: str) -> None:
    with pytest.raises(InvalidField, match="must not exceed"):
        Money.parse(Decimal(amount), "USD")


@given(st.integers(1, MAX_MINOR_UNITS), currencies)
def test_money_survives_being_written_and_read_to_the_last_minor_unit(
    minor_units: int, currency: str
) -> None:
    money = Money(minor_units, currency)
    assert Money.parse(Decimal(money.amount), currency) == money
    assert len(money.amount.partition(".")[2]) == MINOR_DIGITS[currency]
    assert "E" not in money.amount


@given(st.decimals(), currencies)
def test_any_number_is_exact_money_or_refused(amount: Decimal, currency: str) -> None:
    try:
        money = Money.parse(amount, currency)
    except InvalidField:
        return
    assert Decimal(money.amount) == amount
    assert 1 <= money.minor_units <= MAX_MINOR_UNITS
