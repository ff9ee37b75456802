from __future__ import annotations

from dataclasses import replace
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.checks import Check
from payment_infra.cli import deploy
from payment_infra.cloud.deploying.preflight import CHECKS, check_all
from payment_infra.cloud.deploying.release import Plan, plan
from payment_infra.cloud.sdk.tables import unfit
from payment_infra.names import TRANSACTIONS_TABLE_OVERRIDE
from payment_infra.sources import resolve
from tests.aws import FakeAws, FakeBucket, Refused
from tests.breaking import in_order
from tests.items import IN_FLIGHT
from tests.tables import FakeTables

if TYPE_CHECKING:
    from tests.stacks import Answer


DEPLOY = "payment-infra deploy --suffix dev"
LIMIT_SECONDS = 60
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
    made = check_all(
        *(aws.session(), planned(aws, **flags)),
        creates=creates,
        command=DEPLOY,
        skip=skip,
        sleep=lambda _: None,
    )
    return {one.name: one for one in made}


def test_a_first_deployment_into_an_empty_account_is_fine_and_only_read(aws: FakeAws) -> None:
    assert {one.level for one in checks(aws).values()} == {"ok"}
    assert aws.changes() == []


def test_an_update_looks_for_no_names_and_no_quotas(aws: FakeAws) -> None:
    assert tuple(checks(aws, creates=False)) == CHECKS
    services = {name.split(":")[0] for name, _ in aws.calls}
    assert services <= {"sts", "s3", "cloudformation", "apigateway"}


def test_the_command_knows_each_check_and_no_other() -> None:
    assert deploy.CHECKS == CHECKS


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
        return {"Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]}

    monkeypatch.setattr(aws, "validate_template", validated)
    assert checks(aws)["template"].message == "the template needs CAPABILITY_AUTO_EXPAND"


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


REVERSED = {**IN_FLIGHT, "KeySchema": IN_FLIGHT["KeySchema"][::-1]}


def table_check(aws: FakeAws, imports: bool = False, **table: Any) -> Check:
    """Check a plan with the table `other` in the place of its own, or, to import, with that."""
    tables = FakeTables()
    name = "transactions-dev" if imports else "other"
    if table:
        status = table.pop("status", "ACTIVE")
        tables.add(name, **table).become(status)
    aws.answers |= tables.answers()
    found = planned(aws)
    override = {} if imports else {TRANSACTIONS_TABLE_OVERRIDE: "other"}
    found = replace(found, parameters={**found.parameters, **override})
    made = check_all(aws.session(), found, creates=True, command=DEPLOY, imports=imports)
    return next(one for one in made if one.name == "table")


@pytest.mark.parametrize("imports", [False, True])
def test_a_table_that_the_stack_does_not_make_must_fit(imports: bool, aws: FakeAws) -> None:
    assert table_check(aws, imports, key="transaction_id") == Check("table", "ok")
    assert aws.changes() == []


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "there is no table other in eu-central-1"),
        ({"status": "DELETING"}, "table other is DELETING, and not ACTIVE"),
        (
            {"key": "id"},
            "table other has the key id (S, HASH), and not transaction_id (S, HASH)",
        ),
        ({"indexes": []}, "table other has no index in-flight-index"),
        (
            {"indexes": [REVERSED]},
            "table other has an index in-flight-index with the key lease_expires_at (N, RANGE), "
            "in_flight (S, HASH), and not in_flight (S, HASH), lease_expires_at (N, RANGE)",
        ),
    ],
)
def test_a_table_that_cannot_hold_the_payments_is_a_failure(
    table: dict[str, Any], problem: str, aws: FakeAws
) -> None:
    check = table_check(aws, **table)
    advice = f"name another by --parameter {TRANSACTIONS_TABLE_OVERRIDE}=NAME"
    assert (check.level, check.message) == ("fail", f"{problem}; {advice}")


def test_an_index_that_is_still_being_made_is_a_failure(aws: FakeAws) -> None:
    made = FakeTables()
    made.add("other", indexes=[IN_FLIGHT])
    described = made.answers()["dynamodb:DescribeTable"]({"TableName": "other"})
    described["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"] = "CREATING"
    aws.answers["dynamodb:DescribeTable"] = described
    properties = planned(aws).template["Resources"]["TransactionsTable"]["Properties"]
    client = aws.session().client("dynamodb")
    assert unfit(client, "other", properties) == (
        "table other has an index in-flight-index that is CREATING, and not ACTIVE"
    )


def test_a_table_to_import_that_is_not_there_leaves_nothing_to_bring_back(aws: FakeAws) -> None:
    check = table_check(aws, imports=True)
    assert check.message.startswith("there is no table transactions-dev in eu-central-1; leave out")


def test_an_update_that_keeps_its_table_looks_at_none(aws: FakeAws) -> None:
    found = planned(aws)
    kept = replace(found, parameters={**found.parameters, TRANSACTIONS_TABLE_OVERRIDE: None})
    check_all(aws.session(), kept, creates=False, command=DEPLOY)
    assert aws.called("dynamodb:DescribeTable") == []


