from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.preflight import CHECKS, MIN_CONCURRENCY, Check, check_all
from payment_infra.cloud.release import Plan, plan
from payment_infra.sources import resolve
from tests.aws import FakeAws, FakeBucket, Refused

if TYPE_CHECKING:
    from tests.stacks import Answer


LOOKUPS = {
    "dynamodb:DescribeTable",
    "sqs:GetQueueUrl",
    "logs:DescribeLogGroups",
}


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws(buckets={"zips": FakeBucket()})


def planned(aws: FakeAws, **flags: object) -> Plan:
    resolved = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
    return plan(aws.session(), None, resolved, {})


def checks(
    aws: FakeAws, *, creates: bool = True, skip: tuple[str, ...] = (), **flags: object
) -> dict[str, Check]:
    made = check_all(aws.session(), planned(aws, **flags), creates=creates, skip=skip)
    return {one.name: one for one in made}


def test_a_first_deployment_into_an_empty_account_is_fine_and_only_read(aws: FakeAws) -> None:
    assert {one.level for one in checks(aws).values()} == {"ok"}
    assert aws.changes() == []


def test_an_update_looks_for_no_names_and_no_quotas(aws: FakeAws) -> None:
    assert tuple(checks(aws, creates=False)) == CHECKS
    services = {name.split(":")[0] for name, _ in aws.calls}
    assert services <= {"sts", "s3", "cloudformation", "apigateway"}


@pytest.mark.parametrize("skipped", CHECKS)
def test_each_check_can_be_skipped(skipped: str, aws: FakeAws) -> None:
    assert tuple(checks(aws, skip=(skipped,))) == tuple(one for one in CHECKS if one != skipped)


def test_a_bucket_that_is_not_there_is_a_failure(aws: FakeAws) -> None:
    aws.buckets.clear()
    assert checks(aws)["bucket"].message == "bucket zips does not exist; check --bucket"
    assert checks(aws, bucket=None)["bucket"].level == "ok"


def test_a_template_that_cloudformation_refuses_is_a_failure(aws: FakeAws) -> None:
    aws.errors["cloudformation:ValidateTemplate"] = Refused("ValidationError", "unresolved Ref")
    check = checks(aws)["template"]
    assert (check.level, "unresolved Ref" in check.message) == ("fail", True)


def test_a_template_that_needs_more_capabilities_is_a_failure(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def validated(_: Answer) -> Answer:
        return {"Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]}

    monkeypatch.setattr(aws, "validate_template", validated)
    assert checks(aws)["template"].message == "the template needs CAPABILITY_NAMED_IAM"


@pytest.mark.parametrize(
    ("operation", "answer", "name"),
    [
        ("dynamodb:DescribeTable", {"Table": {}}, "transactions-dev"),
        ("sqs:GetQueueUrl", {"QueueUrl": "url"}, "failed-transactions-dev"),
        (
            "logs:DescribeLogGroups",
            {"logGroups": [{"logGroupName": "/aws/lambda/payment-validation-dev"}]},
            "/aws/lambda/payment-validation-dev",
        ),
    ],
)
def test_a_name_that_is_taken_is_named(
    operation: str, answer: Answer, name: str, aws: FakeAws
) -> None:
    aws.answers[operation] = answer
    check = checks(aws)["names"]
    assert check.level == "fail"
    assert name in check.message
    assert "--suffix" in check.message


def test_a_lookup_that_is_not_allowed_hides_no_name_that_is_taken(aws: FakeAws) -> None:
    aws.answers["dynamodb:DescribeTable"] = {"Table": {}}
    aws.errors["sqs:GetQueueUrl"] = Refused("AccessDenied", "no")
    check = checks(aws)["names"]
    assert (check.level, "transactions-dev" in check.message) == ("fail", True)


def test_names_follow_the_parameters_that_are_deployed(aws: FakeAws) -> None:
    found = planned(aws)
    values = {**found.parameters, "EnvironmentSuffix": "other"}
    check_all(aws.session(), replace(found, parameters=values), creates=True)
    assert aws.called("dynamodb:DescribeTable") == [{"TableName": "transactions-other"}]


def test_every_named_resource_that_can_be_in_the_way_is_looked_for_once(aws: FakeAws) -> None:
    checks(aws)
    looked = [name for name, _ in aws.calls]
    assert {name: looked.count(name) for name in looked if name in LOOKUPS} == {
        "dynamodb:DescribeTable": 1,
        "sqs:GetQueueUrl": 2,
        "logs:DescribeLogGroups": 5,
    }


def test_a_log_group_whose_name_only_begins_alike_is_none_of_ours(aws: FakeAws) -> None:
    group = {"logGroupName": "/aws/lambda/payment-validation-dev-2"}
    aws.answers["logs:DescribeLogGroups"] = {"logGroups": [group]}
    assert checks(aws)["names"].level == "ok"


def test_too_little_concurrency_is_a_warning(aws: FakeAws) -> None:
    few = {"AccountLimit": {"UnreservedConcurrentExecutions": MIN_CONCURRENCY - 1}}
    aws.answers["lambda:GetAccountSettings"] = few
    check = checks(aws)["quotas"]
    assert (check.level, "only 49 executions at once" in check.message) == ("warn", True)


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("cloudformation:ValidateTemplate", "template"),
        ("dynamodb:DescribeTable", "names"),
        ("lambda:GetAccountSettings", "quotas"),
    ],
)
@pytest.mark.parametrize("code", ["AccessDeniedException", "InvalidAction"])
def test_a_check_that_may_not_be_made_is_a_warning(
    code: str, operation: str, name: str, aws: FakeAws
) -> None:
    aws.errors[operation] = Refused(code, "no")
    check = checks(aws)[name]
    assert check.level == "warn"
    assert check.message.startswith(f"the check {name} could not be made: ")
