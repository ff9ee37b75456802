from __future__ import annotations

import pytest

from tests.breaking import in_order
from tests.restoring import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the segments of a table be read one after the other, so that the Nth call is the same."""
    in_order(monkeypatch)
