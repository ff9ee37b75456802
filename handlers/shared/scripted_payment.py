"""A payment at the scripted gateway: what its id says of it, and the states that it goes through.

open -> captured
  |---> failed -> canceled
  |---> pending -> captured, failed or canceled
  \\---> canceled
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from handlers.shared.gateway import Charged, Declined, NotCharged, Open, Pending

if TYPE_CHECKING:
    from handlers.shared.gateway import Outcome

OPEN, PENDING, FAILED, CAPTURED, CANCELED = "open", "pending", "failed", "captured", "canceled"
# Of several payments for one transaction a single one is ever confirmed; the others stay open.
FURTHEST = (CAPTURED, PENDING, FAILED, CANCELED, OPEN)
# For how long a payment is pending, or a late call on its way, unless the payment_method says.
SECONDS = 5


@dataclass(frozen=True)
class Script:
    """What a payment comes to when it is confirmed: at once, or after it has been pending."""

    end: str = CAPTURED
    reason: str = ""
    another_method: bool = False
    pending: bool = False
    redirects: bool = False
    can_cancel: bool = True


# By payment_method, which may go on with a colon and a number of seconds.
SCRIPTS = {
    "paid": Script(),
    "declined": Script(FAILED, "card_declined", another_method=True),
    "insufficient-funds": Script(FAILED, "insufficient_funds", another_method=True),
    "blocked": Script(FAILED, "customer_blocked"),
    "redirect-paid": Script(pending=True, redirects=True),
    "redirect-failed": Script(
        FAILED, "authentication_failed", another_method=True, pending=True, redirects=True
    ),
    "redirect-expired": Script(CANCELED, pending=True, redirects=True),
    "debit-paid": Script(pending=True, can_cancel=False),
    "debit-failed": Script(
        FAILED, "debit_returned", another_method=True, pending=True, can_cancel=False
    ),
}
_METHOD = re.compile(r"([a-z-]+)(?::[0-9]{1,6})?", re.ASCII)
# By customer_id: the call that fails, and how.
_FAULT = re.compile(
    r"fault-((?:prepare|confirm|cancel)-(?:timeout|lost|500|500-done|unavailable)"
    r"|fetch-(?:timeout|unavailable)|confirm-late)",
    re.ASCII,
)
_ID = re.compile(
    r"scripted\.(?P<account>[0-9a-f]{8})\.(?P<method>[a-z-]*(?::[0-9]{1,6})?)"
    r"\.(?P<fault>[a-z0-9-]*)\.(?P<amount>[0-9]+)\.(?P<currency>[A-Z]{3})\.(?P<made_at>[0-9]+)"
    r"\.(?P<key>[0-9a-f]{16})",
    re.ASCII,
)


def script_of(payment_method: str) -> str:
    """Return the payment_method if it is one that has a script, with its seconds; else ""."""
    found = _METHOD.fullmatch(payment_method)
    return payment_method if found and found[1] in SCRIPTS else ""


def fault_of(customer_id: str) -> str:
    """Return the call that fails for a customer, and how, as CALL-FAULT; "" if none does."""
    found = _FAULT.fullmatch(customer_id)
    return found[1] if found else ""


@dataclass(frozen=True)
class Facts:
    """What never changes about a payment; all of it stands in its id.

    account and key are digests; amount is in the gateway's units, made_at in epoch seconds.
    """

    account: str
    method: str
    fault: str
    amount: int
    currency: str
    made_at: int
    key: str

    @classmethod
    def of(cls, payment_id: str) -> Facts | None:
        """Return what an id says, None if it is none of the gateway's."""
        found = _ID.fullmatch(payment_id)
        if not found:
            return None
        numbers = {name: int(found[name]) for name in ("amount", "made_at")}
        return cls(**{**found.groupdict(), **numbers})  # type: ignore[arg-type]

    @property
    def id(self) -> str:
        """The gateway's name of the payment."""
        parts = (self.account, self.method, self.fault, self.amount, self.currency, self.made_at)
        return ".".join(("scripted", *map(str, parts), self.key))

    @property
    def script(self) -> Script:
        """What becomes of it."""
        return SCRIPTS.get(self.method.partition(":")[0], SCRIPTS["paid"])

    @property
    def seconds(self) -> int:
        """For how long it is pending, or a call for it late."""
        return int(self.method.partition(":")[2] or SECONDS)


@dataclass(frozen=True)
class State:
    """What changes about a payment: due is when it goes on by itself, in epoch seconds, and reason
    why it has failed. transaction_id is what it was prepared with, return_url what it was confirmed
    with."""

    status: str = OPEN
    due: float | None = None
    reason: str | None = None
    transaction_id: str | None = None
    return_url: str | None = None


def presumed(facts: Facts) -> State:
    """Return the state of a payment of which only the id is known: one that can be pending was
    confirmed when it was made, and any other is open."""
    if facts.script.pending:
        return State(PENDING, due=facts.made_at + facts.seconds)
    return State()


def advanced(facts: Facts, state: State, now: float) -> State:
    """Return the state at a moment, if nobody has called since."""
    if state.due is None or now < state.due:
        return state
    if state.status == OPEN:  # the late call arrives
        arrived = confirmed(facts, replace(state, due=None), state.due, state.return_url)
        return advanced(facts, arrived, now)
    return _ended(facts, state)


def delayed(facts: Facts, state: State, now: float, return_url: str | None) -> State:
    """Return the state while a call to confirm the payment is on its way."""
    if state.status != OPEN:
        return state
    return replace(state, due=now + facts.seconds, return_url=return_url)


def confirmed(facts: Facts, state: State, now: float, return_url: str | None) -> State:
    """Return the state after a call to confirm the payment, which only an open one heeds."""
    if state.status != OPEN:
        return state
    if facts.script.pending:
        return replace(state, status=PENDING, due=now + facts.seconds, return_url=return_url)
    return _ended(facts, state)


def canceled(facts: Facts, state: State) -> State:
    """Return the state after a call to cancel the payment: what the bank has is out of reach."""
    out_of_reach = state.status == PENDING and not facts.script.can_cancel
    if state.status == CAPTURED or out_of_reach:
        return state
    return replace(state, status=CANCELED, due=None)


def outcome(facts: Facts, state: State) -> Outcome:
    """Return what a state is to the protocol."""
    match state.status:
        case "captured":
            return Charged(capture_of(facts))
        case "failed":
            return Declined(state.reason or "", facts.script.another_method)
        case "canceled":
            return NotCharged(state.reason)
        case "pending":
            return Pending(_next_action(facts, state))
    return Open()


def capture_of(facts: Facts) -> str:
    """Return what the capture of a payment is called."""
    return f"capture-{facts.key}"


def _next_action(facts: Facts, state: State) -> str | None:
    """Return where the customer would go; RFC 2606 promises that nobody is there."""
    if not facts.script.redirects:
        return None
    back = f"?return_url={quote(state.return_url, safe='')}" if state.return_url else ""
    return f"https://scripted.example/authenticate/{facts.key}{back}"


def _ended(facts: Facts, state: State) -> State:
    script = facts.script
    return replace(state, status=script.end, due=None, reason=script.reason or None)
