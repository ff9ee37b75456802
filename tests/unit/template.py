"""A template as plain data, and what its intrinsic functions come to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from payment_infra.artifacts import code_keys
from payment_infra.config import StackConfig
from payment_infra.rendering import render
from payment_infra.template import build_template

Json = Any

PSEUDO_PARAMETERS = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::AccountId": "123456789012",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "payment-infra-dev",
    "AWS::StackId": (
        "arn:aws:cloudformation:eu-central-1:123456789012:stack/payment-infra-dev/"
        "51af3dc0-da77-11e4-872e-1234567abcdb"
    ),
}
# What Ref gives of AWS::NoValue: a property with it is left out.
NO_VALUE = object()
PARAMETERS = {"EnvironmentSuffix": "dev", "ArtifactBucket": "zips"}


def load(**fields: Any) -> Json:
    """Return the template of a configuration."""
    return json.loads(render(build_template(StackConfig(**fields), code_keys()), "json"))


def load_before_encryption(**fields: Any) -> Json:
    """Return the template of the first of two updates that bring a key to a stack."""
    template = build_template(StackConfig(**fields), code_keys(), encrypts=False)
    return json.loads(render(template, "json"))


def of_type(template: Json, kind: str) -> dict[str, Json]:
    """Return the resources of a type by logical id."""
    return {name: one for name, one in template["Resources"].items() if one["Type"] == kind}


def walk(value: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Json]]:
    """Yield every value inside, with its path."""
    yield path, value
    if isinstance(value, dict):
        items: Iterator[tuple[Any, Json]] = iter(value.items())
    elif isinstance(value, list):
        items = iter(enumerate(value))
    else:
        return
    for key, inner in items:
        yield from walk(inner, (*path, key))


def spelled_out(properties: Json) -> list[list[Json]]:
    """Return the metrics of a widget, each with its options at the end: with what stands above in
    the place of each ".", and the widget's statistic where it has none of its own."""
    whole: list[list[Json]] = []
    for row in properties.get("metrics", []):
        names, options = (row[:-1], row[-1]) if isinstance(row[-1], dict) else (row, {})
        names = [whole[-1][place] if one == "." else one for place, one in enumerate(names)]
        whole.append([*names, {"stat": properties["stat"]} | options])
    return whole


class Evaluated:
    """A template under given parameters, as CloudFormation would see it.

    What a resource gives becomes readable text: its Ref `<LogicalId>`, an attribute
    `<LogicalId.Attribute>`.
    """

    def __init__(self, template: Json, **parameters: object) -> None:
        defaults = {
            name: one["Default"] for name, one in template["Parameters"].items() if "Default" in one
        }
        self._template = template
        self._values: dict[str, Any] = defaults | PARAMETERS | PSEUDO_PARAMETERS | parameters
        present = {
            name: one
            for name, one in template["Resources"].items()
            if "Condition" not in one or self.condition(one["Condition"])
        }
        self._present = set(present)
        self.resources: dict[str, Json] = {
            name: self.value(one["Properties"]) for name, one in present.items()
        }
        self.outputs: dict[str, Json] = {
            name: self.value(one["Value"]) for name, one in template["Outputs"].items()
        }

    def condition(self, name: str) -> bool:
        return bool(self.value(self._template["Conditions"][name]))

    def broken(self) -> list[str]:
        """Return what the template's rules say of parameters that they do not take."""
        rules = self._template.get("Rules", {}).values()
        assertions = [one for rule in rules for one in rule["Assertions"]]
        return [one["AssertDescription"] for one in assertions if not self.value(one["Assert"])]

    def value(self, value: Json) -> Json:
        match value:
            case {"Ref": name}:
                return self._ref(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self._ref(f"{name}.{attribute}")
            case {"Fn::If": [condition, yes, no]}:
                return self.value(yes if self.condition(condition) else no)
            case {"Fn::Equals": [left, right]}:
                return self.value(left) == self.value(right)
            case {"Fn::Not": [inner]}:
                return not self.value(inner)
            case {"Fn::And": inner}:
                return all(map(self.value, inner))
            case {"Condition": str(name)}:
                return self.condition(name)
            case {"Fn::Contains": [members, one]}:
                # Parameters that are numbers are texts to a rule.
                return str(self.value(one)) in self.value(members)
            case {"Fn::Select": [index, parts]}:
                return self.value(parts)[int(index)]
            case {"Fn::Split": [separator, whole]}:
                return self.value(whole).split(separator)
            case {"Fn::Join": [separator, parts]}:
                return separator.join(self.value(part) for part in parts)
            case {"Fn::Sub": [text, variables]}:
                return self._sub(text, self.value(variables))
            case {"Fn::Sub": text}:
                return self._sub(text, {})
            case dict():
                assert not any(key.startswith("Fn::") for key in value), value
                inner_values = {key: self.value(inner) for key, inner in value.items()}
                return {key: one for key, one in inner_values.items() if one is not NO_VALUE}
            case list():
                return [one for one in map(self.value, value) if one is not NO_VALUE]
            case _:
                return value

    def _ref(self, name: str) -> Json:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self._values:
            return self._values[name]
        assert name.partition(".")[0] in self._present, name
        return f"<{name}>"

    def _sub(self, text: str, variables: Mapping[str, Json]) -> str:
        def replace(match: re.Match[str]) -> str:
            name = match[1]
            return str(variables[name] if name in variables else self._ref(name))

        return re.sub(r"\$\{([^}!]+)\}", replace, text)
