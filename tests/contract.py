"""The OpenAPI document as a judge of answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

from payment_infra.openapi import read_document

Json = Any

DOCUMENT = read_document()
OPERATIONS: dict[str, Json] = {
    f"{verb.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for verb, operation in item.items()
}


def resolve(value: Json) -> Json:
    """Return what a reference into the document leads to, anything else as it is."""
    while "$ref" in value:
        place = DOCUMENT
        for name in value["$ref"].removeprefix("#/").split("/"):
            place = place[name]
        value = place
    return value


def schema(name: str) -> Json:
    """Return a schema of the components."""
    return DOCUMENT["components"]["schemas"][name]


def validator(of: Json) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of a schema, which may refer to the components."""
    return jsonschema_rs.Draft202012Validator(
        {"allOf": [of], "components": DOCUMENT["components"]}, validate_formats=True
    )


def valid(of: Json, value: Json) -> bool:
    """Whether the value is one that the schema describes."""
    return validator(of).is_valid(value)


def statuses(operation: str) -> set[int]:
    """Return the statuses that the document gives an operation."""
    return {int(status) for status in OPERATIONS[operation]["responses"]}


def content(message: Json) -> Json:
    """Return the JSON that a request body or a response consists of: schema and examples."""
    [(kind, body)] = message["content"].items()
    assert kind == "application/json"
    return body


def check(operation: str, status: int, headers: Mapping[str, str], body: Json) -> None:
    """Fail unless the document describes this answer, down to every field and header."""
    assert status in statuses(operation), f"{operation}: {status} is not in the document"
    response = resolve(OPERATIONS[operation]["responses"][str(status)])
    jsonschema_rs.validate(
        {
            "allOf": [content(response)["schema"]],
            "components": DOCUMENT["components"],
            # The document lets an API say more one day; today it says no more than that.
            "unevaluatedProperties": False,
        },
        body,
        validate_formats=True,
    )
    described = {name: resolve(header) for name, header in response["headers"].items()}
    assert set(headers) <= {*described, "Content-Type"}
    assert {name for name, header in described.items() if header["required"]} <= set(headers)
    for name in set(headers) & set(described):
        assert valid(described[name]["schema"], _typed(headers[name], described[name]["schema"]))


def _typed(text: str, of: Json) -> object:
    return int(text) if of["type"] == "integer" else text


def examples() -> Iterator[tuple[str, Json, Json]]:
    """Yield place, schema and value of every example in the document."""
    for name, operation in OPERATIONS.items():
        for parameter in map(resolve, operation.get("parameters", [])):
            yield from _examples(f"{name} {parameter['name']}", parameter)
        if "requestBody" in operation:
            yield from _examples(f"{name} request", content(operation["requestBody"]))
        for status, response in operation["responses"].items():
            yield from _examples(f"{name} {status}", content(resolve(response)))
    for name, header in DOCUMENT["components"]["headers"].items():
        yield from _examples(name, header)


def _examples(place: str, described: Json) -> Iterator[tuple[str, Json, Json]]:
    if "example" in described:
        yield place, described["schema"], described["example"]
    for name, example in described.get("examples", {}).items():
        yield f"{place}: {name}", described["schema"], example["value"]
