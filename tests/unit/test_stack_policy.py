"""The protections that a deployment gives a stack once it stands, and lifts for an update only."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.deploying import forecast
from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.deploying.release import deploy_command, protect_commands
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.environment.findings import (
    find_missing_policy,
    find_unprotected_stack,
    find_unprotected_table,
)
from payment_infra.cloud.environment.locking import Lock
from payment_infra.cloud.environment.operations_table import OperationsTable
from payment_infra.cloud.environment.stack_policy import ITEM, LIFTED, POLICY, is_missing, wanted
from payment_infra.cloud.events import STATEFUL_TYPES, Caution, StackEvent
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import Interrupted, UsageError
from payment_infra.record import RECORD_HOLDER
from payment_infra.sources import resolve
from tests.aws import FakeAws, FakeBucket, Refused
from tests.operators import FakeOperator
from tests.stacks import own_event

if TYPE_CHECKING:
    from payment_infra.cloud.events import Event
    from payment_infra.cloud.sdk.session import Session

NAME = "payment-infra-dev"
PRODUCTION: dict[str, Any] = {"preset": "production", "gateway": "simulated"}
CHANGED = {**PRODUCTION, "tags": {"a": "b"}}
ALLOWED = DeployOptions(yes=True, allow=frozenset({"replace"}))
OWN = json.dumps({"Statement": [{**json.loads(POLICY)["Statement"][0], "Effect": "Deny"}]})


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws(buckets={"zips": FakeBucket()})


@pytest.fixture
def session(aws: FakeAws) -> Session:
    return aws.session()


@pytest.fixture
def replacing(session: Session, aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deploy production; from then on every change set replaces the table."""
    run(session, **PRODUCTION)
    describe = aws.describe_change_set

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        found = describe(params)
        for one in found.get("Changes", []):
            if one["ResourceChange"]["ResourceType"] == "AWS::DynamoDB::Table":
                one["ResourceChange"]["Replacement"] = "True"
        return found

    monkeypatch.setattr(aws, "describe_change_set", answer)


def stack_of(session: Session) -> Stack:
    return Stack(session.client("cloudformation"), NAME, lambda _: None, "--suffix dev")


def run(
    session: Session,
    options: DeployOptions | None = None,
    operator: FakeOperator | None = None,
    **flags: object,
) -> bool:
    resolved = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
    chosen = options or DeployOptions(yes=True)
    deployment = Deployment(
        session, stack_of(session), resolved, chosen, operator or FakeOperator()
    )
    return deployment.run().changed


def policies(aws: FakeAws) -> list[str]:
    """Return the policies that were set, and `execute` where a change set was executed."""
    names = ("cloudformation:SetStackPolicy", "cloudformation:ExecuteChangeSet")
    return [params.get("StackPolicyBody", "execute") for name, params in aws.calls if name in names]


def noted(session: Session) -> bool:
    """Whether something is noted that is to be put back."""
    return OperationsTable(session, lambda _: None).get(NAME, ITEM) is not None


def test_the_policy_forbids_replacing_and_deleting_what_holds_data_and_nothing_else() -> None:
    allow, deny = json.loads(POLICY)["Statement"]
    assert (allow["Effect"], allow["Action"], allow["Resource"]) == ("Allow", "Update:*", "*")
    assert (deny["Effect"], deny["Resource"]) == ("Deny", "*")
    assert set(deny["Action"]) == {"Update:Replace", "Update:Delete"}
    assert set(deny["Condition"]["StringEquals"]["ResourceType"]) == STATEFUL_TYPES
    assert {"AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::KMS::Key"} < STATEFUL_TYPES
    assert "AWS::Backup::BackupVault" in STATEFUL_TYPES


