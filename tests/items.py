"""The items of a DynamoDB table in memory, with the rules of the calls that read and write them.

The rules are those of the DynamoDB API Reference and of "Service, account, and table quotas". A
fake of the service around it says which table, and what else goes wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from decimal import Decimal
from zlib import crc32

from tests.expressions import Expressions, Item, evaluate
from tests.stacks import Answer, Refused

# The item size, names and values.
MAX_ITEM_BYTES = 400 * 1024
# The index of the transactions table, as DescribeTable has it.
IN_FLIGHT: Answer = {
    "IndexName": "in-flight-index",
    "KeySchema": [
        {"AttributeName": "in_flight", "KeyType": "HASH"},
        {"AttributeName": "lease_expires_at", "KeyType": "RANGE"},
    ],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}
# The attributes of keys that are numbers; others are text.
NUMBERS = {"lease_expires_at"}
_EXPRESSIONS = (
    *("ConditionExpression", "UpdateExpression", "KeyConditionExpression"),
    *("FilterExpression", "ProjectionExpression"),
)


def item_bytes(item: Item) -> int:
    """Return about the size of an item: its names, and its values as text."""
    return sum(len(name) + len(str(*value.values())) for name, value in item.items())


class ItemCalls(ABC):
    """The calls on the items of a table. Each item is named by the text of its whole key."""

    key: str = "transaction_id"
    range_key: str = ""
    indexes: list[Answer]

    @abstractmethod
    def visible(self, *, consistent: bool) -> Mapping[str, Item]:
        """Return the items that a read sees, by their names."""

    @abstractmethod
    def store(self, name: str, item: Item | None) -> None:
        """Have another item of this name; None: none any more."""

    @property
    def keys(self) -> list[str]:
        """The attributes of its key."""
        return [name for name in (self.key, self.range_key) if name]

    def key_attributes(self) -> list[str]:
        """Return the attributes that its key and the keys of its indexes consist of."""
        of_indexes = [one["AttributeName"] for index in self.indexes for one in index["KeySchema"]]
        return list(dict.fromkeys([*self.keys, *of_indexes]))

    def name_of(self, item: Item) -> str:
        """Return what names an item, or a key, here."""
        return "#".join(item[name]["S"] for name in self.keys)

    def put_item(self, params: Answer) -> Answer:
        name = self.name_of(params["Item"])
        self._check_condition(params, name)
        self._store(name, dict(params["Item"]))
        return {}

    def update_item(self, params: Answer) -> Answer:
        name = self.name_of(params["Key"])
        self._check_condition(params, name)
        old = self.visible(consistent=True).get(name, dict(params["Key"]))
        new = _evaluate(params, old).updated(params["UpdateExpression"])
        self._store(name, new)
        returned = {"ALL_OLD": old, "ALL_NEW": new}.get(params.get("ReturnValues", "NONE"))
        return {} if returned is None else {"Attributes": dict(returned)}

    def delete_item(self, params: Answer) -> Answer:
        name = self.name_of(params["Key"])
        self._check_condition(params, name)
        self.store(name, None)
        return {}

    def get_item(self, params: Answer) -> Answer:
        found = self.get_items([params["Key"]], consistent=params.get("ConsistentRead", False))
        return {"Item": _projected(params, found)[0]} if found else {}

    def get_items(self, keys: Iterable[Item], *, consistent: bool) -> list[Item]:
        seen = self.visible(consistent=consistent)
        return [seen[name] for name in map(self.name_of, keys) if name in seen]

    def query(self, params: Answer, rows_per_page: int) -> Answer:
        """Answer with a page of the table or an index, in the order of the range key.

        An index holds the items that have all attributes of its key; this one only their keys.
        """
        hash_key, range_key, consistent = self.key, self.range_key, params.get("ConsistentRead")
        if name := params.get("IndexName"):
            assert not consistent, "an index is never read consistently"
            schemas = {one["IndexName"]: one["KeySchema"] for one in self.indexes}
            if name not in schemas:
                told = f"The table does not have the specified index: {name}"
                raise Refused("ValidationException", told)
            schema = schemas[name]
            hash_key, range_key = (one["AttributeName"] for one in schema)
        keys = list(dict.fromkeys([hash_key, range_key, *self.keys]))

        def place(item: Item) -> tuple[object, str]:
            value = item[range_key]
            return Decimal(value["N"]) if "N" in value else value["S"], self.name_of(item)

        condition = params["KeyConditionExpression"]
        found = [
            item
            for item in self.visible(consistent=bool(consistent)).values()
            if item.keys() >= set(keys) and _evaluate(params, item).condition(condition)
        ]
        if start := params.get("ExclusiveStartKey"):
            assert start.keys() == set(keys)
            found = [item for item in found if place(item) > place(start)]
        page, last = _page(sorted(found, key=place), params, rows_per_page)
        items = [_only(item, keys) for item in page] if name else page
        more = {"LastEvaluatedKey": _only(last, keys)} if last else {}
        seen: Answer = {} if params.get("Select") == "COUNT" else {"Items": items}
        return {**seen, "Count": len(items), **more}

    def scan(self, params: Answer, rows_per_page: int) -> Answer:
        """Answer with a page of a segment of the table."""
        segment, total = params.get("Segment", 0), params.get("TotalSegments", 1)
        assert 0 <= segment < total <= 1_000_000
        start = params.get("ExclusiveStartKey")
        after = self.name_of(start) if start else ""
        seen = self.visible(consistent=params.get("ConsistentRead", False))
        names = (name for name in sorted(seen) if name > after)
        rows = [seen[name] for name in names if crc32(name.encode()) % total == segment]
        page, last = _page(rows, params, rows_per_page)
        found = page
        if condition := params.get("FilterExpression"):
            found = [item for item in page if _evaluate(params, item).condition(condition)]
        found = _projected(params, found)
        more = {"LastEvaluatedKey": _only(last, self.keys)} if last else {}
        return {"Items": found, "Count": len(found), "ScannedCount": len(page), **more}

    def _check_condition(self, params: Answer, name: str) -> None:
        if "ConditionExpression" not in params:
            return
        old = self.visible(consistent=True).get(name)
        if not _evaluate(params, old or {}).condition(params["ConditionExpression"]):
            shown = params.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            raise Refused(
                "ConditionalCheckFailedException",
                "The conditional request failed",
                more={"Item": dict(old)} if old and shown else {},
            )

    def _store(self, name: str, item: Item) -> None:
        if item_bytes(item) > MAX_ITEM_BYTES:
            raise Refused("ValidationException", "Item size has exceeded the maximum allowed size")
        for index in self.indexes:
            for one in index["KeySchema"]:
                attribute = one["AttributeName"]
                kind = "N" if attribute in NUMBERS else "S"
                if kind not in item.get(attribute, {kind: ""}):
                    raise Refused("ValidationException", f"Type mismatch for Index Key {attribute}")
        self.store(name, item)


class Items(ItemCalls):
    """The items of the transactions table.

    Every read sees the latest write, as the model compares with what it has written itself. Where
    one shall lag, a test says so; `FakeTable` in tables.py always does without ConsistentRead.
    """

    def __init__(self, items: dict[str, Item] | None = None) -> None:
        self.items = {} if items is None else items
        self.indexes = [IN_FLIGHT]

    def visible(self, *, consistent: bool) -> Mapping[str, Item]:
        return self.items

    def store(self, name: str, item: Item | None) -> None:
        if item is None:
            self.items.pop(name, None)
        else:
            self.items[name] = item


def _evaluate(params: Answer, item: Item) -> Expressions:
    return evaluate(params, item, *(name for name in _EXPRESSIONS if name in params))


def _projected(params: Answer, items: list[Item]) -> list[Item]:
    """Return what a call asks for of items."""
    if not (projection := params.get("ProjectionExpression")):
        return items
    aliases = params.get("ExpressionAttributeNames", {})
    wanted = [aliases.get(name.strip(), name.strip()) for name in projection.split(",")]
    return [_only(item, wanted) for item in items]


def _only(item: Item, names: Iterable[str]) -> Item:
    return {name: item[name] for name in names if name in item}


def _page(items: list[Item], params: Answer, rows: int) -> tuple[list[Item], Item]:
    """Return what is read for a page, and after what the next one begins, {} if there is none.

    After a limit that is reached there is one, though it may be empty (API, Scan and Query).
    """
    limit = params.get("Limit")
    page = items[: rows if limit is None else min(limit, rows)]
    more = page and (len(page) < len(items) or len(page) == limit)
    return page, page[-1] if more else {}
