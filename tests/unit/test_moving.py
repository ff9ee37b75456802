"""Another gateway while payments are in flight: refused, whatever would bring it, unless named."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.deploying import deployment, forecast
from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.moving import Return
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.environment.in_flight import LIMIT
from payment_infra.cloud.environment.locking import Lock
from payment_infra.cloud.events import Caution, Result
from payment_infra.cloud.stacks import intervention
from payment_infra.cloud.stacks.settling import ROLLING_BACK
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import AwsError
from payment_infra.names import (
    IN_FLIGHT_KEYS,
    OPERATIONS_TABLE,
    TABLE_OUTPUT,
    TRANSACTIONS_TABLE_OVERRIDE,
)
from payment_infra.sources import resolve
from tests.aws import FakeAws, FakeBucket, FakeStack, Refused
from tests.operators import FakeOperator
from tests.stacks import Answer, event, own_event, template
from tests.tables import FakeTables

if TYPE_CHECKING:
    from tests.tables import FakeTable

NAME, OWN = "payment-infra-dev", "transactions-dev"
ACME, OTHER = "handlers.shared.acme:Acme", "handlers.shared.other:Other"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:acme/key-AbCdEf"
ANOTHER = SECRET.replace("acme/key", "acme/other")
COMMAND = "payment-infra deploy --suffix dev -y"
NAMED = frozenset({"broaden", "gateway"})
STUCK = "no other gateway charges, confirms or cancels"


@dataclass
class World:
    """An account with the environment `dev`, which charges at ACME."""

    aws: FakeAws = field(default_factory=lambda: FakeAws(buckets={"zips": FakeBucket()}))
    tables: FakeTables = field(default_factory=lambda: FakeTables(rows_per_page=1000))
    operator: FakeOperator = field(default_factory=FakeOperator)

    def __post_init__(self) -> None:
        self.session = self.aws.session()
        self.stack = Stack(
            self.session.client("cloudformation"), NAME, lambda _: None, "--suffix dev"
        )
        self.deploy(gateway=ACME, gateway_secret=SECRET)
        self.table = self.tables.add(OWN)
        answers = self.tables.answers()
        self.aws.answers |= {
            name: answers[name] for name in ("dynamodb:Query", "dynamodb:DescribeTable")
        }
        self.operator.told.clear()

    def deploy(
        self,
        operator: FakeOperator | None = None,
        allow: frozenset[str] = frozenset({"broaden"}),
        command: str = COMMAND,
        **flags: Any,
    ) -> Result:
        options = {name: flags.pop(name) for name in list(flags) if name in OPTIONS}
        resolved = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
        chosen = DeployOptions(**{"yes": True, "command": command, "allow": allow, **options})
        who = operator or self.operator
        result = Deployment(self.session, self.stack, resolved, chosen, who).run()
        self.deployed.outputs[TABLE_OUTPUT] = OWN
        return result

    @property
    def deployed(self) -> FakeStack:
        return self.aws.stacks[NAME]

    def begin(self, key: str = "processing#3", number: int = 1, table: str = OWN) -> None:
        """Have payments in flight under a key of the index, which knows of them by now."""
        has: FakeTable = self.tables.tables[table]
        for _ in range(number):
            payment = f"payment-{len(has.history)}"
            row = {
                "transaction_id": {"S": payment},
                "in_flight": {"S": key},
                "lease_expires_at": {"N": "1795608000"},
            }
            has.store(payment, row)
        has.store("lagging", None)

    def charges_at(self) -> str:
        functions = template(self.deployed.template)["Resources"]
        variables = functions["ProcessingFunction"]["Properties"]["Environment"]["Variables"]
        return str(variables["GATEWAY"])

    def refused(self, **more: Any) -> str:
        """Deploy, which has to be refused; return why, having checked that nothing is changed."""
        before, text = len(self.aws.changes()), self.deployed.template
        with pytest.raises(AwsError) as refusal:
            self.deploy(**{"gateway": OTHER, **more})
        changes = [one for one in self.aws.changes()[before:] if one != "s3:PutObject"]
        assert changes in ([], MADE_AND_DELETED)
        assert (self.aws.change_sets, self.deployed.template) == ({}, text)
        return str(refusal.value)

    def cautions(self) -> list[str]:
        return [one.message for one in self.operator.of(Caution)]


OPTIONS = {"yes", "execute", "change_set", "parameters", "import_existing", "skip_checks"}
MADE_AND_DELETED = ["cloudformation:CreateChangeSet", "cloudformation:DeleteChangeSet"]


class Slow(FakeOperator):
    """Says yes, after a while in which a payment begins."""

    def __init__(self, world: World) -> None:
        super().__init__(answer=True)
        self.world = world

    def confirm(self, question: str, agreed: bool, flag: str = "--yes") -> None:
        super().confirm(question, agreed, flag)
        self.world.begin()


@pytest.fixture(autouse=True)
def _any_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take classes of payment gateways for there that nobody has written."""
    for module in (deployment, forecast):
        monkeypatch.setattr(module, "check_handlers", lambda _: None)
        monkeypatch.setattr(module, "check_gateway", lambda _: None)