def test_names_follow_the_parameters_that_are_deployed(aws: FakeAws) -> None:
    found = planned(aws)
    values = {**found.parameters, "EnvironmentSuffix": "other"}
    check_all(aws.session(), replace(found, parameters=values), creates=True, command=DEPLOY)
    assert aws.called("dynamodb:DescribeTable") == [{"TableName": "transactions-other"}]


def test_every_named_resource_that_can_be_in_the_way_is_looked_for_once(aws: FakeAws) -> None:
    checks(aws)
    looked = [name for name, _ in aws.calls]
    assert {name: looked.count(name) for name in looked if name in LOOKUPS} == {
        "dynamodb:DescribeTable": 1,
        "sqs:GetQueueUrl": 2,
        "logs:DescribeLogGroups": 7,
    }


def test_names_are_looked_for_at_the_same_time(aws: FakeAws) -> None:
    both_asked = Barrier(2)

    def wait(_: Answer) -> Answer:
        both_asked.wait(LIMIT_SECONDS)
        raise Refused("AWS.SimpleQueueService.NonExistentQueue")

    aws.answers["sqs:GetQueueUrl"] = wait
    assert checks(aws)["names"].level == "ok"


def test_the_template_which_takes_longest_is_sent_before_any_other_check_begins(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_order(monkeypatch)
    checks(aws)
    asked = [name for name, _ in aws.calls]
    assert asked.index("cloudformation:ValidateTemplate") < asked.index("s3:HeadBucket")


def test_a_log_group_whose_name_only_begins_alike_is_none_of_ours(aws: FakeAws) -> None:
    group = {"logGroupName": "/aws/lambda/payment-validation-dev-2"}
    aws.answers["logs:DescribeLogGroups"] = {"logGroups": [group]}
    assert checks(aws)["names"].level == "ok"


@pytest.mark.parametrize(("free", "level"), [(49, "warn"), (50, "ok")])
def test_too_little_concurrency_is_a_warning(free: int, level: str, aws: FakeAws) -> None:
    limits = {"AccountLimit": {"UnreservedConcurrentExecutions": free}}
    aws.answers["lambda:GetAccountSettings"] = limits
    check = checks(aws)["quotas"]
    assert check.level == level
    assert ("only 49 executions at once" in check.message) == (level == "warn")


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


COPY = "transactions-dev-20261124T114500Z"
ALIAS = "alias/payment-infra-dev"


def key_check(aws: FakeAws, encrypted_by: str = "", **flags: object) -> Check:
    """Check an update that keeps the restored table, which has this key."""
    tables = FakeTables()
    tables.add(COPY, encrypted_by=encrypted_by)
    aws.answers |= tables.answers()
    found = planned(aws, **flags)
    kept = replace(found, parameters={**found.parameters, TRANSACTIONS_TABLE_OVERRIDE: None})
    [check] = check_all(
        aws.session(),
        kept,
        creates=False,
        command=DEPLOY,
        restored=COPY,
        skip=tuple(name for name in CHECKS if name != "key"),
    )
    return check


@pytest.mark.parametrize("customer_key", [True, False])
def test_a_restored_table_that_the_functions_could_no_longer_read_is_a_failure(
    aws: FakeAws, customer_key: bool
) -> None:
    other = aws.add_key("other")
    if customer_key:
        aws.add_key("k-1", ALIAS)
    check = key_check(aws, other, customer_key=customer_key)
    assert check.level == "fail"
    assert check.message.startswith(f"table {COPY} is encrypted with {other}, which the functions")
    wanted = f"Enabled=true,SSEType=KMS,KMSMasterKeyId={ALIAS}" if customer_key else "Enabled=false"
    assert f"--table-name {COPY} --sse-specification {wanted}" in check.message


def test_a_restored_table_with_the_key_of_the_stack_is_fine(aws: FakeAws) -> None:
    assert key_check(aws, aws.add_key("k-1", ALIAS), customer_key=True).level == "ok"


def test_a_restored_table_of_the_time_before_the_key_is_told_how_it_gets_it(aws: FakeAws) -> None:
    told = f"` gives it {ALIAS}, once this update has made that"
    check = key_check(aws, customer_key=True)  # the key is yet to be made
    assert (check.level, f"KMSMasterKeyId={ALIAS}" in check.message) == ("warn", True)
    assert told in check.message
    aws.add_key("k-1", ALIAS)
    check = key_check(aws, customer_key=True)
    assert (check.level, f"KMSMasterKeyId={ALIAS}" in check.message) == ("warn", True)
    assert told not in check.message
    assert key_check(aws).level == "ok"


def test_the_key_that_aws_manages_is_open_to_every_role_of_the_account(aws: FakeAws) -> None:
    arn = aws.add_key("aws-dynamodb")
    aws.keys[arn]["KeyManager"] = "AWS"
    assert key_check(aws, arn).level == "ok"


def test_a_key_of_the_stack_that_cannot_be_used_is_a_failure(aws: FakeAws) -> None:
    aws.add_key("k-1", ALIAS, state="Disabled")
    check = checks(aws, creates=False, customer_key=True)["key"]
    assert (check.level, "is Disabled" in check.message) == ("fail", True)
    assert checks(aws, creates=False)["key"].level == "ok"
