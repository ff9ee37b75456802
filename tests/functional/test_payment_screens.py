"""What a person sees of one payment, and of the list of payments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from payment_infra import names
from payment_infra.cli.views import output
from tests.functional.payments import ID, Account, asked, at, item, line, obstacle
from tests.transcripts import Clock, Transcript, at_terminal

if TYPE_CHECKING:
    from tests.aws import FakeAws
    from tests.functional.conftest import Cli

ENVIRONMENT = ("--suffix", "dev")
REFERENCE = "ch_3MtwBwLkdIwHu7ix28a3tqPa"


@pytest.fixture
def account(aws: FakeAws) -> Account:
    return Account.made(aws)


@pytest.fixture(params=[True, False], ids=["color", "plain"])
def color(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=[80, 120])
def terminal(
    request: pytest.FixtureRequest, cli: Cli, color: bool, monkeypatch: pytest.MonkeyPatch
) -> Transcript:
    at_terminal(monkeypatch, request.param, Clock(1))
    monkeypatch.setattr(output, "width", lambda: request.param)
    return Transcript(cli, request.param, color)


def test_one_payment_from_the_list_to_its_end(terminal: Transcript, account: Account) -> None:
    account.items = [
        item(status="processing", in_flight="stuck", lease_expires_at=1, reference="order 17"),
        item(transaction_id="another", in_flight="pending#1", lease_expires_at=2, amount="7000"),
    ]
    account.aws.logs[names.VALIDATION_LOG_GROUP] = [
        line(at(0), level="INFO", message="validate", transaction_id=ID, status=200)
    ]
    account.aws.logs[names.PROCESSING_LOG_GROUP] = [
        line(
            at(1500),
            level="ERROR",
            message="process failed",
            transaction_id=ID,
            request_id="40a023eb-5b14-4de4-9fcc-6061b4bf2b12",
            reason="gateway_timeout",
        )
    ]
    assert terminal("payment", "list", *ENVIRONMENT) == 0
    charged = {"outcome": "charged", "reference": REFERENCE, "id": "pay_1"}
    account.told = [asked(charged)]
    assert terminal("payment", "show", *ENVIRONMENT, ID) == 0
    account.told = [asked(charged), {"transaction_id": ID, "status": "processed"}]
    assert terminal("payment", "settle", *ENVIRONMENT, ID, typed="y\n") == 0
    account.told = [asked({"outcome": "pending"}, "pending"), {"status": "canceled"}]
    assert terminal("payment", "cancel", *ENVIRONMENT, "another", typed="y\n") == 0
    account.told = [obstacle("settled", "processed", "processed")]
    assert terminal("payment", "settle", *ENVIRONMENT, ID, "--yes") == 0
    account.told = [obstacle("unknown", outcome="unknown")]
    assert terminal("payment", "settle", *ENVIRONMENT, ID, "--yes") == 1
    terminal.check("payment")
