"""A payment that a restore took back to before it was begun: only the gateway for which it was
validated can tell whether it was charged since."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from handlers import retry, validation
from handlers.shared.aws import clients
from handlers.shared.clock import epoch_seconds
from handlers.shared.gateway import Charged, NoCharge, SimulatedGateway
from handlers.shared.responses import OUTCOME_UNKNOWN
from tests.unit.handlers.fakes import client_error
from tests.unit.handlers.harness import (
    Aws,
    Clock,
    CountingGateway,
    LambdaContext,
    Output,
    call,
    cancel,
    deliver,
    load_event,
    process,
    to_process,
)
from tests.unit.handlers.two_steps import ToldGateway, use

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.expressions import Item

    Gateway = CountingGateway | ToldGateway
    Capture = pytest.CaptureFixture[str]

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:acme/key-"
OTHERS = [
    {"GATEWAY": "acme:Other"},
    {"GATEWAY_SECRET_ARN": f"{SECRET}GhIjKl"},
    {"GATEWAY_SECRET_ARN": ""},
]


@pytest.fixture(params=[CountingGateway, ToldGateway], ids=["one step", "two steps"])
def gateway(request: Any, aws: Aws, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A gateway that says for certain that it has charged nothing, by whatever name."""
    gateway: Gateway = request.param()
    gateway.found = NoCharge()
    configure(monkeypatch, {"GATEWAY": "acme:Acme", "GATEWAY_SECRET_ARN": f"{SECRET}AbCdEf"})
    use(monkeypatch, gateway)  # type: ignore[arg-type]
    return gateway


