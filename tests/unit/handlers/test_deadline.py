"""The time budget: no step begins that might not end in time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from handlers import processing, validation
from handlers.shared import deadline as budget
from handlers.shared.clock import epoch_seconds
from handlers.shared.deadline import Deadline, OutOfTime
from handlers.shared.gateway import GATEWAY_TIMEOUT_SECONDS
from tests.unit.handlers.harness import Aws, Clock, CountingGateway, Response, call, load_event


def received(name: str, clock: Clock, seconds_ago: float, **changes: Any) -> dict[str, Any]:
    """Return an event that API Gateway got that long ago."""
    event = load_event(name, **changes)
    milliseconds = (epoch_seconds(clock.now) - seconds_ago) * 1000
    event["requestContext"]["requestTimeEpoch"] = int(milliseconds)
    return event


def process(clock: Clock, transaction_id: str, seconds_ago: float) -> Response:
    body = f'{{"transaction_id": "{transaction_id}"}}'
    return call(processing.handler, received("process", clock, seconds_ago, body=body))


def validated() -> str:
    return str(call(validation.handler, load_event("validate")).body["transaction_id"])


def test_the_longest_request_is_as_long_as_the_deadline_gives_it() -> None:
    claim = finish = send = let_go = budget.CALL_SECONDS
    charge = budget.FETCH_SECONDS + GATEWAY_TIMEOUT_SECONDS
    longest = claim + charge + finish + send + let_go
    assert longest == budget.REQUEST_SECONDS == 28
    assert budget.REQUEST_SECONDS < budget.INTEGRATION_SECONDS == 29
    assert claim + charge + finish + let_go + 1 == budget.MESSAGE_SECONDS
    read = write = note = budget.CALL_SECONDS
    assert charge + read + write + note == 23


def test_a_request_that_waited_too_long_to_be_charged_is_queued_and_let_go(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    # What is left after the claim is a second less than the rest of the way may take.
    left_after_claim = budget.CHARGE_SECONDS + budget.SEND_AND_LET_GO_SECONDS
    answer = process(clock, transaction_id, budget.REQUEST_SECONDS - left_after_claim + 1)
    assert (answer.status, answer.body["retry"]) == (500, "queued")
    assert not gateway.keys
    assert "no_time_left" in aws.queued()[0]
    assert process(clock, transaction_id, 0).status == 200


def test_a_request_that_is_too_late_for_a_claim_is_only_queued(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    aws.dynamodb.calls.clear()
    for_claim = budget.CALL_SECONDS + budget.SEND_AND_LET_GO_SECONDS
    answer = process(clock, transaction_id, budget.REQUEST_SECONDS - for_claim + 1)
    assert (answer.status, answer.body["retry"]) == (500, "queued")
    assert not aws.dynamodb.calls


def test_a_charge_begins_only_if_all_that_may_follow_ends_in_time(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    left_after_claim = budget.CHARGE_SECONDS + budget.SEND_AND_LET_GO_SECONDS
    answer = process(clock, transaction_id, budget.REQUEST_SECONDS - left_after_claim)
    assert answer.status == 200


@pytest.mark.parametrize("seconds_ago", [-600, -60, -1, 29, 60, 600, 10**9])
def test_a_receipt_that_cannot_be_true_of_this_request_counts_for_nothing(
    aws: Aws, clock: Clock, gateway: CountingGateway, seconds_ago: float
) -> None:
    assert process(clock, validated(), seconds_ago).status == 200


@pytest.mark.parametrize("epoch", [None, "soon", [], 1e400, -(10**20), {}])
def test_a_receipt_that_is_no_time_counts_for_nothing(clock: Clock, epoch: object) -> None:
    event = {"requestContext": {"requestTimeEpoch": epoch}}
    ends_at = Deadline.of_request(event, clock, 0).ends_at
    assert ends_at == clock.now + timedelta(seconds=budget.REQUEST_SECONDS)
    assert Deadline.of_request({}, clock, 0).ends_at == ends_at


def test_a_secret_is_fetched_only_if_there_is_time_for_that(
    aws: Aws, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr("handlers.shared.aws.clients.gateway", lambda: made.append("gateway"))
    transaction_id = validated()
    claim = aws.dynamodb.update_item

    def slow(**params: Any) -> dict[str, Any]:
        clock.tick(budget.CALL_SECONDS)
        return claim(**params)

    monkeypatch.setattr(aws.dynamodb, "update_item", slow)
    fits = budget.REQUEST_SECONDS - budget.CALL_SECONDS - budget.SEND_AND_LET_GO_SECONDS
    assert process(clock, transaction_id, fits).status == 500
    assert not made


def test_a_validation_without_time_for_the_table_is_queued(aws: Aws, clock: Clock) -> None:
    late = budget.REQUEST_SECONDS - 2 * budget.CALL_SECONDS + 1
    answer = call(validation.handler, received("validate", clock, late))
    assert (answer.status, answer.body["retry"]) == (500, "queued")
    assert not aws.dynamodb.calls
    in_time = call(validation.handler, received("validate", clock, late - 1))
    assert in_time.status == 200


def test_what_is_reserved_cannot_be_taken_by_a_step(clock: Clock) -> None:
    deadline = Deadline(clock.now + timedelta(seconds=10), clock, reserved_seconds=4)
    deadline.require(6)
    with pytest.raises(OutOfTime):
        deadline.require(6.001)
    clock.tick(6)
    deadline.require(0)
    clock.tick(0.001)
    with pytest.raises(OutOfTime):
        deadline.require(0)
