"""Where a payment stands, as a client is told who asks for its charge or its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from handlers.shared.clock import epoch_seconds
from handlers.shared.flaws import Unreadable
from handlers.shared.states import PENDING, PROCESSING, SETTLED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a payment stands, as a client is told; it takes any row that has a status.

    charged is whether the attempt that tells has had the gateway's answer itself.
    """

    transaction_id: str
    status: str
    processed_at: str | None = None
    decline_reason: str | None = None
    another_method: bool = False
    next_action: str | None = field(default=None, repr=False)
    lease_expires_at: int = 0
    charged: bool = False

    @classmethod
    def of(cls, transaction_id: str, record: Mapping[str, object]) -> Standing:
        """Return where a row stands that is settled, pending, or held by another attempt.

        Raises Unreadable if it says neither, or has an unreadable caller.
        """
        status, lease_expires_at = record.get("status"), record.get("lease_expires_at")
        if not isinstance(record.get("caller", ""), str):
            raise Unreadable("caller")  # so nobody knows who may be told
        if status == PROCESSING and type(lease_expires_at) is int:
            return cls(
                transaction_id=transaction_id, status=status, lease_expires_at=lease_expires_at
            )
        if status not in SETTLED and status != PENDING:
            raise Unreadable("status")
        return cls(
            transaction_id=transaction_id,
            status=str(status),
            processed_at=_text(record.get("processed_at")),
            decline_reason=_text(record.get("decline_reason")),
            another_method=record.get("another_method") == 1,
            next_action=_text(record.get("next_action")),
        )

    def lease_seconds_left(self, now: datetime) -> int:
        """Whole seconds until another attempt may claim the payment, at least 1."""
        return max(1, self.lease_expires_at - epoch_seconds(now))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
