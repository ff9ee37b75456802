"""What the production template suppresses: each on one resource, for a reason, and no more."""

import json
from collections.abc import Iterator

import pytest

from payment_infra.config import PRESETS
from payment_infra.groups.suppressions import SUPPRESSIONS
from tests.audit.__main__ import RECORD, production
from tests.audit.checkers import TRIVY, Finding, suppressed_in
from tests.unit.template import load, walk

# Words by which one knows what a rule is about: encryption, logging, backups, least privilege.
NEVER = (
    *("encrypt", "kms", "cmk", "ssl", "tls", "certificate", "log ", "logging", "trace", "x-ray"),
    *("backup", "point-in-time", "recovery", "admin", "privilege", "wildcard", "managed polic"),
)
# A cache of the API would have to be encrypted; what the rule asks for is the cache.
ABOUT_THE_CACHE = "APIGWCacheEnabledAndEncrypted"
# What AWS leaves no narrower way for; the last tests show that no more is suppressed.
IAM4 = (
    "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
    "AmazonAPIGatewayPushToCloudWatchLogs]"
)
IAM5 = "AwsSolutions-IAM5[Resource::*]"
# The actions for which one must "specify all resources": Service Authorization Reference, "Actions,
# resources, and condition keys for AWS X-Ray" and "... for Amazon CloudWatch".
WITHOUT_RESOURCES = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "cloudwatch:GetMetricData",
}


def suppressed() -> list[Finding]:
    return list(suppressed_in(json.loads(production())))


def recorded() -> Iterator[tuple[str, str]]:
    """Yield rule and resource of each finding that the last audit found suppressed."""
    for rule, one in json.loads(RECORD.read_text()).items():
        yield from ((rule, resource) for resource in one["resources"])


def test_each_suppression_suppresses_what_the_audit_found() -> None:
    # Trivy is not on every machine.
    found = sorted((one.rule, one.resource) for one in suppressed() if one.checker != TRIVY)
    assert found == sorted(recorded()), "run make audit"


def test_each_suppression_has_a_sentence_as_its_reason() -> None:
    for one in suppressed():
        assert one.reason[0].isupper(), one
        assert one.reason.endswith("."), one
        assert len(one.reason.split()) > 5, one


def test_each_resource_of_a_suppression_exists() -> None:
    asked_for = {"gateway": "handlers.shared.acme:Acme", "gateway_events": True}
    resources = load(**{**PRESETS["production"], **asked_for})["Resources"]
    assert {name for one in SUPPRESSIONS for name in one.resources} <= resources.keys()


def test_nothing_is_suppressed_for_the_whole_template() -> None:
    assert json.loads(production())["Metadata"].keys() == {"AWS::CloudFormation::Interface"}


def test_no_rule_about_encryption_logging_or_backups_is_suppressed() -> None:
    for rule, one in json.loads(RECORD.read_text()).items():
        if (
            ABOUT_THE_CACHE not in rule
            and rule != IAM4
            and not rule.startswith(IAM5.split("[", maxsplit=1)[0])
        ):
            assert not [word for word in NEVER if word in one["says"].lower()], rule


def test_all_resources_are_suppressed_only_where_an_action_knows_none() -> None:
    template = json.loads(production())
    suppressing = {one.resource for one in suppressed() if one.rule == IAM5}
    for name, resource in template["Resources"].items():
        for path, value in walk(resource["Properties"]):
            if path[-1:] == ("Statement",) and resource["Type"].startswith("AWS::IAM::"):
                wide = {
                    action
                    for statement in value
                    if "*" in statement.get("Resource", [])
                    for action in statement["Action"]
                }
                assert wide <= WITHOUT_RESOURCES, name
                assert bool(wide) == (name in suppressing), name


def test_a_managed_policy_of_aws_is_suppressed_only_on_the_role_of_the_region() -> None:
    assert [one.resource for one in suppressed() if "IAM4" in one.rule] == [
        "PaymentAPICloudWatchRole"
    ]


@pytest.mark.parametrize(
    "fields",
    [{}, {**PRESETS["production"], "suppressions": False}],
    ids=["development", "production without"],
)
def test_a_template_says_nothing_of_checkers_unless_it_is_to(fields: dict[str, object]) -> None:
    assert list(suppressed_in(load(**fields))) == []
