"""How the notifications of the gateway were answered: what is not taken is told again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from handlers.shared.aws import metrics
from handlers.shared.charging import LOOKED_AFTER
from handlers.shared.states import PENDING, PROCESSED, PROCESSING
from tests.model.made import Stage

if TYPE_CHECKING:
    from tests.expressions import Item
    from tests.model.invocations import Invocation
    from tests.model.notices import Notice
    from tests.model.table import Table
    from tests.model.two_step_gateway import TwoStepGateway

OK, BAD_REQUEST, UNAVAILABLE = 200, 400, 503


@dataclass(frozen=True)
class Before:
    """Where the gateway's payment and its row stood before a notification."""

    stage: Stage
    status: str | None


class Post:
    """Takes down what became of each notification."""

    def __init__(self, gateway: TwoStepGateway, table: Table) -> None:
        # Payments of which a notification was taken though their end is neither stored nor counted;
        # of which a forged one was taken; and of which one was answered as none is.
        self.forgotten: list[str] = []
        self.believed: list[str] = []
        self.misanswered: list[str] = []
        self._gateway = gateway
        self._table = table

    @property
    def waiting(self) -> list[Notice]:
        """Those that were not taken, the first first."""
        return [notice for notice in list(self._gateway.notices) if not notice.is_taken]

    def begin(self, notice: Notice) -> Before:
        """Return what a notification begins with."""
        status = self._row(notice).get("status", {}).get("S")
        return Before(self._gateway.made[notice.payment_id].stage, status)

    def take(
        self,
        notice: Notice,
        status: int,
        invocation: Invocation,
        before: Before,
        *,
        is_genuine: bool,
    ) -> None:
        """Take down an answer."""
        if not is_genuine:
            if status not in {BAD_REQUEST, UNAVAILABLE}:
                self.believed.append(notice.transaction_id)
            return
        is_of_another = notice.account != self._gateway.account
        if status not in {OK, UNAVAILABLE} and not (is_of_another and status == BAD_REQUEST):
            self.misanswered.append(notice.transaction_id)
        if status != OK:
            return
        notice.is_taken = True
        if not (self._is_on_record(notice, before) or _is_counted(invocation)):
            self.forgotten.append(notice.transaction_id)

    def _is_on_record(self, notice: Notice, before: Before) -> bool:
        """Whether a row says how the gateway's payment had ended before it was told of."""
        row = self._row(notice)
        is_its_own = row.get("gateway_id") == {"S": notice.payment_id}
        status = row.get("status", {}).get("S")
        match before.stage:
            case Stage.CHARGED:
                reference = self._gateway.made[notice.payment_id].reference
                return status == PROCESSED and row.get("gateway_reference") == {"S": reference}
            case Stage.CANCELED:
                return not (is_its_own and status in {PROCESSING, PENDING})
            case Stage.FAILED:
                # Of one in processing, it is for the attempt.
                return not (is_its_own and before.status == status == PENDING)
        return True

    def _row(self, notice: Notice) -> Item:
        return self._table.items.get(notice.transaction_id, {})


def _is_counted(invocation: Invocation) -> bool:
    """Whether an invocation has counted what an alarm shows."""
    counted = (metrics.CONTRADICTED, *LOOKED_AFTER.values())
    return any(invocation.counted[metric] for metric in counted)
