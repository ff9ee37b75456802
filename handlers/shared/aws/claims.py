"""The write that takes the lease on a payment: on which condition, and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from handlers.shared.transactions import REQUIRED, TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handlers.shared.transactions import Record

# What was begun says so: in one step by the time of the first charge, in two by the gateway's name,
# which a release that knew no two steps did not store.
_BEGUN_IN_ONE, _BEGUN_IN_TWO = "first_charge_at", "gateway"
_FREE = (
    "#status = :validated OR attempt_id = :attempt"
    " OR (#status = :processing AND lease_expires_at < :now_seconds AND attribute_exists({begun}))"
)
# What a restore took back to before it was begun may have been charged meanwhile, by the gateway
# for which it was validated: no other can tell. A row of an earlier release does not say which.
_OURS = (
    "attribute_not_exists(rewound) OR attribute_exists(gateway)"
    " OR attribute_not_exists(validated_for) OR validated_for = :validated_for"
)
# DynamoDB's names of the types that a payment's attributes have.
_TYPE_NAMES = {str: (":text", "S"), int: (":number", "N")}
TYPE_VALUES: Record = dict(_TYPE_NAMES.values())
# What a row must have to be claimed: it is refused before it is written, if it is not a payment's.
PAYABLE = " AND ".join(
    f"attribute_type({'#status' if name == 'status' else name}, {_TYPE_NAMES[TYPES[name]][0]})"
    for name in REQUIRED
    if name != "transaction_id"
)
# What a claim writes, by the names of its values.
_TAKEN = {
    "status": ":processing",
    "attempt_id": ":attempt",
    "lease_expires_at": ":lease_end",
    "in_flight": ":in_flight",
    "updated_at": ":now",
}


@dataclass(frozen=True)
class Claim:
    """A claim's condition, and what it writes only where there is nothing yet, by the names of its
    values."""

    condition: str
    first: Mapping[str, str]

    @cached_property
    def update(self) -> str:
        """The expression that writes it."""
        taken = (f"{'#' * (name == 'status')}{name} = {value}" for name, value in _TAKEN.items())
        first = (f"{name} = if_not_exists({name}, {value})" for name, value in self.first.items())
        return f"SET {', '.join([*taken, *first])}"

    def leaves(self, row: Mapping[str, object], values: Record) -> Mapping[str, object]:
        """Return what it makes of a row; of one that it had already written, the same."""
        first = {name: values[value] for name, value in self.first.items()}
        return {**first, **row, **{name: values[value] for name, value in _TAKEN.items()}}


@lru_cache
def claim_of(marks: tuple[str, ...], of_claimant: str, *, two_steps: bool) -> Claim:
    """Return the claim of a claimant, who has that condition, at a gateway with these marks."""
    free = _FREE.format(begun=_BEGUN_IN_TWO if two_steps else _BEGUN_IN_ONE)
    unmarked = (f"attribute_not_exists({name}) OR {name} = :{name}" for name in marks)
    parts = [PAYABLE, *(f"({part})" for part in (free, of_claimant, *unmarked, _OURS) if part)]
    first = {name: f":{name}" for name in marks}
    first["first_charge_at"] = ":long_ago" if two_steps else ":now"
    return Claim(" AND ".join(parts), first)
