"""Taking one payment from claim to end, as the API and the retry do it alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from handlers.shared import logs, metrics
from handlers.shared.failures import DependencyFailed
from handlers.shared.gateway import Declined
from handlers.shared.transactions import DECLINED, LEASE_SECONDS, PROCESSED

if TYPE_CHECKING:
    from collections.abc import Callable

    from handlers.shared.gateway import Charged, Gateway
    from handlers.shared.store import Store
    from handlers.shared.transactions import Transaction


class OutcomeUnknown(DependencyFailed):
    """The gateway has forgotten the key of an earlier charge, and knows of no capture.

    Another charge could be a second one, so nobody charges: somebody has to look.
    """

    reason = "outcome_unknown"


def settle(
    claimed: Transaction, store: Store, gateway: Gateway, clock: Callable[[], datetime]
) -> Transaction:
    """Charge a claimed payment and record the result; return the row as it then stands.

    The transaction_id is the gateway's idempotency key, so an attempt that lost its lease and
    charged late made no second capture, and what the row says is true for it too.

    Raises a DependencyFailed if the gateway or the store fails; the lease is then still held.
    """
    with metrics.timed(metrics.GATEWAY_LATENCY):
        result = _charge_once(claimed, gateway, clock())
    if isinstance(result, Declined):
        row = store.decline(claimed, result.reason, clock())
    else:
        row = store.finish(claimed, result.reference, clock())
        if row.status in {PROCESSED, DECLINED} and row.gateway_reference != result.reference:
            logs.error(
                "capture is not the one on record",
                transaction_id=claimed.transaction_id,
                gateway_reference=result.reference,
            )
    if row.status == PROCESSED:
        metrics.count(metrics.PROCESSED)
    elif row.status == DECLINED:
        metrics.count(metrics.DECLINED)
    return row


def _charge_once(claimed: Transaction, gateway: Gateway, now: datetime) -> Charged | Declined:
    """Charge, or look the charge up if the gateway may forget the key before a charge arrives.

    No attempt outlives its lease, so a charge that begins now arrives within LEASE_SECONDS.
    """
    first_charge_at = datetime.fromisoformat(claimed.first_charge_at or claimed.updated_at)
    arrives_before = now + timedelta(seconds=LEASE_SECONDS)
    if arrives_before - first_charge_at < gateway.KEY_RETENTION:
        return gateway.charge(claimed, idempotency_key=claimed.transaction_id)
    found = gateway.find(claimed.transaction_id)
    if found is None:
        raise OutcomeUnknown
    return found


def let_go(claimed: Transaction, store: Store, now: datetime) -> None:
    """Let the lease of a payment go, so that the next attempt need not wait for its end."""
    try:
        store.let_go(claimed, now)
    except DependencyFailed as failure:
        logs.error("lease not let go", transaction_id=claimed.transaction_id, code=failure.code)
