from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from payment_infra import __version__
from payment_infra.artifacts import code_keys
from payment_infra.config import FIELDS, PRESETS, StackConfig
from payment_infra.names import PARAMETER_FIELDS
from payment_infra.record import (
    RECORDED,
    Record,
    authorization_of,
    charges_at,
    read_record,
)
from payment_infra.rendering import document, read_document, render
from payment_infra.sources import resolve
from payment_infra.template import build_template
from tests import settings

OTHER = StackConfig(
    preset="production",
    **{name: settings.OTHER[name] for name in RECORDED if name != "tags"},
    tags={"Ref": "a=b", "Team": "payments"},
)
SECRET = OTHER.gateway_secret
EVERY_CONFIG = pytest.mark.parametrize("config", [StackConfig(), OTHER], ids=["default", "other"])


def template(config: StackConfig, form: str = "json") -> Any:
    """Return a template as it is read from a stack, which got it as JSON or as YAML."""
    text = render(build_template(config, code_keys()), form)
    return json.loads(json.dumps(json.loads(text) if form == "json" else read_document(text)))


def without_record(config: StackConfig) -> Any:
    """Return a template as it was before there was a record."""
    old = template(config)
    del old["Resources"]["AlarmTopic"]["Metadata"]
    old["Metadata"]["PaymentInfra"] = {"Version": "0.0.9"}
    return old


@EVERY_CONFIG
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_what_is_recorded_is_read_again(config: StackConfig, form: str) -> None:
    record = read_record(template(config, form))
    assert (record.version, record.preset) == (__version__, config.preset)
    assert record.values == {name: getattr(config, name) for name in RECORDED}


def test_no_setting_is_tried_with_its_default_alone() -> None:
    assert list(settings.OTHER) == list(FIELDS)
    for name, value in settings.OTHER.items():
        assert value != getattr(StackConfig(), name)


def test_a_stack_holds_every_setting_as_parameter_record_or_attribute_of_its_own() -> None:
    assert {*RECORDED, *PARAMETER_FIELDS.values(), "termination_protection"} == set(FIELDS)


@pytest.mark.parametrize("name", RECORDED)
def test_each_recorded_setting_alone_changes_a_resource(name: str) -> None:
    changed = replace(StackConfig(), **{name: getattr(OTHER, name)})
    before = document(build_template(StackConfig(), code_keys()))["Resources"]["AlarmTopic"]
    after = document(build_template(changed, code_keys()))["Resources"]["AlarmTopic"]
    assert before["Metadata"] != after["Metadata"]


def test_the_preset_is_recorded_even_where_it_changes_nothing_else() -> None:
    named = {name: getattr(StackConfig(), name) for name in PRESETS["production"]}
    same = resolve({"preset": "production", **named}, {}).config
    before, after = (
        document(build_template(one, code_keys()))["Resources"] for one in (StackConfig(), same)
    )
    assert [name for name in before if before[name] != after[name]] == ["AlarmTopic"]
    assert read_record({"Resources": after}).preset == "production"


@EVERY_CONFIG
def test_without_a_record_the_resources_say_what_money_access_and_protection_hang_on(
    config: StackConfig,
) -> None:
    names: tuple[str, ...] = ("gateway", "gateway_secret", "payment_access", "authorization")
    names += ("retain_data", "customer_key", "deletion_protection")
    names += ("permissions_boundary", "role_path", "role_prefix")
    names += ("endpoint_type", "endpoint_access_mode", "health_access")
    names += ("allowed_accounts", "allowed_vpc_endpoints", "vpc_endpoints", "allowed_cidrs")
    names += ("domain_name", "domain_certificate", "domain_truststore", "execute_api_endpoint")
    names += ("firewall",)
    names += ("subnets", "security_groups")
    expected = {name: getattr(config, name) for name in names}
    assert read_record(without_record(config)) == Record("0.0.9", "", expected)


def test_a_template_of_nothing_records_nothing() -> None:
    assert read_record({}) == Record()
    assert (charges_at({}), authorization_of({})) == (None, "")


@EVERY_CONFIG
def test_the_gateway_and_the_authorization_are_those_of_the_resources(config: StackConfig) -> None:
    lying = template(config)
    lying["Resources"]["AlarmTopic"]["Metadata"]["PaymentInfra"] |= {
        "gateway": "handlers.shared.other:Other",
        "authorization": "other",
    }
    found = charges_at(lying), authorization_of(lying)
    assert found == ((config.gateway, config.gateway_secret), config.authorization)


