"""The secret of the gateway stripe, as `deploy`, `doctor` and `local` look at it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra import stripe_key
from tests.aws import FakeAws, Refused
from tests.functional.conftest import Cli, refused

if TYPE_CHECKING:
    from pathlib import Path

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:stripe-AbCdEf"
TEST = {"api_key": "rk_test_canary", "account": "acct_1", "signing_secrets": ["whsec_canary"]}
SETTINGS = f"gateway = 'stripe'\ngateway_secret = '{ARN}'\n"
DEPLOY = ("deploy", "--suffix", "dev", "--bucket", "zips", "--yes")
READ = "secretsmanager:GetSecretValue"


@pytest.fixture(autouse=True)
def stripes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of Stripe, which knows the account."""
    asked: list[str] = []
    http = stripe_key._handlers("stripe_http")

    def send(request: Any, _seconds: float) -> Any:
        asked.append(request.url)
        return http.HttpAnswer(200, {}, b'{"object": "account", "id": "acct_1"}')

    monkeypatch.setattr(http, "send", send)
    return asked


@pytest.fixture
def account(aws: FakeAws, clean: Path) -> FakeAws:
    """An account that has the secret, and a configuration that names it."""
    (clean / "payment-infra.toml").write_text(SETTINGS)
    aws.answers[READ] = {"SecretString": json.dumps(TEST)}
    return aws


def test_it_is_read_and_asked_about_before_anything_is_changed(
    cli: Cli, account: FakeAws, stripes: list[str]
) -> None:
    result = cli(*DEPLOY)
    assert result.exit_code == 0, result.output
    assert stripes == ["https://api.stripe.com/v1/account"]
    assert "canary" not in result.output
    services = [name for name, _ in account.calls]
    assert services.index(READ) < services.index("cloudformation:CreateChangeSet")


def test_what_it_lacks_ends_the_deployment_with_nothing_changed(
    cli: Cli, account: FakeAws, stripes: list[str]
) -> None:
    account.answers[READ] = {"SecretString": json.dumps({"api_key": "rk_test_canary"})}
    assert refused(cli(*DEPLOY), 1) == (
        f"secret {ARN}: the secret lacks account; mend it, or no payment can be charged"
    )
    assert (account.changes(), stripes) == ([], [])
    assert cli(*DEPLOY, "--skip-check", "secret").exit_code == 0


def test_a_key_of_another_mode_is_taken_by_name_alone_whatever_yes_answers(
    cli: Cli, account: FakeAws
) -> None:
    account.answers[READ] = {"SecretString": json.dumps(TEST | {"api_key": "rk_live_canary"})}
    told = refused(cli(*DEPLOY), 1)
    assert "has a live key, so every payment would move real money" in told
    assert told.endswith(f"`payment-infra {' '.join(DEPLOY)} --allow live-key`")
    assert account.changes() == []
    assert cli(*DEPLOY, "--allow", "live-key").exit_code == 0


def test_one_that_may_not_be_read_is_a_warning(cli: Cli, account: FakeAws) -> None:
    account.errors[READ] = Refused("AccessDeniedException", "no", 400)
    result = cli(*DEPLOY)
    assert result.exit_code == 0
    assert "the gateway's secret was not checked: " in result.stderr
    strict = cli(*DEPLOY, "--strict", "--tag", "a=b")
    assert (strict.exit_code, "was not checked" in strict.stderr) == (1, True)


def doctors(cli: Cli, *flags: str) -> tuple[int, dict[str, str]]:
    """Return how doctor ends, and what it says of the secret."""
    result = cli("doctor", "--suffix", "dev", "--output", "json", *flags)
    assert "canary" not in result.output
    [found] = [one for one in json.loads(result.stdout) if one["name"] == "secret"]
    return result.exit_code, found


def test_doctor_tells_the_same_and_that_of_the_mode_as_a_warning(
    cli: Cli, account: FakeAws, clean: Path
) -> None:
    status, found = doctors(cli)
    assert (status, found["level"]) == (0, "ok")
    account.answers[READ] = {"SecretString": "canary"}
    status, found = doctors(cli)
    assert (status, found["level"], found["message"], found["remedy"]) == (
        1,
        "fail",
        f"secret {ARN}: the secret is no JSON object",
        "mend it, or no payment can be charged",
    )
    account.answers[READ] = {"SecretString": json.dumps(TEST)}
    (clean / "payment-infra.toml").write_text(f"preset = 'production'\n{SETTINGS}")
    status, found = doctors(cli)
    assert (status, found["level"]) == (0, "warn")
    assert found["remedy"].endswith("`payment-infra deploy --suffix dev --allow test-key`")
    account.errors[READ] = Refused("AccessDeniedException", "no", 400)
    assert doctors(cli)[1]["message"].startswith("the gateway's secret was not checked: ")


def test_doctor_says_nothing_of_it_where_the_gateway_is_another(cli: Cli, aws: FakeAws) -> None:
    result = cli("doctor", "--output", "json")
    assert "secret" not in {one["name"] for one in json.loads(result.stdout)}
    assert aws.called(READ) == []


@pytest.mark.usefixtures("clean")
def test_local_asks_for_the_secret_that_stripe_needs(cli: Cli) -> None:
    assert refused(cli("local", "--gateway", "stripe"), 2) == (
        "the stripe gateway needs a secret; name a file with that of its sandbox by "
        "--gateway-secret-file"
    )
