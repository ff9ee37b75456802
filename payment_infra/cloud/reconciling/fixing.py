"""Writing into rows what a comparison has shown, where nobody has to decide anything.

Row and gateway are read anew before each, by the stack's payment-retry, and it writes on the
conditions that every attempt has: so two may do this at once, and one that was killed be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.events import Caution, Waiting
from payment_infra.cloud.operating.by_hand import Refused, give, refusal
from payment_infra.cloud.operating.settling import check_open
from payment_infra.cloud.operating.transactions import find
from payment_infra.cloud.reconciling.comparison import CHARGED
from payment_infra.errors import AwsError
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.reconciling.comparison import Difference
    from payment_infra.cloud.reconciling.spool import Spool


@dataclass(frozen=True)
class Fixed:
    """How many rows say now what the gateway does, and how many others were refused."""

    written: int
    refused: int


def check_fixable(environment: Environment, table: str) -> None:
    """Make sure, under the lock, that rows may be written, and are those that were compared.

    Raises:
        AwsError: they are not.
    """
    check_open(environment)
    if environment.table != table:
        raise AwsError(
            f"payments have moved from {table} to {environment.table} meanwhile; nothing was "
            "written, repeat the command"
        )


def fix(environment: Environment, spool: Spool, tell: Tell) -> Fixed:
    """Write what can be written, one payment after the other; what is refused is told, and stays.

    Raises:
        AwsError: something cannot be asked; what was written stays written.
    """
    written = refused = 0
    for number, difference in spool.fixable():
        try:
            _fix(environment, difference)
        except Refused as error:
            refused += 1
            tell(Caution(str(error)))
            continue
        with spool.step():
            spool.fixed(number)
        written += 1
        tell(Waiting(f"{counted(written, 'row')} written"))
    return Fixed(written, refused)


def _fix(environment: Environment, difference: Difference) -> None:
    """Raises Refused if row or gateway do not say any more what was compared."""
    transaction_id = str(difference.transaction_id)
    if difference.fix == "not_charged" and not _is_as_compared(environment, difference):
        raise refusal(environment, transaction_id, "changed")
    listed = (difference.gateway or {}).get("id")
    more: dict[str, Any] = {} if listed is None else {"capture": listed}
    told = give(environment, "ask", transaction_id, **more)
    gateway: dict[str, Any] = told.get("gateway") or {}
    code = (told.get("obstacle") or {}).get("code")
    if code == "settled" and (difference.fix == "not_charged" or told["status"] == "processed"):
        return
    if difference.fix == "settle":
        is_so = gateway.get("outcome") == CHARGED and gateway.get("id") == listed
    elif code == "unknown":
        is_so, code, more = True, None, {"known": {"reference": None}}
    else:
        is_so = gateway.get("outcome") == "none"
    if code is not None:
        raise refusal(environment, transaction_id, str(code), str(told["obstacle"]["about"]))
    if not is_so:
        raise refusal(environment, transaction_id, "changed")
    give(environment, "settle", transaction_id, agreed=gateway, **more)


def _is_as_compared(environment: Environment, difference: Difference) -> bool:
    """Whether nobody has written the row since: nothing that the list lacks was begun then."""
    row = find(environment, str(difference.transaction_id)) or {}
    compared = difference.row or {}
    return bool(row.get("updated_at")) and row.get("updated_at") == compared.get("updated_at")
