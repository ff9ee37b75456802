from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from handlers.shared.aws import clients, logs
from handlers.shared.deadline import (
    CALL_SECONDS,
    FETCH_SECONDS,
    INTEGRATION_SECONDS,
    TOTAL_ATTEMPTS,
)
from handlers.shared.gateway import GatewayUnavailable, SimulatedGateway
from handlers.shared.stripe import StripeGateway
from handlers.shared.stripe_api import Api
from handlers.shared.stripe_secret import parse_secret
from tests.unit.handlers.harness import Output
from tests.unit.handlers.stripe_wire import KEY, Wire, answer, error, intent, secret

HANDLERS = Path(clients.__file__).parents[2]


def longest_call(config: Any) -> float:  # the stub of Config leaves the options out
    assert config.retries["mode"] == "standard"
    retries = config.retries["total_max_attempts"] - 1
    backoff = sum(2**retry for retry in range(retries))  # seconds, the last one not above 20
    return float((1 + retries) * (config.connect_timeout + config.read_timeout) + backoff)


def test_a_call_takes_no_longer_than_the_budget_counts_for_it() -> None:
    assert longest_call(clients.time_budget()) == CALL_SECONDS
    assert longest_call(clients.time_budget(attempts=1)) == FETCH_SECONDS


def test_the_longest_get_of_the_health_ends_before_api_gateway_gives_up() -> None:
    metrics = longest_call(clients.time_budget(clients.METRICS_READ_TIMEOUT_SECONDS))
    find = put = create = FETCH_SECONDS
    assert find + metrics + put + create + put == 20 < INTEGRATION_SECONDS


def test_every_client_is_made_once_and_keeps_to_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    accessors: Any = (
        *(clients.dynamodb, clients.sqs, clients.sns, clients.cloudwatch),
        *(clients.apigateway, clients.aws_lambda),
    )
    for accessor in accessors:
        assert accessor() is accessor()
        assert accessor().meta.config.retries["total_max_attempts"] == TOTAL_ATTEMPTS
        accessor.cache_clear()
    once: Any = (clients.secrets, clients.cloudwatch_logs)
    for accessor in once:
        assert accessor() is accessor()
        assert accessor().meta.config.retries["total_max_attempts"] == 1
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
        f"import {entry}; from handlers.shared.aws import clients; assert {entry}.handler; "
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


class RenewedGateway(NamedGateway):
    fetch_secret: Callable[[], str | None] | None = None


def test_a_gateway_that_has_it_anew_gets_the_secret_as_it_is_now(
    monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    missing = ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")
    secrets = FakeSecrets("old", "new", missing)
    named(monkeypatch, f"{__name__}:RenewedGateway", secrets)
    gateway: Any = clients.gateway()
    assert gateway.fetch_secret() == "new"
    with pytest.raises(GatewayUnavailable) as failure:
        gateway.fetch_secret()
    assert failure.value.code == "ResourceNotFoundException"
    assert clients.gateway() is gateway
    assert secrets.asked == ["arn:secret"] * 3


@pytest.mark.usefixtures("now")
def test_without_a_secret_there_is_none_to_be_had_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY", f"{__name__}:RenewedGateway")
    gateway: Any = clients.gateway()
    assert gateway.fetch_secret is None


class StripeOverWire(StripeGateway):
    wire = Wire()

    def __init__(self, secret: str | None) -> None:
        super().__init__(secret, Api(parse_secret(secret), self.wire.carry))


@pytest.mark.usefixtures("now")
def test_a_key_of_stripes_that_is_rotated_gets_in_at_the_first_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = Wire()
    monkeypatch.setattr(StripeOverWire, "wire", wire)
    new = secret(api_key="rk_test_new")
    named(monkeypatch, f"{__name__}:StripeOverWire", FakeSecrets(secret(), new))
    wire.say(answer(error("api_key_expired"), 401), intent(), intent())
    for _ in range(2):
        gateway: Any = clients.gateway()
        assert gateway.fetch("pi_1").id == "pi_1"
    keys = [request.headers["Authorization"] for request in wire.requests]
    assert keys == [f"Bearer {KEY}", "Bearer rk_test_new", "Bearer rk_test_new"]


@pytest.mark.parametrize("entry", ["processing", "validation", "gateway_events"])
def test_what_is_stripes_is_loaded_only_where_it_is_the_gateway(entry: str) -> None:
    script = (
        f"import sys, handlers.{entry};"
        "assert not [name for name in sys.modules if 'stripe' in name]"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


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


class Broken:
    def __init__(self, secret: str | None) -> None:
        raise RuntimeError("canary")


class Ending:
    def __init__(self, secret: str | None) -> None:
        raise SystemExit("canary")


class Interrupted:
    def __init__(self, secret: str | None) -> None:
        raise KeyboardInterrupt


@pytest.mark.usefixtures("now", "aws")
def test_what_ends_the_function_itself_is_not_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, f"{__name__}:Interrupted", FakeSecrets("secret"))
    with pytest.raises(KeyboardInterrupt):
        clients.gateway()


@pytest.mark.usefixtures("now", "aws")
def test_a_module_that_ends_the_program_when_it_is_imported_is_no_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ending_acme.py").write_text("raise SystemExit('canary')\n")
    monkeypatch.syspath_prepend(tmp_path)
    named(monkeypatch, "ending_acme:Acme", FakeSecrets("secret"))
    with pytest.raises(GatewayUnavailable) as failure:
        clients.gateway_class()
    assert failure.value.code == "SystemExit"


@pytest.mark.parametrize(
    ("gateway", "kind"),
    [
        (f"{__name__}:Broken", "RuntimeError"),
        (f"{__name__}:Ending", "SystemExit"),
        ("handlers.shared.nothing:Gateway", "ModuleNotFoundError"),
    ],
)
@pytest.mark.usefixtures("now", "aws")
def test_what_is_wrong_with_a_gateway_class_is_logged_with_its_name_type_and_place(
    gateway: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named(monkeypatch, gateway, FakeSecrets("canary"))
    logs.begin()
    with pytest.raises(GatewayUnavailable):
        clients.gateway()
    output = Output.read(capsys)
    [line] = output.of("unexpected failure")
    assert (line["gateway"], line["type"]) == (gateway, kind)
    assert line["place"].startswith("/")
    assert ".py:" in line["place"]
    assert "canary" not in output.text
