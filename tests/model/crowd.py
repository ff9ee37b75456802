"""The clients of a chaos run: each wants one payment made, and some of them meet with more."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

from handlers.shared.states import CANCELED, DECLINED, SETTLED
from tests.model.gateway import DECLINED_CUSTOMER, UNAVAILABLE_CUSTOMER
from tests.model.hands import end, extend, rewind, spoil, tamper
from tests.model.made import BANK_CUSTOMER, PENDING_CUSTOMER, REFUSED_CUSTOMER
from tests.model.principals import PRINCIPALS
from tests.model.rows import SPOILINGS, TAMPERINGS

if TYPE_CHECKING:
    from tests.model.heard import Answer
    from tests.model.world import World

DUPLICATE_RATE = 0.2
PAYS_RATE = 0.7
CANCELS_RATE = 0.15
CUSTOMERS: Mapping[str, float] = {
    "customer": 0.93,
    DECLINED_CUSTOMER: 0.05,
    UNAVAILABLE_CUSTOMER: 0.02,
}
TWO_STEP_CUSTOMERS: Mapping[str, float] = {
    PENDING_CUSTOMER: 0.2,
    BANK_CUSTOMER: 0.1,
    DECLINED_CUSTOMER: 0.2,
    REFUSED_CUSTOMER: 0.05,
}
MOST_REQUESTS = 4
# After which a client may leave it at that: done, refused for good, or queued.
DEFINITE = {"200", "202", "402", "canceled", "queued", "not charged"}


class Kind(StrEnum):
    """What becomes of a payment besides faults."""

    ORDINARY = "ordinary"
    TAMPERED = "tampered with"
    SPOILED = "malformed"
    EXTENDED = "of a later release"
    REWOUND = "rewound"
    FORGOTTEN = "rewound after the gateway forgot"
    INTRUDED = "asked for by others"
    ENDED = "ended by a person"


# What share of the payments meets with that, where rows are changed by hand.
RATES: Mapping[Kind, float] = dict.fromkeys(Kind, 0.03) | {Kind.ORDINARY: 0.7, Kind.INTRUDED: 0.1}


class Client:
    """Wants one payment made, and repeats what was not answered for certain."""

    def __init__(self, world: World, seed: str, number: int, *, changed: bool) -> None:
        random = Random(f"{seed} client {number}")
        self.key = f"chaos-{seed}-{number}"
        self.amount = random.randint(1, 10_000)
        rates = {**CUSTOMERS, **(TWO_STEP_CUSTOMERS if world.two_steps else {})}
        self.customer_id = random.choices(list(rates), list(rates.values()))[0]
        # Before which request it cancels its payment, if at all; MOST_REQUESTS is after them.
        self.cancels_before = (
            random.randint(0, MOST_REQUESTS) if random.random() < CANCELS_RATE else None
        )
        # Whether its customer, or a bank, pays what is pending.
        self.pays = random.random() < PAYS_RATE
        self.in_a_hurry = random.random() < DUPLICATE_RATE
        self.caller = random.choice(PRINCIPALS)
        self.intruder = random.choice([other for other in PRINCIPALS if other != self.caller])
        kind = random.choices(list(RATES), list(RATES.values()))[0]
        self.kind = kind if changed else Kind.ORDINARY
        # Before which request its row is changed, how, and to which state a restore takes it back.
        self.changed_before = random.randint(0, 1)
        self.tampering = random.choice(list(TAMPERINGS))
        self.spoiling = random.choice(list(SPOILINGS))
        self.earlier = random.randint(0, 3)
        self.end = random.choice([DECLINED, CANCELED])
        self.transaction_id: str | None = None
        self.answered = False
        # Whether what it was to meet with has happened.
        self.met = False
        self._world = world

    def pay(self) -> None:
        """Validate and process, with a few repetitions of each."""
        for request in range(MOST_REQUESTS):
            payment = self.transaction_id or self._validate()
            self.transaction_id = self.transaction_id or payment
            if self.transaction_id is None:
                continue
            if request >= self.changed_before:
                self._change(self.transaction_id)
            if request == self.cancels_before and self._cancels(self.transaction_id):
                return
            self._world.look_up(self.transaction_id, self.caller)
            if _definite(self._world.process(self.transaction_id, self.caller)):
                self.answered = True
                break
        if self.cancels_before == MOST_REQUESTS and self.transaction_id:
            self._cancels(self.transaction_id)
        if self.transaction_id:
            self._world.look_up(self.transaction_id, self.caller)

    def _cancels(self, payment: str) -> bool:
        """Cancel its payment; return whether it has ended."""
        answer = self._world.cancel(payment, self.caller)
        has_ended = answer is not None and answer.outcome in SETTLED
        self.answered = self.answered or has_ended
        return has_ended

    def act(self, *, pays: bool) -> None:
        """Have its customer, or a bank, end what is pending; a failed one may be paid after all."""
        if self.transaction_id:
            self._world.two_step.act(self.transaction_id, pays=pays)

    def rewind(self) -> None:
        """Have a restore take the payment back, which the client then asks for again."""
        if self.transaction_id and rewind(self._world, self.transaction_id, self.earlier):
            self.met = True
            self.answered = False

    def _validate(self) -> str | None:
        answer = self._world.validate(self.amount, self.customer_id, self.key, self.caller)
        return str(answer.body["transaction_id"]) if _definite(answer) and answer else None

    def _change(self, payment: str) -> None:
        match self.kind:
            case Kind.INTRUDED:
                self._world.look_up(payment, self.intruder)
                self._world.cancel(payment, self.intruder)
                self._world.process(payment, self.intruder)
                self.met = True
            case Kind.TAMPERED if not self.met:
                self.met = tamper(self._world, payment, self.tampering)
            case Kind.SPOILED if not self.met:
                self.met = spoil(self._world, payment, self.spoiling)
            case Kind.ENDED if not self.met:
                self.met = end(self._world, payment, self.end)
            case Kind.EXTENDED if not self.met:
                self.met = extend(self._world, payment)


def _definite(answer: Answer | None) -> bool:
    """Whether the client may leave it at that."""
    return answer is not None and answer.outcome in DEFINITE