def test_of_a_file_its_name_is_recorded_and_not_where_it_is() -> None:
    paths = {"gateway": "/home/me/acme.py:Acme", "gateway_requirements": "../locks/acme.txt"}
    found = template(resolve(paths, {}).config)
    recorded = found["Resources"]["AlarmTopic"]["Metadata"]["PaymentInfra"]
    expected = {"gateway": "acme.py:Acme", "gateway_requirements": "acme.txt"}
    assert {name: recorded[name] for name in paths} == expected
    assert {name: read_record(found).values[name] for name in paths} == expected
    assert "home" not in json.dumps(found)
    assert charges_at(found) == ("acme.py:Acme", "")


GATEWAY = ("Properties", "Environment", "Variables", "GATEWAY")


@pytest.mark.parametrize(
    ("name", "where", "value", "known"),
    [
        ("ProcessingFunction", GATEWAY, "acme:Acme", {"gateway": "acme.py:Acme"}),
        ("RetryFunction", GATEWAY, "acme:Acme", {"gateway": "acme.py:Acme"}),
        ("RetryFunction", GATEWAY, "handlers.shared.a:B", {"gateway": "handlers.shared.a:B"}),
        ("ProcessingFunction", GATEWAY, {"Ref": "G"}, {"gateway": "{'Ref': 'G'}"}),
        (
            "ProcessingFunction",
            (*GATEWAY[:-1], "GATEWAY_SECRET_ARN"),
            SECRET,
            {"gateway_secret": SECRET},
        ),
        (
            "ProcessingFunction",
            (*GATEWAY[:-1], "PAYMENT_ACCESS"),
            "account",
            {"payment_access": "account"},
        ),
        (
            "ProcessMethod",
            ("Properties", "AuthorizationType"),
            "CUSTOM",
            {"authorization": "none"},
        ),
        ("TransactionsTable", ("DeletionPolicy",), "Retain", {"retain_data": True}),
        ("TransactionsTable", ("DeletionPolicy",), "RetainExceptOnCreate", {"retain_data": True}),
        ("FailedTransactionsDLQ", ("DeletionPolicy",), "Retain", {"retain_data": True}),
        *(
            (
                "TransactionsTable",
                ("Properties", "DeletionProtectionEnabled"),
                value,
                {"deletion_protection": True},
            )
            for value in (True, "true")
        ),
        (
            "ProcessingRole",
            ("Properties", "PermissionsBoundary"),
            OTHER.permissions_boundary,
            {"permissions_boundary": OTHER.permissions_boundary},
        ),
        ("ProcessingRole", ("Properties", "Path"), "/other/", {"role_path": "/other/"}),
    ],
)
def test_what_was_changed_by_hand_counts_more_than_the_record(
    name: str, where: tuple[str, ...], value: object, known: dict[str, object]
) -> None:
    changed = template(StackConfig())
    before = read_record(changed).values
    inner = changed["Resources"][name]
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    assert read_record(changed).values == {**before, **known}


def test_a_record_of_a_later_release_is_read_as_far_as_it_is_known() -> None:
    later = template(OTHER)
    later["Resources"]["AlarmTopic"]["Metadata"]["PaymentInfra"] = {
        "version": "9.0.0",
        "preset": "staging",
        "gateway": "simulated",
        "authorization": ["iam", "oauth"],
        "retain_data": "yes",
        "tags": {"Team": "payments"},
        "moon": "full",
    }
    assert read_record(later) == Record(
        "9.0.0",
        "staging",
        {
            # What is left out is as this release has it; what has another type is not known.
            **{name: getattr(StackConfig(), name) for name in RECORDED if name != "tags"},
            "gateway": OTHER.gateway,
            "gateway_secret": SECRET,
            "payment_access": "account",
            "authorization": "none",
            **{
                name: getattr(OTHER, name)
                for name in (
                    *("endpoint_type", "endpoint_access_mode", "health_access", "allowed_cidrs"),
                    *("allowed_accounts", "allowed_vpc_endpoints", "vpc_endpoints"),
                    *("subnets", "security_groups"),
                    *("domain_name", "domain_certificate", "domain_truststore"),
                    "execute_api_endpoint",
                )
            },
            "firewall": True,
            "retain_data": True,
            "customer_key": True,
            "deletion_protection": True,
            "permissions_boundary": OTHER.permissions_boundary,
            "role_path": OTHER.role_path,
            "role_prefix": OTHER.role_prefix,
        },
    )
