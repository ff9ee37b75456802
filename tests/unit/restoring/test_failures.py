"""What fails on the way is one line, and says whether payments are stopped and what to do."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from payment_infra.cloud.environment.journal import Phase
from payment_infra.cloud.events import Caution, StackEvent, StepBegun, Waiting
from payment_infra.cloud.sdk import network
from payment_infra.errors import AwsError, Declined, Interrupted, PaymentInfraError
from tests.http import Response, answering
from tests.intake import EVERY
from tests.restoring import OWN, World
from tests.stacks import Answer, Refused

EXPIRED = Refused("ExpiredTokenException", "The security token included has expired")
STOPPED = (
    "payments are stopped; the same command continues, `payment-infra restore --undo --suffix dev` "
    "goes back, `payment-infra resume --suffix dev` lets them in where they are"
)


def cautions(world: World) -> list[str]:
    return [one.message for one in world.operator.of(Caution)]


def failing_first(world: World, operation: str, error: Refused, times: int = 3) -> None:
    """Let an operation fail, then answer as it would."""
    answer: Any = world.aws.answers[operation]
    failures: Iterator[int] = iter(range(times))

    def answers(params: Answer) -> Answer:
        if next(failures, None) is not None:
            raise error
        answered: Answer = answer(params)
        return answered

    world.aws.answers[operation] = answers


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("dynamodb:UpdateContinuousBackups", Refused("ThrottlingException")),
        ("dynamodb:UpdateContinuousBackups", Refused("InternalServerError", status=500)),
        ("lambda:GetEventSourceMapping", Refused("TooManyRequestsException", status=429)),
    ],
)
def test_what_is_throttled_while_it_is_waited_for_is_asked_again(
    world: World, operation: str, error: Refused
) -> None:
    failing_first(world, operation, error)
    world.restore()
    assert world.active != OWN
    assert world.intake.state == "Enabled"


THROTTLED = Refused("TooManyRequestsException", "Too Many Requests", 429)
BROKEN = Refused("InternalFailure", "try later", 500)


@pytest.mark.parametrize("error", [THROTTLED, BROKEN], ids=["throttled", "broken"])
@pytest.mark.parametrize("lost", [False, True], ids=["refused", "answer-lost"])
@pytest.mark.parametrize(
    ("step", "operation"),
    [
        ("Stop payments", "apigateway:GetStage"),
        ("Stop payments", "apigateway:UpdateStage"),
        ("Stop payments", "lambda:UpdateEventSourceMapping"),
        ("Stop payments", "lambda:GetFunctionConfiguration"),
        ("Carry over", "dynamodb:Scan"),
        ("Carry over", "dynamodb:BatchGetItem"),
        ("Carry over", "dynamodb:PutItem"),
        ("Carry over", "dynamodb:UpdateItem"),
        ("Move the stack", "cloudformation:DescribeStacks"),
        ("Move the stack", "cloudformation:CreateChangeSet"),
        ("Move the stack", "cloudformation:DescribeChangeSet"),
        ("Move the stack", "cloudformation:ExecuteChangeSet"),
        ("Let payments in", "apigateway:GetStage"),
        ("Let payments in", "apigateway:UpdateStage"),
        ("Let payments in", "lambda:UpdateEventSourceMapping"),
        ("Let payments in", "dynamodb:UpdateItem"),
    ],
)
def test_while_payments_are_stopped_what_passes_is_waited_out_for_minutes(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    operation: str,
    lost: bool,
    error: Refused,
) -> None:
    failures = failing_from(world, monkeypatch, step, operation, error, lost=lost)
    world.restore()
    assert next(failures, None) is None
    assert world.active != OWN
    assert (world.intake.methods, world.intake.state) == ({"*/*": EVERY}, "Enabled")
    assert world.journal.phase is Phase.DONE


def failing_from(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    operation: str,
    error: Refused,
    *,
    lost: bool,
) -> Iterator[int]:
    """Let an operation fail some times from a step on, before or after it has taken effect."""
    failures, begun = iter(range(1 if lost else 10)), False
    answer_as = world.aws.answer

    def note(event: object) -> None:
        nonlocal begun
        begun = begun or (isinstance(event, StepBegun) and event.text.startswith(step))

    def answer(service: str, name: str, params: Answer) -> Answer:
        fails = begun and f"{service}:{name}" == operation and next(failures, None) is not None
        if fails and not lost:
            raise error
        answered = answer_as(service, name, params)
        if fails:
            raise error
        return answered

    world.operator.on_tell = note
    monkeypatch.setattr(world.aws, "answer", answer)
    return failures


def test_an_event_source_that_takes_no_change_yet_is_asked_again(world: World) -> None:
    busy = Refused("ResourceInUseException", "in use")
    failing_first(world, "lambda:UpdateEventSourceMapping", busy)
    world.restore()
    assert (world.active != OWN, world.intake.state) == (True, "Enabled")


def test_a_stack_that_has_moved_is_looked_at_until_it_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe, failures = world.aws.describe_stacks, iter(range(10))

    def moved(params: Answer) -> Answer:
        if next(failures, None) is not None:
            raise THROTTLED
        return describe(params)

    def note(event: object) -> None:
        if isinstance(event, StackEvent) and event.status == "UPDATE_COMPLETE":
            monkeypatch.setattr(world.aws, "describe_stacks", moved)

    world.operator.on_tell = note
    world.restore()
    assert (next(failures, None), world.active != OWN) == (None, True)
    assert world.intake.methods == {"*/*": EVERY}


def test_what_is_waited_out_is_told_and_ends_at_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = ("Let payments in", "apigateway:UpdateStage")
    failing_from(world, monkeypatch, *of, THROTTLED, lost=False)
    world.restore()
    told = "stage of the API: AWS throttles UpdateStage, trying again"
    assert [one.what for one in world.operator.of(Waiting)].count(told) == 10
    world.aws.errors["apigateway:UpdateStage"] = THROTTLED
    with pytest.raises(AwsError, match="AWS throttles UpdateStage; wait a little and repeat"):
        world.undo()
    assert 600 <= sum(world.pauses) <= 900
    assert cautions(world)[-1] == STOPPED


def test_a_new_table_whose_look_is_throttled_is_looked_at_again(world: World) -> None:
    describe, looks = world.tables.answers()["dynamodb:DescribeTable"], iter(range(3))

    def answer(params: Answer) -> Answer:
        if params["TableName"] != OWN and world.copies and next(looks, None) is not None:
            raise Refused("ThrottlingException")
        return describe(params)

    world.aws.answers["dynamodb:DescribeTable"] = answer
    world.restore()
    assert world.active != OWN


@pytest.mark.parametrize(
    "operation",
    [
        "dynamodb:Scan",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
        "cloudformation:ExecuteChangeSet",
        "*",
    ],
)
def test_credentials_that_expire_are_one_line_and_whether_payments_are_stopped(
    world: World, operation: str
) -> None:
    def expire(_: object) -> None:
        if not world.intake.takes_retries:
            world.aws.errors[operation] = EXPIRED

    world.lose("lost", "validated")
    world.operator.on_tell = expire
    with pytest.raises(AwsError, match="expired; sign in again") as raised:
        world.restore()
    assert "\n" not in str(raised.value)
    assert cautions(world)[-1] == STOPPED
    world.operator.on_tell = lambda _: None
    world.aws.errors.clear()
    world.restore()
    assert world.intake.methods == {"*/*": EVERY}


def test_credentials_that_expire_before_anything_is_stopped_say_nothing_of_it(
    world: World,
) -> None:
    world.aws.errors["dynamodb:Scan"] = EXPIRED
    with pytest.raises(AwsError, match="expired"):
        world.restore()
    assert cautions(world) == []


def stopped(world: World) -> None:
    world.aws.errors["dynamodb:PutItem"] = EXPIRED
    with pytest.raises(AwsError):
        world.restore()
    world.aws.errors.clear()
    world.operator.told.clear()


@pytest.mark.parametrize("run", [World.restore, World.undo])
def test_a_no_while_payments_are_stopped_says_that_they_are(
    world: World, run: Callable[..., object]
) -> None:
    stopped(world)
    world.operator.answer = False
    with pytest.raises(Declined):
        run(world, yes=False)
    assert cautions(world) == [STOPPED]


def test_an_end_half_done_that_fails_says_that_payments_are_stopped(world: World) -> None:
    stopped(world)
    world.aws.errors["apigateway:UpdateStage"] = Refused("InternalError", "try later")
    with pytest.raises(AwsError, match="try later"):
        world.undo()
    assert cautions(world) == [STOPPED]
    world.aws.errors.clear()
    world.undo()
    assert (world.active, world.intake.methods, world.intake.state) == (
        OWN,
        {"*/*": EVERY},
        "Enabled",
    )


def test_a_signal_while_requests_come_to_their_end_says_that_payments_are_stopped(
    world: World, arriving: signal.Signals
) -> None:
    def interrupt(event: object) -> None:
        if "requests that have begun" in str(event):
            signal.raise_signal(arriving)

    world.operator.on_tell = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.restore()
    assert cautions(world) == [STOPPED]


def test_a_signal_while_the_copy_is_made_says_how_it_goes_on(
    world: World, arriving: signal.Signals
) -> None:
    def interrupt(event: object) -> None:
        if "is CREATING" in str(event):
            signal.raise_signal(arriving)

    world.operator.on_tell = interrupt
    with pytest.raises(Interrupted, match=f"payments go on in {OWN}; the same command continues"):
        world.restore()
    assert cautions(world) == []


@dataclass
class FakeHttp:
    """The deployed API: it refuses every request with a status, or does not answer."""

    status: int
    content: bytes = b'{"error": "Internal error"}'
    requests: list[Any] = field(default_factory=list)

    @property
    def status_code(self) -> int:
        return self.status

    @property
    def text(self) -> str:
        return self.content.decode()

    def send(self, request: Any) -> FakeHttp:
        from botocore.exceptions import EndpointConnectionError

        if not self.status:
            raise EndpointConnectionError(endpoint_url=request.url)
        self.requests.append(request)
        return self


@pytest.mark.parametrize("status", [500, 0])
def test_a_check_that_fails_says_that_payments_are_let_in_and_how_to_go_back(
    world: World, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(network, "URLLib3Session", lambda **_: FakeHttp(status))
    with pytest.raises(PaymentInfraError, match="payments are let in, but the check at") as raised:
        world.restore(smoke=True)
    assert str(raised.value).endswith(
        "the same command checks again, `payment-infra restore --undo --suffix dev` goes back"
    )
    assert world.intake.methods == {"*/*": EVERY}
    assert STOPPED not in cautions(world)
    copy = world.active
    report = world.restore()  # this time, the check is left out
    assert (report.document["copy"], world.active) == (copy, copy)
    world.undo()
    assert world.active == OWN


@pytest.mark.parametrize(
    ("gateway", "pay", "charged"),
    [("", False, True), ("acme:Acme", False, False), ("acme:Acme", True, True)],
)
def test_a_restore_during_an_incident_ends_well_and_charges_no_real_card_unasked(
    world: World, monkeypatch: pytest.MonkeyPatch, gateway: str, pay: bool, charged: bool
) -> None:
    http = answering(monkeypatch)
    http.answers["health"] = Response(200, b'{"overall_status": "degraded"}')
    world.aws.answers["lambda:GetFunctionConfiguration"] = {
        "Timeout": 29,
        "Environment": {"Variables": {"GATEWAY": gateway} if gateway else {}},
    }
    world.restore(smoke=True, pay=pay)
    assert (world.active != OWN, http.processed) == (True, charged)
    untried = (
        "not tried: a charge, which moves money at acme.py:Acme; --pay makes one of 100.50 USD"
    )
    assert cautions(world) == [
        *([] if charged else [untried]),
        "the system is not healthy: 200 degraded",
    ]


def test_a_gateway_that_cannot_be_read_is_not_taken_for_the_simulated_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = answering(monkeypatch)
    world.aws.answers["lambda:GetFunctionConfiguration"] = {
        "FunctionName": "payment-processing-dev",
        "Timeout": 29,
        "Environment": {"Error": {"ErrorCode": "AccessDenied", "Message": "no key"}},
    }
    told = r"payments are let in, .* the payment gateway, cannot be read \(no key\); the same"
    with pytest.raises(PaymentInfraError, match=told):
        world.restore(smoke=True)
    assert (http.requests, world.intake.methods) == ([], {"*/*": EVERY})
