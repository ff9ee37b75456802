"""Payments under faults at every call to AWS and the gateway: none may be lost or charged twice.

    python -m tests.model.chaos [--payments 2000] [--seed 1] [--concurrency 16]

Clients validate and charge payments, some of them twice at once, look them up, cancel some, and ask
again until they are told something definite. In between they let payment-retry, the scheduled run,
the gateway's notifications and calls that were still under way take their turns, and time go by;
some scheduled runs find SQS away; some notifications never come, come twice, or are forged. Then
the faults end, and the world is drained: what is not settled must now be left to a person (a dead
letter, or counted by an alarm's metric). That person mends what is to be mended and moves the dead
letters back, restores take payments back, once before the gateway has forgotten their keys and once
after that, and clients ask again, each time under faults, and the world is drained again.

Four worlds share the payments. In the first, rows are tampered with, spoiled, ended, extended and
rewound, and other callers ask for payments. In the second, clocks are off by a minute as well. In
the third, the handlers of the last release work beside today's, and what that one does not know
about is left out. In the fourth, the gateway charges in two steps, stores failures, leaves payments
pending, and tells of each change; in the end, each capture is on its row, or an alarm has told.

A payment is lost if it breaks an invariant, or is neither settled nor left to a person; it is a
duplicate if the gateway captured it more than once.

What a seed reproduces: every client's payment and behaviour, and for each transaction what goes
wrong at its first, second, ... call of each operation. With --concurrency 1 this is the whole run,
figures included. With threads it is not how often an operation is called, for that depends on who
comes first; so the counts of the faults differ a little from run to run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from random import Random
from threading import Lock
from typing import TYPE_CHECKING

import pytest

from handlers.shared.states import PENDING
from tests.model.crowd import Client, Kind
from tests.model.faults import Call, Fault
from tests.model.gateway import Finds
from tests.model.hands import ask_for_flawed
from tests.model.invariants import (
    CAPTURED_TWICE,
    Violation,
    unended,
    unseen_captures,
    violations,
)
from tests.model.invocations import Container
from tests.model.notices import Forgery
from tests.model.outcomes import left_to_a_person, settled
from tests.model.release import CURRENT, LAST_VERSION, Release, last_release
from tests.model.two_step_gateway import StoredFailure
from tests.model.world import World

if TYPE_CHECKING:
    from tests.model.principals import Access

FAULT_RATE = 0.2
# A scheduled run makes twenty calls before it looks at a payment, and would never get there.
SCHEDULED_FAULT_RATE = 0.01
AWAY_RATE = 0.3
JOBS_PER_SCHEDULED_RUN = 50
NOTICES_PER_TURN = 2
# What one client's turn takes: so leases, visibility timeouts and recoveries fall into the run.
MOST_SECONDS_PER_JOB = 5
ACCESSES: Sequence[Access] = ("caller", "account")


@dataclass(frozen=True)
class Setting:
    """A world: its share of the payments, its containers, and which release drains it first."""

    name: str
    share: float
    containers: Sequence[Container]
    changed: bool
    two_steps: bool = False
    drained_by: Release = CURRENT


SETTINGS = (
    Setting("rows changed by hand", 0.4, [Container()], changed=True),
    Setting("clocks off too", 0.2, [Container(CURRENT, s) for s in (-60, 0, 60)], changed=True),
    Setting(
        f"beside release {LAST_VERSION}",
        0.2,
        [Container(CURRENT), Container(last_release())],
        changed=False,
        drained_by=last_release(),
    ),
    Setting(
        "a gateway in two steps",
        0.2,
        [Container(CURRENT, s) for s in (-60, 0, 60)],
        changed=True,
        two_steps=True,
    ),
)


@dataclass(frozen=True)
class Result:
    payments: int
    faults: Counter[Fault]
    kinds: Counter[str]
    captures: int
    duplicates: int
    lost: int
    states: Counter[str]
    left: int
    problems: list[Violation]

    def __add__(self, other: Result) -> Result:
        return Result(
            payments=self.payments + other.payments,
            faults=self.faults + other.faults,
            kinds=self.kinds + other.kinds,
            captures=self.captures + other.captures,
            duplicates=self.duplicates + other.duplicates,
            lost=self.lost + other.lost,
            states=self.states + other.states,
            left=self.left + other.left,
            problems=self.problems + other.problems,
        )

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {self.faults[kind]}" for kind in Fault)
        return (
            f"{self.payments} payments, {self.faults.total()} faults ({faults}),"
            f" {self.captures} captures, {self.duplicates} duplicates, {self.lost} lost"
        )

    @property
    def more(self) -> str:
        """What else happened, and where the payments stand."""
        kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(self.kinds.items()))
        states = ", ".join(f"{state} {number}" for state, number in sorted(self.states.items()))
        return f"{kinds}; {states}; left to a person {self.left}"


class SeededFaults:
    """Decides by the seed, the operation, its transaction, and how often that was called."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._calls: Counter[Call] = Counter()
        self._lock = Lock()

    def __call__(self, call: Call) -> Fault | None:
        with self._lock:
            self._calls[call] += 1
            number = self._calls[call]
        time.sleep(0)  # lets another thread in, between any two calls
        random = Random(f"{self._seed} {call.site} {call.transaction_id} {number}")
        rate = FAULT_RATE if call.transaction_id else SCHEDULED_FAULT_RATE
        return random.choice(list(Fault)) if random.random() < rate else None


