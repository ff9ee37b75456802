"""Settling and canceling one payment by hand: first asked about, then written under the lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.environment.findings import find_stops
from payment_infra.cloud.environment.live import check_live
from payment_infra.cloud.events import Caution
from payment_infra.cloud.operating.by_hand import give, refusal
from payment_infra.errors import AwsError, PaymentInfraError
from payment_infra.foreign import escaped

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import Tell

CANCELED = "canceled"

Confirm = Callable[[str], None]


@dataclass(frozen=True)
class Known:
    """What a person knows of a payment: the gateway's reference of its capture, None for none."""

    reference: str | None


@dataclass(frozen=True)
class Outcome:
    """The status that a payment has, and whether that was written now."""

    transaction_id: str
    status: str
    written: bool


def check_open(environment: Environment) -> None:
    """Make sure that payments are let in, by functions that work on the active table.

    Raises:
        AwsError: they are not; says what to do.
    """
    if found := find_stops(environment):
        raise AwsError(f"{found[0].message}, as while they are restored; {found[0].remedy}")
    check_live(environment)


def settle(
    environment: Environment,
    transaction_id: str,
    known: Known | None,
    confirm: Confirm,
    tell: Tell,
) -> Outcome:
    """Write what the gateway says of a payment, once somebody has agreed to that.

    The gateway is asked once more then, and nothing is written if it says otherwise.

    Args:
        environment: whose; its lock is held.
        transaction_id: of the payment.
        known: what is written where the gateway itself cannot tell.
        confirm: returns if somebody agrees to what it is asked, and raises if not.
        tell: is told what else there is to know.

    Raises:
        AwsError: payments are stopped, or something cannot be asked.
        PaymentInfraError: there is nothing to be written; says why, and what to do next.
    """
    check_open(environment)
    told = give(environment, "ask", transaction_id)
    gateway: dict[str, Any] = told.get("gateway") or {}
    match told.get("obstacle"):
        case {"code": "settled"}:
            return Outcome(transaction_id, told["status"], written=False)
        case {"code": "unknown" | "other_gateway"} if known is not None:
            pass
        case {"code": str(code), "about": str(about)}:
            raise refusal(environment, transaction_id, code, about)
        case _ if known is not None:
            raise refusal(environment, transaction_id, "known")
    if flaw := told.get("flaw"):
        tell(Caution(f"the row is not what was validated: {escaped(flaw['about'])}"))
    confirm(_question(transaction_id, gateway, known))
    more = {} if known is None else {"known": {"reference": known.reference}}
    done = give(environment, "settle", transaction_id, agreed=gateway, **more)
    return Outcome(transaction_id, done["status"], written=True)


def cancel(environment: Environment, transaction_id: str, confirm: Confirm) -> Outcome:
    """Cancel a payment that has not been charged, at the gateway first, as POST /cancel does it.

    The arguments are those of `settle`, and it raises what that does.
    """
    check_open(environment)
    status = give(environment, "ask", transaction_id)["status"]
    if status == CANCELED:
        return Outcome(transaction_id, status, written=False)
    confirm(f"Cancel payment {transaction_id}, which is {escaped(status)}?")
    status = give(environment, "cancel", transaction_id)["status"]
    if status != CANCELED:
        raise PaymentInfraError(
            f"payment {transaction_id} is not canceled: the gateway says that it is "
            f"{escaped(status)}, and so does its row now"
        )
    return Outcome(transaction_id, status, written=True)


def _question(transaction_id: str, gateway: Mapping[str, Any], known: Known | None) -> str:
    payment = f"payment {transaction_id}"
    told = {name: escaped(str(value)) for name, value in gateway.items()}
    match told:
        case {"outcome": "charged", "reference": reference}:
            return f"The gateway has charged {payment} ({reference}). Write that it is processed?"
        case {"outcome": "declined", "reason": reason}:
            # Of a gateway in two steps, which has an id of its own, it can still be paid.
            there = "Cancel it there, and write" if "id" in told else "Write"
            return f"The gateway has declined {payment} ({reason}). {there} that it is declined?"
        case {"outcome": "canceled", "reason": reason}:
            return (
                f"The gateway has declined {payment} ({reason}), and canceled it. Write that it is "
                "declined?"
            )
        case {"outcome": "canceled"}:
            return f"The gateway has canceled {payment}. Write that it is canceled?"
        case {"outcome": "none"}:
            return f"The gateway has charged nothing for {payment}. Write that it is canceled?"
    if known is not None and known.reference is not None:
        capture = escaped(known.reference)
        return f"The gateway cannot tell of {payment}. Write that it is processed, as {capture}?"
    return f"The gateway cannot tell of {payment}. Write that it was not charged, and is canceled?"
