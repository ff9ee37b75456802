"""What a person sees of a comparison: progress, differences with both sides, and the question."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from payment_infra.cli.views import output
from tests.functional.reconciling import Reconciled, payment, row
from tests.transcripts import Clock, Transcript, at_terminal

if TYPE_CHECKING:
    from tests.aws import FakeAws
    from tests.functional.conftest import Cli

ID = "80a5cce8-fa68-4b23-be9e-c5cc0cdb23f{}"
GATEWAYS = "pi_3MtwBwLkdIwHu7ix28a3tqP{}"
CAPTURE = "ch_3MmlLrLkdIwHu7ix0snN0B1{}"
MOMENTS = {
    r"\d{4}-\d\d-\d\d \d\d:\d\d": "2026-11-22 21:27",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ": "2026-11-22T21:27:00Z",
}


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


def test_differences_have_both_sides_and_are_fixed_after_a_question(
    terminal: Transcript, aws: FakeAws
) -> None:
    account = Reconciled.made(aws)
    assert isinstance(account, Reconciled)
    names = [{"transaction_id": ID.format(n), "gateway_id": GATEWAYS.format(n)} for n in range(6)]
    captures = [{"gateway_reference": CAPTURE.format(n)} for n in range(6)]
    listed = [
        {
            "transaction_id": ID.format(n),
            "id": GATEWAYS.format(n),
            "reference": CAPTURE.format(n),
        }
        for n in range(6)
    ]
    account.items = [
        row(0, "pending", **names[0]),
        row(1, "declined", **names[1]),
        row(2, **names[2], **captures[2]),
        row(3, **names[3], **captures[3], updated_at="2126-11-22T21:27:00.000000+00:00"),
        row(5, "processing", **names[5] | {"gateway_id": None}, in_flight="stuck"),
    ]
    account.payments = [
        payment(0, **listed[0]),
        payment(1, **listed[1]),
        payment(2, **listed[2]),
        payment(2, **listed[2] | {"id": GATEWAYS.format("X"), "reference": CAPTURE.format("X")}),
        payment(4, **listed[4], amount=7000),
    ]
    assert terminal("reconcile", "--suffix", "dev") == 4
    assert terminal("reconcile", "--suffix", "dev", "--fix", typed="y\n") == 4
    for pattern, told in MOMENTS.items():
        terminal.text = re.sub(pattern, told, terminal.text)
    terminal.check("reconcile")