class Run:
    """One world with its clients, and what happens in it besides their payments."""

    def __init__(
        self, setting: Setting, payments: int, seed: str, access: Access, concurrency: int
    ) -> None:
        self.kinds: Counter[str] = Counter()
        self._setting = setting
        self._seed = seed
        self._concurrency = concurrency
        self._faults = SeededFaults(seed)
        self._numbers = count(1)
        self._invocations = count(1)
        self.world = World(
            self._faults,
            access=access,
            releases=sorted({container.release for container in setting.containers}, key=str),
            two_steps=setting.two_steps,
        )
        self.world.gateway.finds = self._finds
        self.world.two_step.fails = self._fails
        self.clients = [
            Client(self.world, seed, number, changed=setting.changed) for number in range(payments)
        ]

    def make(self) -> Result:
        """Make the payments, then what people and restores do, each under faults, and count."""
        with pytest.MonkeyPatch.context() as patch:
            self.world.install(patch)
            jobs = [client for client in self.clients for _ in range(1 + client.in_a_hurry)]
            problems = self._pay(jobs, self._setting.drained_by)
            self.world.gateway.is_mended = True
            self.world.queue.redrive()
            problems += self._pay(self._rewound(Kind.REWOUND), CURRENT)
            self.world.advance(self.world.gateway.KEY_RETENTION.total_seconds())
            problems += self._pay(self._rewound(Kind.FORGOTTEN), CURRENT)
            for client in self.clients:
                if not client.answered:
                    client.pay()
                client.act(pays=True)
            problems += ask_for_flawed(self.world)
            problems += self._drain(CURRENT)
            for notice in self.world.two_step.notices:
                self.world.notify(notice)
            if self._setting.two_steps:
                problems += violations(self.world) + unseen_captures(self.world)
            return self._result(problems)

    def _pay(self, jobs: Iterable[Client], drained_by: Release) -> list[Violation]:
        """Let these clients pay under faults, and return what is broken once they are drained."""
        self.world.network.decide = self._faults
        self.world.place = self._place
        with ThreadPoolExecutor(self._concurrency) as pool:
            list(pool.map(self._take_turn, jobs))
        return self._drain(drained_by)

    def _drain(self, release: Release) -> list[Violation]:
        self.world.drain(release)
        return violations(self.world) + unended(self.world)

    def _take_turn(self, client: Client) -> None:
        client.pay()
        client.act(pays=client.pays)
        self.world.retry(most=5)
        number = next(self._numbers)
        random = Random(f"{self._seed} turn {number}")
        self._notify(random)
        seconds = random.uniform(0, MOST_SECONDS_PER_JOB)
        if number % JOBS_PER_SCHEDULED_RUN == 0:
            away = frozenset({"SendMessage"} if random.random() < AWAY_RATE else ())
            self.kinds["scheduled runs without SQS"] += len(away)
            self.world.scheduled_run(away)
        self.world.network.deliver_late()
        self.world.clock.advance(seconds)

    def _notify(self, random: Random) -> None:
        """Bring some notifications of any age, and one that is forged."""
        notices = list(self.world.two_step.notices)
        for notice in random.sample(notices, min(len(notices), NOTICES_PER_TURN)):
            self.kinds["notifications"] += 1
            self.kinds["notifications once more"] += notice.is_taken
            self.world.notify(notice)
        if notices:
            self.world.notify(random.choice(notices), random.choice(list(Forgery)))

    def _rewound(self, kind: Kind) -> list[Client]:
        clients = [client for client in self.clients if client.kind is kind]
        for client in clients:
            client.rewind()
        return clients

    def _place(self) -> Container:
        random = Random(f"{self._seed} container {next(self._invocations)}")
        container = random.choice(self._setting.containers)
        self.kinds["invocations with a clock that is off"] += bool(container.clock_seconds)
        self.kinds["invocations of the last release"] += not container.release.is_current
        return container

    def _finds(self, key: str) -> Finds:
        return Random(f"{self._seed} find {key}").choice(list(Finds))

    def _fails(self, key: str) -> StoredFailure | None:
        random = Random(f"{self._seed} stored {key}")
        if random.random() >= FAULT_RATE:
            return None
        self.kinds["failures that the gateway stored"] += 1
        return random.choice(list(StoredFailure))

    def _result(self, problems: list[Violation]) -> Result:
        world = self.world
        self.kinds["ever pending"] = sum(
            any(item.get("status") == {"S": PENDING} for item in states)
            for states in world.ledger.history.values()
        )
        ended = settled(world) | left_to_a_person(world)
        flawed = {payment for payment, keys in world.ledger.flawed.items() if keys}
        problems += [
            Violation(client.key, "not charged, and nobody was told")
            for client in self.clients
            if not client.answered or client.transaction_id not in ended | flawed
        ]
        met = Counter(str(client.kind) for client in self.clients if client.met)
        twice = {problem.payment for problem in problems if problem.rule == CAPTURED_TWICE}
        return Result(
            payments=len(self.clients),
            faults=world.network.injected,
            kinds=+(self.kinds + met),
            captures=len(world.gateway.captures),
            duplicates=len(twice),
            lost=len({problem.payment for problem in problems} - twice),
            left=len(left_to_a_person(world) - settled(world)),
            states=Counter(
                item.get("status", {}).get("S", "?") for item in world.table.items.values()
            ),
            problems=problems,
        )


def run(payments: int, seed: int, concurrency: int) -> list[Result]:
    """Share the payments among the worlds, and return what came of each."""
    results = []
    for number, setting in enumerate(SETTINGS):
        access = ACCESSES[(seed + number) % len(ACCESSES)]
        share = round(payments * setting.share)
        results.append(Run(setting, share, f"{seed}.{number}", access, concurrency).make())
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model.chaos")
    parser.add_argument("--payments", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=16)
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    results = run(options.payments, options.seed, options.concurrency)
    for problem in [problem for result in results for problem in result.problems][:20]:
        print(f"{problem.payment}: {problem.rule}", file=sys.stderr)
    print(f"seed {options.seed}, {time.perf_counter() - start:.1f} s")
    for setting, result in zip(SETTINGS, results, strict=True):
        print(f"{setting.name}: {result.payments} payments; {result.more}")
    first, *others = results
    print(sum(others, first))
    return 1 if any(result.duplicates or result.lost for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
