"""What holds in every combination of settings: each pair of values is in one of these templates."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from payment_infra.artifacts import code_keys
from payment_infra.combinations import COMBINATIONS
from payment_infra.config import PRESETS, StackConfig
from payment_infra.record import RECORDED, read_record
from payment_infra.rendering import render
from payment_infra.template import build_template
from tests.combinations import configurations, different, pairs, possible, values
from tests.unit.template import PSEUDO_PARAMETERS, Evaluated, Json, load, of_type, walk

CONFIGURATIONS = configurations()
TEMPLATES: list[Json] = [
    json.loads(render(build_template(config, code_keys()), "json")) for config in CONFIGURATIONS
]
DEVELOPMENT = load()
EVERY = pytest.mark.parametrize(
    ("config", "template"),
    list(zip(CONFIGURATIONS, TEMPLATES, strict=True)),
    ids=map(str, range(len(TEMPLATES))),
)
# What holds data, or what data cannot be read without.
STATEFUL = {
    "AWS::Backup::BackupVault",
    "AWS::DynamoDB::Table",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::SQS::Queue",
}
# CloudFormation quotas: resources, parameters, outputs, and the bytes of a template in a bucket.
MAX_RESOURCES, MAX_PARAMETERS, MAX_OUTPUTS, MAX_BYTES = 500, 200, 200, 1_000_000
# IAM and AWS STS quotas: the characters of a managed policy, white space apart.
MAX_POLICY_CHARACTERS = 6_144


def schema(kind: str) -> Json:
    """Return CloudFormation's own schema of a type, as cfn-lint bundles it."""
    return PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema


def names_in(value: Json) -> Iterator[str]:
    """Yield what a part of a template refers to."""
    for _, inner in walk(value):
        if not isinstance(inner, dict):
            continue
        match inner:
            case {"Ref": name}:
                yield name
            case {"Fn::GetAtt": [name, _]}:
                yield name
            case {"Fn::Sub": [text, variables]}:
                yield from set(re.findall(r"\$\{(\w[\w:]*)[.}]", text)) - set(variables)
            case {"Fn::Sub": text}:
                yield from re.findall(r"\$\{(\w[\w:]*)[.}]", text)


def test_every_pair_of_values_that_goes_together_stands_in_one_of_the_templates() -> None:
    tried = values()
    had = [pairs({name: getattr(config, name) for name in tried}) for config in CONFIGURATIONS]
    assert set().union(*had) == possible()
    assert {name for pair in possible() for name, _ in pair} == set(tried)
    # Few enough to be linted, each of them.
    assert len(CONFIGURATIONS) < 60


def test_only_combinations_keep_a_pair_from_being_tried() -> None:
    tried = values()
    every = {
        frozenset({(one, first), (other, second)})
        for one in tried
        for other in tried
        for first in tried[one]
        for second in tried[other]
        if one < other
    }
    related = [set(combination.fields) for combination in COMBINATIONS]
    for pair in every - possible():
        assert any(fields & set(dict(pair)) for fields in related), pair


def test_the_configurations_are_always_the_same() -> None:
    assert configurations() == CONFIGURATIONS
    assert CONFIGURATIONS[:2] == [
        StackConfig(**PRESETS[name])  # type: ignore[arg-type]
        for name in ("development", "production")
    ]


@EVERY
def test_the_record_reads_back(config: StackConfig, template: Json) -> None:
    recorded = read_record(template).values
    assert recorded == {name: getattr(config, name) for name in RECORDED}, different(config)


@EVERY
def test_what_is_referred_to_is_there_and_no_dependency_is_circular(
    config: StackConfig, template: Json
) -> None:
    resources = template["Resources"]
    known = {*resources, *template["Parameters"], *PSEUDO_PARAMETERS, "AWS::NoValue"}
    graph: dict[str, set[str]] = {}
    for name, resource in resources.items():
        depends = resource.get("DependsOn", [])
        found = {*names_in(resource["Properties"])}
        found |= set(depends if isinstance(depends, list) else [depends])
        assert found <= known, (name, found - known, different(config))
        assert resource.get("Condition", "") in {"", *template["Conditions"]}
        graph[name] = found & resources.keys()
    assert set(TopologicalSorter(graph).static_order()) == resources.keys()
    assert set(names_in(template["Outputs"])) <= known


@EVERY
def test_every_parameter_and_condition_is_used_and_there(
    config: StackConfig, template: Json
) -> None:
    body = {key: template[key] for key in ("Conditions", "Resources", "Outputs")}
    used = {*names_in(body)}
    assert set(template["Parameters"]) <= used, different(config)
    asked = {
        value["Fn::If"][0]
        for _, value in walk(body)
        if isinstance(value, dict) and "Fn::If" in value
    }
    asked |= {one["Condition"] for one in template["Resources"].values() if "Condition" in one}
    asked |= {
        value["Condition"]
        for _, value in walk(template["Conditions"])
        if isinstance(value, dict) and set(value) == {"Condition"}
    }
    assert asked == set(template["Conditions"]), different(config)
    # All of it can be computed.
    Evaluated(template)


