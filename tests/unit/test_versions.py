"""When a function is published anew, and what invokes what is published."""

from __future__ import annotations

import re
from typing import Any

import pytest
from troposphere.awslambda import Function

from payment_infra.artifacts import code_keys
from payment_infra.config import PRESETS, StackConfig
from payment_infra.groups.versions import NOT_PUBLISHED
from payment_infra.rendering import document
from payment_infra.template import build_template
from tests.unit.template import Evaluated, Json, load, of_type, walk

PUBLISHED = load(versions=True)
FUNCTIONS = ("Validation", "Processing", "Lookup", "Cancellation", "Retry", "HealthMonitor")
EVERY_FUNCTION = pytest.mark.parametrize("function", FUNCTIONS)
VERSION_ID = re.compile(r"(?P<function>[A-Za-z]+)Version[0-9a-f]{12}")
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:acme/key-AbCdEf"


def versions(template: Json) -> dict[str, str]:
    """Return function to the logical id of its version."""
    found = {}
    for name in of_type(template, "AWS::Lambda::Version"):
        match = VERSION_ID.fullmatch(name)
        assert match
        found[match["function"]] = name
    return found


def with_code(**keys: str) -> Json:
    return document(build_template(StackConfig(versions=True), {**code_keys(), **keys}))


def test_without_versions_there_are_none() -> None:
    kinds = {one["Type"] for one in load()["Resources"].values()}
    assert not kinds & {"AWS::Lambda::Version", "AWS::Lambda::Alias"}
    assert PRESETS["production"]["versions"] is True


def test_each_function_has_one_version_which_live_names() -> None:
    evaluated = Evaluated(PUBLISHED)
    assert set(versions(PUBLISHED)) == set(FUNCTIONS)
    for function, version in versions(PUBLISHED).items():
        alias = evaluated.resources[f"{function}Alias"]
        assert (alias["Name"], alias["FunctionName"]) == ("live", f"<{function}Function>")
        assert alias["FunctionVersion"] == f"<{version}.Version>"
        assert evaluated.resources[version]["FunctionName"] == f"<{function}Function>"


def test_whatever_invokes_a_function_invokes_live_and_may() -> None:
    evaluated = Evaluated(PUBLISHED)
    resources = evaluated.resources
    for prefix, function in (("Validate", "Validation"), ("Process", "Processing")):
        uri = resources[f"{prefix}Method"]["Integration"]["Uri"]
        assert uri.endswith(f"/functions/<{function}Alias>/invocations")
        assert resources[f"{prefix}Permission"]["FunctionName"] == f"<{function}Alias>"
    assert "<HealthMonitorAlias>" in resources["HealthMethod"]["Integration"]["Uri"]
    assert resources["HealthPermission"]["FunctionName"] == "<HealthMonitorAlias>"
    assert resources["RetryEventSource"]["FunctionName"] == "<RetryAlias>"
    [target] = resources["HealthMonitorSchedule"]["Targets"]
    assert target["Arn"] == "<HealthMonitorAlias>"
    assert resources["HealthMonitorSchedulePermission"]["FunctionName"] == "<HealthMonitorAlias>"


def test_a_stage_comes_to_an_alias_only_once_that_may_be_invoked() -> None:
    [deployment] = of_type(PUBLISHED, "AWS::ApiGateway::Deployment").values()
    permissions = {"ValidatePermission", "ProcessPermission", "HealthPermission"}
    assert permissions <= set(deployment["DependsOn"])


@pytest.mark.parametrize(
    "fields",
    [
        {"authorization": "none"},
        {"throttle_rate_limit": 5},
        {"alarm_email": "ops@example.com"},
        {"log_retention_days": 30},
        {"retain_data": True, "deletion_protection": True},
        {"tags": {"Team": "payments"}},
        {"suffix": "prod-eu", "bucket": "other"},
        {"manage_api_gateway_account": False},
        {"canary_percent": 10},
        {"permissions_boundary": "arn:aws:iam::123456789012:policy/boundary"},
    ],
)
def test_what_changes_no_function_publishes_none(fields: dict[str, Any]) -> None:
    assert versions(load(versions=True, **fields)) == versions(PUBLISHED)


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"runtime": "python3.14"}, set(FUNCTIONS)),
        ({"architecture": "x86_64"}, set(FUNCTIONS)),
        ({"snap_start": True}, set(FUNCTIONS)),
        ({"role_path": "/payments/"}, set(FUNCTIONS)),
        ({"role_prefix": "acme-"}, set(FUNCTIONS)),
        ({"payment_access": "account"}, {"Processing", "Lookup", "Cancellation", "Retry"}),
        (
            {"gateway": "handlers.shared.acme:Acme"},
            {"Validation", "Processing", "Cancellation", "Retry"},
        ),
        (
            {"gateway_secret": SECRET},
            {"Validation", "Processing", "Cancellation", "Retry"},
        ),
    ],
)
def test_what_changes_a_function_publishes_that_function(
    fields: dict[str, Any], changed: set[str]
) -> None:
    before, after = versions(PUBLISHED), versions(load(versions=True, **fields))
    assert {name for name in FUNCTIONS if before[name] != after[name]} == changed


