"""No unit test reaches the network; what many of them work with."""

import signal
from collections.abc import Iterator

import pytest

from payment_infra.cli import interruption
from payment_infra.cloud.stacks.stack import Stack
from tests.aws import FakeAws
from tests.offline import cache_with_layer, offline
from tests.operators import FakeOperator

__all__ = ["cache_with_layer", "offline"]


@pytest.fixture
def aws() -> FakeAws:
    """An account without anything in it."""
    return FakeAws()


@pytest.fixture
def stack(aws: FakeAws) -> Stack:
    """The stack of the environment dev, which may not exist."""
    return Stack(
        aws.session().client("cloudformation"), "payment-infra-dev", lambda _: None, "--suffix dev"
    )


@pytest.fixture
def operator() -> FakeOperator:
    """Somebody who says yes."""
    return FakeOperator(answer=True)


@pytest.fixture(params=interruption.SIGNALS)
def arriving(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[signal.Signals]:
    """A signal that may come, and interrupts as it does at the command line."""
    monkeypatch.setattr(interruption, "_received", [])
    before = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    interruption.handle(ignored=interruption.SIGNALS)
    yield request.param
    for number, handler in before.items():
        signal.signal(number, handler)
