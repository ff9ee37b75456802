"""Nothing says in which partition of AWS it is: the commercial regions, GovCloud, China, others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from payment_infra.artifacts import code_keys
from payment_infra.config import PRESETS, StackConfig
from payment_infra.rendering import document
from payment_infra.template import build_template

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted(
    path for place in ("payment_infra", "handlers") for path in (REPOSITORY / place).rglob("*.py")
)
# An ARN's or an address's beginning, the console, and a region.
OF_ONE_PARTITION = re.compile(
    r"arn:aws[:-]|\.amazonaws\.|console\.aws|\b[a-z]{2}(-gov)?-(north|south|east|west|central)+-\d"
)
# What the same service is called in each partition (AWS CDK, region-info: all services but those
# of CodeDeploy, CloudWatch Logs and some that are not used here).
UNIVERSAL = re.compile(
    r"(apigateway|backup|cloudwatch|events|lambda)\.amazonaws\.com|codedeploy\..*|logs\..*"
)
# A text that names one all the same, and why that is right.
ALLOWED = {
    ("cloud/sdk/configuration.py", "us-east-1"): "where nothing says a region",
    ("combinations.py", "us-east-1"): "edge-optimized endpoints are of the commercial regions",
    ("config.py", "us-east-1"): "the same, in the setting's help",
    ("function_folder.py", "us-east-1"): "what the gateway class is tried with on this machine",
    ("groups/function_parts.py", "ap-east-2"): "a commercial region without SnapStart",
    ("groups/function_parts.py", "ap-southeast-6"): "the same",
    ("local/emulator.py", "us-east-1"): "the embedded AWS is in no region",
    ("place.py", "us-east-1"): "the flag's help, as in configuration.py",
    ("place.py", "eu-central-1"): "an example",
}


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts of a source that are no docstrings."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Expr(value=ast.Constant()):
                continue
            case ast.Constant(value=str(text)):
                yield text
            case _:
                yield from texts(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_text_of_the_source_is_of_one_partition(path: Path) -> None:
    place = str(path.relative_to(REPOSITORY)).removeprefix("payment_infra/")
    found = [
        text
        for text in texts(ast.parse(path.read_text(encoding="utf-8")))
        if OF_ONE_PARTITION.search(text)
        and not UNIVERSAL.fullmatch(text)
        and not any(place == where and one in text for where, one in ALLOWED)
    ]
    assert found == []


def test_what_is_allowed_is_there() -> None:
    for place, text in ALLOWED:
        assert text in (REPOSITORY / "payment_infra" / place).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:iam::aws:policy/X",
        "arn:aws-cn:s3:::zips",
        "s3.eu-central-1.amazonaws.com",
        "https://console.aws.amazon.com/cloudformation",
        "us-gov-west-1",
        "ap-southeast-2",
    ],
)
def test_what_is_of_one_partition_is_found(text: str) -> None:
    assert OF_ONE_PARTITION.search(text)


def template(preset: str) -> dict[str, Any]:
    config = StackConfig(preset=preset, **PRESETS[preset])  # type: ignore[arg-type]
    return document(build_template(config, code_keys()))


def strings(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for one in value.values():
                yield from strings(one)
        case list():
            for one in value:
                yield from strings(one)
        case str():
            yield value


@pytest.mark.parametrize("preset", PRESETS)
def test_no_text_of_the_template_is_of_one_partition(preset: str) -> None:
    whole = template(preset)
    found = {text for text in strings(whole) if OF_ONE_PARTITION.search(text)}
    # The regions are those without SnapStart, of a condition.
    principals = {text for text in found if UNIVERSAL.fullmatch(text)}
    assert {"apigateway.amazonaws.com", "lambda.amazonaws.com"} <= principals
    assert found - principals == (
        {"ap-east-2", "ap-southeast-6"} if "versions" in PRESETS[preset] else set()
    )


def services(value: Any) -> Iterator[Any]:
    """Yield what stands as a service for a principal, whichever way it is written."""
    if isinstance(value, dict):
        principal = value.get("Principal")
        service = principal.get("Service") if isinstance(principal, dict) else principal
        yield from service if isinstance(service, list) else [service] if service else []
    for one in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from services(one)


def test_a_service_that_each_partition_calls_otherwise_is_called_by_its_region() -> None:
    """So they are in AWS CDK's region-info; CodeDeploy, "Create a service role for CodeDeploy"."""
    named = [str(one) for one in services(template("production"))]
    for name in ("logs", "codedeploy"):
        [own] = {one for one in named if f"{name}." in one}
        assert own == str({"Fn::Sub": f"{name}.${{AWS::Region}}.${{AWS::URLSuffix}}"})