def configure(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def rewound(aws: Aws, clock: Clock, gateway: Gateway) -> str:
    """A payment that was validated for one gateway, and then rewound."""
    body = {"amount": 100.50, "currency": "USD", "customer_id": "c", "payment_method": "pm_1"}
    answer = call(validation.handler, load_event("validate", body=json.dumps(body)))
    transaction_id = str(answer.body["transaction_id"])
    aws.dynamodb.items[transaction_id]["rewound"] = {"N": str(epoch_seconds(clock.now))}
    return transaction_id


def asked(gateway: Gateway) -> list[str]:
    if isinstance(gateway, ToldGateway):
        return [name for name, _ in gateway.calls]
    return [*gateway.keys, *gateway.lookups]


def order(do: str, transaction_id: str, **more: object) -> dict[str, Any]:
    event = {"by_hand": {"do": do, "transaction_id": transaction_id, **more}}
    told: dict[str, Any] = retry.handler(event, LambdaContext())["by_hand"]
    return told


def test_a_row_says_for_whom_it_was_validated_and_nothing_of_the_secret_but_its_name(
    aws: Aws, rewound: str
) -> None:
    item = aws.dynamodb.items[rewound]
    assert item["validated_for"] == {"S": "acme:Acme acme/key-AbCdEf"}
    assert "123456789012:secret" not in str(item)


def test_without_a_setting_it_is_validated_for_the_simulated_gateway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GATEWAY", "GATEWAY_SECRET_ARN"):
        monkeypatch.delenv(name, raising=False)
    simulated = f"{SimulatedGateway.__module__}:{SimulatedGateway.__qualname__}"
    assert clients.configured_gateway() == simulated


@pytest.mark.parametrize("other", OTHERS)
def test_no_other_gateway_is_asked_of_it_and_it_counts_as_stuck(
    aws: Aws,
    gateway: Gateway,
    rewound: str,
    other: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    configure(monkeypatch, other)
    before = dict(aws.dynamodb.items[rewound])
    capsys.readouterr()
    answer = process(rewound)
    assert (answer.status, answer.body["message"]) == (500, OUTCOME_UNKNOWN)
    assert deliver(to_process(rewound)) == [0]
    assert cancel(rewound).status == 500
    output = Output.read(capsys)
    assert output.metrics["PaymentsStuck"] == [1, 1, 1]
    assert {line["attribute"] for line in output.of("payment not charged")} == {"validated_for"}
    told = order("ask", rewound)
    assert told["obstacle"] == {"code": "other_gateway", "about": "validated_for"}
    assert told["gateway"] == {"outcome": "unknown"}
    for refused in (order("cancel", rewound), order("settle", rewound, agreed=told["gateway"])):
        assert refused["refused"] == {"code": "other_gateway", "about": "validated_for"}
    assert asked(gateway) == []
    assert aws.dynamodb.items[rewound] == before


def test_its_own_gateway_is_asked_as_before_and_once_more_after_another(
    aws: Aws, gateway: Gateway, rewound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, OTHERS[0])
    assert process(rewound).status == 500
    configure(monkeypatch, {"GATEWAY": "acme:Acme"})
    answer = process(rewound)
    if isinstance(gateway, ToldGateway):
        assert (answer.status, answer.body["reason"]) == (402, "not_found_at_gateway")
    else:
        assert (answer.status, gateway.lookups, gateway.keys) == (200, [rewound], [rewound])


def without_mark(item: Item) -> None:
    del item["rewound"]


def of_an_earlier_release(item: Item) -> None:
    del item["validated_for"]


@pytest.mark.parametrize("change", [without_mark, of_an_earlier_release])
def test_what_is_not_rewound_or_says_nothing_is_taken_by_whatever_gateway_there_is(
    aws: Aws,
    gateway: Gateway,
    rewound: str,
    change: Callable[[Item], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(aws.dynamodb.items[rewound])
    configure(monkeypatch, OTHERS[0])
    answer = process(rewound)
    found_none = change is of_an_earlier_release and isinstance(gateway, ToldGateway)
    assert answer.status == (402 if found_none else 200)


def test_where_it_was_begun_counts_more_than_for_whom_it_was_validated(
    aws: Aws, gateway: Gateway, rewound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, OTHERS[0])
    made = f"{type(gateway).__module__}:{type(gateway).__qualname__}"
    aws.dynamodb.items[rewound]["gateway"] = {"S": made}
    assert process(rewound).status == (402 if isinstance(gateway, ToldGateway) else 200)


@pytest.mark.parametrize(("reference", "status"), [("ch-old", "processed"), (None, "canceled")])
def test_a_person_writes_what_the_other_gateway_says(
    aws: Aws,
    gateway: Gateway,
    rewound: str,
    reference: str | None,
    status: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(monkeypatch, OTHERS[0])
    agreed = order("ask", rewound)["gateway"]
    told = order("settle", rewound, agreed=agreed, known={"reference": reference})
    assert told["status"] == status
    item = aws.dynamodb.items[rewound]
    assert item["status"] == {"S": status}
    assert item.get("gateway_reference") == (None if reference is None else {"S": reference})
    assert not {"in_flight", "lease_expires_at", "attempt_id"} & item.keys()
    assert asked(gateway) == []


@pytest.mark.parametrize("other", OTHERS)
def test_it_is_still_nobody_elses_if_that_cannot_be_written(
    aws: Aws,
    gateway: Gateway,
    clock: Clock,
    rewound: str,
    other: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(monkeypatch, other)
    agreed = order("ask", rewound)["gateway"]
    known = {"reference": "ch-old"}
    # The claim is made, and nothing after it.
    updates = iter(range(99))

    def fail() -> None:
        if next(updates) == 2:
            raise client_error()

    aws.dynamodb.before_update = fail
    told = order("settle", rewound, agreed=agreed, known=known)
    assert told["refused"]["code"] == "store_unavailable"
    assert aws.dynamodb.items[rewound]["status"] == {"S": "processing"}
    clock.tick(3600)
    gateway.found = Charged("ch-new") if isinstance(gateway, CountingGateway) else NoCharge()
    assert process(rewound).status == 500
    assert asked(gateway) == []
    told = order("settle", rewound, agreed=agreed, known=known)
    assert told["status"] == "processed"
    assert aws.dynamodb.items[rewound]["gateway_reference"] == {"S": "ch-old"}


@pytest.mark.parametrize("attribute", ["gateway", "gateway_account", "gateway_mode"])
def test_a_person_also_writes_what_is_known_of_one_that_was_begun_elsewhere(
    aws: Aws, clock: Clock, rewound: str, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = use(monkeypatch, ToldGateway())
    made = f"{ToldGateway.__module__}:{ToldGateway.__qualname__}"
    begun = {"gateway": made, "gateway_account": "acct_1", "gateway_mode": "test"}
    item = aws.dynamodb.items[rewound]
    item |= {name: {"S": value} for name, value in begun.items()}
    item |= {"status": {"S": "processing"}, "in_flight": {"S": "stuck"}}
    item |= {"lease_expires_at": {"N": str(epoch_seconds(clock.now) - 1)}}
    item |= {attribute: {"S": "another"}}
    asked_before = order("ask", rewound)
    assert asked_before["obstacle"] == {"code": "other_gateway", "about": attribute}
    known = {"reference": "ch-old"}
    done = order("settle", rewound, agreed=asked_before["gateway"], known=known)
    assert done["status"] == "processed"
    stored = aws.dynamodb.items[rewound]
    assert stored["gateway_reference"] == {"S": "ch-old"}
    assert stored[attribute] == {"S": "another"}
    assert told.calls == []
