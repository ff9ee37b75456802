"""Payments under faults at every call to AWS and the gateway: none may be lost or charged twice.

    python -m tests.model.chaos [--payments 2000] [--seed 1] [--concurrency 16]

Clients validate and charge payments, some of them twice at once, and ask again until they are told
something definite. In between they let payment-retry, the scheduled run and calls that were still
under way take their turns, and time go by. Then the faults end, and the world is drained: what is
not settled must now be left to a person (a dead letter, or counted as stuck). Last, that person
moves the dead letters back, clients without an answer ask again, and the world is drained again.

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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from random import Random
from threading import Lock

import pytest

from tests.model.faults import Call, Fault
from tests.model.gateway import DECLINED_CUSTOMER
from tests.model.invariants import CAPTURED_TWICE, Violation, unended, violations
from tests.model.world import Answer, World

FAULT_RATE = 0.2
# A scheduled run makes twenty calls before it looks at a payment, and would never get there.
SCHEDULED_FAULT_RATE = 0.01
DUPLICATE_RATE = 0.2
DECLINE_RATE = 0.05
MOST_REQUESTS = 4
JOBS_PER_SCHEDULED_RUN = 50
# What one client's turn takes: so leases, visibility timeouts and recoveries fall into the run.
MOST_SECONDS_PER_JOB = 5


@dataclass(frozen=True)
class Result:
    payments: int
    faults: Counter[Fault]
    captures: int
    duplicates: int
    lost: int
    states: Counter[str]
    left: int
    problems: list[Violation]

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {self.faults[kind]}" for kind in Fault)
        return (
            f"{self.payments} payments, {self.faults.total()} faults ({kinds}),"
            f" {self.captures} captures, {self.duplicates} duplicates, {self.lost} lost"
        )


class SeededFaults:
    """Decides by the seed, the operation, its transaction, and how often that was called."""

    def __init__(self, seed: int) -> None:
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


class Client:
    """Wants one payment made, and repeats what was not answered for certain."""

    def __init__(self, world: World, seed: int, number: int) -> None:
        random = Random(f"{seed} client {number}")
        self.key = f"chaos-{seed}-{number}"
        self.amount = random.randint(1, 10_000)
        self.customer_id = DECLINED_CUSTOMER if random.random() < DECLINE_RATE else "customer"
        self.in_a_hurry = random.random() < DUPLICATE_RATE
        self.transaction_id: str | None = None
        self.answered = False
        self._world = world

    def pay(self) -> None:
        """Validate and process, with a few repetitions of each."""
        for _ in range(MOST_REQUESTS):
            if self.transaction_id is None:
                self.transaction_id = self._validate()
            if self.transaction_id and _definite(self._world.process(self.transaction_id)):
                self.answered = True
                return

    def _validate(self) -> str | None:
        answer = self._world.validate(self.amount, self.customer_id, self.key)
        return str(answer.body["transaction_id"]) if _definite(answer) and answer else None


def _definite(answer: Answer | None) -> bool:
    """Whether the client may leave it at that: done, refused for good, or queued."""
    return answer is not None and (
        answer.status in {200, 402} or answer.body.get("retry") == "queued"
    )


def run(payments: int, seed: int, concurrency: int) -> Result:
    """Make the payments in a world of faults, end the faults, drain, and count."""
    world = World(SeededFaults(seed))
    clients = [Client(world, seed, number) for number in range(payments)]
    jobs = [client for client in clients for _ in range(1 + client.in_a_hurry)]
    numbers = count(1)

    def turn(client: Client) -> None:
        client.pay()
        world.retry(most=5)
        number = next(numbers)
        if number % JOBS_PER_SCHEDULED_RUN == 0:
            world.scheduled_run()
        world.network.deliver_late()
        world.clock.advance(Random(f"{seed} turn {number}").uniform(0, MOST_SECONDS_PER_JOB))

    with pytest.MonkeyPatch.context() as patch:
        world.install(patch)
        with ThreadPoolExecutor(concurrency) as pool:
            list(pool.map(turn, jobs))
        world.drain()
        problems = violations(world) + unended(world)
        world.queue.redrive()
        world.drain()
        for client in clients:
            if not client.answered:
                client.pay()
        world.drain()
        return _result(world, clients, problems)


def _result(world: World, clients: list[Client], problems: list[Violation]) -> Result:
    problems = problems + violations(world) + unended(world)
    ended = world.settled() | world.left_to_a_person()
    problems += [
        Violation(client.key, "not charged, and nobody was told")
        for client in clients
        if not client.answered or client.transaction_id not in ended
    ]
    return Result(
        payments=len(clients),
        faults=world.network.injected,
        captures=len(world.gateway.captures),
        duplicates=len({problem.payment for problem in problems if problem.rule == CAPTURED_TWICE}),
        lost=len({problem.payment for problem in problems if problem.rule != CAPTURED_TWICE}),
        left=len(world.left_to_a_person() - world.settled()),
        states=Counter(item["status"]["S"] for item in world.table.items.values()),
        problems=problems,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model.chaos")
    parser.add_argument("--payments", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=16)
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    result = run(options.payments, options.seed, options.concurrency)
    for problem in result.problems[:20]:
        print(f"{problem.payment}: {problem.rule}", file=sys.stderr)
    states = ", ".join(f"{state} {number}" for state, number in sorted(result.states.items()))
    seconds = time.perf_counter() - start
    print(f"seed {options.seed}, {seconds:.1f} s; {states}; left to a person {result.left}")
    print(result)
    return 1 if result.duplicates or result.lost else 0


if __name__ == "__main__":
    sys.exit(main())
