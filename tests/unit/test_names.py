"""What the tool knows of the template by name is what the template says."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from payment_infra import names
from payment_infra.config import FIELDS, PRESETS
from payment_infra.rendering import document
from payment_infra.template import build_bootstrap_template
from tests.unit.template import load

TEMPLATES = {preset: load(**PRESETS[preset]) for preset in PRESETS}
EVERY_PRESET = pytest.mark.parametrize("preset", TEMPLATES)
# How the name of a logical id ends, to the type of what it names.
TYPES = {
    "BACKUP_PLAN": "AWS::Backup::BackupPlan",
    "ALIAS": "AWS::Lambda::Alias",
    "ALARM_TOPIC": "AWS::SNS::Topic",
    "CALLER_POLICY": "AWS::IAM::ManagedPolicy",
    "ENCRYPTION_KEY": "AWS::KMS::Key",
    "ENCRYPTION_KEY_NAME": "AWS::KMS::Alias",
    "DASHBOARD": "AWS::CloudWatch::Dashboard",
    "FUNCTION": "AWS::Lambda::Function",
    "LOG_GROUP": "AWS::Logs::LogGroup",
    "QUEUE": "AWS::SQS::Queue",
    "ROLE": "AWS::IAM::Role",
    "FIREWALL_ASSOCIATION": "AWS::WAFv2::WebACLAssociation",
    "REST_API": "AWS::ApiGateway::RestApi",
    "DOMAIN": "AWS::ApiGateway::DomainName",
    "RETRY_EVENT_SOURCE": "AWS::Lambda::EventSourceMapping",
    "HEALTH_SCHEDULE": "AWS::Events::Rule",
    "METHOD": "AWS::ApiGateway::Method",
    "STAGE": "AWS::ApiGateway::Stage",
    "TRANSACTIONS_TABLE": "AWS::DynamoDB::Table",
}
LOGICAL_IDS = {
    name: expected
    for name in vars(names)
    for ending, expected in TYPES.items()
    if name.isupper() and name.endswith(ending)
}
# What a preset's template may lack, to the setting that asks for it.
ASKED_FOR = {
    **dict.fromkeys(("ENCRYPTION_KEY", "ENCRYPTION_KEY_NAME", "KEY_NAME"), "customer_key"),
    "DOMAIN": "domain_name",
    "FIREWALL_ASSOCIATION": "firewall",
    "FAILED_RUNS_QUEUE": "failed_runs",
    "BACKUP_PLAN": "backup",
    "BACKUP_ROLE": "backup",
    **{name: "versions" for name in LOGICAL_IDS if name.endswith("_ALIAS")},
    **{name: "gateway_events" for name in LOGICAL_IDS if name.startswith("GATEWAY_EVENTS_")},
}
PARAMETERS = (
    *names.PARAMETER_FIELDS,
    names.TRANSACTIONS_TABLE_OVERRIDE,
    names.TRAFFIC_SHIFTING,
    names.DELETION_PROTECTION,
)
BASES = (
    *("TRANSACTIONS", "PROCESSING", "FAILED_TRANSACTIONS", "DEAD_LETTERS", "ALARMS"),
    *("PROCESSING_ERRORS", "KEY_NAME"),
)
OTHERS = {
    *("GATEWAY_EVENTS_PATH", "STOPPED_VARIABLE", "CANCEL_PATH", "NEED_NOT_BE"),
    *("LOG_GROUPS", "CONCURRENCIES", "LOOKUP_PATH", "IN_FLIGHT_INDEX", "IN_FLIGHT_KEYS"),
    *("STACK_NAME_PREFIX", "OPERATIONS_TABLE", "STAGE_NAME", "PARAMETER_FIELDS"),
    *("LIVE", "LIVE_ALIASES", "CANARY", "CANARY_ALARMS", "AT_ONCE"),
    *("ARTIFACT_BUCKET_OUTPUT", "TABLE_OUTPUT", "API_OUTPUT", "ARTIFACT_KEY"),
}


@EVERY_PRESET
@pytest.mark.parametrize("name", LOGICAL_IDS)
def test_a_logical_id_is_that_of_a_resource_of_its_type(name: str, preset: str) -> None:
    resources = TEMPLATES[preset]["Resources"]
    setting = ASKED_FOR.get(name)
    there = setting is None or PRESETS[preset].get(setting, False)
    found = resources.get(getattr(names, name), {}).get("Type")
    assert found == (LOGICAL_IDS[name] if there else None)


def test_the_parameters_are_those_of_the_templates() -> None:
    notified = load(**PRESETS["production"], gateway="acme.py:Acme", gateway_events=True)
    templates = [*TEMPLATES.values(), notified]
    every = {name for template in templates for name in template["Parameters"]}
    assert sorted(PARAMETERS) == sorted(every)
    assert set(names.PARAMETER_FIELDS.values()) <= set(FIELDS)


@EVERY_PRESET
def test_the_outputs_and_the_stage_are_those_of_the_template(preset: str) -> None:
    template = TEMPLATES[preset]
    assert {names.TABLE_OUTPUT, names.API_OUTPUT} <= set(template["Outputs"])
    assert template["Resources"][names.STAGE]["Properties"]["StageName"] == names.STAGE_NAME
    assert names.ARTIFACT_BUCKET_OUTPUT in document(build_bootstrap_template())["Outputs"]


@EVERY_PRESET
def test_the_stacks_own_table_is_named_by_the_suffix(preset: str) -> None:
    table = TEMPLATES[preset]["Resources"][names.TRANSACTIONS_TABLE]["Properties"]["TableName"]
    named = table["Fn::Sub"].replace(f"${{{names.ENVIRONMENT_SUFFIX}}}", "dev-001")
    assert named == names.own_table("dev-001")


@EVERY_PRESET
@pytest.mark.parametrize("base", BASES)
def test_a_base_name_is_that_of_a_resource(base: str, preset: str) -> None:
    suffixed = {"Fn::Sub": f"{getattr(names, base)}-${{{names.ENVIRONMENT_SUFFIX}}}"}
    given = [one.get("Properties", {}) for one in TEMPLATES[preset]["Resources"].values()]
    is_there = suffixed in [value for properties in given for value in properties.values()]
    assert is_there is (base not in ASKED_FOR or bool(PRESETS[preset].get(ASKED_FOR[base])))


@EVERY_PRESET
def test_a_log_group_is_named_after_its_function(preset: str) -> None:
    group = TEMPLATES[preset]["Resources"][names.PROCESSING_LOG_GROUP]["Properties"]["LogGroupName"]
    assert group["Fn::Sub"].startswith(f"{names.LOG_GROUPS}{names.PROCESSING}-")


@EVERY_PRESET
def test_the_path_of_a_look_up_is_the_apis(preset: str) -> None:
    resource = TEMPLATES[preset]["Resources"]["TransactionsResource"]["Properties"]
    assert resource["PathPart"] == names.LOOKUP_PATH


def test_every_name_is_held_to_the_template() -> None:
    every = {name for name in vars(names) if name.isupper()}
    of_parameters = {name for name in every if getattr(names, name) in PARAMETERS}
    assert every == {*LOGICAL_IDS, *of_parameters, *BASES, *OTHERS}


# What gives the names, and the table of AWS's limits on them, which test_config.py holds.
SOURCES = {"names.py", "template.py", "groups", "rules.py"}
PACKAGE = Path(names.__file__).parent
ELSEWHERE = [
    path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in SOURCES
]


@pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_name_of_the_template_is_spelled_elsewhere(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    texts = {
        node.value.strip("/-")
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not texts & {name for template in TEMPLATES.values() for name in given(template)}
    constants = {
        (node.targets[0].id, node.value.value)
        for node in nodes
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    assert not constants & {pair for pair in vars(names).items() if isinstance(pair[1], str)}


def given(template: Any) -> set[str]:
    """Return the logical ids, parameters and outputs of a template, and its base names."""
    suffix = f"-${{{names.ENVIRONMENT_SUFFIX}}}"
    values = (
        value["Fn::Sub"]
        for resource in template["Resources"].values()
        for value in resource.get("Properties", {}).values()
        if isinstance(value, dict) and isinstance(value.get("Fn::Sub"), str)
    )
    return {
        *(name for section in ("Resources", "Parameters", "Outputs") for name in template[section]),
        *(value.removesuffix(suffix) for value in values if value.endswith(suffix)),
    }
