"""A payment that a restore took back, at a gateway in two steps: it is looked for, not made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from handlers import validation
from handlers.shared.clock import epoch_seconds
from handlers.shared.gateway import Charged, NoCharge, Open
from tests.unit.handlers.harness import Aws, Clock, call, load_event, process
from tests.unit.handlers.two_steps import ToldGateway, use

if TYPE_CHECKING:
    from handlers.shared.gateway import GatewayPayment


@pytest.fixture
def told(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> ToldGateway:
    return use(monkeypatch, ToldGateway())


@pytest.fixture
def prepared(aws: Aws, clock: Clock, told: ToldGateway) -> str:
    """A payment that was prepared and not confirmed, in a row that was marked then."""
    body = {"amount": 100.50, "currency": "USD", "customer_id": "c", "payment_method": "pm_1"}
    answer = call(validation.handler, load_event("validate", body=json.dumps(body)))
    transaction_id = str(answer.body["transaction_id"])
    told.failures["confirm"] = RuntimeError("killed")
    assert process(transaction_id).status == 500
    aws.dynamodb.items[transaction_id]["rewound"] = {"N": str(epoch_seconds(clock.now))}
    told.calls.clear()
    return transaction_id


def another(told: ToldGateway, transaction_id: str, outcome: Open | Charged) -> GatewayPayment:
    """Let the gateway have another payment of the same transaction, and find that."""
    made = told.payments[f"pay-{transaction_id}"]
    told.found = made.__class__(**{**vars(made), "id": "pay-2", "outcome": outcome})
    told.payments["pay-2"] = told.found
    return told.found


def test_one_that_is_the_only_one_there_is_confirmed(
    told: ToldGateway, prepared: str, clock: Clock
) -> None:
    told.found = told.payments[f"pay-{prepared}"]
    clock.tick(100)
    assert process(prepared).status == 200
    assert told.calls == [("find", prepared), ("confirm", f"pay-{prepared}")]


@pytest.mark.parametrize("outcome", [Open(), Charged("ch-2")])
def test_one_of_which_there_is_another_is_left_to_a_person(
    aws: Aws, told: ToldGateway, prepared: str, clock: Clock, outcome: Open | Charged
) -> None:
    another(told, prepared, outcome)
    clock.tick(100)
    assert process(prepared).status == 500
    assert told.asked() == ["find"]
    item = aws.dynamodb.items[prepared]
    assert (item["status"], item["in_flight"]) == ({"S": "processing"}, {"S": "mismatched"})
    assert item["gateway_id"] == {"S": f"pay-{prepared}"}


@pytest.mark.parametrize(("found", "key"), [(NoCharge(), "mismatched"), (None, "processing#")])
def test_one_that_the_gateway_does_not_list_is_not_confirmed(
    aws: Aws, told: ToldGateway, prepared: str, clock: Clock, found: NoCharge | None, key: str
) -> None:
    told.found = found
    clock.tick(100)
    assert process(prepared).status == 500
    assert told.asked() == ["find"]
    item = aws.dynamodb.items[prepared]
    assert item["status"] == {"S": "processing"}
    assert item["in_flight"]["S"].startswith(key)
