"""A stack that is gone over what it has kept: what goes on as it was, and what is imported."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.artifacts import code_keys
from payment_infra.cloud.deploying import deployment, forecast, importing, planning
from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.importing import find_gone, import_template
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.events import Caution, Preview, Result
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.config import StackConfig
from payment_infra.errors import AwsError, Declined, PaymentInfraError, UsageError
from payment_infra.names import TRANSACTIONS_TABLE_OVERRIDE as OVERRIDE
from payment_infra.record import read_record
from payment_infra.rendering import document, read_document
from payment_infra.sources import resolve
from payment_infra.template import build_template
from tests.aws import FakeAws, FakeBucket, FakeStack, Refused
from tests.operators import FakeOperator
from tests.stacks import own_event
from tests.tables import FakeTable, FakeTables

if TYPE_CHECKING:
    from payment_infra.difference import Comparison
    from tests.stacks import Answer

NAME, OWN = "payment-infra-dev", "transactions-dev"
COPY = f"{OWN}-20261124T114500Z"
PRODUCTION: dict[str, Any] = {"preset": "production", "gateway": "simulated"}
REAL = "handlers.shared.real:RealGateway"
IMPORT = DeployOptions(yes=True, import_existing=True)


@dataclass
class World:
    """An account, and the environment `dev` in it."""

    aws: FakeAws = field(default_factory=lambda: FakeAws(buckets={"zips": FakeBucket()}))
    tables: FakeTables = field(default_factory=FakeTables)
    operator: FakeOperator = field(default_factory=FakeOperator)

    def __post_init__(self) -> None:
        self.session = self.aws.session()

    def stack(self) -> Stack:
        return Stack(
            self.session.client("cloudformation"),
            NAME,
            lambda _: None,
            self.session.command("--suffix dev"),
        )

    def deploy(self, options: DeployOptions = IMPORT, **flags: object) -> Result:
        resolved = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
        return Deployment(self.session, self.stack(), resolved, options, self.operator).run()

    def lose_stack(self) -> FakeStack:
        """Delete the stack by force, over what it keeps."""
        stack = self.aws.stacks.pop(NAME)
        stack.status, stack.protected = "DELETE_COMPLETE", False
        self.aws.deleted[stack.id] = stack
        self.keep()
        return stack

    def keep(self) -> FakeTable:
        """Have in the account what a production stack keeps."""
        self.aws.add_key("key-1", "alias/payment-infra-dev")
        self.aws.answers |= {
            **self.tables.answers(),
            "sqs:GetQueueUrl": lambda asked: {"QueueUrl": f"https://sqs/{asked['QueueName']}"},
            "kms:DescribeKey": {
                "KeyMetadata": {"KeyId": "key-1", "Arn": "arn", "KeyState": "Enabled"}
            },
            "logs:DescribeLogGroups": lambda asked: {
                "logGroups": [{"logGroupName": asked["logGroupNamePrefix"]}]
            },
        }
        return self.tables.add(OWN)

    def requests(self) -> list[Answer]:
        """Return the calls that have made change sets of the environment's stack."""
        made = self.aws.called("cloudformation:CreateChangeSet")
        return [one for one in made if one["StackName"] == NAME]


