"""DynamoDB's expressions, as far as the store and the restore use them.

("Condition and filter expressions, operators, and functions" and "Update expressions" in the
Amazon DynamoDB Developer Guide.) Anything else is refused, as is a name or value left unused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

Item = dict[str, dict[str, Any]]
T = TypeVar("T")

_TOKEN = re.compile(r"\s*([#:]?\w+|<=|>=|<>|[(),=<>+])")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: bool(left == right),
    "<": lambda left, right: bool(left < right),
    ">": lambda left, right: bool(left > right),
    "<=": lambda left, right: bool(left <= right),
    ">=": lambda left, right: bool(left >= right),
    "<>": lambda left, right: bool(left != right),
}


class InvalidExpression(Exception):
    """DynamoDB would answer with a ValidationException."""


def plain(value: Mapping[str, Any]) -> object:
    """Return an attribute's value: texts and numbers, and any other as DynamoDB writes it."""
    if "N" in value:
        return Decimal(value["N"]) if "." in value["N"] else int(value["N"])
    return value.get("S", value)


def evaluate(params: Mapping[str, object], item: Item, *expressions: str) -> Expressions:
    """Return an evaluator of a call's expressions on an item; they must use all it defines."""
    names = params.get("ExpressionAttributeNames", {})
    values = params.get("ExpressionAttributeValues", {})
    assert isinstance(names, dict)
    assert isinstance(values, dict)
    used = set(re.findall(r"[#:]\w+", " ".join(str(params[name]) for name in expressions)))
    if used != {*names, *values}:
        raise InvalidExpression(f"unused or undefined: {used ^ {*names, *values}}")
    return Expressions(item, names, values)


class Expressions:
    """A recursive-descent reader, which evaluates while it reads."""

    def __init__(self, item: Item, names: dict[str, str], values: Item) -> None:
        self._item = item
        self._names = names
        self._values = values
        self._tokens: list[str] = []

    def condition(self, text: str) -> bool:
        """Return whether the condition holds."""
        self._read(text)
        return self._end(self._either())

    def updated(self, text: str) -> Item:
        """Return the item with SET or REMOVE or both done; operands are those of the old item."""
        self._read(text)
        item, sets = dict(self._item), self._accept("SET")
        while sets:
            name = self._name()
            self._expect("=")
            item[name] = self._sum()
            sets = self._accept(",")
        if self._accept("REMOVE"):
            item.pop(self._name(), None)
            while self._accept(","):
                item.pop(self._name(), None)
        return self._end(item)

    def _either(self) -> bool:
        holds = self._both()
        while self._accept("OR"):
            holds |= self._both()
        return holds

    def _both(self) -> bool:
        holds = self._negated()
        while self._accept("AND"):
            holds &= self._negated()
        return holds

    def _negated(self) -> bool:
        return not self._negated() if self._accept("NOT") else self._term()

    def _term(self) -> bool:
        if self._accept("("):
            holds = self._either()
            self._expect(")")
            return holds
        for function, holds_if in (("attribute_exists", True), ("attribute_not_exists", False)):
            if self._accept(function):
                self._expect("(")
                name = self._name()
                self._expect(")")
                return (name in self._item) is holds_if
        if self._accept("attribute_type"):
            attribute, kind = self._arguments()
            return attribute is not None and kind["S"] in attribute
        if self._accept("contains"):
            attribute, part = self._arguments()
            return attribute is not None and "S" in attribute and part["S"] in attribute["S"]
        if self._accept("begins_with"):
            attribute, start = self._arguments()
            return attribute is not None and attribute.get("S", "").startswith(start["S"])
        left = self._item.get(self._name())
        if self._accept("IN"):
            return left in self._list()
        compare = _COMPARISONS[self._next()]
        right = self._values[self._next()]
        same_type = left is not None and left.keys() == right.keys()
        return left is not None and same_type and compare(plain(left), plain(right))

    def _arguments(self) -> tuple[dict[str, str] | None, dict[str, str]]:
        """Return the attribute and the value that a function is called with."""
        self._expect("(")
        attribute = self._item.get(self._name())
        self._expect(",")
        value = self._values[self._next()]
        self._expect(")")
        return attribute, value

    def _list(self) -> list[dict[str, str]]:
        self._expect("(")
        found = [self._values[self._next()]]
        while self._accept(","):
            found.append(self._values[self._next()])
        self._expect(")")
        return found

    def _sum(self) -> dict[str, str]:
        left = self._operand()
        if not self._accept("+"):
            return left
        right = self._operand()
        if not {"N"} == left.keys() == right.keys():
            raise InvalidExpression("a sum of other values than numbers")
        return {"N": str(int(left["N"]) + int(right["N"]))}

    def _operand(self) -> dict[str, str]:
        if not self._accept("if_not_exists"):
            return self._values[self._next()]
        self._expect("(")
        name = self._name()
        self._expect(",")
        default = self._operand()
        self._expect(")")
        return self._item.get(name, default)

    def _name(self) -> str:
        token = self._next()
        if token == "status" or not re.match(r"#?\w", token):
            raise InvalidExpression(f"no name, or a reserved one: {token}")
        return self._names[token] if token.startswith("#") else token

    def _read(self, text: str) -> None:
        if _TOKEN.sub("", text).strip():
            raise InvalidExpression(text)
        self._tokens = _TOKEN.findall(text)[::-1]

    def _next(self) -> str:
        return self._tokens.pop()

    def _accept(self, token: str) -> bool:
        if not self._tokens or self._tokens[-1] != token:
            return False
        self._tokens.pop()
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise InvalidExpression(f"{token} expected before {self._tokens[::-1]}")

    def _end(self, result: T) -> T:
        if self._tokens:
            raise InvalidExpression(f"left over: {self._tokens[::-1]}")
        return result
