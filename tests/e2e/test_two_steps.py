"""A gateway in two steps on the real stack: its payments are paid, declined, or pending for long.

The scripted gateway's memory is one file for all functions of the embedded AWS.
"""

import time
from typing import Any

import pytest

from handlers.shared.clock import utc_now
from handlers.shared.scripted_notification import signed
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.environment.intake import let_in, stop, stopped, wanted
from payment_infra.cloud.environment.smoke import Answer
from payment_infra.cloud.operating.payment_list import Wanted, find
from payment_infra.cloud.operating.settling import cancel, settle
from payment_infra.cloud.operating.showing import look
from payment_infra.errors import PaymentInfraError
from payment_infra.local.emulator import Emulator
from tests.e2e.conftest import Deploy
from tests.e2e.grants import change_row
from tests.e2e.harness import PAYMENT, Deployed, notify, until

SCHEDULED = {"source": "aws.events", "detail-type": "Scheduled Event"}
RETURN_URL = "https://shop.example/back"


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy) -> Deployed:
    return deploy(aws, "steps-1", authorization="none", gateway="scripted", gateway_events=True)


def begun(deployed: Deployed, **fields: str) -> tuple[str, Answer]:
    """Validate a payment and process it; return its id, and the answer."""
    api = deployed.api()
    validated = api.call("POST", "validate", PAYMENT | {"return_url": RETURN_URL} | fields)
    assert validated.status == 200, validated
    transaction_id = str(validated.field("transaction_id"))
    return transaction_id, api.call("POST", "process", {"transaction_id": transaction_id})


def standing(deployed: Deployed, transaction_id: str) -> Any:
    answer = deployed.api().call("GET", f"transactions/{transaction_id}")
    assert answer.status == 200, answer
    return answer.body


def test_a_payment_needs_a_method_which_decides_whether_it_is_paid(deployed: Deployed) -> None:
    answer = deployed.api().call("POST", "validate", PAYMENT)
    assert (answer.status, answer.field("missing_fields")) == (400, ["payment_method"])

    transaction_id, answer = begun(deployed, payment_method="paid", reference="order 4711")
    assert (answer.status, answer.field("status")) == (200, "processed")
    told = standing(deployed, transaction_id)
    assert (told["status"], told["reference"]) == ("processed", "order 4711")

    transaction_id, answer = begun(deployed, payment_method="declined")
    assert (answer.status, answer.field("reason"), answer.field("another_method")) == (
        *(402, "card_declined", True),
    )
    assert standing(deployed, transaction_id)["decline_reason"] == "card_declined"


def test_what_is_pending_and_what_was_not_answered_are_settled_without_their_client(
    deployed: Deployed,
) -> None:
    """By a look that the scheduled run has queued, and by the retry."""
    lost, answer = begun(deployed, payment_method="paid", customer_id="fault-confirm-lost")
    assert (answer.status, answer.field("retry")) == (500, "queued")
    pending, answer = begun(deployed, payment_method="redirect-paid:0")
    assert (answer.status, answer.field("status")) == (202, "pending")
    action = str(answer.field("next_action"))
    assert action.startswith("https://scripted.example/")
    assert action.endswith("?return_url=https%3A%2F%2Fshop.example%2Fback")
    assert standing(deployed, pending)["next_action"] == action

    # Its next look is due.
    change_row(deployed, {"transaction_id": pending}, "lease_expires_at", {"N": "1"})
    assert deployed.invoke("HealthMonitor", SCHEDULED)[0] is None
    told = until(lambda: _settled(deployed, pending))
    assert (told["status"], "next_action" in told) == ("processed", False)
    assert until(lambda: _settled(deployed, lost))["status"] == "processed"
    for transaction_id in (pending, lost):
        captured = [
            line
            for function in ("Processing", "Retry")
            for line in deployed.logged(function, '"message":"captured"')
            if transaction_id in line
        ]
        assert len(captured) == 1


def test_a_person_settles_what_the_gateway_has_ended_and_cancels_what_it_has_not(
    deployed: Deployed,
) -> None:
    environment = Environment.find(deployed.session, deployed.stack, "steps-1")
    asked: list[str] = []
    ended, _ = begun(deployed, payment_method="redirect-paid:0")
    waits, _ = begun(deployed, payment_method="redirect-paid:3000")
    assert (look(environment, waits).gateway or {})["outcome"] == "pending"
    with pytest.raises(PaymentInfraError, match="waits for its customer or a bank"):
        settle(environment, waits, None, asked.append, print)
    assert asked == []
    assert cancel(environment, waits, asked.append).status == "canceled"
    assert settle(environment, ended, None, asked.append, print).status == "processed"
    assert len(asked) == 2
    assert standing(deployed, waits)["status"] == "canceled"
    told = standing(deployed, ended)
    assert (told["status"], "next_action" in told) == ("processed", False)
    found = find(environment, Wanted(("canceled", "processed")))
    statuses = {row["transaction_id"]: row["status"] for row in found}
    assert (statuses[waits], statuses[ended]) == ("canceled", "processed")


def test_a_signed_notification_settles_a_pending_payment_unless_payments_are_stopped(
    deployed: Deployed,
) -> None:
    transaction_id, answer = begun(deployed, payment_method="redirect-paid:0")
    assert answer.status == 202
    row = deployed.session.client("dynamodb").get_item(
        TableName="transactions-steps-1", Key={"transaction_id": {"S": transaction_id}}
    )["Item"]
    headers, body = signed(row["gateway_id"]["S"], utc_now())
    assert notify(deployed, {}, body) == 400
    environment = Environment.find(deployed.session, deployed.stack, "steps-1")
    stop(environment, time.sleep)
    try:
        assert "notifications" in stopped(environment)
        assert notify(deployed, headers, body) == 503
        assert standing(deployed, transaction_id)["status"] == "pending"
    finally:
        let_in(environment, wanted(environment), time.sleep)
    assert stopped(environment) == []
    assert notify(deployed, headers, body) == 200
    assert standing(deployed, transaction_id)["status"] == "processed"


def _settled(deployed: Deployed, transaction_id: str) -> Any:
    told = standing(deployed, transaction_id)
    return told if told["status"] not in {"processing", "pending"} else None
