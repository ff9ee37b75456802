from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.shared.requests import MAX_BODY_BYTES, InvalidRequest, json_object, request_id
from tests.unit.handlers.bodies import HOSTILE, encoded
from tests.unit.handlers.harness import LambdaContext


@pytest.mark.parametrize("event", HOSTILE.values(), ids=HOSTILE)
def test_a_body_that_is_not_one_sound_json_object_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        json_object(event)
    assert refused.value.body["error"] == "Invalid body"
    assert refused.value.body["message"]


@pytest.mark.parametrize("number", ["9" * 10_000, "1e400", "-0", "0.1"])
def test_a_number_is_read_exactly(number: str) -> None:
    assert json_object({"body": f'{{"amount": {number}}}'}) == {"amount": Decimal(number)}


def test_a_body_of_the_greatest_size_is_read_in_either_encoding() -> None:
    body = "{}" + " " * (MAX_BODY_BYTES - 2)
    assert json_object({"body": body}) == {}
    assert json_object(encoded(body.encode())) == {}


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_an_object_or_refused(content: bytes, as_text: bool) -> None:
    event = {"body": content.decode("latin-1")} if as_text else encoded(content)
    with suppress(InvalidRequest):
        assert isinstance(json_object(event), dict)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_any_json_object_is_read_as_it_was_written(value: dict[str, Any]) -> None:
    assert json_object({"body": json.dumps(value)}) == value


def test_the_request_id_is_the_one_of_api_gateway_else_the_one_of_lambda() -> None:
    assert request_id({"requestContext": {"requestId": "api"}}, LambdaContext()) == "api"
    assert request_id({"requestContext": None}, LambdaContext()) == "lambda-request-id"
