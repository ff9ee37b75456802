"""A world in which nothing goes wrong by itself, and what stands for Stripe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.localstripe.standin import Stripe, stripe
from tests.model.world import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(lambda _: None)
    world.install(monkeypatch)
    return world


@pytest.fixture(scope="session")
def _standin() -> Iterator[Stripe]:
    with stripe() as account:
        yield account


@pytest.fixture
def account(_standin: Stripe) -> Stripe:
    """An account at Stripe, where nothing has happened yet."""
    _standin.reset()
    return _standin
