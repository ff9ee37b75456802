"""Whom a payment is charged by: what its row stores before it is, and what no other may touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from handlers.shared.flaws import OtherGateway

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Marks:
    """Whom a payment is charged by: the gateway's class as "module:Class", its account there, and
    whether real money moves. A gateway in one step need not tell the last two."""

    gateway: str
    account: str | None = None
    mode: str | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """What is told, by the names of the row's attributes."""
        values = {
            "gateway": self.gateway,
            "gateway_account": self.account,
            "gateway_mode": self.mode,
        }
        return {name: value for name, value in values.items() if value is not None}

    def other(self, row: Mapping[str, object]) -> str | None:
        """Return the attribute by which a row says otherwise, None if none does."""
        mine = self.attributes.items()
        return next((name for name, value in mine if row.get(name, value) != value), None)

    def check(self, row: Mapping[str, object]) -> None:
        """Raise OtherGateway if a row says otherwise."""
        if (name := self.other(row)) is not None:
            raise OtherGateway(name)
