"""Payments are let in only where what `live` names works on the table that they are in."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.environment.journal import Phase
from payment_infra.errors import AwsError
from tests.restoring import OWN, World
from tests.stacks import Refused
from tests.versions import FakeVersions

if TYPE_CHECKING:
    from tests.intake import FakeIntake


@pytest.fixture
def versions(world: World) -> FakeVersions:
    versions = FakeVersions(lambda: world.active)
    versions.give(world.stack)
    world.aws.answers |= versions.answers()
    return versions


def is_stopped(intake: FakeIntake) -> bool:
    return not intake.takes_requests and not intake.takes_retries


FUNCTIONS = ("ValidationFunction", "ProcessingFunction", "RetryFunction", "HealthMonitorFunction")


def test_a_restore_and_its_undo_let_payments_in_where_live_has_moved_along(
    world: World, versions: FakeVersions
) -> None:
    world.restore()
    assert world.intake.takes_requests
    assert world.active != OWN
    world.undo()
    assert world.intake.takes_requests
    assert world.active == OWN


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_restore_leaves_payments_stopped_where_live_goes_on_with_the_old_table(
    function: str, world: World, versions: FakeVersions
) -> None:
    versions.tables["1"] = OWN
    versions.named[function] = "1"
    told = (
        re.escape(f"live of {function} names version 1, which works on {OWN}, and not on ")
        + r"TransactionsTable-\w+; `aws lambda publish-version --function-name "
        + function
    )
    with pytest.raises(AwsError, match=told):
        world.restore()
    assert is_stopped(world.intake)
    # Once `live` has moved, the same command goes on.
    versions.named[function] = "2"
    world.restore()
    assert world.intake.takes_requests
    assert world.journal.phase is Phase.DONE


def test_an_undo_leaves_payments_stopped_where_live_goes_on_with_the_copy(
    world: World, versions: FakeVersions
) -> None:
    world.restore()
    versions.tables["2"] = world.active
    with pytest.raises(AwsError, match=f"works on {world.active}, and not on {OWN}"):
        world.undo()
    assert is_stopped(world.intake)


def test_resume_leaves_payments_stopped_where_live_works_on_another_table(
    world: World, versions: FakeVersions
) -> None:
    world.stop_at("cloudformation:CreateChangeSet")
    versions.named["ProcessingFunction"] = "1"
    with pytest.raises(AwsError, match=f"version 1, which works on old, and not on {OWN}"):
        world.resume()
    assert is_stopped(world.intake)


def test_a_version_that_gets_a_part_of_the_traffic_counts_too(
    world: World, versions: FakeVersions
) -> None:
    versions.weights["RetryFunction"] = {"1": 0.1}
    with pytest.raises(AwsError, match="live of RetryFunction names version 1, which works on old"):
        world.restore()
    assert is_stopped(world.intake)


def test_payments_stay_stopped_where_nobody_can_tell(world: World, versions: FakeVersions) -> None:
    world.aws.errors["lambda:GetAlias"] = Refused("AccessDeniedException")
    with pytest.raises(AwsError, match="alias live of function ValidationFunction"):
        world.restore()
    assert is_stopped(world.intake)


@pytest.mark.parametrize("has_canary", [True, False])
def test_a_restore_and_its_undo_move_at_once(has_canary: bool, world: World) -> None:
    if has_canary:
        world.stack.parameters["TrafficShifting"] = "canary"
        template = json.loads(world.stack.template)
        template["Parameters"]["TrafficShifting"] = {"Type": "String"}
        world.stack.template = json.dumps(template)
    for step in (world.restore, world.undo):
        step()
        [*_, request] = world.aws.called("cloudformation:CreateChangeSet")
        sent = {one["ParameterKey"]: one.get("ParameterValue") for one in request["Parameters"]}
        assert sent.get("TrafficShifting") == ("at-once" if has_canary else None)
