"""What is known of one payment: its row, and what its gateway says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.operating.by_hand import give, refusal
from payment_infra.cloud.operating.transactions import find
from payment_infra.errors import PaymentInfraError

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.operating.transactions import Row

# Clocks of two machines are no further apart.
MARGIN = timedelta(minutes=2)
# As far back as the logs of a row that has no time of its own are looked through.
UNKNOWN_AGE = timedelta(days=7)


@dataclass(frozen=True)
class Found:
    """A payment's row; what the gateway says, None if it was not asked, and why not; and the
    attribute that is not what was validated, "" for none."""

    row: Row
    gateway: dict[str, Any] | None = None
    unasked: str = ""
    flaw: str = ""


def look(environment: Environment, transaction_id: str) -> Found:
    """Return what is known of a payment; nothing is changed.

    Raises:
        AwsError: the table cannot be read.
        PaymentInfraError: there is no such payment.
    """
    row = find(environment, transaction_id)
    if row is None:
        raise refusal(environment, transaction_id, "not_found")
    try:
        told = give(environment, "ask", transaction_id)
    except PaymentInfraError as error:
        return Found(row, unasked=str(error))
    match told.get("obstacle"):
        case {"code": "other_gateway" as code, "about": str(about)}:
            return Found(row, unasked=str(refusal(environment, transaction_id, code, about)))
    flaw = told.get("flaw") or {}
    return Found(row, gateway=told["gateway"], flaw=str(flaw.get("about", "")))


def begun(row: Row, now: datetime) -> datetime:
    """Return when the story of a payment begins, by any clock."""
    try:
        created = datetime.fromisoformat(str(row.get("created_at")))
    except ValueError:
        return now - UNKNOWN_AGE
    if created.tzinfo is None or created > now:
        return now - UNKNOWN_AGE
    return created - MARGIN