@pytest.fixture(autouse=True)
def _any_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the class of a payment gateway for there that nobody has written."""
    monkeypatch.setattr(deployment, "check_handlers", lambda _: None)
    monkeypatch.setattr(deployment, "check_gateway", lambda _: None)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def gone(world: World) -> World:
    """A world whose production stack was deleted by force."""
    parameters = {OVERRIDE: COPY}
    world.tables.add(COPY)
    world.aws.answers |= world.tables.answers()
    world.deploy(
        DeployOptions(yes=True, parameters=parameters), throttle_rate_limit=77, **PRODUCTION
    )
    world.lose_stack()
    world.aws.calls.clear()
    world.operator.told.clear()
    return world


def test_what_exists_is_imported_and_then_an_update_makes_the_rest(gone: World) -> None:
    assert gone.deploy(gateway="simulated") == Result(NAME, "UPDATE_COMPLETE", changed=True)
    first, second = gone.requests()
    assert (first["ChangeSetType"], second["ChangeSetType"]) == ("IMPORT", "UPDATE")
    imported = {one["LogicalResourceId"]: one for one in first["ResourcesToImport"]}
    assert imported["TransactionsTable"] == {
        "ResourceType": "AWS::DynamoDB::Table",
        "LogicalResourceId": "TransactionsTable",
        "ResourceIdentifier": {"TableName": OWN},
    }
    assert imported["FailedTransactionsQueue"]["ResourceIdentifier"] == {
        "QueueUrl": "https://sqs/failed-transactions-dev"
    }
    whole = read_document(gone.aws.stacks[NAME].template)["Resources"]
    assert imported["EncryptionKey"]["ResourceIdentifier"] == {"KeyId": "key-1"}
    assert imported["EncryptionKeyAlias"]["ResourceIdentifier"] == {
        "AliasName": "alias/payment-infra-dev"
    }
    stateful = {"AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Logs::LogGroup"}
    stateful |= {"AWS::KMS::Key", "AWS::KMS::Alias"}
    # The execution log is named for the API, and a new API is another.
    assert {*imported, "PaymentAPIExecutionLogGroup"} == {
        name for name, one in whole.items() if one["Type"] in stateful
    }
    body = read_document(first["TemplateBody"])
    # What needs others, which only the update makes: table and queue wait for grants.
    del whole["TransactionsTable"]["DependsOn"], whole["FailedTransactionsQueue"]["DependsOn"]
    assert body["Resources"] == {name: whole[name] for name in body["Resources"]}
    assert "Outputs" not in body


def test_an_import_is_executed_without_what_is_said_of_new_resources(gone: World) -> None:
    gone.deploy(gateway="simulated")
    first, second = gone.aws.called("cloudformation:ExecuteChangeSet")
    assert first.keys() == {"ChangeSetName", "ClientRequestToken"}
    assert (second["RetainExceptOnCreate"], second["DisableRollback"]) == (True, False)


def test_parameters_preset_and_the_restored_table_go_on_as_they_were(gone: World) -> None:
    gone.deploy(gateway="simulated", alarm_email="new@example.com")
    stack = gone.aws.stacks[NAME]
    assert (stack.parameters[OVERRIDE], stack.parameters["ThrottleRateLimit"]) == (COPY, "77")
    assert (stack.parameters["LogRetentionDays"], stack.parameters["AlarmEmail"]) == (
        *("365", "new@example.com"),
    )
    assert stack.protected
    table = read_document(stack.template)["Resources"]["TransactionsTable"]
    assert table["DeletionPolicy"] == "RetainExceptOnCreate"


def protections(world: World) -> list[tuple[str, object]]:
    """Return the type of each change set, and what its table is protected by: "" for what the stack
    has."""
    return [
        (one["ChangeSetType"], value.get("ParameterValue", ""))
        for one in world.requests()
        for value in one["Parameters"]
        if value["ParameterKey"] == "DeletionProtection"
    ]


@pytest.mark.parametrize(("protected", "has"), [(True, "true"), (False, "false")])
def test_a_table_is_imported_with_the_protection_that_it_has_and_then_protected(
    protected: bool, has: str, gone: World
) -> None:
    gone.tables.tables[OWN].protected = protected
    gone.deploy(gateway="simulated")
    assert protections(gone) == [("IMPORT", has), ("UPDATE", "true")]


def test_an_import_of_what_is_still_missing_leaves_the_protection_of_the_table(gone: World) -> None:
    interrupted(gone, gateway="simulated")
    template = read_document(gone.requests()[0]["TemplateBody"])
    del template["Resources"]["FailedTransactionsDLQ"]
    gone.aws.stacks[NAME].template = json.dumps(template)
    gone.deploy(gateway="simulated")
    assert protections(gone) == [
        *(("IMPORT", "false"), ("UPDATE", "true")),
        *(("IMPORT", ""), ("UPDATE", "true")),
    ]
    assert gone.aws.stacks[NAME].parameters["DeletionProtection"] == "true"


def test_what_money_hangs_on_goes_back_to_no_default(world: World) -> None:
    real = "handlers.shared.gateway:SimulatedGateway"
    world.deploy(DeployOptions(yes=True), **PRODUCTION, payment_access="account")
    world.lose_stack()
    world.aws.calls.clear()
    entered = f"payment-infra deploy --suffix dev --import-existing-resources --gateway {real}"
    options = DeployOptions(import_existing=True, yes=True, command=entered)
    with pytest.raises(UsageError) as refused:
        world.deploy(options, gateway=real)
    assert "payment_access from account to caller; " in str(refused.value)
    assert f"`{entered} --payment-access account` keeps them" in str(refused.value)
    assert world.aws.changes() == []


def test_both_operations_are_shown_and_asked_about(gone: World) -> None:
    gone.operator.answer = True
    gone.deploy(DeployOptions(import_existing=True), gateway="simulated")
    first, second = gone.operator.of(Preview)
    assert gone.operator.asked == [
        f"Import {len(first.changes)} resources into payment-infra-dev?",
        f"Update the stack payment-infra-dev in eu-central-1: {second.counts}?",
    ]
    # The table, its two queues and the functions' logs, and what the preset keeps besides.
    assert len(first.changes) >= 8
    assert {one.action for one in first.changes} == {"Import"}
    changed = {one.logical_id for one in second.changes if one.action != "Add"}
    # They wait for grants.
    assert changed == {"TransactionsTable", "FailedTransactionsQueue"}
    assert (first.creates, first.gateway, second.gateway) == (True, "simulated", "simulated")


def test_a_no_leaves_nothing_and_forgets_nothing(gone: World) -> None:
    gone.operator.answer = False
    with pytest.raises(Declined):
        gone.deploy(DeployOptions(import_existing=True), gateway="simulated")
    assert (gone.aws.stacks, gone.aws.change_sets) == ({}, {})
    gone.deploy(gateway="simulated")
    assert gone.aws.stacks[NAME].parameters[OVERRIDE] == COPY


def test_an_import_that_was_interrupted_is_gone_on_with(gone: World) -> None:
    gone.operator.on_tell = interrupt_at(Preview, 2)
    with pytest.raises(KeyboardInterrupt):
        gone.deploy(gateway="simulated")
    assert gone.aws.stacks[NAME].status == "IMPORT_COMPLETE"
    gone.operator.on_tell = lambda _: None
    assert gone.deploy(gateway="simulated").status == "UPDATE_COMPLETE"
    assert [one["ChangeSetType"] for one in gone.requests()] == ["IMPORT", "UPDATE", "UPDATE"]
    assert gone.aws.stacks[NAME].parameters[OVERRIDE] == COPY


def interrupted(world: World, **flags: Any) -> None:
    """Bring the environment back as far as the import, whose update is interrupted."""
    world.operator.on_tell = interrupt_at(Preview, 2)
    with pytest.raises(KeyboardInterrupt):
        world.deploy(**flags)
    world.operator.on_tell = lambda _: None
    assert world.aws.stacks[NAME].status == "IMPORT_COMPLETE"


def test_an_interrupted_import_goes_on_as_it_was_without_the_flag(gone: World) -> None:
    interrupted(gone, gateway="simulated")
    assert gone.deploy(DeployOptions(yes=True), gateway="simulated").status == "UPDATE_COMPLETE"
    stack = gone.aws.stacks[NAME]
    assert (stack.parameters[OVERRIDE], stack.parameters["ThrottleRateLimit"]) == (COPY, "77")
    assert stack.protected
    assert read_record(read_document(stack.template)).preset == "production"


@pytest.mark.parametrize("flags", [{}, {"retain_data": True, "deletion_protection": True}])
def test_an_interrupted_import_keeps_the_gateway(world: World, flags: dict[str, Any]) -> None:
    name_gateway(world)
    interrupted(world, gateway=REAL)
    calls = len(world.requests())
    with pytest.raises(UsageError, match=f"gateway from {REAL} to simulated; `.*{REAL}"):
        world.deploy(DeployOptions(yes=True), **flags)
    assert len(world.requests()) == calls
    world.deploy(DeployOptions(yes=True), gateway=REAL)
    assert read_record(read_document(world.aws.stacks[NAME].template)).values["gateway"] == REAL


def name_gateway(world: World) -> None:
    """Lose a production stack that has a payment gateway of its own."""
    world.deploy(DeployOptions(yes=True), preset="production", gateway=REAL)
    world.lose_stack()
    world.aws.calls.clear()


def test_kept_payments_get_the_simulated_gateway_only_if_it_is_asked_for(world: World) -> None:
    world.keep()
    with pytest.raises(UsageError, match="no longer knows which payment gateway the kept"):
        world.deploy(preset="development")
    assert world.aws.changes() == []
    assert world.deploy(preset="development", gateway="simulated").changed


def test_an_interrupted_import_is_left_alone_by_no_execute(gone: World) -> None:
    interrupted(gone, gateway="simulated")
    template = read_document(gone.requests()[0]["TemplateBody"])
    del template["Resources"]["FailedTransactionsDLQ"]
    gone.aws.stacks[NAME].template = json.dumps(template)
    calls = len(gone.requests())
    with pytest.raises(UsageError, match="while --no-execute leaves one change set; leave it out"):
        gone.deploy(DeployOptions(yes=True, execute=False), gateway="simulated")
    assert len(gone.requests()) == calls


def test_whoever_needs_what_an_import_has_not_made_is_told_the_command(gone: World) -> None:
    interrupted(gone, gateway="simulated")
    environment = Environment.find(gone.session, gone.stack(), "dev")
    command = "`payment-infra deploy --import-existing-resources --suffix dev` completes it"
    with pytest.raises(AwsError, match=f"has no PaymentAPI; {command}"):
        environment.resource("PaymentAPI")
    with pytest.raises(AwsError, match=f"has no output TransactionsTableName; {command}"):
        _ = environment.table


def interrupt_at(kind: type, number: int) -> Any:
    """Return what is interrupted when it is told the event of a kind with this number."""
    seen: list[object] = []

    def tell(event: object) -> None:
        seen.append(event)
        if sum(isinstance(one, kind) for one in seen) == number:
            raise KeyboardInterrupt

    return tell


def test_the_same_command_again_changes_nothing(gone: World) -> None:
    gone.deploy(gateway="simulated")
    gone.aws.calls.clear()
    gone.tables.tables["transactionstablename-payment-infra-dev"] = FakeTable("its output")
    assert gone.deploy(gateway="simulated").changed is False
    assert gone.requests() == []


def test_a_stack_that_never_worked_does_not_hide_the_one_before_it(gone: World) -> None:
    failed = FakeStack(NAME, number=2, status="DELETE_COMPLETE", parameters={OVERRIDE: ""})
    failed.parameters["EnvironmentSuffix"] = "dev"
    failed.events = [own_event(failed, 1, "ROLLBACK_COMPLETE")]
    gone.aws.deleted[failed.id] = failed
    found = find_gone(gone.stack(), "dev")
    assert found is not None
    assert (found.state.parameters[OVERRIDE], found.record.preset) == (COPY, "production")


def test_of_several_stacks_that_worked_the_last_one_counts(gone: World) -> None:
    later = FakeStack(NAME, number=2, status="DELETE_COMPLETE", parameters={OVERRIDE: "later"})
    later.parameters["EnvironmentSuffix"] = "dev"
    later.template = "{}"
    later.events = [own_event(later, 1, "UPDATE_COMPLETE")]
    gone.aws.deleted[later.id] = later
    found = find_gone(gone.stack(), "dev")
    assert found is not None
    assert found.state.parameters[OVERRIDE] == "later"


@pytest.mark.parametrize(
    "parameters", [{"EnvironmentSuffix": "dev"}, {OVERRIDE: "", "EnvironmentSuffix": "other"}]
)
def test_a_foreign_stack_of_the_name_tells_nothing(
    world: World, parameters: dict[str, str]
) -> None:
    other = FakeStack(NAME, status="DELETE_COMPLETE", parameters=parameters)
    other.events = [own_event(other, 1, "CREATE_COMPLETE")]
    world.aws.deleted[other.id] = other
    assert find_gone(world.stack(), "dev") is None


def test_without_a_trace_of_the_stack_its_preset_has_to_be_named(world: World) -> None:
    world.keep()
    with pytest.raises(UsageError, match="no longer knows how payment-infra-dev was"):
        world.deploy()
    assert world.aws.changes() == []
    assert world.deploy(**PRODUCTION).changed


def test_without_a_trace_of_the_stack_a_restored_table_is_not_passed_over(world: World) -> None:
    world.keep()
    world.tables.add(f"{COPY}-drill")
    world.tables.add(f"{OWN}-2")
    world.tables.add(COPY)
    with pytest.raises(UsageError) as refused:
        world.deploy(**PRODUCTION)
    assert f"payments were in {OWN}, or in what was restored of it ({COPY}); say in" in str(
        refused.value
    )
    assert world.aws.changes() == []
    for value in (COPY, ""):
        options = DeployOptions(yes=True, import_existing=True, parameters={OVERRIDE: value})
        world.deploy(options, **PRODUCTION)
        assert world.aws.stacks.pop(NAME).parameters[OVERRIDE] == value


def test_without_a_table_there_is_nothing_to_bring_back(world: World) -> None:
    world.keep()
    del world.tables.tables[OWN]
    with pytest.raises(PaymentInfraError, match=f"there is no table {OWN} in eu-central-1; leave"):
        world.deploy(**PRODUCTION)
    assert world.aws.changes() == []


def test_what_may_not_be_looked_for_is_not_left_out_silently(world: World) -> None:
    world.keep()
    world.aws.errors["sqs:GetQueueUrl"] = Refused("AccessDenied", "no")
    with pytest.raises(AwsError, match="not allowed to call GetQueueUrl"):
        world.deploy(**PRODUCTION)
    assert world.requests() == []


def test_without_the_flag_the_names_are_taken_and_the_command_is_told(gone: World) -> None:
    options = DeployOptions(yes=True, command="payment-infra deploy --suffix dev --yes")
    with pytest.raises(PaymentInfraError) as refused:
        gone.deploy(options, **PRODUCTION)
    message = str(refused.value)
    assert "`payment-infra deploy --suffix dev --yes --import-existing-resources` brings" in message
    assert gone.aws.changes() == []


def test_the_command_that_is_told_leaves_no_change_set(gone: World) -> None:
    entered = "payment-infra deploy --suffix dev --no-execute --tag 'a=b c'"
    with pytest.raises(PaymentInfraError) as refused:
        gone.deploy(DeployOptions(yes=True, execute=False, command=entered), **PRODUCTION)
    told = "`payment-infra deploy --suffix dev --tag 'a=b c' --import-existing-resources` brings"
    assert told in str(refused.value)


def test_a_refusal_leads_to_where_the_command_line_led(world: World) -> None:
    world.session.flags = "--region eu-west-1"
    world.deploy(DeployOptions(yes=True), authorization="none", runtime="python3.12")
    with pytest.raises(UsageError, match="`payment-infra deploy --suffix dev --region eu-west-1 "):
        world.deploy(DeployOptions(yes=True), runtime="python3.12")
    world.deploy(DeployOptions(yes=True, execute=False), authorization="none", runtime="python3.13")
    hint = world.operator.of(Caution)[-1].message
    assert "`payment-infra deploy --change-set " in hint
    assert "--no-termination-protection --suffix dev --region eu-west-1` executes it" in hint


def test_whoever_looks_for_the_environment_is_told_the_command(gone: World) -> None:
    told = (
        f"there is no stack {NAME}, and its table {OWN} is still there; `payment-infra deploy "
        "--import-existing-resources --suffix dev` brings the environment back"
    )
    with pytest.raises(AwsError, match=told):
        Environment.find(gone.session, gone.stack(), "dev")


@pytest.mark.parametrize("refusal", [None, Refused("AccessDeniedException", "no")])
def test_whoever_looks_where_nothing_is_kept_is_told_to_deploy(
    world: World, refusal: Refused | None
) -> None:
    if refusal:
        world.aws.errors["dynamodb:DescribeTable"] = refusal
    with pytest.raises(
        AwsError, match=f"there is no stack {NAME}; `payment-infra deploy --suffix dev` makes"
    ):
        Environment.find(world.session, world.stack(), "dev")


def test_a_property_that_refers_to_what_is_not_imported_is_left_to_the_update() -> None:
    template = document(build_template(StackConfig(suffix="dev"), code_keys()))
    alone = import_template(template, ["FailedTransactionsQueue"])["Resources"]
    queue = alone["FailedTransactionsQueue"]["Properties"]
    whole = template["Resources"]["FailedTransactionsQueue"]["Properties"]
    assert whole.keys() - queue.keys() == {"RedrivePolicy"}
    both = ["FailedTransactionsQueue", "FailedTransactionsDLQ"]
    together = import_template(template, both)["Resources"]
    assert together == {name: template["Resources"][name] for name in both}


@pytest.mark.parametrize("status", ["DELETE_FAILED", "ROLLBACK_COMPLETE"])
def test_a_stack_that_is_made_anew_goes_on_as_it_was(world: World, status: str) -> None:
    world.deploy(
        DeployOptions(yes=True), preset="production", gateway=REAL, payment_access="account"
    )
    world.aws.stacks[NAME].status, world.aws.stacks[NAME].protected = status, False
    before = world.aws.changes()
    entered = f"payment-infra deploy --suffix dev --gateway {REAL} --yes"
    options = DeployOptions(yes=True, command=entered)
    kept = f"payment_access from account to caller; `{entered} --payment-access account` keeps"
    for flags in ({"gateway": REAL}, {"gateway": REAL, "preset": "production"}):
        with pytest.raises(UsageError, match=kept):
            world.deploy(options, **flags)
    with pytest.raises(UsageError, match=f"gateway from {REAL} to simulated"):
        world.deploy(DeployOptions(yes=True), payment_access="account")
    assert world.aws.changes() == before
    world.deploy(DeployOptions(yes=True), gateway=REAL, payment_access="account")
    stack = world.aws.stacks[NAME]
    assert (stack.status, stack.protected) == ("UPDATE_COMPLETE", True)
    assert read_record(read_document(stack.template)).preset == "production"


def test_a_stack_is_not_deleted_for_one_whose_api_is_open_before_that_is_allowed(
    world: World,
) -> None:
    world.deploy(DeployOptions(yes=True))
    world.aws.stacks[NAME].status = "DELETE_FAILED"
    before, world.operator.answer = world.aws.changes(), False
    with pytest.raises(Declined):
        world.deploy(DeployOptions(yes=True), authorization="none")
    assert world.operator.asked == [planning.OPENS]
    assert world.aws.changes() == before
    allowed = DeployOptions(yes=True, allow=frozenset({"open"}))
    assert world.deploy(allowed, authorization="none").status == "CREATE_COMPLETE"
    assert world.operator.asked == [planning.OPENS]


def test_a_signed_api_is_brought_back_open_only_if_that_is_allowed(gone: World) -> None:
    gone.operator.answer = False
    with pytest.raises(Declined):
        gone.deploy(gateway="simulated", authorization="none")
    assert gone.operator.asked == [planning.OPENS]
    assert gone.aws.changes() == []
    options = DeployOptions(yes=True, import_existing=True, allow=frozenset({"open"}))
    assert gone.deploy(options, gateway="simulated", authorization="none").changed


@pytest.mark.parametrize(
    ("statuses", "known"),
    [
        ([], True),
        (["DELETE_IN_PROGRESS", "DELETE_COMPLETE"], True),
        (["REVIEW_IN_PROGRESS", "DELETE_COMPLETE"], False),
        (["REVIEW_IN_PROGRESS", "CREATE_IN_PROGRESS", "DELETE_COMPLETE"], False),
        (["CREATE_FAILED", "DELETE_COMPLETE"], False),
        (["ROLLBACK_COMPLETE", "DELETE_COMPLETE"], False),
        (["CREATE_IN_PROGRESS", "CREATE_COMPLETE", "DELETE_COMPLETE"], True),
    ],
)
def test_a_stack_older_than_its_events_is_known(
    world: World, statuses: list[str], known: bool
) -> None:
    world.deploy(DeployOptions(yes=True), **PRODUCTION, throttle_rate_limit=77)
    stack = world.lose_stack()
    stack.events = [own_event(stack, number, one) for number, one in enumerate(statuses)]
    found = find_gone(world.stack(), "dev")
    assert (found is not None) is known
    if found is not None:
        assert found.state.parameters["ThrottleRateLimit"] == "77"


def test_a_stack_that_was_only_imported_does_not_hide_the_one_before_it(gone: World) -> None:
    interrupted(gone, gateway="simulated")
    gone.lose_stack().events = []
    found = find_gone(gone.stack(), "dev")
    assert found is not None
    assert found.record.preset == "production"


def left_open(world: World, **flags: Any) -> str:
    """Bring a signed API back as far as the import; leave a change set that opens it."""
    interrupted(world, gateway="simulated", **flags)
    allowed = DeployOptions(yes=True, allow=frozenset({"broaden"}), execute=False)
    world.operator.answer, world.operator.asked[:] = True, []
    with pytest.MonkeyPatch.context() as patch:  # all that was kept is imported already
        patch.setattr(importing, "find_missing", lambda *_: ([], []))
        world.deploy(allowed, gateway="simulated", authorization="none")
    assert world.operator.asked == []
    return world.operator.of(Preview)[-1].change_set


def test_a_change_set_that_was_left_opens_no_api_that_was_signed_without_a_question(
    gone: World,
) -> None:
    name = left_open(gone)
    gone.operator.answer = False
    for allow in (frozenset[str](), frozenset({"broaden", "replace"})):
        with pytest.raises(Declined):
            gone.deploy(DeployOptions(yes=True, change_set=name, allow=allow), gateway="simulated")
    asked = "This update lets everybody call the API, without a signature. Go ahead?"
    assert gone.operator.asked == [asked, asked]
    assert gone.aws.stacks[NAME].status == "IMPORT_COMPLETE"
    allowed = DeployOptions(yes=True, change_set=name, allow=frozenset({"open"}))
    assert gone.deploy(allowed, gateway="simulated").status == "UPDATE_COMPLETE"


def test_a_change_set_that_was_left_opens_an_api_that_was_open_without_a_question(
    world: World,
) -> None:
    world.deploy(
        DeployOptions(yes=True, allow=frozenset({"open"})), authorization="none", **PRODUCTION
    )
    world.lose_stack()
    name = left_open(world, authorization="none")
    left = DeployOptions(yes=True, change_set=name)
    assert world.deploy(left, gateway="simulated").status == "UPDATE_COMPLETE"
    assert world.operator.asked == []


def test_a_change_set_for_a_stack_that_is_deleted_first_is_asked_about_before_that(
    world: World,
) -> None:
    world.deploy(DeployOptions(yes=True))
    world.aws.stacks[NAME].status = "ROLLBACK_COMPLETE"
    before, world.operator.answer = world.aws.changes(), False
    with pytest.raises(Declined):
        world.deploy(DeployOptions(yes=True, execute=False), authorization="none")
    assert world.operator.asked == [planning.OPENS]
    assert world.aws.changes() == before


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "CREATE_FAILED", "DELETE_FAILED"])
@pytest.mark.parametrize(
    ("flags", "protected"),
    [
        ({}, True),
        ({"termination_protection": False}, False),
        ({"preset": "production", "gateway": "simulated"}, True),
    ],
)
def test_a_creation_that_failed_goes_on_with_its_termination_protection(
    status: str, flags: dict[str, Any], protected: bool, world: World
) -> None:
    world.deploy(DeployOptions(yes=True), termination_protection=True)
    assert world.aws.stacks[NAME].protected
    world.aws.stacks[NAME].status = status
    world.deploy(DeployOptions(yes=True), **flags)
    assert world.aws.stacks[NAME].protected is protected


def test_a_failed_deletion_of_a_creation_that_failed_forgets_no_termination_protection(
    world: World,
) -> None:
    world.deploy(DeployOptions(yes=True), termination_protection=True)
    stack = world.aws.stacks[NAME]
    stack.status = "ROLLBACK_COMPLETE"
    for number in (8, 9):
        world.aws.timeline = [("DELETE_FAILED", [own_event(stack, number, "DELETE_FAILED")])]
        with pytest.raises(DeploymentFailed):
            world.deploy(DeployOptions(yes=True))
        assert (stack.status, stack.protected) == ("DELETE_FAILED", True)
    assert world.deploy(DeployOptions(yes=True)).status == "CREATE_COMPLETE"
    assert world.aws.stacks[NAME].protected


def test_an_interrupted_import_goes_on_with_its_termination_protection(world: World) -> None:
    world.deploy(DeployOptions(yes=True), retain_data=True)
    world.lose_stack()
    interrupted(world, retain_data=True)
    world.aws.stacks[NAME].protected = True
    world.deploy(DeployOptions(yes=True), retain_data=True)
    assert world.aws.stacks[NAME].protected


# What diff and upload say.


def compared(world: World, **flags: object) -> Comparison:
    resolved = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
    return forecast.compare(world.session, world.stack(), resolved)


def preset_of(comparison: Comparison) -> str:
    """Return the preset that a topic is to be made with, alone or with all else."""
    path = ("Resources", "AlarmTopic")
    [(below, new)] = [
        (path[len(one.path) :], one.new)
        for one in comparison.template
        if path[: len(one.path)] == one.path
    ]
    return read_record({"Resources": {"AlarmTopic": reduce(getitem, below, new)}}).preset


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "CREATE_FAILED", "DELETE_FAILED"])
def test_diff_shows_what_deploy_would_make_of_a_creation_that_failed(
    status: str, world: World
) -> None:
    world.deploy(DeployOptions(yes=True), **PRODUCTION)
    world.aws.stacks[NAME].status = status
    before = world.aws.changes()
    for flags in ({}, {"preset": "production"}):
        found = compared(world, gateway="simulated", **flags)
        assert {one.old for one in found.template} == {None}
        assert preset_of(found) == "production"
        assert {one.name: one.new for one in found.parameters}["LogRetentionDays"] == "365"
    named = compared(world, preset="development")
    assert preset_of(named) == "development"
    assert world.aws.changes() == before


def test_diff_shows_what_an_interrupted_import_would_go_on_with(gone: World) -> None:
    interrupted(gone, gateway="simulated")
    before = gone.aws.changes()
    found = compared(gone, gateway="simulated")
    assert gone.aws.changes() == before
    values = {one.name: one.new for one in found.parameters}
    gone.deploy(DeployOptions(yes=True), gateway="simulated")
    assert preset_of(found) == "production"
    deployed = read_document(gone.aws.stacks[NAME].template)["Resources"]
    made = {one.path[1] for one in found.template if one.path[0] == "Resources" and one.old is None}
    assert made | set(json.loads(gone.requests()[0]["TemplateBody"])["Resources"]) == set(deployed)
    assert {name: gone.aws.stacks[NAME].parameters[name] for name in values} == values
    assert compared(gone, gateway="simulated").same


def test_upload_prepares_what_deploy_would_go_on_with_and_says_what_the_aws_cli_lacks(
    gone: World,
) -> None:
    interrupted(gone, gateway="simulated")
    resolved = resolve({"suffix": "dev", "bucket": "zips", "gateway": "simulated"}, {})
    tell = gone.operator.tell
    [release] = forecast.prepare(gone.session, gone.stack(), resolved, tell)
    assert read_record(release.plan.template).preset == "production"
    assert release.parameters[OVERRIDE] == COPY
    assert gone.operator.of(Caution)[-1].message == (
        f"stack {NAME} has nothing but what was imported: `payment-infra deploy --suffix dev` "
        "continues the import, while the AWS CLI imports nothing more"
    )


def test_upload_makes_the_checks_of_an_interrupted_import(world: World) -> None:
    name_gateway(world)
    interrupted(world, gateway=REAL)
    resolved = resolve({"suffix": "dev", "bucket": "zips"}, {})
    with pytest.raises(UsageError, match=f"gateway from {REAL} to simulated; `.* upload "):
        forecast.prepare(world.session, world.stack(), resolved, world.operator.tell)
    world.aws.deleted.clear()
    resolved = resolve({"suffix": "dev", "bucket": "zips", "preset": "development"}, {})
    with pytest.raises(UsageError, match="no longer knows which payment gateway the kept"):
        forecast.prepare(world.session, world.stack(), resolved, world.operator.tell)


def test_upload_prepares_the_creation_after_one_that_failed(world: World) -> None:
    world.deploy(DeployOptions(yes=True), **PRODUCTION)
    world.aws.stacks[NAME].status = "ROLLBACK_COMPLETE"
    resolved = resolve({"suffix": "dev", "bucket": "zips", "gateway": "simulated"}, {})
    [release] = forecast.prepare(world.session, world.stack(), resolved, world.operator.tell)
    assert read_record(release.plan.template).preset == "production"
    assert None not in release.parameters.values()
    assert world.operator.of(Caution)[-1].message == (
        f"stack {NAME} is ROLLBACK_COMPLETE: `payment-infra deploy --suffix dev` deletes it first, "
        "while the AWS CLI needs it deleted"
    )
