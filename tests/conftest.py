"""What stands for Stripe: one for all tests, since it takes half a second to start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.localstripe.standin import Stripe


@pytest.fixture(scope="session")
def standin() -> Iterator[Stripe]:
    from tests.localstripe.standin import stripe

    with stripe() as account:
        yield account


@pytest.fixture
def account(standin: Stripe) -> Stripe:
    """An account at Stripe, where nothing has happened yet."""
    standin.reset()
    return standin