def test_another_code_publishes_its_function_and_another_layer_publishes_all() -> None:
    before = versions(PUBLISHED)
    for keys, changed in (
        ({"retry": "functions/retry/other.zip"}, {"Retry"}),
        ({"dependencies": "layers/other.zip"}, set(FUNCTIONS)),
    ):
        after = versions(with_code(**keys))
        assert {name for name in FUNCTIONS if before[name] != after[name]} == changed


def published(evaluated: Evaluated, function: str) -> Json:
    properties = evaluated.resources[f"{function}Function"]
    return {name: value for name, value in properties.items() if name not in NOT_PUBLISHED}


# What changes by itself what a function has: another suffix is another function, and a zip of the
# same key in another bucket is the same code.
OF_THE_FUNCTION_ITSELF = {"EnvironmentSuffix", "ArtifactBucket"}


@EVERY_FUNCTION
def test_a_parameter_that_reaches_a_function_is_in_the_description_of_its_version(
    function: str,
) -> None:
    template = load(**PRESETS["production"])
    version = versions(template)[function]
    reached = set()
    for name, parameter in template["Parameters"].items():
        if name in OF_THE_FUNCTION_ITSELF:
            continue
        values = parameter.get("AllowedValues", [7, "another-value"])
        changed = [Evaluated(template, **{name: value}) for value in values]
        if len({str(published(one, function)) for one in changed}) > 1:
            reached.add(name)
            described = {one.resources[version]["Description"] for one in changed}
            assert len(described) == len(changed)
    assert reached == {"TransactionsTableOverride"}


@EVERY_FUNCTION
def test_the_description_is_the_active_table_which_always_fits(function: str) -> None:
    restored = Evaluated(PUBLISHED, TransactionsTableOverride="r" * 255)
    for evaluated in (Evaluated(PUBLISHED), restored):
        description = evaluated.resources[versions(PUBLISHED)[function]]["Description"]
        variables = evaluated.resources[f"{function}Function"]["Environment"]["Variables"]
        assert description == variables["TRANSACTIONS_TABLE"]
        assert len(description) <= 256  # AWS::Lambda::Version, Description


# Whose Ref and attributes an update leaves as they are, short of another name of theirs.
STABLE = {
    *("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::ApiGateway::RestApi"),
    *("AWS::Logs::LogGroup", "AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping"),
    "AWS::KMS::Key",
}


@EVERY_FUNCTION
def test_whatever_a_function_refers_to_stays_what_it_is_or_is_in_the_digest(function: str) -> None:
    template = load(**PRESETS["production"])
    resources = template["Resources"]
    referred = set()
    for path, value in walk(resources[f"{function}Function"]["Properties"]):
        if path and path[-1] == "Ref" and value in resources:
            referred.add(value)
        if path and path[-1] == "Fn::GetAtt":
            referred.add(value[0])
    others = {name for name in referred if resources[name]["Type"] not in STABLE}
    assert others == {f"{function}Role", "DependenciesLayer"}


def test_of_what_no_version_keeps_each_is_a_property_of_a_function() -> None:
    assert set(Function.props) >= NOT_PUBLISHED


def test_a_version_outlives_its_successors_update_but_not_a_failed_update_of_its_own() -> None:
    for name in of_type(PUBLISHED, "AWS::Lambda::Version"):
        version = PUBLISHED["Resources"][name]
        assert version["DeletionPolicy"] == "RetainExceptOnCreate"
        assert version["UpdateReplacePolicy"] == "Delete"


@EVERY_FUNCTION
def test_snap_start_is_of_published_versions_where_the_region_has_it(function: str) -> None:
    started = load(versions=True, snap_start=True)
    applied = {"ApplyOn": "PublishedVersions"}
    for partition, region, expected in (
        ("aws", "eu-central-1", applied),
        ("aws", "ap-southeast-5", applied),
        ("aws", "ap-southeast-6", None),
        ("aws", "ap-east-1", applied),
        ("aws", "ap-east-2", None),
        ("aws-cn", "cn-north-1", None),
        ("aws-us-gov", "us-gov-west-1", None),
    ):
        here = {"AWS::Partition": partition, "AWS::Region": region}
        evaluated = Evaluated(started, **here)
        assert evaluated.resources[f"{function}Function"].get("SnapStart") == expected
    assert "SnapStart" not in str(PUBLISHED)
