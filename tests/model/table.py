"""The transactions table: DynamoDB's calls on it, in memory, and notes of who writes what."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tests.items import Items
from tests.model.faults import AWS, Call, Network, client_error
from tests.model.invocations import running
from tests.stacks import Refused

if TYPE_CHECKING:
    from tests.expressions import Item
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
    def get_item(self, **params: Any) -> dict[str, Any]: ...
    def query(self, **params: Any) -> dict[str, Any]: ...
    def scan(self, **params: Any) -> dict[str, Any]: ...
    def overwrite(self, item: Item) -> None: ...


class InMemoryDatabase:
    """The table of all tests, whose errors are here those of a client."""

    def __init__(self, items: dict[str, Item] | None = None) -> None:
        self._items = Items(items)

    @property
    def items(self) -> dict[str, Item]:
        return self._items.items

    def put_item(self, **params: Any) -> dict[str, Any]:
        return _refusing(self._items.put_item, params)

    def update_item(self, **params: Any) -> dict[str, Any]:
        return _refusing(self._items.update_item, params)

    def get_item(self, **params: Any) -> dict[str, Any]:
        return self._items.get_item(params)

    def query(self, **params: Any) -> dict[str, Any]:
        return self._items.query(params, ROWS_PER_PAGE)

    def scan(self, **params: Any) -> dict[str, Any]:
        return self._items.scan(params, ROWS_PER_PAGE)

    def overwrite(self, item: Item) -> None:
        """Put a row as a person does, without a condition."""
        self.items[item["transaction_id"]["S"]] = item


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
        values = params["ExpressionAttributeValues"]
        attempt = values.get(":attempt", {}).get("S")
        update = partial(self._database.update_item, **params)
        as_read = attempt is None and ":gateway_id" in values
        return self._write("UpdateItem", transaction_id, update, attempt, as_read=as_read)

    def get_item(self, **params: Any) -> dict[str, Any]:
        transaction_id = params["Key"]["transaction_id"]["S"]
        return self._call("GetItem", transaction_id, partial(self._database.get_item, **params))

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
        self,
        site: str,
        transaction_id: str,
        write: Callable[[], T],
        attempt: str | None,
        *,
        as_read: bool = False,
    ) -> T:
        invocation = running()

        def effect() -> T:
            old = self.items.get(transaction_id)
            answer = write()
            new = self.items[transaction_id]
            self._ledger.wrote(transaction_id, old, new, attempt, invocation, as_read=as_read)
            return answer

        return self._call(site, transaction_id, effect)

    def _call(self, site: str, transaction_id: str, effect: Callable[[], T]) -> T:
        def atomic() -> T:
            with self._lock:
                return effect()

        return self._network.call(Call(site, transaction_id), atomic, AWS)


def _refusing(
    write: Callable[[dict[str, Any]], dict[str, Any]], params: dict[str, Any]
) -> dict[str, Any]:
    try:
        return write(params)
    except Refused as refused:
        raise client_error(refused.code, **refused.more) from None
