"""A world in which nothing goes wrong by itself."""

from __future__ import annotations

import pytest

from tests.model.world import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(lambda _: None)
    world.install(monkeypatch)
    return world
