"""What a payment's row says, held against what the gateway lists of it: pure, and of one payment.

A row is its attributes as `transactions.plain` has them. Money is all that counts: a row that lags
behind without a capture in play ends by itself, and what was given back later changes no capture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import inf
from typing import Any, Literal

from payment_infra.moments import exact

Row = Mapping[str, Any]

# For so long an attempt may hold a payment, and so far the clocks of two machines may be apart (a
# test compares both with the handlers').
LEASE = timedelta(seconds=90)
CLOCKS = timedelta(minutes=2)
# What is younger may still be on its way from the gateway into the row.
GRACE = LEASE + CLOCKS
# A lease that ends later is none: nobody has made it. So it is of what waits in the queue.
LONGEST_LEASE = timedelta(hours=1)
# The first_charge_at of what is charged in two steps: only another one is of a charge in one.
IN_TWO_STEPS = "1970-01-01T00:00:00+00:00"

CHARGED = "charged"
# The attributes that the comparison reads, and that a person is shown of a row.
SHOWN = (
    *("status", "amount", "currency", "gateway_id", "gateway_reference", "updated_at"),
    *("gateway", "gateway_account", "gateway_mode", "contradicting_reference"),
)
ATTRIBUTES = (
    *("transaction_id", "amount_minor", "created_at", "lease_expires_at", "in_flight"),
    *("queued_until", "rewound", "first_charge_at", *SHOWN),
)


class Kind(StrEnum):
    """In what a row and the gateway differ, by the name that documents have."""

    NOT_SETTLED = "captured_not_settled"
    NOT_CAPTURED = "settled_not_captured"
    AMOUNT = "other_amount"
    TWICE = "captured_twice"
    NO_ROW = "no_row"
    UNDECIDED = "undecided"


# What --fix writes: what the gateway says, or that there was no charge where it cannot tell.
Fix = Literal["settle", "not_charged"]


@dataclass(frozen=True)
class Payment:
    """A payment as the gateway lists it: amount is in its own units, amount_minor in the row's,
    None if these cannot hold it; reference is the capture's, created_at as rows have moments."""

    id: str
    outcome: str
    amount: int
    amount_minor: int | None
    currency: str
    created_at: str
    transaction_id: str | None = None
    reference: str | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Payment:
        """Return the payment of an answer to the order for a list."""
        return cls(**{name: told.get(name) for name in cls.__dataclass_fields__})  # type: ignore[arg-type]

    @property
    def is_captured(self) -> bool:
        """Whether its money is captured."""
        return self.outcome == CHARGED


@dataclass(frozen=True)
class Difference:
    """A difference: what the row says and what the gateway does, as documents, None where there is
    nothing; and what --fix may write about it, None if that is a person's to decide."""

    kind: Kind
    transaction_id: str | None
    row: Mapping[str, Any] | None
    gateway: Mapping[str, Any] | None
    fix: Fix | None = None


@dataclass(frozen=True)
class Compared:
    """What the comparison of one payment came to: its differences, and why the row itself was left
    out, if it was: it is young, or was begun at another gateway, account or mode."""

    differences: tuple[Difference, ...] = ()
    left_out: Literal["young", "elsewhere"] | None = None


@dataclass(frozen=True)
class Terms:
    """What every payment is compared by.

    Args:
        marks: whose list it is, by the attributes that a row has of that.
        since: the list has what was made from then on, and CLOCKS before that,
        until: and before that.
        now: the present moment, by which a row is young.
    """

    marks: Mapping[str, str] = field(hash=False)
    since: datetime
    until: datetime
    now: datetime

    def is_elsewhere(self, row: Row) -> bool:
        """Whether a row was begun at another gateway, account or mode, which alone can tell."""
        if row.get("first_charge_at") not in {None, IN_TWO_STEPS} and "gateway" not in row:
            return True
        return any(row.get(name, mark) != mark for name, mark in self.marks.items())

    def is_young(self, row: Row) -> bool:
        """Whether an attempt may have a payment at this moment, or has had it a moment ago, or the
        queue will have another one made."""
        now = self.now.timestamp()
        if row.get("status") == "processing":
            for name in ("lease_expires_at", "queued_until"):
                left = row[name] - now if isinstance(row.get(name), int) else -inf
                if -CLOCKS.total_seconds() <= left < LONGEST_LEASE.total_seconds():
                    return True
        return _text(row, "updated_at") > exact(self.now - GRACE)

    def covers(self, row: Row) -> bool:
        """Whether the list has all that can have been made for a row: nobody has begun the payment
        before it, or had it after it.

        A restore leaves `updated_at` as it was. Until somebody has had the payment since, that
        tells nothing of what was begun in the table that was left.
        """
        created, updated = _text(row, "created_at"), _text(row, "updated_at")
        taken_back = _moment(row["rewound"]) if "rewound" in row else ""
        if taken_back is None:
            return False
        return exact(self.since) <= created and taken_back < updated <= exact(self.until - GRACE)


