from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payment_infra.artifacts import code_keys
from payment_infra.config import FIELDS, PRESETS, StackConfig
from payment_infra.errors import UsageError
from payment_infra.names import STACK_NAME_PREFIX
from payment_infra.rules import MAX_SUFFIX_LENGTH, NAME_LIMITS, SUFFIX_PATTERN, check_suffix
from payment_infra.sources import resolve
from payment_infra.template import build_template

# The longest name by resource type (the services' quotas pages and API references). A resource
# that is named after the suffix must have its type here.
LONGEST = {
    "AWS::SNS::Topic": 256,
    "AWS::DynamoDB::Table": 255,
    "AWS::SQS::Queue": 80,
    "AWS::Lambda::Function": 64,
    "AWS::Lambda::LayerVersion": 140,
    "AWS::Logs::LogGroup": 512,
    "AWS::Events::Rule": 64,
    "AWS::ApiGateway::RestApi": 1024,
    "AWS::CloudWatch::Alarm": 255,
    "AWS::CloudWatch::Dashboard": 255,
    "AWS::IAM::Role": 64,
    "AWS::IAM::ManagedPolicy": 128,
    "AWS::Scheduler::Schedule": 64,
}
LONGEST_STACK_NAME = 128
# What each kind of name may consist of, whatever its service.
NAME = r"[a-zA-Z0-9_./-]+"
BAD_SUFFIXES = (
    "A",
    "Dev",
    "dev-",
    "-dev",
    "a--b",
    "a_b",
    "a.b",
    "a b",
    "dev\n",
    "é",
    "²",
    "٣",
    "-",
)


def named_resources() -> dict[str, tuple[str, str]]:
    """Return for each physical name's base: its resource's type and logical id."""
    config = StackConfig(gateway="handlers.shared.acme:Acme", gateway_events=True)
    template = build_template(config, code_keys()).to_dict()
    names: dict[str, tuple[str, str]] = {}
    for logical_id, resource in template["Resources"].items():
        for key, value in resource["Properties"].items():
            if not (key.endswith("Name") and isinstance(value, dict) and "Fn::Sub" in value):
                continue
            if isinstance(value["Fn::Sub"], str) and "${EnvironmentSuffix}" in value["Fn::Sub"]:
                base = value["Fn::Sub"].removesuffix("-${EnvironmentSuffix}")
                assert "${" not in base
                names[base] = (resource["Type"], logical_id)
    return names


NAMES = named_resources()
suffixes = st.text("abz019-", min_size=1, max_size=MAX_SUFFIX_LENGTH + 2).filter(
    lambda text: check_suffix(text) is None
)


def test_the_template_names_what_the_design_lists() -> None:
    assert {
        *("payment-validation", "payment-processing", "health-monitor", "transactions"),
        *("failed-transactions", "failed-transactions-dlq", "payment-alarms", "payment-api"),
        *("payment-dashboard", "dynamodb-throttle", "api-latency", "validation-errors"),
        *("processing-errors", "payment-retry", "payment-dependencies"),
    } <= set(NAMES)


@pytest.mark.parametrize("base", NAMES)
def test_every_name_with_a_suffix_is_of_a_type_whose_limit_is_known(base: str) -> None:
    assert NAMES[base][0] in LONGEST


@pytest.mark.parametrize("base", NAME_LIMITS)
def test_every_name_that_counts_exists_with_this_limit(base: str) -> None:
    limit = LONGEST_STACK_NAME if base == STACK_NAME_PREFIX else LONGEST[NAMES[base][0]]
    assert NAME_LIMITS[base] == limit


@given(suffixes)
@example("a" * MAX_SUFFIX_LENGTH)
@example("-".join("a" * (MAX_SUFFIX_LENGTH // 2)))
def test_every_suffix_that_is_accepted_gives_names_that_aws_allows(suffix: str) -> None:
    for base, (kind, _) in NAMES.items():
        name = f"{base}-{suffix}"
        assert len(name) <= LONGEST[kind], name
        assert re.fullmatch(NAME, name)
    stack_name = f"{STACK_NAME_PREFIX}-{suffix}"
    assert re.fullmatch(r"[a-zA-Z][-a-zA-Z0-9]{0,127}", stack_name)


@given(st.text(max_size=40))
def test_the_template_accepts_a_suffix_exactly_when_the_command_does(suffix: str) -> None:
    pattern: str = SUFFIX_PATTERN
    # CloudFormation matches the whole value, as java.util.regex's matches() does.
    by_template = len(suffix) <= MAX_SUFFIX_LENGTH and re.fullmatch(pattern, suffix)
    assert (check_suffix(suffix) is None) == bool(by_template)


def test_a_suffix_has_at_most_thirty_characters() -> None:
    assert MAX_SUFFIX_LENGTH == 30
    assert check_suffix("a" * 30) is None
    assert check_suffix("a" * 31) == (
        "has 31 characters, at most 30 are allowed (it becomes part of names that AWS limits)"
    )


def test_a_suffix_is_not_empty() -> None:
    assert check_suffix("") == "must not be empty"


@pytest.mark.parametrize("suffix", BAD_SUFFIXES)
def test_a_suffix_is_lower_case_letters_and_digits_with_single_dashes_inside(suffix: str) -> None:
    problem = "must be lower-case letters and digits, with single dashes between them"
    assert check_suffix(suffix) == problem


@pytest.mark.parametrize("suffix", ["a", "0", "dev-001", "a-b-c", "pr-123-x"])
def test_a_usual_suffix_is_accepted(suffix: str) -> None:
    assert check_suffix(suffix) is None


@pytest.mark.parametrize("suffix", ["", "a" * 31, *BAD_SUFFIXES])
@pytest.mark.parametrize("source", ["flag", "variable"])
def test_no_source_gets_a_bad_suffix_in(source: str, suffix: str) -> None:
    flags = {"suffix": suffix} if source == "flag" else {}
    environ = {"PAYMENT_INFRA_SUFFIX": suffix} if source == "variable" else {}
    where = {"flag": "--suffix", "variable": "PAYMENT_INFRA_SUFFIX"}[source]
    with pytest.raises(UsageError) as refused:
        resolve(flags, environ)
    assert str(refused.value).startswith(f"{where}: {suffix!r} is not allowed: it ")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_only_fields_that_there_are_to_values_that_are_allowed(preset: str) -> None:
    assert set(PRESETS[preset]) <= set(FIELDS) - {"suffix", "bucket"}
    config: Any = resolve({"preset": preset}, {}).config
    assert {name: getattr(config, name) for name in PRESETS[preset]} == PRESETS[preset]


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"suffix", "bucket", "tags"}))
def test_a_default_keeps_its_own_fields_rule(name: str) -> None:
    rule = FIELDS[name].metadata["rule"]
    assert rule is None or rule(getattr(StackConfig(), name)) is None


def test_development_is_what_the_defaults_are_and_production_protects_the_data() -> None:
    assert resolve({}, {}).config == StackConfig()
    production = resolve({"preset": "production"}, {}).config
    assert production.retain_data
    assert production.deletion_protection


def test_settings_that_do_not_agree_are_told_by_the_flags_that_were_given() -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"preset": "production", "versions": False}, {})
    told = str(refused.value)
    assert told.startswith("snap_start (from preset production), versions (from --no-versions): ")