@pytest.mark.parametrize(
    ("has", "protects", "gets"),
    [
        ("", True, POLICY),
        (LIFTED, True, POLICY),
        (json.dumps(json.loads(LIFTED), indent=2), True, POLICY),
        (POLICY, True, None),
        (OWN, True, None),
        ("", False, None),
        (POLICY, False, LIFTED),
        (OWN, False, None),
    ],
)
def test_a_stack_gets_the_policy_unless_somebody_has_written_another(
    has: str, protects: bool, gets: str | None
) -> None:
    assert wanted(has, protects=protects) == gets
    assert is_missing(has) is ((protects and gets is not None) or has == "")


def test_production_is_created_without_protection_and_protected_directly_after(
    session: Session, aws: FakeAws
) -> None:
    assert run(session, **PRODUCTION)
    assert policies(aws) == ["execute", "execute", POLICY]
    create, update = aws.called("cloudformation:CreateChangeSet")
    [value] = [p for p in create["Parameters"] if p["ParameterKey"] == "DeletionProtection"]
    assert value["ParameterValue"] == "false"
    assert update["UsePreviousTemplate"] is True
    [value] = [p for p in update["Parameters"] if "ParameterValue" in p]
    assert (value["ParameterKey"], value["ParameterValue"]) == ("DeletionProtection", "true")
    assert aws.stacks[NAME].parameters["DeletionProtection"] == "true"
    assert not run(session, **PRODUCTION)


def test_a_table_is_left_unprotected_where_that_is_given_by_name(
    session: Session, aws: FakeAws
) -> None:
    options = DeployOptions(yes=True, parameters={"DeletionProtection": "false"})
    run(session, options, **PRODUCTION)
    assert aws.stacks[NAME].parameters["DeletionProtection"] == "false"


def test_a_creation_that_nobody_waits_for_says_what_it_lacks_and_the_next_deployment_does_it(
    session: Session, aws: FakeAws
) -> None:
    operator = FakeOperator()
    run(session, DeployOptions(yes=True, detach=True), operator, **PRODUCTION)
    assert [one.message for one in operator.of(Caution)] == [
        "once the stack is created, `payment-infra deploy --suffix dev` has to be repeated: only "
        "then is the table protected from deletion"
    ]
    aws.stacks[NAME].status = "CREATE_COMPLETE"
    assert run(session, **PRODUCTION)
    assert aws.stacks[NAME].parameters["DeletionProtection"] == "true"
    assert aws.stacks[NAME].policy == POLICY


