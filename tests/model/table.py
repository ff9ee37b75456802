"""The transactions table: DynamoDB's calls on it, in memory, and notes of who writes what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from zlib import crc32

from tests.model.expressions import Item, evaluate
from tests.model.faults import AWS, Call, Network, client_error
from tests.model.invocations import running

if TYPE_CHECKING:
    from tests.model.ledger import Ledger

T = TypeVar("T")

# Of a page of 1 MB in which the table is scanned.
ROWS_PER_PAGE = 2000


class Database(Protocol):
    """DynamoDB's calls on the transactions table, and the items that the table holds."""

    @property
    def items(self) -> dict[str, Item]: ...
    def put_item(self, **params: Any) -> dict[str, Any]: ...
    def update_item(self, **params: Any) -> dict[str, Any]: ...
    def query(self, **params: Any) -> dict[str, Any]: ...
    def scan(self, **params: Any) -> dict[str, Any]: ...
    def overwrite(self, item: Item) -> None: ...


class InMemoryDatabase:
    """One table with its sparse index."""

    def __init__(self, items: dict[str, Item] | None = None) -> None:
        self.items = items or {}

    def put_item(self, **params: Any) -> dict[str, Any]:
        transaction_id = params["Item"]["transaction_id"]["S"]
        self._check(params, transaction_id, "ConditionExpression")
        self.items[transaction_id] = dict(params["Item"])
        return {}

    def update_item(self, **params: Any) -> dict[str, Any]:
        transaction_id = params["Key"]["transaction_id"]["S"]
        self._check(params, transaction_id, "ConditionExpression", "UpdateExpression")
        old = self.items.get(transaction_id, dict(params["Key"]))
        expressions = evaluate(params, old, "ConditionExpression", "UpdateExpression")
        self.items[transaction_id] = expressions.updated(params["UpdateExpression"])
        return {"Attributes": dict(self.items[transaction_id])}

    def query(self, **params: Any) -> dict[str, Any]:
        assert params["IndexName"] == "in-flight-index"
        condition = params["KeyConditionExpression"]

        def matches(item: Item) -> bool:
            return evaluate(params, item, "KeyConditionExpression").condition(condition)

        found = [item for item in self.items.values() if _in_index(item) and matches(item)]
        after = _index_order(params.get("ExclusiveStartKey"))
        page = sorted((item for item in found if _index_order(item) > after), key=_index_order)
        page, rest = page[: params["Limit"]], page[params["Limit"] :]
        return {"Items": page} | ({"LastEvaluatedKey": page[-1]} if rest else {})

    def scan(self, **params: Any) -> dict[str, Any]:
        return scan_page(params, self.items, ROWS_PER_PAGE)

    def overwrite(self, item: Item) -> None:
        """Put a row as a person does, without a condition."""
        self.items[item["transaction_id"]["S"]] = item

    def _check(self, params: dict[str, Any], transaction_id: str, *expressions: str) -> None:
        old = self.items.get(transaction_id)
        evaluator = evaluate(params, old or {}, *expressions)
        if not evaluator.condition(params["ConditionExpression"]):
            assert params["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
            item = {"Item": dict(old)} if old else {}
            raise client_error("ConditionalCheckFailedException", **item)


class Table:
    """A DynamoDB client, which has everything that is written taken down."""

    def __init__(self, network: Network, database: Database, ledger: Ledger) -> None:
        # What the index shows while it lags behind the table.
        self.stale: dict[str, Item] | None = None
        self._network = network
        self._database = database
        self._ledger = ledger
        self._lock = Lock()

    @property
    def items(self) -> dict[str, Item]:
        return self._database.items

    def put_item(self, **params: Any) -> dict[str, Any]:
        transaction_id = params["Item"]["transaction_id"]["S"]
        put = partial(self._database.put_item, **params)
        return self._write("PutItem", transaction_id, put, None)

    def update_item(self, **params: Any) -> dict[str, Any]:
        transaction_id = params["Key"]["transaction_id"]["S"]
        attempt = params["ExpressionAttributeValues"].get(":attempt", {}).get("S")
        update = partial(self._database.update_item, **params)
        return self._write("UpdateItem", transaction_id, update, attempt)

    def query(self, **params: Any) -> dict[str, Any]:
        def query() -> dict[str, Any]:
            index = self._database if self.stale is None else InMemoryDatabase(self.stale)
            return index.query(**params)

        return self._call("Query", "", query)

    def scan(self, **params: Any) -> dict[str, Any]:
        def scan() -> dict[str, Any]:
            table = self._database if self.stale is None else InMemoryDatabase(self.stale)
            return table.scan(**params)

        return self._call("Scan", "", scan)

    def change_by_hand(self, transaction_id: str, change: Callable[[Item], Item | None]) -> bool:
        """Put another row in the place of one, unless the change comes to None."""
        with self._lock:
            changed = change(self.items[transaction_id])
            if changed is not None:
                self._database.overwrite(changed)
            return changed is not None

    def _write(
        self, site: str, transaction_id: str, write: Callable[[], T], attempt: str | None
    ) -> T:
        invocation = running()

        def effect() -> T:
            old = self.items.get(transaction_id)
            answer = write()
            new = self.items[transaction_id]
            self._ledger.wrote(transaction_id, old, new, attempt, invocation)
            return answer

        return self._call(site, transaction_id, effect)

    def _call(self, site: str, transaction_id: str, effect: Callable[[], T]) -> T:
        def atomic() -> T:
            with self._lock:
                return effect()

        return self._network.call(Call(site, transaction_id), atomic, AWS)


def scan_page(params: Any, items: Mapping[str, Item], rows: int) -> dict[str, Any]:
    """Return a page of a segment: of so many rows the ids of those that pass the filter."""
    assert params["ProjectionExpression"] == "transaction_id"
    segment, total = params["Segment"], params["TotalSegments"]
    assert 0 <= segment < total <= 1_000_000
    after = params.get("ExclusiveStartKey", {}).get("transaction_id", {}).get("S", "")
    keys = [key for key in sorted(items) if key > after and crc32(key.encode()) % total == segment]
    page = keys[:rows]
    found = [
        {"transaction_id": {"S": key}}
        for key in page
        if evaluate(params, items[key], "FilterExpression").condition(params["FilterExpression"])
    ]
    last = {"LastEvaluatedKey": {"transaction_id": {"S": page[-1]}}} if page != keys else {}
    return {"Items": found, "Count": len(found), "ScannedCount": len(page), **last}


def _in_index(item: Item) -> bool:
    """Whether a row has both of the index's key attributes."""
    return "in_flight" in item and "lease_expires_at" in item


def _index_order(item: Item | None) -> tuple[Decimal, str]:
    if item is None:
        return Decimal(-1), ""
    return Decimal(item["lease_expires_at"]["N"]), item["transaction_id"]["S"]
