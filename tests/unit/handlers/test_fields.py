from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.shared.fields import InvalidField, parse_customer_id, parse_transaction_id


@pytest.mark.parametrize("value", ["c", "cust-12345", "Zoë Ł 客户", "x" * 128, "😀" * 128])
def test_a_customer_id_of_printable_characters_is_taken_as_it_is(value: str) -> None:
    assert parse_customer_id(value) == value


@pytest.mark.parametrize(
    "value",
    [None, 5, True, [], {}, "", " ", "\u2003", "x" * 129, "a\x00", "a\n", "\x7f", "\x85", "\ud800"],
)
def test_a_customer_id_that_is_blank_too_long_or_holds_control_characters_is_refused(
    value: object,
) -> None:
    with pytest.raises(InvalidField) as refused:
        parse_customer_id(value)
    assert refused.value.field == "customer_id"


@pytest.mark.parametrize(
    "value", [None, 5, True, [], "", " ", "a b", "a\n", "é", "\x7f", "x" * 129]
)
def test_a_transaction_id_that_is_not_1_to_128_visible_ascii_characters_is_refused(
    value: object,
) -> None:
    with pytest.raises(InvalidField):
        parse_transaction_id(value)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128))
def test_any_visible_ascii_is_a_transaction_id(value: str) -> None:
    assert parse_transaction_id(value) == value