def test_development_becomes_production_with_both_protections(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    assert (policies(aws), "DeletionProtection" in aws.stacks[NAME].parameters) == (
        ["execute"],
        False,
    )
    assert aws.called("cloudformation:GetStackPolicy") == []
    run(session, DeployOptions(yes=True, allow=frozenset({"broaden"})), **PRODUCTION)
    assert aws.stacks[NAME].parameters["DeletionProtection"] == "true"
    assert aws.stacks[NAME].policy == POLICY


def test_a_policy_that_is_missing_is_set_although_nothing_else_has_changed(
    session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION)
    aws.stacks[NAME].policy = LIFTED
    assert not run(session, **PRODUCTION)
    assert aws.stacks[NAME].policy == POLICY


def test_a_policy_of_ones_own_stays(session: Session, aws: FakeAws) -> None:
    run(session, **PRODUCTION)
    run(session, DeployOptions(yes=True, stack_policy=OWN), **CHANGED)
    assert aws.stacks[NAME].policy == OWN
    assert not run(session, **CHANGED)
    assert aws.stacks[NAME].policy == OWN


def test_the_protection_ends_by_name_alone(session: Session, aws: FakeAws) -> None:
    run(session, **PRODUCTION)
    with pytest.raises(UsageError, match="replacement_protection from true to false"):
        run(session, gateway="simulated", preset="development", retain_data=True)
    run(session, **PRODUCTION, replacement_protection=False)
    assert aws.stacks[NAME].policy == LIFTED


@pytest.mark.usefixtures("replacing")
def test_a_replacement_that_is_allowed_lifts_the_policy_for_that_update_only(
    session: Session, aws: FakeAws
) -> None:
    aws.calls.clear()
    with pytest.raises(UsageError, match="--allow replace"):
        run(session, **CHANGED)
    assert policies(aws) == []
    run(session, ALLOWED, **CHANGED)
    assert policies(aws) == [LIFTED, "execute", POLICY]
    assert not noted(session)


@pytest.mark.usefixtures("replacing")
def test_a_policy_of_ones_own_is_put_back_as_it_was(session: Session, aws: FakeAws) -> None:
    aws.stacks[NAME].policy = OWN
    aws.calls.clear()
    run(session, ALLOWED, **CHANGED)
    assert policies(aws) == [LIFTED, "execute", OWN]


@pytest.mark.usefixtures("replacing")
def test_the_policy_is_back_after_an_update_that_fails(session: Session, aws: FakeAws) -> None:
    stack = aws.stacks[NAME]
    aws.timeline = [
        ("UPDATE_ROLLBACK_COMPLETE", [own_event(stack, 90, "UPDATE_ROLLBACK_COMPLETE")])
    ]
    with pytest.raises(DeploymentFailed):
        run(session, ALLOWED, **CHANGED)
    assert (stack.policy, noted(session)) == (POLICY, False)


@pytest.mark.usefixtures("replacing")
def test_the_policy_is_back_after_ctrl_c(session: Session, aws: FakeAws) -> None:

    def interrupt(told: Event) -> None:
        if isinstance(told, StackEvent):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run(session, ALLOWED, FakeOperator(on_tell=interrupt), **CHANGED)
    assert (aws.stacks[NAME].policy, noted(session)) == (POLICY, False)


@pytest.mark.usefixtures("replacing")
def test_what_could_not_be_put_back_is_told_and_done_by_the_next_command(
    session: Session, aws: FakeAws
) -> None:

    def refuse(told: Event) -> None:
        if isinstance(told, StackEvent):
            aws.errors["cloudformation:SetStackPolicy"] = Refused("AccessDenied")

    operator = FakeOperator(on_tell=refuse)
    run(session, ALLOWED, operator, **CHANGED)
    assert "is lifted, and could not be put back" in operator.of(Caution)[-1].message
    assert (aws.stacks[NAME].policy, noted(session)) == (LIFTED, True)
    aws.errors.clear()
    told: list[Event] = []
    with Lock.acquire(session, stack_of(session), "restore", told.append):
        assert aws.stacks[NAME].policy == POLICY
    assert told == [Caution(f"the stack policy of {NAME}, lifted for an earlier update, is back")]
    assert not noted(session)


@pytest.mark.usefixtures("replacing")
def test_a_policy_stays_lifted_for_an_update_that_nobody_waits_for_until_it_has_ended(
    session: Session, aws: FakeAws
) -> None:
    stack = aws.stacks[NAME]
    aws.timeline = [("UPDATE_IN_PROGRESS", []), ("UPDATE_IN_PROGRESS", [])]
    detached = DeployOptions(yes=True, allow=frozenset({"replace"}), detach=True)
    run(session, detached, **CHANGED)
    assert (stack.policy, noted(session)) == (LIFTED, True)
    stack.timeline.clear()
    stack.status = "UPDATE_COMPLETE"
    with Lock.acquire(session, stack_of(session), "restore", lambda _: None):
        assert (stack.policy, noted(session)) == (POLICY, False)


def test_what_is_noted_of_a_stack_that_is_gone_is_not_put_back_to_another(
    session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION)
    item = {"policy": POLICY, "stack_id": "arn:aws:cloudformation:another"}
    OperationsTable(session, lambda _: None).update(
        NAME,
        ITEM,
        UpdateExpression="SET #policy = :policy, #stack_id = :stack_id",
        ExpressionAttributeNames={f"#{name}": name for name in item},
        ExpressionAttributeValues={f":{name}": {"S": text} for name, text in item.items()},
    )
    aws.stacks[NAME].policy = OWN
    with Lock.acquire(session, stack_of(session), "restore", lambda _: None):
        assert (aws.stacks[NAME].policy, noted(session)) == (OWN, False)


def test_the_aws_cli_is_told_how_to_protect_what_it_has_created(session: Session) -> None:
    resolved = resolve({"suffix": "dev", "bucket": "zips", **PRODUCTION}, {})
    [release] = forecast.prepare(session, stack_of(session), resolved, lambda _: None)
    assert "DeletionProtection=false" in deploy_command(session, NAME, release)
    table, policy, stack = (shlex.split(line) for line in protect_commands(session, NAME, release))
    assert table[:3] == ["aws", "cloudformation", "deploy"]
    assert "DeletionProtection=true" in table
    assert policy[2:7] == ["set-stack-policy", "--stack-name", NAME, "--stack-policy-body", POLICY]
    assert stack[2:4] == ["update-termination-protection", "--stack-name"]
    run(session, **PRODUCTION)
    [release] = forecast.prepare(session, stack_of(session), resolved, lambda _: None)
    assert "DeletionProtection=true" in deploy_command(session, NAME, release)
    assert len(protect_commands(session, NAME, release)) == 2


def test_development_needs_no_commands_that_protect_it(session: Session) -> None:
    resolved = resolve({"suffix": "dev", "bucket": "zips"}, {})
    [release] = forecast.prepare(session, stack_of(session), resolved, lambda _: None)
    assert protect_commands(session, NAME, release) == []


@pytest.mark.parametrize(("policy", "found"), [("", 1), (LIFTED, 1), (POLICY, 0), (OWN, 0)])
def test_a_status_names_a_policy_that_is_missing_or_lifted(
    policy: str, found: int, session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION)
    aws.stacks[NAME].policy = policy
    aws.stacks[NAME].resources[RECORD_HOLDER] = "CREATE_COMPLETE"
    checks = find_missing_policy(Environment.find(session, stack_of(session), "dev"))
    assert [one.remedy for one in checks] == ["`payment-infra deploy --suffix dev` sets it"] * found


def test_a_status_does_not_miss_a_policy_that_nobody_wants(session: Session, aws: FakeAws) -> None:
    run(session)
    aws.stacks[NAME].resources[RECORD_HOLDER] = "CREATE_COMPLETE"
    assert find_missing_policy(Environment.find(session, stack_of(session), "dev")) == []
    assert aws.called("cloudformation:GetStackPolicy") == []


def test_a_status_names_a_production_stack_without_termination_protection(
    session: Session, aws: FakeAws
) -> None:
    def found() -> list[str]:
        aws.stacks[NAME].resources[RECORD_HOLDER] = "CREATE_COMPLETE"
        environment = Environment.find(session, stack_of(session), "dev")
        return [one.remedy for one in find_unprotected_stack(environment)]

    run(session, **PRODUCTION)
    assert found() == []
    aws.stacks[NAME].protected = False  # as the AWS CLI leaves it
    run(session, gateway="simulated")
    assert found() == ["`payment-infra deploy --termination-protection --suffix dev` sets it"]
    run(session, gateway="simulated", termination_protection=True)
    assert (aws.stacks[NAME].protected, found()) == (True, [])


def test_a_status_does_not_miss_the_termination_protection_of_development(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    aws.stacks[NAME].resources[RECORD_HOLDER] = "CREATE_COMPLETE"
    environment = Environment.find(session, stack_of(session), "dev")
    assert find_unprotected_stack(environment) == []


def test_a_status_names_the_active_table_where_it_is_not_protected(session: Session) -> None:
    run(session, **PRODUCTION)
    environment = Environment.find(session, stack_of(session), "dev")
    [check] = find_unprotected_table(environment, "transactions-dev", protected=False)
    assert "dynamodb update-table --deletion-protection-enabled" in check.remedy
    assert find_unprotected_table(environment, "transactions-dev", protected=True) == []