@pytest.fixture
def world() -> World:
    return World()


# An update.


def test_another_gateway_is_refused_while_a_payment_is_in_flight(world: World) -> None:
    world.begin()
    assert world.refused(gateway_secret=SECRET) == (
        f"stack {NAME}: this update changes the gateway from {ACME} to {OTHER}, and 1 payment is in"
        " flight: no other gateway charges, confirms or cancels it, so it counts as stuck; wait "
        "until none is (`payment-infra payment list --suffix dev` shows them), or name "
        f"it: `{COMMAND} --allow gateway`"
    )


def test_nothing_is_uploaded_for_what_is_refused(world: World) -> None:
    world.begin()
    objects = dict(world.aws.buckets["zips"].objects)
    world.refused(gateway_secret=SECRET)
    assert world.aws.buckets["zips"].objects == objects


def test_payments_under_every_key_of_the_index_count(world: World) -> None:
    for key in IN_FLIGHT_KEYS:
        world.begin(key)
    line = world.refused(gateway_secret=SECRET)
    assert f"and {len(IN_FLIGHT_KEYS)} payments are in flight: {STUCK} them, so they count" in line


@pytest.mark.parametrize("key", ["processing#0", "processing#15", "pending#7", "overdue", "stuck"])
def test_one_payment_is_enough_whatever_it_waits_for(world: World, key: str) -> None:
    world.begin(key)
    assert "1 payment is in flight" in world.refused(gateway_secret=SECRET)


def test_another_secret_is_another_gateway(world: World) -> None:
    world.begin(number=2)
    line = world.refused(gateway=ACME, gateway_secret=ANOTHER)
    told = f"changes the gateway's secret from {SECRET} to {ANOTHER}, and 2 payments are in flight"
    assert told in line
    line = world.refused(gateway="simulated", gateway_secret="")
    assert (
        f"the gateway from {ACME} to simulated and the gateway's secret from {SECRET} to none"
        in line
    )


def test_once_no_payment_is_in_flight_the_gateway_changes(world: World) -> None:
    assert world.deploy(gateway=OTHER, gateway_secret=SECRET).changed
    assert world.charges_at() == OTHER
    assert world.cautions() == []


def test_any_other_update_is_made_and_looks_for_no_payments(world: World) -> None:
    world.begin()
    asked = len(world.aws.called("dynamodb:Query"))
    assert world.deploy(gateway=ACME, gateway_secret=SECRET, runtime="python3.12").changed
    queries = world.aws.called("dynamodb:Query")[asked:]
    assert [one for one in queries if one["TableName"] != OPERATIONS_TABLE] == []


def test_a_stack_that_is_created_leaves_no_payments(world: World) -> None:
    world.begin()
    world.aws.stacks.clear()
    assert world.deploy(gateway=OTHER, skip_checks={"names"}).changed


