"""What a gateway in two steps has of a payment, and which of its customers come to what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from handlers.shared.gateway import Charged, Declined, NotCharged, Open, Pending
from tests.model.invocations import SECRET

if TYPE_CHECKING:
    from handlers.shared.gateway import Outcome

# The gateway refuses the method of this one, and makes no payment.
REFUSED_CUSTOMER = "refused"
# This one has to go to his bank first; and for this one a bank has to, which nobody can stop.
PENDING_CUSTOMER = "pending"
BANK_CUSTOMER = "bank"

DETAILS = {
    "payment_method": f"pm_{SECRET}",
    "return_url": f"https://shop.example/{SECRET}",
    "reference": "order 1",
}
NEXT_ACTION = f"https://bank.example/{SECRET}-"


class Stage(StrEnum):
    OPEN = "open"
    FAILED = "failed"
    PENDING = "pending"
    CHARGED = "charged"
    CANCELED = "canceled"


@dataclass
class Made:
    """A payment as the gateway has it; amount is in its own units."""

    id: str
    account: str
    transaction_id: str
    amount: int
    currency: str
    customer_id: str
    stage: Stage = Stage.OPEN
    has_failed: bool = False
    reference: str = ""

    @property
    def outcome(self) -> Outcome:
        match self.stage:
            case Stage.OPEN:
                return Open()
            case Stage.FAILED:
                return Declined("insufficient_funds", another_method=True)
            case Stage.PENDING:
                action = f"{NEXT_ACTION}{self.id}" if self.customer_id == PENDING_CUSTOMER else None
                return Pending(action)
            case Stage.CHARGED:
                return Charged(self.reference)
            case Stage.CANCELED:
                return NotCharged("insufficient_funds" if self.has_failed else None)
