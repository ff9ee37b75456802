"""Where a person compares the rows of a world with its gateway's list, and fixes them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from handlers.shared.gateway import GatewayPayment, Page
from payment_infra.cloud.reconciling.comparison import GRACE, Difference, Kind
from payment_infra.cloud.reconciling.fixing import Fixed, fix
from payment_infra.cloud.reconciling.passes import Asked, Comparison, Summary
from payment_infra.cloud.reconciling.spool import Spool
from tests.items import Items
from tests.model.faults import Call
from tests.model.gateway import GATEWAY
from tests.model.invocations import Invocation
from tests.model.made import Made, Stage
from tests.model.post import Post
from tests.model.two_step_gateway import TwoStepGateway

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from tests.expressions import Item
    from tests.model.world import World

# So few of the gateway's payments, and of the table's rows, make a page.
PAGE = 2


class ListingGateway(TwoStepGateway):
    """Lists its payments, in the order in which they were made."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # By the gateway's ids.
        self.made_at: dict[str, datetime] = {}

    def payments(self, since: datetime, until: datetime, cursor: str | None) -> Page:
        def listed() -> Page:
            with self._lock:
                mine = [
                    self._listed(made)
                    for made in self.made.values()
                    if made.account == self.account and since <= self.made_at[made.id] < until
                ]
            start = int(cursor or 0)
            end = start + PAGE
            return Page(tuple(mine[start:end]), str(end) if mine[end:] else None)

        return self._network.call(Call("payments", ""), listed, GATEWAY)

    def _prepare(self, transaction: Any) -> Any:
        prepare = super()._prepare(transaction)

        def prepared() -> Any:
            made = prepare()
            if isinstance(made, GatewayPayment):
                self.made_at[made.id] = self._now()
            return made

        return prepared

    def _listed(self, made: Made) -> GatewayPayment:
        return replace(
            self._told(made),
            transaction_id=made.transaction_id,
            created_at=self.made_at[made.id],
        )


def install(world: World) -> ListingGateway:
    """Have the world charge at a gateway that lists."""
    gateway = ListingGateway(world.network, world.clock, lambda: world.table.items, world.one_step)
    gateway.finds = world.gateway.finds
    world.two_step = world.gateway = gateway
    world.post = Post(gateway, world.table)
    return gateway


@dataclass
class Desk:
    """As much of an environment as a comparison asks for, over a world."""

    world: World
    table: str = "transactions-dev"

    @property
    def stack(self) -> Any:
        return SimpleNamespace(sleep=lambda _: None)

    def client(self, service: str) -> Any:
        return self

    def again(self) -> Desk:
        return self

    def invoked(self, logical_id: str) -> dict[str, str]:
        return {"FunctionName": logical_id}

    def command(self, arguments: str) -> str:
        return f"payment-infra {arguments}"

    def invoke(self, *, Payload: bytes, **_: Any) -> dict[str, Any]:
        """Give payment-retry an order."""
        invocation = Invocation(self.world.place())
        answer = self.world.functions.invoke(invocation, "retry", json.loads(Payload))
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    def scan(self, **params: Any) -> dict[str, Any]:
        return self._items.scan(params, PAGE)

    def get_item(self, **params: Any) -> dict[str, Any]:
        return self._items.get_item(params)

    def batch_get_item(self, *, RequestItems: Any) -> dict[str, Any]:
        [(table, asked)] = RequestItems.items()
        names = [key["transaction_id"]["S"] for key in asked["Keys"]]
        rows = [self.world.table.items[name] for name in names if name in self.world.table.items]
        return {"Responses": {table: rows}}

    @property
    def _items(self) -> Items:
        return Items(self.world.table.items)


@dataclass
class Findings:
    """What a comparison has found, and what --fix did then."""

    summary: Summary
    differences: list[Difference]
    fixed: Fixed | None = None


def reconcile(world: World, *, fixing: bool = False) -> Findings:
    """Compare all payments of a world, and fix what nobody has to decide, if that is wanted."""
    now = world.clock()
    asked = Asked(now - timedelta(days=60), (now - GRACE).replace(microsecond=0))
    environment = cast("Environment", Desk(world))
    with Spool.temporary() as spool:
        comparison = Comparison(environment, spool, asked, lambda _: None, world.clock)
        summary = comparison.run()
        found = [difference for kind in Kind for difference in spool.differences(kind)]
        fixed = fix(environment, spool, lambda _: None) if fixing else None
    return Findings(summary, found, fixed)


def unexplained(world: World, found: Findings) -> Iterator[str]:
    """Yield what a comparison has not told though money hangs on it, or has told and is not so.

    It is found out from the gateway's memory and the table, without the comparison's own rules.
    """
    gateway = cast("ListingGateway", world.two_step)
    told = {((one.gateway or {}).get("id"), one.transaction_id) for one in found.differences}
    kinds = {(one.kind, one.transaction_id) for one in found.differences}
    for made in gateway.made.values():
        row = world.table.items.get(made.transaction_id, {})
        if made.account != gateway.account or made.stage is not Stage.CHARGED:
            continue
        is_told = (made.id, made.transaction_id) in told
        if not (is_told or _agrees(row, made) or _is_elsewhere(row, gateway)):
            yield f"{made.id}: captured, and the row of {made.transaction_id} is {row}"
    for name, row in world.table.items.items():
        if row.get("status") == {"S": "processed"} and not _is_elsewhere(row, gateway):
            captured = [made for made in gateway.of(name) if _agrees(row, made)]
            if not captured and not any(transaction == name for _, transaction in kinds):
                yield f"{name}: processed, and nothing is captured"
    for difference in found.differences:
        name = str(difference.transaction_id)
        mine = [made for made in gateway.of(name) if made.stage is Stage.CHARGED]
        row = world.table.items.get(name, {})
        if difference.kind is Kind.UNDECIDED and mine:
            yield f"{name}: called not charged, and it was"
        if difference.kind is Kind.NO_ROW and row:
            yield f"{name}: called lost, and it is there"
        if difference.kind is Kind.NOT_CAPTURED and any(_agrees(row, made) for made in mine):
            yield f"{name}: called not captured, and it was"
        if difference.kind is Kind.TWICE and not mine:
            yield f"{name}: called captured twice, and it was not at all"


def _agrees(row: Item, made: Made) -> bool:
    """Whether a row says of a captured payment what the gateway does."""
    return (
        row.get("status") == {"S": "processed"}
        and made.stage is Stage.CHARGED
        and row.get("amount_minor") == {"N": str(made.amount // 100)}
        and row.get("currency") == {"S": made.currency}
        and (
            row.get("gateway_id") == {"S": made.id}
            or ("gateway_id" not in row and row.get("gateway_reference") == {"S": made.reference})
        )
    )


def _is_elsewhere(row: Item, gateway: ListingGateway) -> bool:
    account = row.get("gateway_account", {"S": gateway.account})
    return account != {"S": gateway.account}
