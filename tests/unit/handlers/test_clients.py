from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from handlers.retry import MESSAGE_SECONDS
from handlers.shared import clients
from handlers.shared.gateway import GATEWAY_TIMEOUT_SECONDS

API_GATEWAY_TIMEOUT_SECONDS = 29
HANDLERS = Path(clients.__file__).parents[1]


def longest_call(read_timeout: float) -> float:
    config: Any = clients.time_budget(read_timeout)  # its stub leaves the options out
    assert config.retries == {"mode": "standard", "total_max_attempts": clients.TOTAL_ATTEMPTS}
    assert config.connect_timeout == clients.CONNECT_TIMEOUT_SECONDS
    attempts = clients.TOTAL_ATTEMPTS * (config.connect_timeout + config.read_timeout)
    pauses = sum(2**retry for retry in range(clients.TOTAL_ATTEMPTS - 1))
    return float(attempts + pauses * clients.MAX_BACKOFF_SECONDS)


def test_the_longest_request_ends_before_api_gateway_gives_up() -> None:
    claim = finish = send = let_go = put = longest_call(clients.READ_TIMEOUT_SECONDS)
    process = claim + GATEWAY_TIMEOUT_SECONDS + finish + send + let_go
    assert process == 26
    assert max(process, put + send) < API_GATEWAY_TIMEOUT_SECONDS
    assert claim + GATEWAY_TIMEOUT_SECONDS + finish + let_go < MESSAGE_SECONDS
    assert longest_call(clients.METRICS_READ_TIMEOUT_SECONDS) < API_GATEWAY_TIMEOUT_SECONDS


def test_every_client_is_made_once_and_keeps_to_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    accessors: Any = (clients.dynamodb, clients.sqs, clients.sns, clients.cloudwatch)
    for accessor in accessors:
        assert accessor() is accessor()
        assert accessor().meta.config.retries["total_max_attempts"] == 2
        accessor.cache_clear()
    clients._session.cache_clear()


@pytest.mark.parametrize("entry", ["validation", "processing", "health_monitor", "retry"])
def test_an_entry_module_runs_from_its_zip_and_importing_it_makes_no_client(
    entry: str, tmp_path: Path
) -> None:
    shutil.copy(HANDLERS / f"{entry}.py", tmp_path)
    (tmp_path / "handlers").mkdir()
    shutil.copy(HANDLERS / "__init__.py", tmp_path / "handlers")
    shutil.copytree(HANDLERS / "shared", tmp_path / "handlers" / "shared")
    script = (
        f"import {entry}; from handlers.shared import clients; assert {entry}.handler; "
        "assert not clients._session.cache_info().currsize"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env={}, check=True)
