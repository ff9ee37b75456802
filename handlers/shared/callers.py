"""Who asks for a payment, and which payments that principal may have processed.

A row holds the caller that validated it. Ids can be computed from caller and Idempotency-Key, so
knowing an id is no permission: for anyone else the transaction is unknown. Two kinds of rows are
everybody's: those of earlier releases, which hold no caller, and anonymous ones, which an API
without authorization has taken from anybody. They stay open when the API then asks for signatures,
as open as they were made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ANONYMOUS = "anonymous"

# Whose payments a caller may process: its own, or those of every principal of its account.
Access = Literal["caller", "account"]


@dataclass(frozen=True)
class Claimant:
    """Who asks for a payment; a caller of None is the system itself, which may process all."""

    caller: str | None
    access: Access = "caller"

    @property
    def condition(self) -> str:
        """The DynamoDB condition that a row is open to this claimant; "" for the system."""
        if self.caller is None:
            return ""
        condition = "attribute_not_exists(caller) OR caller IN (:anonymous, :caller)"
        return f"{condition} OR contains(caller, :account)" if self._account else condition

    @property
    def values(self) -> dict[str, str]:
        """The values that the condition names."""
        if self.caller is None:
            return {}
        values = {":anonymous": ANONYMOUS, ":caller": self.caller}
        return values | ({":account": self._account} if self._account else {})

    def may_process(self, row: Mapping[str, object]) -> bool:
        """Whether a row is open to this claimant: what the condition says, of a row at hand."""
        owner = row.get("caller")
        # A caller that is not even text makes the row unreadable, which is another answer.
        if self.caller is None or not isinstance(owner, str):
            return True
        return owner in {ANONYMOUS, self.caller} or bool(self._account and self._account in owner)

    @property
    def _account(self) -> str:
        """The part of an ARN that names the caller's account; "" where the account is nobody.

        No other part of an IAM or STS ARN of a principal can hold it, since names have no colons
        (IAM User Guide, "IAM and AWS STS quotas": name requirements).
        """
        if self.access != "account" or not self.caller or not self.caller.startswith("arn:"):
            return ""
        return f"::{self.caller.split(':')[4]}:"


def caller_of(event: Mapping[str, Any]) -> str:
    """Return who sent a request: the IAM principal without its session name, or anonymous."""
    identity = (event.get("requestContext") or {}).get("identity") or {}
    arn = str(identity.get("userArn") or ANONYMOUS)
    role, _, session = arn.rpartition("/")
    return role if ":assumed-role/" in arn and session else arn