@EVERY
def test_every_role_is_under_the_accounts_rules(config: StackConfig, template: Json) -> None:
    roles = of_type(template, "AWS::IAM::Role")
    assert len(roles) >= 4
    for name, role in roles.items():
        found = role["Properties"]
        assert found.get("PermissionsBoundary", "") == config.permissions_boundary, name
        assert found.get("Path", "/") == config.role_path, name
        assert ("RoleName" in found) == bool(config.role_prefix), name
        # What a role may do is in policies of its own, so that it can be read.
        assert "Policies" not in found, name
        for statement in found["AssumeRolePolicyDocument"]["Statement"]:
            assert set(statement["Principal"]) == {"Service"}, name


@EVERY
def test_every_policy_fits_and_names_each_action_and_each_statement(
    config: StackConfig, template: Json
) -> None:
    evaluated = Evaluated(template)
    for name in of_type(template, "AWS::IAM::ManagedPolicy"):
        document = evaluated.resources[name]["PolicyDocument"]
        assert len(json.dumps(document, separators=(",", ":"))) <= MAX_POLICY_CHARACTERS, name
        ids = Counter(one["Sid"] for one in document["Statement"])
        assert max(ids.values()) == 1, (name, ids)
        for statement in document["Statement"]:
            if statement["Effect"] == "Allow":
                assert not [one for one in statement["Action"] if "*" in one], (name, statement)


@EVERY
def test_every_resource_that_takes_tags_has_the_environment(
    config: StackConfig, template: Json
) -> None:
    for name, resource in template["Resources"].items():
        tagging = schema(resource["Type"]).get("tagging", {})
        place = tagging.get("tagProperty", "/properties/Tags").removeprefix("/properties/")
        if place in schema(resource["Type"])["properties"]:
            assert place in resource["Properties"], (name, place, different(config))
            assert {"Ref": "EnvironmentSuffix"} in [
                value for _, value in walk(resource["Properties"][place])
            ]


@EVERY
def test_no_update_of_a_development_stack_replaces_or_deletes_what_holds_data(
    config: StackConfig, template: Json
) -> None:
    for name, before in DEVELOPMENT["Resources"].items():
        if before["Type"] not in STATEFUL:
            continue
        after = template["Resources"][name]
        assert after["Type"] == before["Type"]
        for place in schema(before["Type"]).get("createOnlyProperties", []):
            key = place.removeprefix("/properties/").split("/")[0]
            old, new = before["Properties"].get(key), after["Properties"].get(key)
            assert old == new, (name, key, different(config))


@EVERY
def test_what_holds_data_outlives_the_stack_exactly_when_that_is_asked_for(
    config: StackConfig, template: Json
) -> None:
    for name, resource in template["Resources"].items():
        if resource["Type"] in STATEFUL:
            kept = resource["DeletionPolicy"] != "Delete"
            # AWS deletes no vault that has recovery points, and the others have none.
            asked = config.retain_data or resource["Type"] == "AWS::Backup::BackupVault"
            assert kept == asked, (name, different(config))
            assert resource["UpdateReplacePolicy"] == "Retain", name


@EVERY
def test_a_template_is_within_cloudformations_quotas(config: StackConfig, template: Json) -> None:
    counts: Any = [len(template[part]) for part in ("Resources", "Parameters", "Outputs")]
    assert counts[0] <= MAX_RESOURCES
    assert counts[1] <= MAX_PARAMETERS
    assert counts[2] <= MAX_OUTPUTS
    assert len(render(build_template(config, code_keys()), "yaml").encode()) <= MAX_BYTES


# What takes the ARN of a key, or stores it.
KEY_PROPERTIES = {"KmsKeyId", "KMSMasterKeyId", "KmsMasterKeyId", "KmsKeyArn", "EncryptionKeyArn"}
# What CloudFormation's schemas want empty: an action of a firewall, the parts of a masking.
EMPTY = {"Allow", "Block", "Count", "None", "UriPath", "FindingsDestination", "MaskConfig"}


@EVERY
def test_no_property_is_one_that_its_service_stores_otherwise(
    config: StackConfig, template: Json
) -> None:
    """A detection of drift would find a stack changed that nobody has touched.

    The cases are those of CloudFormation's roadmap and of the CDK: a log group's attribute that
    ends in ":*", a key's id for its ARN (AWS::DMS::Endpoint and others), a function's ARN for its
    name (AWS::Lambda::EventInvokeConfig), and what is empty (Serverless, "API gateway always show
    cloudformation stack drift").
    """
    resources = template["Resources"]
    for name, resource in resources.items():
        if resource["Type"] in {"AWS::IAM::ManagedPolicy", "AWS::IAM::Role"}:
            continue  # stored as they are written
        for path, value in walk(resource["Properties"]):
            place = (name, *path)
            match value:
                case {"Fn::GetAtt": [of, "Arn"]}:
                    assert resources[of]["Type"] != "AWS::Logs::LogGroup", place
                case {} | [] | "":
                    assert not isinstance(value, str) or value, place
                    assert value or EMPTY & set(path[-1:]), place
            if path and path[-1] in KEY_PROPERTIES:
                assert value == {"Fn::GetAtt": ["EncryptionKey", "Arn"]}, place
            if "Condition" not in path and "Variables" not in path:
                assert value not in ("true", "false"), place
        if resource["Type"] == "AWS::Lambda::EventInvokeConfig":
            function = resource["Properties"]["FunctionName"]["Ref"]
            assert resources[function]["Type"] == "AWS::Lambda::Function"
