from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_infra.config import PRESETS
from payment_infra.difference import (
    CodeChange,
    Difference,
    ParameterChange,
    as_json,
    compare,
    compare_all,
    compare_code,
    compare_parameters,
    property_changes,
)
from payment_infra.grants import broadens, compare_grants
from payment_infra.rendering import describe
from tests.unit.template import load

TEMPLATE = load()
TEXTS = st.text(st.characters(codec="ascii"), max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.text(min_size=1, max_size=3), VALUES, max_size=4)


def changed(**resources: Any) -> Any:
    """Return the template with properties of resources set."""
    template = copy.deepcopy(TEMPLATE)
    for name, properties in resources.items():
        template["Resources"][name]["Properties"].update(properties)
    return template


@given(DOCUMENTS)
def test_a_template_does_not_differ_from_itself(document: Any) -> None:
    assert compare(document, copy.deepcopy(document)) == ()


@given(DOCUMENTS, DOCUMENTS)
def test_templates_that_differ_are_told_apart(old: Any, new: Any) -> None:
    # None stands for what is absent, so a value that is null and one that is not there are alike.
    if json.dumps(without_null(old), sort_keys=True) != json.dumps(
        without_null(new), sort_keys=True
    ):
        assert compare(old, new)


def without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_null(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        kept = [without_null(one) for one in value]
        while kept and kept[-1] is None:
            kept.pop()
        return kept
    return value


def test_a_difference_has_its_path_and_both_values() -> None:
    new = changed(ValidationFunction={"MemorySize": 512})
    path = ("Resources", "ValidationFunction", "Properties", "MemorySize")
    assert compare(TEMPLATE, new) == (Difference(path, 256, 512),)


def test_a_resource_that_goes_is_one_difference() -> None:
    new = copy.deepcopy(TEMPLATE)
    gone = new["Resources"].pop("AlarmTopic")
    [difference] = compare(TEMPLATE, new)
    assert difference == Difference(("Resources", "AlarmTopic"), gone, None)


def test_the_defaults_of_parameters_are_compared_as_values_only() -> None:
    assert compare(load(), load(suffix="dev", throttle_rate_limit=5)) == ()


def test_elements_are_compared_by_their_name_where_they_have_one() -> None:
    old = {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}
    new = {"Tags": [{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "3"}]}
    assert compare(old, new) == (Difference(("Tags", "a", "Value"), "1", "3"),)


def test_what_cloudformation_answers_for_what_is_not_ascii_is_no_difference() -> None:
    new = {"Tags": [{"Key": "Équipe", "Value": "支払い 𠮷"}], "Map": {"Équipe": {"Ref": "A"}}}
    old = {"Tags": [{"Key": "?quipe", "Value": "??? ?"}], "Map": {"?quipe": {"Ref": "A"}}}
    assert compare(old, new) == ()
    new["Tags"][0]["Value"] = "支払 𠮷"  # type: ignore[index]
    path = ("Tags", "Équipe", "Value")
    assert compare(old, new) == (Difference(path, "??? ?", "支払 𠮷"),)
    # What was answered whole is compared whole.
    assert compare({"Tag": "é"}, {"Tag": "ü"}) == (Difference(("Tag",), "é", "ü"),)
    assert compare({"?": 1, "é": 2}, {"é": 2}) == (Difference(("?",), 1, None),)


def test_code_is_compared_by_digest() -> None:
    old, new = copy.deepcopy(TEMPLATE), copy.deepcopy(TEMPLATE)
    code = new["Resources"]["RetryFunction"]["Properties"]["Code"]
    code["S3Key"] = f"payment-infra/retry/{'0' * 64}.zip"
    digest = old["Resources"]["RetryFunction"]["Properties"]["Code"]["S3Key"].split("/")[2][:12]
    assert compare(old, new) == ()
    assert compare_code(old, new) == (CodeChange("RetryFunction", digest, "0" * 12),)
    assert property_changes(old, new) == {
        "RetryFunction": (Difference(("code",), digest, "0" * 12),)
    }


def test_a_parameter_that_is_kept_does_not_differ_and_a_hidden_one_is_not_shown() -> None:
    old = {"Kept": "1", "Changed": "1", "Secret": "1", "Gone": "1"}
    new = {"Kept": None, "Changed": "2", "Secret": "2", "Added": "3"}
    assert compare_parameters(old, new, frozenset({"Secret"})) == (
        ParameterChange("Changed", "1", "2"),
        ParameterChange("Secret", "****", "****"),
        ParameterChange("Gone", "1", None),
        ParameterChange("Added", None, "3"),
    )


def test_the_presets_differ_in_what_they_are_for() -> None:
    comparison = compare_all(load(), load(**PRESETS["production"]), {}, {})
    paths = {".".join(one.path) for one in comparison.template}
    table = "Resources.TransactionsTable"
    assert f"{table}.DeletionPolicy" in paths
    assert f"{table}.Properties.DeletionProtectionEnabled" in paths
    assert {one.actions for one in comparison.grants if one.role == "EncryptionKey"} >= {
        ("kms:Decrypt", "kms:GenerateDataKey")
    }
    assert not comparison.same
    assert json.loads(json.dumps(as_json(comparison)))["same"] is False


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (5, "5"),
        (True, "true"),
        ({"Ref": "Topic"}, "!Ref Topic"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "!GetAtt Queue.Arn"),
        ({"Fn::Sub": "a-${B}"}, "!Sub a-${B}"),
        ({"Fn::Sub": ["a-${B}", {"B": {"Ref": "C"}}]}, "!Sub a-${B} (B: !Ref C)"),
        ({"Fn::If": ["Yes", {"Ref": "A"}, "b"]}, "!If [Yes, !Ref A, b]"),
        ([1, {"Ref": "A"}], '[1, {"Ref": "A"}]'),
    ],
)
def test_values_are_described_as_in_yaml(value: Any, text: str) -> None:
    assert describe(value) == text


