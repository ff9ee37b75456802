"""A deployment says that payments are stopped, or have lost their table, and undoes no half."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.events import Caution
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import AwsError
from payment_infra.sources import resolve
from tests.aws import FakeAws, FakeBucket, Refused
from tests.intake import EVERY, PROCESS, FakeIntake
from tests.operators import FakeOperator

if TYPE_CHECKING:
    from payment_infra.cloud.events import Result
    from tests.stacks import Answer

NAME = "payment-infra-dev"
TABLE = f"transactionstablename-{NAME}"
LOST = (
    f"the table {TABLE} is gone: no payment is recorded; `payment-infra restore --from-backup "
    "latest --suffix dev` brings it back from a backup"
)
STOPPED = "payments are stopped: process, retries"
RESUME = "`payment-infra resume --suffix dev`"
KEPT = f"{STOPPED}, and stay so; {RESUME} lets them in"


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake()


@pytest.fixture
def aws(intake: FakeIntake) -> FakeAws:
    aws = FakeAws(buckets={"zips": FakeBucket()})
    aws.answers |= intake.answers()
    run(aws)
    stack = aws.stacks[NAME]
    stack.resources = dict.fromkeys(("PaymentAPI", "RetryEventSource"), "CREATE_COMPLETE")
    stack.physical_ids = {"RetryEventSource": "14e0db71-5d35-4eb5-b481-8945cf9d10c2"}
    return aws


@pytest.fixture
def operator() -> FakeOperator:
    return FakeOperator()


def run(aws: FakeAws, operator: FakeOperator | None = None, **flags: object) -> Result:
    """Deploy with these flags, as the command does with --yes."""
    options = DeployOptions(
        yes=True,
        force=bool(flags.pop("force", False)),
        execute=not flags.pop("no_execute", False),
        change_set=str(flags.pop("change_set", "")) or None,
    )
    session = aws.session()
    stack = Stack(session.client("cloudformation"), NAME, lambda _: None, "--suffix dev")
    resolved = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
    return Deployment(session, stack, resolved, options, operator or FakeOperator()).run()


def cautions(operator: FakeOperator) -> list[str]:
    return [one.message for one in operator.of(Caution)]


def describe(aws: FakeAws, answer: Answer | Refused) -> None:
    if isinstance(answer, Refused):
        aws.errors["dynamodb:DescribeTable"] = answer
    else:
        aws.answers["dynamodb:DescribeTable"] = answer


@pytest.mark.parametrize("force", [False, True])
def test_nothing_to_change_is_no_success_where_the_table_is_gone(
    force: bool, aws: FakeAws, operator: FakeOperator
) -> None:
    describe(aws, Refused("ResourceNotFoundException"))
    with pytest.raises(AwsError) as raised:
        run(aws, operator, force=force)
    assert str(raised.value) == LOST
    assert cautions(operator) == ([LOST] if force else [])


@pytest.mark.parametrize(
    ("status", "lost"), [("ACTIVE", False), ("UPDATING", False), ("DELETING", True)]
)
def test_only_a_table_that_does_not_come_back_is_lost(
    status: str, lost: bool, aws: FakeAws
) -> None:
    describe(aws, {"Table": {"TableStatus": status}})
    if lost:
        with pytest.raises(AwsError, match=f"the table {TABLE} is DELETING: no payment is rec"):
            run(aws)
    else:
        assert not run(aws).changed


def test_a_change_is_made_although_the_table_is_gone_and_that_is_told(
    aws: FakeAws, operator: FakeOperator
) -> None:
    describe(aws, Refused("ResourceNotFoundException"))
    assert run(aws, operator, throttle_rate_limit=5).changed
    assert cautions(operator) == [LOST]


def test_who_may_not_look_at_the_table_is_told_and_not_stopped(
    aws: FakeAws, operator: FakeOperator
) -> None:
    describe(aws, Refused("AccessDeniedException", "not yours"))
    assert not run(aws, operator).changed
    assert cautions(operator) == [
        f"not known whether payments have their table: table {TABLE}: not allowed to call "
        "DescribeTable (not yours)"
    ]


@pytest.fixture
def stopped(intake: FakeIntake) -> None:
    intake.methods = {"*/*": EVERY, PROCESS: {**EVERY, "throttlingRateLimit": 0.0}}
    intake.state = "Disabled"


def touching(aws: FakeAws, logical_id: str) -> None:
    """Let the next change set change this resource, too."""
    change = {
        "Action": "Modify",
        "LogicalResourceId": logical_id,
        "ResourceType": "AWS::ApiGateway::Stage",
        "Details": [],
    }
    aws.further_changes = [{"Type": "Resource", "ResourceChange": change}]


@pytest.mark.usefixtures("stopped")
def test_a_change_that_leaves_the_stop_alone_is_made_and_the_stop_is_told(
    aws: FakeAws, operator: FakeOperator
) -> None:
    touching(aws, "ProcessingFunction")
    assert run(aws, operator, throttle_rate_limit=5).changed
    assert cautions(operator) == [KEPT]


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("force", [False, True])
def test_nothing_to_change_says_that_payments_are_stopped(
    force: bool, aws: FakeAws, operator: FakeOperator
) -> None:
    assert not run(aws, operator, force=force).changed
    assert cautions(operator) == [KEPT]


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("logical_id", ["PaymentAPIStage", "RetryEventSource"])
def test_a_change_that_could_undo_half_of_the_stop_is_refused(
    logical_id: str, aws: FakeAws, operator: FakeOperator
) -> None:
    touching(aws, logical_id)
    with pytest.raises(AwsError) as raised:
        run(aws, operator, throttle_rate_limit=5)
    assert str(raised.value) == (
        f"{STOPPED}, and this update could let in a part of them, since it changes {logical_id}; "
        f"{RESUME} first"
    )
    assert aws.change_sets == {}
    assert aws.stacks[NAME].parameters["ThrottleRateLimit"] == "1000"


@pytest.mark.usefixtures("stopped")
def test_a_preview_only_says_so_and_what_it_has_kept_is_refused(
    aws: FakeAws, operator: FakeOperator
) -> None:
    touching(aws, "PaymentAPIStage")
    assert not run(aws, operator, throttle_rate_limit=5, no_execute=True).changed
    assert cautions(operator)[0].startswith(f"{STOPPED}, and this update could let in a part")
    [name] = [one["name"] for one in aws.change_sets.values()]
    with pytest.raises(AwsError, match="could let in a part of them"):
        run(aws, change_set=name)
    assert [one["name"] for one in aws.change_sets.values()] == [name]


def test_while_payments_are_let_in_nothing_is_said(aws: FakeAws, operator: FakeOperator) -> None:
    touching(aws, "PaymentAPIStage")
    assert run(aws, operator, throttle_rate_limit=5).changed
    assert cautions(operator) == []


def test_who_may_not_look_at_the_stage_is_told_and_not_stopped(
    aws: FakeAws, operator: FakeOperator
) -> None:
    aws.errors["apigateway:GetStage"] = Refused("AccessDeniedException", "not yours")
    assert run(aws, operator, throttle_rate_limit=5).changed
    [caution] = cautions(operator)
    assert caution.startswith("not known whether payments are stopped: stage of the API: not all")


FUNCTIONS = ("ValidationFunction", "ProcessingFunction", "RetryFunction", "HealthMonitorFunction")


@pytest.mark.parametrize("flags", [{}, {"throttle_rate_limit": 5}])
def test_functions_that_may_not_run_are_told(
    flags: dict[str, Any], aws: FakeAws, operator: FakeOperator
) -> None:
    aws.stacks[NAME].resources |= dict.fromkeys(FUNCTIONS, "CREATE_COMPLETE")
    aws.answers["lambda:GetFunctionConcurrency"] = lambda params: (
        {"ReservedConcurrentExecutions": 0} if "Retry" in params["FunctionName"] else {}
    )
    assert run(aws, operator, **flags).changed is bool(flags)
    assert cautions(operator) == [
        "RetryFunction does not run: its reserved concurrency is 0, and stays so; `aws lambda "
        "delete-function-concurrency --function-name RetryFunction --region eu-central-1` lets "
        "it run"
    ]


def test_stopped_payments_stay_so_where_nobody_knows_whether_functions_may_run(
    aws: FakeAws, intake: FakeIntake, operator: FakeOperator
) -> None:
    intake.state = "Disabled"
    aws.stacks[NAME].resources |= dict.fromkeys(FUNCTIONS, "CREATE_COMPLETE")
    aws.errors["lambda:GetFunctionConcurrency"] = Refused("AccessDeniedException")
    assert not run(aws, operator).changed
    unknown, stopped = cautions(operator)
    assert unknown.startswith("not known whether the functions may run: ")
    assert stopped.startswith("payments are stopped: retries, and stay so; ")
