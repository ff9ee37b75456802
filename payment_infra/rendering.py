"""The template as text: JSON or YAML, in an order in which a person can read it."""

import json
from collections.abc import Mapping
from typing import Any

import yaml
from cfn_flip.yaml_dumper import get_dumper, map_representer
from troposphere import Template

SECTIONS = (
    *("AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Conditions"),
    *("Resources", "Outputs"),
)
RESOURCE_KEYS = (
    *("Type", "Condition", "DependsOn", "DeletionPolicy", "UpdateReplacePolicy", "Properties"),
)
FORMATS = ("yaml", "json")
YAML_WIDTH = 100


def render(template: Template, form: str = "yaml") -> str:
    """Return the template as text, the same bytes for the same template.

    Args:
        template: what to render; resources keep the order in which they were added.
        form: "yaml" (with the short forms of the intrinsic functions) or "json".
    """
    document = _ordered(template)
    if form == "json":
        return _json(document)
    text: str = yaml.dump(
        document,
        Dumper=_Dumper,
        default_flow_style=False,
        sort_keys=False,
        allow_unicode=True,
        width=YAML_WIDTH,
    )
    return text


def describe(value: Any) -> str:
    """Return a template's value as short text: functions in their short forms, else JSON."""
    match value:
        case str():
            return value
        case {"Ref": str(name)} if len(value) == 1:
            return f"!Ref {name}"
        case {"Fn::GetAtt": [name, attribute]} if len(value) == 1:
            return f"!GetAtt {name}.{attribute}"
        case {"Fn::Sub": str(text)} if len(value) == 1:
            return f"!Sub {text}"
        case {"Fn::If": [condition, one, other]} if len(value) == 1:
            return f"!If [{condition}, {describe(one)}, {describe(other)}]"
        case {"Fn::Sub": [text, Mapping() as variables]} if len(value) == 1:
            described = ", ".join(f"{name}: {describe(one)}" for name, one in variables.items())
            return f"!Sub {text} ({described})"
    return json.dumps(value, sort_keys=True)


class _Dumper(get_dumper(clean_up=True)):  # type: ignore[misc]
    """Gives the functions their short forms, and does not indent lists, which keeps the template
    below the 51,200 bytes that CloudFormation takes without a bucket.

    A template says the same words again and again, so each is analyzed once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._analyses: dict[str, Any] = {}

    def analyze_scalar(self, scalar: str) -> Any:
        if scalar not in self._analyses:
            self._analyses[scalar] = super().analyze_scalar(scalar)
        return self._analyses[scalar]

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return yaml.Dumper.increase_indent(self, flow, indentless)


def _represent(dumper: Any, value: dict[str, Any]) -> Any:
    """Represent a mapping in its own order, and a function as cfn_flip does."""
    if len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::", "Condition")):
        return map_representer(dumper, value)
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=False)


_Dumper.add_representer(dict, _represent)


def _json(document: Any) -> str:
    """Return JSON with a line for each resource, parameter and output, for the same reason."""
    sections = []
    for name, content in document.items():
        if isinstance(content, dict):
            entries = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
            text = "{\n" + ",\n".join(entries) + "\n}"
        else:
            text = json.dumps(content)
        sections.append(f"{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _ordered(template: Template) -> Any:
    whole = json.loads(json.dumps(template.to_dict()))
    document = {section: whole[section] for section in SECTIONS if section in whole}
    document["Resources"] = {
        title: {key: resource[key] for key in RESOURCE_KEYS if key in resource}
        for title, resource in document["Resources"].items()
    }
    return document
