"""Old versions go once nothing names them, but for the last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.deploying.pruning import VERSION, prune
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.events import Caution, Change
from payment_infra.cloud.stacks.stack import Stack
from tests.aws import FakeAws, FakeStack, Refused
from tests.versions import FakeVersions

if TYPE_CHECKING:
    from payment_infra.cloud.events import Event

NAME = "payment-infra-dev"
PARAMETERS = {"EnvironmentSuffix": "dev", "TransactionsTableOverride": ""}
PUBLISHED = [Change("Add", "RetryVersion1", VERSION)]


@pytest.fixture
def aws() -> FakeAws:
    stack = FakeStack(NAME, parameters=dict(PARAMETERS), outputs={"TransactionsTableName": "t"})
    aws = FakeAws(stacks={NAME: stack})
    versions = FakeVersions(lambda: "t")
    versions.named |= dict.fromkeys(versions.named, "10")
    versions.weights["RetryFunction"] = {"2": 0.1}
    versions.give(stack)
    aws.answers |= {
        **versions.answers(),
        "lambda:ListVersionsByFunction": {
            "Versions": [{"Version": one} for one in ("$LATEST", "1", "2", "8", "9", "10")]
        },
        "lambda:DeleteFunction": {},
    }
    return aws


def pruned(aws: FakeAws, changes: list[Change]) -> dict[str, list[str]]:
    """Return function to the versions that were deleted."""
    told: list[Event] = []
    session = aws.session()
    stack = Stack(session.client("cloudformation"), NAME, lambda _: None, "--suffix dev")
    prune(Environment.find(session, stack, "dev"), changes, told.append)
    found: dict[str, list[str]] = {}
    for call in aws.called("lambda:DeleteFunction"):
        found.setdefault(call["FunctionName"], []).append(call["Qualifier"])
    assert not told or aws.errors
    return found


def test_what_live_names_and_the_last_before_it_stay(aws: FakeAws) -> None:
    found = pruned(aws, PUBLISHED)
    assert found.pop("RetryFunction") == ["1", "8"]
    assert set(found) == {
        *("ValidationFunction", "ProcessingFunction", "LookupFunction"),
        *("CancellationFunction", "HealthMonitorFunction", "GatewayEventsFunction"),
    }
    assert set(map(tuple, found.values())) == {("1", "2", "8")}


def test_an_update_that_publishes_nothing_looks_at_no_version(aws: FakeAws) -> None:
    assert pruned(aws, [Change("Modify", "RetryFunction", "AWS::Lambda::Function")]) == {}
    assert not aws.called("lambda:ListVersionsByFunction")


def test_where_nothing_is_published_any_more_none_stays_that_could_be_published_again(
    aws: FakeAws,
) -> None:
    for name in list(aws.stacks[NAME].resources):
        if name.endswith("Alias"):
            del aws.stacks[NAME].resources[name]
    found = pruned(aws, [Change("Remove", "RetryVersion1", VERSION)])
    assert set(map(tuple, found.values())) == {("1", "2", "8", "9", "10")}


def test_a_version_that_an_alias_of_somebody_elses_names_stays(aws: FakeAws) -> None:
    def delete(params: Any) -> Any:
        if params["Qualifier"] == "1":
            raise Refused("ResourceConflictException")
        return {}

    aws.answers["lambda:DeleteFunction"] = delete
    assert pruned(aws, PUBLISHED)["ValidationFunction"] == ["1", "2", "8"]


def test_what_cannot_be_deleted_is_told_and_fails_nothing(aws: FakeAws) -> None:
    aws.errors["lambda:DeleteFunction"] = Refused("AccessDeniedException")
    told: list[Event] = []
    session = aws.session()
    stack = Stack(session.client("cloudformation"), NAME, lambda _: None, "--suffix dev")
    prune(Environment.find(session, stack, "dev"), PUBLISHED, told.append)
    [caution] = told
    assert isinstance(caution, Caution)
    assert caution.message.startswith("old versions are left, which the next deployment deletes: ")
