from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_infra.foreign import MAX_DEPTH, escaped, parsed


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_acts_on_a_terminal_is_left_and_what_does_not_stays(text: str) -> None:
    shown = escaped(text)
    assert not {unicodedata.category(one) for one in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(one) for one in shown} & {
        *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
    }
    shown.encode()
    assert shown.isprintable() or not text.isprintable()
    assert text == shown or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x9b31m\x07\x7f", r"\x1b[2J\x9b31m\x07\x7f"),
        ("paid\u202ediap\u2066", r"paid\u202ediap\u2066"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("Größe, 支払い, 👩‍🔧, C:\\x", "Größe, 支払い, 👩‍🔧, C:\\x"),
    ],
)
def test_what_would_act_is_shown_by_its_number(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_what_is_to_be_kept_is_kept() -> None:
    assert escaped("a\nb\x1b", keep="\n") == "a\nb\\x1b"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_json_is_read_as_it_is(value: object) -> None:
    assert parsed(json.dumps(value)) == value


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    "text",
    ["", "rubbish", "NaN", "[-Infinity]", "1e999", nested(MAX_DEPTH + 2), nested(100_000)],
)
def test_what_could_not_be_printed_as_json_again_is_none(text: str) -> None:
    assert parsed(text) is None
    assert parsed(nested(MAX_DEPTH)) is not None
