"""An environment whose payment-retry lists, asks and settles, over rows and payments in memory."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from payment_infra.cloud.operating.transactions import plain
from payment_infra.moments import exact
from tests.functional.payments import Account, item, projected

MARKS = {"gateway": "acme:Acme", "gateway_account": "acct_1", "gateway_mode": "test"}
# A day ago, so that no clock of a test is to be set.
MADE = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
AT = exact(MADE)


def row(number: int, status: str = "processed", **changes: str | int | None) -> dict[str, Any]:
    """Return the row of a payment that is settled at the gateway, as it should be."""
    settled = {"gateway_reference": f"ch_{number}"} if status == "processed" else {}
    bare = dict.fromkeys(("payment_method", "next_action", "return_url"))
    values: dict[str, Any] = {
        **{"transaction_id": f"t-{number}", "status": status, "gateway_id": f"pay_{number}"},
        **{"created_at": AT, "updated_at": AT, **MARKS, **settled, **bare, **changes},
    }
    return item(**values)


def payment(number: int, outcome: str = "charged", **changes: Any) -> dict[str, Any]:
    """Return what the gateway lists of it."""
    return {
        **{"id": f"pay_{number}", "transaction_id": f"t-{number}", "outcome": outcome},
        **{"amount": 10050, "amount_minor": 10050, "currency": "USD", "created_at": AT},
        **({"reference": f"ch_{number}"} if outcome == "charged" else {}),
        **changes,
    }


@dataclass
class Reconciled(Account):
    """Its payment-retry has a list of `payments`, `size` a page.

    `unlisted` are payments that it can be asked for all the same; `before` is called with each
    order, and may raise, or return what is told in place of an answer.
    """

    payments: list[dict[str, Any]] = field(default_factory=list)
    unlisted: list[dict[str, Any]] = field(default_factory=list)
    size: int = 2
    marks: dict[str, str] = field(default_factory=lambda: dict(MARKS))
    before: Callable[[dict[str, Any]], Any] = lambda _: None

    def invoke(self, params: dict[str, Any]) -> dict[str, Any]:
        order = json.loads(params["Payload"])["by_hand"]
        self.orders.append(order)
        told = self.before(order)
        if not told:
            told = getattr(self, f"_{order['do']}")(order)
        answer = json.dumps({"by_hand": told}).encode()
        return {"StatusCode": 200, "Payload": io.BytesIO(answer)}

    def scan(self, params: dict[str, Any]) -> dict[str, Any]:
        first = params.get("ExclusiveStartKey")
        place = 0 if first is None else int(first["transaction_id"]["S"])
        assert params["ConsistentRead"] is True
        assert params["FilterExpression"] == (
            "attribute_not_exists(#created_at) OR (#created_at >= :since AND #created_at < :until)"
        )
        since, until = (
            params["ExpressionAttributeValues"][name]["S"] for name in (":since", ":until")
        )
        page = [
            projected(one, params)
            for one in self.items[place : place + self.page]
            if "created_at" not in one or since <= one["created_at"]["S"] < until
        ]
        left = place + self.page < len(self.items)
        key = {"transaction_id": {"S": str(place + self.page)}}
        return {"Items": page, **({"LastEvaluatedKey": key} if left else {})}

    def status(self, number: int) -> str:
        return str(self._row(f"t-{number}")["status"]["S"])

    def done(self, name: str) -> list[dict[str, Any]]:
        """Return the orders of a kind."""
        return [order for order in self.orders if order["do"] == name]

    def _list(self, order: dict[str, Any]) -> dict[str, Any]:
        since, until = (datetime.fromisoformat(order[name]) for name in ("since", "until"))
        assert since.microsecond == until.microsecond == 0
        made = [
            one
            for one in self.payments
            if since <= datetime.fromisoformat(one["created_at"]) < until
        ]
        start = int(order["cursor"] or 0)
        end = start + self.size
        cursor = str(end) if made[end:] else None
        return {"payments": made[start:end], "cursor": cursor, "marks": self.marks}

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        transaction_id = order["transaction_id"]
        row = plain(self._row(transaction_id))
        mine = [
            one
            for one in (*self.payments, *self.unlisted)
            if one["transaction_id"] == transaction_id
            and one["id"] == row.get("gateway_id", order.get("capture", one["id"]))
        ]
        if not mine and "gateway_id" in row:
            return {"refused": {"code": "no_such_payment", "about": "NoSuchPayment"}}
        names = ("outcome", "id", "reference")
        gateway = {name: mine[0][name] for name in names if name in mine[0]} if mine else {}
        told = {"status": row["status"], "gateway": gateway or {"outcome": "unknown"}}
        if row["status"] in {"processed", "declined", "canceled"}:
            told["obstacle"] = {"code": "settled", "about": row["status"]}
        elif not gateway:
            told["obstacle"] = {"code": "unknown", "about": ""}
        return told

    def _settle(self, order: dict[str, Any]) -> dict[str, Any]:
        told = self._ask(order)
        if order["agreed"] != told["gateway"]:
            return {"refused": {"code": "changed", "about": ""}}
        assert ("known" in order) == (told["gateway"]["outcome"] == "unknown")
        status = "processed" if told["gateway"]["outcome"] == "charged" else "canceled"
        self._row(order["transaction_id"])["status"] = {"S": status}
        return {"status": status}

    def _row(self, transaction_id: str) -> dict[str, Any]:
        [found] = [one for one in self.items if one["transaction_id"] == {"S": transaction_id}]
        return found
