from __future__ import annotations

import pytest

from tests.restoring import World


@pytest.fixture
def world() -> World:
    return World()
