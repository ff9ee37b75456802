"""The end of a restore: payments, where they are now, against the gateway's own list.

It undoes nothing and fails nothing: what differs, or that it could not be compared, is told, with
the command that goes on from there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from payment_infra.cloud.environment.live import check_live
from payment_infra.cloud.events import Caution
from payment_infra.cloud.operating.by_hand import Refused
from payment_infra.cloud.reconciling.passes import Asked, Comparison
from payment_infra.cloud.reconciling.spool import Spool
from payment_infra.errors import PaymentInfraError
from payment_infra.moments import iso, shown
from payment_infra.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from payment_infra.cloud.restoring.work import Work

# What was begun so long before the moment of a restore may have been captured since.
BEFORE = timedelta(days=1)
# Differences that a report has one by one; the command has them all.
MAX_LISTED = 20


@dataclass(frozen=True)
class Against:
    """What a report has of the comparison: lines of what is left to do, and a document; None where
    the gateway does not list."""

    lines: tuple[str, ...] = ()
    document: Mapping[str, object] | None = None


def compare(work: Work, moment: datetime) -> Against:
    """Compare what was made since a moment, less BEFORE, once payments are let in again."""
    # Payments were stopped meanwhile, so what is young is what was made after that, and its rows
    # are left out.
    since = (moment - BEFORE).replace(microsecond=0)
    until = work.clock().replace(microsecond=0) + timedelta(seconds=1)
    command = work.command(f"reconcile --since {shown(since)}")
    try:
        work.look_again()
        check_live(work.environment)
        with Spool.temporary() as spool:
            asked = Asked(since, until)
            Comparison(work.environment, spool, asked, work.operator.tell, work.clock).run()
            counts, fixable = spool.counts(), spool.count_fixable()
            first = [
                asdict(difference)
                for kind in counts
                for _, difference in zip(range(MAX_LISTED), spool.differences(kind), strict=False)
            ]
    except Refused as refused:
        if refused.code == "not_listing":
            return Against()
        return _not_compared(work, str(refused), command)
    except PaymentInfraError as error:
        return _not_compared(work, str(error), command)
    except KeyboardInterrupt:
        return _not_compared(work, "interrupted", command)
    document = {
        "since": iso(since),
        "until": iso(until),
        "differences": {str(kind): number for kind, number in counts.items()},
        "first": first[:MAX_LISTED],
    }
    if not counts:
        return Against(document=document)
    told = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in counts.items())
    number = counted(sum(counts.values()), "difference")
    line = f"{number} between rows and the gateway ({told}); `{command}` shows them"
    work.operator.tell(Caution(line))
    fixes = f", and --fix mends {fixable}" if fixable else ""
    return Against((f"- {line}{fixes}",), document)


def _not_compared(work: Work, why: str, command: str) -> Against:
    line = f"rows and the gateway were not compared ({why.partition(';')[0]}); `{command}` does it"
    work.operator.tell(Caution(line))
    return Against((f"- {line}",), {"not_compared": why})
