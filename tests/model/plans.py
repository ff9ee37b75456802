"""A plan of faults for one payment's calls, and the runs that it is tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import TYPE_CHECKING

from tests.model.faults import Call, Fault

if TYPE_CHECKING:
    from tests.model.world import World

CALLS = 6
Plan = dict[int, Fault]


def one_fault(calls: int = CALLS) -> Iterator[Plan]:
    for position, fault in product(range(calls), Fault):
        yield {position: fault}


class Planned:
    """Numbers the calls about a payment from the moment that it gets a plan.

    `meanwhile` happens, once, before the call that it names.
    """

    def __init__(self) -> None:
        self.meanwhile: dict[int, Callable[[], object]] = {}
        self._plan: Plan = {}
        self._number = 0

    def start(self, plan: Plan) -> None:
        self._plan, self._number = plan, 0

    def __call__(self, call: Call) -> Fault | None:
        if not call.transaction_id:
            return None
        number, self._number = self._number, self._number + 1
        self.meanwhile.pop(number, lambda: None)()
        return self._plan.get(number)


def validate(world: World, key: str = "key") -> str | None:
    answer = world.validate(key=key)
    return answer.body["transaction_id"] if answer else None


def process_with(world: World, faults: Planned, plan: Plan) -> None:
    transaction_id = validate(world)
    assert transaction_id
    faults.start(plan)
    world.process(transaction_id)


def validate_with(world: World, faults: Planned, plan: Plan) -> None:
    faults.start(plan)
    transaction_id = validate(world)
    world.process(transaction_id or "unknown")


def retry_with(world: World, faults: Planned, plan: Plan) -> None:
    process_with(world, faults, {1: Fault.LOST_ANSWER})
    faults.start(plan)
    world.retry()


def recover_with(world: World, faults: Planned, plan: Plan) -> None:
    process_with(world, faults, {2: Fault.KILLED_BEFORE})
    world.advance(90 + 20 * 60 + 1)
    faults.start(plan)
    world.scheduled_run()
    world.retry()