def compare(
    transaction_id: str | None, row: Row | None, payments: Sequence[Payment], terms: Terms
) -> Compared:
    """Hold a row against all payments that the gateway lists for it.

    That a settled payment is not captured is said of one that the list does not have as captured:
    only the gateway itself can tell, since it may have been captured after it was listed, or made
    before.

    Args:
        transaction_id: of both; None for a captured payment that names none.
        row: the row, None if there is none.
        payments: with this transaction_id.
        terms: by what all are compared.
    """
    if row is None:
        captured = [payment for payment in payments if payment.is_captured]
        return Compared(
            tuple(Difference(Kind.NO_ROW, transaction_id, None, _told(one)) for one in captured)
        )
    of_row = _OfRow(row, payments)
    if terms.is_elsewhere(row):
        return Compared(tuple(of_row.twice(of_row.own if of_row.names_one else None)), "elsewhere")
    if terms.is_young(row):
        return Compared(left_out="young")
    return Compared((*of_row.own_differs(), *of_row.twice(of_row.own), *of_row.undecided(terms)))


class _OfRow:
    """A row with the payments that are listed for it.

    own is the one that the row names, by the gateway's id of it, or by the reference of its capture
    where a person has given that. A row that names none has the only captured one.
    """

    def __init__(self, row: Row, payments: Sequence[Payment]) -> None:
        self.row, self.payments = row, payments
        self.captured = [payment for payment in payments if payment.is_captured]
        named, reference = row.get("gateway_id"), row.get("gateway_reference")
        self.names_one = named is not None or reference is not None
        if named is not None:
            found = [payment for payment in payments if payment.id == named]
        elif reference is not None:
            found = [payment for payment in self.captured if payment.reference == reference]
        else:
            found = self.captured if len(self.captured) == 1 else []
        self.own = found[0] if found else None

    def own_differs(self) -> list[Difference]:
        row, own = self.row, self.own
        status = row.get("status")
        if own is None or not own.is_captured:
            return [self._difference(Kind.NOT_CAPTURED, own)] if status == "processed" else []
        if (own.amount_minor, own.currency) != (row.get("amount_minor"), row.get("currency")):
            return [self._difference(Kind.AMOUNT, own)]
        if status == "processed":
            return []
        # What has ended otherwise was told to its client, and is a person's to decide. What nobody
        # has begun, and no restore took back, nobody but its client takes further.
        open_ = status in {"processing", "pending"} or (status == "validated" and "rewound" in row)
        return [self._difference(Kind.NOT_SETTLED, own, "settle" if open_ else None)]

    def twice(self, own: Payment | None) -> list[Difference]:
        """Return what is captured beside the row's own payment."""
        others = [payment for payment in self.captured if payment is not own]
        return [self._difference(Kind.TWICE, payment) for payment in others]

    def undecided(self, terms: Terms) -> list[Difference]:
        """Return the row if it was set aside since nobody could know, and the whole list has
        nothing of it."""
        row = self.row
        is_aside = row.get("status") == "processing" and row.get("in_flight") == "stuck"
        in_two_steps = row.get("first_charge_at") in {None, IN_TWO_STEPS}
        if not is_aside or self.payments or "gateway_id" in row or not in_two_steps:
            return []
        if not terms.covers(row):
            return []
        return [self._difference(Kind.UNDECIDED, None, "not_charged")]

    def _difference(
        self, kind: Kind, payment: Payment | None, fix: Fix | None = None
    ) -> Difference:
        row = {name: self.row[name] for name in SHOWN if name in self.row}
        told = None if payment is None else _told(payment)
        return Difference(kind, self.row.get("transaction_id"), row, told, fix)


def _told(payment: Payment) -> dict[str, Any]:
    """Return what a person is told of a listed payment."""
    names = ("outcome", "id", "reference", "amount", "amount_minor", "currency", "created_at")
    return {name: getattr(payment, name) for name in names}


def _moment(seconds: object) -> str | None:
    """Return epoch seconds as rows have moments, None if they are none."""
    try:
        return exact(datetime.fromtimestamp(seconds, UTC)) if isinstance(seconds, int) else None
    except (OverflowError, ValueError, OSError):
        return None


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""
