"""The Stripe gateway on the real stack: its secret in Secrets Manager, its stand-in by HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.local.stack import open_session
from tests.e2e.harness import PAYMENT, until

if TYPE_CHECKING:
    from payment_infra.cloud.environment.smoke import Answer
    from payment_infra.local.emulator import Emulator
    from tests.e2e.conftest import Deploy
    from tests.e2e.harness import Deployed
    from tests.localstripe.standin import Stripe

SUFFIX = "stripe-1"
RETURN_URL = "https://shop.example/back"


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy, standin: Stripe) -> Deployed:
    standin.reset()
    secrets = open_session(aws).client("secretsmanager")
    arn = secrets.create_secret(Name=SUFFIX, SecretString=standin.secret())["ARN"]
    return deploy(
        *(aws, SUFFIX),
        authorization="none",
        gateway="stripe",
        gateway_secret=arn,
        gateway_events=True,
    )


def begun(deployed: Deployed, method: str) -> tuple[str, Answer]:
    """Validate a payment and process it; return its id, and the answer."""
    api = deployed.api()
    body = PAYMENT | {"payment_method": method, "return_url": RETURN_URL}
    validated = api.call("POST", "validate", body)
    assert validated.status == 200, validated
    payment = str(validated.field("transaction_id"))
    return payment, api.call("POST", "process", {"transaction_id": payment})


def standing(deployed: Deployed, payment: str) -> Any:
    answer = deployed.api().call("GET", f"transactions/{payment}")
    assert answer.status == 200, answer
    return answer.body


def notify(deployed: Deployed, account: Stripe) -> int:
    """Let Stripe send its latest event; return the status of the answer."""
    return account.send(account.events.made[-1], f"{deployed.api().url}gateway-events")


def test_a_payment_comes_to_each_of_its_ends(deployed: Deployed, account: Stripe) -> None:
    paid, answer = begun(deployed, "pm_card_visa")
    assert (answer.status, answer.field("status")) == (200, "processed")
    assert account.captures(paid) != []

    _, answer = begun(deployed, "pm_card_visa_chargeDeclinedInsufficientFunds")
    assert (answer.status, answer.field("reason")) == (402, "insufficient_funds")
    assert account.payments()[-1]["status"] == "canceled"

    waits, answer = begun(deployed, "pm_card_authenticationRequired")
    assert (answer.status, answer.field("status")) == (202, "pending")
    [made] = account.payments(waits)
    assert answer.field("next_action") == made["next_action"]["redirect_to_url"]["url"]
    account.authenticate(made["id"])
    assert notify(deployed, account) == 200
    assert standing(deployed, waits)["status"] == "processed"

    debit, answer = begun(deployed, "pm_usBankAccount_insufficientFunds")
    assert (answer.status, answer.field("status")) == (202, "pending")
    answer = deployed.api().call("POST", "cancel", {"transaction_id": debit})
    assert answer.status == 409
    account.decide(account.payments(debit)[0]["id"])
    assert notify(deployed, account) == 200
    told = standing(deployed, debit)
    assert (told["status"], told["decline_reason"]) == ("declined", "insufficient_funds")

    canceled, _ = begun(deployed, "pm_card_authenticationRequired")
    answer = deployed.api().call("POST", "cancel", {"transaction_id": canceled})
    assert (answer.status, account.payments(canceled)[0]["status"]) == (200, "canceled")
    account.signing_secrets = ["whsec_other"]
    assert notify(deployed, account) == 400


def test_a_charge_whose_answer_was_lost_is_found_by_the_retry(
    deployed: Deployed, account: Stripe
) -> None:
    account.fail("confirm", "lost", 3)
    payment, answer = begun(deployed, "pm_card_visa")
    assert (answer.status, answer.field("retry")) == (500, "queued")
    until(lambda: standing(deployed, payment)["status"] == "processed")
    assert len(account.captures(payment)) == 1
    assert [call.kind for call in account.calls].count("prepare") == 1


def test_a_rotated_key_gets_in_with_the_next_payment_and_no_log_has_one(
    deployed: Deployed, account: Stripe
) -> None:
    begun(deployed, "pm_card_visa")
    account.rotate()
    deployed.session.client("secretsmanager").put_secret_value(
        SecretId=SUFFIX, SecretString=account.secret()
    )
    payment, answer = begun(deployed, "pm_card_visa")
    assert (answer.status, len(account.captures(payment))) == (200, 1)
    assert deployed.logged("Processing", "stripe refused") != []
    for secret in ("sk_test", "whsec_", "pm_card"):
        assert deployed.logged("Processing", secret) == []
        assert deployed.logged("GatewayEvents", secret) == []
