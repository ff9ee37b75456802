"""The template as text: JSON or YAML, in an order in which a person can read it; and read back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from troposphere import Template

SECTIONS = (
    *("AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules"),
    *("Conditions", "Resources", "Outputs"),
)
RESOURCE_KEYS = (
    *("Type", "Condition", "DependsOn", "UpdatePolicy", "DeletionPolicy", "UpdateReplacePolicy"),
    *("Metadata", "Properties"),
)
# Of a rule alone: the documents show no short form ("Rule functions"), and not every reader of
# templates knows one.
ONLY_LONG = frozenset({"Fn::Contains"})
FORMATS = ("yaml", "json")
# CloudFormation takes a larger template only from a bucket ("CloudFormation quotas", template body
# size in a request).
MAX_BODY_BYTES = 51_200
YAML_WIDTH = 240
# A collection that takes no more characters than these stands on one line.
FLOW_WIDTH = 320


def render(template: Template, form: str = "yaml") -> str:
    """Return the template as text, the same bytes for the same template.

    Args:
        template: what to render; resources keep the order in which they were added.
        form: "yaml" (with the short forms of the intrinsic functions) or "json".
    """
    return render_document(document(template), form)


def document(template: Template) -> dict[str, Any]:
    """Return the template as JSON values, with the long forms of the functions, in that order."""
    whole = json.loads(json.dumps(template.to_dict()))
    ordered = {section: whole[section] for section in SECTIONS if section in whole}
    ordered["Resources"] = {
        title: {key: resource[key] for key in RESOURCE_KEYS if key in resource}
        for title, resource in ordered["Resources"].items()
    }
    return ordered


def render_document(ordered: dict[str, Any], form: str = "yaml") -> str:
    """Return what `document` returned as text, all of it ASCII.

    YAML is indented by one space, which no emitter does: with two, the development template would
    be longer by the twentieth part of what CloudFormation takes in one request.


    For any other character GetTemplate answers "?" (CloudFormation's roadmap, "GetTemplate API does
    not support non-ASCII characters").
    """
    if form == "json":
        return _json(ordered)
    text: str = yaml.dump(
        _in_blocks(ordered),
        Dumper=_Dumper,
        default_flow_style=False,
        sort_keys=False,
        width=YAML_WIDTH,
    )
    return _indented_by_one(text)


def _indented_by_one(text: str) -> str:
    """Return YAML that is indented by two spaces with one for each mapping; the dash of a list and
    its space stay two."""
    lines = []
    columns = [(0, 0)]  # where what is open begins, before and after
    for line in text.splitlines():
        inner = line.lstrip()
        before = len(line) - len(inner)
        if inner:
            while columns[-1][0] > before:
                columns.pop()
            if columns[-1][0] < before:
                columns.append((before, columns[-1][1] + 1))
            after = columns[-1][1]
            lines.append(" " * after + inner)
            while inner.startswith("- "):
                inner, before, after = inner[2:], before + 2, after + 2
                columns.append((before, after))
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def read_document(text: str) -> dict[str, Any]:
    """Return a template in YAML, or in JSON, as `document` does: JSON values, functions long.

    Raises:
        ValueError: it is neither, or no mapping; one line says what.
    """
    try:
        content = _read(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError("it has no sections")
    return content


def _read(text: str) -> Any:
    """Read JSON as that, for YAML has no pairs of escapes for one character."""
    if text.lstrip().startswith("{"):
        with suppress(ValueError):
            return json.loads(text)
    return yaml.load(text, Loader=_Loader)


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
        case {"Fn::If": [condition, then, other]} if len(value) == 1:
            return f"!If [{condition}, {describe(then)}, {describe(other)}]"
        case {"Fn::Sub": [text, Mapping() as variables]} if len(value) == 1:
            described = ", ".join(f"{name}: {describe(inner)}" for name, inner in variables.items())
            return f"!Sub {text} ({described})"
    return json.dumps(value, sort_keys=True)


class _Block(dict[str, Any]):
    """A mapping with a line for each of its entries, however short they are."""


def _in_blocks(ordered: dict[str, Any]) -> _Block:
    """Return the template with what a reader looks for on lines of its own: the sections, their
    entries, what these say, and the properties of the resources."""
    whole = _Block(ordered)
    for section, entries in ordered.items():
        if isinstance(entries, dict):
            whole[section] = _Block(
                {name: _Block(entry) for name, entry in entries.items()}
                if section in {"Parameters", "Rules", "Resources", "Outputs"}
                else entries
            )
    for resource in whole.get("Resources", {}).values():
        if "Properties" in resource:
            resource["Properties"] = _Block(resource["Properties"])
    return whole


# The emitter in C makes the same text in a fifth of the time, and comes with nearly every PyYAML.
class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Gives the intrinsic functions their short forms, and every mapping its own order."""

    def choose_scalar_style(self) -> Any:
        """Write a function's argument without quotes where it needs none, as the emitter in C does,
        which never asks this."""
        implicit = self.event.implicit
        self.event.implicit = (implicit[0] or self.event.tag.startswith("!"), implicit[1])
        style = super().choose_scalar_style()
        self.event.implicit = implicit
        return style


def _represent_text(dumper: Any, value: str, tag: str = "tag:yaml.org,2002:str") -> Any:
    if "\n" in value:
        # Lines that begin with spaces, or a first one that is empty, are none to indent anew.
        style = '"' if re.search(r"^ |\A\n", value, flags=re.MULTILINE) else "|"
        return dumper.represent_scalar(tag, value, style=style)
    quoted = not value or re.fullmatch("0[0-9]+", value)
    return dumper.represent_scalar(tag, value, style="'" if quoted else None)


def _represent_mapping(dumper: Any, value: dict[str, Any]) -> Any:
    if len(value) == 1:
        [(key, argument)] = value.items()
        if key in {"Ref", "Condition"} or (key.startswith("Fn::") and key not in ONLY_LONG):
            return _represent_function(dumper, f"!{key.removeprefix('Fn::')}", argument)
    return _dense(dumper.represent_mapping("tag:yaml.org,2002:map", value.items()))


def _represent_sequence(dumper: Any, value: list[Any]) -> Any:
    return _dense(dumper.represent_sequence("tag:yaml.org,2002:seq", value))


def _represent_block(dumper: Any, value: _Block) -> Any:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items())


