"""Idempotency-Key through the real API and a real conditional write."""

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from payment_infra.local.emulator import Emulator
from tests.e2e.conftest import Deploy
from tests.e2e.harness import PAYMENT, Deployed, until

REQUESTS = 20


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy) -> Deployed:
    return deploy(aws, "keys-1", authorization="none")


def validate(deployed: Deployed, key: str, payment: dict[str, Any] = PAYMENT) -> tuple[Any, ...]:
    """Return status, body, and whether the answer says that it is a replay."""
    request = urllib.request.Request(
        deployed.api().url + "validate",
        json.dumps(payment).encode(),
        {"Idempotency-Key": key},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            replayed = answer.headers["Idempotent-Replayed"] == "true"
            return answer.status, json.load(answer), replayed
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), False


def test_a_replay_is_answered_like_the_first_and_another_body_is_refused(
    deployed: Deployed,
) -> None:
    status, body, replayed = validate(deployed, "order-1")
    assert (status, replayed) == (200, False)
    assert validate(deployed, '"order-1"') == (200, body, True)
    status, body, _ = validate(deployed, "order-1", PAYMENT | {"amount": 200})
    assert (status, body["error"]) == (422, "Idempotency key reused")


def test_concurrent_first_uses_make_one_transaction(deployed: Deployed) -> None:
    def client(_: int) -> tuple[Any, ...]:
        """Ask again, as clients do, when the emulator was too busy to answer in time."""
        return tuple(until(lambda: (it := validate(deployed, "order-2"))[0] != 500 and it))

    with ThreadPoolExecutor(REQUESTS) as pool:
        answers = list(pool.map(client, range(REQUESTS)))
    assert {status for status, _, _ in answers} == {200}
    [transaction_id] = {body["transaction_id"] for _, body, _ in answers}
    # None, if the first one was written and its answer came too late.
    assert [replayed for _, _, replayed in answers].count(False) <= 1
    table = deployed.session.client("dynamodb").scan(TableName="transactions-keys-1")
    assert [item["transaction_id"]["S"] for item in table["Items"]].count(transaction_id) == 1
