"""A request, a retry, a cancellation or a notification in the middle of another one, at each of its
calls, while the customer pays or fails: a payment is captured once, or canceled, and never both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count, product

import pytest

from handlers.shared.transactions import LEASE_SECONDS
from tests.model.gateway import Finds
from tests.model.plans import Planned
from tests.model.starts import STARTS
from tests.model.steps import bring_to_an_end
from tests.model.world import World

Action = Callable[[World, str], object]


def notify_last(world: World, payment: str) -> None:
    """Bring the latest notification about a payment, if there is one."""
    notices = [one for one in world.two_step.notices if one.transaction_id == payment]
    if notices:
        world.notify(notices[-1])


ACTIONS: Mapping[str, Action] = {
    "process": lambda world, payment: world.process(payment),
    "retry": lambda world, _: world.retry(),
    "cancel": lambda world, payment: world.cancel(payment),
    "notification": notify_last,
}
# What the customer does meanwhile: before what else happens, or after it.
CUSTOMERS: Mapping[str, tuple[bool | None, bool | None]] = {
    "waits": (None, None),
    "pays first": (True, None),
    "pays then": (None, True),
    "fails first": (False, None),
}
# Of which starts each action makes something.
OF = {
    "process": [
        *("validated", "validated, to be declined", "validated, to be pending"),
        *(
            "begun",
            "prepared",
            "prepared, and nobody knows",
            "confirmed",
            "failed, and not canceled",
        ),
        *("restored, charged", "restored, pending"),
    ],
    "retry": ["confirmed, and queued", "confirmed, and pending", "pending, and queued"],
    "cancel": [
        *("validated", "pending", "pending at a bank", "pending, and failed"),
        *("restored, charged", "restored, pending", "restored, prepared", "restored, never begun"),
    ],
    "notification": [
        "prepared, and nobody knows",
        "confirmed",
        "failed, and not canceled",
        "pending",
        "pending, and failed",
    ],
}


def crossed(patch: pytest.MonkeyPatch, start: str, outer: str, happens: Action) -> Iterator[World]:
    """Yield worlds in which something happens before the first, second, ... call of an action."""
    for position in count():
        faults = Planned()
        world = World(lambda _: None, two_steps=True)
        world.install(patch)
        world.gateway.finds = lambda _: Finds.CERTAIN
        payment = STARTS[start](world)
        faults.meanwhile[position] = partial(happens, world, payment)
        world.network.decide = faults
        ACTIONS[outer](world, payment)
        if faults.meanwhile:
            return
        world.network.decide = lambda _: None
        yield world


@pytest.mark.parametrize(("outer", "start"), [(outer, one) for outer in OF for one in OF[outer]])
def test_whatever_happens_in_the_middle_a_payment_is_captured_once_or_canceled(
    outer: str, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = 0
    for inner, customer, seconds in product(ACTIONS, CUSTOMERS, (0, LEASE_SECONDS + 1)):
        before, after = CUSTOMERS[customer]

        def happens(
            world: World,
            payment: str,
            inner: str = inner,
            seconds: int = seconds,
            before: bool | None = before,
            after: bool | None = after,
        ) -> None:
            world.advance(seconds)
            if before is not None:
                world.two_step.act(payment, pays=before)
            ACTIONS[inner](world, payment)
            world.look_up(payment)
            if after is not None:
                world.two_step.act(payment, pays=after)

        for world in crossed(monkeypatch, start, outer, happens):
            happened += 1
            bring_to_an_end(world, is_notified=bool(happened % 2))
    assert happened
