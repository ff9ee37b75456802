from __future__ import annotations

import json

import pytest
from troposphere import AWSHelperFn, GetAtt, If, Ref, Sub

from payment_infra.naming import filled, suffixed

EITHER = If("Restored", Ref("Copy"), Ref("Own"))


@pytest.mark.parametrize(
    ("value", "sub"),
    [
        (Ref("Api"), "a/${Api}/b/${Api}"),
        (GetAtt("Table", "Arn"), "a/${Table.Arn}/b/${Table.Arn}"),
        (EITHER, ["a/${It}/b/${It}", {"It": EITHER.to_dict()}]),
        (suffixed("x"), ["a/${It}/b/${It}", {"It": suffixed("x").to_dict()}]),
    ],
    ids=["Ref", "GetAtt", "If", "Sub"],
)
def test_a_text_is_filled_with_references_as_they_are_and_with_others_as_variables(
    value: AWSHelperFn, sub: object
) -> None:
    result = filled("a/${It}/b/${It}", It=value)
    assert isinstance(result, Sub)
    assert document(result) == {"Fn::Sub": sub}


def document(value: AWSHelperFn) -> object:
    """Return the value as the template has it."""
    return json.loads(json.dumps(value.to_dict()))
