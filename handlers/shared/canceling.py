"""Canceling a payment for its client: in one write where no gateway can have it, else there first.

Only what certainly has no capture is written down as canceled. What a gateway says of a pending
payment is written as a look at it would be, which also finds a payment whose write failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from handlers.shared.aws import logs, metrics
from handlers.shared.charging import failure_of
from handlers.shared.deadline import CALL_SECONDS, CHARGE_SECONDS, FETCH_SECONDS
from handlers.shared.failures import OutcomeUnknown, is_failure
from handlers.shared.flaws import Flawed, OtherGateway, Unreadable
from handlers.shared.gateway import (
    Charged,
    Declined,
    NoCharge,
    NotCharged,
    in_two_steps,
    marks_of,
)
from handlers.shared.one_step import OneStep
from handlers.shared.recording import overtaken, settle
from handlers.shared.standings import Standing
from handlers.shared.states import CANCELED, PENDING, PROCESSED, VALIDATED
from handlers.shared.transactions import Transaction
from handlers.shared.two_steps import TwoSteps

if TYPE_CHECKING:
    from handlers.shared.aws.store import Store
    from handlers.shared.callers import Claimant
    from handlers.shared.deadline import Deadline
    from handlers.shared.gateway import AnyGateway, Gateway
    from handlers.shared.two_steps import End


@dataclass(frozen=True)
class Cancellation:
    """What canceling works with; `gateway` makes the gateway, if it has to be asked."""

    store: Store
    gateway: Callable[[], AnyGateway]
    deadline: Deadline

    def cancel(self, transaction_id: str, claimant: Claimant) -> Standing | None:
        """Cancel a payment, unless it has ended or is being charged; return where it stands then.

        Where that is validated or pending, it cannot be canceled now. It is None if there is no
        such payment, or none for this claimant.

        Raises:
            DependencyFailed: something failed, maybe after the gateway has canceled.
            Flawed: the row, or what the gateway has of it, is not a payment of ours.
        """
        self.deadline.require(CALL_SECONDS)
        write = self.store.cancel_validated(transaction_id, claimant, self.deadline.clock())
        row = write.row
        if write.done:
            return _canceled(transaction_id)
        if not row or not claimant.may_process(row):
            return None
        if row.get("status") not in {VALIDATED, PENDING}:
            return Standing.of(transaction_id, row)
        try:
            read = Transaction.as_read(row)
            if read.status == PENDING and read.gateway_id is None:
                raise Unreadable("gateway_id")
            return self._ask(read, row, claimant)
        except OutcomeUnknown as unknown:
            logs.info("not canceled", transaction_id=transaction_id, code=unknown.code)
            return Standing(transaction_id=transaction_id, status=str(row["status"]))
        except Flawed:
            raise
        except BaseException as error:
            if not is_failure(error):
                raise
            raise failure_of(transaction_id, error) from error

    def _ask(self, read: Transaction, row: Mapping[str, object], claimant: Claimant) -> Standing:
        """Cancel a payment that a gateway may have."""
        self.deadline.require(FETCH_SECONDS + CHARGE_SECONDS)
        gateway = self.gateway()
        marks_of(gateway).check(row)
        self.store.check(row)
        if in_two_steps(gateway):
            outcome: object = TwoSteps(gateway, self.store, self.deadline).cancel(read)
        elif read.gateway_id is not None:
            raise OtherGateway("gateway_id")
        else:
            outcome = OneStep(cast("Gateway", gateway), self.deadline).ask(read)
        if read.status == PENDING:
            return settle(self.store, read, cast("End", outcome), self.deadline.clock())
        return self._rewound(read, outcome, claimant)

    def _rewound(self, read: Transaction, outcome: object, claimant: Claimant) -> Standing:
        """Cancel a payment that a restore took back, if the gateway has charged nothing before.

        A capture is not written down here, where nobody holds the payment: as without this, whoever
        processes it finds that again.
        """
        stands = Standing(transaction_id=read.transaction_id, status=VALIDATED)
        if isinstance(outcome, Charged):
            return replace(stands, status=PROCESSED)
        if not isinstance(outcome, NoCharge | NotCharged | Declined):
            return stands
        now = self.deadline.clock()
        write = self.store.cancel_validated(
            read.transaction_id, claimant, now, rewound=read.rewound
        )
        if write.done:
            return _canceled(read.transaction_id)
        return overtaken(self.store, read.transaction_id, write.row, None, now)


def _canceled(transaction_id: str) -> Standing:
    metrics.count(metrics.CANCELED)
    return Standing(transaction_id=transaction_id, status=CANCELED)
