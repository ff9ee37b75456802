"""The model's rules on the embedded AWS's DynamoDB, with the table of the rendered template.

The rest of the model's world stays, and its faults strike around the real client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from handlers.shared import recovery, states
from handlers.shared.aws import table
from handlers.shared.failures import error_code
from handlers.shared.states import IN_FLIGHT_KEYS
from payment_infra.local.stack import open_session
from tests.model.machine import SETTINGS, ChangedPayments
from tests.unit.template import Evaluated, load

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator
    from tests.expressions import Item

# Shrinking takes minutes here; what breaks in memory too is better shrunk there.
UNSHRUNK = settings(SETTINGS, phases=[Phase.generate], max_examples=200)


class EmulatedDatabase:
    """A table behind a real client; it is read again once a write was tried."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table
        self._items: dict[str, Item] | None = None

    @property
    def items(self) -> dict[str, Item]:
        if self._items is None:
            scan = self._client.get_paginator("scan")
            pages = scan.paginate(TableName=self._table, ConsistentRead=True)
            rows = [item for page in pages for item in page["Items"]]
            self._items = {row["transaction_id"]["S"]: row for row in rows}
        return self._items

    def put_item(self, **params: Any) -> dict[str, Any]:
        self._items = None
        return self._call(self._client.put_item, params)

    def update_item(self, **params: Any) -> dict[str, Any]:
        self._items = None
        return self._call(self._client.update_item, params)

    def get_item(self, **params: Any) -> dict[str, Any]:
        return self._call(self._client.get_item, params)

    def query(self, **params: Any) -> dict[str, Any]:
        return self._call(self._client.query, params)

    def scan(self, **params: Any) -> dict[str, Any]:
        return self._call(self._client.scan, params)

    def overwrite(self, item: Item) -> None:
        self._items = None
        self._call(self._client.put_item, {"TableName": self._table, "Item": item})

    def empty(self) -> None:
        for transaction_id in self.items:
            self._client.delete_item(
                TableName=self._table, Key={"transaction_id": {"S": transaction_id}}
            )
        self._items = None

    def _call(
        self, operation: Callable[..., dict[str, Any]], params: dict[str, Any]
    ) -> dict[str, Any]:
        """Make a call; only a condition may fail it.

        The handlers would take any other error for an outage, and the test would pass.
        """
        try:
            return operation(**params)
        except (BotoCoreError, ClientError) as error:
            if error_code(error) != "ConditionalCheckFailedException":
                pytest.fail(f"{operation.__name__}: {error}")
            raise


@pytest.fixture
def database(aws: Emulator) -> Iterator[EmulatedDatabase]:
    """The transactions table as the template describes it."""
    properties = Evaluated(load()).resources["TransactionsTable"]
    del properties["PointInTimeRecoverySpecification"]  # not CreateTable's
    client = open_session(aws).client("dynamodb")
    client.create_table(**properties)
    yield EmulatedDatabase(client, properties["TableName"])
    client.delete_table(TableName=properties["TableName"])


@pytest.fixture
def one_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts all payments into one shard of the index, and each on a page of its own.

    A scheduled run then makes few calls, which it spends on payments.
    """
    monkeypatch.setattr(states, "IN_FLIGHT_SHARDS", 1)
    monkeypatch.setattr(recovery, "IN_FLIGHT_KEYS", IN_FLIGHT_KEYS[:1])
    monkeypatch.setattr(table, "PAGE_SIZE", 1)


@pytest.mark.usefixtures("one_shard")
def test_no_payment_is_lost_or_charged_twice(database: EmulatedDatabase) -> None:
    class EmulatedPayments(ChangedPayments):
        def __init__(self) -> None:
            database.empty()
            super().__init__(database)

    run_state_machine_as_test(EmulatedPayments, settings=UNSHRUNK)