# Grants.


def with_statement(role_policy: str, **changes: Any) -> Any:
    template = copy.deepcopy(TEMPLATE)
    document = template["Resources"][role_policy]["Properties"]["PolicyDocument"]
    document["Statement"][0].update(changes)
    return template


def test_every_statement_of_the_template_is_a_grant() -> None:
    grants = compare_grants({}, TEMPLATE)
    assert all(one.added for one in grants)
    rows = {(one.role, one.actions, one.resources) for one in grants}
    assert (
        "ValidationRole",
        ("sqs:SendMessage",),
        ("!GetAtt FailedTransactionsQueue.Arn",),
    ) in rows
    assert ("ValidationRole", ("sts:AssumeRole",), ("lambda.amazonaws.com",)) in rows
    assert "AlarmTopicPolicy" in {one.role for one in grants}
    assert "PaymentCallerPolicy" in {one.role for one in grants}


def test_the_order_of_actions_is_no_change() -> None:
    actions = TEMPLATE["Resources"]["RetryPolicy"]["Properties"]["PolicyDocument"]["Statement"][0][
        "Action"
    ]
    assert compare_grants(TEMPLATE, with_statement("RetryPolicy", Action=actions[::-1])) == ()


def test_the_order_of_a_condition_is_no_change() -> None:
    new = copy.deepcopy(TEMPLATE)
    policy = new["Resources"]["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]
    statement = policy["Statement"][0]
    statement["Condition"] = dict(reversed(statement["Condition"].items()))
    assert compare_grants(TEMPLATE, new) == ()


def test_more_actions_broaden_and_fewer_do_not() -> None:
    more = with_statement("ValidationPolicy", Action=["dynamodb:PutItem", "dynamodb:Scan"])
    changes = compare_grants(TEMPLATE, more)
    assert [(one.added, one.role) for one in changes] == [
        (False, "ValidationRole"),
        (True, "ValidationRole"),
    ]
    assert [one.actions for one in broadens(changes)] == [("dynamodb:PutItem", "dynamodb:Scan")]
    assert broadens(compare_grants(more, TEMPLATE)) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"Resource": "*"},
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
        {"Action": "dynamodb:*"},
    ],
)
def test_another_resource_condition_or_wildcard_broadens(change: Any) -> None:
    assert broadens(compare_grants(TEMPLATE, with_statement("ValidationPolicy", **change)))


def test_a_deny_that_goes_broadens_and_one_that_comes_does_not() -> None:
    denied = with_statement("ValidationPolicy")
    document = denied["Resources"]["ValidationPolicy"]["Properties"]["PolicyDocument"]
    document["Statement"].append({"Effect": "Deny", "Action": "s3:*", "Resource": "*"})
    assert broadens(compare_grants(TEMPLATE, denied)) == ()
    assert [one.effect for one in broadens(compare_grants(denied, TEMPLATE))] == ["Deny"]


def test_inline_and_foreign_policies_of_a_role_are_grants_too() -> None:
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"],
            "Policies": [
                {
                    "PolicyName": "inline",
                    "PolicyDocument": {
                        "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
                    },
                }
            ],
        },
    }
    grants = compare_grants({}, {"Resources": {"R": role}})
    assert [(one.role, one.actions) for one in grants] == [
        ("R", ("s3:*",)),
        ("R", ("arn:aws:iam::aws:policy/AdministratorAccess",)),
    ]
    assert len(broadens(grants)) == 2
