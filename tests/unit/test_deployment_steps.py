"""The steps of a deployment: what is asked, what is protected, what is left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.deploying.deployment import NO_CANARY, Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.events import Caution, Event, Outputs, Preview, Result, StackEvent
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.stack import Outdated, Stack
from payment_infra.config import PRESETS
from payment_infra.errors import AwsError, Declined, Interrupted, PaymentInfraError, UsageError
from payment_infra.names import CANARY_ALARMS
from payment_infra.rendering import read_document
from payment_infra.sources import DEFAULTS, resolve
from tests.aws import FakeAws, FakeBucket, FakeStack, Refused, event

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session

from tests.operators import FakeOperator
from tests.versions import FakeVersions

NAME = "payment-infra-dev"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:acme/key-AbCdEf"
READY: dict[str, Any] = {"throttle_rate_limit": 5}
PRODUCTION: dict[str, Any] = {"preset": "production", "gateway": "simulated"}


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws(buckets={"zips": FakeBucket()})


@pytest.fixture
def session(aws: FakeAws) -> Session:
    return aws.session()


def run(
    session: Session,
    operator: FakeOperator | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    options: DeployOptions | None = None,
    **flags: object,
) -> Result:
    resolved = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
    stack = Stack(session.client("cloudformation"), NAME, lambda _: None, "--suffix dev")
    chosen = options or DeployOptions(yes=True)
    return Deployment(session, stack, resolved, chosen, operator or FakeOperator(), clock).run()


# The preview and the questions.


def test_a_preview_comes_before_the_question_and_the_question_before_any_change(
    session: Session, aws: FakeAws
) -> None:
    operator = FakeOperator(answer=False)
    with pytest.raises(Declined):
        run(session, operator, options=DeployOptions())
    [preview] = operator.told
    assert isinstance(preview, Preview)
    assert (preview.creates, preview.account, preview.region) == (
        True,
        "123456789012",
        "eu-central-1",
    )
    assert {one.action for one in preview.changes} == {"Add"}
    assert operator.asked == [f"Create the stack {NAME} in eu-central-1: {preview.counts}?"]
    assert preview.counts == f"{len(preview.changes)} to add"
    assert (aws.stacks, aws.change_sets) == ({}, {})


def test_yes_skips_the_question_and_not_the_preview(session: Session) -> None:
    operator = FakeOperator()
    assert run(session, operator).changed
    kinds = [type(one) for one in operator.told]
    assert kinds[0] is Preview
    assert kinds[-1] is Outputs
    assert StackEvent in kinds


def test_where_nobody_can_be_asked_nothing_is_uploaded(session: Session, aws: FakeAws) -> None:
    with pytest.raises(UsageError, match="--yes"):
        run(session, options=DeployOptions())
    assert aws.changes() == []


def test_a_modification_is_shown_with_its_values_and_code_by_digest(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    template = aws.stacks[NAME].template
    digest = template.split("payment-infra/validation/")[1][:12]
    aws.stacks[NAME].template = template.replace(digest, "0" * 12, 1)
    operator = FakeOperator()
    run(session, operator, runtime="python3.12")
    [preview] = operator.of(Preview)
    [change] = [one for one in preview.changes if one.logical_id == "ValidationFunction"]
    shown = {one.path: (one.old, one.new) for one in change.properties}
    assert shown == {"code": ("0" * 12, digest), "Runtime": ("python3.13", "python3.12")}


BROADENING: dict[str, Any] = {"gateway_secret": SECRET}


def test_an_update_that_broadens_iam_asks_even_with_yes(session: Session, aws: FakeAws) -> None:
    run(session)
    before = aws.stacks[NAME].template
    operator = FakeOperator(answer=False)
    with pytest.raises(Declined):
        run(session, operator, **BROADENING)
    assert operator.asked == ["This update gives roles more than they have. Go ahead?"]
    with pytest.raises(UsageError, match="--allow broaden"):
        run(session, **BROADENING)
    assert aws.stacks[NAME].template == before
    assert aws.change_sets == {}
    allowed = DeployOptions(yes=True, allow=frozenset({"broaden"}))
    assert run(session, options=allowed, **BROADENING).changed


def test_an_update_that_narrows_iam_does_not_ask(session: Session) -> None:
    run(session, **BROADENING)
    operator = FakeOperator()
    run(session, operator, gateway_secret="")
    [preview] = operator.of(Preview)
    assert [one.added for one in preview.grants] == [False, False, False]


@pytest.mark.parametrize("replacement", ["True", "Conditional"])
def test_an_update_that_replaces_a_table_asks_even_with_yes(
    replacement: str, session: Session, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(session)
    describe = aws.describe_change_set

    def replacing(params: dict[str, Any]) -> dict[str, Any]:
        answer = describe(params)
        for one in answer.get("Changes", []):
            if one["ResourceChange"]["ResourceType"] == "AWS::DynamoDB::Table":
                one["ResourceChange"]["Replacement"] = replacement
        return answer

    monkeypatch.setattr(aws, "describe_change_set", replacing)
    with pytest.raises(UsageError, match="--allow replace"):
        run(session, tags={"a": "b"})
    allowed = DeployOptions(yes=True, allow=frozenset({"replace"}))
    assert run(session, options=allowed, tags={"a": "b"}).changed


# A change set that is left, and executed later.


def test_a_change_set_is_left_and_executed_later(session: Session, aws: FakeAws) -> None:
    operator = FakeOperator()
    result = run(session, operator, options=DeployOptions(execute=False))
    assert not result.changed
    [preview] = operator.of(Preview)
    [caution] = operator.of(Caution)
    assert preview.change_set in caution.message
    assert list(aws.change_sets)
    later = DeployOptions(yes=True, change_set=preview.change_set)
    assert run(session, options=later).status == "CREATE_COMPLETE"
    assert aws.change_sets == {}


def leave(session: Session, **flags: Any) -> tuple[str, str]:
    """Leave a change set; return its name, and the hint that says how to execute it."""
    operator = FakeOperator()
    run(session, operator, options=DeployOptions(yes=True, execute=False), **flags)
    return operator.of(Preview)[0].change_set, operator.of(Caution)[-1].message


@pytest.mark.parametrize(
    ("before", "left", "flag", "protected"),
    [
        ({}, PRODUCTION, "--termination-protection", True),
        (READY, PRODUCTION, "--termination-protection", True),
        (READY, {}, "--no-termination-protection", False),
        (PRODUCTION, {"gateway": "simulated"}, "--termination-protection", True),
        (
            PRODUCTION | {"termination_protection": False},
            {"gateway": "simulated"},
            "--no-termination-protection",
            False,
        ),
    ],
)
def test_a_change_set_that_is_executed_later_keeps_the_termination_protection(
    session: Session,
    aws: FakeAws,
    before: dict[str, Any],
    left: dict[str, Any],
    flag: str,
    protected: bool,
) -> None:
    if before:
        run(session, **before)
    name, hint = leave(session, **left, runtime="python3.12")
    assert f"--change-set {name} {flag} --suffix dev` executes it" in hint
    allow = frozenset({"broaden", "replace"})
    assert run(session, options=DeployOptions(yes=True, change_set=name, allow=allow)).changed
    assert aws.stacks[NAME].protected is protected


@pytest.mark.parametrize("wanted", [True, False])
def test_the_flag_decides_the_protection_of_a_change_set_executed_later(
    session: Session, aws: FakeAws, wanted: bool
) -> None:
    run(session, termination_protection=not wanted)
    name, hint = leave(session, termination_protection=wanted, runtime="python3.12")
    assert f" {'--' if wanted else '--no-'}termination-protection --suffix dev` executes it" in hint
    options = DeployOptions(yes=True, change_set=name)
    assert run(session, options=options, termination_protection=wanted).changed
    assert aws.stacks[NAME].protected is wanted


def test_a_change_set_of_no_stack_is_not_there(session: Session) -> None:
    with pytest.raises(AwsError, match="there is no stack"):
        run(session, options=DeployOptions(yes=True, change_set="payment-infra-1"))


# Nothing to do.


def test_nothing_to_do_takes_few_calls_after_the_credentials_check(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    aws.calls.clear()
    result = run(aws.session())
    assert not result.changed
    assert [name for name, _ in aws.calls] == [
        "sts:GetCallerIdentity",
        "cloudformation:DescribeStacks",
        "cloudformation:GetTemplate",
        "dynamodb:DescribeTable",
        "cloudformation:ListStackResources",
    ]


def test_a_stack_that_the_aws_cli_deployed_with_values_of_its_own_is_unchanged(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    assert aws.stacks[NAME].template.count("Default: zips\n") == 1
    aws.stacks[NAME].template = aws.stacks[NAME].template.replace("    Default: zips\n", "")
    assert not run(session).changed
    assert len(aws.called("cloudformation:CreateChangeSet")) == 1


def test_a_change_set_that_failed_in_an_earlier_run_is_cleaned_up(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    left = {"name": "payment-infra-0", "stack": aws.stacks[NAME], "failure": "no", "waits": 0}
    aws.change_sets["left"] = left
    run(session, options=DeployOptions(yes=True, execute=False), **READY)
    assert "left" not in aws.change_sets


def test_force_goes_the_long_way_and_leaves_no_change_set(session: Session, aws: FakeAws) -> None:
    run(session)
    result = run(session, options=DeployOptions(yes=True, force=True))
    assert not result.changed
    assert len(aws.called("cloudformation:CreateChangeSet")) == 2
    assert aws.change_sets == {}


ROLE = "arn:aws:iam::123456789012:role/cloudformation"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:events"


@pytest.mark.parametrize(
    "options",
    [
        DeployOptions(yes=True, role_arn=ROLE),
        DeployOptions(yes=True, notification_arns=(TOPIC,)),
        DeployOptions(yes=True, parameters={"LogRetentionDays": "30"}),
    ],
)
def test_an_option_that_differs_is_something_to_do(
    options: DeployOptions, session: Session, aws: FakeAws
) -> None:
    run(session)
    run(session, options=options)
    assert len(aws.called("cloudformation:CreateChangeSet")) == 2


def test_a_parameter_that_is_given_wins_and_an_unknown_one_is_refused(
    session: Session, aws: FakeAws
) -> None:
    run(session, options=DeployOptions(yes=True, parameters={"LogRetentionDays": "30"}))
    assert aws.stacks[NAME].parameters["LogRetentionDays"] == "30"
    before = aws.changes()
    with pytest.raises(UsageError, match="--parameter LogRetention: no such parameter; known are"):
        run(session, options=DeployOptions(yes=True, parameters={"LogRetention": "30"}))
    assert aws.changes() == before


@pytest.mark.parametrize(
    ("name", "flag"), [("EnvironmentSuffix", "--suffix"), ("ArtifactBucket", "--bucket")]
)
def test_a_parameter_that_a_deployment_follows_has_a_flag_of_its_own(
    name: str, flag: str, session: Session, aws: FakeAws
) -> None:
    with pytest.raises(UsageError, match=f"--parameter {name}: give {flag} instead"):
        run(session, options=DeployOptions(yes=True, parameters={name: "other"}))
    assert aws.changes() == []


# Protection and policy.


def test_production_is_protected_before_it_is_created(session: Session, aws: FakeAws) -> None:
    run(session, **PRODUCTION)
    changes = aws.changes()
    assert changes.index("cloudformation:UpdateTerminationProtection") < changes.index(
        "cloudformation:ExecuteChangeSet"
    )
    assert aws.stacks[NAME].protected


def test_protection_stays_unless_it_is_lifted_by_name(session: Session, aws: FakeAws) -> None:
    run(session, **PRODUCTION)
    others = {name: getattr(DEFAULTS, name) for name in PRESETS["production"]}
    del others["termination_protection"]
    others["preset"] = "development"
    options = DeployOptions(yes=True, allow=frozenset({"broaden", "replace"}))
    run(session, options=options, **others)
    assert aws.stacks[NAME].protected
    run(session, options=options, **others, termination_protection=False)
    assert not aws.stacks[NAME].protected


def test_protection_that_was_lifted_by_name_does_not_come_back_unasked(
    session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION, termination_protection=False)
    assert not aws.stacks[NAME].protected
    run(session, gateway="simulated", **READY)
    assert not aws.stacks[NAME].protected
    run(session, **PRODUCTION)
    assert aws.stacks[NAME].protected


def test_a_stack_policy_is_set_before_an_update_begins(session: Session, aws: FakeAws) -> None:
    run(session)
    policy = '{"Statement": []}'
    run(session, options=DeployOptions(yes=True, stack_policy=policy), **READY)
    changes = aws.changes()
    assert changes[-2:] == ["cloudformation:SetStackPolicy", "cloudformation:ExecuteChangeSet"]
    assert aws.stacks[NAME].policy == policy


# The operation itself.


def test_a_look_that_fails_after_the_end_is_made_again_and_fails_nothing(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    name = "cloudformation:DescribeStacks"

    def pause(_: float) -> None:
        aws.errors.pop(name, None)

    def ended(told: Event) -> None:
        if isinstance(told, StackEvent) and told.status == "UPDATE_COMPLETE":
            aws.errors[name] = Refused("Throttling")

    operator = FakeOperator(on_tell=ended)
    resolved = resolve({"suffix": "dev", "bucket": "zips", **READY}, {})
    stack = Stack(session.client("cloudformation"), NAME, pause, "--suffix dev")
    result = Deployment(session, stack, resolved, DeployOptions(yes=True), operator).run()
    assert result == Result(NAME, "UPDATE_COMPLETE", changed=True)
    assert operator.of(Outputs)


def test_detach_returns_as_soon_as_it_has_begun(session: Session, aws: FakeAws) -> None:
    aws.timeline = [("CREATE_IN_PROGRESS", [])]
    operator = FakeOperator()
    result = run(session, operator, options=DeployOptions(yes=True, detach=True))
    assert result == Result(NAME, "CREATE_IN_PROGRESS", changed=True)
    assert operator.of(StackEvent) == []
    assert aws.stacks[NAME].status == "CREATE_IN_PROGRESS"


def test_every_event_says_who_began_the_operation(session: Session, aws: FakeAws) -> None:
    run(session)
    [request] = aws.called("cloudformation:ExecuteChangeSet")
    assert request["ClientRequestToken"].startswith(
        "payment-infra--123456789012-Deployers-2Falice-40example-2Ecom-"
    )


def test_ctrl_c_while_it_goes_on_says_how_to_see_and_stop_it(
    session: Session, aws: FakeAws
) -> None:
    def pressed(told: Event) -> None:
        if isinstance(told, StackEvent):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as interrupted:
        run(session, FakeOperator(on_tell=pressed))
    assert interrupted.value.exit_code == 130
    assert "payment-infra watch --suffix dev" in str(interrupted.value)
    assert "payment-infra cancel --suffix dev" in str(interrupted.value)
    assert aws.changes()[-1] == "cloudformation:ExecuteChangeSet"
    assert NAME in aws.stacks


def test_ctrl_c_at_the_preview_leaves_nothing_behind(session: Session, aws: FakeAws) -> None:
    def pressed(told: Event) -> None:
        if isinstance(told, Preview):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(session, FakeOperator(on_tell=pressed))
    assert (aws.stacks, aws.change_sets) == ({}, {})


def test_ctrl_c_when_the_execution_has_just_begun_says_that_it_goes_on(
    session: Session, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = aws.answer

    def interrupted(service: str, name: str, params: dict[str, Any]) -> Any:
        answered = answer(service, name, params)
        if name == "ExecuteChangeSet":
            aws.stacks[NAME].timeline.appendleft(("CREATE_IN_PROGRESS", []))
            raise KeyboardInterrupt  # the call took effect, and its answer never came
        return answered

    monkeypatch.setattr(aws, "answer", interrupted)
    with pytest.raises(Interrupted, match=f"the operation on {NAME} is still in progress"):
        run(session)
    assert NAME in aws.stacks


def test_what_ends_before_the_execution_leaves_no_protected_empty_stack(
    session: Session, aws: FakeAws
) -> None:
    aws.errors["cloudformation:ExecuteChangeSet"] = Refused("AccessDenied")
    with pytest.raises(AwsError, match="not allowed to call ExecuteChangeSet"):
        run(session, **PRODUCTION)
    assert (aws.stacks, aws.change_sets) == ({}, {})


def test_an_operation_that_takes_too_long_is_cancelled(session: Session, aws: FakeAws) -> None:
    run(session)
    clock = iter(range(0, 1000, 40))
    aws.timeline = [("UPDATE_IN_PROGRESS", [])] * 20
    options = DeployOptions(yes=True, timeout_seconds=60)
    operator = FakeOperator()
    with pytest.raises(DeploymentFailed, match="was not done after 60 s, and was cancelled"):
        run(session, operator, lambda: next(clock), options, **READY)
    assert aws.stacks[NAME].status == "UPDATE_ROLLBACK_COMPLETE"
    assert [one.message for one in operator.of(Caution)] == ["not done after 60 s; cancelling"]


def test_what_a_creation_that_took_too_long_has_made_is_removed(
    session: Session, aws: FakeAws
) -> None:
    clock = iter(range(0, 1000, 40))
    made = event(9, "RetryLogGroup", "DELETE_SKIPPED") | {"ResourceType": "AWS::Logs::LogGroup"}

    def tell(told: object) -> None:
        if isinstance(told, Caution):  # that it is cancelled now
            aws.stacks[NAME].resources = {"RetryLogGroup": "CREATE_COMPLETE"}
            aws.timeline = [("DELETE_COMPLETE", [made])]

    aws.answers["logs:DeleteLogGroup"] = {}
    aws.timeline = [("CREATE_IN_PROGRESS", [])] * 20
    operator = FakeOperator(on_tell=tell)
    options = DeployOptions(yes=True, timeout_seconds=60)
    with pytest.raises(DeploymentFailed, match="and was cancelled"):
        run(session, operator, lambda: next(clock), options)
    assert aws.called("logs:DeleteLogGroup") == [{"logGroupName": "RetryLogGroup"}]
    assert len(operator.of(Caution)) == 1


def test_a_failure_names_the_root_cause_where_it_was_built(session: Session, aws: FakeAws) -> None:
    aws.timeline = [
        (
            "ROLLBACK_COMPLETE",
            [
                event(5, "AlarmTopic", "CREATE_FAILED", "Resource creation cancelled"),
                event(6, "FailedTransactionsQueue", "CREATE_FAILED", "Queue already exists"),
            ],
        )
    ]
    with pytest.raises(DeploymentFailed) as failed:
        run(session)
    assert str(failed.value).startswith(
        f"stack {NAME} is ROLLBACK_COMPLETE: FailedTransactionsQueue "
        "(Resources.FailedTransactionsQueue, built in payment_infra/groups/queues.py): "
        "Queue already exists; "
    )


def test_a_failure_without_a_rollback_says_what_undoes_it(session: Session, aws: FakeAws) -> None:
    aws.timeline = [("CREATE_FAILED", [event(5, "AlarmTopic", "CREATE_FAILED", "no")])]
    with pytest.raises(DeploymentFailed, match="`payment-infra rollback --suffix dev` undoes it"):
        run(session, options=DeployOptions(yes=True, rollback=False))


def test_a_create_that_failed_is_removed_and_made_again(session: Session, aws: FakeAws) -> None:
    run(session)
    aws.stacks[NAME].status = "ROLLBACK_COMPLETE"
    operator = FakeOperator(answer=True)
    assert run(session, operator, options=DeployOptions()).status == "CREATE_COMPLETE"
    assert operator.asked[0].startswith(f"stack {NAME} is ROLLBACK_COMPLETE")


# A key that comes to a stack.

KEYED: dict[str, Any] = {"customer_key": True}
BROADENS = DeployOptions(yes=True, allow=frozenset({"broaden"}))


def key_of(aws: FakeAws) -> tuple[bool, bool]:
    """Whether the deployed template has the key, and whether that encrypts."""
    text = aws.stacks[NAME].template
    return "EncryptionKey" in read_document(text)["Resources"], "SSESpecification" in text


def executed(aws: FakeAws) -> int:
    return len(aws.called("cloudformation:ExecuteChangeSet"))


def test_a_key_comes_to_a_stack_by_an_update_and_encrypts_by_a_second_one(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    came: list[tuple[bool, bool]] = []

    def ended(told: Event) -> None:
        if isinstance(told, StackEvent) and told.status == "UPDATE_COMPLETE":
            came.append(key_of(aws))

    operator = FakeOperator(answer=True, on_tell=ended)
    result = run(session, operator, options=DeployOptions(), **KEYED)
    assert came == [(True, False), (True, True)]
    assert result == Result(NAME, "UPDATE_COMPLETE", changed=True)
    assert operator.asked == ["This update gives roles more than they have. Go ahead?"]
    assert len(operator.of(Preview)) == len(operator.of(Outputs)) == 1
    [caution] = operator.of(Caution)
    assert "brings the key, and a second one encrypts with it what is stored" in caution.message
    assert "follows directly, without a question" in caution.message
    assert aws.change_sets == {}
    assert not run(session, **KEYED).changed


def changing(aws: FakeAws) -> list[str]:
    """Return the executions of change sets, and the conditional writes, which are the lock's."""
    return [
        name
        for name, params in aws.calls
        if name.endswith("ExecuteChangeSet")
        or (name.startswith("dynamodb:") and "ConditionExpression" in params)
    ]


