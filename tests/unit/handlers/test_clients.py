from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from handlers.retry import MESSAGE_SECONDS
from handlers.shared import clients
from handlers.shared.gateway import GATEWAY_TIMEOUT_SECONDS, GatewayUnavailable, SimulatedGateway

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
    secret = clients.CONNECT_TIMEOUT_SECONDS + clients.READ_TIMEOUT_SECONDS
    assert process + secret < API_GATEWAY_TIMEOUT_SECONDS
    assert secret + claim + GATEWAY_TIMEOUT_SECONDS + finish + let_go < MESSAGE_SECONDS
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
    secrets: Any = clients.secrets()
    assert secrets.meta.config.retries["total_max_attempts"] == 1
    clients.secrets.cache_clear()
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


class FakeSecrets:
    """Secrets Manager, with one secret, or the failure that it answers with."""

    def __init__(self, *answers: str | ClientError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:
        self.asked.append(SecretId)
        answer = self.answers.pop(0)
        if isinstance(answer, ClientError):
            raise answer
        return {"SecretString": answer}


class NamedGateway(SimulatedGateway):
    def __init__(self, secret: str | None) -> None:
        super().__init__()
        self.secret = secret


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Monotonic seconds, the only entry; every test starts without a gateway."""
    now = [1_000.0]
    monkeypatch.setattr(clients, "monotonic", lambda: now[0])
    monkeypatch.delenv("GATEWAY", raising=False)
    monkeypatch.delenv("GATEWAY_SECRET_ARN", raising=False)
    clients._gateway.cache_clear()
    return now


def named(monkeypatch: pytest.MonkeyPatch, gateway: str, secrets: FakeSecrets) -> None:
    monkeypatch.setenv("GATEWAY", gateway)
    monkeypatch.setenv("GATEWAY_SECRET_ARN", "arn:secret")
    monkeypatch.setattr(clients, "secrets", lambda: secrets)


def test_the_gateway_is_the_simulated_one_unless_another_is_named(now: list[float]) -> None:
    first = clients.gateway()
    now[0] += 10 * clients.SECRET_SECONDS
    assert type(first) is SimulatedGateway
    assert clients.gateway() is first


def test_a_named_gateway_gets_the_secret_and_a_rotated_one_after_a_while(
    monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    secrets = FakeSecrets("old", "new")
    named(monkeypatch, f"{__name__}:NamedGateway", secrets)
    first: Any = clients.gateway()
    assert (type(first).__name__, first.secret) == ("NamedGateway", "old")
    assert clients.gateway() is first
    now[0] += clients.SECRET_SECONDS
    second: Any = clients.gateway()
    assert second.secret == "new"
    assert secrets.asked == ["arn:secret"] * 2


@pytest.mark.parametrize(
    ("gateway", "code"),
    [
        ("handlers.shared.nothing:Gateway", "ModuleNotFoundError"),
        ("handlers.shared.gateway:Nothing", "AttributeError"),
        ("handlers.shared.gateway:SimulatedGateway", "ResourceNotFoundException"),
    ],
)
@pytest.mark.usefixtures("now")
def test_a_gateway_that_cannot_be_made_is_unavailable_and_is_tried_again(
    gateway: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")
    named(monkeypatch, gateway, FakeSecrets(missing, "secret"))
    with pytest.raises(GatewayUnavailable) as failure:
        clients.gateway()
    assert failure.value.code == code
    if code == "ResourceNotFoundException":
        assert isinstance(clients.gateway(), SimulatedGateway)
