"""What an account asks of every role, and of nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from payment_infra.config import PRESETS
from payment_infra.errors import UsageError
from payment_infra.rules import check_role_path
from payment_infra.sources import resolve
from tests.unit.template import Evaluated, Json, load, of_type

BOUNDARY = "arn:aws:iam::123456789012:policy/security/payments-boundary"
RULES: dict[str, Any] = {
    "permissions_boundary": BOUNDARY,
    "role_path": "/payments/live/",
    "role_prefix": "acme-",
}
EVERY_PRESET = pytest.mark.parametrize("preset", PRESETS)


def roles(**fields: Any) -> dict[str, Json]:
    """Return the properties of every role by logical id."""
    template = load(**fields)
    evaluated = Evaluated(template)
    return {name: evaluated.resources[name] for name in of_type(template, "AWS::IAM::Role")}


@EVERY_PRESET
def test_every_role_has_the_boundary_the_path_and_a_name_with_the_prefix(preset: str) -> None:
    found = roles(**{**PRESETS[preset], **RULES})
    assert len(found) >= 5
    for name, role in found.items():
        assert role["PermissionsBoundary"] == BOUNDARY
        assert role["Path"] == "/payments/live/"
        assert role["RoleName"].startswith(f"acme-{name}-")
        assert role["RoleName"].endswith("-51af3dc0")


@EVERY_PRESET
def test_without_rules_no_role_says_any_of_it(preset: str) -> None:
    for role in roles(**PRESETS[preset]).values():
        assert not {"PermissionsBoundary", "Path", "RoleName"} & set(role)


@EVERY_PRESET
def test_the_rules_change_roles_and_what_is_recorded_and_nothing_else(preset: str) -> None:
    without, under = load(**PRESETS[preset]), load(**{**PRESETS[preset], **RULES})
    changed = {
        name
        for name, resource in under["Resources"].items()
        if resource["Properties"] != without["Resources"].get(name, {}).get("Properties")
        # A function with another role is published anew, and the canary watches that.
        and resource["Type"] not in {"AWS::Lambda::Version", "AWS::Lambda::Alias"}
        and not (resource["Type"] == "AWS::CloudWatch::Alarm" and "Canary" in name)
    }
    assert changed == set(of_type(under, "AWS::IAM::Role"))


@EVERY_PRESET
def test_the_longest_prefix_and_path_give_names_that_iam_takes(preset: str) -> None:
    prefix = "x" * 24
    resolve({"role_prefix": prefix, "role_path": "/p/"}, {})
    for role in roles(**{**PRESETS[preset], "role_prefix": prefix, "role_path": "/p/"}).values():
        # IAM API, CreateRole.
        assert len(role["RoleName"]) <= 64


def test_a_role_in_another_path_has_another_name_since_iam_has_no_two_of_one() -> None:
    names = [
        {role["RoleName"] for role in roles(role_prefix="acme-", role_path=path).values()}
        for path in ("/", "/one/", "/two/")
    ]
    assert not names[0] & names[1]
    assert not names[1] & names[2]
    assert not names[0] & names[2]


@EVERY_PRESET
def test_the_functions_trust_the_role_whatever_it_is_called(preset: str) -> None:
    template = load(**{**PRESETS[preset], **RULES})
    for function in of_type(template, "AWS::Lambda::Function").values():
        assert set(function["Properties"]["Role"]) == {"Fn::GetAtt"}
    assert "acme-" not in json.dumps(template["Resources"]["PaymentCallerPolicy"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("permissions_boundary", "payments-boundary"),
        ("permissions_boundary", "arn:aws:iam::123456789012:role/payments"),
        ("role_path", "payments"),
        ("role_path", "/payments"),
        ("role_path", "//"),
        ("role_path", "/a b/"),
        ("role_path", "/é/"),
        ("role_prefix", "acme/"),
        ("role_prefix", "x" * 25),
    ],
)
def test_what_iam_does_not_take_is_refused(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')}: "):
        resolve({name: value}, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("permissions_boundary", "arn:aws-us-gov:iam::aws:policy/PowerUserAccess"),
        ("permissions_boundary", "arn:aws-cn:iam::123456789012:policy/a/b"),
        ("role_path", "/"),
        ("role_path", "/a/b.c-d/"),
        ("role_prefix", "Acme_team+payments."),
    ],
)
def test_what_iam_takes_is_taken(name: str, value: str) -> None:
    assert getattr(resolve({name: value}, {}).config, name) == value


def test_a_path_is_as_long_as_iam_takes_it() -> None:
    assert check_role_path(f"/{'a' * 510}/") is None
    expected = "has 513 characters, at most 512 are allowed"
    assert check_role_path(f"/{'a' * 511}/") == expected