def test_both_updates_are_made_with_one_lock(session: Session, aws: FakeAws) -> None:
    run(session)
    aws.calls.clear()
    run(session, options=BROADENS, **KEYED)
    writes = ["update" if "ExecuteChangeSet" in name else "lock" for name in changing(aws)]
    assert writes[0] == writes[-1] == "lock"
    assert (writes.count("update"), "update update" in " ".join(writes)) == (2, True)


def test_the_second_update_shifts_no_traffic_and_the_first_does(
    session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION, customer_key=False)
    aws.calls.clear()
    allowed = DeployOptions(yes=True, allow=frozenset({"broaden", "replace"}))
    run(session, options=allowed, **PRODUCTION)
    sent = [
        {one["ParameterKey"]: one.get("ParameterValue") for one in request["Parameters"]}
        for request in aws.called("cloudformation:CreateChangeSet")
    ]
    assert [values["TrafficShifting"] for values in sent] == ["canary", "at-once"]
    first, second = ({**values, "TrafficShifting": ""} for values in sent)
    assert first == second


def test_what_the_second_update_publishes_makes_old_versions_go(
    session: Session, aws: FakeAws
) -> None:
    """The first publishes nothing here, for it changes no function."""
    run(session, **PRODUCTION, customer_key=False)
    stack = aws.stacks[NAME]
    versions = FakeVersions(lambda: stack.outputs["TransactionsTableName"])
    versions.give(stack)
    aws.answers |= versions.answers()
    aws.answers["dynamodb:DescribeTable"] = {"Table": {"TableStatus": "ACTIVE"}}
    aws.answers["lambda:GetFunctionConcurrency"] = {}
    aws.answers["lambda:ListVersionsByFunction"] = {"Versions": []}
    run(
        session,
        options=DeployOptions(yes=True, allow=frozenset({"broaden", "replace"})),
        **PRODUCTION,
    )
    assert aws.called("lambda:ListVersionsByFunction")


