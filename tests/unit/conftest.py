"""No unit test reaches the network; what many of them work with."""

import pytest

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
