"""Payments and other callers: by their requests, and by the messages that these have queued."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.model.faults import Fault
from tests.model.invariants import check, violations
from tests.model.outcomes import settled
from tests.model.principals import ANONYMOUS, BILLING, SHOP, STRANGER, Access, may_have
from tests.model.steps import fail_once, validated
from tests.model.world import World

PAIRS = [
    *((SHOP, asker) for asker in (SHOP, BILLING, STRANGER, ANONYMOUS)),
    *((ANONYMOUS, asker) for asker in (SHOP, ANONYMOUS)),
    (STRANGER, SHOP),
    (STRANGER, STRANGER),
]
NAMES = {SHOP: "shop", BILLING: "billing", STRANGER: "stranger", ANONYMOUS: "anonymous"}
every_access = pytest.mark.parametrize("access", get_args(Access))
every_pair = pytest.mark.parametrize(
    ("owner", "asker"), PAIRS, ids=[f"{NAMES[owner]}-{NAMES[asker]}" for owner, asker in PAIRS]
)


@pytest.fixture
def world(access: Access, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(lambda _: None, access=access)
    world.install(monkeypatch)
    return world


@every_access
@every_pair
def test_a_request_moves_a_payment_only_for_those_who_may_have_it(
    world: World, access: Access, owner: str, asker: str
) -> None:
    payment = validated(world, caller=owner)
    answer = world.process(payment, asker)
    assert answer
    assert answer.status == (200 if may_have(owner, asker, access) else 404)
    assert len(world.gateway.captures) == may_have(owner, asker, access)
    unknown = world.process("unknown", asker)
    assert unknown
    if answer.status == 404:
        assert answer.body == unknown.body | {"transaction_id": payment}
    check(violations(world))


@every_access
@every_pair
def test_a_message_moves_a_payment_only_for_those_who_may_have_it(
    world: World, access: Access, owner: str, asker: str
) -> None:
    """DynamoDB is away, so the request is queued without anybody knowing whose payment it is."""
    payment = validated(world, caller=owner)
    fail_once(world, "UpdateItem", Fault.THROTTLED)
    answer = world.process(payment, asker)
    assert answer
    assert answer.outcome == "queued"
    for _ in range(4):
        world.retry()
        world.advance(300)
    assert (payment in settled(world)) == may_have(owner, asker, access)
    assert len(world.queue.dead) == (not may_have(owner, asker, access))
    check(violations(world))
    world.queue.redrive()
    world.drain()
    assert (payment in settled(world)) == may_have(owner, asker, access)
    check(violations(world))


@every_access
@pytest.mark.parametrize("owner", [SHOP, ANONYMOUS])
def test_the_system_itself_moves_every_payment(world: World, owner: str) -> None:
    payment = validated(world, caller=owner)
    fail_once(world, "charge", Fault.KILLED_BEFORE)
    world.process(payment, owner)
    world.drain()
    assert settled(world) == {payment}
    check(violations(world))


@every_access
def test_a_validation_from_the_queue_belongs_to_who_asked_for_it(
    world: World, access: Access
) -> None:
    fail_once(world, "PutItem", Fault.THROTTLED)
    payment = validated(world, "key", SHOP)
    world.retry()
    answers = [world.process(payment, asker) for asker in (STRANGER, SHOP)]
    assert [answer and answer.status for answer in answers] == [404, 200]
    check(violations(world))