def test_an_index_of_any_size_is_counted_in_one_call_of_each_key(world: World) -> None:
    world.begin(number=3 * LIMIT)
    world.begin("stuck", 5)
    asked = len(world.aws.called("dynamodb:Query"))
    assert f"at least {LIMIT + 5} payments are in flight" in world.refused(gateway_secret=SECRET)
    assert len(world.aws.called("dynamodb:Query")) - asked == len(IN_FLIGHT_KEYS)


def test_yes_does_not_answer_it_and_naming_it_does(world: World) -> None:
    world.begin()
    production: dict[str, Any] = {"gateway_secret": SECRET, "preset": "production"}
    others = frozenset({"broaden", "open", "replace"})
    assert "1 payment is in flight" in world.refused(allow=others, **production)
    assert world.deploy(gateway=OTHER, gateway_secret=SECRET, allow=NAMED).changed
    assert world.charges_at() == OTHER
    assert world.cautions() == [
        f"stack {NAME}: this update changes the gateway from {ACME} to {OTHER}, and 1 payment is in"
        f" flight: {STUCK} it, so it counts as stuck"
    ]


def test_what_begins_while_a_question_is_asked_counts(world: World) -> None:
    operator = Slow(world)
    line = world.refused(operator=operator, yes=False, gateway_secret=SECRET)
    assert "1 payment is in flight" in line
    [question] = operator.asked
    assert question.startswith(f"Update the stack {NAME}")


def test_the_last_look_is_made_with_the_lock(world: World) -> None:
    world.aws.calls.clear()
    world.deploy(gateway=OTHER, gateway_secret=SECRET)
    names = [
        f"{name} {params.get('TableName', '')}".strip()
        for name, params in world.aws.calls
        if name.split(":")[1] in {"Query", "ExecuteChangeSet", "UpdateItem"}
    ]
    last = len(names) - 1 - names[::-1].index(f"dynamodb:Query {OWN}")
    executed = names.index("cloudformation:ExecuteChangeSet")
    assert last < executed
    held = [
        name for name in names[last:executed] if name == f"dynamodb:UpdateItem {OPERATIONS_TABLE}"
    ]
    assert f"dynamodb:UpdateItem {OPERATIONS_TABLE}" in names[:last]
    assert len(held) <= 1  # that it is still held, directly before the execution


def test_a_change_set_that_is_left_says_it_and_its_execution_is_refused(world: World) -> None:
    world.begin()
    flags: dict[str, Any] = {"gateway": OTHER, "gateway_secret": SECRET}
    world.deploy(execute=False, **flags)
    [caution] = [line for line in world.cautions() if "in flight" in line]
    assert caution.endswith(f"1 payment is in flight: {STUCK} it, so it counts as stuck")
    [left] = [one["name"] for one in world.aws.change_sets.values()]
    operator = FakeOperator(answer=True)
    with pytest.raises(AwsError, match="1 payment is in flight"):
        world.deploy(operator, change_set=left, yes=False, **flags)
    assert (operator.asked, world.charges_at()) == ([], ACME)
    assert world.deploy(change_set=left, allow=NAMED, **flags).changed
    assert world.charges_at() == OTHER


def test_the_table_that_an_update_moves_to_counts_too(world: World) -> None:
    copy = f"{OWN}-20261124T114500Z"
    world.tables.add(copy)
    world.begin(table=copy)
    parameters = {TRANSACTIONS_TABLE_OVERRIDE: copy}
    line = world.refused(gateway_secret=SECRET, parameters=parameters)
    assert "1 payment is in flight" in line
    world.begin()
    line = world.refused(gateway_secret=SECRET, parameters=parameters)
    assert "2 payments are in flight" in line


# What cannot be known.

UNREADABLE = {
    "no table": (Refused("ResourceNotFoundException", "Requested resource not found"), "not found"),
    "no index": (
        Refused("ValidationException", "The table does not have the specified index"),
        "The table does not have the specified index",
    ),
    "denied": (Refused("AccessDeniedException", "no"), "not allowed to call Query"),
    "throttled": (
        Refused("ThrottlingException", "Rate exceeded"),
        "AWS throttles Query; wait a little and repeat the command",
    ),
}


