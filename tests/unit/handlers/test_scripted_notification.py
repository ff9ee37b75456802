"""What the scripted gateway tells by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from handlers.shared.gateway import GatewayPayment
from handlers.shared.money import Money
from handlers.shared.notifications import InvalidNotification, Notification, sign
from handlers.shared.scripted import ScriptedGateway
from handlers.shared.scripted_ledger import Ledger
from handlers.shared.scripted_notification import HEADER, SIGNING_SECRET, signed
from handlers.shared.transactions import Transaction

if TYPE_CHECKING:
    from tests.unit.handlers.harness import Clock


def gateway(tmp_path: Path, clock: Clock, **secret: object) -> ScriptedGateway:
    return ScriptedGateway(json.dumps(secret) if secret else None, Ledger(tmp_path / "l"), clock)


def test_what_it_signs_it_takes(tmp_path: Path, clock: Clock) -> None:
    headers, body = signed("pay-1", clock())
    found = gateway(tmp_path, clock).notification(headers, body, clock())
    assert found == Notification("pay-1", "scripted", "test")


def test_what_is_about_no_payment_is_of_no_concern(tmp_path: Path, clock: Clock) -> None:
    headers, body = signed("pay-1", clock(), kind="payout.paid")
    assert gateway(tmp_path, clock).notification(headers, body, clock()) is None


def test_while_its_secret_is_changed_both_are_taken(tmp_path: Path, clock: Clock) -> None:
    changing = gateway(tmp_path, clock, signing_secrets=["new", "old"], account="a")
    for secret in ("new", "old"):
        headers, body = signed("pay-1", clock(), secret=secret, account="a")
        assert changing.notification(headers, body, clock()) == Notification("pay-1", "a", "test")
    headers, body = signed("pay-1", clock())
    with pytest.raises(InvalidNotification, match="forged"):
        changing.notification(headers, body, clock())


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b'{"type": "payment.x"}', b'{"payment_id": "p"}', b'{"type": 1}'],
)
def test_what_is_signed_and_cannot_be_read_is_refused(
    tmp_path: Path, clock: Clock, body: bytes
) -> None:
    headers = {HEADER: sign(body, SIGNING_SECRET, clock())}
    with pytest.raises(InvalidNotification, match="unreadable"):
        gateway(tmp_path, clock).notification(headers, body, clock())


@pytest.mark.parametrize("secrets", [[], "text", [1], None])
def test_signing_secrets_that_are_no_list_of_texts_are_refused(
    tmp_path: Path, clock: Clock, secrets: object
) -> None:
    with pytest.raises(ValueError, match="signing_secrets"):
        gateway(tmp_path, clock, signing_secrets=secrets)


def test_a_payment_says_whose_it_is(tmp_path: Path, clock: Clock) -> None:
    asked = Transaction.validated(
        "t-1", Money(100, "USD"), "c", clock(), details={"payment_method": "paid"}
    )
    made = gateway(tmp_path, clock).prepare(asked, "k")
    assert isinstance(made, GatewayPayment)
    assert gateway(tmp_path, clock).fetch(made.id).transaction_id == "t-1"
