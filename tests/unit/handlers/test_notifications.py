"""Signatures of notifications."""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.shared.notifications import (
    MAX_AGE_SECONDS,
    InvalidNotification,
    check_signature,
    sign,
)
from tests.unit.handlers.harness import Clock

NOW = Clock().now
BODY = b'{"id": "evt_1"}'


def refused(header: str | None, body: bytes = BODY, *secrets: str) -> str:
    with pytest.raises(InvalidNotification) as caught:
        check_signature(header, body, secrets or ("secret",), NOW)
    return caught.value.code


def test_a_signature_is_the_hmac_of_the_seconds_a_dot_and_the_body() -> None:
    seconds = int(NOW.timestamp())
    expected = hmac.new(b"secret", f"{seconds}.".encode() + BODY, hashlib.sha256).hexdigest()
    assert sign(BODY, "secret", NOW) == f"t={seconds},v1={expected}"


@given(st.binary(), st.text(st.characters(codec="utf-8"), min_size=1), st.integers(-300, 300))
def test_what_was_signed_within_five_minutes_is_taken(body: bytes, secret: str, off: int) -> None:
    assert MAX_AGE_SECONDS == 300
    header = sign(body, secret, NOW - timedelta(seconds=off))
    check_signature(header, body, ["another", secret], NOW)


@pytest.mark.parametrize("seconds", [301, -301, 86400])
def test_an_old_signature_and_one_of_later_are_refused(seconds: int) -> None:
    assert refused(sign(BODY, "secret", NOW - timedelta(seconds=seconds))) == "old"


@pytest.mark.parametrize("header", [None, "", "t=1", "v1=00", "t=1,t=2,v1=00", "v1=0,v1=1"])
def test_what_has_no_signature_is_refused(header: str | None) -> None:
    assert refused(header) == "unsigned"


def test_another_body_secret_or_time_is_forged() -> None:
    header = sign(BODY, "secret", NOW)
    assert refused(header, BODY + b" ") == "forged"
    assert refused(header, BODY, "other") == "forged"
    seconds, _, signature = header.partition(",")
    assert refused(f"t={int(seconds[2:]) + 1},{signature}") == "forged"
    assert refused(header[:-1]) == "forged"
    assert refused(f"{seconds},v1=\u00e9\u00e9") == "forged"
    assert refused(header.replace("v1=", "v0=")) == "unsigned"


def test_one_of_several_signatures_by_one_of_several_secrets_is_enough() -> None:
    seconds, _, signature = sign(BODY, "new", NOW).partition(",")
    _, _, before = sign(BODY, "old", NOW).partition(",")
    for secrets in (["new"], ["old"], ["x", "old"]):
        check_signature(f"{seconds},{before}, {signature},v0=1", BODY, secrets, NOW)


@pytest.mark.parametrize("moment", ["", "now", "1e9", "\u0661", "-5", " 5"])
def test_what_was_signed_with_no_time_is_refused(moment: str) -> None:
    signed = moment.encode() + b"." + BODY
    signature = hmac.new(b"secret", signed, hashlib.sha256).hexdigest()
    assert refused(f"t={moment},v1={signature}") == "undated"