def refuse(error: Refused) -> Any:
    def answer(params: Answer) -> Answer:
        raise error

    return answer


@pytest.mark.parametrize("what", UNREADABLE)
def test_payments_that_cannot_be_counted_are_not_taken_for_none(world: World, what: str) -> None:
    error, told = UNREADABLE[what]
    world.aws.answers["dynamodb:Query"] = refuse(error)
    line = world.refused(gateway_secret=SECRET)
    unknown = "and it is not known whether payments are in flight: index in-flight-index of table"
    assert f"to {OTHER}, {unknown} {OWN}: " in line
    assert told in line
    assert line.endswith(f"or name it: `{COMMAND} --allow gateway`")
    assert world.deploy(gateway=OTHER, gateway_secret=SECRET, allow=NAMED).changed
    assert [unknown in one for one in world.cautions() if "in flight" in one] == [True]


def test_a_table_of_an_older_release_has_no_index(world: World) -> None:
    world.table.indexes = []
    line = world.refused(gateway_secret=SECRET)
    assert "The table does not have the specified index: in-flight-index" in line


# What is foreseen.


def test_diff_and_upload_foresee_it(world: World) -> None:
    flags = {"suffix": "dev", "bucket": "zips", "gateway": OTHER, "gateway_secret": SECRET}
    told = list[Any]()
    for payments in (0, 1):
        world.begin(number=payments)
        forecast.compare(world.session, world.stack, resolve(flags, {}), told.append)
        forecast.prepare(world.session, world.stack, resolve(flags, {}), told.append)
    differs, uploads = [one.message for one in told]
    change = f"stack {NAME}: this update changes the gateway from {ACME} to {OTHER}, and 1 payment"
    would = "`payment-infra deploy --suffix dev` would refuse this: "
    assert differs.startswith(f"{would}{change} is in flight")
    assert uploads.startswith(change)
    assert uploads.endswith("wait until none is: the AWS CLI does not look for them")


# A stack that is gone.


def test_an_environment_comes_back_with_another_gateway_only_without_payments_in_flight(
    world: World,
) -> None:
    world.begin()
    stack = world.aws.stacks.pop(NAME)
    stack.status = "DELETE_COMPLETE"
    world.aws.deleted[stack.id] = stack
    options: dict[str, Any] = {"import_existing": True, "gateway_secret": SECRET}
    changes = len(world.aws.changes())
    with pytest.raises(AwsError, match=f"the gateway from {ACME} to {OTHER}, and 1 payment is in"):
        world.deploy(gateway=OTHER, **options)
    assert len(world.aws.changes()) == changes
    assert world.aws.stacks == {}


# A rollback.


def function_event(number: int, name: str, status: str, gateway: str | None) -> Answer:
    """Return the event of a function, which tells its gateway; None: it tells nothing."""
    raw = event(number + (name == "RetryFunction"), name, status)
    if gateway is None:
        return raw
    variables = {"GATEWAY": gateway, "GATEWAY_SECRET_ARN": SECRET}
    properties = {"FunctionName": name, "Environment": {"Variables": variables}}
    return {**raw, "ResourceProperties": json.dumps(properties)}


