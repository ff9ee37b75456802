"""What keeps a test from the network: a cache with the layer in it, and a socket that refuses.

A conftest imports the fixtures that it wants for its tests.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest

from payment_infra.artifacts import LAYER, layer_digest, zip_files

TINY_LAYER = zip_files({"python/tiny.py": b"x = 1\n"})


@pytest.fixture(scope="session")
def cache_with_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's cache folder with a tiny layer in the place of the real one."""
    cache = tmp_path_factory.mktemp("cache")
    kept = cache / "payment-infra" / f"{LAYER}-{layer_digest()}.zip"
    kept.parent.mkdir()
    kept.write_bytes(TINY_LAYER)
    return cache


@pytest.fixture(autouse=True)
def offline(cache_with_layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process and those that inherit its environment that cache, and no network."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_with_layer))
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    monkeypatch.setattr(socket, "getaddrinfo", _refuse)


def _refuse(*arguments: Any, **_: Any) -> NoReturn:
    raise AssertionError(f"a test reached for the network: {arguments}")
