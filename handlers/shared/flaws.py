"""What is wrong with a row that must not be charged, and where such a payment is set aside."""

from __future__ import annotations

from typing import ClassVar

from handlers.shared.states import MISMATCHED, STUCK, UNREADABLE


class Flawed(Exception):
    """A row that must not be charged; key is that of the index under which it is set aside."""

    key: ClassVar[str]
    reason: ClassVar[str]

    def __init__(self, attribute: str) -> None:
        super().__init__(attribute)
        self.attribute = attribute


class Unreadable(Flawed):
    """A row is not as a payment is; attribute is the one that is missing, or of another type."""

    key = UNREADABLE
    reason = "row_unreadable"


class Mismatched(Flawed):
    """A row's amount, currency or customer is not what was validated; attribute tells which."""

    key = MISMATCHED
    reason = "row_mismatched"


class OtherGateway(Flawed):
    """A payment that was begun at another gateway, account or mode; attribute tells which."""

    key = STUCK
    reason = "other_gateway"


class OtherPayment(Flawed):
    """The gateway's payment is not the row's: its id, amount or currency is another's."""

    key = MISMATCHED
    reason = "gateway_payment_mismatched"