def test_a_creation_encrypts_with_its_key_from_the_beginning(
    session: Session, aws: FakeAws
) -> None:
    operator = FakeOperator()
    run(session, operator, **KEYED)
    assert (executed(aws), key_of(aws)) == (1, (True, True))
    assert operator.of(Caution) == []


def failing_second(aws: FakeAws) -> FakeOperator:
    """Return an operator under whom the second update is rolled back."""

    def ended(told: Event) -> None:
        if isinstance(told, StackEvent) and told.status == "UPDATE_COMPLETE":
            bad = event(50, "TransactionsTable", "UPDATE_FAILED", "Limit exceeded")
            aws.timeline = [("UPDATE_ROLLBACK_COMPLETE", [bad])]

    return FakeOperator(on_tell=ended)


def test_where_somebody_is_faster_than_the_second_update_the_first_stands_and_that_is_told(
    session: Session, aws: FakeAws
) -> None:
    run(session)

    def ended(told: Event) -> None:
        if isinstance(told, StackEvent) and told.status == "UPDATE_COMPLETE":
            stack = aws.stacks[NAME]
            aws.timeline = [("UPDATE_IN_PROGRESS", [])] * 9
            aws._begin(stack, "UPDATE_IN_PROGRESS", "Console-UpdateStack-1")

    with pytest.raises(Outdated) as raised:
        run(session, FakeOperator(on_tell=ended), options=BROADENS, **KEYED)
    assert "somebody else works on it meanwhile (UPDATE_IN_PROGRESS since" in str(raised.value)
    assert str(raised.value).endswith(
        ": the update before stands, and `payment-infra deploy --suffix dev` makes this second one "
        "again"
    )


