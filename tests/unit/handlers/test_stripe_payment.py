"""What each state of a PaymentIntent is to the protocol."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from handlers.shared.gateway import Charged, Declined, NotCharged, Open, Outcome, Pending
from handlers.shared.stripe_api import Refused
from handlers.shared.stripe_payment import declined, payment_of
from tests.unit.handlers.stripe_wire import ACCOUNT, BANK, CREATED, intent, succeeded

CARD_ERROR = {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"}
DEBIT_ERROR = {"type": "invalid_request_error", "code": "debit_not_authorized"}


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (intent(), Open()),
        (succeeded(), Charged("ch_1")),
        (succeeded(latest_charge={"id": "ch_2"}), Charged("ch_2")),
        (succeeded(latest_charge=None), Charged("pi_1")),
        (intent(status="processing", latest_charge="py_1"), Pending()),
        (intent(status="requires_capture", latest_charge="ch_1"), Pending()),
        (intent(status="requires_payment_method"), Open()),
        (
            intent(status="requires_payment_method", last_payment_error=CARD_ERROR),
            Declined("insufficient_funds", another_method=True),
        ),
        (
            intent(status="requires_payment_method", last_payment_error=DEBIT_ERROR),
            Declined("debit_not_authorized", another_method=True),
        ),
        (
            intent(status="requires_payment_method", last_payment_error={"type": "api_error"}),
            Declined("payment_failed", another_method=True),
        ),
        (intent(status="canceled", cancellation_reason="abandoned"), NotCharged()),
        (
            intent(status="canceled", last_payment_error=CARD_ERROR),
            NotCharged("insufficient_funds"),
        ),
    ],
)
def test_each_status_is_an_outcome(found: dict[str, Any], outcome: Outcome) -> None:
    payment = payment_of(found, ACCOUNT)
    assert payment.outcome == outcome
    assert (payment.id, payment.amount, payment.currency) == ("pi_1", 10050, "USD")
    assert (payment.account, payment.mode, payment.transaction_id) == (ACCOUNT, "test", "t-1")
    assert payment.created_at == datetime.fromtimestamp(CREATED, UTC)


@pytest.mark.parametrize(
    ("kind", "details", "address"),
    [
        ("redirect_to_url", {"url": BANK, "return_url": "https://shop.example/"}, BANK),
        ("oxxo_display_details", {"number": "1", "hosted_voucher_url": BANK}, BANK),
        ("verify_with_microdeposits", {"hosted_verification_url": BANK}, BANK),
        ("pix_display_qr_code", {"data": "x", "hosted_instructions_url": BANK}, BANK),
        ("card_await_notification", {"charge_attempt_at": 1}, None),
        ("redirect_to_url", {"url": None}, None),
    ],
)
def test_who_has_to_act_is_told_where(
    kind: str, details: dict[str, Any], address: str | None
) -> None:
    action = {"type": kind, kind: details}
    found = payment_of(intent(status="requires_action", next_action=action), ACCOUNT)
    assert found.outcome == Pending(address)
    assert BANK not in repr(found)


@pytest.mark.parametrize("action", [None, {}, {"type": None}, {"type": "new", "new": "text"}])
def test_an_action_that_nobody_knows_is_pending(action: Any) -> None:
    found = payment_of(intent(status="requires_action", next_action=action), ACCOUNT)
    assert found.outcome == Pending()


def test_what_only_stripes_library_could_do_is_declined() -> None:
    """It comes without a return_url, and would be pending until somebody looks."""
    action = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "stripe_3ds2_fingerprint"}}
    found = payment_of(intent(status="requires_action", next_action=action), ACCOUNT)
    assert found.outcome == Declined("authentication_required", another_method=True)


def test_what_was_collected_is_the_amount_of_what_is_paid() -> None:
    assert payment_of(succeeded(amount_received=50), ACCOUNT).amount == 50
    assert payment_of(intent(amount_received=0), ACCOUNT).amount == 10050


def test_the_mode_is_that_of_the_object() -> None:
    assert payment_of(intent(livemode=True), ACCOUNT).mode == "live"


@pytest.mark.parametrize("metadata", [{}, None, {"transaction_id": 1}, {"order": "1"}])
def test_a_payment_of_others_has_no_transaction_id(metadata: Any) -> None:
    assert payment_of(intent(metadata=metadata), ACCOUNT).transaction_id is None


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "new"},
        {"status": None},
        {"id": ""},
        {"id": None},
        {"amount": "10050"},
        {"amount": True},
        {"currency": None},
        {"created": None},
        {"livemode": None},
        {"livemode": "false"},
    ],
)
def test_what_is_no_payment_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        payment_of(intent(**fields), ACCOUNT)


@pytest.mark.parametrize("missing", ["status", "id", "amount", "currency", "livemode", "created"])
def test_what_lacks_something_is_no_payment(missing: str) -> None:
    found = intent()
    del found[missing]
    with pytest.raises(KeyError):
        payment_of(found, ACCOUNT)


def test_a_code_of_another_form_is_not_passed_on() -> None:
    failed = {"type": "card_error", "code": "canary: 4242 4242", "decline_code": ["canary"]}
    found = intent(status="requires_payment_method", last_payment_error=failed)
    assert payment_of(found, ACCOUNT).outcome == Declined("payment_failed", another_method=True)


INVALID = "invalid_request_error"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (CARD_ERROR, Declined("insufficient_funds", another_method=True)),
        ({"type": "card_error"}, Declined("payment_failed", another_method=True)),
        ({"type": INVALID, "code": "amount_too_small", "param": "amount"}, "amount_too_small"),
        ({"type": INVALID, "code": "amount_too_large", "param": "amount"}, "amount_too_large"),
        ({"type": INVALID, "param": "currency"}, "currency_not_supported"),
        (
            {"type": INVALID, "code": "parameter_invalid_integer", "param": "amount"},
            "parameter_invalid_integer",
        ),
        (
            {"type": INVALID, "code": "parameter_missing", "param": "mandate_data"},
            Declined("mandate_missing", another_method=True),
        ),
        (
            {"type": INVALID, "message": "This PaymentIntent requires a mandate, but no ..."},
            Declined("mandate_missing", another_method=True),
        ),
        ({"type": INVALID, "code": "parameter_unknown", "message": "Received mandate: ..."}, None),
        (
            {"type": INVALID, "code": "payment_intent_mandate_invalid"},
            Declined("payment_intent_mandate_invalid", another_method=True),
        ),
        (
            {"type": INVALID, "code": "resource_missing", "param": "payment_method"},
            Declined("resource_missing", another_method=True),
        ),
        (
            {"type": INVALID, "param": "payment_method"},
            Declined("payment_method_refused", another_method=True),
        ),
        (
            {"type": INVALID, "code": "payment_method_unactivated"},
            Declined("payment_method_unactivated", another_method=True),
        ),
        (
            {"type": INVALID, "code": "payment_intent_incompatible_payment_method"},
            Declined("payment_intent_incompatible_payment_method", another_method=True),
        ),
        ({"type": INVALID, "code": "resource_missing", "param": "customer"}, "customer_unknown"),
        ({"type": INVALID, "code": "payment_method_configuration_failures"}, None),
        ({"type": INVALID, "code": "payment_method_provider_timeout"}, None),
        ({"type": INVALID, "code": "parameter_unknown", "param": "payment_method"}, None),
        ({"type": INVALID, "code": "parameter_unknown", "param": "capture"}, None),
        ({"type": INVALID, "code": "account_invalid"}, None),
        ({"type": INVALID, "code": "payment_intent_unexpected_state"}, None),
        ({"type": "api_error"}, None),
        ({}, None),
    ],
)
def test_what_is_of_no_use_to_who_pays_is_declined_and_nothing_else(
    error: dict[str, Any], expected: Declined | str | None
) -> None:
    told = Declined(expected) if isinstance(expected, str) else expected
    assert declined(Refused(400, error)) == told
