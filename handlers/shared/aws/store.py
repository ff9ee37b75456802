"""The payments in the table: every change of state is one conditional write.

The SDK may repeat a call whose answer was lost. Each condition therefore lets its own repetition
pass, or the row shows that the first one took effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.shared.aws.claims import PAYABLE, TYPE_VALUES, claim_of
from handlers.shared.aws.index import Index
from handlers.shared.aws.table import Write
from handlers.shared.clock import epoch_seconds, just_expired, timestamp
from handlers.shared.flaws import OtherGateway
from handlers.shared.lookups import ATTRIBUTES
from handlers.shared.states import (
    CANCELED,
    DECLINED,
    PENDING,
    PROCESSED,
    PROCESSING,
    VALIDATED,
    in_flight_key,
    pending_key,
)
from handlers.shared.transactions import (
    LEASE_SECONDS,
    LONG_AGO,
    Record,
    Transaction,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from handlers.shared.aws.table import Table
    from handlers.shared.callers import Claimant
    from handlers.shared.gateway import Declined
    from handlers.shared.marks import Marks

    Number = Decimal | int

_HELD = "#status = :processing AND attempt_id = :attempt"
_OF_GATEWAY = "#status IN (:processing, :pending) AND gateway_id = :gateway_id"


class TransactionExists(Exception):
    """Another transaction has this id; it is not written over."""

    reason = "another_transaction_has_the_id"


class Store:
    """Takes payments through their states. Every method raises StoreUnavailable if DynamoDB fails
    the call.

    `gateway` is the one that the settings name, as a row says for whom it was validated.
    """

    def __init__(self, table: Table, gateway: str, lease_seconds: int = LEASE_SECONDS) -> None:
        self._table = table
        self._gateway = gateway
        self._lease_seconds = lease_seconds
        self.index = Index(table)

    def add(self, transaction: Transaction, more: Record | None = None) -> Write:
        """Store a new transaction, unless an earlier request, or this call's first try, has.

        `more` are attributes of a later release, which are stored as they are. Raises
        TransactionExists if the id belongs to a transaction of another request.
        """
        write = self._table.put(
            {**(more or {}), **transaction.to_record(), "validated_for": self._gateway}
        )
        for name in ("fingerprint", "details_fingerprint"):
            if not write.done and write.row.get(name) != getattr(transaction, name):
                raise TransactionExists
        return write

    def of(self, gateway: str) -> Store:
        """Return the same for another gateway than the configured one."""
        return Store(self._table, gateway, self._lease_seconds)

    def check(self, row: Mapping[str, object]) -> None:
        """Raise OtherGateway for a payment that a restore took back, and that was validated for
        another gateway than the configured one, which may have charged it meanwhile."""
        if "rewound" not in row or "gateway" in row:
            return
        if row.get("validated_for", self._gateway) != self._gateway:
            raise OtherGateway("validated_for")

    def find(self, transaction_id: str) -> Mapping[str, object]:
        """Return what a look-up takes of a row, as it is now; nothing if there is none."""
        return self._table.get(transaction_id, ATTRIBUTES)

    def read(self, transaction_id: str) -> Mapping[str, object]:
        """Return a row as it is now, nothing if there is none, where nothing but writes is granted:
        by one that is always refused, since the key is a text."""
        return self._table.update(
            transaction_id,
            condition="attribute_type(transaction_id, :number)",
            update="SET updated_at = updated_at",
            values={":number": "N"},
        ).row

    def claim(
        self,
        transaction_id: str,
        attempt_id: str,
        claimant: Claimant,
        now: datetime,
        marks: Marks,
        *,
        two_steps: bool,
    ) -> Write:
        """Take the lease on a payment for one attempt, and store whom it is begun at.

        It is refused if another attempt holds or ended it, if it was begun at another gateway, or
        may have been, if the claimant may not have it, and if the row lacks what a payment has.

        Args:
            transaction_id: of the payment.
            attempt_id: of the attempt, which no other has.
            claimant: who asks for it.
            now: the present moment.
            marks: as much of the gateway as is known.
            two_steps: whether money moves only after another write. In one step, the moment of the
                first charge is stored now. In two, LONG_AGO is: a release that knows one step alone
                may claim the payment, but then looks it up, and charges nothing.
        """
        of_marks = marks.attributes
        claim = claim_of(tuple(of_marks), claimant.condition, two_steps=two_steps)
        values: Record = {
            **claimant.values,
            **TYPE_VALUES,
            **{f":{name}": value for name, value in of_marks.items()},
            ":validated_for": self._gateway,
            ":validated": VALIDATED,
            ":processing": PROCESSING,
            ":attempt": attempt_id,
            ":now": timestamp(now),
            ":now_seconds": epoch_seconds(now),
            ":lease_end": epoch_seconds(now) + self._lease_seconds,
            ":in_flight": in_flight_key(transaction_id),
            **({":long_ago": LONG_AGO} if two_steps else {}),
        }
        # The old row comes back, since it is the shorter one.
        write = self._table.update(
            transaction_id,
            condition=claim.condition,
            update=claim.update,
            values=values,
            returns="ALL_OLD",
        )
        return Write(True, claim.leaves(write.row, values)) if write.done else write

    def note_id(self, claimed: Transaction, gateway_id: str, now: datetime) -> Write:
        """Store the gateway's name of a payment, if this attempt still holds the lease, and no
        other name is stored."""
        return self._table.update(
            claimed.transaction_id,
            condition=(
                f"{_HELD} AND (attribute_not_exists(gateway_id) OR gateway_id = :gateway_id)"
            ),
            update="SET gateway_id = :gateway_id, updated_at = :now",
            values={
                ":processing": PROCESSING,
                ":attempt": claimed.attempt_id or "",
                ":gateway_id": gateway_id,
                ":now": timestamp(now),
            },
        )

    def finish(self, transaction: Transaction, gateway_reference: str, now: datetime) -> Write:
        """Record a charge, if this attempt still holds the lease.

        A transaction without an attempt is one that was read: then it is recorded if the row still
        is in processing or pending, with the same gateway_id. So it is of the other three ends.
        """
        update = "processed_at = :now, gateway_reference = :reference"
        return self._end(transaction, PROCESSED, now, update, {":reference": gateway_reference})

    def decline(self, transaction: Transaction, declined: Declined, now: datetime) -> Write:
        """Record that the gateway declined."""
        update, values = "decline_reason = :reason", Record({":reason": declined.reason})
        if declined.another_method:
            update, values = f"{update}, another_method = :one", {**values, ":one": 1}
        return self._end(transaction, DECLINED, now, update, values)

    def cancel(self, transaction: Transaction, now: datetime) -> Write:
        """Record that the payment was canceled at the gateway."""
        return self._end(transaction, CANCELED, now, "canceled_at = :now", {})

    def cancel_validated(
        self,
        transaction_id: str,
        claimant: Claimant,
        now: datetime,
        *,
        rewound: int | None = None,
    ) -> Write:
        """Cancel a payment that nobody has asked a gateway for.

        It is refused if somebody has, or may have before a restore, if the claimant may not have
        it, and if the row lacks what a payment has. `rewound` is of the restore before which a
        gateway has been found to have charged nothing.
        """
        told, taken_back = Record(), "attribute_not_exists(rewound)"
        if rewound is not None:
            told, taken_back = Record({":rewound": rewound}), "rewound = :rewound"
        of_claimant = f" AND ({claimant.condition})" if claimant.condition else ""
        return self._table.update(
            transaction_id,
            condition=f"{PAYABLE} AND #status = :validated AND {taken_back}{of_claimant}",
            update="SET #status = :canceled, updated_at = :now, canceled_at = :now",
            values={
                **claimant.values,
                **TYPE_VALUES,
                **told,
                ":validated": VALIDATED,
                ":canceled": CANCELED,
                ":now": timestamp(now),
            },
        )

    def pend(
        self, transaction: Transaction, next_action: str | None, next_look: int, now: datetime
    ) -> Write:
        """Record that a payment is pending, until somebody looks again, in epoch seconds."""
        held, values = _holder(transaction)
        action, removed = "", ", next_action"
        if next_action:
            action, removed = ", next_action = :action", ""
            values[":action"] = next_action
        return self._table.update(
            transaction.transaction_id,
            condition=held,
            update=(
                "SET #status = :pending, in_flight = :in_flight, lease_expires_at = :next_look,"
                f" updated_at = :now, pending_at = if_not_exists(pending_at, :now){action}"
                f" REMOVE attempt_id, recoveries, queued_until{removed}"
            ),
            values={
                **values,
                ":pending": PENDING,
                ":in_flight": pending_key(transaction.transaction_id),
                ":next_look": next_look,
                ":now": timestamp(now),
            },
        )

    def let_go(
        self,
        transaction_id: str,
        attempt_id: str,
        now: datetime,
        *,
        queued_until: int | None = None,
        key: str | None = None,
    ) -> Write:
        """Expire the lease, if this attempt holds it, so that the next claim gets in.

        Args:
            transaction_id: of the payment, which need not exist.
            attempt_id: that may have claimed it.
            now: the present moment.
            queued_until: until when the queue retries it, in epoch seconds; None leaves that.
            key: of the index under which it is set aside; None leaves that.
        """
        changes: Record = {":expired": just_expired(now), ":now": timestamp(now)}
        update = "SET lease_expires_at = :expired, updated_at = :now"
        if queued_until is not None:
            changes[":until"] = queued_until
            update += ", queued_until = :until"
        if key is not None:
            changes[":key"] = key
            update += ", in_flight = :key"
        held: Record = {":processing": PROCESSING, ":attempt": attempt_id}
        return self._table.update(
            transaction_id, condition=_HELD, update=update, values=held | changes
        )

    def note_capture(self, transaction_id: str, gateway_reference: str, now: datetime) -> Write:
        """Write beside what a settled row says that there is a capture which contradicts it; of
        several the first."""
        return self._table.update(
            transaction_id,
            condition="#status IN (:processed, :declined, :canceled)",
            update=(
                "SET contradicting_reference = if_not_exists(contradicting_reference, :reference),"
                " updated_at = :now"
            ),
            values={
                ":processed": PROCESSED,
                ":declined": DECLINED,
                ":canceled": CANCELED,
                ":reference": gateway_reference,
                ":now": timestamp(now),
            },
        )

    def _end(
        self, transaction: Transaction, status: str, now: datetime, update: str, values: Record
    ) -> Write:
        held, of_holder = _holder(transaction)
        return self._table.update(
            transaction.transaction_id,
            condition=held,
            update=(
                f"SET #status = :ended, updated_at = :now, {update}"
                " REMOVE attempt_id, lease_expires_at, in_flight, recoveries, queued_until,"
                " next_action, pending_at"
            ),
            values={**of_holder, **values, ":ended": status, ":now": timestamp(now)},
        )


def _holder(transaction: Transaction) -> tuple[str, Record]:
    """Return the condition that nobody has taken a payment further meanwhile, and its values."""
    if transaction.attempt_id:
        return _HELD, {":processing": PROCESSING, ":attempt": transaction.attempt_id}
    of_gateway: Record = {":gateway_id": transaction.gateway_id or ""}
    return _OF_GATEWAY, {":processing": PROCESSING, ":pending": PENDING, **of_gateway}
