from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.destroying.destruction import check_protection, examine
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.config import PRESETS, StackConfig
from payment_infra.errors import AwsError
from payment_infra.record import build_record
from payment_infra.sources import DEFAULTS, resolve
from tests.queues import FakeQueues
from tests.tables import FakeTables

if TYPE_CHECKING:
    from tests.aws import FakeAws

COPY = "transactions-dev-20261124T100000Z"


@pytest.fixture
def tables() -> FakeTables:
    return FakeTables()


@pytest.fixture
def aws(aws: FakeAws, tables: FakeTables) -> FakeAws:
    aws.answers |= {**tables.answers(), **FakeQueues().answers()}
    [stack] = aws.stacks.values()
    stack.template = json.dumps(template())
    return aws


def template(config: StackConfig = DEFAULTS) -> Any:
    topic = {"Metadata": build_record(config)}
    return {"Resources": {"AlarmTopic": topic}, "Parameters": {}}


def found(aws: FakeAws) -> Environment:
    session = aws.session()
    stack = Stack(
        session.client("cloudformation"), "payment-infra-dev", lambda _: None, "--suffix dev"
    )
    return Environment.find(session, stack, "dev")


def test_restored_tables_are_kept_and_the_one_with_the_payments_is_told(
    aws: FakeAws, tables: FakeTables
) -> None:
    old = COPY.replace("10", "09")
    tables.add(old)
    tables.add(COPY, protected=True)
    [stack] = aws.stacks.values()
    stack.outputs["TransactionsTableName"] = COPY
    kept = {one.name: one for one in examine(found(aws)).kept}
    assert kept.keys() == {old, COPY}
    assert kept[COPY].reason.endswith("; payments are in it now")
    assert kept[old].reason.endswith("; payments are not in it")
    assert kept[old].command.startswith(f"aws dynamodb delete-table --table-name {old} ")
    assert [one.split()[2] for one in kept[COPY].command.split(" && ")] == [
        *("update-table", "wait", "delete-table"),
    ]
    assert aws.changes() == []


def test_what_lifts_the_protection_keeps_the_data_retained(
    aws: FakeAws, tables: FakeTables
) -> None:
    tables.add("TransactionsTable", protected=True)
    [stack] = aws.stacks.values()
    given: dict[str, Any] = {"gateway": "handlers.shared.acme:Acme", "authorization": "none"}
    config = StackConfig(preset="production", **given, **PRESETS["production"])  # type: ignore[arg-type]
    stack.protected, stack.template = True, json.dumps(template(config))
    environment = found(aws)
    with pytest.raises(AwsError) as refused:
        check_protection(environment, examine(environment), resolve({"suffix": "dev"}, {}))
    assert str(refused.value) == (
        "stack payment-infra-dev has termination protection and deletion protection; "
        "`payment-infra deploy --suffix dev --authorization none --gateway "
        "handlers.shared.acme:Acme --no-deletion-protection --no-termination-protection` lifts it"
    )


def test_what_the_stack_failed_to_make_is_not_taken_for_its_own(aws: FakeAws) -> None:
    [stack] = aws.stacks.values()
    stack.resources = {"Ours": "CREATE_COMPLETE", "Taken": "CREATE_FAILED"}
    stack.physical_ids = {"Ours": "/aws/lambda/ours", "Taken": "/aws/lambda/an-earlier-stacks"}
    stack.types = dict.fromkeys(stack.resources, "AWS::Logs::LogGroup")
    assert examine(found(aws)).log_groups == ("/aws/lambda/ours",)


def test_a_version_goes_with_its_function_and_is_not_told_as_kept(aws: FakeAws) -> None:
    [stack] = aws.stacks.values()
    kind = "AWS::Lambda::Version"
    stack.template = json.dumps(
        {
            "Resources": {
                **template()["Resources"],
                "RetryVersion1": {"Type": kind, "DeletionPolicy": "RetainExceptOnCreate"},
            },
            "Parameters": {},
        }
    )
    stack.resources = {"RetryVersion1": "CREATE_COMPLETE"}
    stack.physical_ids = {"RetryVersion1": "arn:aws:lambda:eu-central-1:1:function:retry:1"}
    stack.types = {"RetryVersion1": kind}
    destruction = examine(found(aws))
    assert destruction.goes == {kind: 1}
    assert destruction.kept == ()
