"""Charging a payment that this attempt has claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.shared import logs
from handlers.shared.gateway import Declined
from handlers.shared.transactions import DECLINED, PROCESSED

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from handlers.shared.gateway import Gateway
    from handlers.shared.store import Store
    from handlers.shared.transactions import Transaction


def settle(
    claimed: Transaction, store: Store, gateway: Gateway, clock: Callable[[], datetime]
) -> Transaction:
    """Charge a claimed payment and record the result; return the row as it then stands.

    The transaction_id is the gateway's idempotency key, so an attempt that lost its lease and
    charged late made no second capture, and what the row says is true for it too.

    Raises a DependencyFailed if the gateway or the store fails; the lease is then still held.
    """
    result = gateway.charge(claimed, idempotency_key=claimed.transaction_id)
    if isinstance(result, Declined):
        return store.decline(claimed, result.reason, clock())
    row = store.finish(claimed, result.reference, clock())
    if row.status in {PROCESSED, DECLINED} and row.gateway_reference != result.reference:
        logs.error(
            "capture is not the one on record",
            transaction_id=claimed.transaction_id,
            gateway_reference=result.reference,
        )
    return row