def _represent_function(dumper: Any, tag: str, argument: Any) -> Any:
    match argument:
        case [str(resource), str(attribute)] if tag == "!GetAtt":
            return _represent_text(dumper, f"{resource}.{attribute}", tag)
        case list():
            return _dense(dumper.represent_sequence(tag, argument))
        case dict():
            return _dense(dumper.represent_mapping(tag, argument.items()))
    return _represent_text(dumper, argument, tag)


def _dense(node: Any) -> Any:
    """Let a collection stand on one line where it is short, as in `[!Ref AlarmTopic]`; a list of
    plain values always does, or on a few."""
    node.flow_style = True
    node.flow_style = _width(node) <= FLOW_WIDTH or (
        isinstance(node, yaml.SequenceNode)
        and all(isinstance(item, yaml.ScalarNode) and item.style != "|" for item in node.value)
    )
    return node


def _width(node: Any) -> int:
    """Return how many characters the node takes on one line, but for quotes; more than fit there
    if it needs several."""
    if isinstance(node, yaml.ScalarNode):
        size = len(node.value) if node.style != "|" else FLOW_WIDTH
    elif not node.flow_style:
        size = FLOW_WIDTH
    elif isinstance(node, yaml.MappingNode):
        size = sum(_width(key) + _width(value) + 4 for key, value in node.value)
    else:
        size = sum(_width(item) + 2 for item in node.value)
    return size + (len(node.tag) + 1 if node.tag.startswith("!") else 0)


# The parser in C takes a tenth of the time.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Gives the intrinsic functions their long forms, and leaves a date a text."""


def _construct_function(loader: Any, name: str, node: Any) -> dict[str, Any]:
    key = name if name in {"Ref", "Condition"} else f"Fn::{name}"
    if isinstance(node, yaml.MappingNode):
        return {key: loader.construct_mapping(node, deep=True)}
    if isinstance(node, yaml.SequenceNode):
        return {key: loader.construct_sequence(node, deep=True)}
    text = loader.construct_scalar(node)
    return {key: text.split(".", 1) if name == "GetAtt" else text}


_Loader.add_multi_constructor("!", _construct_function)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


_Dumper.add_representer(dict, _represent_mapping)
_Dumper.add_representer(list, _represent_sequence)
_Dumper.add_representer(_Block, _represent_block)
_Dumper.add_representer(str, _represent_text)


def _json(document: Any) -> str:
    """Return JSON with a line for each resource, parameter and output, for the same reason."""
    sections = []
    for name, content in document.items():
        if isinstance(content, dict):
            entries = (f"{_compact(key)}:{_compact(value)}" for key, value in content.items())
            text = "{\n" + ",\n".join(entries) + "\n}"
        else:
            text = _compact(content)
        sections.append(f"{_compact(name)}:{text}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