def test_where_the_second_update_fails_the_key_stays_and_the_next_deployment_makes_it(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    told = (
        r"stack payment-infra-dev is UPDATE_ROLLBACK_COMPLETE: TransactionsTable .*Limit exceeded.*"
        r"; the update before stands, and `payment-infra deploy --suffix dev` makes this second "
        "one again"
    )
    with pytest.raises(DeploymentFailed, match=told):
        run(session, failing_second(aws), options=BROADENS, **KEYED)
    assert key_of(aws) == (True, False)
    before, operator = executed(aws), FakeOperator()
    assert run(session, operator, **KEYED).changed
    assert (executed(aws) - before, key_of(aws)) == (1, (True, True))
    assert operator.of(Caution) == []


def test_what_has_the_key_and_does_not_encrypt_yet_is_not_deployed_to_without_it(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    with pytest.raises(DeploymentFailed):
        run(session, failing_second(aws), options=BROADENS, **KEYED)
    with pytest.raises(UsageError, match="customer_key"):
        run(session)


def test_where_the_first_update_fails_nothing_is_encrypted(session: Session, aws: FakeAws) -> None:
    run(session)
    aws.timeline = [("UPDATE_ROLLBACK_COMPLETE", [event(5, "EncryptionKey", "CREATE_FAILED")])]
    with pytest.raises(DeploymentFailed):
        run(session, options=BROADENS, **KEYED)
    assert (executed(aws), key_of(aws)) == (2, (False, False))


@pytest.mark.parametrize(
    "at", [StackEvent, "cloudformation:CreateChangeSet"], ids=["in the first", "between the two"]
)
def test_ctrl_c_leaves_the_second_update_to_the_next_deployment(
    at: Any, session: Session, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(session)
    answer = aws.answer

    def interrupted(service: str, name: str, params: dict[str, Any]) -> Any:
        if f"{service}:{name}" == at and executed(aws) == 2:
            raise KeyboardInterrupt
        return answer(service, name, params)

    def pressed(told: Event) -> None:
        if at is StackEvent and isinstance(told, StackEvent):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(aws, "answer", interrupted)
        with pytest.raises((Interrupted, KeyboardInterrupt)):
            run(session, FakeOperator(on_tell=pressed), options=BROADENS, **KEYED)
    assert (executed(aws), key_of(aws), aws.change_sets) == (2, (True, False), {})
    assert run(session, **KEYED).changed
    assert (executed(aws), key_of(aws)) == (3, (True, True))


def test_a_deployment_that_nobody_follows_says_what_encrypts(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    operator = FakeOperator()
    detached = DeployOptions(yes=True, allow=frozenset({"broaden"}), detach=True)
    run(session, operator, options=detached, **KEYED)
    assert (executed(aws), key_of(aws)) == (2, (True, False))
    said = "is made by `payment-infra deploy --suffix dev`, once this one has ended"
    assert said in operator.of(Caution)[0].message
    assert run(session, **KEYED).changed
    assert key_of(aws) == (True, True)


def test_a_change_set_that_is_left_brings_the_key_and_the_next_deployment_encrypts(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    operator = FakeOperator()
    run(session, operator, options=DeployOptions(execute=False), **KEYED)
    name, said = operator.of(Preview)[0].change_set, "is made by `payment-infra deploy"
    assert said in operator.of(Caution)[0].message
    operator = FakeOperator()
    later = DeployOptions(yes=True, allow=frozenset({"broaden"}), change_set=name)
    run(session, operator, options=later)
    assert said in operator.of(Caution)[0].message
    assert (executed(aws), key_of(aws)) == (2, (True, False))
    assert run(session, **KEYED).changed
    assert key_of(aws) == (True, True)


# The checks before.


def test_a_failed_check_ends_it_before_anything_is_changed(session: Session, aws: FakeAws) -> None:
    aws.stacks["payment-artifacts"] = FakeStack("payment-artifacts", outputs={"Other": "thing"})
    with pytest.raises(PaymentInfraError, match="payment-artifacts exists"):
        run(session, bucket=None)
    assert aws.changes() == []


def test_a_warning_of_the_checks_is_told_and_ends_only_a_strict_deployment(
    session: Session, aws: FakeAws
) -> None:
    few = {"AccountLimit": {"UnreservedConcurrentExecutions": 10}}
    aws.answers["lambda:GetAccountSettings"] = few
    with pytest.raises(PaymentInfraError, match="only 10 executions at once"):
        run(session, options=DeployOptions(yes=True, strict=True))
    assert aws.changes() == []
    operator = FakeOperator()
    assert run(session, operator).changed
    assert "only 10 executions at once" in operator.of(Caution)[0].message
    aws.stacks.clear()
    skipped = DeployOptions(yes=True, strict=True, skip_checks=frozenset({"quotas"}))
    assert run(session, options=skipped).changed


@pytest.mark.parametrize("flags", [{}, READY], ids=["unchanged", "updated"])
def test_a_deployment_fails_where_live_works_on_another_table(
    flags: dict[str, Any], session: Session, aws: FakeAws
) -> None:
    run(session)
    stack = aws.stacks[NAME]
    versions = FakeVersions(lambda: stack.outputs["TransactionsTableName"])
    versions.give(stack)
    aws.answers |= versions.answers()
    aws.answers["dynamodb:DescribeTable"] = {"Table": {"TableStatus": "ACTIVE"}}
    aws.answers["lambda:GetFunctionConcurrency"] = {}
    versions.named["RetryFunction"] = "1"
    told = "live of RetryFunction names version 1, which works on old, and not on "
    with pytest.raises(AwsError, match=told):
        run(session, **flags)
    versions.named["RetryFunction"] = "2"
    run(session, **flags)


# Traffic shifting.


def shifting(aws: FakeAws) -> str:
    return aws.stacks[NAME].parameters["TrafficShifting"]


def test_an_update_shifts_traffic_unless_it_is_to_be_at_once_which_no_later_one_keeps(
    session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION)
    assert shifting(aws) == "canary"
    at_once = DeployOptions(yes=True, at_once=True)
    run(session, options=at_once, **PRODUCTION, throttle_rate_limit=5)
    assert shifting(aws) == "at-once"
    run(session, **PRODUCTION, throttle_rate_limit=6)
    assert shifting(aws) == "canary"


@pytest.mark.parametrize("at_once", [True, False])
def test_how_traffic_shifts_is_no_change_of_its_own(
    at_once: bool, session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION)
    aws.stacks[NAME].parameters["TrafficShifting"] = "canary" if at_once else "at-once"
    options = DeployOptions(yes=True, at_once=at_once)
    assert not run(session, options=options, **PRODUCTION).changed


def test_at_once_is_what_an_update_without_a_canary_is_anyway_and_that_is_said(
    session: Session, aws: FakeAws
) -> None:
    at_once, told = DeployOptions(yes=True, at_once=True), Caution(NO_CANARY)
    for _ in range(2):  # the second changes nothing
        operator = FakeOperator()
        run(session, operator, options=at_once)
        assert operator.of(Caution).count(told) == 1
    assert "TrafficShifting" not in aws.stacks[NAME].parameters
    operator = FakeOperator(answer=True)
    run(session, operator, options=at_once, **PRODUCTION)
    assert told not in operator.of(Caution)


SHIFTED: dict[str, Any] = {**PRODUCTION, "runtime": "python3.14"}


def fire(aws: FakeAws, *alarms: str) -> None:
    """Let alarms, by their logical ids, be in ALARM, beside all others that are OK."""
    stack = aws.stacks[NAME]
    stack.resources |= dict.fromkeys(CANARY_ALARMS, "CREATE_COMPLETE")
    stack.physical_ids |= {alarm: f"{alarm}-dev" for alarm in CANARY_ALARMS}

    def describe(params: dict[str, Any]) -> dict[str, Any]:
        assert params == {
            "AlarmNames": [f"{alarm}-dev" for alarm in CANARY_ALARMS],
            "StateValue": "ALARM",
        }
        return {"MetricAlarms": [{"AlarmName": f"{alarm}-dev"} for alarm in alarms]}

    aws.answers["cloudwatch:DescribeAlarms"] = describe


@pytest.mark.parametrize("alarm", CANARY_ALARMS)
def test_an_update_that_an_alarm_of_the_canary_would_take_back_is_refused(
    alarm: str, session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION)
    fire(aws, alarm)
    executed = len(aws.called("cloudformation:ExecuteChangeSet"))
    operator = FakeOperator(answer=True)
    with pytest.raises(AwsError) as refused:
        run(session, operator, options=DeployOptions(allow=frozenset({"replace"})), **SHIFTED)
    assert str(refused.value) == (
        f"an alarm of the canary is in ALARM ({alarm}-dev), and would take this update back at "
        "once; wait until it is OK (`payment-infra status --suffix dev`), or give new versions all "
        "requests: `payment-infra deploy --at-once --suffix dev`"
    )
    assert operator.asked == []
    assert len(aws.called("cloudformation:ExecuteChangeSet")) == executed
    assert aws.change_sets == {}


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (DeployOptions(yes=True, at_once=True), SHIFTED),
        # No function changes, and so no version.
        (DeployOptions(yes=True), {**PRODUCTION, "alarm_email": "pay@example.com"}),
    ],
    ids=["at once", "no new version"],
)
def test_an_update_that_shifts_no_traffic_asks_no_alarm(
    options: DeployOptions, flags: dict[str, Any], session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION)
    fire(aws, *CANARY_ALARMS)
    assert run(session, options=options, **flags).changed
    assert not aws.called("cloudwatch:DescribeAlarms")


def test_an_update_shifts_traffic_while_no_alarm_is_in_alarm(
    session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION)
    fire(aws)
    assert run(session, **SHIFTED).changed
    assert len(aws.called("cloudwatch:DescribeAlarms")) == 1


def test_the_first_canary_has_no_alarms_to_ask(session: Session, aws: FakeAws) -> None:
    run(session, **PRODUCTION)
    assert run(session, **SHIFTED).changed
    assert not aws.called("cloudwatch:DescribeAlarms")


def test_a_preview_tells_of_an_alarm_and_the_change_set_that_it_leaves_is_refused(
    session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION)
    fire(aws, "CanaryServerErrorAlarm")
    operator = FakeOperator()
    run(session, operator, options=DeployOptions(execute=False), **SHIFTED)
    told = [one.message for one in operator.of(Caution)]
    assert told[0].startswith("an alarm of the canary is in ALARM (CanaryServerErrorAlarm-dev), ")
    [left] = aws.change_sets.values()
    options = DeployOptions(yes=True, allow=frozenset({"replace"}), change_set=left["name"])
    with pytest.raises(AwsError, match=r"canary is in ALARM \(CanaryServerErrorAlarm-dev\), and"):
        run(session, options=options)
    assert list(aws.change_sets.values()) == [left]


def test_alarms_that_cannot_be_read_do_not_stop_an_update(session: Session, aws: FakeAws) -> None:
    run(session, **PRODUCTION)
    fire(aws)
    aws.errors["cloudwatch:DescribeAlarms"] = Refused("AccessDenied", "no", 403)
    operator = FakeOperator()
    assert run(session, operator, **SHIFTED).changed
    told = [one.message for one in operator.of(Caution)]
    assert told[0].startswith("not known whether an alarm would take this update back: ")
