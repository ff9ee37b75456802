"""What a gateway has of a payment, as a person is told, and why nothing can be done about one."""

from __future__ import annotations

from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayPayment,
    NoCharge,
    NotCharged,
    Open,
    Pending,
)

Told = dict[str, object]
Known = GatewayPayment | Charged | Declined | NoCharge | None


class NotDone(Exception):
    """Nothing was written: code says why, and about what of the payment that is."""

    def __init__(self, code: str, about: object = "") -> None:
        super().__init__(code)
        self.code = code
        self.about = str(about)


def check_ended(found: Known) -> None:
    """Raise unless the gateway knows how the payment has ended."""
    if found is None:
        raise NotDone("unknown")
    if isinstance(found, GatewayPayment) and isinstance(found.outcome, Open):
        raise NotDone("open")
    if isinstance(found, GatewayPayment) and isinstance(found.outcome, Pending):
        raise NotDone("pending")


def described(found: Known) -> Told:
    """Return what a person is told of what the gateway has: never where a customer has to go."""
    told: Told = {}
    outcome: object = found
    if isinstance(found, GatewayPayment):
        told, outcome = {"id": found.id}, found.outcome
    match outcome:
        case Charged(str(reference)):
            return {"outcome": "charged", "reference": reference, **told}
        case Declined(str(reason), another_method):
            more = {"another_method": True} if another_method else {}
            return {"outcome": "declined", "reason": reason, **more, **told}
        case NotCharged(reason):
            why = {} if reason is None else {"reason": str(reason)}
            return {"outcome": "canceled", **why, **told}
        case Pending():
            return {"outcome": "pending", **told}
        case Open():
            return {"outcome": "open", **told}
        case NoCharge():
            return {"outcome": "none"}
        case None:
            return {"outcome": "unknown"}
    raise TypeError("a gateway has answered with what is no outcome")
