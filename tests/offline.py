"""What keeps a test from the network: a cache with a layer in it, and a socket that refuses.

A conftest imports the fixtures that it wants for its tests.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import pytest

from payment_infra.artifacts import HANDLERS, LAYER, layer_digest
from payment_infra.zips import zip_files

TINY_LAYER = zip_files({"python/tiny.py": b"x = 1\n"})


def keep_layer(folder: Path, body: bytes, root: Path = HANDLERS) -> None:
    """Put a layer into a cache folder, in the place of the one that would be downloaded."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{LAYER}-{layer_digest(root)}.zip").write_bytes(body)


@cache
def installed_files() -> Mapping[str, bytes]:
    """Return what the real layer holds, from the same versions installed here: path to content."""
    pinned = re.findall(
        r"^[\w.-]+(?===)", (HANDLERS / "requirements.txt").read_text(), re.MULTILINE
    )
    return {
        f"python/{path}": path.read_binary()
        for name in pinned
        for path in metadata.files(name) or []
        if path.suffix != ".pyc" and ".." not in path.parts
    }


@pytest.fixture(scope="session")
def cache_with_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's cache folder with a tiny layer in the place of the real one."""
    cache = tmp_path_factory.mktemp("cache")
    keep_layer(cache / "payment-infra", TINY_LAYER)
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
