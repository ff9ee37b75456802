"""Who asks for payments, and whose payments they may have: the rule, said once more."""

from __future__ import annotations

from typing import Literal

Access = Literal["caller", "account"]

ANONYMOUS = "anonymous"
# Two roles of one account, and a user of another.
SHOP = "arn:aws:sts::111122223333:assumed-role/shop"
BILLING = "arn:aws:sts::111122223333:assumed-role/billing"
STRANGER = "arn:aws:iam::444455556666:user/stranger"
PRINCIPALS = (ANONYMOUS, SHOP, BILLING, STRANGER)


def may_have(owner: str, asker: str | None, access: Access) -> bool:
    """Whether a payment of that owner may move for that asker; None is the system itself."""
    if asker is None or owner in {ANONYMOUS, asker}:
        return True
    return access == "account" and asker != ANONYMOUS and _account(owner) == _account(asker)


def user_arn(principal: str, number: int) -> str | None:
    """Return what API Gateway calls a principal: a role comes in sessions, and nobody is None."""
    if principal == ANONYMOUS:
        return None
    return f"{principal}/session-{number}" if ":assumed-role/" in principal else principal


def _account(arn: str) -> str:
    return arn.split(":")[4]
