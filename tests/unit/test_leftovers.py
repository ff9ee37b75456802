"""What a cancelled creation leaves is removed, unless it holds something."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from payment_infra.artifacts import code_keys
from payment_infra.cloud.events import StackEvent
from payment_infra.cloud.sdk.session import Session
from payment_infra.cloud.stacks import leftovers
from payment_infra.rendering import document
from payment_infra.sources import resolve
from payment_infra.template import build_template
from tests.aws import FakeAws
from tests.queues import QUEUE, FakeQueues
from tests.stacks import Refused
from tests.tables import START, FakeTables

TABLE = "transactions-dev"


def skipped(resource_type: str, physical_id: str) -> StackEvent:
    moment = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    return StackEvent(
        "id", moment, "One", resource_type, "DELETE_SKIPPED", "", physical_id=physical_id
    )


@pytest.fixture
def tables() -> FakeTables:
    return FakeTables()


@pytest.fixture
def queues() -> FakeQueues:
    return FakeQueues()


@pytest.fixture
def aws(tables: FakeTables, queues: FakeQueues) -> FakeAws:
    answers = {**tables.answers(), **queues.answers()}
    return FakeAws(answers={**answers, "logs:DeleteLogGroup": {}})


def remove(aws: FakeAws, *kept: StackEvent) -> list[str]:
    stays = leftovers.remove(aws.session(), lambda _: None, kept, {"One"})
    return [one.physical_id for one in stays]


def test_an_empty_table_goes_protected_and_not_ready_yet_as_it_may_be(
    aws: FakeAws, tables: FakeTables
) -> None:
    tables.add(TABLE, protected=True).become("CREATING", 2)
    assert remove(aws, skipped("AWS::DynamoDB::Table", TABLE)) == []
    assert tables.standing() == {}


def test_a_table_with_a_payment_stays_as_it_is(aws: FakeAws, tables: FakeTables) -> None:
    tables.add(TABLE, protected=True).write(START, "one", {"transaction_id": {"S": "one"}})
    assert remove(aws, skipped("AWS::DynamoDB::Table", TABLE)) == [TABLE]
    assert aws.changes() == []


def test_a_queue_goes_unless_it_has_a_message(aws: FakeAws, queues: FakeQueues) -> None:
    queues.put("m", "{}", QUEUE)
    assert remove(aws, skipped("AWS::SQS::Queue", QUEUE)) == [QUEUE]
    assert aws.changes() == []
    queues.queues[QUEUE].messages.clear()
    assert remove(aws, skipped("AWS::SQS::Queue", QUEUE)) == []
    assert QUEUE not in queues.queues


def test_a_log_group_goes(aws: FakeAws) -> None:
    assert remove(aws, skipped("AWS::Logs::LogGroup", "/aws/lambda/one")) == []
    assert aws.called("logs:DeleteLogGroup") == [{"logGroupName": "/aws/lambda/one"}]


def test_a_key_goes_last_and_its_alias_with_it(aws: FakeAws, tables: FakeTables) -> None:
    tables.add(TABLE)
    kept = [skipped("AWS::KMS::Key", "key"), skipped("AWS::KMS::Alias", "alias/of-it")]
    assert remove(aws, *kept, skipped("AWS::DynamoDB::Table", TABLE)) == []
    assert aws.changes() == ["kms:DeleteAlias", "dynamodb:DeleteTable", "kms:ScheduleKeyDeletion"]
    assert aws.called("kms:ScheduleKeyDeletion") == [{"KeyId": "key"}]


def test_a_key_stays_while_anything_stays_that_it_could_encrypt(
    aws: FakeAws, tables: FakeTables
) -> None:
    tables.add(TABLE).write(START, "one", {"transaction_id": {"S": "one"}})
    kept = [skipped("AWS::KMS::Key", "key"), skipped("AWS::DynamoDB::Table", TABLE)]
    assert remove(aws, *kept) == [TABLE, "key"]
    assert aws.changes() == []


@pytest.mark.parametrize("kind", ["AWS::DynamoDB::Table", "AWS::Logs::LogGroup"])
def test_what_is_gone_already_is_in_nobodys_way(aws: FakeAws, kind: str) -> None:
    aws.errors["logs:DeleteLogGroup"] = Refused("ResourceNotFoundException")
    assert remove(aws, skipped(kind, "gone"), skipped(kind, "")) == []


def test_what_nobody_may_remove_or_knows_how_to_is_told(aws: FakeAws) -> None:
    aws.errors["logs:DeleteLogGroup"] = Refused("AccessDeniedException")
    kept = (skipped("AWS::Logs::LogGroup", "group"), skipped("AWS::S3::Bucket", "zips"))
    assert remove(aws, *kept) == ["group", "zips"]


def test_what_serves_the_whole_region_stays_and_is_in_nobodys_way(aws: FakeAws) -> None:
    kinds = ("AWS::ApiGateway::Account", "AWS::IAM::Role")
    assert remove(aws, *(skipped(kind, "shared") for kind in kinds)) == []
    assert aws.changes() == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [("AWS::DynamoDB::Table", TABLE), ("AWS::SQS::Queue", QUEUE), ("AWS::Logs::LogGroup", "group")],
)
def test_what_the_creation_has_not_made_itself_may_be_anothers_and_stays(
    aws: FakeAws, tables: FakeTables, kind: str, name: str
) -> None:
    tables.add(TABLE)
    stays = leftovers.remove(aws.session(), lambda _: None, [skipped(kind, name)], {"Another"})
    assert [one.physical_id for one in stays] == [name]
    assert aws.calls == []


REGION = "eu-central-1"
DETACH = (
    "aws iam detach-role-policy --role-name it --policy-arn arn:aws:iam::aws:policy/service-role/"
    f"AmazonAPIGatewayPushToCloudWatchLogs --region {REGION}"
)
ACCOUNT = (
    "aws apigateway update-account --patch-operations op=replace,path=/cloudwatchRoleArn,value="
)


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("AWS::DynamoDB::Table", f"aws dynamodb delete-table --table-name it --region {REGION}"),
        ("AWS::SQS::Queue", f"aws sqs delete-queue --queue-url it --region {REGION}"),
        ("AWS::Logs::LogGroup", f"aws logs delete-log-group --log-group-name it --region {REGION}"),
        ("AWS::ApiGateway::Account", f"{ACCOUNT} --region {REGION}"),
        ("AWS::IAM::Role", f"{DETACH} && aws iam delete-role --role-name it --region {REGION}"),
        ("AWS::KMS::Key", f"aws kms schedule-key-deletion --key-id it --region {REGION}"),
        ("AWS::KMS::Alias", f"aws kms delete-alias --alias-name it --region {REGION}"),
        ("AWS::S3::Bucket", ""),
    ],
)
def test_the_command_that_removes_a_resource_is_told_whole(kind: str, command: str) -> None:
    assert leftovers.removal_command(FakeAws().session(), kind, "it") == command


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_the_policy_that_is_detached_is_of_the_regions_partition(
    region: str, partition: str
) -> None:
    session = Session.open(None, region, "http://127.0.0.1:9")
    told = leftovers.removal_command(session, "AWS::IAM::Role", "it")
    assert f"--policy-arn arn:{partition}:iam::aws:policy/service-role/Amazon" in told


@pytest.mark.parametrize("preset", ["development", "production"])
def test_whatever_the_template_can_retain_can_be_removed(preset: str) -> None:
    flags = {"preset": preset, "suffix": "dev", "retain_data": True, "customer_key": True}
    flags["backup"] = True
    template = document(build_template(resolve(flags, {}).config, code_keys()))
    retained = {
        one["Type"]
        for one in template["Resources"].values()
        if one.get("DeletionPolicy") in {"Retain", "RetainExceptOnCreate"}
    }
    assert retained - leftovers.GOES_ALONG == set(leftovers.REMOVALS)
    assert {one for one in retained if leftovers.why_shared(one)} == {
        one for one, removal in leftovers.REMOVALS.items() if removal.remove is None
    }


def test_a_version_goes_with_its_function_and_keeps_no_key(aws: FakeAws) -> None:
    aws.answers["kms:ScheduleKeyDeletion"] = {}
    version = skipped("AWS::Lambda::Version", "arn:aws:lambda:eu-central-1:1:function:retry:1")
    assert remove(aws, version, skipped("AWS::KMS::Key", "key-1")) == []
    assert aws.changes() == ["kms:ScheduleKeyDeletion"]
