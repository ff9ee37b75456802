"""The template as text: JSON or YAML, in an order in which a person can read it."""

import json
from typing import Any

import yaml
from cfn_flip.yaml_dumper import get_dumper
from cfn_tools.odict import ODict
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
        return json.dumps(document, indent=1) + "\n"
    text: str = yaml.dump(
        document,
        # It gives an ODict the short forms, and leaves the order of its keys alone.
        Dumper=get_dumper(clean_up=True),
        default_flow_style=False,
        allow_unicode=True,
        width=YAML_WIDTH,
    )
    return text


def _ordered(template: Template) -> Any:
    whole = json.loads(json.dumps(template.to_dict()), object_pairs_hook=ODict)
    document = ODict((section, whole[section]) for section in SECTIONS if section in whole)
    document["Resources"] = ODict(
        (title, ODict((key, resource[key]) for key in RESOURCE_KEYS if key in resource))
        for title, resource in document["Resources"].items()
    )
    return document
