"""Rows that something else wrote, or changed: never charged, never in the way, seen by an alarm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from handlers import health_monitor
from handlers.shared.clock import epoch_seconds
from handlers.shared.recovery import RECOVER_AFTER_SECONDS
from handlers.shared.transactions import LEASE_SECONDS
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    CountingGateway,
    LambdaContext,
    Output,
    deliver,
    load_event,
    process,
    to_process,
    validated,
)

if TYPE_CHECKING:
    from tests.expressions import Item

OVERDUE_SECONDS = LEASE_SECONDS + RECOVER_AFTER_SECONDS + 1


def scheduled() -> None:
    health_monitor.handler(load_event("scheduled"), LambdaContext())


def left_over(aws: Aws, clock: Clock, transaction_id: str, shard: int = 0) -> Item:
    """Leave a payment as an attempt that died leaves it, overdue, first in that shard."""
    item = aws.dynamodb.items[transaction_id]
    item |= {
        "status": {"S": "processing"},
        "attempt_id": {"S": "dead"},
        "lease_expires_at": {"N": str(epoch_seconds(clock.now) - OVERDUE_SECONDS)},
        "in_flight": {"S": f"processing#{shard}"},
        "first_charge_at": {"S": clock.now.isoformat()},
    }
    return item


# A row of the system that this one equals, and rows that nobody's validation has written.
FOREIGN: dict[str, Item] = {
    "the reference's own": {
        "amount": {"N": "100.5"},
        "currency": {"S": "USD"},
        "customer_id": {"S": "cust-1"},
        "status": {"S": "validated"},
    },
    "an unknown status": {"status": {"S": "refunded"}},
    "no status": {},
    "in processing without a lease": {"status": {"S": "processing"}},
    "with a lease in milliseconds": {
        "status": {"S": "processing"},
        "lease_expires_at": {"N": "1795382820000"},
    },
    "with a lease of another type": {
        "status": {"S": "processing"},
        "lease_expires_at": {"S": "never"},
    },
}


@pytest.mark.parametrize("row", FOREIGN.values(), ids=FOREIGN)
def test_a_row_that_is_no_payment_is_refused_unwritten_and_counted(
    aws: Aws,
    clock: Clock,
    gateway: CountingGateway,
    capsys: pytest.CaptureFixture[str],
    row: Item,
) -> None:
    item = {"transaction_id": {"S": "foreign"}, **row}
    aws.dynamodb.items["foreign"] = dict(item)
    answer = process("foreign")
    assert (answer.status, answer.body["retry"]) == (500, "not queued")
    assert "has not charged it" in answer.body["message"]
    assert aws.dynamodb.items["foreign"] == item
    assert not gateway.keys
    assert not aws.sqs.calls
    output = Output.read(capsys)
    assert output.metrics["PaymentsUnreadable"] == [1]
    [line] = output.of("payment not charged")
    assert (line["level"], line["reason"]) == ("ERROR", "row_unreadable")
    assert deliver(to_process("foreign")) == [0]


@pytest.mark.parametrize("status", ["processed", "declined"])
def test_a_settled_row_of_another_shape_is_answered_as_settled(
    aws: Aws, clock: Clock, gateway: CountingGateway, status: str
) -> None:
    item = {"transaction_id": {"S": "foreign"}, **FOREIGN["the reference's own"]}
    aws.dynamodb.items["foreign"] = item | {"status": {"S": status}}
    answer = process("foreign")
    assert answer.status == (200 if status == "processed" else 402)
    assert not gateway.keys


UNREADABLE: dict[str, list[dict[str, Any]]] = {
    "first_charge_at": [{"S": ""}, {"S": "yesterday"}, {"S": "2026-11-22T21:27:00"}, {"N": "5"}],
    "recoveries": [{"S": "three"}, {"N": "1.5"}],
    "rewound": [{"S": "now"}, {"BOOL": True}],
    "queued_until": [{"M": {}}],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in UNREADABLE.items() for value in values]
)
def test_what_cannot_be_read_after_the_claim_is_let_go_set_aside_and_counted(
    aws: Aws,
    clock: Clock,
    gateway: CountingGateway,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: dict[str, Any],
) -> None:
    transaction_id = validated()
    aws.dynamodb.items[transaction_id][name] = value
    answer = process(transaction_id)
    assert (answer.status, answer.body["retry"]) == (500, "not queued")
    item = aws.dynamodb.items[transaction_id]
    assert item["in_flight"] == {"S": "unreadable"}
    assert int(item["lease_expires_at"]["N"]) < epoch_seconds(clock.now)
    assert Output.read(capsys).metrics["PaymentsUnreadable"] == [1]
    clock.tick(OVERDUE_SECONDS)
    scheduled()
    assert Output.read(capsys).metrics["PaymentsUnreadable"] == [1]
    assert not gateway.keys
    assert not aws.sqs.calls
    del item[name]  # somebody has looked after it
    if name == "first_charge_at":
        assert process(transaction_id).status == 500  # it may be one that the gateway has forgotten
        item[name] = {"S": clock.now.isoformat()}
    assert process(transaction_id).status == 200


TAMPERED = {
    "amount_minor": {"N": "1"},
    "amount": {"S": "0.01"},
    "currency": {"S": "EUR"},
    "a currency that is none": {"S": "XXX"},
    "customer_id": {"S": "somebody-else"},
    "fingerprint": {"S": "0" * 64},
}


@pytest.mark.parametrize(("name", "value"), TAMPERED.items(), ids=TAMPERED)
def test_a_row_that_is_not_what_was_validated_is_never_charged(
    aws: Aws,
    clock: Clock,
    gateway: CountingGateway,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: dict[str, str],
) -> None:
    transaction_id = validated()
    name = "currency" if name.startswith("a currency") else name
    aws.dynamodb.items[transaction_id][name] = value
    for _ in range(2):
        answer = process(transaction_id)
        assert (answer.status, answer.body["retry"]) == (500, "not queued")
        assert "has not charged it" in answer.body["message"]
        assert Output.read(capsys).metrics["PaymentsMismatched"] == [1]
    assert deliver(to_process(transaction_id)) == [0]
    Output.read(capsys)
    clock.tick(OVERDUE_SECONDS)
    scheduled()
    assert Output.read(capsys).metrics["PaymentsMismatched"] == [1]
    assert not gateway.keys
    assert not aws.sqs.calls


def test_amount_and_amount_minor_changed_alike_are_found_by_the_fingerprint(
    aws: Aws, clock: Clock, gateway: CountingGateway
) -> None:
    transaction_id = validated()
    aws.dynamodb.items[transaction_id] |= {"amount": {"S": "1.00"}, "amount_minor": {"N": "100"}}
    assert process(transaction_id).status == 500
    assert not gateway.keys


SPOILED: dict[str, dict[str, dict[str, Any]]] = {
    "mismatched": {"amount_minor": {"N": "1"}},
    "unreadable": {"first_charge_at": {"S": "yesterday"}},
    "of another status": {"status": {"S": "validated"}},
    "with a lease that is no whole number": {"lease_expires_at": {"N": "1795000000.5"}},
    "with a lease in milliseconds": {"lease_expires_at": {"N": "1795382820000"}},
    "without an amount": {"amount": {"BOOL": True}},
}


@pytest.mark.parametrize(("kind", "spoiled"), SPOILED.items(), ids=SPOILED)
def test_a_spoiled_row_is_set_aside_once_and_hides_no_payment_behind_it(
    aws: Aws,
    clock: Clock,
    gateway: CountingGateway,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    spoiled: dict[str, dict[str, Any]],
) -> None:
    first = validated()
    left_over(aws, clock, first).update(spoiled)
    behind = [validated() for _ in range(12)]
    for transaction_id in behind:
        left_over(aws, clock, transaction_id)["lease_expires_at"] = {
            "N": str(epoch_seconds(clock.now) - OVERDUE_SECONDS + 1)
        }
    clock.tick(60)
    Output.read(capsys)
    scheduled()
    key = "mismatched" if kind == "mismatched" else "unreadable"
    assert aws.dynamodb.items[first]["in_flight"] == {"S": key}
    metric = {"mismatched": "PaymentsMismatched", "unreadable": "PaymentsUnreadable"}[key]
    assert Output.read(capsys).metrics[metric] == [1]
    queued = [json.loads(message)["transaction_id"] for message in aws.queued()]
    assert sorted(queued) == sorted(behind)
    aws.dynamodb.calls.clear()
    scheduled()
    assert Output.read(capsys).metrics[metric] == [1]
    assert not aws.dynamodb.called("UpdateItem")


@pytest.mark.parametrize(
    ("minutes_ahead", "status", "key"),
    [
        # Two clocks, each ten minutes off: somebody may hold it.
        (20, 409, "processing#0"),
        # No clock of ours can be so wrong: nobody does, and it would never be recovered.
        (120, 500, "unreadable"),
    ],
)
def test_a_lease_that_ends_late_is_held_as_far_as_clocks_can_be_off(
    aws: Aws,
    clock: Clock,
    gateway: CountingGateway,
    minutes_ahead: int,
    status: int,
    key: str,
) -> None:
    transaction_id = validated()
    lease_end = epoch_seconds(clock.now) + LEASE_SECONDS + minutes_ahead * 60
    left_over(aws, clock, transaction_id)["lease_expires_at"] = {"N": str(lease_end)}
    assert process(transaction_id).status == status
    scheduled()
    assert aws.dynamodb.items[transaction_id]["in_flight"] == {"S": key}
    assert not gateway.keys
    assert not aws.sqs.calls
