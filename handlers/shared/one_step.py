"""Charging at a gateway in one step: the transaction_id is its idempotency key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from handlers.shared.aws import metrics
from handlers.shared.deadline import CHARGE_SECONDS, CLOCK_SKEW_SECONDS
from handlers.shared.failures import OutcomeUnknown
from handlers.shared.flaws import OtherGateway
from handlers.shared.gateway import Charged, Declined, NoCharge
from handlers.shared.needs import refusal
from handlers.shared.transactions import LEASE_SECONDS, Transaction

if TYPE_CHECKING:
    from handlers.shared.deadline import Deadline
    from handlers.shared.gateway import Gateway


@dataclass(frozen=True)
class OneStep:
    """What charging in one step works with."""

    gateway: Gateway
    deadline: Deadline

    def charge(self, claimed: Transaction) -> Charged | Declined:
        """Charge, unless there may be a charge that the key no longer stands for: then look it up.

        No attempt outlives its lease, so a charge that begins now arrives within LEASE_SECONDS.

        Raises:
            OtherGateway: the payment was prepared in two steps, and may be charged there.
            OutcomeUnknown: another charge could be a second one.
        """
        if claimed.gateway_id is not None:
            raise OtherGateway("gateway_id")
        is_first = claimed.first_charge_at == claimed.updated_at and claimed.rewound is None
        if is_first and (refused := refusal(self.gateway, claimed)):
            return refused
        self.deadline.require(CHARGE_SECONDS)
        with metrics.timed(metrics.GATEWAY_LATENCY):
            result = self._ask(claimed)
        if not isinstance(result, Charged | Declined):
            raise TypeError("a gateway in one step answers Charged or Declined")
        return result

    def find_capture(self, transaction_id: str) -> str | None:
        """Return the reference of a capture that the gateway knows, whatever the row says."""
        match self.gateway.find(transaction_id):
            case Charged(str(reference)):
                return reference
        return None

    def ask(self, transaction: Transaction) -> Charged | Declined | NoCharge:
        """Return what the gateway knows of a charge. Raises OutcomeUnknown if it cannot tell."""
        self.deadline.require(CHARGE_SECONDS)
        with metrics.timed(metrics.GATEWAY_LATENCY):
            found = self.gateway.find(transaction.transaction_id)
        if found is None:
            raise OutcomeUnknown
        return found

    def _ask(self, claimed: Transaction) -> object:
        key = claimed.transaction_id
        skew = timedelta(seconds=CLOCK_SKEW_SECONDS)
        age = self.deadline.clock() - datetime.fromisoformat(str(claimed.first_charge_at))
        # A first charge that is yet to come says nothing of its age.
        key_is_known = (
            -skew <= age
            and age + timedelta(seconds=LEASE_SECONDS) + skew < self.gateway.KEY_RETENTION
        )
        if key_is_known and claimed.rewound is None:
            return self.gateway.charge(claimed, idempotency_key=key)
        found = self.gateway.find(key)
        if key_is_known and isinstance(found, NoCharge):
            self.deadline.require(CHARGE_SECONDS)
            return self.gateway.charge(claimed, idempotency_key=key)
        if found is None or isinstance(found, NoCharge):
            raise OutcomeUnknown
        return found
