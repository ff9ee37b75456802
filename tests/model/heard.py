"""What clients were told of payments, and which of that they should not have been."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from handlers.shared.charging import LOOKED_AFTER
from handlers.shared.responses import NOT_CHARGED
from handlers.shared.states import CANCELED, PENDING, PROCESSED, PROCESSING, VALIDATED
from tests.model.invocations import SECRET, Invocation
from tests.model.ledger import NEXT
from tests.model.made import NEXT_ACTION

if TYPE_CHECKING:
    from tests.model.gateway import Capture
    from tests.model.ledger import Ledger

# What says nothing of a payment to whoever asks.
SILENT = {"404", "500", "queued", "not queued"}
# What a client is told whose row must not be charged, canceled, or shown.
FLAWED = {"not charged", "flawed"}
LOOKED_AFTER_BY_SOMEBODY = "somebody has to look after it"
# Where a payment may stand that is captured: processed, or on its way to that.
OF_CAPTURED = {PROCESSING, PENDING, PROCESSED}


@dataclass(frozen=True)
class Answer:
    """What was answered to "validate", "process", "cancel" or "look"."""

    operation: str
    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def outcome(self) -> str:
        """The HTTP status, or what says more. Of a look-up, where the payment stands; of a
        cancellation, how it has ended, or "not now". Of a 500, who tries again, or that somebody
        has to look after the row: "not charged" by /process, "flawed" by the others."""
        match self.operation, self.status, self.body:
            case _, _, {"error": "Payment canceled"} | {"message": "Payment canceled"}:
                return CANCELED
            case "cancel", 409, {"error": "Payment cannot be canceled now"}:
                return "not now"
            case ("cancel", 409, {"status": status}) | ("look", 200, {"status": status}):
                return str(status)
            case _, 500, {"message": message} if message == NOT_CHARGED:
                return "not charged"
            case _, 500, {"message": message} if str(message).endswith(LOOKED_AFTER_BY_SOMEBODY):
                return "flawed"
            case _, 500, {"retry": who}:
                return str(who)
        return str(self.status)


class Heard:
    """Takes down the answers, by payment.

    `told` are outcomes, each with the operation before it; `agreed` the amounts in minor units and
    customers that clients were told to be validated; `shown` are statuses of look-ups.
    """

    def __init__(self, ledger: Ledger, captures: Iterable[Capture]) -> None:
        self.told: dict[str, set[str]] = defaultdict(set)
        self.agreed: dict[str, set[tuple[int, str]]] = defaultdict(set)
        self.shown: dict[str, set[str]] = defaultdict(set)
        # Payments that were refused for their row though no alarm saw it, that the wrong ones heard
        # of, that were shown as they had been before, and as not captured though they were.
        self.unseen: list[str] = []
        self.disclosed: list[str] = []
        self.gone_back: list[str] = []
        self.hidden: list[str] = []
        # Answers with what a client has sent, or with a customer's next step where there is none.
        self.leaked: list[str] = []
        self._ledger = ledger
        self._captures = captures

    def begin(self, payment: str | None) -> Before:
        """Return what a request about a payment begins with."""
        if payment is None:
            return Before()
        captured = any(capture.transaction_id == payment for capture in self._captures)
        return Before(frozenset(self.shown[payment]), captured)

    def take(
        self, payment: str | None, answer: Answer, invocation: Invocation, before: Before
    ) -> None:
        """Take down an answer, which may be about a payment."""
        if leaks(answer):
            self.leaked.append(f"{answer.operation}: {answer.body}")
        if payment is None:
            return
        outcome = answer.outcome
        self.told[payment].add(f"{answer.operation}: {outcome}")
        asker = str(invocation.asker)
        if (
            answer.operation != "validate"
            and outcome not in SILENT
            and not self._ledger.is_open_to(payment, asker)
        ):
            self.disclosed.append(payment)
        if outcome in FLAWED and not _set_aside_in(invocation):
            self.unseen.append(payment)
        if answer.operation == "look" and answer.status == 200:
            self._look(payment, outcome, before)

    def _look(self, payment: str, status: str, before: Before) -> None:
        self.shown[payment].add(status)
        if self._ledger.is_changed(payment):
            return
        if not all(status in FOLLOWING[earlier] for earlier in before.shown):
            self.gone_back.append(payment)
        if before.captured and status not in OF_CAPTURED:
            self.hidden.append(payment)

    def forget(self, payment: str) -> None:
        """Forget what a restore makes untrue: all that was told but that it is validated."""
        self.told[payment] = {told for told in self.told[payment] if told.startswith("validate")}
        self.shown.pop(payment, None)


@dataclass(frozen=True)
class Before:
    """What look-ups had shown of a payment before a request, and whether it was captured."""

    shown: frozenset[str] = frozenset()
    captured: bool = False


def leaks(answer: Answer) -> bool:
    """Whether an answer holds what it must not; that to a pending payment may say where to go."""
    body = dict(answer.body)
    if (answer.operation, answer.outcome) in {("process", "202"), ("look", PENDING)}:
        body["next_action"] = str(body.get("next_action", "")).removeprefix(NEXT_ACTION)
    return SECRET in json.dumps([body, answer.headers])


def _set_aside_in(invocation: Invocation) -> int:
    """Return how many rows an invocation has counted that somebody has to look after."""
    return sum(invocation.counted[metric] for metric in LOOKED_AFTER.values())


def _following() -> Mapping[str, set[str]]:
    """Return which statuses a payment may have that had that one before, or has it still."""
    following = {status: {status, *after} for status, after in NEXT.items()}
    for _ in following:
        for after in following.values():
            after.update(*(following[status] for status in list(after)))
    return following


FOLLOWING = _following()
assert FOLLOWING[VALIDATED] == set(NEXT)