@dataclass
class Failed:
    """A world whose last update has failed, and was not rolled back, or not whole."""

    world: World
    has: dict[str, str]  # function to its gateway as it is now

    def __post_init__(self) -> None:
        stack = self.world.deployed
        stack.before = stack.template, stack.parameters, stack.outputs
        functions = ("ProcessingFunction", "RetryFunction")
        stack.resources = dict.fromkeys(functions, "UPDATE_COMPLETE")
        # The properties of what was rolled back, or failed, are not what a function has got.
        self.before = [
            own_event(stack, 110, "CREATE_IN_PROGRESS"),
            *(function_event(120, name, "CREATE_COMPLETE", "old") for name in functions),
            *(function_event(130, name, "UPDATE_COMPLETE", ACME) for name in functions),
            *(function_event(140, name, "UPDATE_FAILED", "never") for name in functions),
            own_event(stack, 150, "UPDATE_COMPLETE"),
        ]
        self.after = [
            own_event(stack, 160, "UPDATE_IN_PROGRESS"),
            *(function_event(170, name, "UPDATE_COMPLETE", OTHER) for name in functions),
            event(180, "Queue", "UPDATE_FAILED", "Limit exceeded"),
        ]
        self.happen()
        self.world.aws.answers["lambda:GetFunctionConfiguration"] = lambda asked: {
            "Environment": {
                "Variables": {
                    "GATEWAY": self.has[asked["FunctionName"]],
                    "GATEWAY_SECRET_ARN": SECRET,
                }
            }
        }

    def happen(self, status: str = "UPDATE_FAILED") -> None:
        self.world.deployed.events = []
        self.world.deployed.happen(status, [*self.before, *self.after])

    def check(self, statuses: Any = ROLLING_BACK, **more: Any) -> Return:
        world = self.world
        return Return(
            *(world.session, world.stack, world.operator.tell, statuses),
            **{"command": "payment-infra rollback --suffix dev", "allow": (), **more},
        )

    def roll_back(self, operator: FakeOperator | None = None, **more: Any) -> Result:
        world = self.world
        who = operator or world.operator
        return intervention.roll_back(
            world.stack,
            who,
            check=self.check(**more),
            lock=lambda: Lock.acquire(world.session, world.stack, "rollback", who.tell),
            yes=operator is None,
        )

    def refused(self) -> str:
        with pytest.raises(AwsError) as refusal:
            self.roll_back()
        assert self.world.aws.called("cloudformation:RollbackStack") == []
        assert self.world.aws.called("cloudformation:ContinueUpdateRollback") == []
        return str(refusal.value)


@pytest.fixture
def failed(world: World) -> Failed:
    return Failed(world, {"ProcessingFunction": OTHER, "RetryFunction": OTHER})


@pytest.mark.parametrize("status", ["UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED"])
@pytest.mark.parametrize(
    "has",
    [
        {"ProcessingFunction": OTHER, "RetryFunction": OTHER},
        {"ProcessingFunction": ACME, "RetryFunction": OTHER},
    ],
)
def test_a_rollback_to_another_gateway_is_refused_while_a_payment_is_in_flight(
    failed: Failed, has: dict[str, str], status: str
) -> None:
    failed.has = has
    failed.happen(status)
    failed.world.begin()
    assert failed.refused() == (
        f"stack {NAME}: the rollback changes the gateway from {OTHER} to {ACME}, and 1 payment is "
        f"in flight: {STUCK} it, so it counts as stuck; wait until none is (`payment-infra payment "
        "list --suffix dev` shows them), or name it: `payment-infra rollback --suffix dev --allow "
        "gateway`"
    )


def test_a_rollback_without_payments_in_flight_is_made(failed: Failed) -> None:
    assert failed.roll_back().status == "UPDATE_ROLLBACK_COMPLETE"
    assert failed.world.cautions() == []


def test_a_rollback_that_is_named_is_made_and_told_once(failed: Failed) -> None:
    failed.world.begin()
    assert failed.roll_back(allow={"gateway"}).status == "UPDATE_ROLLBACK_COMPLETE"
    [caution] = failed.world.cautions()
    assert caution.endswith("so it counts as stuck")


def test_a_rollback_of_functions_that_have_the_gateway_already_is_made(failed: Failed) -> None:
    failed.world.begin()
    failed.has = {"ProcessingFunction": ACME, "RetryFunction": ACME}
    assert failed.roll_back().status == "UPDATE_ROLLBACK_COMPLETE"


def test_a_rollback_of_what_did_not_come_to_the_functions_is_made(failed: Failed) -> None:
    failed.world.begin()
    failed.after = [one for one in failed.after if "Function" not in one["LogicalResourceId"]]
    failed.happen()
    assert failed.roll_back().status == "UPDATE_ROLLBACK_COMPLETE"


@pytest.mark.parametrize("told", ["nothing", "no properties", "no start"])
def test_a_rollback_to_nobody_knows_what_is_refused_while_a_payment_is_in_flight(
    failed: Failed, told: str
) -> None:
    events = {
        "nothing": [],
        "no properties": [function_event(130, "ProcessingFunction", "UPDATE_COMPLETE", None)],
        "no start": [],
    }
    failed.before = events[told]
    if told == "no start":
        failed.after = failed.after[-1:]
    failed.happen()
    assert failed.roll_back(allow={"gateway"}).changed  # nothing is in flight
    failed.world.aws.calls.clear()
    failed.happen()
    failed.world.begin()
    assert "the rollback may change the gateway, and 1 payment is in flight" in failed.refused()


def test_what_begins_while_a_rollback_is_asked_about_counts(failed: Failed) -> None:
    operator = Slow(failed.world)
    with pytest.raises(AwsError, match="1 payment is in flight"):
        failed.roll_back(operator)
    assert operator.asked == [f"stack {NAME} is UPDATE_FAILED. Roll it back?"]
    assert failed.world.aws.called("cloudformation:RollbackStack") == []


@pytest.mark.parametrize("status", ["UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED"])
def test_what_begins_while_a_deployment_asks_about_a_rollback_counts(
    failed: Failed, status: str
) -> None:
    failed.happen(status)
    operator = Slow(failed.world)
    flags: dict[str, Any] = {"gateway": OTHER, "gateway_secret": SECRET}
    assert "the rollback changes" in failed.world.refused(operator=operator, yes=False, **flags)
    assert len(operator.asked) == 1
    assert failed.world.deployed.status == status


def test_what_begins_while_a_cancellation_is_asked_about_counts(failed: Failed) -> None:
    failed.happen("UPDATE_IN_PROGRESS")
    operator, check = Slow(failed.world), failed.check({"UPDATE_IN_PROGRESS"})
    with pytest.raises(AwsError, match="1 payment is in flight"):
        intervention.cancel(failed.world.stack, operator, check=check, yes=False)
    assert len(operator.asked) == 1
    assert failed.world.aws.called("cloudformation:CancelUpdateStack") == []


@pytest.mark.parametrize("status", ["UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED"])
def test_a_deployment_that_begins_with_a_rollback_is_refused_as_well(
    failed: Failed, status: str
) -> None:
    failed.happen(status)
    failed.world.begin()
    line = failed.world.refused(gateway=OTHER, gateway_secret=SECRET)
    assert "the rollback changes the gateway" in line
    assert line.endswith(f"`{COMMAND} --allow gateway`")
    assert failed.world.aws.called("cloudformation:RollbackStack") == []
    flags: dict[str, Any] = {"gateway": ACME, "gateway_secret": SECRET}
    failed.world.deploy(allow=NAMED, **flags)
    assert failed.world.charges_at() == ACME


def test_a_stack_at_rest_has_nothing_to_roll_back_whatever_is_in_flight(failed: Failed) -> None:
    failed.happen("UPDATE_COMPLETE")
    failed.world.begin()
    assert "there is nothing to roll back" in failed.refused()


def test_a_cancelled_update_takes_its_gateway_back(failed: Failed) -> None:
    failed.happen("UPDATE_IN_PROGRESS")
    failed.world.begin()
    check = failed.check({"UPDATE_IN_PROGRESS"})
    with pytest.raises(AwsError, match="the rollback changes the gateway"):
        intervention.cancel(failed.world.stack, failed.world.operator, check=check, yes=True)
    assert failed.world.aws.called("cloudformation:CancelUpdateStack") == []
    named = failed.check({"UPDATE_IN_PROGRESS"}, allow={"gateway"})
    result = intervention.cancel(failed.world.stack, failed.world.operator, check=named, yes=True)
    assert result.status == "UPDATE_ROLLBACK_COMPLETE"


def test_a_deployment_waits_for_an_update_in_progress_as_before(failed: Failed) -> None:
    failed.happen("UPDATE_IN_PROGRESS")
    failed.world.deployed.timeline.extend([("UPDATE_COMPLETE", [])])
    failed.world.begin()
    assert failed.world.deploy(gateway=ACME, gateway_secret=SECRET).status == "UPDATE_COMPLETE"
